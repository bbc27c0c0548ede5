"""The files that Grafana reads, as the code says them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana import fleet, line, province, report, rules
from grafana.words import LANGUAGES, Language, words

FOLDER = Path(__file__).parent
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
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
