"""Restore disks of an image: write what differs, the partition table last.

Before the first byte is changed the target's table is taken away, and a boot sector that says so stands in its place;
the table comes back once everything else is on the medium. So a restore that is cut off at any moment leaves a disk
that does not boot, that is known as unfinished, and that the same restore completes, writing only what is missing.
"""

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from imaging import gpt, inventory, media, unfinished
from imaging.content import Content
from imaging.disk import Disk
from imaging.errors import CancelledError, IoError, RefusedError, RescueError
from imaging.events import RestoreResult
from imaging.library import Library
from imaging.manifest import Image
from imaging.pipeline import ChunkBuffer, Counter, Reporter, run_all
from imaging.plan import RestorePlan, RestoreTarget
from imaging.planner import plan_restore
from imaging.writer import Target, opened

_HEAD = 512


def restore(plan: RestorePlan, report: Reporter, cancel: threading.Event) -> RestoreResult:
    """Carry out a restore.

    Raises RefusedError before anything is written where a target is not as it was shown; BadImageError, IoError and
    CancelledError in the middle, each with `state` set to what the target is left in.
    """
    began = time.monotonic()
    library = Library.open(Path(plan.library))
    image = library.image(plan.image)
    sources = {disk.name: disk for disk in image.disks}
    for pair in plan.targets:
        if sources.get(pair.source.name) != pair.source:
            raise RefusedError(f"image {image.id} is not the one that was shown", code="image-changed")
    contents = [Content.load(library, image, pair.source) for pair in plan.targets]
    counts = Counter()
    with media.undisturbed():
        refuse_unless_as_shown(plan, image)
        for pair, content in zip(plan.targets, contents, strict=True):
            _Restore(plan, pair, content, report, cancel, counts).run()
    return RestoreResult(
        image=image.id,
        compared=counts["compared"],
        skipped=counts["skipped"],
        written=counts["written"],
        written_bytes=counts["written_bytes"],
        read_back=plan.read_back,
        seconds=time.monotonic() - began,
    )


def refuse_unless_as_shown(plan: RestorePlan, image: Image) -> None:
    """Look at every target again; raises RefusedError where one is not the disk that was confirmed, or not free now."""
    library = Path(plan.library)
    for pair in plan.targets:
        if pair.create:
            if Path(pair.target.path).exists():
                raise RefusedError(f"{pair.target.path} was made since the plan was shown", code="disk-changed")
            continue
        now = inventory.look(pair.target.path, [library])
        inventory.refuse_if_changed(pair.target, now)
        plan_restore(library, image, {pair.source.name: now})
        media.detach(now)


class _Restore:
    """One disk of an image onto one target."""

    def __init__(
        self,
        plan: RestorePlan,
        pair: RestoreTarget,
        content: Content,
        report: Reporter,
        cancel: threading.Event,
        counts: Counter,
    ) -> None:
        self.plan, self.pair, self.content = plan, pair, content
        self.report, self.cancel, self.counts = report, cancel, counts
        self.written = array("Q")
        self.lock = threading.Lock()
        self.touched = self.complete = False

    def run(self) -> None:
        shown = self.pair.target
        create = shown.size if self.pair.create else 0
        try:
            with opened(shown.path, regular_file=shown.regular_file, create_size=create) as target:
                self._refuse_another_disk(target)
                self._write_everything(target)
        except RescueError as error:
            error.state = self._state(shown)
            raise

    def _refuse_another_disk(self, target: Target) -> None:
        """Names of devices can move between the look and the exclusive open: what is open now decides."""
        if target.size != self.pair.target.size:
            raise RefusedError(f"{target.path} has another size than was shown", code="disk-changed")
        if not self.pair.create and inventory.fingerprint(target.fileno()) != self.pair.target.fingerprint:
            raise RefusedError(f"{target.path} was written to since the plan was shown", code="disk-changed")

    def _refuse_too_small(self, target: Target, pieces: Sequence[tuple[int, bytes]]) -> None:
        """What will be written decides, not what the manifest says of it."""
        body = self.content.body
        needed = max([body.end, *(at + len(data) for at, data in pieces)])
        if needed > target.size or any(body.overlaps(at, at + len(data)) for at, data in pieces):
            raise RefusedError(
                f"{target.path} is too small: {needed} bytes are needed, beside the table's copy, it has {target.size}",
                code="target-too-small",
            )

    def _write_everything(self, target: Target) -> None:
        pieces = self._table_pieces(target)
        self._refuse_too_small(target, pieces)
        busy = self.content.busy()
        name = self.pair.target.name
        self.report.step(f"Restoring {name}", self.content.body.total)
        run_all(busy, lambda: self._worker(target), self.cancel)
        self.report.finish_step()
        self._finish(target, pieces)
        self.complete = True
        if self.plan.read_back and self.written:
            self._read_back(target)

    def _worker(self, target: Target) -> Callable[[int], None]:
        buffer, content = ChunkBuffer(), self.content

        def work(i: int) -> None:
            ranges = content.ranges(i)
            size = sum(high - low for low, high in ranges)
            moved = 0
            if self._differs(target, i, buffer):
                data = memoryview(content.plain(i))
                start = content.index.start(i)
                self._begin(target)
                for low, high in ranges:
                    target.write(data[low - start : high - start], low)
                with self.lock:
                    self.written.append(i)
                moved = size
                self.counts.add("written")
                self.counts.add("written_bytes", size)
            else:
                self.counts.add("skipped")
            self.report.advance(size, moved)

        return work

    def _differs(self, target: Target, i: int, buffer: ChunkBuffer) -> bool:
        self.counts.add("compared")
        try:
            return not self.content.matches(i, target.read, buffer)
        except IoError:
            # What cannot be read may still be written: disks replace a bad sector when it is.
            return True

    def _table_pieces(self, target: Target) -> list[tuple[int, bytes]]:
        pieces = self.content.table_pieces(target.size)
        sector = self.content.disk.logical_sector
        last = target.size - sector
        if last > self.content.body.end and not any(at <= last < at + len(data) for at, data in pieces):
            found = bytearray(sector)
            target.read(memoryview(found), last)
            if found.startswith(gpt.SIGNATURE):
                # The copy of a GPT that stood on the target would contradict the table that is restored.
                pieces.insert(0, (last, bytes(sector)))
        return pieces

    def _begin(self, target: Target) -> None:
        """Take the table away before the first write. Touches nothing but what `_finish` writes anew."""
        with self.lock:
            if self.touched:
                return
            self.touched = True
            head = max((end for start, end in self.content.table if start == 0), default=_HEAD)
            target.write(unfinished.render(self.plan.image) + bytes(max(0, head - _HEAD)), 0)
            last = target.size - self.content.disk.logical_sector
            if last >= max(self.content.body.end, head):
                target.write(bytes(self.content.disk.logical_sector), last)
            target.sync()

    def _finish(self, target: Target, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Write the table once all else is on the medium, its first sector last of all."""
        different = [(at, data) for at, data in pieces if not _holds(target, at, data)]
        if not different:
            return
        self.report.step(f"Writing the partition table of {self.pair.target.name}")
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        self._begin(target)
        target.sync()
        for at, data in pieces[:-1]:
            target.write(data, at)
        target.sync()
        for at, data in pieces[-1:]:
            target.write(data, at)
        target.sync()
        self.counts.add("tables")
        target.reread_table()

    def _read_back(self, target: Target) -> None:
        content = self.content
        total = sum(high - low for i in self.written for low, high in content.ranges(i))
        self.report.step(f"Reading back what was written to {self.pair.target.name}", total)
        target.forget_cached()

        def make_worker() -> Callable[[int], None]:
            buffer = ChunkBuffer()

            def work(i: int) -> None:
                if not content.matches(i, target.read, buffer):
                    raise IoError(
                        f"{target.path} does not hold what was written at byte {content.index.start(i)}",
                        code="read-back-differs",
                        hint="this disk cannot be trusted: replace it",
                    )
                self.report.advance(sum(high - low for low, high in content.ranges(i)))

            return work

        run_all(sorted(self.written), make_worker, self.cancel)
        self.report.finish_step()

    def _state(self, shown: Disk) -> str:
        if not self.touched:
            return f"Nothing was written to {shown.name}."
        if self.complete:
            return f"Everything was written to {shown.name}, but it was not all read back and found right."
        return (
            f"{shown.name} is only partly restored and does not start a computer. "
            "Restore the image again: only what is missing will be written."
        )


def _holds(target: Target, at: int, data: bytes) -> bool:
    found = bytearray(len(data))
    try:
        target.read(memoryview(found), at)
    except IoError:
        return False
    return found == data
