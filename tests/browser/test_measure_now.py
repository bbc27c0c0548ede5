"""The button with which an operator has a line measured, in a real Chromium."""

import threading
from pathlib import Path

from collector.services import Services
from tests.browser.chromium import Chromium
from tests.browser.test_page import Site
from tests.support.province_fixture import SEEDS, province
from xomnet.contract import commands
from xomnet.contract.commands import Command, Reply, decode_command
from xomnet.contract.messages import encode
from xomnet.runtime.clock import utc_now

TOKEN = "an operator's own secret"
SAID = "document.querySelector('#measure .said').textContent"


class Unit:
    """The broker and the unit behind it: it answers at once."""

    def __init__(self, services: Services) -> None:
        self._commands = services.commands
        self.heard: list[Command] = []
        self.refuses = False
        self._commands.on_queued(lambda: threading.Thread(target=self._commands.send, args=(self,)).start())

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        command = decode_command(payload)
        self.heard.append(command)
        _, _, agent, _ = topic.split("/")
        reply = Reply(id=command.id, agent=agent, ok=True, tested=(commands.Tested(line="ftth", down_mbps=101.5),))
        if self.refuses:
            reply = Reply(id=command.id, agent=agent, ok=False, error="budget", detail="no bytes are left")
        self._commands.on_reply(agent, encode(reply))
        return len(self.heard)


def test_an_operator_has_a_line_measured_and_reads_why_not(tmp_path: Path) -> None:
    services = province(tmp_path, SEEDS[:2])
    unit, line = Unit(services), services.registry().current(utc_now())[0]
    site = Site(services, TOKEN)
    with Chromium(tmp_path / "profile") as browser:
        browser.open(f"{site.url}/lines/{line.agent}/{line.line}?lang=en")

        def press(token: str) -> None:
            browser.run("document.querySelector('[data-opens=measure]').click()")
            browser.run(f"document.querySelector('#measure [name=token]').value = {token!r}")
            browser.run("document.querySelector('#measure [value=send]').click()")

        press("not the operator's token")
        browser.until(f"{SAID}.includes('token')")
        assert unit.heard == []
        browser.run("document.querySelector('#measure').close()")
        unit.refuses = True
        press(TOKEN)
        browser.until(f"{SAID} === 'no bytes are left'")
        browser.open(f"{site.url}/lines/{line.agent}/{line.line}?lang=vi")
        press(TOKEN)
        browser.until(f"{SAID} === 'Không đo: hạn mức dung lượng còn lại của tháng không đủ.'")
        browser.run("document.querySelector('#measure').close(); window.stays = true")
        unit.refuses = False
        press(TOKEN)
        browser.until("window.stays === undefined && document.readyState === 'complete'")
        assert [(one.name, one.line, one.asked) for one in unit.heard] == [("measure", line.line, "operator")] * 3
    site.stop()
