"""The files that Grafana reads, made from this package."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana import fleet, line, province, report, rules
from grafana.words import LANGUAGES, Language, words

FOLDER = Path(__file__).parent
WIDTH = 120
DASHBOARDS = {"province": province.build, "line": line.build, "fleet": fleet.build, "report": report.build}


def dashboard(key: str, language: Language) -> dict[str, Any]:
    """The JSON of a dashboard."""
    return DASHBOARDS[key](words(language))


def files() -> dict[Path, str]:
    """Path -> content of every file made from this package."""
    dashboards = {
        FOLDER / "dashboards" / language / f"{key}.json": _json(dashboard(key, language))
        for language in LANGUAGES
        for key in DASHBOARDS
    }
    return dashboards | {FOLDER / "provisioning/alerting/rules.yaml": rules.text()}


def write_files() -> Iterator[Path]:
    """Writes the files that differ, and gives their paths."""
    for path, content in files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            yield path


def _json(value: Any) -> str:
    return _format_json(value, 0) + "\n"


def _format_json(value: Any, depth: int) -> str:
    """JSON for people who compare versions: a value that fits on one line stands on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if depth + len(flat) <= WIDTH or not isinstance(value, dict | list):
        return flat
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_format_json(part, depth + 1)}" for key, part in value.items()]
        return "{" + pad + ("," + pad).join(parts) + pad[:-1] + "}"
    return "[" + pad + ("," + pad).join(_format_json(part, depth + 1) for part in value) + pad[:-1] + "]"
