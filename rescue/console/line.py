"""The line to a terminal: what kind it is, how fast, how much of what was written still waits, writing without waiting.

Sources: Documentation/admin-guide/devices.txt of the kernel for the numbers; termios(3), ioctl_tty(2).
"""

import contextlib
import fcntl
import os
import re
import select
import stat
import struct
import termios
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What a terminal hangs on."""

    SERIAL = "serial"
    VGA = "vga"
    PTY = "pty"


TTY_MAJOR = 4
FIRST_SERIAL = 64
"""Minor numbers of major 4 below it are virtual consoles."""
PTY_MAJORS = range(136, 144)
HYPERVISOR_MAJOR = 229
"""Consoles that a hypervisor takes bytes from at once (hvc): they have no wire, whatever speed they claim."""

BITS_PER_BYTE = 10
"""On the wire: a start bit, eight bits, a stop bit."""
_SPEEDS = {value: int(name[1:]) for name, value in vars(termios).items() if re.fullmatch(r"B[1-9]\d*", name)}
"""Bits a second, by the numbers that termios has for them."""


def kind(fd: int) -> Kind:
    """What kind of terminal it is."""
    device = os.fstat(fd)
    if not stat.S_ISCHR(device.st_mode):
        return Kind.PTY
    major, minor = os.major(device.st_rdev), os.minor(device.st_rdev)
    if major in PTY_MAJORS:
        return Kind.PTY
    return Kind.VGA if major == TTY_MAJOR and minor < FIRST_SERIAL else Kind.SERIAL


def bytes_per_second(fd: int) -> float | None:
    """How fast a serial line is; None where nothing limits it, or it is not known."""
    if kind(fd) is not Kind.SERIAL or os.major(os.fstat(fd).st_rdev) == HYPERVISOR_MAJOR:
        return None
    speed = _SPEEDS.get(termios.tcgetattr(fd)[5])
    return speed / BITS_PER_BYTE if speed else None


class Line(Protocol):
    """Where bytes for the terminal go."""

    def write(self, data: bytes) -> int:
        """Write what can be written at once, and say how much that was; raises OSError once the line has hung up."""

    def queued(self) -> int:
        """Bytes that were written and have not left yet."""

    def wait(self, seconds: float) -> None:
        """Wait until more can be written, at most so long."""

    def discard(self) -> None:
        """Throw away what has not left yet."""

    def close(self) -> None:
        """Give it up."""


class TerminalLine:
    """A terminal, opened once more so that writing to it never waits, and others who have it open notice nothing."""

    def __init__(self, fd: int) -> None:
        try:
            self._fd = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # Another user's terminal, after su. Writing to it can wait, but only what writes does.
            self._fd = os.dup(fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def write(self, data: bytes) -> int:
        """Write what can be written at once."""
        if not self._poll.poll(0):
            return 0
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0

    def queued(self) -> int:
        """As the kernel counts it."""
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, b"\0" * 4))[0])
        return 0

    def wait(self, seconds: float) -> None:
        """Until the kernel takes more."""
        self._poll.poll(1000 * seconds)

    def discard(self) -> None:
        """Throw away what has not left yet."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._fd, termios.TCOFLUSH)

    def close(self) -> None:
        """Give it up."""
        os.close(self._fd)
