"""The thread that sends: always the newest frame, never faster than the line, never in anybody's way."""

import threading
import time
from collections.abc import Callable

from rescue.console.cells import Frame
from rescue.console.dialect import Dialect
from rescue.console.line import Line
from rescue.console.pacer import Pacer
from rescue.console.painter import Painter

STUCK = 0.5
"""Seconds between two looks at a line that takes nothing, as after Ctrl+S."""
FAREWELL = 1.0
"""Seconds that a line has for taking the last words."""


class Sender:
    """Sends frames to a line; from its thread calls `lost` when the line has hung up, `failed` on an error of ours."""

    def __init__(
        self,
        line: Line,
        painter: Painter,
        pacer: Pacer,
        lost: Callable[[], None],
        failed: Callable[[Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self._line = line
        self._painter = painter
        self._pacer = pacer
        self._lost = lost
        self._failed = failed
        self._clock = clock
        self._news = threading.Condition()
        self._frame: Frame | None = None
        self._bells = 0
        self._anew: Dialect | None = None
        self._question = b""
        self._ending = False
        self._rest = b""
        self._thread = threading.Thread(target=self._run, name="console-output", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def show(self, frame: Frame, bells: int = 0) -> None:
        """Show this from now on; an older frame that was not sent yet never will be."""
        with self._news:
            self._frame = frame
            self._bells += bells
            self._news.notify()

    def anew(self, dialect: Dialect, question: bytes = b"") -> None:
        """Draw everything anew, perhaps in another way; first ask the terminal something."""
        with self._news:
            self._anew = dialect
            self._question = question
            self._news.notify()

    def stop(self, farewell: bytes) -> None:
        """Send nothing more but the last words, and wait until they are on their way or the line has had its time."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(2 * FAREWELL)
        if self._thread.is_alive():
            return
        deadline = time.monotonic() + FAREWELL
        try:
            self._flush(self._rest + farewell, deadline)
        except OSError:
            self._line.discard()
        self._line.close()

    def _flush(self, data: bytes, deadline: float) -> None:
        while data:
            data = data[self._line.write(data) :]
            left = deadline - time.monotonic()
            if data and left <= 0:
                # Who closes a line waits for what is in its queue, half a minute on a serial port that was stopped.
                self._line.discard()
                self._line.write(data)
                return
            if data:
                self._line.wait(left)

    def _run(self) -> None:
        try:
            while self._take_turn():
                pass
        except OSError:
            self._lost()
        except Exception as error:
            # A thread that only died would leave a screen that never changes again.
            self._failed(error)

    def _take_turn(self) -> bool:
        """Send one burst, or wait for something to send; False at the end."""
        with self._news:
            self._news.wait_for(self._has_work)
            if self._ending:
                return False
            if not self._rest:
                delay = self._pacer.wait(self._clock(), self._line.queued())
                if delay:
                    self._news.wait_for(lambda: self._ending, timeout=delay)
                    return not self._ending
                self._rest = self._next_burst()
        count = self._line.write(self._rest)
        self._pacer.sent(self._clock(), count)
        self._rest = self._rest[count:]
        if self._rest:
            self._line.wait(STUCK)
        return True

    def _has_work(self) -> bool:
        return bool(
            self._ending
            or self._rest
            or self._bells
            or self._anew
            or (self._frame is not None and not self._painter.done(self._frame))
        )

    def _next_burst(self) -> bytes:
        said = b"\a" if self._bells else b""
        self._bells = 0
        if self._anew is not None:
            self._painter.speak(self._anew)
            said += self._question
            self._anew, self._question = None, b""
        if self._frame is not None:
            said += self._painter.burst(self._frame, self._pacer.burst).encode()
        return said
