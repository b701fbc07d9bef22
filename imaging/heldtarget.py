"""A target of a restore that is held: its table is taken away before its first byte changes, and comes last."""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

from imaging import cloning, marks, resectoring, shrinking, tableedit, unfinished
from imaging.blockdev import size_of
from imaging.changes import Change
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError
from imaging.growth import refuse_unless_same
from imaging.library import Library
from imaging.notes import Notes
from imaging.pipeline import Counter, Reporter
from imaging.planner import needed_size
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.tabled import Tabled
from imaging.window import Medium


class HeldTarget:
    """A disk, or a partition, which is called `name`, and whether the image's disk is on it by now."""

    def __init__(
        self,
        plan: RestorePlan,
        pair: RestoreTarget,
        name: str,
        content: Tabled,
        report: Reporter,
        cancel: threading.Event,
        counts: Counter,
    ) -> None:
        self.plan, self.pair, self.name, self.content = plan, pair, name, content
        self.report, self.cancel, self.counts = report, cancel, counts
        self.pieces: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()
        self.touched = self.table_gone = self.complete = False
        self.failure: RescueError | None = None
        self.growth = pair.growth
        self.manner = unfinished.NOTHING
        self._target: Medium | None = None

    @property
    def target(self) -> Medium:
        """The disk or the partition, held since `hold`."""
        if self._target is None:
            raise RuntimeError("the target is not open")
        return self._target

    @property
    def change(self) -> Change | None:
        """What is other on the target than in the image."""
        return self.growth or self.pair.shrinkage

    @property
    def _mark(self) -> bytes:
        """What was saved before a restore that was cut off stays known when another takes its place."""
        there = self.pair.target
        parts = {there.partition_name(part.number): part.saved for part in there.table.partitions}
        saved = self.plan.saved or there.saved or parts.get(self.name, "")
        rules = self.plan.keep.rules if self.plan.keep else ()
        return unfinished.render(self.plan.image, saved, rules, self.manner)

    def hold(self, target: Medium) -> None:
        """Take what is held exclusively now."""
        self._target = target

    def refuse_another(self) -> None:
        """Refuse what is not the disk that was shown, or would not be changed as it was shown."""
        self._refuse_another_disk(self.target)
        if self.pair.growth is not None and self.pair.shrinkage is not None:
            raise RefusedError(f"{self.name} would both grow and become smaller: make a new plan", code="bad-plan")
        if self.pair.resectoring is not None and self.pair.shrinkage is not None:
            raise RefusedError(
                f"{self.name} has other sectors, and would become smaller: make a new plan", code="bad-plan"
            )
        refuse_unless_same(self.pair)
        shrinking.refuse_unless_same(self.pair, needed_size(self.pair.source))
        resectoring.refuse_unless_same(self.pair)
        cloning.refuse_unless_same(self.plan)

    def render_table(self) -> None:
        """Find out what the table has to be; raises BadImageError, RefusedError."""
        self.pieces = self.content.table_pieces(self.target.size, self.change)
        identity, table = self.plan.identity, self.pair.source.table.kind
        if identity is not None and identity.new_table:
            parts = {one.number: one.new for one in identity.partitions}
            sector = self.pair.sector
            self.pieces = tableedit.with_new_ids(
                self.pieces, identity.new_table, parts, kind=table.value, sector=sector
            )

    def _refuse_another_disk(self, target: Medium) -> None:
        """Names of devices can move between the look and the exclusive open: what is open now decides."""
        if size_of(target.fileno()) != self.pair.target.size:
            raise RefusedError(f"{target.path} has another size than was shown", code="disk-changed")
        if not self.pair.create and marks.fingerprint(target.fileno()) != self.pair.target.fingerprint:
            raise RefusedError(f"{target.path} was written to since the plan was shown", code="disk-changed")

    def _refuse_too_small(self, target: Medium, pieces: Sequence[tuple[int, bytes]]) -> None:
        """What will be written decides, not what the manifest says of it."""
        body = self.content.placed
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

    def begin(self) -> None:
        """Take the table away before the first write. Touches nothing but what `write_table` writes anew."""
        with self.lock:
            if self.failure is not None:
                raise self.failure
            if self.table_gone:
                return
            try:
                self._note_undoing()
                self.touched = True
                self._take_table_away(self.target)
            except RescueError as error:
                self.failure = error
                raise
            self.table_gone = True

    def _note_undoing(self) -> None:
        """What was saved undoes something from now on, and files may wait in it; raises BadImageError, IoError.

        Not before: cut off until here, a restore has changed nothing, and nobody is told that it could be undone.
        """
        if not self.plan.saved:
            return
        keeps = self.plan.keep is not None

        def begun(noted: Notes) -> Notes:
            return dataclasses.replace(noted, void=False, pinned=keeps or noted.pinned)

        Library.open(Path(self.plan.safety)).annotate(self.plan.saved, begun)

    def _take_table_away(self, target: Medium) -> None:
        (start, head), *others = self.content.taken_away(target.size, self._mark, self.change)
        # The mark is on the medium before anything else is: of what a drive has in its cache a loss of power leaves any
        # part, and the rest of a table without it would be no table, on a disk of which nobody knows why. The mark is
        # no larger than any drive's sector, which is written whole or not at all.
        mark, rest = head[: unfinished.SIZE], head[unfinished.SIZE :]
        target.write(mark, start)
        target.sync()
        for at, data in ((start + len(mark), rest), *others):
            target.write(data, at)
        target.sync()

    def stop_if_asked(self) -> None:
        """Raise CancelledError where somebody asked for that."""
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def _distrust(self, at: int) -> IoError:
        return IoError(
            f"{self.target.path} does not hold what was written at byte {at}",
            code="read-back-differs",
            hint="this disk cannot be trusted: replace it",
        )

    def _holds(self, at: int, data: bytes) -> bool:
        """Whether these bytes are on the target already."""
        found = bytearray(len(data))
        try:
            self.target.read(memoryview(found), at)
        except IoError:
            return False
        return found == data

    def write_table(self, *, read_back: bool) -> None:
        """Write the table once all else is on the medium, its first sector last of all."""
        target = self.target
        if all(self._holds(at, data) for at, data in self.pieces):
            self.complete = True
            return
        self.report.step(f"Writing {'both ends' if self.pair.partitions else 'the partition table'} of {self.name}")
        self.stop_if_asked()
        self.begin()
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
                if not self._holds(at, data):
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
        again = "Restore the image again: only what is missing will be written."
        if self.plan.keep is not None:
            rules = ",".join(self.plan.keep.rules)
            again = (
                f"Restore the image again with --keep-files {rules}: what is missing will be written and brought back."
            )
        if self.plan.identity is not None:
            again = "Restore the image again with --new-identity: only what is missing will be written."
            if self.plan.identity.host_name:
                again = (
                    f"Restore the image again with --new-identity --host-name {self.plan.identity.host_name}: "
                    "only what is missing will be written."
                )
        return f"{name} is only partly restored and {so}. {again}"
