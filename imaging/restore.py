"""Restore disks of an image: write what differs, the partition table last.

Before the first byte is changed the target's table is taken away, and a boot sector that says so stands in its place;
the table comes back once everything else is on the medium. So a restore that is cut off at any moment leaves a disk
that does not boot, that is known as unfinished, and that the same restore completes, writing only what is missing.
"""

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from imaging import inventory, media, unfinished
from imaging.content import Content
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError, of_system
from imaging.events import RestoreResult
from imaging.library import Library
from imaging.manifest import Image
from imaging.pipeline import ChunkBuffer, Counter, Reporter, run_all
from imaging.plan import RestorePlan, RestoreTarget
from imaging.planner import plan_restore
from imaging.probing import Probing
from imaging.writer import Target, opened

_HEAD = 512


def restore(plan: RestorePlan, report: Reporter, cancel: threading.Event) -> RestoreResult:
    """Carry out a restore.

    Raises RefusedError before anything is written where a target is not as it was shown; BadImageError, IoError and
    CancelledError in the middle, each with `state` set to what the targets are left in.
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
    disks = [
        _Restore(plan, pair, content, report, cancel, counts)
        for pair, content in zip(plan.targets, contents, strict=True)
    ]
    try:
        with media.undisturbed(), ExitStack() as held:
            refuse_unless_as_shown(plan, image)
            _carry_out(disks, held, read_back=plan.read_back)
    except Exception as error:
        told = _told(error, disks)
        if told is error:
            raise
        raise told from error
    return RestoreResult(
        image=image.id,
        compared=counts["compared"],
        skipped=counts["skipped"],
        written=counts["written"],
        written_bytes=counts["written_bytes"],
        tables=counts["tables"],
        read_back=plan.read_back,
        seconds=time.monotonic() - began,
    )


def _carry_out(disks: Sequence["_Restore"], held: ExitStack, *, read_back: bool) -> None:
    """All disks are held and looked at before the first is written to, and no table comes before all data are there.

    So neither can one disk be refused after another was erased, nor a system that spans disks start from half of them.
    """
    for disk in disks:
        disk.open(held)
    for disk in disks:
        disk.prepare()
    for disk in disks:
        disk.write_body()
    if read_back:
        for disk in disks:
            disk.read_back()
    for disk in disks:
        disk.write_table(read_back=read_back)


def _told(error: Exception, disks: Sequence["_Restore"]) -> Exception:
    """The error with the state of every target; once one was written to, it is not a refusal any more."""
    state = " ".join(disk.state for disk in disks)
    if isinstance(error, RefusedError) and any(disk.touched for disk in disks):
        error = IoError(error.message, code=error.code, hint=error.hint)
    if isinstance(error, OSError):
        error = of_system(error)
    if isinstance(error, RescueError):
        error.state = state
        return error
    told = RescueError(f"an error in Rescue itself: {type(error).__name__}: {error}")
    told.state = state
    return told


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
        self.probing = Probing()
        self.pieces: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()
        self.touched = self.table_gone = self.complete = False
        self.failure: RescueError | None = None
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """The disk, held since `open`."""
        if self._target is None:
            raise RuntimeError("the target is not open")
        return self._target

    def open(self, held: ExitStack) -> None:
        """Take the disk exclusively, until `held` lets go of it."""
        shown = self.pair.target
        create = shown.size if self.pair.create else 0
        self._target = held.enter_context(opened(shown.path, regular_file=shown.regular_file, create_size=create))

    def prepare(self) -> None:
        """Refuse what is not the disk that was shown, and find out what its table has to be. Writes nothing."""
        self._refuse_another_disk(self.target)
        self.pieces = self.content.table_pieces(self.target.size)
        self._refuse_too_small(self.target, self.pieces)

    def write_body(self) -> None:
        """Write what differs, outside the table."""
        self.report.step(f"Restoring {self.pair.target.name}", self.content.body.total)
        run_all(self.content.busy(), self._worker, self.cancel)
        self.target.sync()
        self.report.finish_step()

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
        if needed > target.size:
            raise RefusedError(
                f"{target.path} is too small: {needed} bytes are needed, it has {target.size}", code="target-too-small"
            )
        if any(body.overlaps(at, at + len(data)) for at, data in pieces):
            raise BadImageError(
                f"the data of {self.pair.source.name} lie where the partition table of {target.path} has to be",
                code="bad-table",
                hint=f"a disk of exactly {self.pair.source.size} bytes can take this image",
            )

    def _worker(self) -> Callable[[int], None]:
        buffer, content, target = ChunkBuffer(), self.content, self.target

        def work(i: int) -> None:
            ranges = content.ranges(i)
            size = sum(high - low for low, high in ranges)
            if not self._differs(target, i, buffer):
                self.counts.add("skipped")
                self.report.advance(size)
                return
            data = memoryview(content.plain(i))
            start = content.index.start(i)
            self._begin()
            for low, high in ranges:
                target.write(data[low - start : high - start], low)
            with self.lock:
                self.written.append(i)
            self.counts.add("written")
            self.counts.add("written_bytes", size)
            target.bring_down(ranges[0][0], ranges[-1][1] - ranges[0][0], lambda: self.report.advance(size, size))

        return work

    def _differs(self, target: Target, i: int, buffer: ChunkBuffer) -> bool:
        if not self.probing.worth_it():
            return True
        self.counts.add("compared")
        try:
            differs = not self.content.matches(i, target.read, buffer)
        except IoError:
            # What cannot be read may still be written: disks replace a bad sector when it is.
            differs = True
        target.forget(self.content.index.start(i), self.content.index.length(i))
        self.probing.saw(differs=differs)
        return differs

    def _begin(self) -> None:
        """Take the table away before the first write. Touches nothing but what `write_table` writes anew."""
        with self.lock:
            if self.failure is not None:
                raise self.failure
            if self.table_gone:
                return
            self.touched = True
            try:
                self._take_table_away(self.target)
            except RescueError as error:
                self.failure = error
                raise
            self.table_gone = True

    def _take_table_away(self, target: Target) -> None:
        sector = self.content.disk.logical_sector
        head = max((end for start, end in self.content.table if start == 0), default=_HEAD)
        target.write(unfinished.render(self.plan.image) + bytes(max(0, head - _HEAD)), 0)
        last = target.size - target.size % sector - sector
        if last >= head and not self.content.body.overlaps(last, target.size):
            target.write(bytes(target.size - last), last)
        target.sync()

    def read_back(self) -> None:
        """Read what was written from the medium, and compare it; raises IoError where it is not there."""
        content, target = self.content, self.target
        if not self.written:
            return
        total = sum(high - low for i in self.written for low, high in content.ranges(i))
        self.report.step(f"Reading back what was written to {self.pair.target.name}", total)
        target.forget_cached()

        def make_worker() -> Callable[[int], None]:
            buffer = ChunkBuffer()

            def work(i: int) -> None:
                if not content.matches(i, target.read, buffer):
                    raise self._distrust(content.index.start(i))
                target.forget(content.index.start(i), content.index.length(i))
                self.report.advance(sum(high - low for low, high in content.ranges(i)))

            return work

        run_all(sorted(self.written), make_worker, self.cancel)
        self.report.finish_step()

    def _distrust(self, at: int) -> IoError:
        return IoError(
            f"{self.target.path} does not hold what was written at byte {at}",
            code="read-back-differs",
            hint="this disk cannot be trusted: replace it",
        )

    def write_table(self, *, read_back: bool) -> None:
        """Write the table once all else is on the medium, its first sector last of all."""
        target = self.target
        if all(_holds(target, at, data) for at, data in self.pieces):
            self.complete = True
            return
        self.report.step(f"Writing the partition table of {self.pair.target.name}")
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        self._begin()
        target.sync()
        for at, data in self.pieces[:-1]:
            target.write(data, at)
        target.sync()
        for at, data in self.pieces[-1:]:
            target.write(data, at)
        target.sync()
        self.counts.add("tables")
        self.complete = True
        if read_back:
            target.forget_cached()
            for at, data in self.pieces:
                if not _holds(target, at, data):
                    raise self._distrust(at)
        target.reread_table()

    @property
    def state(self) -> str:
        """What the target is left in, in words."""
        name = self.pair.target.name
        if not self.touched:
            return f"Nothing was written to {name}."
        if self.complete:
            return f"Everything was written to {name}."
        if not self.table_gone:
            return f"Writing to {name} failed at once: its old partition table may still be there, or be damaged."
        return (
            f"{name} is only partly restored and does not start a computer. "
            "Restore the image again: only what is missing will be written."
        )


def _holds(target: Target, at: int, data: bytes) -> bool:
    found = bytearray(len(data))
    try:
        target.read(memoryview(found), at)
    except IoError:
        return False
    return found == data
