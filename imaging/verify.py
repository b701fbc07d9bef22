"""Verify an image's chunks, or compare a disk with an image."""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from imaging import inventory, marks, media
from imaging.access import make_writable
from imaging.behind import forget
from imaging.blockdev import opened, read_exactly
from imaging.content import Content
from imaging.errors import BadImageError, CancelledError, RescueError
from imaging.events import VerifyResult
from imaging.harm import volumes_hurt
from imaging.healing import heal, library_to_mend_from
from imaging.imageplans import VerifyPlan, VerifySetPlan
from imaging.library import Library
from imaging.manifest import Image
from imaging.notes import Verification
from imaging.partitions import volume_of
from imaging.pipeline import ChunkBuffer, Counter, Reporter, busy_chunks, run_all
from imaging.proven import Proven, stamp_of
from imaging.rate import Rate
from imaging.signatures import State
from imaging.volume import VolumeContent
from imaging.vouching import look

_MOST_TOLD = 100
_MOST_NAMED = 1000
_MOST_OTHERS = 8
_NOT_MATCHING = "its signature does not match: do not trust it"
_MOST_WORDS = 500
"""Characters of an error's message that are kept with the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What the verifications of one job share: what is known to be right, how quickly they may read, what they did."""

    proven: Proven
    rate: Rate
    counts: Counter
    """Chunks and bytes (plain) that were read."""


@contextmanager
def begin(plan: VerifyPlan | VerifySetPlan, what: str, cancel: threading.Event) -> Iterator[Round]:
    """A round that goes on where one of the same library and of `what` was cut off. Raises BadImageError, IoError."""
    library = Library.open(Path(plan.library))
    what = f"{what} deep" if plan.deep else what
    with Proven.of(library.info.id, os.path.realpath(library.path), what, anew=plan.anew) as proven:
        yield Round(proven=proven, rate=Rate(plan.rate, cancel.wait), counts=Counter())
        proven.finish()  # where nothing was raised


def verify_alone(plan: VerifyPlan, report: Reporter, cancel: threading.Event, job: str) -> VerifyResult:
    """As `verify_and_note`, which goes on where one of the same image was cut off."""
    if plan.against is not None:
        return verify(plan, report, cancel)
    with begin(plan, plan.image, cancel) as shared:
        if shared.proven.resumed:
            report.log(f"Read already by a verification that was cut off, in chunks: {shared.proven.resumed}")
        return verify_and_note(plan, report, cancel, job, shared)


def verify_and_note(
    plan: VerifyPlan, report: Reporter, cancel: threading.Event, job: str, shared: Round
) -> VerifyResult:
    """As `verify`; how it ended is noted beside the image where all of it was looked at, and the library takes it.

    `job` is the name of the job that does it.
    """
    try:
        result = verify(plan, report, cancel, shared)
    except BadImageError as error:
        _note(plan, _ended(plan, job, problem=error.message[:_MOST_WORDS]), report)
        raise
    bad = max(result.bad_count, len(result.bad))
    problem = why_not_matching(result)
    _note(plan, _ended(plan, job, chunks=result.chunks, bad=bad, problem=problem), report)
    return result


def why_not_matching(result: VerifyResult) -> str:
    """What is wrong with the signatures of an image, in words; empty where nothing is."""
    return _NOT_MATCHING if result.standing.state is State.WRONG else ""


def _ended(plan: VerifyPlan, job: str, *, chunks: int = 0, bad: int = 0, problem: str = "") -> Verification:
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Verification(when=when, chunks=chunks, bad=bad, job=job, deep=plan.deep, problem=problem)


def _note(plan: VerifyPlan, found: Verification, report: Reporter) -> None:
    """What was verified stays true where it cannot be noted: that is a line in the log."""
    path = Path(plan.library)
    try:
        library = Library.open(path)
        with suppress(RescueError):
            _make_own_writable(path)
        library.annotate(plan.image, lambda notes: replace(notes, verified=found))
    except RescueError as error:
        report.log(f"The result is not kept with the image: {error.message}")


def _make_own_writable(library: Path) -> None:
    """Only the stick's own partition for images: whoever verifies did not ask to have another medium written to."""
    if library.is_relative_to(media.IMAGES):
        make_writable(library)


def verify(plan: VerifyPlan, report: Reporter, cancel: threading.Event, shared: Round | None = None) -> VerifyResult:
    """Carry out a verification: nothing is written. Every bad chunk is found, not just the first.

    What `shared` knows to be right is not read again.
    Raises BadImageError where manifest, index, used map or digest table cannot be used, RefusedError where the disk to
    compare with is not the one that was shown, IoError, CancelledError.
    """
    began = time.monotonic()
    library = Library.open(Path(plan.library), from_medium=True)
    vouched = look(library, plan.image)
    image = vouched.image
    if vouched.standing.problem:
        report.log(f"The signatures of image {image.id}: {vouched.standing.problem}", "warning")
    counts = Counter()
    bad: set[bytes] = set()
    tell = _Warnings(report)
    unreadable = 0
    shared = shared or Round(proven=Proven(), rate=Rate(plan.rate, cancel.wait), counts=Counter())
    for disk in image.disks:
        if plan.against is not None and disk.name != plan.disk:
            continue
        unreadable += disk.unreadable_in(part.volume for part in plan.partitions).total
        content = Content.load(library, image, disk, from_medium=True)
        if plan.against is None:
            reading = _Reading(content=content, deep=plan.deep, shared=shared, bad=bad, counts=counts, tell=tell)
            reading.run(report, cancel)
        else:
            marks.refuse_if_changed(plan.against, inventory.look(plan.against.path))
            for part in _parts(content, plan):
                _compare(part, counts, tell, report, cancel)
    tell.rest()
    healed = heal(library, image.id, sorted(bad), library_to_mend_from(plan.repair_from), report)
    bad -= healed.mended
    volumes = _hurt_by(library, image, bad, healed.hurt, report)
    return VerifyResult(
        image=image.id,
        chunks=counts["chunks"],
        bytes=counts["bytes"],
        bad=tuple(name.hex() for name in sorted(bad)[:_MOST_NAMED]),
        bad_count=len(bad),
        differing=counts["differing"],
        unreadable=unreadable,
        mended=len(healed.mended),
        resumed=counts["known"],
        hurt=healed.hurt[:_MOST_NAMED],
        volumes=volumes,
        standing=vouched.standing,
        seconds=time.monotonic() - began,
    )


def _hurt_by(
    library: Library, image: Image, bad: Collection[bytes], others: Sequence[str], report: Reporter
) -> tuple[str, ...]:
    """The volumes of an image that bad chunks hurt; those of other images are told."""
    for other in others[:_MOST_OTHERS]:
        with suppress(RescueError):
            names = ", ".join(volumes_hurt(library, library.image(other), bad))
            if names:
                report.log(f"Hurt of image {other}: {names}", "warning")
    found = volumes_hurt(library, image, bad)
    if found:
        report.log(f"Hurt of this image: {', '.join(found)}", "warning")
    return found


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The verification of one disk's chunks: each once, the all-zero ones that casync needs among them.

    `deep` checks their names, too; the ids of bad ones go into `bad`.
    """

    content: Content
    deep: bool
    shared: Round
    bad: set[bytes]
    counts: Counter
    tell: _Warnings
    stamps: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """What the store said of chunks before they were read, by their number: bytes there, and the stamp."""

    def run(self, report: Reporter, cancel: threading.Event) -> None:
        index = self.content.index
        chosen = _claims(self.content)
        chosen.sort()
        report.step(f"Verifying {self.content.disk.name}", sum(index.length(i) for i in chosen))

        def work(i: int) -> None:
            self._look(i, cancel)
            self.counts.add("chunks")
            self.counts.add("bytes", index.length(i))
            report.advance(index.length(i))

        run_all(chosen, lambda: work, cancel, self._announce, self.content.store.lead)
        report.finish_step()

    def _announce(self, i: int) -> None:
        """What the store says of a chunk is asked before any of it is read."""
        found = self._stamp(i)
        if not found[1] or found[1] not in self.shared.proven:
            self.stamps[i] = found
            self.content.announce(i)

    def _stamp(self, i: int) -> tuple[int, bytes]:
        """A chunk's bytes in the store and its stamp, which is empty where it cannot be told whether it changes."""
        index = self.content.index
        store = self.content.store
        size, of_store = store.stamp(store.name(index.id(i))) or (0, b"")
        if not of_store:
            return size, b""
        wanted = index.id(i) + index.length(i).to_bytes(8, "little") + self.content.digests[i]
        return size, stamp_of(wanted, of_store)

    def _look(self, i: int, cancel: threading.Event) -> None:
        proven = self.shared.proven
        size, stamp = self.stamps.pop(i) if i in self.stamps else self._stamp(i)
        if stamp and stamp in proven:
            self.counts.add("known")
            return
        self.shared.rate.used(size)
        if cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        try:
            if self.deep:
                self.content.prove_name(i)
            else:
                self.content.plain(i)
        except BadImageError as error:
            self.bad.add(self.content.index.id(i))
            self.tell(error.message)
        else:
            if stamp:
                proven.add(stamp)
        self.shared.counts.add("chunks")
        self.shared.counts.add("bytes", self.content.index.length(i))


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
        read(memoryview(found), at)
        if found != data:
            counts.add("differing")
            tell(f"The {what} differs from the image's at byte {at + part.shift}")
