"""Which files and folders of a system the rules keep, each with all that is in it, and where they go in another one."""

import os
import stat
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from fcntl import ioctl

from imaging import accounts, profiles, systemroot, tree
from imaging.accounts import Accounts
from imaging.errors import IoError, RefusedError
from imaging.keptfiles import PATHS, SSH_FOLDER, SSH_PREFIX, KeepRule
from imaging.systemroot import SystemRoot
from imaging.tree import Entry, EntryKind, Found

CODE = "cannot-keep"
_GET_FLAGS, _ENCRYPTED = 0x80086601, 0x0800
"""FS_IOC_GETFLAGS and FS_ENCRYPT_FL. Source: linux/fs.h."""
_SUBVOLUME_FLAGS, _READ_ONLY = 0x80089419, 2
"""BTRFS_IOC_SUBVOL_GETFLAGS and BTRFS_SUBVOL_RDONLY. Source: linux/btrfs.h."""
_NOT_KEPT = (b"lost+found",)
SNAPSHOT = "snapshots that cannot be written to"
"""Why something is not kept, in words, beside those of imaging.profiles."""
Left = Callable[[Sequence[bytes], str], None]
"""Is told of a path that is not kept, and why."""


def found(root: SystemRoot, rules: Sequence[KeepRule], without: Collection[str]) -> Iterator[tuple[bytes, ...]]:
    """The paths that the rules keep, in the root's file system, but for those `without`; each is there.

    Raises IoError where that cannot be told.
    """
    for path in _named(root, rules):
        if shown(root, path) not in without:
            yield path


def _named(root: SystemRoot, rules: Sequence[KeepRule]) -> Iterator[tuple[bytes, ...]]:
    if KeepRule.HOMES in rules:
        yield from ((*root.homes, name) for name in _names(root, root.homes) if not _is_nobodys(root, name))
    for rule in rules:
        for path in PATHS.get(rule, ()):
            where = (*root.path, *tree.parts(path))
            if systemroot.is_there(root.mount, where):
                yield where
    if KeepRule.SSH_HOST_KEYS in rules:
        where = (*root.path, *tree.parts(SSH_FOLDER))
        yield from ((*where, name) for name in _names(root, where) if name.startswith(SSH_PREFIX.encode()))


def _is_nobodys(root: SystemRoot, name: bytes) -> bool:
    return profiles.is_system(name) if root.windows else name in _NOT_KEPT


def _names(root: SystemRoot, path: Sequence[bytes]) -> list[bytes]:
    entry = systemroot.entry_at(root.mount, path)
    if entry is None or entry.kind is not EntryKind.FOLDER:
        return []
    with tree.folder(root.mount, path) as fd:
        return tree.names_in(fd, path)


def shown(root: SystemRoot, path: Sequence[bytes]) -> str:
    """A path as the system itself calls it."""
    at_home = tuple(path[: len(root.homes)]) == root.homes
    home = b"Users" if root.windows else b"home"
    names = (home, *path[len(root.homes) :]) if at_home else path[len(root.path) :]
    return tree.shown(names)


def placed(path: Sequence[bytes], old: SystemRoot, new: SystemRoot) -> tuple[bytes, ...]:
    """Where a path of the old system is in the new one's file system."""
    if tuple(path[: len(old.homes)]) == old.homes:
        return (*new.homes, *path[len(old.homes) :])
    return (*new.path, *path[len(old.path) :])


def accounts_of(root: SystemRoot) -> Accounts:
    """The system's accounts; raises IoError."""
    texts = {name: systemroot.text_of(root.mount, (*root.path, b"etc", name.encode())) for name in accounts.FILES}
    return accounts.parse({n: t.decode(errors="surrogateescape") for n, t in texts.items() if t is not None})


def look(root: SystemRoot, parent: int, name: bytes) -> Entry:
    """An entry of an open folder; what cannot be looked at says so in `problem`."""
    return profiles.look(parent, name) if root.windows else tree.look(parent, name)


def passed_over(root: SystemRoot, path: Sequence[bytes]) -> bool:
    """Whether a file is of a person's part of the registry that the restored system has itself."""
    person = path[len(root.homes) :]
    return bool(
        root.without_settings
        and person
        and profiles.folded(person[0]) in root.without_settings
        and profiles.is_settings(person)
    )


def why_left(root: SystemRoot, parent: int, path: Sequence[bytes], entry: Entry) -> str:
    """Why something in an open folder is not kept, in words; empty where it is. Raises OSError."""
    if not root.windows:
        return _why_left_of_linux(root, parent, entry)
    person = path[len(root.homes) :]
    in_the_way = (
        len(person) > 1
        and profiles.folded(person[0]) in root.without_settings
        and profiles.leads_to_settings(person)
        and entry.kind is not EntryKind.FOLDER
    )
    return profiles.IN_THE_WAY if in_the_way else profiles.why_left(parent, entry)


def _why_left_of_linux(root: SystemRoot, parent: int, entry: Entry) -> str:
    """A pipe is kept; a socket belongs to a program that runs no more, and a device to no home folder."""
    if entry.kind is EntryKind.OTHER:
        status = os.stat(entry.name, dir_fd=parent, follow_symlinks=False)
        return "" if stat.S_ISFIFO(status.st_mode) else profiles.NO_FILE
    if entry.kind is EntryKind.FOLDER and root.place.kind == "btrfs":
        with tree.inside(entry.name, parent) as fd:
            return SNAPSHOT if _is_snapshot(fd, parent) else ""
    return ""


def _is_snapshot(fd: int, parent: int) -> bool:
    """Whether an open folder in another is a subvolume that cannot be written to, such as a snapshot."""
    if os.fstat(fd).st_dev == os.fstat(parent).st_dev:
        return False
    flags = bytearray(8)
    try:
        ioctl(fd, _SUBVOLUME_FLAGS, flags)
    except OSError:
        return False
    return bool(struct.unpack("=Q", flags)[0] & _READ_ONLY)


def flags_of(fd: int) -> int:
    """The flags of an open file or folder, as lsattr(1) has them; 0 where its file system knows none."""
    flags = bytearray(8)
    try:
        ioctl(fd, _GET_FLAGS, flags)
    except OSError:
        return 0
    found: int = struct.unpack_from("=I", flags)[0]
    return found


def _not_told(_: Sequence[bytes], __: str) -> None:
    pass


def walk(root: SystemRoot, path: Sequence[bytes], left: Left = _not_told) -> Iterator[Found]:
    """A path that is kept, and all that is in it that is kept with it; a folder comes before what is in it.

    `left` is told of what is not. Raises RefusedError (code "cannot-keep") where some of it cannot be
    read, or could not be carried over.
    """
    if systemroot.entry_at(root.mount, path) is None:
        return
    with tree.folder(root.mount, path[:-1]) as parent:
        entry = _good(root, path, look(root, parent, path[-1]))
        if why := why_left(root, parent, path, entry):
            left(path, why)
            return
        yield Found(where=tuple(path[:-1]), entry=entry)
        if entry.kind is EntryKind.FOLDER:
            with tree.inside(path[-1], parent) as fd:
                yield from _inside(root, fd, tuple(path), left)


def _inside(root: SystemRoot, fd: int, path: tuple[bytes, ...], left: Left) -> Iterator[Found]:
    _refuse_encrypted(root, fd, path)
    if len(path) > tree.DEEPEST:
        raise RefusedError(f"{shown(root, path)} lies in too many folders", code=CODE)
    for name in tree.names_in(fd, path):
        where = (*path, name)
        if passed_over(root, where):
            continue
        entry = _good(root, where, look(root, fd, name))
        if why := why_left(root, fd, where, entry):
            left(where, why)
            continue
        yield Found(where=path, entry=entry)
        if entry.kind is EntryKind.FOLDER:
            with tree.inside(name, fd) as inner:
                yield from _inside(root, inner, where, left)


def _good(root: SystemRoot, path: Sequence[bytes], entry: Entry) -> Entry:
    if entry.problem:
        raise RefusedError(
            f"{shown(root, path)} cannot be kept: {entry.problem}",
            code=CODE,
            hint="check the file system, or save the disk first and copy out what can be read",
        )
    return entry


def _refuse_encrypted(root: SystemRoot, fd: int, path: Sequence[bytes]) -> None:
    """Folders that the file system itself encrypts can be read by nobody who has not logged in there."""
    if flags_of(fd) & _ENCRYPTED:
        raise RefusedError(
            f"{shown(root, path)} cannot be kept: its file system encrypts it",
            code=CODE,
            hint="log in there, and copy the files to another disk",
        )


def regular_files(root: SystemRoot, path: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """The paths of the regular files among them; raises IoError where one cannot be read any more."""
    try:
        for one in walk(root, path):
            if one.entry.kind is EntryKind.FILE:
                yield (*one.where, one.entry.name)
    except RefusedError as error:
        raise IoError(error.message, code=error.code, hint=error.hint) from error
