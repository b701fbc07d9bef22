"""Which chunks images name: what one of them, deleted, would leave that nobody needs.

Names are those that chunks have in the store: in an encrypted library, what the key makes of those in the index.

Indexes are read piece by piece, and chunks told apart by the first eight bytes of their names: two that are alike in
those are both kept. Memory depends on neither how many images there are nor on how large the largest of them is.
"""

import os
import sys
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from blake3 import blake3

from imaging.chunk import ID_SIZE
from imaging.errors import BadImageError, IoError
from imaging.index import HEAD_SIZE, ITEM_SIZE, TAIL_SIZE, refuse_unless_framed
from imaging.library import Library, Listing, most_bytes
from imaging.manifest import Image
from imaging.regular import open_regular
from imaging.sealing import FILE_OVERHEAD
from imaging.stores import FOLDERS

_BLOCK = 1 << 16
"""Chunks that are read at once."""
_BATCH = 1 << 19
"""Chunks that are told apart at once: some 50 MB."""
_MOST_HELD = 1 << 20
"""Chunks of images that are held at once: some 100 MB."""
_MOST_INDEX = 1 << 30
_KEY = 8
_REST = 8 * (_KEY - 2)
"""Bits of a key after the first two bytes of a name."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """An index as it lies in an image's folder; `digest` is the manifest's, empty where the manifest is damaged."""

    path: Path
    digest: str = ""
    most: int = _MOST_INDEX
    library: Library | None = None
    """Its library, where that is encrypted: what lies in the file, and the names that the index has, need its seal."""

    @property
    def size(self) -> int:
        """Bytes; 0 where that cannot be known."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return 0
        return size if self.library is None else max(0, size - FILE_OVERHEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Of `named` chunks of the doomed images, those that no other image names."""

    named: int
    alone: Sequence[bytes]


def indexes_in(library: Library, image_id: str) -> list[IndexFile]:
    """Every index in an image's folder, whatever its manifest says; raises BadImageError, IoError."""
    folder = library.folder(image_id)
    try:
        found = [path for path in sorted(folder.iterdir()) if path.suffix == ".caibx"]
    except OSError as error:
        raise BadImageError(f"{folder} cannot be read: {error.strerror}", code="read-failed") from error
    return [IndexFile(path=path, library=_if_sealed(library)) for path in found]


def _if_sealed(library: Library) -> Library | None:
    return None if library.seal is None else library


def indexes_of(library: Library, image_id: str) -> list[IndexFile]:
    """The indexes of an image that is listed; raises BadImageError where what it names cannot be known."""
    try:
        image = library.image(image_id)
    except (BadImageError, IoError) as error:
        found = indexes_in(library, image_id)
        # A newer program's image may name chunks in files that this one does not know.
        if not found or error.code == "unknown-version":
            raise BadImageError(
                f"what image {image_id} uses cannot be known: it is damaged ({error.message})", code="bad-manifest"
            ) from error
        return found
    return _indexes_by(library, image)


def indexes_of_all(library: Library, listing: Listing, but: Collection[str] = ()) -> list[IndexFile]:
    """The indexes of all images that are listed, but for some; raises BadImageError where what one names is not known.

    What was read of an image for the list is not read again.
    """
    found = [file for image in listing.images if image.id not in but for file in _indexes_by(library, image)]
    names = (image.id for image in listing.damaged if image.id not in but)
    return found + [file for name in names for file in indexes_of(library, name)]


def _indexes_by(library: Library, image: Image) -> list[IndexFile]:
    return [
        IndexFile(
            path=library.file(image.id, disk.name, "caibx", most_bytes(disk, "caibx")),
            digest=disk.index_digest,
            most=most_bytes(disk, "caibx"),
            library=_if_sealed(library),
        )
        for disk in image.disks
    ]


def named_only_by(doomed: Sequence[IndexFile], others: Sequence[IndexFile], advance: Advance) -> Iterator[Batch]:
    """The chunks that `doomed` name and none of `others` does, once each.

    Raises BadImageError where an index cannot be read to its end: nothing is known then. `advance` is told of the
    bytes of indexes that were gone through, as many as `bytes_to_read` says.
    """
    parts = _parts(doomed)
    for part in range(parts):
        left: set[int] = set()
        for file in doomed:
            for _, keys in _blocks(file, advance):
                left.update(keys if parts == 1 else [key for key in keys if key * parts >> 64 == part])
        named = len(left)
        for file in others:
            if not left:
                advance(file.size)
                continue
            for _, keys in _blocks(file, advance):
                left.difference_update(keys)
        yield Batch(named=named, alone=_names(doomed, left) if left else [])


def named_between(files: Sequence[IndexFile], first: int, end: int, advance: Advance) -> set[int]:
    """The chunks that indexes name, of those whose names begin with `first` to `end` - 1 (two bytes, as numbers).

    Each is stood for by the first eight bytes of its name: see `key_of`. Raises BadImageError as `named_only_by` does.
    """
    found: set[int] = set()
    low, high = first << _REST, end << _REST
    for file in files:
        for _, keys in _blocks(file, advance):
            found.update(key for key in keys if low <= key < high)
    return found


def sizes_between(files: Sequence[IndexFile], first: int, end: int, advance: Advance) -> dict[bytes, int]:
    """As `named_between`, but the chunks' names, each with the plain bytes that it stands for, the most of them."""
    found: dict[bytes, int] = {}
    low, high = first << _REST, end << _REST
    for file in files:
        before = 0
        for block, keys in _blocks(file, advance):
            ends = _column(block, 0)
            for i, key in enumerate(keys):
                if low <= key < high:
                    at, size = ITEM_SIZE * i + _KEY, ends[i] - (ends[i - 1] if i else before)
                    name = block[at : at + ID_SIZE]
                    if found.get(name, -1) < size:
                        found[name] = size
            before = ends[-1]
    return found


def parts_of(files: Sequence[IndexFile]) -> list[tuple[int, int]]:
    """Parts, by the first two bytes of names, of which each has few enough of what these indexes name to be held."""
    count = min(FOLDERS, max(1, -(-sum(file.size for file in files) // (ITEM_SIZE * _MOST_HELD))))
    step = -(-FOLDERS // count)
    return [(first, min(first + step, FOLDERS)) for first in range(0, FOLDERS, step)]


def keys_of(file: IndexFile) -> Iterator["array[int]"]:
    """The keys of all chunks that an index names, in blocks; raises BadImageError where it cannot be read."""
    for _, keys in _blocks(file, lambda _: None):
        yield keys


def key_of(chunk: bytes) -> int:
    """The number that stands for a chunk: the first eight bytes of its name."""
    return int.from_bytes(chunk[:_KEY], "big")


def bytes_to_read(doomed: Sequence[IndexFile], others: Sequence[IndexFile]) -> int:
    """Bytes of indexes that `named_only_by` goes through."""
    return _parts(doomed) * sum(file.size for file in [*doomed, *others])


def _parts(doomed: Sequence[IndexFile]) -> int:
    """How many passes there are: names are evenly spread, so each has a share of them."""
    return max(1, -(-sum(file.size for file in doomed) // (_BATCH * ITEM_SIZE)))


def _names(doomed: Sequence[IndexFile], left: set[int]) -> list[bytes]:
    found = []
    for file in doomed:
        for block, keys in _blocks(file, lambda _: None):
            for i, key in enumerate(keys):
                if key in left:
                    left.discard(key)
                    at = ITEM_SIZE * i + _KEY
                    found.append(block[at : at + ID_SIZE])
    return found


def _blocks(file: IndexFile, advance: Advance) -> Iterator[tuple[bytes, "array[int]"]]:
    """An index in blocks of whole items, each with the keys of its chunks; raises where it is not whole."""
    try:
        with _opened(file) as raw:
            size, hasher = raw.seek(0, os.SEEK_END), blake3()
            raw.seek(0)
            head = raw.read(HEAD_SIZE)
            hasher.update(head)
            left = (size - HEAD_SIZE - TAIL_SIZE) // ITEM_SIZE
            while left > 0:
                block = _exactly(raw.read, min(left, _BLOCK) * ITEM_SIZE, file.path)
                hasher.update(block)
                left -= len(block) // ITEM_SIZE
                block = _as_stored(block, file.library)
                yield block, _keys(block)
                advance(len(block))
            tail = raw.read(TAIL_SIZE + 1)
            hasher.update(tail)
    except FileNotFoundError as error:
        raise BadImageError(f"{file.path} is missing", code="bad-image-file") from error
    except OSError as error:
        raise BadImageError(f"{file.path} cannot be read: {error.strerror}", code="read-failed") from error
    refuse_unless_framed(head, tail, size, str(file.path))
    if file.digest and hasher.hexdigest() != file.digest:
        raise BadImageError(
            f"{file.path} is damaged: it is not the file that the manifest names", code="bad-image-file"
        )
    advance(HEAD_SIZE + TAIL_SIZE)


def _opened(file: IndexFile) -> BinaryIO:
    """An index to be read from its beginning; raises OSError, BadImageError."""
    if file.library is None:
        return cast(BinaryIO, os.fdopen(open_regular(file.path, file.most), "rb", buffering=0))
    try:
        return BytesIO(file.library.read(file.path, file.most))
    except IoError as error:
        raise BadImageError(error.message, code=error.code) from error


def _as_stored(block: bytes, library: Library | None) -> bytes:
    """Items of an index, with the names that their chunks have in the store."""
    if library is None or library.seal is None:
        return block
    name, end = library.seal.name, ITEM_SIZE - ID_SIZE
    items = (block[at : at + ITEM_SIZE] for at in range(0, len(block), ITEM_SIZE))
    return b"".join(part for item in items for part in (item[:end], name(item[end:])))


def _exactly(read: Callable[[int], bytes | None], size: int, path: Path) -> bytes:
    """Read so many bytes: a file system may give fewer at once."""
    data = bytearray()
    while len(data) < size:
        more = read(size - len(data))
        if not more:
            raise BadImageError(f"{path} is cut short", code="bad-index")
        data += more
    return bytes(data)


def _keys(block: bytes) -> "array[int]":
    """The first bytes of each chunk's name, as numbers."""
    keys = _column(block, _KEY)
    keys.byteswap()
    return keys


def _column(block: bytes, at: int) -> "array[int]":
    """The little-endian numbers that stand `at` so many bytes after the start of each item."""
    packed = bytearray(len(block) // ITEM_SIZE * _KEY)
    for k in range(_KEY):
        packed[k::_KEY] = block[at + k :: ITEM_SIZE]
    numbers = array("Q")
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
