"""The limits: loops that do the unavoidable work on the chunks of an image, on all cores, and nothing else.

Nothing is checked in them, nothing is reported, and what they go through is listed before the clock starts. They read
into whole pages, as the engine does: the kernel copies several times as slowly to where a bytearray begins.
"""

import hashlib
import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard
from blake3 import blake3

from imaging.extents import Extents
from imaging.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One chunk: its file in the store, where it lies on the disk, and which bytes of it are used."""

    file: str
    frame: int
    """Bytes of the file."""
    name: bytes
    start: int
    size: int
    used: tuple[tuple[int, int], ...]
    """`(start, end)`, as offsets in the chunk."""


def pieces(library: Path, image_id: str, *, table: bool) -> list[Piece]:
    """The chunks of an image's only disk that hold anything; with `table` that of the partition table, too.

    Restore leaves the table to the end and writes it by itself; capture reads it like everything else.
    """
    opened = Library.open(library)
    image = opened.image(image_id)
    disk = image.disks[0]
    files = opened.files(image, disk)
    used = files.used if table else files.used.minus(Extents(disk.table_extents))
    found = []
    for i in range(len(files.index)):
        start, size, name = files.index.start(i), files.index.length(i), files.index.id(i)
        ranges = tuple((low - start, high - start) for low, high in used.within(start, start + size))
        if ranges:
            path = library / "chunks" / name.hex()[:4] / f"{name.hex()}.cacnk"
            found.append(
                Piece(file=str(path), frame=path.stat().st_size, name=name, start=start, size=size, used=ranges)
            )
    return found


def on_all_cores(items: Sequence[Piece], make_work: Callable[[], Callable[[Piece], None]]) -> float:
    """Call a thread's own work with each item, by as many threads as cores; returns seconds."""
    left = iter(items)
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            work = make_work()
            for item in left:
                work(item)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=loop) for _ in range(os.cpu_count() or 1)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    return seconds


def decompress_and_write(items: Sequence[Piece], target: Path) -> float:
    """Read each frame, decompress it, write its used bytes to the target; returns seconds."""
    fd = os.open(target, os.O_WRONLY)

    def make_work() -> Callable[[Piece], None]:
        decompress = zstandard.ZstdDecompressor().decompress

        def work(piece: Piece) -> None:
            frame_fd = os.open(piece.file, os.O_RDONLY)
            frame = os.read(frame_fd, piece.frame)
            os.close(frame_fd)
            data = memoryview(decompress(frame))
            for low, high in piece.used:
                os.pwrite(fd, data[low:high], piece.start + low)

        return work

    try:
        return on_all_cores(items, make_work)
    finally:
        os.close(fd)


def decompress(items: Sequence[Piece]) -> float:
    """Read each frame and decompress it, one after the other, as somebody does who reads a file; returns seconds."""
    plain = zstandard.ZstdDecompressor().decompress
    began = time.perf_counter()
    for piece in items:
        fd = os.open(piece.file, os.O_RDONLY)
        frame = os.read(fd, piece.frame)
        os.close(fd)
        plain(frame)
    return time.perf_counter() - began


def read_and_digest(items: Sequence[Piece], disk: Path, found: dict[int, bytes] | None = None) -> float:
    """Read the used bytes of each chunk once and digest them (BLAKE3); returns seconds.

    With `found` the digests are kept in it, by the chunk's first byte, so that two disks can be compared.
    """
    fd = os.open(disk, os.O_RDONLY)
    longest = max(piece.size for piece in items)

    def make_work() -> Callable[[Piece], None]:
        buffer = memoryview(mmap.mmap(-1, longest))

        def work(piece: Piece) -> None:
            at = 0
            for low, high in piece.used:
                at += os.preadv(fd, [buffer[at : at + high - low]], piece.start + low)
            digest = blake3(buffer[:at]).digest()
            if found is not None:
                found[piece.start] = digest

        return work

    try:
        return on_all_cores(items, make_work)
    finally:
        os.close(fd)


def name_and_compress(items: Sequence[Piece], disk: Path, level: int) -> float:
    """Read each chunk, name it (SHA-512/256), compress it unless an equal one was; returns seconds."""
    fd = os.open(disk, os.O_RDONLY)
    longest = max(piece.size for piece in items)
    named: set[bytes] = set()

    def make_work() -> Callable[[Piece], None]:
        buffer, zeros = memoryview(mmap.mmap(-1, longest)), bytes(longest)
        compress = zstandard.ZstdCompressor(level=level).compress

        def work(piece: Piece) -> None:
            at = 0
            for low, high in piece.used:
                buffer[at:low] = zeros[: low - at]
                os.preadv(fd, [buffer[low:high]], piece.start + low)
                at = high
            buffer[at : piece.size] = zeros[: piece.size - at]
            name = hashlib.new("sha512_256", buffer[: piece.size]).digest()
            if name != piece.name:
                raise AssertionError(f"the chunk at byte {piece.start} is not the one that was captured")
            if name not in named:
                named.add(name)
                compress(buffer[: piece.size])

        return work

    try:
        return on_all_cores(items, make_work)
    finally:
        os.close(fd)
