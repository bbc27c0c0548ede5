"""Files that come with xomnet: in a checkout under `config/`, in an installed package beside the code."""

from pathlib import Path


def config_file(name: str) -> Path:
    """The path of a file of `config/`."""
    here = Path(__file__).parent
    installed = here / "config" / name
    return installed if installed.exists() else here.parent / "config" / name
