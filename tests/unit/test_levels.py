"""Compression levels by name and by number."""

import pytest

from imaging import levels, planner
from imaging.chunk import DEFAULT_LEVEL
from imaging.errors import UsageError
from tests.unit.builders import a_disk
from tests.unit.test_planner import LIBRARY


@pytest.mark.parametrize(("word", "level"), [("fast", 1), ("normal", 3), ("small", 9), ("1", 1), ("7", 7), ("19", 19)])
def test_a_level_is_a_name_or_a_number(word: str, level: int) -> None:
    assert levels.parse(word) == level


@pytest.mark.parametrize("word", ["", "0", "20", "-1", "+3", "3.0", "²", "tiny", "Fast", "9" * 5000])
def test_other_words_are_refused_with_what_can_be_given(word: str) -> None:
    with pytest.raises(UsageError) as error:
        levels.parse(word)
    assert error.value.code == "bad-level"
    assert error.value.hint == "give fast, normal, small, or 1 to 19"


def test_the_default_is_normal() -> None:
    assert levels.name(DEFAULT_LEVEL) == "normal"
    assert levels.name(7) == "level 7"


def test_the_title_of_a_capture_names_a_level_that_is_not_the_default() -> None:
    assert planner.plan_capture([a_disk()], LIBRARY).title == "Back up sda"
    assert planner.plan_capture([a_disk()], LIBRARY, level=9).title == "Back up sda (small)"
    assert planner.plan_capture([a_disk()], LIBRARY, level=7).title == "Back up sda (level 7)"
