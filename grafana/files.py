"""The files that Grafana reads, as the code says them."""

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
    """Path -> content of every file that is built."""
    built = {
        FOLDER / "dashboards" / language / f"{key}.json": _json(dashboard(key, language))
        for language in LANGUAGES
        for key in DASHBOARDS
    }
    return built | {FOLDER / "provisioning/alerting/rules.yaml": rules.text()}


def written() -> Iterator[Path]:
    """Writes the files that differ, and gives their paths."""
    for path, content in files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            yield path


def _json(value: Any) -> str:
    return _laid_out(value, 0) + "\n"


def _laid_out(value: Any, depth: int) -> str:
    """JSON in lines for people who compare them: what fits on one stands on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if depth + len(flat) <= WIDTH or not isinstance(value, dict | list):
        return flat
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_laid_out(part, depth + 1)}" for key, part in value.items()]
        return "{" + pad + ("," + pad).join(parts) + pad[:-1] + "}"
    return "[" + pad + ("," + pad).join(_laid_out(part, depth + 1) for part in value) + pad[:-1] + "]"
