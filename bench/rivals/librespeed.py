"""LibreSpeed's command-line client against our server, which speaks LibreSpeed's paths."""

import json
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile

from bench.tools import Inside, Run, accounted

OBTAINED = Path(__file__).parent / ".obtained" / "usr" / "bin" / "librespeed-cli"


def librespeed_cli(url: str, inside: Inside) -> Run:
    """With its defaults (three streams, 15 s), without the upload. Its figure as it says it, in Mb/s.

    This client multiplies by no overhead factor; LibreSpeed's web page does, by 1.06.
    """
    program = shutil.which("librespeed-cli") or str(OBTAINED)
    server = {"id": 1, "name": "xomnet", "server": url, "dlURL": "garbage.php", "ulURL": "empty.php"}
    with NamedTemporaryFile("w", suffix=".json") as servers:
        json.dump([server | {"pingURL": "empty.php", "getIpURL": "getIP.php"}], servers)
        servers.flush()
        command = [program, "--json", "--no-upload", "--no-icmp", "--local-json", servers.name, "--server", "1"]
        output, cost = accounted(inside, command, [program, "--version"])
    said = json.loads(output)[0]
    return Run(said["download"], said["bytes_received"], *cost)
