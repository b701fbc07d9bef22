"""Restore from another program's image of a disk, without a library between.

What the image holds goes by once, rising, and is written where the target differs; the partition table is kept back and
comes last, as in every restore. Whether the image is whole is known at its end: until then the target is unfinished.
Of what was written its BLAKE3 is kept, and compared when it is read back.
"""

import threading
import time
from array import array
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blake3 import blake3

from imaging import inventory, marks, media, window
from imaging.chunk import CHUNK_SIZE, Buffer
from imaging.cutting import HEAD, Cut, Cutter, Outline
from imaging.disk import TableKind
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.events import READING_BACK, RestoreResult
from imaging.extents import Extents
from imaging.foreign import PIECE, ForeignDisk, closed
from imaging.foreignfiles import open_foreign
from imaging.foreignlook import mark_of
from imaging.foreignplan import refuse_doubtful, refuse_unless_target
from imaging.machinedisk import MachineDisk
from imaging.manifest import ImagedDisk
from imaging.pipeline import Counter, Reporter, run_all, threads
from imaging.planner import copy_of_table
from imaging.rawfile import RawDisk
from imaging.restoreplans import ForeignSource, RestorePlan, RestoreTarget
from imaging.restoresteps import carry_out, grown, told, unsanitized, wiped
from imaging.restoring import Restoring
from imaging.rising import Pieces
from imaging.sfdisk import GUARD
from imaging.tabled import Tabled

_AHEAD = 2
"""Blocks for each thread that are held in memory until their turn comes."""
_HEAD = 64 << 10
"""Bytes at the start of a disk that only its table has, where there are no partitions."""
_ZEROS = memoryview(bytes(CHUNK_SIZE))

_PROOF = 32
"""Bytes of a BLAKE3."""

Ranges = Sequence[tuple[int, int]]


def restore_straight(
    plan: RestorePlan, source: ForeignSource, report: Reporter, cancel: threading.Event
) -> RestoreResult:
    """Carry out a restore of which `source` is the plan's.

    Raises RefusedError before anything is written where source or target is not as it was shown; BadImageError,
    IoError and CancelledError in the middle, each with `state` set to what the targets are left in.
    """
    began = time.monotonic()
    path = Path(source.path)
    refuse_doubtful(plan)
    _refuse_if_changed(source)
    opened = {disk.name: disk for disk in open_foreign(path, cancel).disks}
    counts = Counter()
    disks = [_Straight(plan, pair, _disk(opened, pair), source, report, cancel, counts) for pair in plan.targets]
    try:
        with media.undisturbed(), ExitStack() as held:
            _refuse_unless_as_shown(plan, path)
            for disk in disks:
                (medium,) = held.enter_context(window.opened(disk.pair))
                disk.hold(medium)
            for straight in disks:
                straight.refuse_what_is_lost()
            carry_out(disks, read_back=plan.read_back)
    except Exception as error:
        ended = told(error, disks)
        if ended is error:
            raise
        raise ended from error
    return RestoreResult(
        image=plan.image,
        compared=counts["compared"],
        skipped=counts["skipped"],
        written=counts["written"],
        written_bytes=counts["written_bytes"],
        tables=counts["tables"],
        grown=grown(disks),
        wiped=wiped(disks),
        unsanitized=unsanitized(disks),
        read_back=plan.read_back,
        seconds=time.monotonic() - began,
    )


def _disk(opened: dict[str, ForeignDisk], pair: RestoreTarget) -> ForeignDisk:
    disk = opened.get(pair.source.name)
    if disk is None or disk.size not in (None, pair.source.size):
        raise RefusedError(f"{pair.source.name} is not the disk that was shown", code="image-changed")
    return disk


def _refuse_if_changed(source: ForeignSource) -> None:
    if mark_of(Path(source.path)) != source.mark:
        raise RefusedError(
            f"{source.path} was written to since the plan was shown",
            code="image-changed",
            hint="make sure that nothing writes to it, and make a new plan",
        )


def _refuse_unless_as_shown(plan: RestorePlan, path: Path) -> None:
    """Look at every target again; raises RefusedError where one is not the disk that was confirmed, or not free now."""
    for pair in plan.targets:
        if pair.create:
            if Path(pair.target.path).exists():
                raise RefusedError(f"{pair.target.path} was made since the plan was shown", code="disk-changed")
            continue
        now = inventory.look(pair.target.path, [path])
        marks.refuse_if_changed(pair.target, now)
        refuse_unless_target(path, pair.source, now)
        media.detach(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout(Tabled):
    """A disk that goes by: what makes its table is kept from it, zeros until it has come."""

    kept: dict[int, bytearray]
    lost: Extents
    """Where the image may hold what the target has no room for."""

    @classmethod
    def of(cls, disk: ImagedDisk, used: Extents | None, size: int) -> "_Layout":
        """That of a disk that is to have `size` bytes.

        On one of another size the copy of a table that ends the old one means nothing any more, nor do the zeros that
        end what is saved by what is used of it; where that is not known what lies behind the partitions counts.
        """
        table = Extents(disk.table_extents)
        room = disk.size
        if size != disk.size and disk.table.kind is not TableKind.NONE:
            copy = copy_of_table(disk) if disk.table.kind is TableKind.GPT else 0
            behind = max((part.end for part in disk.table.partitions), default=_HEAD)
            if used is None:
                tail = max(behind, disk.size - GUARD)
                table = table.minus(Extents([(tail, max(tail, disk.size - copy))]))
                room = size - size % disk.logical_sector - copy
            elif disk.table.partitions:
                room = behind
        body = (Extents([(0, disk.size)]) if used is None else used).minus(table)
        return cls(
            disk=disk,
            table=table,
            body=body.clipped(0, min(room, disk.size)),
            kept={start: bytearray(stop - start) for start, stop in table},
            lost=body.clipped(min(room, disk.size), disk.size) if used is None else Extents(),
        )

    def keep(self, at: int, data: Buffer) -> None:
        """Take from a piece what belongs to the table."""
        view = memoryview(data)
        for start, held in self.kept.items():
            low, high = max(start, at), min(start + len(held), at + len(view))
            if low < high:
                held[low - start : high - start] = view[low - at : high - at]

    def bytes_at(self, start: int, end: int) -> bytes:
        """As Tabled."""
        for at, held in self.kept.items():
            if at <= start <= end <= at + len(held):
                return bytes(held[start - at : end - at])
        raise BadImageError(f"{self.disk.name}: bytes {start} to {end} are not in its table", code="bad-table")


class _Straight(Restoring):
    """One disk of a foreign image onto one target."""

    def __init__(
        self,
        plan: RestorePlan,
        pair: RestoreTarget,
        disk: ForeignDisk,
        source: ForeignSource,
        report: Reporter,
        cancel: threading.Event,
        counts: Counter,
    ) -> None:
        self.layout = _Layout.of(pair.source, disk.used, pair.target.size)
        super().__init__(plan, pair, pair.names[0], self.layout, report, cancel, counts)
        self.disk, self.source = disk, source
        self.written, self.proofs = array("Q"), bytearray()
        """Of each block that was written from where and up to where, and what proves it: there can be millions."""

    def prepare(self) -> None:
        """As Restoring; where the table's entries lie has to be known before they are taken away."""
        with closing(_checked(self.disk, self.pair.source)) as pieces:
            for at, data in pieces:
                if at >= HEAD:
                    break
                self.layout.keep(at, data)
        super().prepare()

    def refuse_what_is_lost(self) -> None:
        """Raise RefusedError where a smaller target has no room for what the image holds behind the last partition."""
        if not self.layout.lost:
            return
        first = next(iter(self.layout.lost))[0]
        self.report.step(f"Looking at the end of {self.disk.name}", self.layout.lost.total)
        with closed(
            self.disk.pieces(first) if isinstance(self.disk, RawDisk | MachineDisk) else self.disk.pieces()
        ) as pieces:
            for at, data in pieces:
                self.stop_if_asked()
                for low, high in self.layout.lost.within(at, at + len(data)):
                    if data[low - at : high - at] != bytes(high - low):
                        raise self._too_small()
                    self.report.advance(high - low)
        self.report.finish_step()

    def _too_small(self) -> RefusedError:
        return RefusedError(
            f"{self.name} is too small: {self.disk.name} holds data behind its last partition",
            code="target-too-small",
            hint=f"a disk of {self.pair.source.size:,} bytes has room for all of it; of an image in a library, which"
            " rescue import makes, nothing but the partitions is needed",
        )

    def write_body(self) -> None:
        """Write what differs, outside the table, up to the end of the image, which proves it."""
        self.written, self.proofs = array("Q"), bytearray()
        self.report.step(f"Restoring {self.name}", self.layout.body.total)
        count = threads()
        with ThreadPoolExecutor(count) as pool, closing(self._cuts()) as cuts:
            waiting: deque[Future[None]] = deque()
            for cut in cuts:
                self.stop_if_asked()
                ranges = self.layout.body.within(cut.start, cut.end)
                if ranges:
                    waiting.append(pool.submit(self._bring, cut, ranges))
                if len(waiting) > _AHEAD * count:
                    waiting.popleft().result()
            for work in waiting:
                work.result()
        self._refuse_if_changed()
        self.target.sync()
        self.report.finish_step()
        self.render_table()

    def _refuse_if_changed(self) -> None:
        if mark_of(Path(self.source.path)) != self.source.mark:
            raise IoError(
                f"{self.source.path} was written to while it was restored",
                code="source-changed",
                hint="make sure that nothing writes to it, and restore it again",
            )

    def _cuts(self) -> Generator[Cut, None, None]:
        cutter = Cutter(Outline(), self.pair.source.logical_sector)
        with closing(_checked(self.disk, self.pair.source)) as pieces:
            for at, data in pieces:
                self.layout.keep(at, data)
                yield from cutter.add(at, data)
        yield from cutter.end(self.pair.source.size)

    def _bring(self, cut: Cut, ranges: Ranges) -> None:
        size = sum(high - low for low, high in ranges)
        if cut.data is None and self.target.is_hole(ranges[0][0], ranges[-1][1]):
            self.counts.add("compared")
            self.counts.add("skipped")
            self.report.advance(size)
            return
        data = _ZEROS[: cut.end - cut.start] if cut.data is None else memoryview(cut.data)
        parts = [data[low - cut.start : high - cut.start] for low, high in ranges]
        proof = _proof(parts)
        if not self._differs(parts, ranges, proof):
            self.counts.add("skipped")
            self.report.advance(size)
            return
        self.begin()
        for (low, _), part in zip(ranges, parts, strict=True):
            self.target.write(part, low)
        with self.lock:
            self.written.extend((cut.start, cut.end))
            self.proofs.extend(proof)
        self.counts.add("written")
        self.counts.add("written_bytes", size)
        first, last = ranges[0][0], ranges[-1][1]
        self.target.bring_down(first, last - first, partial(self._brought, size))

    def _differs(self, parts: Sequence[memoryview], ranges: Ranges, proof: bytes) -> bool:
        first, last = ranges[0][0], ranges[-1][1]
        if self.target.is_hole(first, last):
            self.counts.add("compared")
            return proof != _proof([_ZEROS[: len(part)] for part in parts])
        if not self.probing.worth_it():
            return True
        self.counts.add("compared")
        try:
            differs = self._held(ranges) != proof
        except IoError:
            # What cannot be read may still be written: disks replace a bad sector when it is.
            differs = True
        self.target.forget(first, last - first)
        self.probing.saw(differs=differs)
        return differs

    def _held(self, ranges: Ranges) -> bytes:
        """The proof of what the target holds."""
        hasher = blake3()
        for low, high in ranges:
            found = bytearray(high - low)
            self.target.read(memoryview(found), low)
            hasher.update(found)
        return hasher.digest()

    def read_back(self) -> None:
        """Read what was written from the medium, and compare its proof; raises IoError where it is not there."""
        if not self.written:
            return
        body = self.layout.body
        starts, ends = self.written[::2], self.written[1::2]
        order = array("Q", sorted(range(len(starts)), key=starts.__getitem__))
        total = sum(high - low for i in order for low, high in body.within(starts[i], ends[i]))
        self.report.step(f"{READING_BACK} what was written to {self.name}", total)
        self.target.forget_cached()

        def work(i: int) -> None:
            start, end = starts[i], ends[i]
            ranges = body.within(start, end)
            if self._held(ranges) != self.proofs[_PROOF * i : _PROOF * (i + 1)]:
                raise self._distrust(ranges[0][0])
            self.target.forget(start, end - start)
            self.report.advance(sum(high - low for low, high in ranges))

        run_all(order, lambda: work, self.cancel)
        self.report.finish_step()


def _proof(parts: Sequence[memoryview]) -> bytes:
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def _checked(disk: ForeignDisk, shown: ImagedDisk) -> Pieces:
    """The pieces of a disk; raises BadImageError where they are not all of the disk that was shown, and no more."""
    end = held = 0
    with closed(disk.pieces()) as pieces:
        for at, data in pieces:
            inside = disk.used is None or disk.used.within(at, at + len(data)) == [(at, at + len(data))]
            if not end <= at <= shown.size - len(data) or len(data) > PIECE or not inside:
                raise BadImageError(
                    f"{disk.name}: {len(data)} bytes at byte {at} do not belong there", code="bad-stream"
                )
            end, held = at + len(data), held + len(data)
            yield at, data
    if (disk.size is None and end != shown.size) or (disk.used is not None and held != disk.used.total):
        raise BadImageError(f"{disk.name} is cut short: it ends at byte {end}", code="bad-stream")
