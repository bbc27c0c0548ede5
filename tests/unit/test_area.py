"""The path of an area has one home; the updater and Grafana, which have forms of their own, agree with it."""

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grafana import influxql
from tests.support.packages import PACKAGES, ROOT, files_of
from updater.canary_rollout import RolloutStage, is_included
from xomnet.area import areas_of, below, is_within, join_levels, last_level, levels, same_name, shared_area

PROGRAMS = (*PACKAGES, "grafana", "deploy")
APART = re.compile(
    r"(?<!re)(?<!url\.)(area|place|path)(\.name)?\W{0,4}\.(r?split|r?partition|remove(pre|suf)fix|startswith|r?find|count)\("
)
"""What takes the path of an area apart; the path of an address is another matter."""
NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
AREAS = (
    *("Ninh Bình", "Ninh Bình/xã Hải Anh", "Ninh Bình/xã Hải An", "Ninh Bình/phường Đông A", "Ninh"),
    *("Nam Định/Hải Hậu/Hải Minh", "Nam Định/Hải Hậu", "Nam Định", "Hải Hậu", "Nam Định/Hải Hậu/Hải Minh (cũ)"),
)
names = st.text("ABab .(-|", min_size=1, max_size=4)
paths = st.lists(names, min_size=1, max_size=4).map(join_levels)


def test_a_path_has_levels_and_the_areas_that_it_lies_in() -> None:
    assert levels("A/B/C") == ("A", "B", "C")
    assert list(areas_of("A/B/C")) == ["A", "A/B", "A/B/C"]
    assert (last_level("A/B/C"), last_level("A")) == ("C", "A")
    assert (levels(""), list(areas_of(""))) == ((), [])


@pytest.mark.parametrize(
    ("paths", "shared"),
    [
        (["A/B/C", "A/B/D"], "A/B"),
        (["A/B", "A/B/C"], "A/B"),
        (["A/B"], "A/B"),
        (["A", "B"], ""),
        (["AB/C", "A/C"], ""),
        ([], ""),
    ],
)
def test_the_area_that_paths_share(paths: list[str], shared: str) -> None:
    assert shared_area(paths) == shared


@given(paths, paths)
def test_a_path_is_within_the_areas_that_it_lies_in_and_no_other(path: str, area: str) -> None:
    assert is_within(path, area) == (area in areas_of(path))


@given(st.lists(paths, min_size=1, max_size=4))
def test_each_path_is_the_shared_area_and_what_lies_below_it(some: list[str]) -> None:
    shared = shared_area(some)
    for path in some:
        assert path == join_levels(part for part in (shared, below(path, shared)) if part)


def test_a_name_is_the_same_whatever_bytes_a_keyboard_writes_it_in() -> None:
    assert same_name("Hải Hậu/", "Hải Hậu")
    assert not same_name("Hải Hau", "Hải Hậu")


@pytest.mark.parametrize("path", AREAS)
@pytest.mark.parametrize("area", AREAS)
def test_a_release_comes_to_the_units_within_its_areas(path: str, area: str) -> None:
    """The updater is standard library alone, so it has a line of its own."""
    stage = RolloutStage(NOW, areas=(area,))
    assert is_included([stage], "1.0", "nd-a", path, NOW) == is_within(path, area)


def by_grafana(where: str, area: str, path: str) -> bool:
    """Whether a condition of the dashboards finds a path, with one area chosen."""
    found = re.search(r"=~ /(\^\$\{area:regex\}.*?\$)/", where)
    assert found
    pattern = found[1].replace("${area:regex}", re.escape(area).replace("/", r"\/"))
    return re.search(pattern.replace(r"\/", "/"), path) is not None


@pytest.mark.parametrize("path", AREAS)
@pytest.mark.parametrize("area", AREAS)
def test_grafana_finds_the_lines_within_an_area_and_the_places_of_its_next_level(path: str, area: str) -> None:
    assert by_grafana(influxql.IN_AREA, area, path) == is_within(path, area)
    assert by_grafana(influxql.AREAS, area, path) == (path == area)
    next_level = is_within(path, area) and len(levels(below(path, area))) <= 1
    assert by_grafana(influxql.BELOW, area, path) == next_level


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("names = area.split('/')", True),
        ("row.area.rpartition(SEPARATOR)", True),
        ("one.place.name.count('/')", True),
        ("request.url.path.startswith('/api/')", False),
        ("levels(area)", False),
        ("areas.count(area)", False),
        ("text.replace('a', 'b').split()", False),
    ],
)
def test_each_way_to_take_a_path_apart_is_seen(source: str, found: bool) -> None:
    assert (APART.search(source) is not None) is found


def test_no_other_program_file_takes_a_path_apart() -> None:
    found = {str(file.relative_to(ROOT)) for file in files_of(PROGRAMS) if APART.search(file.read_text("utf-8"))}
    assert found == {"xomnet/area.py", "updater/canary_rollout.py"}
