"""Write a disk of an image as one file that other programs read: raw, seekable zstd, or a virtual machine's disk.

The image itself as a single file is imaging.packing's.

The file appears under its name only when it is whole, and replaces none that is there.
Source of the seekable format: contrib/seekable_format/zstd_seekable_compression_format.md of zstd, version 0.1.1.
"""

import os
import struct
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from imaging import virtual
from imaging.access import make_writable
from imaging.blockdev import loop_over
from imaging.chunk import Buffer, compress
from imaging.content import Content
from imaging.durable import write_all, written
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.events import ExportResult
from imaging.imageplans import ExportFormat, ExportPlan
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk
from imaging.outfile import InOrder, appearing
from imaging.packing import pack_image
from imaging.pipeline import Reporter, busy_chunks, run_all
from imaging.reader import DiskReader
from imaging.run import run_cancellable
from imaging.settling import settle

_SKIPPABLE, _SEEKABLE = 0x184D2A5E, 0x8F92EAB1
_ENTRY, _HEAD, _FOOT = struct.Struct("<II"), struct.Struct("<II"), struct.Struct("<IBI")
_MOST_FRAMES = (1 << 32) // _ENTRY.size - 2
_ZERO_LEVEL = 3
_QEMU: dict[ExportFormat, tuple[str, ...]] = {
    ExportFormat.QCOW2: ("-O", "qcow2"),
    ExportFormat.VMDK: ("-O", "vmdk"),
    ExportFormat.VHDX: ("-O", "vhdx", "-o", "subformat=dynamic"),
    ExportFormat.VDI: ("-O", "vdi"),
}


def export(plan: ExportPlan, report: Reporter, cancel: threading.Event) -> ExportResult:
    """Carry out an export; a virtual machine's disk needs root, the others do not.

    Raises BadImageError where image or chunks cannot be used, RefusedError where the file is there already, IoError,
    CancelledError: nothing is left then.
    """
    if plan.format is ExportFormat.RESCUE:
        return pack_image(plan, report, cancel)
    began = time.monotonic()
    target = Path(plan.target)
    make_writable(target.parent)
    library = Library.open(Path(plan.library))
    image = library.image(plan.image)
    disk = disk_of(image, plan.disk)
    content = Content.load(library, image, disk)
    with appearing(target) as temporary:
        match plan.format:
            case ExportFormat.RAW:
                _write_raw(content, temporary, report, cancel)
            case ExportFormat.ZSTD:
                _write_zstd(content, temporary, report, cancel)
            case _:
                _write_by_qemu(content, _QEMU[plan.format], temporary, report, cancel)
        report.step("Finishing the file")
        size = temporary.stat().st_blocks * 512
    settle(target.parent)
    return ExportResult(
        image=image.id, file=str(target), disk_size=disk.size, size=size, seconds=time.monotonic() - began
    )


def disk_of(image: Image, name: str) -> ImagedDisk:
    """The disk of that name, or the only one for no name; raises BadImageError."""
    found = [disk for disk in image.disks if name in ("", disk.name)]
    if len(found) != 1:
        names = ", ".join(disk.name for disk in image.disks)
        what = f"no disk {name!r}" if name else "several disks"
        raise BadImageError(f"image {image.id} has {what}", code="no-such-disk", hint=f"its disks are: {names}")
    return found[0]


def _busy(content: Content) -> Sequence[int]:
    return busy_chunks(content.index, content.used.union(content.table))


def _write_raw(content: Content, target: Path, report: Reporter, cancel: threading.Event) -> None:
    """What holds data is written at its place; the rest stays a hole, which reads as zeros."""
    index, busy = content.index, _busy(content)
    report.step(f"Writing {content.disk.name}", sum(index.length(i) for i in busy))
    with written(target):
        fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, index.size)

            def work(i: int) -> None:
                if not content.is_zero(i):
                    _put(fd, content.plain(i), index.start(i))
                report.advance(index.length(i), index.length(i))

            run_all(busy, lambda: work, cancel, content.announce, content.store.lead)
        finally:
            os.close(fd)
    report.finish_step()


def _put(fd: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(fd, left, at)
        left, at = left[count:], at + count


def _write_zstd(content: Content, target: Path, report: Reporter, cancel: threading.Event) -> None:
    """The chunks' own frames one after the other: nothing is compressed anew, and each was proved before."""
    index = content.index
    if len(index) > _MOST_FRAMES:
        raise RefusedError(f"{content.disk.name} has too many chunks for a seek table", code="too-large")
    busy = set(_busy(content))
    table = array("I")
    order = InOrder(cancel)
    zeros: dict[int, bytes] = {}
    report.step(f"Writing {content.disk.name}", index.size)
    with written(target), target.open("r+b", buffering=0) as out:

        def frame_of(i: int) -> Buffer:
            size = index.length(i)
            if i not in busy or content.is_zero(i):
                if size not in zeros:
                    zeros[size] = compress(bytes(size), _ZERO_LEVEL)
                return zeros[size]
            return content.frame(i)

        def work(i: int) -> None:
            try:
                frame = frame_of(i)
                with order.turn(i):
                    write_all(out.fileno(), frame)
                    table.extend((len(frame), index.length(i)))
            except BaseException as error:
                order.fail(error)
                raise
            report.advance(index.length(i), len(frame))

        def ahead(i: int) -> None:
            if i in busy:
                content.announce(i)

        run_all(range(len(index)), lambda: work, cancel, ahead, content.store.lead)
        write_all(out.fileno(), seek_table(table))
    report.finish_step()


def seek_table(sizes: "array[int]") -> bytes:
    """The skippable frame at the end: for each frame its compressed and its plain size, alternating in `sizes`."""
    frames = len(sizes) // 2
    entries = b"".join(_ENTRY.pack(sizes[2 * i], sizes[2 * i + 1]) for i in range(frames))
    body = entries + _FOOT.pack(frames, 0, _SEEKABLE)
    return _HEAD.pack(_SKIPPABLE, len(body)) + body


class _Counted:
    """A disk that tells how far somebody has read it, from its beginning to its end."""

    def __init__(self, reader: DiskReader, tell: Callable[[int], None]) -> None:
        self._reader, self._tell = reader, tell
        self._lock = threading.Lock()
        self._furthest = 0
        self.size = reader.size

    def read(self, offset: int, size: int) -> Sequence[memoryview]:
        """As DiskReader.read."""
        parts = self._reader.read(offset, size)
        with self._lock:
            further = max(0, min(offset + size, self.size) - self._furthest)
            self._furthest += further
        if further:
            self._tell(further)
        return parts


def _write_by_qemu(
    content: Content, words: Sequence[str], target: Path, report: Reporter, cancel: threading.Event
) -> None:
    """qemu-img reads the disk from a loop device over this process."""
    reader = DiskReader(content)
    disk = content.disk
    report.step(f"Writing {disk.name}", disk.size)
    with (
        reader,
        virtual.opened({"disk": _Counted(reader, report.advance)}) as files,
        loop_over(files["disk"], offset=0, size=disk.size, sector=disk.logical_sector) as loop,
    ):
        done = run_cancellable(["qemu-img", "convert", "-f", "raw", *words, loop, target], cancel)
    bad = reader.bad
    if bad:
        raise bad[0].error
    if done.status:
        said = done.stdout.strip().splitlines()
        words_of_tool = f": {said[-1].replace(loop, disk.name)}" if said else ""
        raise IoError(f"qemu-img ended with status {done.status}{words_of_tool}", code="tool-failed")
    report.finish_step()
