"""A slow serial line between a machine's port and a terminal, which can be pulled and plugged in again."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pexpect

BITS_A_BYTE = 10
"""A start bit, eight of data, a stop bit."""

_TICK = 0.05
_PATIENCE = 120.0
"""Seconds within which QEMU makes its socket."""


class Line(Protocol):
    """The far end of a serial line; `pexpect.spawn` is one."""

    def send(self, s: str) -> object:
        """Keys."""

    def read_nonblocking(self, size: int, timeout: float) -> bytes:
        """What has come; raises pexpect.TIMEOUT, or pexpect.EOF where nothing comes any more."""


class SlowLine:
    """Passes so many bits a second each way, and no more. What QEMU cannot send it holds back from the machine.

    A socket of QEMU's takes some 300 bytes before it is full: the machine's own queue fills up behind it, as it
    does behind a real port.
    """

    def __init__(self, path: Path, baud: int) -> None:
        self.path = path
        self._rate = baud / BITS_A_BYTE
        self._socket: socket.socket | None = None
        self._closed = False
        self._arrived = bytearray()
        self._typed = bytearray()
        self._news = threading.Condition()
        self.passed = 0

    def plug(self) -> None:
        """Connect, once QEMU is there."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.path))
                break
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(_TICK)
        connection.setblocking(False)
        with self._news:
            self._socket = connection

    def pull(self) -> None:
        """What is under way on the line is lost."""
        with self._news:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            self._arrived.clear()
            self._typed.clear()

    def send(self, s: str) -> object:
        """Keys, which go out at the line's speed."""
        with self._news:
            self._typed += s.encode()
        return None

    def read_nonblocking(self, size: int, timeout: float) -> bytes:
        """As pexpect does it."""
        with self._news:
            if not self._news.wait_for(lambda: self._arrived or self._closed, timeout):
                raise pexpect.TIMEOUT("nothing came")
            if not self._arrived:
                raise pexpect.EOF("the machine is off")
            data = bytes(self._arrived[:size])
            del self._arrived[:size]
            return data

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """While this lasts, bytes pass."""
        ended = threading.Event()
        pump = threading.Thread(target=self._pump, args=(ended,), daemon=True)
        pump.start()
        try:
            yield
        finally:
            ended.set()
            pump.join()
            self.pull()

    def _pump(self, ended: threading.Event) -> None:
        before = time.monotonic()
        while not ended.wait(_TICK):
            now = time.monotonic()
            # Time in which this thread did not run is lost to the line: it never makes up for it.
            share = max(1, int(min(now - before, 2 * _TICK) * self._rate))
            before = now
            with self._news:
                self._pass(share)

    def _pass(self, share: int) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            if self._typed:
                del self._typed[: self._socket.send(self._typed[:share])]
        try:
            data = self._socket.recv(share)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.passed += len(data)
        self._arrived += data
        self._closed = not data
        self._news.notify_all()
