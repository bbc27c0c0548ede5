"""Exports the JSON Schemas of the messages: `python -m xomnet.contract.schemas docs/protocol`."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from xomnet.contract.commands import Command, Reply
from xomnet.contract.messages import Ack, AgentState, Result

MESSAGES: dict[str, Any] = {"result": Result, "ack": Ack, "state": AgentState, "command": Command, "reply": Reply}


def schemas() -> dict[str, str]:
    """File name -> text of each message's JSON Schema (draft 2020-12)."""
    return {
        f"{name}.schema.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": f"xomnet contract version 1: {name}",
                **msgspec.json.schema(kind),
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for name, kind in MESSAGES.items()
    }


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for file, text in schemas().items():
        (target / file).write_text(text, encoding="utf-8")
