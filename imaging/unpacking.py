"""Compressed files as streams of what they hold: each unpacked by the tool of its format, in a process of its own.

What a file is, its first bytes say, never its name. A tool takes a core of its own, knows streams that were put one
after the other, and ends with an error where one is cut short or damaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from imaging.errors import BadImageError, IoError
from imaging.run import Filter, filtered


class Packing(StrEnum):
    """How a file is compressed; the values are the usual ends of names."""

    GZIP = "gz"
    XZ = "xz"
    ZSTD = "zst"
    BZIP2 = "bz2"
    LZMA = "lzma"
    LZIP = "lzip"
    LZ4 = "lz4"
    LZO = "lzo"


_MAGIC: tuple[tuple[bytes, Packing], ...] = (
    (b"\x1f\x8b\x08", Packing.GZIP),
    (b"\xfd7zXZ\0", Packing.XZ),
    (b"\x28\xb5\x2f\xfd", Packing.ZSTD),
    (b"BZh", Packing.BZIP2),
    (b"LZIP", Packing.LZIP),
    (b"\x04\x22\x4d\x18", Packing.LZ4),
    (b"\x89LZO\0\r\n\x1a\n", Packing.LZO),
)
"""LZMA alone has none: only a name tells it."""
_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a zstd frame that holds no data; one can come first, as pzstd writes it."""
_TOOLS: dict[Packing, tuple[str, ...]] = {
    Packing.GZIP: ("gzip", "-dc"),
    Packing.XZ: ("xz", "-dc", "--memlimit-decompress=1GiB"),
    Packing.ZSTD: ("zstd", "-dcq", "--no-progress"),
    Packing.BZIP2: ("bzip2", "-dc"),
    Packing.LZMA: ("xz", "--format=lzma", "-dc", "--memlimit-decompress=1GiB"),
    Packing.LZIP: ("lzip", "-dcq"),
    Packing.LZ4: ("lz4", "-dcq"),
    Packing.LZO: ("lzop", "-dcq"),
}


def packing_of(head: bytes) -> Packing | None:
    """How a file that begins with these bytes is compressed; None where it is not, or in a way that is not known."""
    if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5:
        return Packing.ZSTD
    return next((packing for magic, packing in _MAGIC if head.startswith(magic)), None)


class Unpacked:
    """A stream of what a compressed file holds; use `unpacked`."""

    def __init__(self, stream: Filter, name: str) -> None:
        """Take the tool's output, and what to call the file in messages."""
        self._stream, self._name = stream, name

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end alone; raises BadImageError where the file is cut short or damaged."""
        try:
            return self._stream.read(size)
        except IoError as error:
            raise BadImageError(
                f"{self._name} is cut short or damaged: {error.message}",
                code="bad-stream",
                hint="copy it once more from where it came from",
            ) from error


@contextmanager
def unpacked(source: int | Sequence[Path], packing: Packing | None, name: str) -> Iterator[Unpacked]:
    """What an open file holds from where it stands on, or files one after the other; `name` is for messages.

    Without a packing they are handed on as they are. Raises IoError without the tool. How far the tool has come in an
    open file is where that stands (lseek(2)).
    """
    tools: list[Sequence[str | Path]] = [("cat", "--", *(() if isinstance(source, int) else source))]
    if packing is not None:
        tools = [_TOOLS[packing]] if isinstance(source, int) else [*tools, _TOOLS[packing]]
    with filtered(source if isinstance(source, int) else None, *tools) as stream:
        yield Unpacked(stream, name)
