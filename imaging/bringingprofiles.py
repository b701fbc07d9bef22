"""People's folders of one Windows brought into another: with streams, rights, attributes, times and reparse points.

Rights are kept as they are: who may open a folder is decided by the number of an account (its SID), and Windows gives a
new one to each that is made. Where both systems have a folder of a person, the number that opens the one is put in
place of that which opened the other. Accounts themselves are in the registry, which is that of the restored system.
"""

import errno
import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from imaging import filedata, keptpaths, profiles, sids, tree
from imaging.bringing import READ, WRITE, Bringing, remove, stop_if_asked, telling
from imaging.errors import BadImageError
from imaging.pipeline import Reporter
from imaging.profiles import Attribute
from imaging.systemroot import SystemRoot
from imaging.tree import Entry, EntryKind

_NOT_SET = ~(Attribute.REPARSE_POINT | Attribute.OFFLINE)
"""Attributes that speak of a tag, which is set by itself."""
_COMPARED = (
    Attribute.READ_ONLY
    | Attribute.HIDDEN
    | Attribute.SYSTEM
    | Attribute.DIRECTORY
    | Attribute.ARCHIVE
    | Attribute.REPARSE_POINT
    | Attribute.NOT_INDEXED
    | Attribute.ENCRYPTED
)
"""Attributes that are read back: those that ntfs-3g sets as it is told, and not by what it finds in a file."""
_TIMES = 16
"""Bytes of the times of making and of the last change of the data, the first two of four."""


class BringingProfiles(Bringing):
    """A carrying over of people's folders."""

    def __init__(self, old: SystemRoot, new: SystemRoot, report: Reporter, cancel: threading.Event) -> None:
        """Take both systems before anything is taken away."""
        super().__init__(old, new, report, cancel)
        self._sids = dict(_sids(old, new))

    def bring(self, path: Sequence[bytes]) -> None:
        """Bring a person's folder, in place of what is there; of that the part of the registry stays."""
        where = keptpaths.placed(path, self._old, self._new)
        stays = profiles.folded(path[-1]) in self._old.without_settings
        with telling(keptpaths.shown(self._old, path)), tree.folder(self._new.mount, where[:-1]) as target:
            if self._is_left_out(path):
                return
            for name in _same_names(target, where[-1]):
                if stays:
                    _move(target, name, where[-1])
                    with tree.inside(where[-1], target) as profile:
                        _clear(profile, (where[-1],))
                else:
                    remove(target, name, profiles.look)
            packed = _is_packed(target)
            self._all(path, where)
            _pack(target, packed=packed)

    def _one(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> bool:
        stop_if_asked(self._cancel)
        if keptpaths.passed_over(self._old, path):
            return False
        entry = self._look(source, path)
        if self._leave_out(source, path, entry):
            return False
        if entry.kind is EntryKind.FOLDER:
            self._make_folder(source, target, path, where)
            return True
        if entry.kind is EntryKind.FILE:
            self._file(source, target, path, where)
        else:
            self._reparse(source, target, entry, path, where)
        return False

    def _make_folder(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        self._refuse_too_deep(path)
        for name in self._left_for_settings(target, where):
            if name not in tree.names_in(source, ()):
                _move(target, name, where[-1])
        with suppress(FileExistsError):
            os.mkdir(where[-1], dir_fd=target)

    def _leave(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        self._streams(source, target, path, where)
        self._keep_all(source, target, path, where)

    def _left_for_settings(self, target: int, where: Sequence[bytes]) -> list[bytes]:
        """The folder of that name that was left as a part of the registry is in it, however it is spelt there."""
        person = where[len(self._new.homes) :]
        if not self._old.without_settings or not profiles.leads_to_settings(person):
            return []
        return _same_names(target, where[-1])

    def _copy(self, fd: int, folders: tuple[int, int], path: Sequence[bytes], where: Sequence[bytes]) -> None:
        source, target = folders
        status = os.fstat(fd)
        # A new file is compressed as its folder says; that is put right when the folder is done with.
        _pack(target, packed=bool(profiles.attributes(source, path[-1]) & Attribute.COMPRESSED))
        out = os.open(where[-1], WRITE, 0o600, dir_fd=target)
        try:
            self.bytes += filedata.copy(fd, out, self._passed, zeros_are_holes=status.st_blocks * 512 < status.st_size)
        finally:
            os.close(out)
        self._streams(source, target, path, where)
        self._keep_all(source, target, path, where)

    def _streams(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        for name in profiles.streams(source, path[-1]):
            with (
                _stream(source, name, path[-1], READ) as fd,
                _stream(target, name, where[-1], WRITE & ~os.O_EXCL) as out,
            ):
                self.bytes += filedata.copy(fd, out, self._passed)

    def _reparse(self, source: int, target: int, entry: Entry, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        """What is nothing but the data of a tag; a link that ntfs-3g itself has made has none."""
        if not profiles.tag(source, path[-1]):
            os.symlink(entry.target, where[-1], dir_fd=target)
        elif profiles.attributes(source, path[-1]) & Attribute.DIRECTORY:
            os.mkdir(where[-1], dir_fd=target)
        else:
            os.close(os.open(where[-1], WRITE, 0o600, dir_fd=target))
        self._keep_all(source, target, path, where)
        self.files += 1

    def _keep_all(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        """All that Windows keeps of an entry beside its data, in an order in which none undoes another."""
        name, new = path[-1], profiles.at(target, where[-1])
        if value := profiles.attribute(source, name, "efsinfo"):
            _set(new, "efsinfo", value)
        if value := profiles.attribute(source, name, "ea"):
            try:
                _set(new, "ea", value)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EIO):
                    raise
                self._not_kept("extended attributes", path)
        _set(new, "acl", sids.mapped(profiles.attribute(source, name, "acl"), self._sids))
        flags = profiles.attributes(source, name)
        _set(new, "attrib", struct.pack("<I", flags & _NOT_SET & 0xFFFFFFFF))
        if flags & Attribute.REPARSE_POINT and (value := profiles.attribute(source, name, "reparse_data")):
            _set(new, "reparse_data", value)
            profiles.look(target, where[-1])  # the kernel notices that it is another kind of file now
        _set(new, "times", profiles.attribute(source, name, "times"))


def _set(path: bytes, which: str, value: bytes) -> None:
    os.setxattr(path, f"system.ntfs_{which}", value, follow_symlinks=False)


def _pack(folder: int, *, packed: bool) -> None:
    """Have new files of an open folder compressed, or not."""
    flags = _flags(folder)
    wanted = flags | Attribute.COMPRESSED if packed else flags & ~Attribute.COMPRESSED
    if wanted != flags:
        os.setxattr(folder, "system.ntfs_attrib", struct.pack("<I", wanted))


def _is_packed(folder: int) -> bool:
    """Whether new files of an open folder are compressed."""
    return bool(_flags(folder) & Attribute.COMPRESSED)


def _flags(folder: int) -> Attribute:
    (flags,) = struct.unpack("<I", os.getxattr(folder, "system.ntfs_attrib"))
    return Attribute(flags)


def _same_names(folder: int, name: bytes) -> list[bytes]:
    """The entries of an open folder that Windows takes for one of that name."""
    return [one for one in tree.names_in(folder, ()) if profiles.folded(one) == profiles.folded(name)]


def _move(folder: int, name: bytes, to: bytes) -> None:
    if name != to:
        os.rename(name, to, src_dir_fd=folder, dst_dir_fd=folder)


def _clear(folder: int, path: tuple[bytes, ...]) -> None:
    """Empty a person's open folder of all but the part of the registry, and the folders that it is in."""
    for name in tree.names_in(folder, path):
        where = (*path, name)
        if profiles.is_settings(where):
            continue
        if profiles.leads_to_settings(where) and tree.look(folder, name).kind is EntryKind.FOLDER:
            with tree.inside(name, folder) as inner:
                _clear(inner, where)
        else:
            remove(folder, name, profiles.look)


def _sids(old: SystemRoot, new: SystemRoot) -> Iterator[tuple[bytes, bytes]]:
    """Which account of the new system is whose of the old one: those that open the folders of one name."""
    with tree.folder(old.mount, old.homes) as source, tree.folder(new.mount, new.homes) as target:
        for name in tree.names_in(source, old.homes):
            for same in [] if profiles.is_system(name) else _same_names(target, name):
                before = sids.account(profiles.attribute(source, name, "acl"))
                after = sids.account(profiles.attribute(target, same, "acl"))
                if before and after and before != after:
                    yield before, after


def differing(old: SystemRoot, path: Sequence[bytes], new: SystemRoot) -> Iterator[tuple[bytes, ...]]:
    """What of a person's folder is not the same in both beside its data: streams, attributes, times, tags, rights.

    Raises IoError where the old one cannot be read.
    """
    accounts = dict(_sids(old, new))
    for one in keptpaths.walk(old, path):
        where = (*one.where, one.entry.name)
        placed = keptpaths.placed(where, old, new)
        with tree.folder(old.mount, one.where) as source:
            with telling(keptpaths.shown(old, where)):
                wanted = _told_of(source, where[-1], accounts)
                names = profiles.streams(source, where[-1]) if one.entry.kind is not EntryKind.LINK else []
            try:
                with tree.folder(new.mount, placed[:-1]) as target:
                    same = wanted == _told_of(target, placed[-1], {})
                    same = same and all(_same_stream(source, where[-1], target, placed[-1], name) for name in names)
            except (OSError, BadImageError):
                same = False
        if not same:
            yield where


def _told_of(parent: int, name: bytes, accounts: Mapping[bytes, bytes]) -> tuple[object, ...]:
    """What Windows says of an entry, as far as it is kept."""
    rights = sids.mapped(profiles.attribute(parent, name, "acl"), accounts)
    times = profiles.attribute(parent, name, "times")[:_TIMES]
    data = (profiles.attribute(parent, name, which) for which in ("reparse_data", "efsinfo"))
    return (profiles.attributes(parent, name) & _COMPARED, rights, times, *data)


def _same_stream(source: int, name: bytes, target: int, placed: bytes, stream: bytes) -> bool:
    with _stream(source, stream, name, READ) as one, _stream(target, stream, placed, READ) as other:
        return filedata.same(one, other, lambda _: None)


@contextmanager
def _stream(parent: int, name: bytes, of: bytes, flags: int) -> Iterator[int]:
    fd = os.open(profiles.stream(name, of), flags, 0o600, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)
