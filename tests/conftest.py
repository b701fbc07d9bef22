"""What all tests share: what is skipped where, a state folder of the test's own, and the command."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Outcome, run_rescue


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot do; CI can do it all."""
    if os.geteuid() == 0 and Path("/dev/loop-control").exists():
        return
    reason = "needs root" if os.geteuid() != 0 else "needs loop devices: /dev/loop-control is missing"
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jobs lie in a folder of the test's own, and no library of this machine is found."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("RESCUE_STATE", str(folder))
    monkeypatch.delenv("RESCUE_LIBRARY", raising=False)
    monkeypatch.delenv("RESCUE_LIVE", raising=False)
    return folder


@pytest.fixture
def rescue() -> Callable[..., Outcome]:
    """The `rescue` command in a process of its own, without a terminal."""
    return run_rescue
