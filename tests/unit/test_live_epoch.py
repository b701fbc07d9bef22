"""The one date that a build of the live image writes."""

import pytest

from livebuild import epoch
from livebuild.process import BuildError, tool_environment


def test_the_date_of_a_build_is_what_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert epoch.source_date() == 1_700_000_000
    assert epoch.source_date_text() == "2023-11-14T22:13:20Z"
    assert epoch.dated()["SOURCE_DATE_EPOCH"] == "1700000000"
    assert epoch.dated(0)["SOURCE_DATE_EPOCH"] == "0"


@pytest.mark.parametrize("given", ["now", "-1", "1.5", "١"])
def test_a_date_that_is_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH"):
        epoch.source_date()


def test_no_tool_sees_a_date_that_it_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert "SOURCE_DATE_EPOCH" not in tool_environment()
    assert tool_environment(epoch.dated(5))["SOURCE_DATE_EPOCH"] == "5"
