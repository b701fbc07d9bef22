"""The kernel's FUSE messages for a folder of files that are there already: a request's bytes in, the reply's bytes out.

Every number is in this machine's byte order. Source: linux/fuse.h, protocol 7.31 (Linux 5.4).
"""

import errno
import os
import stat
import struct
import traceback
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Protocol, runtime_checkable

from imaging.errors import RescueError

Reply = Sequence[bytes | bytearray | memoryview]
"""The parts of one reply, in their order; none where the kernel waits for no reply."""

REQUEST_SIZE = 64 << 10
"""Bytes that no request of the kernel exceeds: a write brings a page; it refuses buffers of less than 8 KiB."""
_MOST_READ = 1 << 20
_PAGE = 4096
_MOST_PARTS = 512
"""How many parts of a reply are written at once; writev(2) takes 1024."""
_ROOT = 1
_FIRST_FILE = 2
_VALID = 3600
"""Seconds that the kernel may keep what it was told: nothing here ever changes."""
_MAJOR, _MINOR = 7, 31
_BACKGROUND, _CONGESTED = 32, 24
"""How many reads ahead the kernel may have under way."""
_ASYNC_READ, _MAX_PAGES = 1 << 0, 1 << 22
_KEEP_CACHE, _NO_FLUSH = 1 << 1, 1 << 5

_IN = struct.Struct("=IIQQIIIHH")
"""struct fuse_in_header: length, opcode, unique, node, user, group, process, two of no use here."""
_OUT = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")
_READ_IN = struct.Struct("=QQIIQII")
_WRITE_IN = struct.Struct("=QQIIQII")
_WRITE_OUT = struct.Struct("=II")
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_VALIDITY = struct.Struct("=QII")
_ENTRY = struct.Struct("=QQQQII")
_OPEN_OUT = struct.Struct("=QII")
_LSEEK_IN = struct.Struct("=QQII")
_LSEEK_OUT = struct.Struct("=Q")
_STATFS = struct.Struct("=QQQQQIIII24x")
_DIRENT = struct.Struct("=QQII")


class Op(IntEnum):
    """The requests that have an answer here; all others are told that there is no such call."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    LSEEK = 46


_SILENT = (Op.FORGET, Op.INTERRUPT, Op.BATCH_FORGET)
_EMPTY = (Op.FSYNC, Op.RELEASE, Op.RELEASEDIR, Op.DESTROY)


class VirtualFile(Protocol):
    """What a file of the folder must be able to do, from several threads at once."""

    @property
    def size(self) -> int:
        """Bytes; they never change."""

    def read(self, offset: int, size: int) -> Reply:
        """Exactly the bytes from `offset`, never past the end, in parts; raises RescueError where there are none."""


@runtime_checkable
class SparseFile(VirtualFile, Protocol):
    """One that can tell where nothing but zeros is."""

    @property
    def allocated(self) -> int:
        """About how many of its bytes are not in a hole: who copies files looks for holes where these are not all."""

    def next_data(self, offset: int) -> int:
        """The first byte from `offset` on that is not in a hole; the size where there is none."""

    def next_hole(self, offset: int) -> int:
        """The first byte from `offset` on that is in a hole; the size where there is none."""


@runtime_checkable
class WritableFile(VirtualFile, Protocol):
    """One that can be written to, too."""

    def write(self, offset: int, data: bytes) -> None:
        """Keep all of `data`, within the file's size; raises OSError, RescueError."""


class Folder:
    """One folder of files, as the kernel asks for it; those that can be written to are for their owner alone."""

    def __init__(self, files: Mapping[str, VirtualFile], *, user: int = 0, group: int = 0) -> None:
        """Take the files by name, and whom they belong to."""
        self._names = [name.encode() for name in files]
        self._files = list(files.values())
        self._owner = (user, group)

    def answer(self, request: bytes) -> Reply:
        """The reply to one request, as it was read from /dev/fuse."""
        if len(request) < _IN.size:
            return ()
        _, opcode, unique, node, *_ = _IN.unpack_from(request)
        if opcode in _SILENT:
            return ()
        try:
            parts = self._parts(opcode, node, request[_IN.size :])
        except (RescueError, MemoryError):
            return _failed(unique, errno.EIO)
        except OSError as error:
            return _failed(unique, error.errno or errno.EIO)
        except struct.error:
            return _failed(unique, errno.EINVAL)
        except Exception:
            # Whoever asked waits in the kernel until there is an answer: a mistake here must not be a hang there.
            traceback.print_exc()
            return _failed(unique, errno.EIO)
        if len(parts) > _MOST_PARTS:
            parts = (b"".join(parts),)
        return (_OUT.pack(_OUT.size + sum(len(part) for part in parts), 0, unique), *parts)

    def _parts(self, opcode: int, node: int, body: bytes) -> Reply:
        match opcode:
            case Op.INIT:
                return (_init(body),)
            case Op.LOOKUP:
                return (self._lookup(node, body),)
            case Op.GETATTR:
                return (_VALIDITY.pack(_VALID, 0, 0) + self._attributes(node),)
            case Op.OPEN:
                self._file(node)
                # Without a flush at each close a server that is killed cannot be waited for by its own last breath.
                return (_OPEN_OUT.pack(0, _KEEP_CACHE | _NO_FLUSH, 0),)
            case Op.OPENDIR:
                return (_OPEN_OUT.pack(0, 0, 0),)
            case Op.READ:
                return self._read(node, body)
            case Op.WRITE:
                return (self._write(node, body),)
            case Op.READDIR:
                return (self._entries(body),)
            case Op.LSEEK:
                return (self._seek(node, body),)
            case Op.STATFS:
                blocks = sum(-(-file.size // _PAGE) for file in self._files)
                return (_STATFS.pack(blocks, 0, 0, len(self._files), 0, _PAGE, 255, _PAGE, 0),)
            case _ if opcode in _EMPTY:
                return ()
        raise OSError(errno.ENOSYS, "no such call")

    def _file(self, node: int) -> VirtualFile:
        if node == _ROOT:
            raise OSError(errno.EISDIR, "this is the folder")
        if not _FIRST_FILE <= node < _FIRST_FILE + len(self._files):
            raise OSError(errno.ENOENT, "no such file")
        return self._files[node - _FIRST_FILE]

    def _lookup(self, node: int, body: bytes) -> bytes:
        name = body.partition(b"\0")[0]
        if node != _ROOT or name not in self._names:
            raise OSError(errno.ENOENT, "no such file")
        found = _FIRST_FILE + self._names.index(name)
        return _ENTRY.pack(found, 0, _VALID, _VALID, 0, 0) + self._attributes(found)

    def _attributes(self, node: int) -> bytes:
        size = 0 if node == _ROOT else self._file(node).size
        used = size if node == _ROOT else _allocated(self._file(node))
        rights = 0o600 if node != _ROOT and isinstance(self._file(node), WritableFile) else 0o400
        mode, links = (stat.S_IFDIR | 0o500, 2) if node == _ROOT else (stat.S_IFREG | rights, 1)
        return _ATTR.pack(node, size, -(-used // 512), 0, 0, 0, 0, 0, 0, mode, links, *self._owner, 0, _PAGE, 0)

    def _read(self, node: int, body: bytes) -> Reply:
        _, offset, size, *_ = _READ_IN.unpack_from(body)
        file = self._file(node)
        end = min(file.size, offset + size)
        return file.read(offset, end - offset) if offset < end else ()

    def _seek(self, node: int, body: bytes) -> bytes:
        """Where data or a hole begins, as lseek(2) has it; behind each file's end is a hole."""
        _, offset, whence, _ = _LSEEK_IN.unpack_from(body)
        file = self._file(node)
        found = file.size
        if offset < file.size:
            match whence:
                case os.SEEK_DATA:
                    found = file.next_data(offset) if isinstance(file, SparseFile) else offset
                case os.SEEK_HOLE:
                    found = file.next_hole(offset) if isinstance(file, SparseFile) else file.size
                case _:
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if offset >= file.size or (whence == os.SEEK_DATA and found >= file.size):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return _LSEEK_OUT.pack(found)

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size, *_ = _WRITE_IN.unpack_from(body)
        file, data = self._file(node), body[_WRITE_IN.size : _WRITE_IN.size + size]
        if not isinstance(file, WritableFile):
            raise OSError(errno.EROFS, "this file is read-only")
        file.write(offset, data)
        return _WRITE_OUT.pack(len(data), 0)

    def _entries(self, body: bytes) -> bytes:
        """The folder's entries from the one after `offset` on, as many as fit."""
        _, offset, size, *_ = _READ_IN.unpack_from(body)
        nodes = [(_ROOT, b".", stat.S_IFDIR), (_ROOT, b"..", stat.S_IFDIR)]
        nodes += [(_FIRST_FILE + i, name, stat.S_IFREG) for i, name in enumerate(self._names)]
        found = b""
        for i, (node, name, mode) in enumerate(nodes[offset:], start=offset + 1):
            entry = _DIRENT.pack(node, i, len(name), mode >> 12) + name
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def _init(body: bytes) -> bytes:
    """What is agreed on with the kernel: large reads, several at a time."""
    major, minor, ahead, offered = _INIT_IN.unpack_from(body)
    if major < _MAJOR or (major == _MAJOR and minor < _MINOR):
        raise OSError(errno.EPROTO, "this kernel's FUSE is too old")
    flags = offered & (_ASYNC_READ | _MAX_PAGES)
    ahead = max(ahead, _MOST_READ)
    return _INIT_OUT.pack(_MAJOR, _MINOR, ahead, flags, _BACKGROUND, _CONGESTED, _PAGE, 1, _MOST_READ // _PAGE, 0, 0, 0)


def _allocated(file: VirtualFile) -> int:
    return file.allocated if isinstance(file, SparseFile) else file.size


def _failed(unique: int, code: int) -> Reply:
    return (_OUT.pack(_OUT.size, -code, unique),)
