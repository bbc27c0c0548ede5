"""The operator's buttons, pressed in a real Chromium: the token is asked for once, and what is kept is shown."""

from pathlib import Path

from tests.browser.chromium import Chromium
from tests.browser.test_page import DESKTOP, Site, shown
from tests.support.province_fixture import province
from xomnet.runtime.clock import utc_now

TOKEN = "a-token-of-twenty-letters"

PRESS = """(() => {
  document.querySelector('[data-opens="%s"]').click();
  const form = document.querySelector('#%s form');
  const token = form.elements.token.value;
  for (const [name, value] of Object.entries(%s)) form.elements[name].value = value;
  return token;
})()"""


def press(browser: Chromium, dialog: str, fields: str) -> str:
    """Opens a dialog and fills it; returns the token that it had by itself."""
    return str(browser.run(PRESS % (dialog, dialog, fields)))


def test_an_alert_is_acknowledged_and_the_token_is_asked_for_once(tmp_path: Path) -> None:
    services = province(tmp_path)
    site = Site(services, TOKEN)
    try:
        with Chromium(tmp_path / "profile") as browser:
            browser.screen(*DESKTOP)
            browser.open(f"{site.url}/lines/nd-giaothuy-0002/4g?lang=vi")
            assert browser.run("document.querySelector('.operator').checkVisibility()")
            wrong = f'{{"by": "Lan", "note": "đã đặt ăng-ten", "token": "{TOKEN[:-1]}"}}'
            assert press(browser, "acknowledge", wrong) == ""
            shown(browser, "operator-acknowledge", *DESKTOP)
            browser.run("document.querySelector('#acknowledge [value=send]').click()")
            browser.until("document.querySelector('#acknowledge .said').textContent.includes('mã không đúng')")
            browser.run(f"document.querySelector('#acknowledge [name=token]').value = '{TOKEN}'")
            browser.run("document.querySelector('#acknowledge [value=send]').click()")
            browser.until("document.querySelector('.acts .standing')?.textContent.includes('Lan đã tiếp nhận')")
            assert browser.run("document.querySelector('[data-opens=acknowledge]')") is None
            assert press(browser, "maintenance", '{"hours": 2, "why": "thay bộ định tuyến"}') == TOKEN
            browser.run("document.querySelector('#maintenance [value=send]').click()")
            browser.until("document.querySelector('main')?.textContent?.includes('thay bộ định tuyến')")
            shown(browser, "operator-maintenance", *DESKTOP)
            assert [line for line in browser.logged if "401" not in line] == []
        assert services.alerts is not None
        assert [window.why for window in services.alerts.store.windows(utc_now())] == ["thay bộ định tuyến"]
    finally:
        site.stop()
