"""What Grafana reads at its start, read on the server where the plays have put it, as Grafana reads it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.machines import Machine
from tests.deploy.site import ROOT

HOME = "/etc/grafana/xomnet"
VARIABLE = re.compile(r"(?<!\$)\$(?:\{(\w+)\}|([A-Z]\w+))")
"""As Grafana expands them in provisioning files; `$$` stands for the sign itself."""
SECRET_FILE = re.compile(r"\$__file\{([^}]+)\}")


def provisioned(server: Machine) -> list[Path]:
    """All files, each equal to that of the repository. Raises AssertionError where one differs, names a variable
    without a value, or names a file or folder that Grafana's user cannot read.
    """
    environment = _environment(server)
    assert environment["GF_PATHS_PROVISIONING"] == f"{HOME}/provisioning"
    files = [Path(line) for line in _as_grafana(server, f"find {HOME}/dashboards {HOME}/provisioning -type f").split()]
    ours = [path for part in ("dashboards", "provisioning") for path in (ROOT / "grafana" / part).rglob("*.*")]
    assert {str(file.relative_to(HOME)) for file in files} == {str(path.relative_to(ROOT / "grafana")) for path in ours}
    for file in files:
        text = _as_grafana(server, f"cat {file}")
        assert text == (ROOT / "grafana" / file.relative_to(HOME)).read_text(), file
        if file.suffix == ".json":
            assert json.loads(text)["uid"]
        else:
            _resolves(server, file, yaml.safe_load(text), environment)
    return files


def _resolves(server: Machine, file: Path, found: Any, environment: dict[str, str]) -> None:
    if isinstance(found, dict):
        for key, value in found.items():
            _resolves(server, file, value, environment)
            if key == "path":
                _as_grafana(server, f"test -d {_expanded(value, environment)}")
    elif isinstance(found, list):
        for value in found:
            _resolves(server, file, value, environment)
    elif isinstance(found, str):
        for names in VARIABLE.findall(SECRET_FILE.sub("", found)):
            name = "".join(names)
            assert environment.get(name) or not name.startswith("XOMNET_"), f"{file}: {name} has no value"
        for secret in SECRET_FILE.findall(found):
            assert _as_grafana(server, f"cat {_expanded(secret, environment)}").strip(), f"{file}: {secret} is empty"


def _expanded(text: str, environment: dict[str, str]) -> str:
    return VARIABLE.sub(lambda found: environment["".join(filter(None, found.groups()))], text)


def _environment(server: Machine) -> dict[str, str]:
    """What the drop-in of its service gives it."""
    (file,) = re.findall(r"(\S+) \(", server.run("systemctl", "show", "-P", "EnvironmentFiles", "grafana-server"))
    lines = server.root_run(f"cat {file}").splitlines()
    return dict(line.split("=", 1) for line in lines if line)


def _as_grafana(server: Machine, command: str) -> str:
    return server.root_run(f"runuser -u grafana -- sh -c {shlex.quote(command)}")
