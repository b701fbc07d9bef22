"""A library in object storage, on a web server or in a single file, seen through a folder of this system: its mirror.

Manifests and notes lie in the mirror; indexes, used maps and digest tables come when they are needed; chunks never do
(imaging.remotestore reads them where they are). What is written to the mirror of a bucket is written there as well, the
manifest last and only if nobody else has. So everything that works with a library's folder works with a remote one.
"""

import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from imaging import credentials, notes
from imaging.address import ObjectAddress, parse
from imaging.credentials import Keys
from imaging.disk import format_size
from imaging.durable import write_file, written
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.lentfolders import kept_by, lent
from imaging.objects import Listed, Objects, set_rate
from imaging.pack import Pack, is_pack
from imaging.regular import read_regular
from imaging.signatures import NAME as SIGNATURES
from imaging.state import state_folder

ORIGIN = "origin.json"
"""The file in a mirror that says what it is the mirror of."""
_MIRROR = ".mirror"
"""The end of a mirror's path: no folder of an address begins with a dot, so that no mirror lies within another."""
FORMAT = 1
AT_ONCE = 16
"""Requests under way at once."""
_MANIFESTS = ("manifest.json", "manifest.deleted")
"""One of them makes an image, or one that was deleted; a capture that is under way has neither yet."""
_SMALL = (*_MANIFESTS, "notes.json", SIGNATURES)
"""What of each image lies in the mirror before anybody asks for it."""
_CHANGING = ("notes.json", SIGNATURES)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME = re.compile(r"[^/\0]{1,255}")
_MOST_SIGNATURES = 64 << 10
"""Twice what they can need: those of an encrypted library are longer by a little."""
_MOST_NOTES = 2 * notes.MOST_BYTES
_MOST_SMALL = 16 << 20
_MOST_FILE = 1 << 30


class Mirror:
    """The folder of a remote library, and the way there."""

    def __init__(self, folder: Path, objects: Objects | Pack) -> None:
        """Use `mirror_of`."""
        self.folder = folder
        self.objects = objects

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written to the library."""
        return self.objects.address.read_only

    @property
    def _written(self) -> Objects:
        """Where files can be written. Raises RefusedError."""
        if isinstance(self.objects, Pack):
            raise self.objects.refused()
        return self.objects

    def refuse_unless_removable(self) -> None:
        """Raise RefusedError where nothing can be removed: of a name that nobody has nothing is lost. IoError."""
        self._written.delete(f"writers/{secrets.token_hex(8)}.none")

    def refuse_to_create(self) -> None:
        """Raise RefusedError unless a library can be made: the place is empty, and can be written to. IoError."""
        refuse_unless_writable(self)
        other = next(iter(self.objects.list("")), None)
        if other is not None:
            raise RefusedError(
                f"{self.objects.address.url} is neither an image library nor empty: it holds {other.path!r}",
                code="not-a-library",
                hint="give an empty or a new folder",
            )

    def pull(self, name: str, most: int = _MOST_SMALL) -> bool:
        """Bring one file of the library, new, by its path below it; False where it is not there. IoError.

        Raises BadImageError where it is longer than `most`, RefusedError where this system has no room for it.
        """
        if isinstance(self.objects, Pack):
            self._refuse_without_room(self.objects.size(name) or 0, most)
        data = self.objects.get(name, most)
        path = self.folder / name
        if data is None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return False
        with written(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, data)
        return True

    def _refuse_without_room(self, size: int, most: int) -> None:
        """Raise RefusedError where a file would fill the memory in which mirrors lie on the live system."""
        with written(self.folder):
            status = os.statvfs(self.folder)
        free = status.f_bavail * status.f_frsize
        if status.f_blocks and free // 2 < size <= most:
            where = self.objects.address.url
            raise RefusedError(
                f"{where} needs {format_size(size)} in {self.folder}, and {format_size(free)} are free",
                code="no-space",
                hint="use a computer with more memory, or copy the image into a library there",
            )

    def _pull_or_stand_in(self, name: str, most: int = _MOST_SMALL) -> bool:
        """As `pull`; a file that is far too long does not keep the others away.

        What stands in for it is empty and as much too long: it is damaged for whoever reads it, as in a folder.
        """
        try:
            return self.pull(name, most)
        except BadImageError:
            path = self.folder / name
            with written(path):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_file(path, b"")
                os.truncate(path, most + 1)
            return True

    def ensure(self, path: Path, most: int = _MOST_FILE) -> None:
        """Bring a file that never changes, unless the mirror has it: one of more than `most` bytes is damaged. IoError.

        Raises RefusedError where this system has no room for it.
        """
        if not path.exists():
            self._pull_or_stand_in(self._name(path), most)

    def renew(self, path: Path, most: int = _MOST_FILE) -> None:
        """Bring a file as it is there now, whatever the mirror has; raises as `ensure` does."""
        self._pull_or_stand_in(self._name(path), most)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def push(self, path: Path, *, new: bool = False) -> bool:
        """Write a file of the mirror to the library; with `new`, only where there is none: whether it was. IoError."""
        return self._written.put(self._name(path), read_regular(path, _MOST_FILE), new=new)

    def is_there(self, path: Path) -> bool:
        """Whether the library has a file, whatever the mirror has. Raises IoError."""
        return self.objects.size(self._name(path)) is not None

    def holds(self, path: Path) -> bool:
        """Whether a file of the library is the same as in the mirror. Raises IoError."""
        return self.objects.get(self._name(path), _MOST_FILE) == read_regular(path, _MOST_FILE)

    def remove(self, path: Path) -> None:
        """Remove a file of the library. Raises IoError."""
        self._written.delete(self._name(path))

    def remove_all(self, folder: Path, last: Path | None = None) -> None:
        """Remove all files of the library below a folder, `last` after all others. Raises IoError."""
        end = self._name(last) if last is not None else ""
        self._each(self._written.delete, [one.path for one in self.objects.list(self._name(folder)) if one.path != end])
        if end:
            self._written.delete(end)

    def refresh_images(self) -> None:
        """Make the mirror list the images that the library has now. Raises IoError."""
        if self.read_only:
            self._refresh_by_names()
        else:
            self._refresh_by_list()

    def _refresh_by_list(self) -> None:
        found: dict[str, Listed] = {}
        for one in self.objects.list("images"):
            parts = one.path.split("/")
            if len(parts) == 3 and _ID.fullmatch(parts[1]) and parts[2] in _SMALL and one.size <= _most(parts[2]):
                found[one.path] = one
        self._forget_others({path.split("/")[1] for path in found})
        for path in self._known():
            if path not in found:
                (self.folder / path).unlink(missing_ok=True)
        wanted = [one for path, one in sorted(found.items()) if not self._has(path, one)]
        self._each(self._pull_listed, wanted)

    def _known(self) -> Sequence[str]:
        return [self._name(path) for name in _SMALL for path in (self.folder / "images").glob(f"*/{name}")]

    def _has(self, path: str, one: Listed) -> bool:
        try:
            status = (self.folder / path).stat()
        except OSError:
            return False
        changed = path.endswith(_CHANGING) and int(status.st_mtime) != int(one.modified)
        return status.st_size == one.size and not changed

    def _pull_listed(self, one: Listed) -> None:
        if self._pull_or_stand_in(one.path):
            with suppress(OSError):
                os.utime(self.folder / one.path, (one.modified, one.modified))

    def _refresh_by_names(self) -> None:
        """A web server tells names alone: what is there already is taken to be as it was."""
        names = sorted({name for name in self.objects.folders("images") if _ID.fullmatch(name)})
        self._forget_others(set(names))
        wanted = [name for name in names if not (self.folder / "images" / name / "manifest.json").exists()]
        self._each(self._pull_image, wanted)

    def _pull_image(self, name: str) -> None:
        if self._pull_or_stand_in(f"images/{name}/manifest.json"):
            self._pull_or_stand_in(f"images/{name}/notes.json", _MOST_NOTES)
            with suppress(BadImageError):  # far too long: whoever wants to believe it asks again, and is told
                self.pull(f"images/{name}/{SIGNATURES}", _MOST_SIGNATURES)

    def pull_image(self, name: str) -> None:
        """Bring an image's manifest and notes, as they are now. Raises IoError."""
        if _ID.fullmatch(name):
            self._pull_image(name)

    def pull_folder(self, name: str) -> None:
        """Bring every file of an image that the mirror lacks, damaged or deleted as it may be. Raises IoError."""
        if self.read_only or not _ID.fullmatch(name):
            return
        for one in self.objects.list(f"images/{name}"):
            file = one.path.rpartition("/")[2]
            if one.path == f"images/{name}/{file}" and _NAME.fullmatch(file):
                self.ensure(self.folder / one.path)

    def _forget_others(self, names: set[str]) -> None:
        with suppress(FileNotFoundError):
            for folder in (self.folder / "images").iterdir():
                # A folder without a manifest is a capture of this system that is under way.
                if folder.name not in names and any((folder / name).exists() for name in _MANIFESTS):
                    shutil.rmtree(folder, ignore_errors=True)

    def refresh_marks(self) -> None:
        """Make the mirror hold the marks of all writers, with their times. Raises IoError."""
        if self.read_only:
            return
        folder = self.folder / "writers"
        found = {one.path: one for one in self.objects.list("writers")}
        with suppress(FileNotFoundError):
            for path in folder.iterdir():
                if self._name(path) not in found:
                    path.unlink(missing_ok=True)
        for path_, one in found.items():
            name = path_.removeprefix("writers/")
            if _NAME.fullmatch(name) and name not in (".", ".."):
                self._pull_listed(one)

    def _each(self, work: Callable[[Any], object], items: Iterable[Any]) -> None:
        """Do something with each, several at once; the first error is raised."""
        items = list(items)
        if not items:
            return
        with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
            list(pool.map(work, items))


def _most(name: str) -> int:
    """Bytes of a small file that are fetched without being asked for."""
    return _MOST_SIGNATURES if name == SIGNATURES else sys.maxsize


def folder_for(words: str) -> Path:
    """The folder that stands for the library at an address, made where there is none.

    Raises UsageError where the address cannot be understood, IoError.
    """
    address = parse(words)
    folder = state_folder() / "remote" / address.name / _MIRROR
    origin = folder / ORIGIN
    with written(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not origin.exists():
        write_file(origin, json.dumps({"format": FORMAT, "url": address.url}).encode())
    return folder


def address_of(folder: Path) -> ObjectAddress | None:
    """The address that a folder is the mirror of; None for an ordinary folder. Raises BadImageError, IoError."""
    try:
        data = read_regular(folder / ORIGIN, _MOST_SMALL)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise IoError(f"{folder / ORIGIN} cannot be read: {error.strerror}", code="read-failed") from error
    # Only this system's own mirrors are believed: a library on a stick must not send anyone anywhere.
    if not folder.resolve().is_relative_to((state_folder() / "remote").resolve()):
        return None
    try:
        document: Any = json.loads(data)
        return parse(str(document["url"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadImageError(f"{folder / ORIGIN} is damaged", code="not-a-library") from error


def mirror_of(folder: Path, *, from_medium: bool = False) -> Mirror | None:
    """The mirror in a folder, or that of an image in a single file; None where it is an ordinary folder.

    With `from_medium` nothing of a single file is taken from memory. Raises RefusedError, BadImageError, IoError.
    """
    if is_pack(folder):
        return _mirror_of_pack(Pack(folder, from_medium=from_medium))
    address = address_of(folder)
    if address is None:
        return None
    return Mirror(folder, _objects(address, credentials.kept(address)))


def _mirror_of_pack(pack: Pack) -> Mirror:
    """A folder of its own for each time that one is opened: rot changes no time, and what was read once may be rotten.

    It is gone when nobody uses the mirror any more.
    """
    folder = lent(state_folder() / "single")
    mirror = Mirror(folder, pack)
    kept_by(mirror, folder)
    return mirror


def _objects(address: ObjectAddress, keys: Keys) -> Objects:
    if keys.rate:
        set_rate(keys.rate)
    return Objects(address, keys.values)


def reach(address: ObjectAddress, keys: Keys | None = None, *, writable: bool = False) -> Path:
    """The folder that stands for the library at an address, once that has answered; `keys` are kept from then on.

    Without `keys` those that are kept are used, else those in the usual places. `writable` is for one that may yet have
    to be made. Raises RefusedError where it can only be read or lets nobody in (code "denied"), IoError, BadImageError.
    """
    keys = credentials.kept(address) if keys is None else keys
    found = _objects(address, keys)
    if writable:
        found.refuse_unless_writable()
    found.refuse_unless_proved()
    if not address.read_only:
        found.refuse_unless_there()
    credentials.keep(address, keys)
    folder = folder_for(address.url)
    if not Mirror(folder, found).pull("library.json") and not writable:
        there = address.url
        raise BadImageError(
            f"no image library was found in {there}",
            code="not-a-library",
            hint="a library is a folder that holds a file library.json",
        )
    return folder


def is_read_only(folder: Path) -> bool:
    """Whether a library lies where nothing can be written: on a web server, or in a single file."""
    if is_pack(folder):
        return True
    address = address_of(folder) if folder.name == _MIRROR else None
    return address is not None and address.read_only


def name_of(folder: Path) -> str:
    """What a person calls a library: its address, or its folder."""
    address = address_of(folder) if folder.name == _MIRROR else None
    return address.url if address else str(folder)


def refuse_unless_removable(mirror: Mirror | None) -> None:
    """Raise RefusedError where nothing can be removed from the library."""
    if mirror is not None:
        mirror.refuse_unless_removable()


def refuse_unless_writable(mirror: Mirror | None) -> None:
    """Raise RefusedError where nothing can be written to the library."""
    if mirror is not None:
        mirror.objects.refuse_unless_writable()
