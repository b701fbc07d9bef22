"""An image in a single file, or in pieces of one, read in place; see imaging.packformat.

It stands for a library that can only be read. Whatever its index says, nothing outside of it is read: each member's
header is compared before its data is believed.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from blake3 import blake3

from imaging import packformat
from imaging.durable import reading
from imaging.errors import BadImageError, RefusedError
from imaging.objects import Listed
from imaging.packformat import BLOCK, END, MARKED, PackedFile, Table
from imaging.packpieces import LARGEST, Pieces
from imaging.packrecords import Records
from imaging.regular import open_regular

SUFFIX = ".rescue"
_NAMES = (SUFFIX, f"{SUFFIX}.001")
_MEMBER = re.compile(r"library\.json|images/[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[^/\0]{1,255}")
_MOST_JSON = 1 << 20


def is_pack(path: Path) -> bool:
    """Whether a file looks like an image in a single file, or the first piece of one; not, where nobody can tell."""
    with suppress(OSError, BadImageError):
        if not path.is_file():
            return False
        fd = open_regular(path, LARGEST)
        try:
            return packformat.member(os.read(fd, BLOCK))[0] == packformat.FIRST
        finally:
            os.close(fd)
    return False


def in_folder(folder: Path) -> list[Path]:
    """The images in single files in a folder, by their names' ends, those in pieces by their first one."""
    with suppress(OSError), os.scandir(folder) as entries:
        named = sorted(entry.path for entry in entries if entry.name.endswith(_NAMES))
        return [found for found in map(Path, named) if not found.name.startswith(".") and is_pack(found)]
    return []


def first_piece(path: Path) -> Path:
    """The first piece, where a person names another one, or the file that is there in pieces alone; else the path."""
    stem, number = packformat.piece_of(path.name)
    if number or not os.path.lexists(path):
        first = path.with_name(f"{stem}.001")
        return first if is_pack(first) else path
    return path


def pieces_of(path: Path) -> Sequence[Path]:
    """The pieces that belong to the first one, in order; a file that is no piece is one. Raises BadImageError."""
    stem, first = packformat.piece_of(path.name)
    if not first:
        return (path,)
    found = {}
    with reading(path.parent), os.scandir(path.parent) as entries:
        for entry in entries:
            other, number = packformat.piece_of(entry.name)
            if number and other == stem:
                found[number] = path.with_name(entry.name)
    missing = next((number for number in range(1, max(found, default=0) + 1) if number not in found), 0)
    if first != 1 or missing:
        why = f"{stem}.{missing:03} is missing" if missing else f"{stem}.001 is its first piece"
        raise packformat.not_whole(str(path), why)
    return [found[number] for number in range(1, len(found) + 1)]


@dataclass(frozen=True, slots=True)
class PackAddress:
    """Where it lies."""

    url: str

    @property
    def read_only(self) -> bool:
        """Always: what is in it never changes."""
        return True


class Pack:
    """An image in a single file, by its files' paths; it offers what imaging.objects.Objects does."""

    def __init__(self, path: Path, *, from_medium: bool = False) -> None:
        """Open the file, or its first piece; with `from_medium` nothing but chunks is taken from memory, either.

        Raises BadImageError where it is damaged or not whole, IoError.
        """
        self.address = PackAddress(str(path))
        self.pieces = pieces = Pieces(pieces_of(path), from_medium=from_medium)
        end = pieces.read(pieces.size - BLOCK - len(END), BLOCK + len(END)) if pieces.size > 4 * BLOCK else b""
        tail, digest = packformat.decode_tail(end, pieces.size, str(path))
        table = packformat.decode_table(pieces.read(tail.table_at, tail.table_size), digest, str(path))
        self._end = tail.index_at
        self._refuse_unless_in_order(tail.piece, table)
        self._files = {file.path: file for file in table.files}
        self._refuse_odd(table.files)
        self.records = Records(pieces, tail.records_at, tail.chunks, str(path))
        self.stamp = blake3(pieces.stamp + digest).hexdigest()[:32]
        """What no other file has, nor this one once it was changed."""

    def _refuse_unless_in_order(self, piece: int, table: Table) -> None:
        """Raise BadImageError where pieces were swapped, or are of another image.

        They may have been joined since they were written, or cut anew.
        """
        for at, known in zip(count(0, piece), (table.first if piece else "", *table.marks), strict=False):
            if known and packformat.mark(self.pieces.read(at, max(0, min(MARKED, self._end - at)))) != known:
                raise BadImageError(
                    f"{self.pieces.path_at(at)} is not the piece that was written under this name",
                    code="bad-pieces",
                    hint="copy all pieces anew, each under its own name",
                )

    def _refuse_odd(self, files: Sequence[PackedFile]) -> None:
        """Raise BadImageError unless these are the files of a library with one image, each with bytes of its own.

        What is brought into memory for a list of images is no more than one image can need then.
        """
        path = self.address.url
        images = {file.path.split("/")[1] for file in files if "/" in file.path}
        names = all(_is_member(file.path) for file in files) and packformat.FIRST in self._files
        if not names or len(images) != 1 or len(self._files) != len(files):
            raise BadImageError(f"{path}: its index names files that no image has", code="bad-image-file")
        end = 0
        for file in sorted(files, key=lambda file: file.at):
            if file.at < end:
                raise self._not_there(file.path)
            self.refuse_elsewhere(file.path, file.at, file.size)
            end = file.at + BLOCK + packformat.padded(file.size)

    def refuse_elsewhere(self, member: str, at: int, size: int) -> None:
        """Raise BadImageError unless a member of this path and size stands at an offset, before the index."""
        if at % BLOCK or at < 0 or size < 0 or at + BLOCK + size > self._end:
            path = self.address.url
            raise BadImageError(f"{path}: its index points beyond its end", code="bad-image-file")
        self.refuse_other(self.pieces.read(at, BLOCK), member, size)

    def refuse_other(self, header: bytes, path: str, size: int) -> None:
        """Raise BadImageError unless a header is that of a member of this path and size."""
        if packformat.member(header) != (path, size):
            raise self._not_there(path)

    def _not_there(self, path: str) -> BadImageError:
        return BadImageError(
            f"{self.address.url}: {path} is not where its index says that it is", code="bad-image-file"
        )

    def place_of(self, name: bytes, most: int) -> tuple[int, int] | None:
        """Offset and bytes of a chunk's member by the name that it has; None where there is none. BadImageError."""
        found = self.records.find(name)
        if found is None:
            return None
        at, size = found
        if at % BLOCK or size > most or at + BLOCK + size > self._end:
            raise BadImageError(
                f"chunk {name.hex()} is missing: {self.address.url} has an index that points beyond its end",
                code="missing-chunk",
            )
        return at, size

    def get(self, path: str, most: int) -> bytes | None:
        """A whole file that is no chunk; None where it is not there. BadImageError for more than `most` bytes."""
        file = self._files.get(path)
        if file is None:
            return None
        if file.size > most:
            raise BadImageError(f"{self.address.url}: {path} is too long: more than {most} bytes")
        self.refuse_elsewhere(path, file.at, file.size)
        return self.pieces.read(file.at + BLOCK, file.size)

    def size(self, path: str) -> int | None:
        """A file's bytes; None where it is not there."""
        file = self._files.get(path)
        return None if file is None else file.size

    def list(self, folder: str, after: str = "") -> Iterator[Listed]:
        """The files that are no chunks below a folder, in the order of their paths, from the one after `after` on."""
        for path in sorted(self._files):
            if path > after and (not folder or path.startswith(f"{folder}/")):
                yield Listed(path=path, size=self._files[path].size, modified=0.0)

    def folders(self, folder: str) -> Sequence[str]:
        """The names of the folders in a folder."""
        below = (path.removeprefix(f"{folder}/") for path in self._files if path.startswith(f"{folder}/"))
        return sorted({path.partition("/")[0] for path in below if "/" in path})

    def refuse_unless_writable(self) -> None:
        """Raise RefusedError."""
        raise self.refused()

    def refused(self) -> RefusedError:
        """Why nothing can be written to it, or removed."""
        return RefusedError(
            f"{self.address.url} can be read only: it is an image in a single file",
            code="read-only",
            hint="copy the image into a library first: rescue copy-images FILE LIBRARY",
        )


def _is_member(path: str) -> bool:
    return _MEMBER.fullmatch(path) is not None and path.rpartition("/")[2] not in (".", "..")


def library_json(path: Path) -> bytes:
    """The `library.json` of one. Raises BadImageError, IoError."""
    return Pack(path).get(packformat.FIRST, _MOST_JSON) or b""
