"""How large a terminal is that does not tell: asked for where its cursor stops, and what one character does to it.

A serial line carries no size; its terminal device says 0x0 until somebody sets one.
Sources: ECMA-48, DSR and CPR; bootparam(7) for what else stands on the kernel's command line.
"""

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USUAL = (80, 24)
"""Columns and rows of a terminal that says nothing: a VT100's."""
FEWEST_ROWS = 4
FEWEST_COLUMNS = 20
"""An answer with less is noise, or a key: F3 with Shift sends `CSI 1;2R`."""
MOST = 1000
PATIENCE = 0.333
"""Seconds that a terminal has to answer, at 300 baud as well as over the satellite of a management network."""

ASK_UTF8 = b"\r\xc3\xa4\x1b[6n"
"""A letter of two bytes at the beginning of a row: the cursor is in column 2 where it was taken as one."""
ASK_SIZE = b"\x1b[32766;32766H\x1b[6n"
"""To the last row and column, and where is that?"""
_ANSWER = re.compile(rb"\x1b\[(\d{1,5});(\d{1,5})R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the terminal said of itself; None where it did not."""

    size: tuple[int, int] | None = None
    utf8: bool = False


def understand(heard: bytes) -> tuple[Answer, bytes]:
    """What the terminal answered, and the rest of what was heard, which are keys."""
    places = [(int(column), int(row)) for row, column in _ANSWER.findall(heard)]
    sizes = [(columns, rows) for columns, rows in places if sensible(columns, rows)]
    # The question about UTF-8 comes first, so that its answer does.
    utf8 = len(places) > 1 and places[0][0] == 2
    return Answer(size=sizes[-1] if sizes else None, utf8=utf8), _ANSWER.sub(b"", heard)


def sensible(columns: int, rows: int) -> bool:
    """Whether a terminal can have that size."""
    return FEWEST_COLUMNS <= columns <= MOST and FEWEST_ROWS <= rows <= MOST


def ask(fd: int, patience: float = PATIENCE) -> Answer:
    """Ask the terminal; it may be mute. What was typed before is lost."""
    with raw(fd):
        termios.tcflush(fd, termios.TCIFLUSH)
        os.write(fd, ASK_UTF8 + ASK_SIZE + b"\r\x1b[K")
        heard = b""
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0 and len(_ANSWER.findall(heard)) < 2:
            if select.select([fd], [], [], left)[0]:
                heard += os.read(fd, 4096)
    return understand(heard)[0]


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """Bytes as they come, without an echo."""
    before = termios.tcgetattr(fd)
    now = termios.tcgetattr(fd)
    now[0] &= ~termios.ICRNL
    now[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, now)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def told(fd: int) -> tuple[int, int] | None:
    """The size that the terminal device knows; None where it knows none."""
    rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return (columns, rows) if columns and rows else None


def tell(fd: int, size: tuple[int, int]) -> None:
    """Let the terminal device know a size; everybody on it is told of a change."""
    columns, rows = size
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def ordered(command_line: str, terminal: str) -> tuple[int, int] | None:
    """The size that the kernel's command line gives to a terminal, `ttyS0`: `rescue.console=ttyS0,57600,80x24`."""
    for word in command_line.split():
        name, value = word.partition("=")[::2]
        console, *options = value.removeprefix("/dev/").split(",")
        if name != "rescue.console" or console != terminal:
            continue
        for option in options:
            found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", option)
            if found and sensible(int(found[1]), int(found[2])):
                return int(found[1]), int(found[2])
    return None


def ordered_here(fd: int) -> tuple[int, int] | None:
    """The size that this computer's kernel command line gives to this terminal."""
    try:
        return ordered(Path("/proc/cmdline").read_text(), os.ttyname(fd).removeprefix("/dev/"))
    except OSError:
        return None


def settle(fd: int) -> bool:
    """Find the size of a serial line's terminal, where its device knows none, and whether it understands UTF-8.

    The kernel's command line overrules both the device and the terminal.
    """
    order = ordered_here(fd)
    answer = ask(fd)
    size = order or told(fd) or answer.size or USUAL
    if size != told(fd):
        tell(fd, size)
    return answer.utf8
