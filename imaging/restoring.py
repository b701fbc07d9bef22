"""Writing to targets that are held: each target's table is taken away before its first byte changes, and comes last."""

import dataclasses
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from imaging import cloning, marks, renewing, resectoring, shrinking, tableedit, unfinished, wiping
from imaging.blockdev import size_of
from imaging.carrying import carry, compare
from imaging.changes import Change, Growth, Moved
from imaging.chunk import digest
from imaging.enlarging import enlarge
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError, of_system
from imaging.events import Carried, Grown, Renewed, Smaller
from imaging.extents import Extents
from imaging.growth import refuse_unless_same
from imaging.identities import NewIdentity
from imaging.library import Library
from imaging.manner import manner_of
from imaging.notes import Notes
from imaging.ownplan import EFI_SYSTEM
from imaging.pipeline import Counter, Reporter
from imaging.planner import needed_size
from imaging.probing import Probing
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.sanitizers import sanitizer
from imaging.sfdisk import GUARD
from imaging.tabled import Tabled
from imaging.window import Medium

_COPIED = 4 << 20
"""Bytes that are copied at a time."""


def carry_out(disks: Sequence["Restoring"], *, read_back: bool) -> None:
    """All disks are held and looked at before the first is written to, and no table comes before all data are there.

    So neither can one disk be refused after another was erased, nor a system that spans disks start from half of them.
    """
    for disk in disks:
        disk.prepare()
    for disk in disks:
        disk.wipe()
    for disk in disks:
        disk.write_body()
    if read_back:
        for disk in disks:
            disk.read_back()
    # Before the table: a file system that was cut off while it grew belongs to a disk that is known as unfinished.
    for disk in disks:
        disk.enlarge(read_back=read_back)
    for disk in disks:
        disk.carry(read_back=read_back)
    for disk in disks:
        disk.renew(read_back=read_back)
    for disk in disks:
        disk.write_table(read_back=read_back)


def told(error: Exception, disks: Sequence["Restoring"]) -> Exception:
    """The error with the state of every target; once one was written to, it is not a refusal any more."""
    state = " ".join(disk.state for disk in disks)
    if isinstance(error, RefusedError) and any(disk.touched for disk in disks):
        error = IoError(error.message, code=error.code, hint=error.hint)
    if isinstance(error, OSError):
        error = of_system(error)
    if isinstance(error, RescueError):
        error.state = state
        return error
    unknown = RescueError(f"an error in Rescue itself: {type(error).__name__}: {error}")
    unknown.state = state
    return unknown


def grown(disks: Sequence["Restoring"]) -> tuple[Grown, ...]:
    """What has come of the partitions that were to grow."""
    return tuple(
        Grown(
            partition=disk.pair.target.partition_name(growth.partition),
            before=growth.old_size,
            size=growth.old_size if disk.not_grown else growth.size,
            filesystem=growth.filesystem,
            why_not=disk.not_grown,
        )
        for disk in disks
        if (growth := disk.pair.growth) is not None
    )


def made_smaller(disks: Sequence["Restoring"]) -> tuple[Smaller, ...]:
    """The partitions that have become smaller."""
    return tuple(
        Smaller(
            partition=disk.pair.target.partition_name(shrinkage.partition),
            before=shrinkage.old_size,
            size=shrinkage.size,
        )
        for disk in disks
        if (shrinkage := disk.pair.shrinkage) is not None
    )


def carried(disks: Sequence["Restoring"]) -> Carried | None:
    """What was carried over from the system that was there before."""
    return next((disk.carried for disk in disks if disk.carried is not None), None)


def renewed(disks: Sequence["Restoring"]) -> Renewed | None:
    """What has come of a new identity."""
    return next((disk.renewed for disk in disks if disk.renewed is not None), None)


def wiped(disks: Sequence["Restoring"]) -> Wipe:
    """How the disks were erased: where in several ways, the one that reaches least of what a drive keeps aside."""
    ways = {disk.wiped for disk in disks}
    return next((way for way in (Wipe.OVERWRITE, Wipe.DISCARD, Wipe.SANITIZE) if way in ways), Wipe.NONE)


class Restoring(ABC):
    """One disk onto one target, or one volume into one partition, which is called `name`."""

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
        self.probing = Probing()
        self.pieces: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()
        self.touched = self.table_gone = self.complete = False
        self.failure: RescueError | None = None
        self.growth = pair.growth
        self.not_grown = ""
        """Why the partition that was to grow has the size that it has in the image, in words."""
        self.wiped = Wipe.NONE
        self.carried: Carried | None = None
        self.manner = unfinished.NOTHING
        self.renewed: Renewed | None = None
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

    def prepare(self) -> None:
        """Refuse what is not the disk that was shown, and find out what its table has to be. Writes nothing."""
        self.refuse_another()
        if self.growth is not None and self.growth.filesystem and os.geteuid() != 0:
            raise RefusedError("a file system can be enlarged by root alone", code="needs-root", hint="run as root")
        if self.plan.identity is not None:
            if os.geteuid() != 0:
                raise RefusedError("root alone can give new ids", code="needs-root", hint="run as root")
            renewing.refuse_doubtful(self.plan.identity, self.pair.source, self.content.bytes_at)
        self.render_table()
        self._refuse_too_small(self.target, self.pieces)
        self.manner = manner_of(self.plan, self.pair)

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

    def wipe(self) -> None:
        """Erase all that is there, where the plan says so; the mark of an unfinished disk stays."""
        if self.plan.wipe is Wipe.NONE:
            return
        self.begin()
        away = self.content.taken_away(self.target.size, self._mark, self.change)
        kept = Extents((at, at + len(data)) for at, data in away)
        way: Wipe = self.plan.wipe
        if way is Wipe.SANITIZE and not self._erase_itself(away):
            way = Wipe.DISCARD
        if way is not Wipe.SANITIZE:
            way = wiping.wipe(self.target, kept, way, self.name, self.report, self.cancel)
        self.wiped = way

    def _erase_itself(self, away: Sequence[tuple[int, bytes]]) -> bool:
        """Whether the drive has; the mark of an unfinished disk goes with all else, and comes again at once."""
        there = self.pair.target
        found = self.pair.sanitizer or (None if there.regular_file else sanitizer(there.path, there.transport))
        if found is None or found.method is None:
            self.report.log(f"{self.name} cannot erase itself: it is told to forget all", "warning")
            return False
        if self.plan.keep is not None:
            self.report.log(f"{self.name} does not erase itself where files are kept", "warning")
            return False
        self.stop_if_asked()
        return wiping.sanitize(self.target, found.method, away, self.name, self.report, self.cancel)

    @abstractmethod
    def write_body(self) -> None:
        """Write what differs, outside the table; `begin` comes before the first write."""

    @abstractmethod
    def read_back(self) -> None:
        """Read what was written from the medium, and compare it; raises IoError where it is not there."""

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

    def _brought(self, size: int, on_medium: bool) -> None:
        if on_medium:
            self.report.advance(size, size)

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

    def enlarge(self, *, read_back: bool) -> None:
        """Let the file system of the partition that grows take all of it; where that fails, write it as it was.

        The table is away meanwhile: cut off at any moment, the disk is unfinished, and the next restore writes anew
        what differs, and goes on from there.
        """
        growth = self.growth
        if growth is None:
            return
        if growth.moved is not None:
            self._move(growth.moved)
        self._clear_end(growth)
        if not growth.filesystem:
            return
        name = self.pair.target.partition_name(growth.partition)
        self.report.step(f"Enlarging the file system of {name}")
        self.begin()
        self.target.sync()
        try:
            enlarge(self.target.fileno(), growth, self.pair.sector, self.cancel)
        except IoError as error:
            self.not_grown = error.message
            self.report.log(f"{name} did not grow, and is restored as it was: {error.message}", "warning")
            self.growth = None
            self.target.forget_cached()  # it was written to by others than this target
            self.render_table()
            self.write_body()
            if read_back:
                self.read_back()
        self.target.sync()
        self.target.forget_cached()

    def _move(self, moved: Moved) -> None:
        """Copy what is used of a swap partition to where it goes, from behind, for both places may overlap; compare."""
        by = moved.to - moved.start
        places = [
            (at, min(at + _COPIED, high))
            for low, high in self.content.body.within(moved.start, moved.start + moved.size)
            for at in range(low, high, _COPIED)
        ]
        self.begin()
        proofs = []
        for low, high in reversed(places):
            data = self._read(low, high)
            proofs.append(digest(data))
            self.target.write(data, low + by)
        self.target.sync()
        self.target.forget_cached()
        for (low, high), proof in zip(reversed(places), proofs, strict=True):
            if digest(self._read(low + by, high + by)) != proof:
                raise self._distrust(low + by)

    def _read(self, low: int, high: int) -> memoryview:
        data = memoryview(bytearray(high - low))
        self.target.read(data, low)
        return data

    def _clear_end(self, growth: Growth) -> None:
        """What stood on the target before must not be found at the end of the partition: RAID and others look there."""
        old_end, end = growth.start + growth.old_size, growth.start + growth.size
        at = max(old_end, end - GUARD)
        if not _holds(self.target, at, bytes(end - at)):
            self.begin()
            self.target.write(bytes(end - at), at)
            self.target.sync()

    def carry(self, *, read_back: bool) -> None:
        """Bring back what is kept of the system that was there before, out of its safety image.

        The table is away meanwhile: cut off at any moment, the disk is unfinished, and the next restore brings it anew.
        """
        kept, target = self.plan.keep, self.target
        if kept is None:
            return
        image, place, sector = kept.image or self.plan.saved, kept.new, self.pair.sector
        start, size = self._placed(place.start, place.size)
        place = replace(place, start=start, size=size)
        self.begin()
        target.sync()
        self.carried = carry(kept, image, target.fileno(), place, sector, self.report, self.cancel)
        target.sync()
        target.forget_cached()
        if read_back:
            compare(kept, image, target.fileno(), place, sector, self.report, self.cancel)
            target.forget_cached()

    def _placed(self, start: int, size: int) -> tuple[int, int]:
        """Where a partition that has this place in the image lies on the target."""
        if self.growth is not None and (self.growth.start, self.growth.old_size) == (start, size):
            return start, self.growth.size
        moved = self.growth.moved if self.growth is not None else None
        if moved is not None and (moved.start, moved.size) == (start, size):
            return moved.to, size
        return self.pair.shrinkage.placed(start, size) if self.pair.shrinkage is not None else (start, size)

    def renew(self, *, read_back: bool) -> None:
        """Give the disk an identity of its own, where it is to have one.

        The table is away meanwhile: cut off at any moment, the disk is unfinished, and the next restore writes anew
        what the image has, and begins with this again. So it is here, too, where the system's own tool has failed in
        the middle of its work: with the initramfs of the image, it may still start.
        """
        identity = self.plan.identity
        if identity is None:
            return
        try:
            self.renewed = self._renew(identity)
        except IoError as error:
            if error.code != "no-initramfs":
                raise
            self.report.log(error.message, "warning")
            self.target.forget_cached()
            self.write_body()
            if read_back:
                self.read_back()
            self.enlarge(read_back=read_back)
            self.renewed = self._renew(identity, without=error.message)

    def _renew(self, identity: NewIdentity, *, without: str = "") -> Renewed:
        target, sector, spots = self.target, self.pair.source.logical_sector, self._spots()
        self.begin()
        target.sync()
        target.forget_cached()
        try:
            done = renewing.renew(identity, spots, target.fileno(), sector, self.report, self.cancel, without=without)
        finally:
            target.forget_cached()  # it was written to by others than this target
        target.sync()
        target.forget_cached()
        renewing.confirm(identity, spots, target.fileno(), sector)
        target.forget_cached()
        return done

    def _spots(self) -> list[renewing.Spot]:
        """Where what stands on the image's disk lies on the target."""
        types = {part.number: part.type.lower() for part in self.pair.source.table.partitions}
        spots = []
        for volume in self.pair.source.volumes:
            start, size = self._placed(volume.start, volume.size)
            spot = renewing.Spot(
                number=volume.number,
                start=start,
                size=size,
                kind=volume.content.kind,
                label=volume.content.label,
                system=volume.system,
                firmware=types.get(volume.number, "") in EFI_SYSTEM,
            )
            spots.append(spot)
        return spots

    def write_table(self, *, read_back: bool) -> None:
        """Write the table once all else is on the medium, its first sector last of all."""
        target = self.target
        if all(_holds(target, at, data) for at, data in self.pieces):
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


def _holds(target: Medium, at: int, data: bytes) -> bool:
    found = bytearray(len(data))
    try:
        target.read(memoryview(found), at)
    except IoError:
        return False
    return found == data
