"""Verify an image's chunks, or compare a disk with an image."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging import inventory, marks
from imaging.behind import forget
from imaging.blockdev import opened, read_exactly
from imaging.content import Content
from imaging.errors import BadImageError, IoError
from imaging.events import VerifyResult
from imaging.library import Library
from imaging.partitions import volume_of
from imaging.pipeline import ChunkBuffer, Counter, Reporter, busy_chunks, run_all
from imaging.plan import VerifyPlan
from imaging.volume import VolumeContent

_MOST_TOLD = 100
_MOST_NAMED = 1000


def verify(plan: VerifyPlan, report: Reporter, cancel: threading.Event) -> VerifyResult:
    """Carry out a verification: nothing is written. Every bad chunk is found, not just the first.

    Raises BadImageError where manifest, index, used map or digest table cannot be used, RefusedError where the disk to
    compare with is not the one that was shown, IoError, CancelledError.
    """
    began = time.monotonic()
    library = Library.open(Path(plan.library))
    image = library.image(plan.image)
    counts = Counter()
    bad: set[bytes] = set()
    tell = _Warnings(report)
    unreadable = 0
    for disk in image.disks:
        if plan.against is not None and disk.name != plan.disk:
            continue
        unreadable += disk.unreadable_in(part.volume for part in plan.partitions).total
        content = Content.load(library, image, disk, from_medium=True)
        if plan.against is None:
            _verify_chunks(content, plan.deep, bad, counts, tell, report, cancel)
        else:
            marks.refuse_if_changed(plan.against, inventory.look(plan.against.path))
            for part in _parts(content, plan):
                _compare(part, counts, tell, report, cancel)
    tell.rest()
    return VerifyResult(
        image=image.id,
        chunks=counts["chunks"],
        bytes=counts["bytes"],
        bad=tuple(name.hex() for name in sorted(bad)[:_MOST_NAMED]),
        bad_count=len(bad),
        differing=counts["differing"],
        unreadable=unreadable,
        seconds=time.monotonic() - began,
    )


class _Warnings:
    """What is wrong, in words: the first of them, then how many more. Events often lie in memory."""

    def __init__(self, report: Reporter) -> None:
        """Take where they are told."""
        self._report = report
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, message: str) -> None:
        """Tell it, unless enough was told."""
        with self._lock:
            self._count += 1
            told = self._count <= _MOST_TOLD
        if told:
            self._report.log(message, "warning")

    def rest(self) -> None:
        """Tell how many were not told."""
        if self._count > _MOST_TOLD:
            self._report.log(f"And {self._count - _MOST_TOLD:,} more like these", "warning")


def _verify_chunks(
    content: Content,
    deep: bool,
    bad: set[bytes],
    counts: Counter,
    tell: _Warnings,
    report: Reporter,
    cancel: threading.Event,
) -> None:
    """Check each chunk once, the all-zero ones that casync needs among them; `deep` checks its name, too."""
    index = content.index
    chosen = _claims(content)
    chosen.sort()
    report.step(f"Verifying {content.disk.name}", sum(index.length(i) for i in chosen))

    def make_worker() -> Callable[[int], None]:
        def work(i: int) -> None:
            try:
                if deep:
                    content.prove_name(i)
                else:
                    content.plain(i)
            except BadImageError as error:
                bad.add(index.id(i))
                tell(error.message)
            counts.add("chunks")
            counts.add("bytes", index.length(i))
            report.advance(index.length(i))

        return work

    run_all(chosen, make_worker, cancel, content.announce)
    report.finish_step()


def _claims(content: Content) -> list[int]:
    """One number for each chunk that the image names; one id with two lengths or digests is a claim each."""
    index, digests = content.index, content.digests
    first: dict[bytes, int] = {}
    others = []
    for i in range(len(index)):
        same = first.setdefault(index.id(i), i)
        if (index.length(i), digests[i]) != (index.length(same), digests[same]):
            others.append(i)
    return [*first.values(), *others]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What is compared with a disk: all of it, or the partition called `name`, whose bytes lie `shift` further on.

    `size` is where it ends, as an offset in the image.
    """

    content: Content
    path: str
    name: str
    size: int
    shift: int = 0


def _parts(content: Content, plan: VerifyPlan) -> Iterator[_Part]:
    disk = plan.against
    if disk is None:
        return
    if not plan.partitions:
        yield _Part(content=content, path=disk.path, name=disk.name, size=disk.size)
    for spot in plan.partitions:
        volume = volume_of(content.disk, spot.volume)
        yield _Part(
            content=VolumeContent.of(content, volume),
            path=disk.path,
            name=disk.partition_name(spot.partition),
            size=volume.start + volume.size,
            shift=spot.start - volume.start,
        )


def _compare(part: _Part, counts: Counter, tell: _Warnings, report: Reporter, cancel: threading.Event) -> None:
    content = part.content
    with opened(part.path) as fd:

        def read(buffer: memoryview, offset: int) -> None:
            read_exactly(fd, buffer, offset + part.shift)

        report.step(f"Comparing {part.name} with the image", content.body.total)

        def make_worker() -> Callable[[int], None]:
            buffer = ChunkBuffer()

            def work(i: int) -> None:
                size = sum(high - low for low, high in content.ranges(i))
                same = content.matches(i, read, buffer)
                forget(fd, content.index.start(i), content.index.length(i))
                if not same:
                    counts.add("differing")
                    tell(f"The disk differs from the image at byte {content.index.start(i) + part.shift}")
                counts.add("chunks")
                counts.add("bytes", size)
                report.advance(size)

            return work

        run_all(busy_chunks(content.index, content.body), make_worker, cancel)
        report.finish_step()
        _compare_table(part, read, counts, tell)


def _compare_table(part: _Part, read: Callable[[memoryview, int], None], counts: Counter, tell: _Warnings) -> None:
    what = "disk's partition table" if part.name == part.path.rsplit("/", 1)[-1] else "partition"
    for at, data in part.content.table_pieces(part.size):
        found = bytearray(len(data))
        try:
            read(memoryview(found), at)
        except IoError:
            found = bytearray()
        if found != data:
            counts.add("differing")
            tell(f"The {what} differs from the image's at byte {at + part.shift}")
