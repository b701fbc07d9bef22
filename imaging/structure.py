"""What a library consists of, and whether all of it is there: looks only, and reads no chunk's data.

That every chunk holds what its name says is for a verification to find out: here a chunk is a name and a size.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from imaging.chunk import MAX_CHUNK_SIZE
from imaging.durable import reading
from imaging.errors import BadImageError, CancelledError, IoError
from imaging.library import Library, most_bytes
from imaging.manifest import Image, ImagedDisk
from imaging.naming import IndexFile, indexes_of, key_of, keys_of, parts_of, sizes_between
from imaging.sealing import FILE_OVERHEAD
from imaging.stores import FOLDERS, FRAME_SLACK, ChunkStore, Listed

_SUFFIXES = ("caibx", "used", "blake3")
_MOST_HELD = 1 << 18
"""Bad chunks of which the images that need them are looked for."""
_MOST_TOLD = 1000
_AT_ONCE = 16
"""Requests under way at once."""
_BATCH = 128
"""Chunks that a web server is asked for before anybody is asked whether to go on."""

Tell = Callable[[int, int], None]
"""Told how many bytes of indexes, of how many, were gone through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Chunks in a library's store, and their compressed bytes."""

    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong, in words; `image` is empty where it is of the whole library."""

    code: str
    message: str
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A library that was gone through."""

    images: int
    """Those that are listed, damaged ones, too."""
    named: int
    """Chunks that they name."""
    stock: Stock | None
    """None where a web server does not list what it has."""
    findings: tuple[Finding, ...]
    """What is damaged or missing."""
    bad: tuple[str, ...] = ()
    """The first of the chunks that are missing, or have a size that they cannot have, in hex."""
    bad_count: int = 0
    orphans: Stock | None = None
    """Chunks that no image names; None where that cannot be known."""
    leftovers: tuple[str, ...] = ()
    """What captures and deletions that were cut off have left, by its path in the library."""
    ignored: tuple[str, ...] = ()
    """Notes that cannot be used, in words: their images are none the worse for it."""

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.findings


def stock(library: Library, cancel: threading.Event) -> Stock | None:
    """How many chunks there are; None where a web server does not tell. Takes seconds, or until `cancel`. IoError."""
    if library.mirror is not None and library.mirror.read_only and not library.single:
        return None
    count = size = 0
    for one in library.store().listed(0, FOLDERS):
        _stop_if(cancel)
        count += 1
        size += one.size
    return Stock(chunks=count, bytes=size)


def check(library: Library, tell: Tell, cancel: threading.Event) -> Examined:
    """Go through all but the chunks' data; takes seconds to minutes, or until `cancel`. Raises IoError."""
    return _Check(library, cancel, tell).run()


def _stop_if(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise CancelledError("stopped")


@dataclass(slots=True)
class _Count:
    """Chunks and their compressed bytes."""

    chunks: int = 0
    bytes: int = 0

    def add(self, one: Listed) -> None:
        self.chunks += 1
        self.bytes += one.size

    @property
    def stock(self) -> Stock:
        return Stock(chunks=self.chunks, bytes=self.bytes)


class _Check:
    """A check under way."""

    def __init__(self, library: Library, cancel: threading.Event, tell: Tell) -> None:
        self._library, self._cancel, self._tell = library, cancel, tell
        self._store: ChunkStore = library.store()
        self._mirror = library.mirror
        self._listable = library.mirror is None or not library.mirror.read_only
        self._findings: list[Finding] = []
        self._bad: list[bytes] = []
        self._named = self._bad_count = self._done = self._total = 0
        self._there, self._orphans = _Count(), _Count()
        self._sure = True
        """Whether it is known what all images name."""

    def run(self) -> Examined:
        listing = self._library.images()
        indexes = [file for image in listing.images for file in self._indexes(image)]
        for damaged in listing.damaged:
            self._findings.append(Finding(code="damaged-image", message=damaged.problem, image=damaged.id))
            indexes += self._indexes_left(damaged.id)
        self._go_through(indexes)
        self._tell_hurt()
        return Examined(
            images=len(listing.images) + len(listing.damaged),
            named=self._named,
            stock=self._there.stock if self._listable else None,
            findings=tuple(self._findings),
            bad=tuple(chunk.hex() for chunk in self._bad[:_MOST_TOLD]),
            bad_count=self._bad_count,
            orphans=self._orphans.stock if self._listable and self._sure else None,
            leftovers=tuple(islice(self._leftovers(), _MOST_TOLD)) if self._listable else (),
            ignored=listing.ignored,
        )

    def _indexes(self, image: Image) -> list[IndexFile]:
        """The indexes of an image that are whole; what is not, of these and of what lies beside them, is told."""
        found = []
        for disk, file in zip(image.disks, indexes_of(self._library, image.id), strict=True):
            _stop_if(self._cancel)
            if self._files_are_whole(image, disk) or self._is_whole(file):
                found.append(file)
        return found

    def _files_are_whole(self, image: Image, disk: ImagedDisk) -> bool:
        if self._mirror is not None:
            for suffix in _SUFFIXES:
                path = self._library.root / "images" / image.id / f"{disk.name}.{suffix}"
                self._mirror.renew(path, most_bytes(disk, suffix) + FILE_OVERHEAD)
        try:
            self._library.files(image, disk)
        except (BadImageError, IoError) as error:
            if self._is_listed(image.id):
                self._findings.append(Finding(code=error.code, message=error.message, image=image.id))
            return False
        return True

    def _is_listed(self, image: str) -> bool:
        """Whether an image is there still: somebody may have deleted it meanwhile."""
        try:
            self._library.captured(image)
        except (BadImageError, IoError) as error:
            return error.code != "no-such-image"
        return True

    def _is_whole(self, file: IndexFile) -> bool:
        try:
            for _ in keys_of(file):
                _stop_if(self._cancel)
        except BadImageError:
            self._sure = False
            return False
        return True

    def _indexes_left(self, image: str) -> list[IndexFile]:
        """Those of an image whose manifest is damaged."""
        try:
            return [file for file in indexes_of(self._library, image) if self._is_whole(file)]
        except BadImageError:
            self._sure = False
            return []

    def _advance(self, count: int) -> None:
        _stop_if(self._cancel)
        self._done += count
        self._tell(self._done, self._total)

    def _go_through(self, indexes: Sequence[IndexFile]) -> None:
        """Compare what is named with what is there, part by part."""
        parts = parts_of(indexes)
        self._total = len(parts) * sum(file.size for file in indexes)
        for first, end in parts:
            wanted = sizes_between(indexes, first, end, self._advance)
            self._named += len(wanted)
            for one in self._present(first, end, wanted):
                _stop_if(self._cancel)
                self._there.add(one)
                size = wanted.pop(one.id, None)
                if size is None:
                    self._orphans.add(one)
                elif not 0 < one.size <= min(size, MAX_CHUNK_SIZE) + FRAME_SLACK:
                    self._note_bad(one.id)
            for chunk in wanted:
                _stop_if(self._cancel)
                # A capture may have stored it meanwhile.
                if not self._store.room_of(chunk):
                    self._note_bad(chunk)

    def _present(self, first: int, end: int, wanted: Mapping[bytes, int]) -> Iterator[Listed]:
        """The chunks of a part that are there; a web server is asked for each."""
        if self._listable:
            yield from self._store.listed(first, end)
            return
        names = iter(list(wanted))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while batch := list(islice(names, _BATCH)):
                for chunk, size in zip(batch, pool.map(self._store.room_of, batch), strict=True):
                    if size:
                        yield Listed(id=chunk, size=size, stored=0.0)

    def _note_bad(self, chunk: bytes) -> None:
        self._bad_count += 1
        if len(self._bad) < _MOST_HELD:
            self._bad.append(chunk)

    def _tell_hurt(self) -> None:
        """Name the images that need a bad chunk; what none needs any more was deleted meanwhile."""
        wanted, needed = {key_of(chunk) for chunk in self._bad}, set()
        listing = self._library.images()
        names = [*(image.id for image in listing.images), *(damaged.id for damaged in listing.damaged)]
        for name in names if wanted else ():
            hurt: set[int] = set()
            with suppress(BadImageError):  # told already
                for file in indexes_of(self._library, name):
                    for keys in keys_of(file):
                        _stop_if(self._cancel)
                        hurt |= wanted.intersection(keys)
            needed |= hurt
            if hurt:
                words = f"missing, or of a size that they cannot have: {len(hurt)} of its chunks"
                self._findings.append(Finding(code="missing-chunk", message=words, image=name))
        if self._sure and self._bad_count <= _MOST_HELD:
            self._bad = [chunk for chunk in self._bad if key_of(chunk) in needed]
            self._bad_count = len(self._bad)

    def _leftovers(self) -> Iterator[str]:
        marks = {path.stem.partition("~")[0] for path in self._marks()}
        for name, files in sorted(self._folders().items()):
            # One that bears a mark is being captured, or is cleared away by the next capture.
            if "manifest.json" not in files and name not in marks:
                yield f"images/{name}"
        for path, _ in self._store.strays():
            _stop_if(self._cancel)
            yield f"chunks/{path}"

    def _marks(self) -> Sequence[Path]:
        if self._mirror is not None:
            self._mirror.refresh_marks()
        folder = self._library.root / "writers"
        with reading(folder):
            return list(folder.glob("*.json"))

    def _folders(self) -> Mapping[str, set[str]]:
        """The folders of images, with the names of the files in each."""
        found: dict[str, set[str]] = {}
        if self._mirror is not None:
            for one in self._mirror.objects.list("images"):
                _, name, *rest = one.path.split("/")
                if rest:
                    found.setdefault(name, set()).update(rest)
            return found
        with reading(self._library.path), suppress(FileNotFoundError):
            for folder in (self._library.root / "images").iterdir():
                if folder.is_dir() and not folder.is_symlink():
                    found[folder.name] = {file.name for file in folder.iterdir()}
        return found
