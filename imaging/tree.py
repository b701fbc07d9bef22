"""The files of a mounted volume, from its root's descriptor on: no link is followed, so nothing leads out of it."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from imaging.errors import BadImageError, IoError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DEEPEST = 400
"""Folders in folders; each that is open takes a descriptor."""
FORBIDDEN = bytes(range(1, 32)) + b'"*:<>?\\|'
"""Bytes that names on FAT, exFAT and NTFS cannot have."""


class EntryKind(StrEnum):
    """What an entry of a folder is."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"
    OTHER = "other"
    """A device, a pipe or a socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a folder; `modified` is seconds since the epoch, `target` where a link leads.

    `size` is in bytes, and `room` those that its data takes on the volume: of a sparse file fewer.
    """

    name: bytes
    kind: EntryKind
    size: int = 0
    room: int = 0
    mode: int = 0
    user: int = 0
    group: int = 0
    modified: float = 0.0
    target: bytes = b""
    beside: int = 0
    """Bytes of its streams, of which NTFS has any number beside the data."""
    encrypted: bool = False
    """Whether Windows encrypts it."""
    shared: tuple[int, int] | None = None
    """The device and inode of a file that has several names."""
    problem: str = ""
    """Why no more is known of it, in words; empty where all is."""

    @property
    def text(self) -> str:
        """The name as text; bytes that are not UTF-8 are kept as os.fsdecode does."""
        return os.fsdecode(self.name)


def is_odd(name: bytes) -> bool:
    """Whether Windows forbids the name, so that FAT and exFAT do not take it either."""
    return any(byte in FORBIDDEN for byte in name) or name.endswith((b".", b" "))


def parts(path: str) -> list[bytes]:
    """The names of a path below a volume's root; raises BadImageError for one that leads out of it."""
    names = [os.fsencode(name) for name in path.split("/") if name not in ("", ".")]
    if b".." in names:
        raise BadImageError(f"{path}: a path in an image has no ..", code="no-such-file")
    return names


@contextmanager
def folder(root: int, path: Sequence[bytes]) -> Iterator[int]:
    """A descriptor of a folder, open for reading.

    Raises BadImageError where there is no folder of that path (a link is none), IoError where it cannot be read.
    """
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        for depth, name in enumerate(path, start=1):
            try:
                inner = os.open(name, _FOLDER, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise _no_folder(fd, path[:depth]) from error
            except OSError as error:
                raise _unreadable(path[:depth], error) from error
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


@contextmanager
def inside(name: bytes, parent: int) -> Iterator[int]:
    """A descriptor of a folder in an open one; raises OSError where there is none of that name (a link is none)."""
    fd = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


class Standing:
    """In a folder: from there down into others, and up again, with one descriptor however deep. Raises OSError."""

    def __init__(self, fd: int) -> None:
        """Take the descriptor of a folder, which is closed with the first step."""
        self.fd = fd

    def enter(self, name: bytes) -> None:
        """Go down; a link is no folder."""
        self._go(name)

    def leave(self) -> None:
        """Go up to the folder that this one was entered from."""
        self._go(b"..")

    def _go(self, name: bytes) -> None:
        fd = os.open(name, _FOLDER, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd


@contextmanager
def standing(root: int, path: Sequence[bytes]) -> Iterator[Standing]:
    """One that begins in a folder, which it is not to leave upwards. Raises as `folder`."""
    with folder(root, path) as fd:
        at = Standing(os.dup(fd))
    try:
        yield at
    finally:
        os.close(at.fd)


def _no_folder(parent: int, path: Sequence[bytes]) -> BadImageError:
    entry = look(parent, path[-1])
    if entry.kind is EntryKind.LINK:
        return BadImageError(
            f"{shown(path)} is a link to {entry.target.decode(errors='replace')}",
            code="no-such-file",
            hint="give that path",
        )
    what = "is no folder" if not entry.problem else "is not in the image"
    return BadImageError(f"{shown(path)} {what}", code="no-such-file")


def _unreadable(path: Sequence[bytes], error: OSError) -> IoError:
    return IoError(f"{shown(path)} cannot be read: {error.strerror}", code="read-failed")


def shown(path: Sequence[bytes]) -> str:
    """A path as it is told: from the volume's root, bytes that are not UTF-8 replaced."""
    return "/" + b"/".join(path).decode(errors="replace")


def look(parent: int, name: bytes) -> Entry:
    """One entry of an open folder; what cannot be looked at says so in `problem`."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = _kind(status.st_mode)
        target = os.readlink(name, dir_fd=parent) if kind is EntryKind.LINK else b""
    except OSError as error:
        return Entry(name=name, kind=EntryKind.OTHER, problem=error.strerror or str(error))
    return Entry(
        name=name,
        kind=kind,
        size=status.st_size if kind is EntryKind.FILE else 0,
        room=status.st_blocks * 512 if kind is EntryKind.FILE else 0,
        mode=stat.S_IMODE(status.st_mode),
        user=status.st_uid,
        group=status.st_gid,
        modified=status.st_mtime,
        target=target,
        shared=(status.st_dev, status.st_ino) if kind is EntryKind.FILE and status.st_nlink > 1 else None,
    )


def _kind(mode: int) -> EntryKind:
    if stat.S_ISDIR(mode):
        return EntryKind.FOLDER
    if stat.S_ISREG(mode):
        return EntryKind.FILE
    return EntryKind.LINK if stat.S_ISLNK(mode) else EntryKind.OTHER


def names_in(fd: int, path: Sequence[bytes]) -> list[bytes]:
    """The names in an open folder, sorted; raises IoError."""
    try:
        return sorted(os.fsencode(name) for name in os.listdir(fd))
    except OSError as error:
        raise _unreadable(path, error) from error


def entries(root: int, path: Sequence[bytes]) -> list[Entry]:
    """What is in a folder, folders first, by name. Raises as `folder`."""
    with folder(root, path) as fd:
        found = [look(fd, name) for name in names_in(fd, path)]
    return sorted(found, key=lambda entry: (entry.kind is not EntryKind.FOLDER, entry.name))


def entry_at(root: int, path: Sequence[bytes]) -> Entry:
    """The entry that a path names; the root itself for an empty one. Raises BadImageError where there is none."""
    if not path:
        return Entry(name=b"", kind=EntryKind.FOLDER)
    with folder(root, path[:-1]) as fd:
        found = look(fd, path[-1])
    if found.problem:
        raise BadImageError(
            f"{shown(path)} is not in the image, or cannot be read: {found.problem}", code="no-such-file"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry and the path of the folder that it is in."""

    where: tuple[bytes, ...]
    entry: Entry


def walk(root: int, path: Sequence[bytes]) -> Iterator[Found]:
    """Everything below a folder, a folder before what is in it.

    A folder that cannot be read, or that lies too deep, is told of once more, with its `problem`. Raises as `folder`
    for the first alone.
    """
    waiting: list[tuple[bytes, ...]] = [tuple(path)]
    while waiting:
        where = waiting.pop()
        try:
            inside = entries(root, where)
        except (BadImageError, IoError) as error:
            if where == tuple(path):
                raise
            yield Found(where=where[:-1], entry=Entry(name=where[-1], kind=EntryKind.FOLDER, problem=error.message))
            continue
        for entry in inside:
            yield Found(where=where, entry=entry)
        for entry in reversed(inside):
            if entry.kind is EntryKind.FOLDER:
                deeper = (*where, entry.name)
                if len(deeper) < DEEPEST:
                    waiting.append(deeper)
                else:
                    problem = f"{shown(deeper)} lies in more than {DEEPEST} folders"
                    yield Found(where=where, entry=Entry(name=entry.name, kind=EntryKind.FOLDER, problem=problem))
