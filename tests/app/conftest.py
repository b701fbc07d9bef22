"""A person at an 80x24 console: presses keys, reads the screen."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import textual.app
import textual.pilot
import textual.screen
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from rescue.application import RescueApp
from tests.app.idle import FRAME, idle, until
from tests.app.machine import FakeBackend


@pytest.fixture(scope="session", autouse=True)
def swift() -> Iterator[None]:
    """Waits end when the application rests, frames come at once, a sheet of styles is parsed once for all tests."""
    parsed: dict[Any, Any] = {}
    parse = Stylesheet._parse_rules

    def parse_once(self: Stylesheet, *words: Any, **options: Any) -> Any:
        key = (tuple(self._variables.items()), words, tuple(options.items()))
        if key not in parsed:
            parsed[key] = parse(self, *words, **options)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        patch.setattr(textual.screen, "UPDATE_PERIOD", FRAME)
        for module in (textual.app, textual.pilot):
            patch.setattr(module, "wait_for_idle", idle)
        yield


class Person:
    """Presses keys and reads the screen."""

    def __init__(self, app: RescueApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def settle(self) -> None:
        """Until everything that was asked for has been answered and drawn."""
        await self.pilot.pause()
        while workers := [worker for worker in self.app.workers if not worker.is_finished]:
            for worker in workers:
                with contextlib.suppress(WorkerCancelled):
                    await worker.wait()
            await self.pilot.pause()

    async def press(self, *keys: str) -> str:
        """Press keys, and read the screen after the last."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()
        return self.screen

    async def type(self, words: str) -> str:
        """Type into the field that has the focus."""
        await self.pilot.press(*words)
        await self.settle()
        return self.screen

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for what threads bring."""
        await until(seen, lambda: self.screen)
        await self.pilot.pause()

    @property
    def screen(self) -> str:
        """The text on the screen."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    @property
    def words(self) -> str:
        """The text, of the dialogue alone where one is open, with line breaks and spaces taken as one space."""
        lines = self.screen.splitlines()
        boxed = [line.split("║")[1] for line in lines if line.count("║") == 2]
        return " ".join(" ".join(boxed or lines).split())

    @property
    def focus(self) -> str:
        """The id of what has the focus."""
        return (self.app.focused.id or "") if self.app.focused else ""


Sit = Callable[[FakeBackend], AbstractAsyncContextManager[Person]]


@pytest.fixture
def sit_down() -> Sit:
    """Start the application over a backend."""

    @asynccontextmanager
    async def sit(backend: FakeBackend) -> AsyncIterator[Person]:
        app = RescueApp(backend)
        async with app.run_test(size=(80, 24)) as pilot:
            person = Person(app, pilot)
            await person.settle()
            yield person

    return sit
