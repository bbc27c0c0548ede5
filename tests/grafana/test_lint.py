"""The rules that every dashboard keeps, and that the files in git are what the code says."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from collector.judge.verdict import VERDICTS
from collector.state_points.units import PROBLEMS
from grafana.columns import COLUMNS
from grafana.dashboards import GRID_WIDTH
from grafana.files import DASHBOARDS, FOLDER, dashboard, files
from grafana.panels import RESULTS_SOURCE, ROLLUPS_SOURCE
from grafana.words import LANGUAGES, Language, words
from xomnet.states import CODES, LOOKS, STATES

BOTH = [(key, language) for key in DASHBOARDS for language in LANGUAGES]
KINDS = {"stat", "table", "timeseries", "geomap", "barchart", "histogram", "state-timeline", "text"}
"""Panels that Grafana 10 has too."""
UNITS = {
    *(
        "none",
        "string",
        "Mbits",
        "percentunit",
        "percent",
        "s",
        "ms",
        "decbytes",
        "celsius",
        "dBm",
        "dB",
        "dateTimeAsSystem",
    ),
}
"""Identifiers of Grafana's value formats (packages/grafana-data/src/valueFormats/categories.ts)."""

TYPED_TARGET = re.compile(r"(?<![\w.#-])(70|150)(?![\w.%])")

each = pytest.mark.parametrize(("key", "language"), BOTH)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def paths(table: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(table, dict):
        for key, value in table.items():
            yield from paths(value, f"{prefix}.{key}")
    else:
        yield prefix


def units(panel: dict[str, Any]) -> Iterator[str]:
    yield panel["fieldConfig"]["defaults"]["unit"]
    for override in panel["fieldConfig"]["overrides"]:
        yield from (one["value"] for one in override["properties"] if one["id"] == "unit")


def test_the_files_are_what_the_code_says() -> None:
    stale = [path.name for path, content in files().items() if path.read_text(encoding="utf-8") != content]
    assert not stale, "run `make dashboards`"
    kept = {path for language in LANGUAGES for path in (FOLDER / "dashboards" / language).iterdir()}
    assert kept <= set(files()), "a file that nothing builds"


def test_both_languages_say_the_same_things() -> None:
    vi, en = (set(paths(words(language).table)) for language in LANGUAGES)
    assert vi == en
    assert set(PROBLEMS) == set(words("vi").table["problems"])
    assert set(VERDICTS) == set(words("vi").table["verdicts"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_left_over(language: Language) -> None:
    built = json.dumps([dashboard(key, language) for key in DASHBOARDS], ensure_ascii=False)
    table = words(language).table
    unused = [
        (part, key)
        for part in ("series", "variables", "links", "problems", "verdicts")
        for key, text in table[part].items()
        if json.dumps(text, ensure_ascii=False)[1:-1] not in built
    ]
    assert not unused
    boards = [dashboard(key, language) for key in DASHBOARDS]
    overrides = [one for board in boards for panel in board["panels"] for one in panel["fieldConfig"]["overrides"]]
    shown = {one["matcher"]["options"] for one in overrides}
    assert set(table["columns"]) <= shown
    assert set(COLUMNS) <= shown


@each
def test_a_state_and_a_verdict_have_one_word(key: str, language: Language) -> None:
    """They come from one place; a word that a version had before, or one typed in, is found here."""
    said = "\n".join(texts(dashboard(key, language)))
    assert not re.search(
        r"\b(SHORT|NOT CERTAIN|UNMEASURED|THIẾU|MẤT TÍN HIỆU|CHƯA RÕ|CHẮC CHẮN|CHƯA ĐO(?! ĐƯỢC))\b", said
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_do_not_type_the_word_of_a_state_or_verdict(language: Language) -> None:
    table = dict(words(language).table)
    typed = {look.vi if language == "vi" else look.en for look in LOOKS.values()} | set(table.pop("verdicts").values())
    found = [text for text in texts(table) for word in typed if re.search(rf"(?<!\w){word}(?!\w)", text)]
    assert not found


def test_only_the_words_differ_between_the_languages() -> None:
    for key in DASHBOARDS:
        vi, en = ([panel["targets"] for panel in dashboard(key, language)["panels"]] for language in LANGUAGES)
        assert [[t["query"] for t in one] for one in vi] == [[t["query"] for t in one] for one in en]


def test_uids_are_unique() -> None:
    built = [dashboard(*both) for both in BOTH]
    assert max(Counter(one["uid"] for one in built).values()) == 1
    assert max(Counter(one["title"] for one in built).values()) == 1
    assert all(re.fullmatch(r"[a-z-]{1,40}", one["uid"]) for one in built)


@each
def test_a_panel_says_what_it_is_what_to_do_and_in_which_unit(key: str, language: Language) -> None:
    panels = dashboard(key, language)["panels"]
    assert max(Counter(panel["id"] for panel in panels).values()) == 1
    assert max(Counter(panel["title"] for panel in panels).values()) == 1
    for panel in panels:
        assert panel["type"] in KINDS
        assert len(panel["description"]) > 60, panel["title"]
        assert set(units(panel)) <= UNITS, panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["type"] == "text" or panel["targets"], panel["title"]
        assert max(Counter(target["refId"] for target in panel["targets"]).values(), default=1) == 1


@each
def test_what_can_be_red_says_what_to_do_then(key: str, language: Language) -> None:
    """A panel with thresholds or states names the colour, so that the reader finds the remedy beside it."""
    for panel in dashboard(key, language)["panels"]:
        red = (
            LOOKS["short"].colour in json.dumps(panel["fieldConfig"]["defaults"]["thresholds"])
            if ("thresholds" in panel["fieldConfig"]["defaults"])
            else False
        )
        said = re.search(r"\b(đỏ|dưới vạch|red|below)\b", panel["description"], re.IGNORECASE)
        assert said or not red, panel["title"]


@each
def test_no_panel_covers_another(key: str, language: Language) -> None:
    places = [panel["gridPos"] for panel in dashboard(key, language)["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= GRID_WIDTH for place in places)
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (a, b)


@each
def test_every_variable_is_used_and_every_use_is_a_variable(key: str, language: Language) -> None:
    board = dashboard(key, language)
    names = {one["name"] for one in board["templating"]["list"]}
    queries = "".join(t["query"] for panel in board["panels"] for t in panel["targets"])
    queries += "".join(one["query"] for one in board["templating"]["list"])
    assert set(re.findall(r"\$\{(\w+)", queries)) - {"__from"} == names
    linked = set(re.findall(r"\$\{(\w+)(?::\w+)?\}", "\n".join(texts(board))))
    assert linked <= names | {"__url_time_range", "__from"}


@each
def test_no_target_is_typed_in(key: str, language: Language) -> None:
    """What a line must reach is in the registry and in targets.yaml; a dashboard compares `ratio` with 1."""
    typed = [text for text in texts(dashboard(key, language)) if TYPED_TARGET.search(text)]
    assert not typed


@each
def test_a_query_leads_to_the_database_that_keeps_its_measurement(key: str, language: Language) -> None:
    for panel in dashboard(key, language)["panels"]:
        for target in panel["targets"]:
            (measurement,) = set(re.findall(r'FROM "(\w+)"', target["query"]))
            kept_for_years = measurement.endswith(("_hour", "_day", "_month"))
            assert target["datasource"]["uid"] == (ROLLUPS_SOURCE if kept_for_years else RESULTS_SOURCE)
            assert re.search(r"\$timeFilter|\$\{__from}|now\(\)", target["query"])


@each
def test_links_lead_to_dashboards_of_the_same_language(key: str, language: Language) -> None:
    uids = {dashboard(key, language)["uid"] for key in DASHBOARDS}
    other = {f"xomnet-{key}-{one}" for one in LANGUAGES for key in DASHBOARDS} - uids
    found = set(re.findall(r"/d/([a-z-]+)", "\n".join(texts(dashboard(key, language)["panels"]))))
    assert found <= uids
    assert set(re.findall(r"/d/([a-z-]+)", "\n".join(texts(dashboard(key, language)["links"])))) & other


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_province_leads_to_areas_and_lines(language: Language) -> None:
    board = "\n".join(texts(dashboard("province", language)["panels"]))
    assert f"/d/xomnet-province-{language}?" in board
    assert f"/d/xomnet-line-{language}?" in board


@each
def test_a_state_has_its_word_its_mark_and_its_colour(key: str, language: Language) -> None:
    found = [
        mapping["options"]
        for panel in dashboard(key, language)["panels"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == "state_code"
        for one in override["properties"]
        if one["id"] == "mappings"
        for mapping in one["value"]
    ]
    expected = {
        str(CODES[state]): {"text": words(language).state(state), "color": LOOKS[state].colour, "index": i}
        for i, state in enumerate(STATES)
    }
    assert all(one == expected for one in found)
    assert found or key in ("fleet", "report")


@each
def test_no_state_is_without_its_word_and_none_but_meeting_is_green(key: str, language: Language) -> None:
    """Also of panels that colour by codes, and a state that this version does not know yet."""
    green, meeting = LOOKS["meeting"].colour, CODES["meeting"]
    found = 0
    for panel in dashboard(key, language)["panels"]:
        config = panel["fieldConfig"]
        properties = [{one["id"]: one["value"] for one in override["properties"]} for override in config["overrides"]]
        for looks in (config["defaults"], *properties):
            for mapping in looks.get("mappings", ()):
                if mapping["options"].get(str(meeting), {}).get("color") != green:
                    continue
                found += 1
                assert {code for code, of in mapping["options"].items() if of["color"] == green} == {str(meeting)}
                assert mapping["options"].keys() == {str(code) for code in CODES.values()}
                assert looks["thresholds"]["steps"][-1]["color"] != green
    assert found or key in ("fleet", "report")


def test_the_lint_sees_a_typed_target() -> None:
    assert TYPED_TARGET.search('"ratio" * 70 > 1')
    assert not TYPED_TARGET.search("#150000 1.70 170")
