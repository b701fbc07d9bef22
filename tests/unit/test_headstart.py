"""The menu is preferred until it is painted, on the live system alone."""

import os
from pathlib import Path

import pytest

from rescue import headstart


@pytest.fixture
def priorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[int, int]:
    """Three threads: two of the live system's unit, one that is nice; the last has ended when it is asked for."""
    known = {11: -10, 12: -10, 13: 5}
    for task in (*known, 14):
        (tmp_path / str(task)).mkdir()

    def getpriority(which: int, task: int) -> int:
        assert which == os.PRIO_PROCESS
        if task not in known:
            raise ProcessLookupError(task)
        return known[task]

    monkeypatch.setattr("rescue.headstart._TASKS", tmp_path)
    monkeypatch.setattr(os, "getpriority", getpriority)
    monkeypatch.setattr(os, "setpriority", lambda _which, task, value: known.update({task: value}))
    return known


def test_a_painted_menu_is_no_longer_preferred(priorities: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIVE", "1")
    headstart.give_up()
    assert priorities == {11: 0, 12: 0, 13: 5}


def test_elsewhere_a_persons_own_priorities_stay(priorities: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESCUE_LIVE", raising=False)
    headstart.give_up()
    assert priorities == {11: -10, 12: -10, 13: 5}
