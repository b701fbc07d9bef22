"""One disk of a restore, from its first byte to its table: each step that changes the target, and what came of it."""

import dataclasses
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from imaging import renewing, sanitizers, sanitizing, wiping
from imaging.access import writable
from imaging.carrying import carry, compare
from imaging.changes import Growth, Moved
from imaging.chunk import digest
from imaging.enlarging import enlarge
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.events import Carried, Renewed
from imaging.extents import Extents
from imaging.heldtarget import HeldTarget
from imaging.identities import NewIdentity
from imaging.library import Library
from imaging.manner import manner_of
from imaging.ownplan import EFI_SYSTEM
from imaging.pipeline import Counter, Reporter
from imaging.probing import Probing
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.sanitize import Obstacle
from imaging.sfdisk import GUARD
from imaging.tabled import Tabled

_COPIED = 4 << 20
"""Bytes that are copied at a time."""


class Restoring(HeldTarget, ABC):
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
        super().__init__(plan, pair, name, content, report, cancel, counts)
        self.probing = Probing()
        self.not_grown = ""
        """Why the partition that was to grow has the size that it has in the image, in words."""
        self.wiped = Wipe.NONE
        self.carried: Carried | None = None
        self.renewed: Renewed | None = None

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
        found = sanitizers.as_shown(self.pair)
        if found.obstacle is Obstacle.LOCKED and there.manner.wipe == Wipe.SANITIZE:
            # Of a job that ended between setting the password and its use: the drive would lock itself with the new
            # system. Another's password it is not; such a drive stays as it is.
            sanitizing.took_password_back(there.path, attempts=1)
        if found.method is None:
            self.report.log(f"{self.name} cannot erase itself: it is told to forget all", "warning")
            return False
        if self.plan.keep is not None:
            self.report.log(f"{self.name} does not erase itself where files are kept", "warning")
            return False
        self.stop_if_asked()
        self._note_erasing(begun=True)
        erased = wiping.sanitize(self.target, found.method, away, self.name, self.report, self.cancel)
        self._note_erasing(begun=False)
        return erased

    def _note_erasing(self, *, begun: bool) -> None:
        """Meanwhile the mark that names what was saved may be lost: the note of that says so.

        Raises IoError before, where this restore has saved it. What one that was cut off has saved can be where nothing
        is to be written, or away, and the disk is completed all the same.
        """
        saved = self.plan.saved or self.pair.target.saved
        if not saved:
            return
        try:
            library = self._library_of(saved)
            with writable(library.path):
                library.annotate(saved, lambda noted: dataclasses.replace(noted, erasing=begun))
        except (RescueError, OSError) as error:
            if begun and self.plan.saved:
                raise
            if begun:
                self.report.log(f"that {self.name} erases itself could not be noted: {error}", "warning")
                return
            # It is heeded for disks that hold nothing alone.
            self.report.log(f"that {self.name} has its mark again could not be noted: {error}", "warning")

    def _library_of(self, saved: str) -> Library:
        """The library that has what was saved; raises BadImageError, IoError."""
        if self.plan.saved:
            return Library.open(Path(self.plan.safety))
        for place in filter(None, (self.plan.saved_in, self.plan.library)):
            with suppress(RescueError):
                library = Library.open(Path(place))
                library.image(saved)
                return library
        raise BadImageError(f"image {saved} is in none of the libraries here", code="no-such-image")

    @abstractmethod
    def write_body(self) -> None:
        """Write what differs, outside the table; `begin` comes before the first write."""

    @abstractmethod
    def read_back(self) -> None:
        """Read what was written from the medium, and compare it; raises IoError where it is not there."""

    def _brought(self, size: int, on_medium: bool) -> None:
        if on_medium:
            self.report.advance(size, size)

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
        if not self._holds(at, bytes(end - at)):
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
        """Where a partition, or a logical volume in one, that has this place in the image lies on the target."""
        if self.growth is not None and (self.growth.start, self.growth.old_size) == (start, size):
            return start, self.growth.size
        moved = self.growth.moved if self.growth is not None else None
        if moved is not None and moved.holds(start, size):
            return moved.placed(start), size
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
