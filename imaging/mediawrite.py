"""Make a disk a recovery medium, or replace the system of one: what starts a computer comes last.

Before the first byte is changed the table is taken away and a boot sector that says so stands in its place; on an
update, and once there is an images partition, a table with that alone stands behind it. The first MiB of the system,
without which neither ISO nor El Torito is found, and the table follow once all else was read back. So a medium that was
cut off at any moment starts no computer, is known as unfinished, keeps its images and is completed by making it again.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from imaging import (
    factory,
    inventory,
    librarycopy,
    marks,
    media,
    mediakeys,
    mediasource,
    mediatable,
    mediavouching,
    unfinished,
    writer,
)
from imaging.blockdev import opened, read, size_of
from imaging.chunk import digest
from imaging.disk import exact
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError, of_system
from imaging.events import READING_BACK, MediaResult
from imaging.gpt import Entry
from imaging.library import FOLDER, Library
from imaging.mediafs import make_filesystem, mounted_images
from imaging.mediavouching import Source
from imaging.medium import bounded, partitions
from imaging.mediumcheck import Advance, Examined, check, check_volume, refuse_unless_whole
from imaging.pipeline import Counter, Reporter
from imaging.planner import why_not_in_use, why_protected
from imaging.recoveryplans import MediaPlan
from imaging.writer import Target

_BLOCK = 4 << 20
_LATE = 1 << 20
"""Bytes at the start of the system that are written last: the table, and what makes it an ISO, are there."""
_TAIL = 1 << 20
"""Bytes at the end of a medium that a new one zeroes: what RAID and others left there would outlive it."""
_SYSTEM_PARTITIONS = (1, 2)


def make_medium(plan: MediaPlan, report: Reporter, cancel: threading.Event) -> MediaResult:
    """Carry out a plan for a recovery medium.

    Raises RefusedError before anything is written where the target or the system is not as it was shown, BadImageError
    where the system is damaged; IoError, BadImageError and CancelledError in the middle, each with `state` set.
    """
    began = time.monotonic()
    making = _Making(plan, report, cancel)
    try:
        return making.carry_out(began)
    except Exception as error:
        told = making.told(error)
        if told is error:
            raise
        raise told from error


class _Making:
    """One medium, from the first look to the last check."""

    def __init__(self, plan: MediaPlan, report: Reporter, cancel: threading.Event) -> None:
        self.plan, self.report, self.cancel = plan, report, cancel
        self.touched = self.complete = self.has_images = False
        self.counts = Counter()
        self.room = 0
        self.digests: list[bytes] = []
        self.patches: tuple[mediakeys.Patch, ...] = ()

    def carry_out(self, began: float) -> MediaResult:
        """All steps."""
        plan = self.plan
        _refuse_another_system(plan)
        if plan.images and os.geteuid() != 0:
            raise RefusedError("images can be copied to a medium by root alone", code="needs-root", hint="run as root")
        images = mediavouching.sources(plan)
        self._check_source()
        with media.undisturbed(), ExitStack() as held:
            self._refuse_unless_as_shown()
            source = held.enter_context(opened(plan.system.path))
            target = held.enter_context(writer.opened(plan.target.path, regular_file=plan.target.regular_file))
            if os.path.sameopenfile(source, target.fileno()):
                raise RefusedError(f"{target.path} is what the system is copied from", code="refused")
            if size_of(target.fileno()) != plan.target.size:
                raise RefusedError(f"{target.path} has another size than was shown", code="disk-changed")
            if marks.fingerprint(target.fileno()) != plan.target.fingerprint:
                raise RefusedError(f"{target.path} was written to since the plan was shown", code="disk-changed")
            entries = _system_entries(source)
            self.patches = mediakeys.patches(bounded(source), plan.system.path, plan.trusted)
            self._refuse_without_room(target)
            self._take_table_away(target)
            self._write_system(source, target)
            self._write_images(target, images)
            self._read_back(target)
            self._write_start(source, target, entries)
            self._check_result(target)
            self.complete = True
            target.reread_table()
        return MediaResult(
            target=plan.target.name,
            build=plan.system.build,
            system=plan.system.size,
            images=tuple(one.image for one in plan.images),
            chunks=self.counts["chunks"],
            new=self.counts["new"],
            copied=self.counts["bytes"],
            room=self.room,
            seconds=time.monotonic() - began,
            updated=plan.update,
        )

    def _check_source(self) -> None:
        """A damaged system is not worth erasing a disk for."""
        self.report.step("Checking the system that is copied")
        refuse_unless_whole(self._checked(lambda advance: check(self.plan.system.path, advance, self.cancel)))

    def _checked(self, look: Callable[[Advance], Examined]) -> Examined:
        done = told = 0

        def advance(now: int, total: int) -> None:
            nonlocal done, told
            if total != told:
                self.report.total(total)
                told = total
            self.report.advance(now - done)
            done = now

        examined = look(advance)
        self.report.finish_step()
        return examined

    def _refuse_unless_as_shown(self) -> None:
        plan = self.plan
        now = inventory.look(plan.target.path, [Path(one.library) for one in plan.images])
        marks.refuse_if_changed(plan.target, now)
        why = why_protected(now) or why_not_in_use(now)
        if why:
            raise RefusedError(f"{now.name} cannot become a recovery medium: {why}", code="refused")
        media.detach(now)

    def _refuse_without_room(self, target: Target) -> None:
        """How full a partition is that stays is known only now, and still nothing was written."""
        plan = self.plan
        if not plan.images or not plan.keeps_images:
            return
        name = plan.target.name
        with mounted_images(target, plan.images_start, plan.images_size, plan.filesystem, name, writable=False) as root:
            status = os.statvfs(root)
            free = status.f_bavail * status.f_frsize
            by_library: dict[str, list[str]] = {}
            for one in plan.images:
                by_library.setdefault(one.library, []).append(one.image)
            least = sum(
                librarycopy.missing(Library.open(Path(path)), root / FOLDER, ids, status.f_frsize)
                for path, ids in by_library.items()
            )
        if least > free:
            raise RefusedError(
                f"there is no room for the images on {name}: {exact(least)} are needed, {exact(free)} are free",
                code="target-too-small",
                hint="delete images on it that are needed no more, or use a larger stick",
            )

    def _take_table_away(self, target: Target) -> None:
        """From the first write on nothing starts from the medium. On an update its images can be found all along."""
        self.touched = True
        if self.plan.keeps_images:
            # The mark first: a BIOS must not start what is half there. Then the table without the system.
            table = self._interim(target)
            target.write(table.mbr, 0)
            target.sync()
            self._write_table(target, table)
            self.has_images = True
            target.write(bytes(_LATE - mediatable.HEAD), mediatable.HEAD)
        else:
            target.write(unfinished.render(unfinished.MEDIUM) + bytes(_LATE - unfinished.SIZE), 0)
            target.write(bytes(_TAIL), target.size - _TAIL)
        target.sync()

    def _interim(self, target: Target) -> mediatable.Table:
        return mediatable.render([self._images_entry()], target.size, None, self._disk_id())

    def _images_entry(self) -> Entry:
        plan = self.plan
        kept = next((p.uuid for p in plan.target.table.partitions if p.number == 3), "") if plan.keeps_images else ""
        return mediatable.images_entry(plan.images_start, plan.images_size, plan.filesystem, kept)

    def _disk_id(self) -> str:
        return self.plan.target.table.table_id if self.plan.keeps_images else ""

    def _write_table(self, target: Target, table: mediatable.Table) -> None:
        for at, data in table.pieces:
            target.write(data, at)
            target.sync()

    def _write_system(self, source: int, target: Target) -> None:
        size = self.plan.system.size
        self.report.step(f"Writing the system to {self.plan.target.name}", size - _LATE)
        for at in range(_LATE, size, _BLOCK):
            self._stop_if_asked()
            data = mediakeys.applied(self.patches, at, read(source, min(_BLOCK, size - at), at))
            self.digests.append(digest(data))
            target.write(data, at)
            target.bring_down(at, len(data), partial(self._brought, len(data)))
        target.sync()
        self.report.finish_step()

    def _brought(self, size: int, on_medium: bool) -> None:
        if on_medium:
            self.report.advance(size, size)

    def _stop_if_asked(self) -> None:
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def _write_images(self, target: Target, images: Sequence[Source]) -> None:
        """The images partition, and what goes on it; without root only an empty one, in a file."""
        plan = self.plan
        if not plan.images_size:
            return
        if not plan.keeps_images:
            self._stop_if_asked()
            self.report.step(f"Making the images partition of {plan.target.name}")
            make_filesystem(target, plan.images_start, plan.images_size, plan.filesystem)
            target.sync()
            self._write_table(target, self._interim(target))
            self.has_images = True
        if os.geteuid() != 0 or (not plan.images and (plan.keeps_images or plan.filesystem != "ext4")):
            return  # nothing is copied; exFAT is no part of every kernel, and only how much is free would be told
        with mounted_images(target, plan.images_start, plan.images_size, plan.filesystem, plan.target.name) as root:
            self._copy_images(root, target, images)
            room = os.statvfs(root)
            self.room = room.f_bavail * room.f_frsize
        target.sync()

    def _copy_images(self, root: Path, target: Target, images: Sequence[Source]) -> None:
        plan = self.plan
        if not plan.images:
            return
        library = Library.open_or_create(root / FOLDER)
        for one in images:
            librarycopy.copy_image(
                one.library, library, one.image, self.report, self.cancel, self.counts, proved=one.manifest
            )
        if plan.factory:
            factory.mark_factory_image(library.path, plan.factory)
        for one in images:
            target.forget_cached()  # what the loop device's file system wrote is in memory of the medium's, too
            librarycopy.prove_image(library, one.image, one.manifest, self.report, self.cancel)

    def _read_back(self, target: Target) -> None:
        size = self.plan.system.size
        self.report.step(f"{READING_BACK} what was written to {self.plan.target.name}", size - _LATE)
        target.forget_cached()
        for at, wanted in zip(range(_LATE, size, _BLOCK), self.digests, strict=True):
            self._stop_if_asked()
            data = bytearray(min(_BLOCK, size - at))
            target.read(memoryview(data), at)
            if digest(data) != wanted:
                raise self._distrust(at)
            target.forget(at, len(data))
            self.report.advance(len(data))
        self.report.finish_step()

    def _distrust(self, at: int) -> IoError:
        return IoError(
            f"{self.plan.target.path} does not hold what was written at byte {at}",
            code="read-back-differs",
            hint="this medium cannot be trusted: use another one",
        )

    def _write_start(self, source: int, target: Target, entries: list[Entry]) -> None:
        """What makes all the rest start: the first MiB, then the table, its first sector last of all."""
        plan = self.plan
        self.report.step(f"Writing the partition table of {plan.target.name}")
        self._stop_if_asked()
        head = mediakeys.applied(self.patches, 0, read(source, _LATE, 0))
        if plan.images_size:
            entries = [*entries, self._images_entry()]
        table = mediatable.render(entries, target.size, head[:512], self._disk_id())
        target.write(head[mediatable.HEAD :], mediatable.HEAD)
        target.sync()
        self._write_table(target, table)
        target.forget_cached()
        for at, data in ((mediatable.HEAD, head[mediatable.HEAD :]), *table.pieces):
            found = bytearray(len(data))
            target.read(memoryview(found), at)
            if found != data:
                raise self._distrust(at)

    def _check_result(self, target: Target) -> None:
        """Where the check finds anything, the medium is unfinished once more."""
        self.report.step(f"Checking that {self.plan.target.name} can start a computer")
        target.forget_cached()
        volume = bounded(target.fileno())
        try:
            refuse_unless_whole(
                self._checked(lambda advance: check_volume(volume, self.plan.target.path, advance, self.cancel))
            )
        except RescueError as error:
            target.write(unfinished.render(unfinished.MEDIUM), 0)
            if self.plan.images_size:
                self._write_table(target, self._interim(target))
            target.sync()
            if isinstance(error, BadImageError):
                raise IoError(error.message, code="read-back-differs", hint=error.hint) from error
            raise

    def told(self, error: Exception) -> Exception:
        """The error with the state of the target; once that was written to, it is not a refusal any more."""
        if isinstance(error, RefusedError) and self.touched:
            error = IoError(error.message, code=error.code, hint=error.hint)
        if isinstance(error, OSError):
            error = of_system(error)
        if not isinstance(error, RescueError):
            message = f"an error in Rescue itself: {type(error).__name__}: {error}"
            error = RescueError(message)
        error.state = self.state
        return error

    @property
    def state(self) -> str:
        """What the target is left in, in words."""
        name = self.plan.target.name
        if not self.touched:
            return f"Nothing was written to {name}."
        if self.complete:
            return f"Everything was written to {name}."
        if self.plan.keeps_images:
            return f"{name} is only partly updated and does not start a computer; its images are kept. Update it again."
        if self.has_images and self.plan.images:
            return (
                f"{name} is only partly made and does not start a computer. Make it again; with --update, the images "
                "that were copied are kept."
            )
        return f"{name} is only partly made and does not start a computer. Make it again."


def _refuse_another_system(plan: MediaPlan) -> None:
    shown = plan.system
    now = mediasource.system_on(shown.path, booted=shown.booted)
    if now != shown:
        raise RefusedError(f"{shown.path} is not the system that was shown", code="system-changed")
    if plan.system.size <= _LATE:
        raise BadImageError(f"{shown.path} is too short for a recovery system", code="damaged-medium")


def _system_entries(source: int) -> list[Entry]:
    volume = bounded(source)
    # Two media with partitions of one id would be taken for each other: each gets its own.
    return [replace(entry, uuid="") for entry in partitions(volume) if entry.number in _SYSTEM_PARTITIONS]
