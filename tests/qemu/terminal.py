"""A terminal of 80 columns and 24 rows on a machine's serial line: what a person would see, and keys to press."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pexpect
import pyte

from .line import Line

COLUMNS, ROWS = 80, 24

# How long one look at the line lasts, in seconds.
LOOK = 0.1

ENTER = "\r"
ESCAPE = "\x1b"
UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
TAB = "\t"
CTRL_L, CTRL_N, CTRL_P = "\x0c", "\x0e", "\x10"
F1, F2 = "\x1bOP", "\x1bOQ"


T = TypeVar("T")


class ScreenTimeoutError(AssertionError):
    """What was waited for did not appear; the message shows what was there instead."""


class _AnsweringScreen(pyte.Screen):
    """Answers where the cursor is, as real terminals do: the live system asks for the size that way."""

    def __init__(self, answer: Callable[[str], object]) -> None:
        super().__init__(COLUMNS, ROWS)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        """What the terminal itself says."""
        self._answer(data)


class SerialTerminal:
    """The serial line of a started machine."""

    def __init__(self, line: Line, log: Path) -> None:
        self._line = line
        self._log = log
        self._screen = _AnsweringScreen(self._line.send)
        self._stream = pyte.ByteStream(self._screen)
        self._began = time.monotonic()
        self.closed = False

    @property
    def text(self) -> str:
        """The screen as 24 lines."""
        return "\n".join(row.rstrip() for row in self._screen.display)

    @property
    def flow(self) -> str:
        """The screen with its lines joined: finds words that a narrow column broke."""
        return " ".join(self.text.split())

    def look(self, seconds: float = LOOK) -> None:
        """Take in what the line says during this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.closed:
            try:
                data = self._line.read_nonblocking(65536, timeout=left)
            except pexpect.TIMEOUT:
                return
            except pexpect.EOF:
                self.closed = True
                return
            with self._log.open("ab") as log:
                log.write(data)
            self._stream.feed(data)

    def wait_for(self, *wanted: str, timeout: float) -> str:
        """Wait until one of these texts is on the screen and return it; spaces count as any white space."""

        def seen() -> str | None:
            flow = self.flow
            return next((text for text in wanted if " ".join(text.split()) in flow), None)

        found = self.wait_until(seen, what=" or ".join(map(repr, wanted)), timeout=timeout)
        assert found is not None
        # Beside the log: how long each step took, for whoever wants it faster.
        with self._log.with_suffix(".times").open("a") as times:
            times.write(f"{self.seconds:7.1f} {found}\n")
        return found

    def wait_for_cursor(self, words: str, *, timeout: float) -> None:
        """Wait until the cursor rests on these words: the screen has been drawn, and they have the focus."""
        self._wait_for_rest(lambda: self._cut_line[1].startswith(words), f"the cursor on {words!r}", timeout)

    def wait_for_field(self, words: str, *, timeout: float) -> None:
        """Wait until the cursor rests in an empty field that stands behind these words."""
        self._wait_for_rest(
            lambda: self._cut_line[0].rstrip(" [").endswith(words), f"the cursor in a field behind {words!r}", timeout
        )

    @property
    def _cut_line(self) -> tuple[str, str]:
        """What stands before the cursor in its line, and from it on."""
        cursor = self._screen.cursor
        line = self._screen.display[cursor.y]
        return line[: cursor.x], line[cursor.x :]

    def _wait_for_rest(self, there: Callable[[], bool], what: str, timeout: float) -> None:
        def rests() -> bool:
            if not there():
                return False
            self.look(2 * LOOK)
            return there()

        self.wait_until(rests, what=what, timeout=timeout)

    def wait_until(self, condition: Callable[[], T], *, what: str, timeout: float) -> T:
        """Wait until the condition holds and return its value."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if self.closed:
                raise ScreenTimeoutError(self._report(f"the machine stopped while waiting for {what}"))
            if time.monotonic() > deadline:
                raise ScreenTimeoutError(self._report(f"waited {timeout:.0f} s for {what}"))
            self.look()
        return value

    def press(self, *keys: str, pause: float = 0.3) -> None:
        """Press keys one after the other, as fast as a person does."""
        for key in keys:
            self._line.send(key)
            self.look(pause)

    def type(self, text: str) -> None:
        """Type a text; an emulated UART takes bytes slowly, so not all at once."""
        for character in text:
            self._line.send(character)
            self.look(0.05)

    @property
    def seconds(self) -> float:
        """Since the machine was started."""
        return time.monotonic() - self._began

    def _report(self, problem: str) -> str:
        raw = b""
        with contextlib.suppress(FileNotFoundError):
            raw = self._log.read_bytes()
        tail = raw[-3000:].decode(errors="replace").encode("unicode_escape").decode()
        frame = "+" + "-" * COLUMNS + "+"
        rows = "\n".join(f"|{row}|" for row in self._screen.display)
        return (
            f"{problem}, {self.seconds:.0f} s after its start. The screen:\n{frame}\n{rows}\n{frame}\n"
            f"The end of the raw log ({self._log}):\n{tail}"
        )
