"""The single-file form of an image: which bytes stand where in it. imaging/README.md describes it.

It is a tar archive (POSIX.1-1988, "ustar") of a library with one image. Its last member says where the others are, so
that nothing is searched for; it ends with a block of a fixed size, from which reading starts.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import msgspec
from blake3 import blake3

from imaging.chunk import ID_SIZE
from imaging.decodable import decodable
from imaging.errors import BadImageError

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends a tar archive."""
FORMAT = 1
FIRST = "library.json"
"""The first member, by which such a file is known."""
INDEX = "rescue-index"
"""The last member."""
MARKED = 4096
"""Bytes at the beginning of each piece that the index knows, by which pieces that were swapped are found out."""
MOST_PIECES = 999
MOST_FILES = 1024
MOST_TABLE = 4 << 20
"""Bytes that the index's table of files and marks never exceeds."""
_MAGIC = b"rescue image\0\0\0\1"
_TAIL = struct.Struct("<16sIIQQQQQ32s")
_RECORD = struct.Struct("<32sQQ")
RECORD_SIZE = _RECORD.size
_NAME, _PREFIX = 100, 155
_CHECKSUM = slice(148, 156)
_PIECE = re.compile(r"(.+)\.([0-9]{3})")


def piece_of(name: str) -> tuple[str, int]:
    """The name without the number of a piece, and that number; 0 where a file is named as no piece is."""
    found = _PIECE.fullmatch(name)
    return (found[1], int(found[2])) if found is not None else (name, 0)


def ends_as_index(path: Path) -> bool:
    """Whether a file ends as an image in a single file does, or the last piece of one. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - BLOCK - len(END)))
        return file.read(len(_MAGIC)) == _MAGIC


def lies_in(path: Path, library: Path) -> bool:
    """Whether a file lies in a library's folder, or is the image in a single file itself, or a piece of it."""
    mine, theirs = piece_of(path.name), piece_of(library.name)
    beside = path.parent == library.parent and mine[0] == theirs[0] and mine[1] > 0 and theirs[1] > 0
    return beside or path.is_relative_to(library)


class PackedFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of the library that is no chunk: its path, the offset of its header, and its bytes."""

    path: str
    at: int
    size: int


@decodable
class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What the index says beside where the chunks are: the other files, and the BLAKE3 of how pieces begin.

    `first` is the mark of the first piece, `marks` are those of all others. Early files have no `first`.
    """

    files: tuple[PackedFile, ...]
    marks: tuple[str, ...] = ()
    first: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last block of the index: the whole length in bytes, and where what is. `piece` is 0 for one file."""

    total: int
    index_at: int
    chunks: int
    table_size: int
    piece: int

    @property
    def records_at(self) -> int:
        """Where the records of the chunks begin."""
        return self.index_at + BLOCK

    @property
    def table_at(self) -> int:
        """Where the table begins."""
        return self.records_at + self.chunks * RECORD_SIZE


def chunk_path(name: bytes) -> str:
    """Where a chunk lies in a library, by the name that it has there."""
    return f"chunks/{name.hex()[:4]}/{name.hex()}.cacnk"


def padded(size: int) -> int:
    """The bytes that a member's data takes: whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header(path: str, size: int, when: int) -> bytes:
    """A member's header. Raises ValueError where the path is too long for one."""
    folder, name = "", path.encode()
    if len(name) > _NAME:
        folder, _, last = path.rpartition("/")
        name = last.encode()
    prefix = folder.encode()
    if len(name) > _NAME or len(prefix) > _PREFIX:
        raise ValueError(f"{path} is too long a name for a tar archive")
    start = b"".join((name.ljust(_NAME, b"\0"), b"0000600\0", b"0000000\0" * 2, b"%011o\0" % size, b"%011o\0" % when))
    end = b"".join((b"0", bytes(100), b"ustar\00000", bytes(64), b"0000000\0" * 2, prefix.ljust(_PREFIX, b"\0")))
    checksum = sum(start) + sum(end) + 8 * 0x20
    return b"".join((start, b"%06o\0 " % checksum, end)).ljust(BLOCK, b"\0")


def member(block: bytes) -> tuple[str, int]:
    """Path and size of a member, by its header; an empty path where this is none of a plain file that tar unpacks."""
    if len(block) != BLOCK or block[257:263] != b"ustar\0" or block[156:157] != b"0":
        return "", 0
    prefix, name = block[345:500].rstrip(b"\0"), block[:_NAME].rstrip(b"\0")
    try:
        size = int(block[124:135], 8)
        if int(block[_CHECKSUM].rstrip(b"\0 "), 8) != sum(block) - sum(block[_CHECKSUM]) + len(block[_CHECKSUM]) * 0x20:
            return "", 0
        return (prefix + b"/" + name if prefix else name).decode(), size
    except ValueError:
        return "", 0


def record(name: bytes, at: int, size: int) -> bytes:
    """Where a chunk is: its name in the library, the offset of its header, and its bytes. They are sorted by name."""
    return _RECORD.pack(name, at, size)


def record_of(data: bytes | memoryview) -> tuple[bytes, int, int]:
    """What a record says; see `record`."""
    name, at, size = _RECORD.unpack(data)
    return name, at, size


def end_of_index(chunks: int, table: Table, index_at: int, piece: int) -> bytes:
    """What follows the records, to the end of the file."""
    encoded = msgspec.json.encode(table)
    used = chunks * RECORD_SIZE + len(encoded)
    size = padded(used) + BLOCK
    total = index_at + BLOCK + size + len(END)
    start = _TAIL.pack(_MAGIC, FORMAT, 0, total, index_at, chunks, len(encoded), piece, blake3(encoded).digest())
    block = start.ljust(BLOCK - ID_SIZE, b"\0")
    return b"".join((encoded, bytes(padded(used) - used), block, blake3(block).digest(), END))


def size_of_index(chunks: int, table: Table) -> int:
    """Bytes of the index as a member's data."""
    return padded(chunks * RECORD_SIZE + len(msgspec.json.encode(table))) + BLOCK


def decode_tail(data: bytes, size: int, name: str) -> tuple[Tail, bytes]:
    """The last block of the index, and the table's BLAKE3, from the last bytes of a file of `size` bytes.

    Raises BadImageError where they are not those of a whole file.
    """
    block, proof = data[: BLOCK - ID_SIZE], data[BLOCK - ID_SIZE : BLOCK]
    if len(data) != BLOCK + len(END) or not block.startswith(_MAGIC) or data[BLOCK:] != END:
        raise not_whole(name, "its end is missing")
    _magic, version, _, total, index_at, chunks, table_size, piece, digest = _TAIL.unpack_from(block)
    if version != FORMAT:
        raise BadImageError(
            f"{name}: format version {version} is not known to this program (it reads {FORMAT})",
            code="unknown-version",
            hint="use a newer version of Rescue",
        )
    if blake3(block).digest() != proof:
        raise not_whole(name, "its end is not what was written there")
    if total != size:
        raise not_whole(name, f"it has {size} bytes, and should have {total}")
    tail = Tail(total=total, index_at=index_at, chunks=chunks, table_size=table_size, piece=piece)
    room = total - len(END) - BLOCK
    if index_at % BLOCK or table_size > MOST_TABLE or tail.table_at + table_size > room:
        raise not_whole(name, "its index does not lie within it")
    return tail, digest


def decode_table(data: bytes, digest: bytes, name: str) -> Table:
    """The table; raises BadImageError."""
    if blake3(data).digest() != digest:
        raise not_whole(name, "its index is not what was written there")
    try:
        table = msgspec.json.decode(data, type=Table)
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_whole(name, f"its index cannot be read: {error}") from error
    if len(table.files) > MOST_FILES or len(table.marks) >= MOST_PIECES:
        raise not_whole(name, "its index names too much")
    return table


def not_whole(name: str, why: str) -> BadImageError:
    """What is wrong with a file that was cut, or lost a piece, in words."""
    return BadImageError(
        f"{name} is not whole: {why}",
        code="bad-image-file",
        hint="copy it anew from where it came from, with all of its pieces",
    )


def mark(start: bytes) -> str:
    """The mark of a piece, by its first bytes."""
    return blake3(start).hexdigest()
