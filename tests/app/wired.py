"""The application on a line that is only played: its bytes through our driver, and as they would be with Textual's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual import constants

from rescue.application import RescueApp
from rescue.console.cells import Frame, blank_frame
from rescue.console.dialect import Dialect, Mode
from rescue.console.driver import ConsoleDriver
from rescue.console.painter import Painter
from rescue.console.terminal import Terminal
from tests.app.conftest import Person
from tests.app.idle import PATIENCE
from tests.app.judge import Terminal as Judge
from tests.app.machine import FakeBackend

SIZE = (80, 24)


class Wire:
    """In the sender's place: keeps the newest frame until somebody lets it be sent."""

    def __init__(self, dialect: Dialect) -> None:
        self.painter = Painter(dialect)
        self.frame: Frame = blank_frame(*SIZE)
        self.ours = Judge(*SIZE, utf8=dialect.utf8)
        self.stock = Judge(*SIZE)
        self.stock.feed(b"\x1b[?7l")

    def show(self, frame: Frame, bells: int = 0) -> None:  # noqa: ARG002
        """A frame is complete."""
        self.frame = frame

    def anew(self, dialect: Dialect, question: bytes = b"") -> None:  # noqa: ARG002
        """All is to be drawn again."""
        self.painter.speak(dialect)

    def burst(self, limit: int | None = None) -> bytes:
        """What is sent next; empty where all is shown."""
        if self.painter.done(self.frame):
            return b""
        said = self.painter.burst(self.frame, limit).encode()
        self.ours.feed(said)
        return said

    def send(self) -> int:
        """Send all there is; how many bytes that took."""
        return len(self.burst())

    def check(self) -> None:
        """Both terminals show the same, and the cursor stands where it should."""
        dialect = self.painter.dialect
        pairs = zip(self.stock.seen(dialect), self.ours.seen(dialect), strict=True)
        for y, (expected, seen) in enumerate(pairs):
            assert seen == expected, f"row {y}"
        assert self.ours.cursor == self.frame.cursor == self.stock.cursor


class PlayedDriver(ConsoleDriver):
    """Opens no terminal."""

    wire: Wire

    def _get_terminal_size(self) -> tuple[int, int]:
        return self._size or SIZE

    def start_application_mode(self) -> None:
        """Only a wire."""
        self.wire = Wire(self._dialect)
        # What it needs of a sender, a wire has.
        self._sender = self.wire  # type: ignore[assignment]
        self._resize()

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        self._size = (columns, rows)
        self.wire.stock.resize(columns, rows)
        self.wire.ours.resize(columns, rows)
        self._resize()

    def write(self, data: str) -> None:
        """To both."""
        self.wire.stock.feed(data.encode())
        super().write(data)

    def disable_input(self) -> None:
        """There is none."""

    def stop_application_mode(self) -> None:
        """Nothing to give back."""
        self._sender = None


class WiredPerson(Person):
    """A person who sees what comes over the wire."""

    @property
    def driver(self) -> PlayedDriver:
        """The driver."""
        driver = self.app._driver
        assert isinstance(driver, PlayedDriver)
        return driver

    @property
    def wire(self) -> Wire:
        """The line."""
        return self.driver.wire

    async def sent(self, *keys: str) -> int:
        """Press keys; how many bytes the terminal gets for that."""
        await self.press(*keys)
        await self.quiet()
        count = self.wire.send()
        self.wire.check()
        return count

    async def quiet(self) -> None:
        """Until the application has drawn what it has to draw."""
        frame = None
        while frame is not self.wire.frame:
            frame = self.wire.frame
            await self.settle()
            await asyncio.wait_for(self.app.animator.wait_until_complete(), PATIENCE)


@asynccontextmanager
async def wired(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, *, term: str = "vt220", mode: Mode = Mode.SERIAL
) -> AsyncIterator[WiredPerson]:
    """The application on a line of that kind, drawn for the first time but nothing sent yet."""

    class Driver(PlayedDriver):
        TERMINAL = Terminal(mode=mode, term=term, utf8=mode is Mode.VGA)

    monkeypatch.setattr(constants, "COLOR_SYSTEM", "standard")
    app = RescueApp(backend, Driver.TERMINAL)
    driver_class: Any = Driver
    app.driver_class = driver_class
    async with app.run_test(headless=False, size=SIZE) as pilot:
        person = WiredPerson(app, pilot)
        await person.quiet()
        yield person
