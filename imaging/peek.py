"""python -I peek.py KIND DEVICE [FILE...]: print which operating system's file a file system has, and what is in it.

With FILEs: the first of these that there is. Nothing of another file system, mounted in that one, counts then.
With "--many" before them: what all of them are, as one JSON object (`many`).

A process of its own, for a file system that hangs must hang nobody else. The mount is read-only, replays no journal,
and is attached to no folder: no other process ever sees it, and it ends with this one. Paths are looked up as if the
file system were all that there is, so that no link in it leads anywhere else. KIND "dir" looks into a folder instead.

Sources: linux/mount.h, linux/openat2.h; fsopen(2), fsmount(2), openat2(2). Their numbers are those of all machines.
"""

import ctypes
import fcntl
import itertools
import json
import os
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

_FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2 = 430, 431, 432, 437
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_CLOEXEC = 1
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8
_NO_OTHER_MOUNTS, _NO_MAGIC_LINKS, _IN_ROOT = 0x01, 0x02, 0x10
_ALONE = _IN_ROOT | _NO_MAGIC_LINKS | _NO_OTHER_MOUNTS
_MOST, _MOST_OF_NAMED = 16 << 10, 1 << 20
"""Bytes of a file that are read: of what says which system it is, and of files that were asked for."""
_MOST_NAMES = 2000
"""Names of a folder that are told."""
MANY = "--many"

OPTIONS: dict[str, tuple[str, ...]] = {
    "ext2": (),
    "ext3": ("noload",),
    "ext4": ("noload",),
    "xfs": ("norecovery", "nouuid"),
    "btrfs": ("rescue=nologreplay",),
    "f2fs": ("norecovery",),
    "iso9660": (),
}
"""The kinds of file systems that systems stand on, each with what keeps the kernel from writing to it."""

_ROOTS = ("", "@/", "@rootfs/", "root/")
"""Where a system's root lies: distributions with btrfs name its subvolume so."""
_FILES = ("usr/lib/os-release", "etc/os-release", ".disk/info")
_GET_SUBVOLUME_INFO, _SUBVOLUME_INFO_SIZE = 0x81F8943C, 504
_TOP, _FIRST_INODE = 5, 256
"""Of btrfs: the number of the subvolume that all others are in, and of the root folder of each."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def mounted(kind: str, device: str, *, writable: bool = False, options: tuple[str, ...] = ()) -> int:
    """A descriptor of the root folder of a file system that is mounted nowhere, read-only by default; raises OSError.

    `options` are those of one that is mounted writable.

    It is unmounted when the descriptor, and whatever was opened in it, is closed: with this process at the latest.
    """
    context = _call(_FSOPEN, kind.encode(), _CLOEXEC)
    try:
        _configure(context, _SET_STRING, b"source", device.encode())
        if not writable:
            _configure(context, _SET_FLAG, b"ro")
        for option in options if writable else OPTIONS.get(kind, ()):
            key, equals, value = option.encode().partition(b"=")
            _configure(context, _SET_STRING if equals else _SET_FLAG, key, value if equals else None)
        _configure(context, _CREATE)
        how = (0 if writable else _READ_ONLY) | _NO_SUID | _NO_DEVICES | _NO_PROGRAMS
        return _call(_FSMOUNT, context, _CLOEXEC, how)
    finally:
        os.close(context)


def _configure(context: int, command: int, key: bytes | None = None, value: bytes | None = None) -> None:
    _call(_FSCONFIG, context, command, key, value, 0)


def first_file(root: int, names: tuple[str, ...] = ()) -> tuple[str, bytes] | None:
    """The first of the files that say which system it is, or of `names`, with its path and its beginning."""
    resolve = _ALONE if names else _IN_ROOT | _NO_MAGIC_LINKS
    for folder in _ROOTS:
        for name in names or _FILES:
            with suppress(OSError):
                return folder + name, _beginning(root, folder + name, resolve, _MOST_OF_NAMED if names else _MOST)
    return None


def many(root: int, words: tuple[str, ...]) -> dict[str, object]:
    """What is at paths, by the words that asked: `text:PATH`, its beginning; `size:PATH`, its bytes; `names:PATH`.

    What is nowhere, or of another kind, is left out.
    """
    asked = {"text": _text, "size": _size, "names": _names}
    subvolume = _subvolume(root)
    found: dict[str, object] = {}
    for word in words:
        what, _, path = word.partition(":")
        for place in _places(path.lstrip("/"), subvolume):
            with suppress(OSError):
                found[word] = asked[what](root, place)
                break
    return found


def _places(path: str, subvolume: str) -> Iterator[str]:
    """Where a path may be: in each root that a system may have there.

    GRUB counts from the top of a btrfs. What is mounted may be a subvolume, by default or by its system: a path that
    leads through that one, and through no other, is in it.
    """
    yield from (folder + path for folder in _ROOTS)
    if subvolume and path.startswith(f"{subvolume}/"):
        yield path.removeprefix(f"{subvolume}/")


def _subvolume(root: int) -> str:
    """The subvolume of a btrfs, right below its top, whose root folder this is; empty where it is anything else.

    Source: linux/btrfs.h, BTRFS_IOC_GET_SUBVOL_INFO; other file systems do not know it.
    """
    answer = bytearray(_SUBVOLUME_INFO_SIZE)
    try:
        # What fsmount(2) returns is no more than a path.
        fd = _open(root, ".", os.O_RDONLY | os.O_DIRECTORY, _ALONE)
        try:
            fcntl.ioctl(fd, _GET_SUBVOLUME_INFO, answer)
            of_root = os.fstat(fd).st_ino == _FIRST_INODE
        finally:
            os.close(fd)
    except OSError:
        return ""
    _, name, parent, folder = struct.unpack_from("=Q256sQQ", answer)
    at_top = of_root and (parent, folder) == (_TOP, _FIRST_INODE)
    return os.fsdecode(name.split(b"\0")[0]) if at_top else ""


def _text(root: int, path: str) -> str:
    return _beginning(root, path, _ALONE, _MOST_OF_NAMED).decode(errors="replace")


def _size(root: int, path: str) -> int:
    fd = _open(root, path, os.O_PATH, _ALONE)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return status.st_size


def _names(root: int, path: str) -> list[str]:
    fd = _open(root, path, os.O_RDONLY | os.O_DIRECTORY, _ALONE)
    try:
        with os.scandir(fd) as entries:
            some = itertools.islice(entries, _MOST_NAMES)
            return [os.fsencode(entry.name).decode(errors="replace") for entry in some]
    finally:
        os.close(fd)


def _open(root: int, path: str, flags: int, resolve: int) -> int:
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC | os.O_NONBLOCK * (flags != os.O_PATH), 0, resolve)
    return _call(_OPENAT2, root, path.encode(), how, len(how))


def _beginning(root: int, path: str, resolve: int, most: int) -> bytes:
    fd = _open(root, path, os.O_RDONLY, resolve)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("not a regular file")
        return os.read(fd, most)
    finally:
        os.close(fd)


def main(kind: str, where: str, *names: str) -> int:
    """Print the path on one line, then the text; status 1 where there is none, 2 where it cannot be mounted."""
    try:
        root = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if kind == "dir" else mounted(kind, where)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 2
    if names[:1] == (MANY,):
        print(json.dumps(many(root, names[1:])))
        return 0
    found = first_file(root, names)
    if found is None:
        return 1
    path, text = found
    sys.stdout.buffer.write(path.encode() + b"\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
