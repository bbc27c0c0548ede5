"""The roles' templates, rendered without Ansible: in a moment, and without its own filters."""

from pathlib import Path
from typing import Any

import jinja2
import yaml

from tests.deploy.site import ROOT

PLAYS = ROOT / "deploy/ansible"


def rendered(template: Path, **more: object) -> str:
    """What a role writes with its defaults and the settings of group_vars; `more` are other settings."""
    role = next(folder for folder in template.parents if folder.parent.name == "roles")
    files = [
        PLAYS / "group_vars/all.yml",
        PLAYS / "group_vars" / ("agents.yml" if role.name == "agent" else "server.yml"),
    ]
    files += [path for part in ("defaults", "vars") for path in role.glob(f"{part}/*.yml")]
    variables = {key: value for file in files for key, value in (yaml.safe_load(file.read_text()) or {}).items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([role / "templates", template.parent]),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # none of this is HTML
    )
    environment.filters["bool"] = lambda value: str(value).lower() in ("true", "yes", "1")
    known: dict[str, Any] = {"ansible_managed": "Ansible", **variables, **more}
    for key, value in known.items():
        if isinstance(value, str) and "{{" in value:
            try:
                known[key] = environment.from_string(value).render(known)
            except jinja2.TemplateError:
                continue  # takes what only Ansible knows; no template of these tests needs it
    return environment.get_template(template.name).render(known)
