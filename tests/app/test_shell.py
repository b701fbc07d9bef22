"""The shell, from every screen, and the way back to it."""

from contextlib import nullcontext

import pytest

from tests.app.conftest import Sit
from tests.app.jobs import running_job
from tests.app.machine import FakeBackend


@pytest.mark.parametrize("way", [(), ("1",), ("5",), ("8",), ("r",), ("r", "c"), ("0",), ("f1",)])
async def test_f2_opens_a_shell_and_comes_back_to_the_same_screen(
    sit_down: Sit, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    backend = FakeBackend(known_jobs=[running_job()])
    async with sit_down(backend) as person:
        monkeypatch.setattr(person.app, "suspend", nullcontext)
        await person.press(*way)
        before, focus = person.app.screen, person.focus
        await person.press("f2")
        assert backend.calls == ["shell"]
        assert (person.app.screen, person.focus) == (before, focus)
