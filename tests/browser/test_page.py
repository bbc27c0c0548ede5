"""What a person sees in a real Chromium is what the REST interface says, in both languages and on a phone.

Pictures of every screen are kept in `artifacts/`.
"""

import datetime as dt
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from collector.services import Services
from collector.texts.texts import LANGUAGES, Language, Texts
from collector.web import create_app
from tests.browser.chromium import Chromium
from tests.support.province_fixture import HOSTILE, RULES, SEEDS, fill, province, services
from xomnet.states import LOOKS, STATES

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
PHONE = (360, 740)
DESKTOP = (1440, 900)

ROWS = """[...document.querySelectorAll("tbody tr[data-line]")].map(row => {
  const seen = e => e && e.checkVisibility();
  const text = name => { const e = row.querySelector(name); return seen(e) ? e.innerText.trim() : null; };
  return {line: row.dataset.line,
          stateHeight: row.querySelector(".pill").getBoundingClientRect().height,
          mark: text(".pill .sign"), word: text(".pill .word"), median: text(".median"),
          target: text(".goal"), n: text(".n"), hamlet: text(".place a"),
          bar: row.querySelector("svg.bar").getAttribute("aria-label"),
          barWidth: row.querySelector("svg.bar").getBoundingClientRect().width,
          targetAt: row.querySelector("svg.bar .target").getBoundingClientRect().x};
})"""


class Site:
    """A real uvicorn on a free port."""

    def __init__(self, over: Services, operator_token: str | None = None) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(create_app(over, operator_token), log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return province(tmp_path_factory.mktemp("province"))


@pytest.fixture(scope="module")
def site(seeded: Services) -> Iterator[str]:
    running = Site(seeded)
    yield running.url
    running.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path / "profile") as chromium:
        yield chromium
        assert chromium.logged == []  # neither an error nor a refusal of the Content-Security-Policy


def shown(browser: Chromium, name: str, width: int, height: int, dark: bool = False) -> None:
    """Keeps a picture of the whole page."""
    mobile = width < 500
    browser.screen(width, height, dark, mobile)
    whole = int(browser.run("document.documentElement.scrollHeight"))
    browser.screen(width, max(height, min(whole, 8000)), dark, mobile)
    browser.picture(ARTIFACTS / f"{name}.png")
    browser.screen(width, height, dark, mobile)


def no_sideways_scroll(browser: Chromium) -> None:
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def lines_of(site: str, query: str = "") -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = httpx.get(f"{site}/api/v1/lines{query}").json()["lines"]
    return lines


def rows_are_the_lines(rows: list[dict[str, Any]], lines: list[dict[str, Any]], language: Language) -> None:
    t = Texts(language)
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        look = LOOKS[line["state"]]
        median = line.get("median_mbps")
        assert row["line"] == f"{line['agent']} / {line['line']}"
        assert (row["mark"], row["word"]) == (look.mark, look.vi if language == "vi" else look.en)
        assert row["median"] == ("–" if median is None else t.mbps(median, line["target_mbps"]))
        assert row["target"] == t.target(line["target_mbps"])
        assert row["n"] == t.number(line["samples"], 0)
        assert row["hamlet"] == line["hamlet"]
        assert t.target(line["target_mbps"]) in row["bar"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", [DESKTOP, PHONE, (900, 1200)])
def test_every_row_is_what_the_interface_says(
    browser: Chromium, site: str, language: Language, size: tuple[int, int]
) -> None:
    browser.screen(*size, mobile=size == PHONE)
    browser.open(f"{site}/?lang={language}")
    lines = lines_of(site)
    rows = browser.run(ROWS)
    assert {line["state"] for line in lines} == set(STATES)
    rows_are_the_lines(rows, lines, language)
    assert len({round(row["targetAt"], 1) for row in rows}) == 1, "the target is one line through all rows"
    assert all(row["barWidth"] > 100 for row in rows)
    assert all(row["stateHeight"] < 60 for row in rows), "a state's word was broken into letters"
    meeting = sum(line["state"] == "meeting" for line in lines)
    heading = browser.run("document.querySelector('h1').innerText")
    assert heading.startswith(f"{meeting}/{len(lines)} " if language == "vi" else f"{meeting} of {len(lines)} ")
    no_sideways_scroll(browser)
    shown(browser, f"overview-{language}-{size[0]}", *size)


def test_a_figure_a_vietnamese_reads_has_a_comma(browser: Chromium, site: str) -> None:
    browser.open(site)
    assert all("," in row["median"] for row in browser.run(ROWS) if row["median"] != "–")
    browser.open(f"{site}/?lang=en")
    assert all("." in row["median"] for row in browser.run(ROWS) if row["median"] != "–")


def test_chips_narrow_the_table_and_the_address_keeps_them(browser: Chromium, site: str) -> None:
    browser.screen(*DESKTOP)
    browser.open(site)
    chip = "[...document.querySelectorAll('.chip')].find(c => c.innerText.includes('{}')).click()"
    for step, (word, query) in enumerate(
        [("Hải Hậu", "?area=Nam Định/Hải Hậu"), ("Di động", "?access=mobile&area=Nam Định/Hải Hậu")]
    ):
        browser.run(chip.format(word))
        browser.until(f"document.readyState === 'complete' && location.search.split('&').length === {step + 1} "
                      "&& location.search.includes('area')")  # fmt: skip
        rows_are_the_lines(browser.run(ROWS), lines_of(site, query), "vi")
    assert len(browser.run(ROWS)) == 2
    shown(browser, "overview-filtered", *DESKTOP)


def test_a_phone_reaches_the_filters_and_every_link_has_a_name(browser: Chromium, site: str) -> None:
    browser.screen(*PHONE, mobile=True)
    browser.open(site)
    assert not browser.run("document.querySelector('#by-area').checkVisibility()")
    browser.run("document.querySelector('.more-filters summary').click()")
    browser.until("document.querySelector('#by-area').checkVisibility()")
    names = browser.run("[...document.querySelectorAll('main a')].map(a => (a.textContent || '').trim())")
    assert all(names)
    assert browser.run("[...document.querySelectorAll('svg:not([aria-hidden]):not(svg svg)')]"
                       ".every(s => s.getAttribute('aria-label') && s.querySelector('title'))")  # fmt: skip


def test_the_page_brings_itself_up_to_date_without_losing_its_place(browser: Chromium, tmp_path: Path) -> None:
    made = services(tmp_path, SEEDS, rules=RULES)
    made.lines.take_snapshot()
    running = Site(made)
    try:
        browser.screen(360, 500, mobile=True)
        browser.open(running.url)
        browser.until("document.body.innerText.includes('ba điều cần kiểm tra')")
        shown(browser, "empty-phone", *PHONE)
        shown(browser, "empty", *DESKTOP)
        browser.screen(360, 500, mobile=True)
        browser.run("window.mine = 1; document.querySelectorAll('.place a')[9].focus(); scrollTo(0, 700)")
        fill(made.store, SEEDS, dt.datetime.now(dt.UTC))
        made.lines.take_snapshot()
        browser.until("document.querySelectorAll('tr.meeting').length > 2")
        assert browser.run("window.mine") == 1, "the page was replaced, not loaded anew"
        assert browser.run("scrollY") > 300
        assert browser.run("document.activeElement.matches('.place a')")
    finally:
        running.stop()
    browser.until("document.querySelector('#lost').checkVisibility()")
    assert "Máy chủ không trả lời từ" in browser.run("document.querySelector('#lost').innerText")
    shown(browser, "server-gone", *DESKTOP)
    browser.logged.clear()  # the refused connections


def test_before_the_first_look_the_page_says_so_and_then_becomes_the_lines_own(
    browser: Chromium, tmp_path: Path
) -> None:
    made = services(tmp_path, SEEDS[:3], rules=RULES)
    fill(made.store, SEEDS[:3], dt.datetime.now(dt.UTC))
    running = Site(made, "a-token-of-twenty-letters")
    try:
        browser.open(f"{running.url}/lines/nd-giaothuy-0002/4g")
        browser.until("document.body.innerText.includes('lần đầu')")
        made.lines.take_snapshot()
        browser.until("document.querySelector('[data-opens=measure]')?.checkVisibility()")  # its buttons came, too
    finally:
        running.stop()


def test_the_page_of_a_line_shows_its_tests(browser: Chromium, site: str) -> None:
    line = "nd-giaothuy-0002/4g"
    browser.screen(*DESKTOP)
    browser.open(f"{site}/lines/{line}")
    until = dt.datetime.now(dt.UTC)
    since = until - dt.timedelta(days=30)
    results = httpx.get(
        f"{site}/api/v1/lines/{line}/speed", params={"from": since.isoformat(), "to": until.isoformat()}
    ).json()["results"]
    count = "document.querySelectorAll('.downloads {}').length"
    assert browser.run(count.format(".dot.counted")) == sum(r["counts"] and "error" not in r for r in results)
    assert browser.run(count.format(".dot.flagged")) == sum(not r["counts"] and "error" not in r for r in results)
    assert browser.run(count.format(".cross")) == sum("error" in r for r in results)
    assert browser.run("document.querySelectorAll('.outages .outage').length") == 6
    assert browser.run("document.querySelectorAll('.downloads .peak').length") >= 30
    table = browser.run("[...document.querySelectorAll('.tests tbody tr')].map(r => r.cells[1].innerText.trim())")
    t = Texts("vi")
    newest = list(reversed(results))[: len(table)]
    assert table == [t.mbps(r["down_mbps"]) if "down_mbps" in r else "×" for r in newest]
    heads = "[...document.querySelectorAll('.chart .when')].map(w => w.getBoundingClientRect().x | 0)"
    assert len(set(browser.run(heads))) <= 8, "all charts share one time axis"
    shown(browser, "line-vi", *DESKTOP)
    shown(browser, "line-dark", *DESKTOP, dark=True)
    browser.run("[...document.querySelectorAll('.ranges a')].find(a => a.innerText === '24 giờ').click()")
    browser.until("location.search === '?hours=24' && document.readyState === 'complete'")
    browser.open(f"{site}/lines/{line}?lang=en&hours=168")
    shown(browser, "line-en", *DESKTOP)
    browser.screen(*PHONE, mobile=True)
    no_sideways_scroll(browser)
    shown(browser, "line-phone", *PHONE)


def test_dark_and_print_are_readable(browser: Chromium, site: str) -> None:
    browser.screen(*DESKTOP, dark=True)
    browser.open(site)
    colours = browser.run("[getComputedStyle(document.documentElement).backgroundColor, "
                          "getComputedStyle(document.querySelector('h1')).color]")  # fmt: skip
    assert [sum(int(part) for part in colour[4:-1].split(",")) > 384 for colour in colours] == [False, True]
    shown(browser, "overview-dark", *DESKTOP, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert not browser.run("document.querySelector('.filters').checkVisibility()")
    browser.picture(ARTIFACTS / "overview-print.png")


def test_hostile_and_endless_names_neither_run_nor_break_the_page(browser: Chromium, tmp_path: Path) -> None:
    running = Site(province(tmp_path, [HOSTILE, *SEEDS[:4]]))
    try:
        browser.screen(*PHONE, mobile=True)
        for path in ("/", "/lines/nd-hostile-0001/ftth"):
            browser.open(running.url + path)
            assert "<script>alert('xóm')</script>" in browser.run("document.querySelector('main').innerText")
            assert browser.run("document.querySelectorAll('main script, main img').length") == 0
            no_sideways_scroll(browser)
            shown(browser, "hostile-phone", *PHONE)
    finally:
        running.stop()
