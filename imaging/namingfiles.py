"""The files of a restored disk that name its partitions and file systems by their ids, with the ids replaced.

Such a file is written where it lies, for it stays as long as it was: on FAT so without a mount, where its data are.
GRUB's menu is not made anew by its own tool: that would see the parts of a disk without a table, and leave out of it,
or write into it, what only holds here. With its ids replaced it is the menu that it was, in all else.
"""

import fnmatch
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from imaging import tree
from imaging.bounded import Bounded
from imaging.durable import write_all
from imaging.errors import BadImageError, IoError
from imaging.fatfiles import FatFile, FatVolume
from imaging.identities import References

_SYSTEM = (
    "etc/fstab",
    "etc/crypttab",
    "etc/default/grub",
    "etc/default/grub.d/*",
    "etc/grub.d/*",
    "etc/initramfs-tools/initramfs.conf",
    "etc/initramfs-tools/conf.d/*",
    "etc/kernel/cmdline",
    "etc/cmdline.d/*",
    "etc/dracut.conf",
    "etc/dracut.conf.d/*",
    "etc/mkinitcpio.conf",
    "etc/mkinitcpio.conf.d/*",
    "etc/systemd/system/*.mount",
    "etc/systemd/system/*.automount",
)
_MENUS = (
    "grub/*.cfg",
    "grub/grubenv",
    "grub2/*.cfg",
    "grub2/grubenv",
    "loader/entries/*.conf",
    "loader/loader.conf",
    "extlinux/*.conf",
    "syslinux/*.cfg",
    "refind_linux.conf",
    "cmdline.txt",
    "efi/*/*.cfg",
    "efi/*/*.conf",
    "efi/*/grubenv",
)
_LOADERS = ("efi/*/*.efi",)
"""GRUB that a machine has made for itself knows the id of the file system with its menu; a kernel its own root."""
PATTERNS = (*_SYSTEM, *_MENUS, *(f"boot/{one}" for one in _MENUS))
_PLAIN = tuple(one for one in _SYSTEM if "*" not in one)
"""What is named here and nowhere else: as a link, or too large, it is not known to be in order."""
_STARTS = ("etc/fstab", "etc/crypttab", "etc/kernel/cmdline", *_MENUS, *(f"boot/{one}" for one in _MENUS))
"""Where a start finds its disks by."""
_MOST_TEXT, _MOST_LOADER = 4 << 20, 256 << 20
"""Bytes of a text, and of a loader, which may be a kernel with its initramfs."""
_PE_AT, _PE32_PLUS, _SIGNATURES = 0x3C, 0x20B, 4
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """The paths of files with new ids, of loaders that are signed and name an old one, and of what was passed over."""

    changed: list[str] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    shared: list[tuple[str, str]] = field(default_factory=list)
    """A path, and in it the name of a disk that could mean the original as well."""


def rewrite(mount: int, base: Sequence[bytes], references: References) -> Rewritten:
    """Replace ids in the files of a mounted file system in which a system's root, or its /boot, is `base`.

    Raises IoError where one of them cannot be read or written.
    """
    done = Rewritten()
    for path in _found(mount, base):
        with tree.folder(mount, path[:-1]) as folder:
            try:
                name = tree.shown(path[len(base) :])
                if not _is_text(folder, path[-1]):
                    done.passed_over.extend([name] * (name[1:] in _PLAIN))
                    continue
                text, changed = _rewritten(folder, path[-1], references)
                done.changed.extend([name] * changed)
                if _names_disks(name[1:]):
                    done.shared.extend((name, one) for one in references.shared(text))
            except OSError as error:
                raise IoError(
                    f"{tree.shown(path)} cannot be told of the new ids: {error.strerror}", code="not-renewed"
                ) from error
    return done


def _is_text(folder: int, name: bytes) -> bool:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_TEXT


def _names_disks(path: str) -> bool:
    return any(_matches(path.lower(), one) for one in _STARTS)


def _rewritten(folder: int, name: bytes, references: References) -> tuple[bytes, bool]:
    """What the file holds from now on, and whether that is new."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        old = os.read(fd, _MOST_TEXT)
    finally:
        os.close(fd)
    new = references.replaced(old)
    if new == old:
        return old, False
    fd = os.open(name, _OPEN, dir_fd=folder)
    try:
        write_all(fd, new)
        os.fsync(fd)
    finally:
        os.close(fd)
    return new, True


def _found(mount: int, base: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    seen = set()
    for pattern in PATTERNS:
        for path in _matching(mount, tuple(base), tree.parts(pattern)):
            if path not in seen:
                seen.add(path)
                yield path


def _matching(mount: int, path: tuple[bytes, ...], names: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Paths below `path` whose names match, whatever their case; no link is followed to a folder."""
    if not names:
        yield path
        return
    try:
        with tree.folder(mount, path) as folder:
            there = tree.names_in(folder, path)
    except BadImageError:
        return
    for name in there:
        if fnmatch.fnmatchcase(name.lower(), names[0].lower()):
            yield from _matching(mount, (*path, name), names[1:])


def rewrite_fat(volume: int, size: int, references: References) -> Rewritten:
    """The same in a FAT volume that is open for writing.

    A loader that is signed and names an id stays as it is. Raises IoError.
    """
    fat = FatVolume(Bounded(read=lambda at, length: os.pread(volume, length, at), size=size))
    done = Rewritten()
    for file in _fat_files(fat.files().values()):
        if file.size > (_MOST_LOADER if _is_loader(file.path) else _MOST_TEXT):
            done.passed_over.append(f"/{file.path}")
            continue
        old = b"".join(fat.pieces(file))
        new = references.replaced(old)
        if not _is_loader(file.path) and _names_disks(file.path):
            done.shared.extend((f"/{file.path}", one) for one in references.shared(new))
        if new == old:
            continue
        if _is_loader(file.path) and is_signed(old):
            done.signed.append(f"/{file.path}")
            continue
        at = 0
        for start, length in fat.ranges(file):
            if os.pwrite(volume, new[at : at + length], start) != length:
                raise IoError(f"{file.path} was written in part", code="write-failed")
            at += length
        done.changed.append(f"/{file.path}")
    return done


def _fat_files(files: Iterable[FatFile]) -> Iterator[FatFile]:
    for file in files:
        path = file.path.lower()
        if any(_matches(path, one) for one in (*PATTERNS, *_LOADERS)):
            yield file


def _is_loader(path: str) -> bool:
    return path.lower().endswith(".efi")


def _matches(path: str, pattern: str) -> bool:
    names, wanted = path.split("/"), pattern.split("/")
    return len(names) == len(wanted) and all(map(fnmatch.fnmatchcase, names, wanted))


def is_signed(image: bytes) -> bool:
    """Whether an EFI program bears a signature, which changing it would void. Source: Microsoft's PE format."""
    try:
        (pe,) = struct.unpack_from("<I", image, _PE_AT)
        (magic,) = struct.unpack_from("<H", image, pe + 24)
        at = pe + 24 + (112 if magic == _PE32_PLUS else 96) + 8 * _SIGNATURES
        _, length = struct.unpack_from("<II", image, at)
    except struct.error:
        return False
    return bool(length)
