"""The small texts that clients expect, word for word where they parse them."""

import json

from measurement_server.routes import KNOWN_PATHS

LATENCY = "test=test\n"

INDEX = f"""xomnet measurement server.
Known paths: {KNOWN_PATHS}.

upload_extension: "php"
"""
"""The last line makes `speedtest-cli --mini` take this for a Speedtest Mini."""

PLACE = 'lat="20.4388" lon="106.1621"'
"""Nam Định. speedtest-cli must have one; client and server share it, so that the distance is 0."""


def address(ip: str) -> str:
    """What LibreSpeed's getIP.php says when it knows no more than the address."""
    return json.dumps({"processedString": ip, "rawIspInfo": ""}, separators=(",", ":"))


def config(client_ip: str, test_s: int) -> str:
    """The configuration of www.speedtest.net, as much of it as speedtest-cli reads, with Ookla's usual values."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<settings>
<client ip="{client_ip}" {PLACE} isp="measured by xomnet" isprating="0" rating="0" country="VN"/>
<server-config threadcount="4" ignoreids=""/>
<download testlength="{test_s}" threadsperurl="4"/>
<upload testlength="{test_s}" ratio="5" threads="2" maxchunkcount="50" threadsperurl="4"/>
</settings>
"""


def servers(host_port: str) -> str:
    """A list of one server: this one, under the address at which the client reached it."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<settings>
<servers>
<server url="http://{host_port}/speedtest/upload.php" {PLACE} name="xomnet" country="Viet Nam" cc="VN" \
sponsor="xomnet" id="1" host="{host_port}"/>
</servers>
</settings>
"""
