"""Restore disks of an image, or partitions of one: write what differs, the partition table last.

Before the first byte is changed the target's table is taken away, and a boot sector that says so stands in its place;
the table comes back once everything else is on the medium. So a restore that is cut off at any moment leaves a disk
that does not boot, that is known as unfinished, and that the same restore completes, writing only what is missing.
For a partition both of its ends play the table's part, and the table is not touched (imaging/volume.py).
"""

import dataclasses
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from imaging import inventory, marks, media, window
from imaging.blockdev import size_of
from imaging.content import Content
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError, of_system
from imaging.events import READING_BACK, RestoreResult
from imaging.library import Library
from imaging.manifest import Image
from imaging.partitions import plan_again, volume_of
from imaging.pipeline import ChunkBuffer, Counter, Reporter, run_all
from imaging.plan import RestorePlan, RestoreTarget
from imaging.planner import plan_restore
from imaging.probing import Probing
from imaging.volume import VolumeContent
from imaging.vouching import image_to_use
from imaging.window import Medium


def restore(plan: RestorePlan, report: Reporter, cancel: threading.Event) -> RestoreResult:
    """Carry out a restore.

    Raises RefusedError before anything is written where a target is not as it was shown; BadImageError, IoError and
    CancelledError in the middle, each with `state` set to what the targets are left in.
    """
    began = time.monotonic()
    library = Library.open(Path(plan.library))
    image = image_to_use(library, plan.image, accept_unsigned=plan.accept_unsigned).image
    sources = {disk.name: disk for disk in image.disks}
    for pair in plan.targets:
        if sources.get(pair.source.name) != pair.source:
            raise RefusedError(f"image {image.id} is not the one that was shown", code="image-changed")
    counts = Counter()
    disks = [
        _Restore(plan, pair, name, content, report, cancel, counts)
        for pair in plan.targets
        for name, content in zip(pair.names, _contents(library, image, pair), strict=True)
    ]
    try:
        with media.undisturbed(), ExitStack() as held:
            refuse_unless_as_shown(plan, image)
            for pair in plan.targets:
                mine = (disk for disk in disks if disk.pair is pair)
                for disk, medium in zip(mine, held.enter_context(window.opened(pair)), strict=True):
                    disk.hold(medium)
            _carry_out(disks, read_back=plan.read_back)
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
        partitions=counts["partitions"],
        unreadable=sum(t.source.unreadable_in(p.volume for p in t.partitions).total for t in plan.targets),
        read_back=plan.read_back,
        seconds=time.monotonic() - began,
    )


def _contents(library: Library, image: Image, pair: RestoreTarget) -> Sequence[Content]:
    """What the target must hold, or each of its partitions."""
    whole = Content.load(library, image, pair.source)
    volumes = [volume_of(pair.source, chosen.volume) for chosen in pair.partitions]
    return [VolumeContent.of(whole, volume) for volume in volumes] or [whole]


def _carry_out(disks: Sequence["_Restore"], *, read_back: bool) -> None:
    """All disks are held and looked at before the first is written to, and no table comes before all data are there.

    So neither can one disk be refused after another was erased, nor a system that spans disks start from half of them.
    """
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
        marks.refuse_if_changed(pair.target, now)
        if pair.partitions:
            if plan_again(library, image, pair, now) != pair.partitions:
                raise RefusedError(f"the partitions of {now.name} are not where they were", code="disk-changed")
            mine = tuple(mount for mount in now.mounts if mount.source.removeprefix("/dev/") in pair.names)
            now = dataclasses.replace(now, mounts=mine)
        else:
            plan_restore(library, image, {pair.source.name: now})
        media.detach(now)


class _Restore:
    """One disk of an image onto one target, or one volume into one partition, which is called `name`."""

    def __init__(
        self,
        plan: RestorePlan,
        pair: RestoreTarget,
        name: str,
        content: Content,
        report: Reporter,
        cancel: threading.Event,
        counts: Counter,
    ) -> None:
        self.plan, self.pair, self.name, self.content = plan, pair, name, content
        self.report, self.cancel, self.counts = report, cancel, counts
        self.written = array("Q")
        self.probing = Probing()
        self.pieces: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()
        self.touched = self.table_gone = self.complete = False
        self.failure: RescueError | None = None
        self._target: Medium | None = None

    @property
    def target(self) -> Medium:
        """The disk or the partition, held since `hold`."""
        if self._target is None:
            raise RuntimeError("the target is not open")
        return self._target

    def hold(self, target: Medium) -> None:
        """Take what is held exclusively now."""
        self._target = target

    def prepare(self) -> None:
        """Refuse what is not the disk that was shown, and find out what its table has to be. Writes nothing."""
        self._refuse_another_disk(self.target)
        self.pieces = self.content.table_pieces(self.target.size)
        self._refuse_too_small(self.target, self.pieces)

    def write_body(self) -> None:
        """Write what differs, outside the table."""
        self.report.step(f"Restoring {self.name}", self.content.body.total)
        run_all(self.content.busy(), self._worker, self.cancel, self._announce, self.content.store.lead)
        self.target.sync()
        self.report.finish_step()

    def _refuse_another_disk(self, target: Medium) -> None:
        """Names of devices can move between the look and the exclusive open: what is open now decides."""
        if size_of(target.fileno()) != self.pair.target.size:
            raise RefusedError(f"{target.path} has another size than was shown", code="disk-changed")
        if not self.pair.create and marks.fingerprint(target.fileno()) != self.pair.target.fingerprint:
            raise RefusedError(f"{target.path} was written to since the plan was shown", code="disk-changed")

    def _refuse_too_small(self, target: Medium, pieces: Sequence[tuple[int, bytes]]) -> None:
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
            if not self._differs(target, i, ranges, buffer):
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
            target.bring_down(ranges[0][0], ranges[-1][1] - ranges[0][0], partial(self._brought, size))

        return work

    def _brought(self, size: int, on_medium: bool) -> None:
        if on_medium:
            self.report.advance(size, size)

    def _announce(self, i: int) -> None:
        """Have what comes next read meanwhile: of the library while chunks differ, of the target while none does."""
        if self.probing.differing:
            self.content.announce(i)
        else:
            start, end = self.content.index.start(i), self.content.index.end(i)
            self.target.announce(start, end - start)

    def _differs(self, target: Medium, i: int, ranges: Sequence[tuple[int, int]], buffer: ChunkBuffer) -> bool:
        if target.is_hole(ranges[0][0], ranges[-1][1]):
            self.counts.add("compared")
            return not self.content.is_zero(i)
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

    def _take_table_away(self, target: Medium) -> None:
        for at, data in self.content.taken_away(target.size, self.plan.image):
            target.write(data, at)
        target.sync()

    def read_back(self) -> None:
        """Read what was written from the medium, and compare it; raises IoError where it is not there."""
        content, target = self.content, self.target
        if not self.written:
            return
        total = sum(high - low for i in self.written for low, high in content.ranges(i))
        self.report.step(f"{READING_BACK} what was written to {self.name}", total)
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
        self.report.step(f"Writing {'both ends' if self.pair.partitions else 'the partition table'} of {self.name}")
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
        self.counts.add("partitions" if self.pair.partitions else "tables")
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
        name = self.name
        if not self.touched:
            return f"Nothing was written to {name}."
        if self.complete:
            return f"Everything was written to {name}."
        if not self.table_gone:
            old = "what was on it" if self.pair.partitions else "its old partition table"
            return f"Writing to {name} failed at once: {old} may still be there, or be damaged."
        so = "cannot be mounted" if self.pair.partitions else "does not start a computer"
        return (
            f"{name} is only partly restored and {so}. Restore the image again: only what is missing will be written."
        )


def _holds(target: Medium, at: int, data: bytes) -> bool:
    found = bytearray(len(data))
    try:
        target.read(memoryview(found), at)
    except IoError:
        return False
    return found == data
