#!/usr/bin/env python3
"""The units as Ansible's inventory, from the registry: one source for the collector, the dashboards and the plays.

The registry is `XOMNET_REGISTRY`, else `lines.csv` in this folder. Groups: `agents`, and one for each area
(`area_nam_dinh`, below it `area_nam_dinh__hai_hau`). Of a unit: `xomnet_agent`, `xomnet_area`, `xomnet_hamlet`, and
`xomnet_lines` with the rows in force today. A unit that has only rows to come is there too: it is installed before.
"""

import datetime as dt
import json
import os
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

from xomnet.area import levels
from xomnet.defaults import config_file
from xomnet.registry.registry import LineRow, Registry, RegistryError, load_registry
from xomnet.targets import load_targets


def inventory(registry: Registry, now: dt.datetime) -> dict[str, Any]:
    """What `--list` prints."""
    of_agent: dict[str, dict[str, LineRow]] = {}
    today = now.astimezone(registry.zone).date()
    for row in registry.rows():  # each line's in the order of its dates
        lines = of_agent.setdefault(row.agent, {})
        if row.line not in lines or row.from_ <= today:
            lines[row.line] = row
    groups: dict[str, Any] = {"agents": {"hosts": sorted(of_agent)}}
    for agent, lines in of_agent.items():
        parent = None
        for name in _groups(next(iter(lines.values())).area):
            groups.setdefault(name, {"hosts": [], "children": []})
            if parent and name not in groups[parent]["children"]:
                groups[parent]["children"].append(name)
            parent = name
        if parent:
            groups[parent]["hosts"].append(agent)
    return {**groups, "_meta": {"hostvars": {agent: _variables(lines) for agent, lines in of_agent.items()}}}


def _groups(area: str) -> list[str]:
    """The groups of an area, the widest first."""
    parts = [_ascii(part) for part in levels(area)]
    return ["area_" + "__".join(parts[: i + 1]) for i in range(len(parts))]


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]+", "_", letters.lower()).strip("_")


def _variables(lines: dict[str, LineRow]) -> dict[str, Any]:
    first = next(iter(lines.values()))
    return {
        "xomnet_agent": first.agent,
        "xomnet_area": first.area,
        "xomnet_hamlet": first.hamlet,
        "xomnet_lines": [
            {
                key: value
                for key, value in {
                    "line": row.line,
                    "access": row.access,
                    "interface": row.interface,
                    "target_mbps": row.target_mbps,
                }.items()
                if value is not None
            }
            for row in lines.values()
        ],
    }


def main() -> int:
    path = Path(os.environ.get("XOMNET_REGISTRY") or Path(__file__).with_name("lines.csv"))
    try:
        registry = load_registry(path, load_targets(config_file("targets.yaml")))
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(inventory(registry, dt.datetime.now(dt.UTC)), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
