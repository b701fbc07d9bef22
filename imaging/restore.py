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
from imaging.changes import Resectoring, Shrinkage
from imaging.content import Content
from imaging.enlarging import refuse_doubtful
from imaging.errors import IoError, RefusedError
from imaging.events import READING_BACK, RestoreResult
from imaging.library import Library
from imaging.manifest import Image
from imaging.partitions import plan_again, volume_of
from imaging.pipeline import ChunkBuffer, Counter, Reporter, run_all
from imaging.planner import plan_restore
from imaging.resectored import adapted
from imaging.resectoredcontent import ResectoredContent
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.restoresteps import carried, carry_out, grown, made_smaller, renewed, told, unsanitized, wiped
from imaging.restoring import Restoring
from imaging.shrunkcontent import ShrunkContent
from imaging.smaller import shrunk
from imaging.viewcopy import ViewCopy
from imaging.volume import VolumeContent
from imaging.vouching import image_to_use
from imaging.window import Medium, Nearer


def restore(plan: RestorePlan, report: Reporter, cancel: threading.Event) -> RestoreResult:
    """Carry out a restore.

    Raises RefusedError before anything is written where a target is not as it was shown; BadImageError, IoError and
    CancelledError in the middle, each with `state` set to what the targets are left in.
    """
    began = time.monotonic()
    library = Library.open(Path(plan.library))
    image = _image_as_shown(library, plan)
    counts = Counter()
    disks = [
        _FromLibrary(plan, pair, name, content, report, cancel, counts)
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
                    held.enter_context(disk.views)
            carry_out(disks, read_back=plan.read_back)
    except Exception as error:
        ended = told(error, disks)
        if ended is error:
            raise
        raise ended from error
    return RestoreResult(
        image=image.id,
        compared=counts["compared"],
        skipped=counts["skipped"],
        written=counts["written"],
        written_bytes=counts["written_bytes"],
        tables=counts["tables"],
        partitions=counts["partitions"],
        grown=grown(disks),
        smaller=made_smaller(disks),
        wiped=wiped(disks),
        unsanitized=unsanitized(disks),
        carried=carried(disks),
        renewed=renewed(disks),
        unreadable=sum(t.source.unreadable_in(p.volume for p in t.partitions).total for t in plan.targets),
        read_back=plan.read_back,
        seconds=time.monotonic() - began,
    )


def refuse_early(plan: RestorePlan) -> None:
    """Raise as `restore` does, at once, where the image or a target is not as it was shown."""
    with media.undisturbed():
        refuse_unless_as_shown(plan, _image_as_shown(Library.open(Path(plan.library)), plan))


def _image_as_shown(library: Library, plan: RestorePlan) -> Image:
    image = image_to_use(library, plan.image, accept_unsigned=plan.accept_unsigned).image
    sources = {disk.name: disk for disk in image.disks}
    for pair in plan.targets:
        if sources.get(pair.source.name) != pair.source:
            raise RefusedError(f"image {image.id} is not the one that was shown", code="image-changed")
    return image


def _contents(library: Library, image: Image, pair: RestoreTarget) -> Sequence[Content]:
    """What the target must hold, or each of its partitions."""
    whole = Content.load(library, image, pair.source)
    volumes = [volume_of(pair.source, chosen.volume) for chosen in pair.partitions]
    return [VolumeContent.of(whole, volume) for volume in volumes] or [whole]


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
            one = pair.shrinkage
            shrink, size = (None, None) if one is None else (one.partition, one.size)
            (again,) = plan_restore(library, image, {pair.source.name: now}, shrink=shrink, shrink_to=size).targets
            if again.resectoring != pair.resectoring:
                raise RefusedError(f"the sectors of {now.name} have another size than was shown", code="disk-changed")
        media.detach(now)


def _refuse_across(content: ShrunkContent, onto: Nearer) -> None:
    """A chunk is looked at, written and read back as one: what of it is used has to stay together."""
    for i in content.busy():
        ranges = content.ranges(i)
        if not onto.holds(ranges[0][0], ranges[-1][1]):
            raise RefusedError(
                f"no partition of {content.disk.name} can be made smaller: the image has bytes of several in one chunk",
                code="cannot-shrink",
                hint="restore it to a disk that all of it fits on",
            )


class _FromLibrary(Restoring):
    """What comes from the chunks of a library."""

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
        super().__init__(plan, pair, name, content, report, cancel, counts)
        self.chunks = content
        self.written = array("Q")
        self.views = ExitStack()
        """What has to be kept until the restore has ended."""
        self.copies: list[ViewCopy] = []
        """What does not come from the chunks as it is."""
        self.onto: Medium | None = None

    def prepare(self) -> None:
        """As Restoring; a file system that is to change is looked at in the image, or changed in memory."""
        if self.growth is not None:
            refuse_doubtful(self.growth, self.chunks.bytes_at)
        if self.pair.shrinkage is not None:
            # Before the work of minutes; once more after it, as for every restore.
            self.refuse_another()
            self._make_smaller(self.pair.shrinkage)
        if self.pair.resectoring is not None:
            self.refuse_another()
            self._make_for_sectors(self.pair.resectoring)
        super().prepare()

    def _make_smaller(self, shrinkage: Shrinkage) -> None:
        """Make the file system smaller that has to be, in memory: where that cannot be, nothing was written."""
        name = self.pair.target.partition_name(shrinkage.partition)
        self.report.step(f"Making the file system of {name} smaller")
        library = Path(self.plan.library)
        view = shrunk(library, self.plan.image, self.pair.source, shrinkage, self.cancel)
        found = self.views.enter_context(view)
        self.content = self.chunks = content = ShrunkContent.of(self.chunks, shrinkage, found.used, found.changed)
        self.onto = Nearer(self.target, shrinkage)
        _refuse_across(content, self.onto)
        self.copies = [ViewCopy(file=found.file, start=shrinkage.start, ranges=content.changed, passed=self._passed)]

    def _make_for_sectors(self, resectoring: Resectoring) -> None:
        """Make anew, in memory, what cannot be as it is on sectors of another size: else nothing was written."""
        self.report.step(f"Making the file systems fit the sectors of {self.name}")
        fats = self.views.enter_context(adapted(self.chunks, resectoring, self.cancel))
        self.content = self.chunks = ResectoredContent.of(self.chunks, resectoring, self.target.size, fats)
        starts = {number: volume_of(self.pair.source, number).start for number in fats}
        self.copies = [
            ViewCopy(file=fat.file, start=starts[number], ranges=fat.used.shifted(starts[number]), passed=self._passed)
            for number, fat in fats.items()
        ]

    def _passed(self, size: int) -> None:
        self.stop_if_asked()
        self.report.advance(size)

    @property
    def place(self) -> Medium:
        """What takes the bytes of the image at their offsets there."""
        return self.onto or self.target

    def write_body(self) -> None:
        """Write what differs, outside the table."""
        self.written = array("Q")
        changed = sum(copy.ranges.total for copy in self.copies)
        self.report.step(f"Restoring {self.name}", self.chunks.body.total + changed)
        run_all(self.chunks.busy(), self._worker, self.cancel, self._announce, self.chunks.store.lead)
        for copy in self.copies:
            copy.write(self.place, self.begin, self.counts)
        self.target.sync()
        self.report.finish_step()

    def _worker(self) -> Callable[[int], None]:
        buffer, content, target = ChunkBuffer(), self.chunks, self.place

        def work(i: int) -> None:
            ranges = content.ranges(i)
            size = sum(high - low for low, high in ranges)
            if not self._differs(target, i, ranges, buffer):
                self.counts.add("skipped")
                self.report.advance(size)
                return
            data = memoryview(content.plain(i))
            start = content.index.start(i)
            self.begin()
            for low, high in ranges:
                target.write(data[low - start : high - start], low)
            with self.lock:
                self.written.append(i)
            self.counts.add("written")
            self.counts.add("written_bytes", size)
            target.bring_down(ranges[0][0], ranges[-1][1] - ranges[0][0], partial(self._brought, size))

        return work

    def _announce(self, i: int) -> None:
        """Have what comes next read meanwhile: of the library while chunks differ, of the target while none does."""
        if self.probing.differing:
            self.chunks.announce(i)
        else:
            start, end = self.chunks.index.start(i), self.chunks.index.end(i)
            self.place.announce(start, end - start)

    def _differs(self, target: Medium, i: int, ranges: Sequence[tuple[int, int]], buffer: ChunkBuffer) -> bool:
        if target.is_hole(ranges[0][0], ranges[-1][1]):
            self.counts.add("compared")
            return not self.chunks.is_zero(i)
        if not self.probing.worth_it():
            return True
        self.counts.add("compared")
        try:
            differs = not self.chunks.matches(i, target.read, buffer)
        except IoError:
            # What cannot be read may still be written: disks replace a bad sector when it is.
            differs = True
        target.forget(self.chunks.index.start(i), self.chunks.index.length(i))
        self.probing.saw(differs=differs)
        return differs

    def read_back(self) -> None:
        """Read what was written from the medium, and compare it; raises IoError where it is not there."""
        content, target = self.chunks, self.place
        if not self.written and not any(copy.written for copy in self.copies):
            return
        total = sum(high - low for i in self.written for low, high in content.ranges(i))
        total += sum(copy.written for copy in self.copies)
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
        for copy in self.copies:
            if (at := copy.differing(target)) is not None:
                raise self._distrust(at)
        self.report.finish_step()
