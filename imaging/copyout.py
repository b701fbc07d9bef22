"""Copy files and folders out of an image into a folder of this system.

Nothing that is there is overwritten, and no half-written file bears a file's name. What the target cannot keep (owners
on FAT, names that Windows forbids) is counted and told, and what cannot be read is a failure, never a silence.
"""

import errno
import os
import secrets
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from imaging import filedata, keyring, mounts, tree
from imaging.access import refuse_in_library, writable
from imaging.durable import sync_all, written
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError
from imaging.events import FilesResult
from imaging.fileview import LARGEST_ON_FAT
from imaging.imageplans import FilesPlan
from imaging.imagevolumes import find_volume
from imaging.library import Library
from imaging.opened import open_image
from imaging.pipeline import Reporter
from imaging.tree import Entry, EntryKind

_MOST_TOLD = 50
"""Warnings of a job's log; what comes after is counted."""
_SAME_TIME = 2.0
"""Seconds by which times may differ for a file to count as there already: FAT counts in twos."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_FAT = ("vfat", "msdos")
_MOST_NAMES = 1000
_MOST_FOLDERS = 256
"""Folders that are kept open for files with several names."""


def copy_files(plan: FilesPlan, report: Reporter, cancel: threading.Event) -> FilesResult:
    """Carry out a copying; needs root, for the volume is mounted.

    Raises BadImageError where the image, the volume or a path is not there, RefusedError, IoError where the target is
    full or fails, CancelledError: `state` says then how much was copied.
    """
    began = time.monotonic()
    target, where = Path(plan.target), Path(plan.library)
    refuse_in_library(target, where)
    library = Library.open(where)
    image = library.image(plan.image)
    paths = [tree.parts(path) for path in plan.all_paths]
    with writable(target), open_image(library, image) as opened:
        for name in plan.unlock:
            opened.unlock(name, keyring.volume_key(image.id, name))
        work = _Copy(opened.mount(find_volume(image, plan.volume, opened.volumes)), target, where, report, cancel)
        try:
            work.measure(paths)
            with _folder(target, create=plan.create) as fd:
                work.copy(paths, fd)
                _sync(fd, target)
        except RescueError as error:
            if not error.state and (work.counts.files or work.counts.folders):
                error.state = f"Files copied to {target} before that: {work.counts.files}. They are whole, and stay."
            raise
    work.tell_rest()
    counts = work.counts
    return FilesResult(
        files=counts.files,
        folders=counts.folders,
        links=counts.links,
        bytes=counts.bytes,
        there=counts.there,
        failed=counts.failed,
        not_kept=dict(sorted(counts.not_kept.items())),
        seconds=time.monotonic() - began,
    )


@contextmanager
def _folder(path: Path, *, create: bool) -> Iterator[int]:
    if create:
        with written(path):
            path.mkdir(mode=0o700, exist_ok=True)  # what was private in its old folder stays so
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be copied to: {error.strerror}", code="not-a-folder", hint="give a folder that is there"
        ) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _sync(fd: int, target: Path) -> None:
    """Everything that was copied is on the medium when the job says so."""
    os.sync()  # folders of the target may be of other file systems
    try:
        with written(target):
            os.fsync(fd)
            # It alone tells what the medium has lost since the folder was opened.
            sync_all(fd)
    except IoError as error:
        error.state = f"The files that were copied to {target} may be damaged."
        raise


@dataclass(slots=True, kw_only=True)
class _Counts:
    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    there: int = 0
    failed: int = 0
    not_kept: dict[str, int] = field(default_factory=dict)


class _Copy:
    """A copying under way."""

    def __init__(self, root: int, where: Path, library: Path, report: Reporter, cancel: threading.Event) -> None:
        self._root, self._where, self._report, self._cancel = root, where, report, cancel
        self._library = library.stat()
        self._most = LARGEST_ON_FAT if mounts.kind_beneath(where) in _FAT else 0
        """Bytes of the largest file that the target can hold; 0 where it can hold any."""
        self._told = 0
        self._first: dict[int, tuple[int, bytes] | None] = {}
        """Where a file with several names was copied to: a descriptor of that folder and the name, by its inode."""
        self._folders: list[int] = []
        self._before: dict[int, set[str]] = {}
        """By the descriptor of each open folder of the target: names in it that nothing of this copying has yet."""
        self.counts = _Counts()

    def measure(self, paths: Sequence[Sequence[bytes]]) -> None:
        """Find out how much there is to copy."""
        self._report.step("Looking at what is to be copied")
        total = 0
        for path in paths:
            entry = tree.entry_at(self._root, path)
            total += self._size(entry, path)
            if entry.kind is EntryKind.FOLDER:
                for found in tree.walk(self._root, path):
                    self._stop_if_asked()
                    total += self._size(found.entry, (*found.where, found.entry.name))
        self._report.step("Copying files", total)

    def _size(self, entry: Entry, path: Sequence[bytes]) -> int:
        """The bytes of an entry that will be copied; before anything is, it is told what the target cannot hold."""
        if not self._is_too_large(entry):
            return entry.size
        self._tell(f"{tree.shown(path)} will not be copied: FAT, on the target, holds no file of 4 GiB or more")
        return 0

    def _is_too_large(self, entry: Entry) -> bool:
        return entry.kind is EntryKind.FILE and 0 < self._most < entry.size

    def copy(self, paths: Sequence[Sequence[bytes]], target: int) -> None:
        """Copy each, with all that is in it, into an open folder."""
        with written(self._where):
            self._before[target] = _listed(target)
        try:
            for path in paths:
                if path:
                    with tree.folder(self._root, path[:-1]) as source:
                        self._one(source, tree.entry_at(self._root, path), target, path)
                else:
                    with tree.folder(self._root, ()) as source:
                        for name in tree.names_in(source, ()):
                            self._one(source, tree.look(source, name), target, (name,))
        finally:
            for fd in self._folders:
                os.close(fd)
        self._report.finish_step()

    def _stop_if_asked(self) -> None:
        if self._cancel.is_set():
            raise CancelledError("cancelled")

    def _one(self, source: int, entry: Entry, target: int, path: Sequence[bytes]) -> None:
        """Copy one entry; what is wrong with it alone is told and counted, and the others go on."""
        self._stop_if_asked()
        try:
            if entry.problem:
                raise BadImageError(f"{tree.shown(path)} cannot be read: {entry.problem}", code="read-failed")
            match entry.kind:
                case EntryKind.FOLDER:
                    self._enter(source, entry, target, path)
                case EntryKind.FILE if self._is_too_large(entry):
                    self.counts.failed += 1
                case EntryKind.FILE:
                    self._file(source, entry, target, path)
                case EntryKind.LINK:
                    self._link(source, entry, target, path)
                case EntryKind.OTHER:
                    self._not_kept("devices, pipes and sockets", path)
        except BadImageError as error:
            self.counts.failed += 1
            self._tell(error.message)
        except OSError as error:
            if error.errno in _FULL:
                with written(self._where):
                    raise
            self.counts.failed += 1
            self._tell(f"{tree.shown(path)} cannot be copied: {error.strerror}")

    def _enter(self, source: int, entry: Entry, target: int, path: Sequence[bytes]) -> None:
        if len(path) > tree.DEEPEST:
            raise BadImageError(f"{tree.shown(path)} lies in too many folders", code="too-deep")
        name = self._made_folder(entry.name, target, path)
        with tree.inside(entry.name, source) as inner_source, tree.inside(name, target) as inner:
            try:
                names = tree.names_in(inner_source, path)
            except IoError as error:
                raise BadImageError(error.message, code=error.code) from error
            self._before[inner] = _listed(inner)
            for one in names:
                self._one(inner_source, tree.look(inner_source, one), inner, (*path, one))
            del self._before[inner]
            self._keep(inner_source, inner, entry, path)
        self.counts.folders += 1

    def _made_folder(self, name: bytes, target: int, path: Sequence[bytes]) -> bytes:
        """Make a folder, or take the one that an earlier copying has made."""
        name = self._allowed(name, target, path)
        for chosen in _names(name):
            try:
                os.mkdir(chosen, 0o700, dir_fd=target)
            except FileExistsError:
                if tree.look(target, chosen).kind is not EntryKind.FOLDER or self._is_library(target, chosen):
                    continue
                if not self._claim(chosen, target):
                    continue
            if chosen != name:
                self._tell_name(chosen, path)
            return chosen
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _is_library(self, target: int, name: bytes) -> bool:
        """Whether a folder is the library that is read from: nothing is copied into that."""
        return os.path.samestat(os.stat(name, dir_fd=target, follow_symlinks=False), self._library)

    def _allowed(self, name: bytes, target: int, path: Sequence[bytes]) -> bytes:
        """The name, or one that the target's file system takes in its place."""
        try:
            os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            if not tree.is_odd(name):
                return name
            probe = b".%s.%s" % (secrets.token_hex(4).encode(), name)
            try:
                os.close(
                    os.open(probe[:200], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
                )
                os.unlink(probe[:200], dir_fd=target)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EILSEQ, errno.ENOENT):
                    raise
                return self._plain(name, path)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EILSEQ):
                raise
            return self._plain(name, path)
        return name

    def _plain(self, name: bytes, path: Sequence[bytes]) -> bytes:
        self._not_kept("names", path)
        plain = bytes(ord("_") if byte in tree.FORBIDDEN else byte for byte in name)
        text = plain.decode(errors="replace").replace("\ufffd", "_").rstrip(". ") or "_"
        return text.encode()

    def _file(self, source: int, entry: Entry, target: int, path: Sequence[bytes]) -> None:
        name = self._allowed(entry.name, target, path)
        fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        try:
            status = os.fstat(fd)
            if status.st_nlink > 1 and self._linked(status.st_ino, name, target, path):
                self._report.advance(entry.size)
                return
            if self._is_there(entry, name, target):
                self.counts.there += 1
                self._report.advance(entry.size)
                return
            chosen = self._written(fd, entry, name, target, path)
            if status.st_nlink > 1 and status.st_ino not in self._first:
                kept = len(self._folders) < _MOST_FOLDERS
                if kept:
                    self._folders.append(os.dup(target))
                self._first[status.st_ino] = (self._folders[-1], chosen) if kept else None
        finally:
            os.close(fd)

    def _is_there(self, entry: Entry, name: bytes, target: int) -> bool:
        """Whether an earlier copying has written a file, under its name or, where another has that, a numbered one."""
        for chosen in _names(name):
            there = tree.look(target, chosen)
            same = there.kind is EntryKind.FILE and there.size == entry.size
            if not same or abs(there.modified - entry.modified) > _SAME_TIME:
                return False
            if self._claim(chosen, target):
                return True
        return False

    def _claim(self, name: bytes, target: int) -> bool:
        """Whether a name was there before this copying, and nothing of it has that name: from now on something has.

        Some file systems find `A` where this copying has written `a`: inodes do not always tell, listed names do.
        """
        key, before = _key(name), self._before[target]
        if key not in before:
            return False
        before.remove(key)
        return True

    def _linked(self, inode: int, name: bytes, target: int, path: Sequence[bytes]) -> bool:
        """Give a file that was copied already one more name; False where it was not, or where that cannot be."""
        if inode not in self._first:
            return False
        first = self._first[inode]
        try:
            if first is None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            os.link(first[1], name, src_dir_fd=first[0], dst_dir_fd=target, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError:
            self._not_kept("hard links", path)
            return False
        self.counts.files += 1
        return True

    def _written(self, source: int, entry: Entry, name: bytes, target: int, path: Sequence[bytes]) -> bytes:
        """Write a file under a name of its own, then give it the first name that is free; returns that."""
        temporary = b".rescue-%s.part" % secrets.token_hex(8).encode()
        out = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            try:
                self._contents(source, out, path)
                self._keep(source, out, entry, path)
            finally:
                os.close(out)
            chosen = _renamed(temporary, name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=target)
            raise
        if chosen != name:
            self._tell_name(chosen, path)
        self.counts.files += 1
        return chosen

    def _contents(self, source: int, out: int, path: Sequence[bytes]) -> None:
        def passed(size: int, moved: int) -> None:
            self._stop_if_asked()
            self.counts.bytes += moved
            self._report.advance(size, moved)

        try:
            filedata.copy(source, out, passed)
        except filedata.SourceError as error:
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else ""
            raise BadImageError(
                f"{tree.shown(path)} cannot be read at byte {error.at}: {why}", code="read-failed"
            ) from error

    def _link(self, source: int, entry: Entry, target: int, path: Sequence[bytes]) -> None:
        name = self._allowed(entry.name, target, path)
        there = tree.look(target, name)
        if there.kind is EntryKind.LINK and there.target == entry.target:
            self.counts.there += 1
            return
        try:
            os.symlink(entry.target, name, dir_fd=target)
        except OSError as error:
            if error.errno in _FULL:
                raise
            self._not_kept("symbolic links", path)
            return
        status = os.stat(entry.name, dir_fd=source, follow_symlinks=False)
        with suppress(OSError):
            os.chown(name, entry.user, entry.group, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        self.counts.links += 1

    def _keep(self, source: int, out: int, entry: Entry, path: Sequence[bytes]) -> None:
        """Owner, rights, attributes and times, as far as the target can keep them."""
        status = os.fstat(source)
        try:
            os.fchown(out, entry.user, entry.group)
        except OSError:
            self._not_kept("owners", path)
        self._attributes(source, out, path)
        try:
            os.fchmod(out, entry.mode)
            kept = os.fstat(out).st_mode & 0o7777 == entry.mode
        except OSError:
            kept = False
        if not kept:
            self._not_kept("rights", path)
        try:
            os.utime(out, ns=(status.st_atime_ns, status.st_mtime_ns))
        except OSError:
            self._not_kept("times", path)

    def _attributes(self, source: int, out: int, path: Sequence[bytes]) -> None:
        """Extended attributes, access control lists among them."""
        try:
            names = os.listxattr(source)
        except OSError:
            return
        for name in names:
            try:
                os.setxattr(out, name, os.getxattr(source, name))
            except OSError:
                self._not_kept("extended attributes", path)
                return

    def _not_kept(self, what: str, path: Sequence[bytes]) -> None:
        count = self.counts.not_kept.get(what, 0)
        if not count:
            self._tell(f"not kept on the target: {what}; the first is that of {tree.shown(path)}")
        self.counts.not_kept[what] = count + 1

    def _tell_name(self, chosen: bytes, path: Sequence[bytes]) -> None:
        self._tell(f"{tree.shown(path)} was written as {chosen.decode(errors='replace')}: another file has its name")

    def _tell(self, words: str) -> None:
        self._told += 1
        if self._told <= _MOST_TOLD:
            self._report.log(words, "warning")

    def tell_rest(self) -> None:
        """Tell how many warnings were not told."""
        if self._told > _MOST_TOLD:
            self._report.log(f"And {self._told - _MOST_TOLD:,} more like these", "warning")


def _listed(folder: int) -> set[str]:
    return {_key(os.fsencode(name)) for name in os.listdir(folder)}


def _key(name: bytes) -> str:
    """Some file systems list a name in another form of Unicode than it was given in."""
    return unicodedata.normalize("NFC", os.fsdecode(name))


def _names(name: bytes) -> Iterator[bytes]:
    """The name, then others with a number, for one that is taken."""
    yield name
    stem, dot, end = name.rpartition(b".")
    stem, end = (stem, dot + end) if stem else (name, b"")
    for number in range(2, _MOST_NAMES):
        yield b"%s (%d)%s" % (stem, number, end)


def _renamed(temporary: bytes, name: bytes, target: int) -> bytes:
    """Give a file the first name that nothing else has; raises OSError."""
    for chosen in _names(name):
        try:
            # A hard link never replaces what is there, which a rename would.
            os.link(temporary, chosen, src_dir_fd=target, dst_dir_fd=target, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno in _FULL:
                raise
            # FAT and exFAT know no hard links.
            if not tree.look(target, chosen).problem:
                continue
            os.rename(temporary, chosen, src_dir_fd=target, dst_dir_fd=target)
            return chosen
        os.unlink(temporary, dir_fd=target)
        return chosen
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
