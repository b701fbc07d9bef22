"""Reading from a server of network block devices over a local socket.

Source: https://github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed newstyle negotiation, simple replies.
"""

import queue
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imaging.errors import IoError

CONNECTIONS = 4
"""How many requests are under way at once, each over a connection of its own."""
_GREETING = b"NBDMAGICIHAVEOPT"
_FIXED, _NO_ZEROES = 1, 2
_OPTION = struct.Struct(">8sII")
_EXPORT_NAME = 1
_EXPORT = struct.Struct(">QH")
_REQUEST, _REQUEST_MAGIC = struct.Struct(">IHHQQI"), 0x25609513
_REPLY, _REPLY_MAGIC = struct.Struct(">IIQ"), 0x67446698
_READ = 0
_MOST = 32 << 20
"""Bytes that a server must give at once."""
_PATIENCE = 600.0
"""Seconds for an answer; a disk behind the server can be asleep, or failing."""


class NbdDisk:
    """A disk that a server offers, read from any number of threads; use `connected`."""

    def __init__(self, lines: Sequence[socket.socket], size: int, name: str) -> None:
        """Take connections that are ready, the disk's bytes, and what to call it in messages."""
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        for line in lines:
            self._idle.put(line)
        self.size, self._name = size, name

    def read(self, offset: int, size: int) -> list[bytes]:
        """The bytes from `offset`, never past the end; raises IoError where the server cannot give them."""
        end = min(self.size, offset + size)
        return [self._piece(at, min(_MOST, end - at)) for at in range(offset, end, _MOST)]

    def _piece(self, offset: int, size: int) -> bytes:
        line = self._idle.get()
        try:
            line.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _READ, offset, offset, size))
            magic, error, cookie = _REPLY.unpack(_take(line, _REPLY.size))
            if (magic, cookie) != (_REPLY_MAGIC, offset):
                raise IoError(f"{self._name}: the server's answer is not understood", code="read-failed")
            if error:
                raise IoError(f"{self._name} cannot be read at byte {offset}", code="read-failed")
            return _take(line, size)
        except OSError as error:
            raise IoError(f"{self._name} is not served any more: {error}", code="read-failed") from error
        finally:
            self._idle.put(line)


def listens(path: Path) -> bool:
    """Whether a server listens at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def connected(path: Path, name: str) -> Iterator[NbdDisk]:
    """The only disk that the server at a socket offers; raises IoError, and OSError where none listens there."""
    with ExitStack() as stack:
        lines, size = [], 0
        for _ in range(CONNECTIONS):
            line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            line.settimeout(_PATIENCE)
            line.connect(str(path))
            size = _greet(line, name)
            lines.append(line)
        yield NbdDisk(lines, size, name)


def _greet(line: socket.socket, name: str) -> int:
    """Agree with a server; the disk's bytes."""
    greeting = _take(line, len(_GREETING) + 2)
    if greeting[:-2] != _GREETING or not greeting[-1] & _FIXED:
        raise IoError(f"{name}: the server's greeting is not understood", code="read-failed")
    line.sendall(struct.pack(">I", _FIXED | _NO_ZEROES) + _OPTION.pack(b"IHAVEOPT", _EXPORT_NAME, 0))
    tail = b"" if greeting[-1] & _NO_ZEROES else bytes(124)
    size, _ = _EXPORT.unpack(_take(line, _EXPORT.size + len(tail))[: _EXPORT.size])
    return int(size)


def _take(line: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = line.recv_into(view[done:])
        if not count:
            raise IoError("the server of a virtual machine's disk is gone", code="read-failed")
        done += count
    return bytes(data)
