"""Textual's driver for serial lines and text consoles: it sends what changes, in as few bytes as can be.

It does what textual/drivers/linux_driver.py does, but that nothing which Textual writes reaches the terminal as it is,
and that neither a line that takes nothing nor noise on it can stop the application.
"""

import asyncio
import os
import re
import select
import signal
import termios
from codecs import getincrementaldecoder
from collections.abc import Iterable
from threading import Thread
from time import monotonic as clock
from typing import Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.keys import Keys
from textual.message import Message

from rescue.console import size
from rescue.console.canvas import Canvas
from rescue.console.cells import Frame, Row
from rescue.console.dialect import Look, Mode
from rescue.console.line import TerminalLine, bytes_per_second
from rescue.console.pacer import Pacer
from rescue.console.painter import CLEAR, Painter, reset
from rescue.console.sender import Sender
from rescue.console.terminal import Terminal

TICK = 0.1
"""Seconds between two looks at whether a lone ESC was the key."""

HUNG_UP = 128 + signal.SIGHUP
MEASURING = 10.0
"""Seconds in which a terminal's answer about its size is taken as such: the question waits while the line is stuck.
Nothing else that a terminal sends is like it, but for F3 with Shift, and that is no sensible size."""

LONG_SILENCE = 60.0
"""Seconds without a key after which a serial line is drawn anew at the next one: its terminal may have been pulled and
plugged in again, of which three wires tell nothing. That takes 0.9 s at 9600 baud, so that it is longer than a person
reads a screen for."""

_COMPLETE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-LN-Z\\-~]")
"""A whole sequence, as in ECMA-48, 5.4; without `[`, after which the Linux console's F1 goes on, and `M`, a mouse."""


class KeyParser(XTermParser):
    """Leaves out what a terminal says that is no key; Textual would type it, and `c` may cancel a job."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        found = list(super()._sequence_to_key_events(sequence, alt))
        if not found and _COMPLETE.fullmatch(sequence):
            return [events.Key(Keys.Ignore, sequence)]
        return found


class ConsoleDriver(LinuxDriver):
    """Keeps the screen as a grid, and leaves it to a thread to make the terminal show it."""

    TERMINAL = Terminal(mode=Mode.SERIAL)
    """The terminal that it is for; `driver_for` makes a class for another."""

    def __init__(self, app: Any, *, debug: bool = False, mouse: bool = False, size: Any = None) -> None:  # noqa: ARG002
        super().__init__(app, debug=debug, mouse=False, size=size)
        self._dialect = self.TERMINAL.dialect(self.TERMINAL.look)
        self._canvas = Canvas(*self._get_terminal_size())
        self._rows: list[Row] = []
        self._sender: Sender | None = None
        self._measured = 0.0
        self._heard = clock()

    def _get_terminal_size(self) -> tuple[int, int]:
        """Columns and rows, of the line itself: COLUMNS and LINES may be those of another."""
        return size.told(self.fileno) or size.USUAL

    def write(self, data: str) -> None:
        """Take what is to be shown."""
        self._canvas.feed(data)
        if "\a" in data:
            self.flush()

    def flush(self) -> None:
        """A frame is complete: let it be shown."""
        canvas = self._canvas
        if len(self._rows) != len(canvas.rows):
            self._rows = [self._dialect.row(row) for row in canvas.rows]
        for y in canvas.changed:
            self._rows[y] = self._dialect.row(canvas.rows[y])
        canvas.changed.clear()
        if self._sender is not None:
            place = (min(canvas.x, canvas.columns - 1), canvas.y)
            self._sender.show(Frame(rows=tuple(self._rows), cursor=place), canvas.bells)
        canvas.bells = 0

    def use_look(self, look: Look) -> None:
        """Draw everything anew, plainly or richly."""
        self._dialect = self.TERMINAL.dialect(look)
        self.repaint()

    def repaint(self, *, measure: bool = False) -> None:
        """Draw everything anew, for the line may have lost something; and ask the terminal how large it is now."""
        self._rows = []
        asks = measure and self.TERMINAL.mode is Mode.SERIAL and size.ordered_here(self.fileno) is None
        if asks:
            self._measured = clock() + MEASURING
        if self._sender is not None:
            self._sender.anew(self._dialect, size.ASK_SIZE if asks else b"")
        self.flush()

    def start_application_mode(self) -> None:
        """Take the terminal over."""
        self._take_over()
        self._sender = Sender(
            TerminalLine(self.fileno),
            Painter(self._dialect),
            Pacer(bytes_per_second(self.fileno)),
            self._line_lost,
            self._failed,
            clock,
        )
        self._sender.start()
        signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        self._resize()
        self._key_thread = Thread(target=self._run_input_thread, name="console-input")
        self._key_thread.start()
        if self._must_signal_resume:
            self._must_signal_resume = False
            self.send_message(self.SignalResume())

    def _resize(self) -> None:
        columns, rows = self._get_terminal_size()
        self._canvas.resize(columns, rows)
        self._rows = []
        self.flush()
        asyncio.run_coroutine_threadsafe(
            self._app._post_message(events.Resize(Size(columns, rows), Size(columns, rows))), loop=self._loop
        )

    def _take_over(self) -> None:
        """Keys as they come, and output as it is sent: a line feed stays one byte."""
        try:
            self.attrs_before = termios.tcgetattr(self.fileno)
            now = termios.tcgetattr(self.fileno)
            now[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXOFF | termios.ISTRIP)
            # A terminal on a line that is too quick for it says so with Ctrl+S. On a screen it would only be a key
            # that stops everything.
            serial = self.TERMINAL.mode is Mode.SERIAL
            now[0] = now[0] | termios.IXON if serial else now[0] & ~termios.IXON
            now[1] &= ~termios.OPOST
            now[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
            now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self.fileno, termios.TCSANOW, now)
        except termios.error:
            self.attrs_before = None

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was, with an empty screen."""
        self.disable_input()
        if self.attrs_before is not None:
            # Without flow control a line that Ctrl+S has stopped goes on, and takes the last words.
            self._set(self.attrs_before, without=termios.IXON)
        if self._sender is not None:
            self._sender.stop((reset(self._dialect) + CLEAR).encode())
            self._sender = None
        if self.attrs_before is not None:
            self._set(self.attrs_before)

    def _set(self, attributes: list[Any], without: int = 0) -> None:
        try:
            termios.tcsetattr(self.fileno, termios.TCSANOW, [attributes[0] & ~without, *attributes[1:]])
        except termios.error:
            # The line has hung up: there is nothing to give back.
            return

    def close(self) -> None:
        """Nothing is left open."""

    def _run_input_thread(self) -> None:
        """As Textual does it, but that an error does not end up as a traceback on the terminal."""
        try:
            self.run_input_thread()
        except Exception as error:
            self._failed(error)

    def run_input_thread(self) -> None:
        """Take keys until the application stops listening; once the line has hung up, let the application end."""
        parser = KeyParser(self._debug)
        # Noise on a line is no text, and no reason to end.
        decode = getincrementaldecoder("utf-8")("ignore").decode
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], TICK)[0]:
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""
                if not data:
                    self._line_lost()
                    return
                text = decode(data)
                for event in parser.feed(text) if text else ():
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

    def process_message(self, message: Message) -> None:
        """Hand keys over; what the terminal says of its size becomes that of the line, of which everybody is told."""
        if isinstance(message, events.CursorPosition):
            found = message.x + 1, message.y + 1
            if clock() < self._measured and size.sensible(*found) and found != size.told(self.fileno):
                size.tell(self.fileno, found)
                # The kernel's signal only comes to those in the foreground.
                self._loop.call_soon_threadsafe(self._resize)
            return
        if isinstance(message, events.Key):
            now = clock()
            if self.TERMINAL.mode is Mode.SERIAL and now - self._heard > LONG_SILENCE:
                self._loop.call_soon_threadsafe(self.repaint)
            self._heard = now
        super().process_message(message)

    def _failed(self, error: Exception) -> None:
        """A thread of ours cannot go on: end as after any other error in the screens."""

        def fail() -> None:
            raise error

        self._app.call_later(fail)

    def _line_lost(self) -> None:
        """Nobody sees this any more. Jobs go on."""
        self._loop.call_soon_threadsafe(self._app.exit, HUNG_UP)


def driver_for(terminal: Terminal) -> type[ConsoleDriver]:
    """The driver for one terminal."""

    class Fitted(ConsoleDriver):
        TERMINAL = terminal

    return Fitted
