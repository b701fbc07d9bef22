"""Put the recovery system on a partition of the computer's own disk, or take it away again.

The partition's mark is written before the table names it, the table is changed in one step, the system is read back and
compared, and what starts it comes last. So whatever was cut off either left nothing or a partition that is known as
ours, which the same job completes and the other one removes. Nothing is written outside of the partition but its entry
in the table, the boot loader's folder on the EFI system partition and a block in custom.cfg of GRUB.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from imaging import (
    bootplaces,
    efientries,
    factory,
    grubmenu,
    inventory,
    kernelparts,
    librarycopy,
    marks,
    media,
    mediasource,
    mediavouching,
    medium,
    ownfiles,
    ownmark,
    ownplan,
    sfdisk,
    tableedit,
    writer,
)
from imaging.blockdev import loop_over, read
from imaging.disk import Disk, Partition, TableKind
from imaging.ending import as_told
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError
from imaging.events import READING_BACK, InstallResult, RemoveResult
from imaging.library import FOLDER, Library
from imaging.mediumcheck import check_folder, refuse_unless_whole
from imaging.ownfiles import Source
from imaging.pipeline import Counter, Reporter
from imaging.recoveryplans import InstallPlan, RemovePlan
from imaging.run import run
from imaging.tableedit import NewEntry, Writes
from imaging.writer import Target

_EXT4 = ("-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^metadata_csum_seed,^orphan_file")
"""Without what the GRUB of older systems cannot read, and without blocks that root alone could fill."""
_AT_ONCE = "root_owner=0:0,lazy_itable_init=0,nodiscard"
_HEAD = 64 << 10
"""Bytes at a removed partition's start, in which file systems keep what makes them known."""


def install(plan: InstallPlan, report: Reporter, cancel: threading.Event) -> InstallResult:
    """Carry out an installation.

    Raises RefusedError before anything is written where the disk or the system is not as it was shown; IoError,
    BadImageError and CancelledError in the middle, each with `state` set.
    """
    began = time.monotonic()
    work = _Install(plan, report, cancel)
    as_told(work.carry_out, work)
    return InstallResult(
        target=plan.target.name,
        partition=plan.target.partition_name(plan.number),
        size=plan.size,
        build=plan.system.build,
        starts=tuple(work.starts),
        replaced=plan.present,
        entries=plan.entries,
        seconds=time.monotonic() - began,
    )


def remove(plan: RemovePlan, report: Reporter, cancel: threading.Event) -> RemoveResult:
    """Carry out a removal; raises as `install` does."""
    began = time.monotonic()
    work = _Remove(plan, report, cancel)
    as_told(work.carry_out, work)
    return RemoveResult(
        target=plan.target.name,
        partition=plan.target.partition_name(plan.number),
        freed=plan.size,
        seconds=time.monotonic() - began,
    )


class _Work:
    """What both jobs need of one disk."""

    def __init__(self, plan: InstallPlan | RemovePlan, report: Reporter, cancel: threading.Event) -> None:
        self.disk, self.report, self.cancel = plan.target, report, cancel
        self.name = plan.target.partition_name(plan.number)
        self.touched = False

    @property
    def state(self) -> str:
        """What the disk is left in, in words."""
        return f"Nothing was written to {self.disk.name}."

    def stop_if_asked(self) -> None:
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def look(self, shown: Disk) -> Disk:
        """The disk as it is now; raises RefusedError where it is not the one that was shown."""
        now = inventory.look(shown.path)
        marks.refuse_if_changed(shown, now)
        held = kernelparts.held_as_a_whole(now)
        if held:
            raise RefusedError(f"{now.name} is in use as a whole by {', '.join(held)}", code="in-use")
        return now

    def let_go(self, disk: Disk, numbers: Sequence[int]) -> None:
        """Have the live system let go of partitions that it mounted to look for images."""
        nodes = {f"/dev/{disk.partition_name(number)}" for number in numbers}
        media.detach(replace(disk, mounts=tuple(mount for mount in disk.mounts if mount.source in nodes)))

    def write(self, target: Target, writes: Writes) -> None:
        """Write pieces of the table, each down to the medium before the next."""
        for at, data in writes:
            target.write(data, at)
            target.sync()


class _Install(_Work):
    def __init__(self, plan: InstallPlan, report: Reporter, cancel: threading.Event) -> None:
        super().__init__(plan, report, cancel)
        self.plan = plan
        self.whole = False
        self.starts: list[str] = []

    @property
    def state(self) -> str:
        """What the disk is left in, in words."""
        again = "Run the same again to complete it, or take it away with: rescue media remove-partition."
        if self.whole:
            return f"The recovery system on {self.name} is complete, but not all that should start it. {again}"
        if self.touched:
            return f"The recovery partition {self.name} is only begun; all other partitions are as they were. {again}"
        return super().state

    def carry_out(self) -> None:
        """All steps."""
        plan = self.plan
        if os.geteuid() != 0:
            raise RefusedError("a recovery partition can be made by root alone", code="needs-root", hint="run as root")
        if plan.entries:
            self._add_entries_again()
            return
        if mediasource.system_on(plan.system.path, booted=plan.system.booted) != plan.system:
            raise RefusedError(f"{plan.system.path} is not the system that was shown", code="system-changed")
        with media.undisturbed(), ExitStack() as held:
            now = self.look(plan.target)
            source = held.enter_context(ownfiles.opened(plan.system.path))
            self._refuse_unless_as_planned(now)
            self.let_go(now, [plan.number, plan.efi, *(menu.partition for menu in plan.menus)])
            self._refuse_unless_all_takes(now, source)
            with writer.opened(plan.target.path, regular_file=plan.target.regular_file, shared=True) as target:
                # Not its fingerprint: a partition in the first MiB may have been mounted by now.
                table = sfdisk.read_table(target.path, now.logical_sector)
                if target.size != now.size or _places(table.partitions) != _places(now.table.partitions):
                    raise _not_as_shown(now)
                if not plan.present:
                    self._add_partition(target, now)
                self._fill(target, now, source)
            kernelparts.add(now, plan.number)
            kernelparts.settle(now)
            self.whole = True
            self._make_startable(now, source)

    def _add_entries_again(self) -> None:
        """What starts it, from the files that are there; the partition itself may be the one that runs this system."""
        plan = self.plan
        with media.undisturbed(), ExitStack() as held:
            now = self.look(plan.target)
            again = ownplan.plan_entries(now, plan.system, bootplaces.look(now))
            if structs.replace(again, target=plan.target) != plan:
                raise _not_as_shown(now)
            self.let_go(now, [plan.efi, *(menu.partition for menu in plan.menus)])
            root = held.enter_context(bootplaces.reached(now, plan.number, writable=False))
            about = medium.folder_about(root)
            if about is None or about.build != plan.system.build:
                raise RefusedError(f"{self.name} does not hold the system that was shown", code="system-changed")
            source = ownfiles.source_beneath(root)
            self._refuse_unless_all_takes(now, source)
            self.stop_if_asked()
            self.whole = True
            self._make_startable(now, source)

    def _refuse_unless_as_planned(self, now: Disk) -> None:
        plan = self.plan
        mediavouching.sources(plan)
        boot = bootplaces.look(now)
        again = ownplan.plan_install(
            now,
            plan.system,
            boot,
            content=plan.content,
            size=plan.size,
            images=int(plan.library),
            copied=plan.images,
            factory=plan.factory,
        )
        if structs.replace(again, target=plan.target, doubt=plan.doubt, accept_unsigned=plan.accept_unsigned) != plan:
            raise _not_as_shown(now)

    def _refuse_unless_all_takes(self, now: Disk, source: Source) -> None:
        """What would fail in the end is found out before the table is changed."""
        plan = self.plan
        if plan.efi:
            needed = sum(source.files[path] for path in source.efi_files().values()) + (1 << 20)
            with bootplaces.reached(now, plan.efi) as root:
                ownfiles.refuse_unless_efi_takes(root, needed, now.partition_name(plan.efi))
        for menu in plan.menus:
            with bootplaces.reached(now, menu.partition) as root:
                ownfiles.refuse_unless_menu_takes(root, menu.folder, now.partition_name(menu.partition))

    def _add_partition(self, target: Target, now: Disk) -> None:
        plan = self.plan
        self.report.step(f"Adding partition {plan.number} to the table of {now.name}")
        new = NewEntry(number=plan.number, start=plan.start, size=plan.size, name=ownmark.NAME, uuid=plan.uuid)
        fd = target.fileno()
        writes = tableedit.added(
            lambda at, size: read(fd, size, at),
            new,
            kind=now.table.kind,
            size=target.size,
            sector=now.logical_sector,
        )
        self.stop_if_asked()
        # On free ground, and known by nobody: should this be the end, nothing has changed.
        target.write(ownmark.render(plan.uuid, plan.size), plan.start + ownmark.place(plan.size))
        target.write(bytes(_HEAD), plan.start)
        target.sync()
        self.touched = True
        self.write(target, writes)
        after = sfdisk.read_table(target.path, now.logical_sector)
        if _places(after.partitions) != {*_places(now.table.partitions), (plan.number, plan.start, plan.size)}:
            raise IoError(
                f"the table of {now.name} does not hold what was written to it",
                code="read-back-differs",
                hint="this disk cannot be trusted: replace it",
            )

    def _fill(self, target: Target, now: Disk, source: Source) -> None:
        """The file system and the system on it, compared after it was read back from the medium."""
        plan = self.plan
        there = next((part for part in now.table.partitions if part.number == plan.number), None)
        self.touched = True
        if there is None or not there.content.kind:
            self.stop_if_asked()
            self.report.step(f"Making the file system of {self.name}")
            with self._loop(target, now, writable=True) as loop:
                words = [*_EXT4, "-E", _AT_ONCE, "-L", ownmark.NAME, "-U", plan.uuid, loop]
                run(["mke2fs", *words])
        self.report.step(f"Writing the system to {self.name}", sum(source.files.values()))
        with self._mounted(target, now, writable=True) as root:
            source = ownfiles.trusting_as_before(source, root)
            options = grubmenu.render_options(uuid=plan.uuid) if now.table.kind is TableKind.GPT else ""
            ownfiles.bring(source, root, options, self.report, self.cancel)
            self.report.finish_step()
            if plan.library:
                self._copy_images(Library.open_or_create(root / FOLDER))
        target.sync()
        target.forget(plan.start, plan.size)
        self._compare(target, now)

    def _copy_images(self, library: Library) -> None:
        plan = self.plan
        images = mediavouching.sources(plan)
        for one in images:
            librarycopy.copy_image(
                one.library, library, one.image, self.report, self.cancel, Counter(), proved=one.manifest
            )
        if plan.factory:
            factory.mark_factory_image(library.path, plan.factory)
        for one in images:
            librarycopy.prove_image(library, one.image, one.manifest, self.report, self.cancel)

    def _compare(self, target: Target, now: Disk) -> None:
        self.report.step(f"{READING_BACK} what was written to {self.name}")
        done = 0

        def advance(so_far: int, total: int) -> None:
            nonlocal done
            if not done:
                self.report.total(total)
            self.report.advance(so_far - done)
            done = so_far

        with self._mounted(target, now, writable=False) as root:
            try:
                refuse_unless_whole(check_folder(root, advance, self.cancel, installed=""))
            except BadImageError as error:
                raise IoError(error.message, code="read-back-differs", hint="the disk cannot be trusted") from error
        self.report.finish_step()

    @contextmanager
    def _loop(self, target: Target, now: Disk, *, writable: bool) -> Iterator[str]:
        """The file system's part of the partition, which ends before the mark."""
        size, sector = ownmark.place(self.plan.size), now.logical_sector
        with loop_over(target.fileno(), offset=self.plan.start, size=size, sector=sector, writable=writable) as loop:
            yield loop

    @contextmanager
    def _mounted(self, target: Target, now: Disk, *, writable: bool) -> Iterator[Path]:
        with self._loop(target, now, writable=writable) as loop:
            root = bootplaces.mount(ownmark.FILE_SYSTEM, loop, self.name, writable=writable)
            try:
                yield Path(f"/proc/self/fd/{root}")
            finally:
                os.close(root)

    def _make_startable(self, now: Disk, source: Source) -> None:
        """The boot loader first, then the entries that lead to it."""
        plan = self.plan
        self.report.step(f"Adding the boot entry {grubmenu.LABEL}")
        if plan.efi:
            with bootplaces.reached(now, plan.efi) as root:
                ownfiles.write_efi(source, root, uuid=plan.uuid, build=plan.system.build)
        if plan.firmware:
            part = next(part for part in now.table.partitions if part.number == plan.efi)
            efientries.add(
                disk=now.path,
                number=plan.efi,
                partition=part.uuid.lower(),
                label=grubmenu.LABEL,
                loader=grubmenu.LOADER,
            )
            self.starts.append(f"in the boot menu of the firmware: {grubmenu.LABEL}")
        entry = grubmenu.render_entry(uuid=plan.uuid, table=now.table.kind, efi_uuid=plan.efi_uuid)
        for menu in plan.menus:
            with bootplaces.reached(now, menu.partition) as root:
                name = now.partition_name(menu.partition)
                ownfiles.change_menu(ownfiles.refuse_unless_menu_takes(root, menu.folder, name), entry)
            self.starts.append(f"in the menu of GRUB on {name}: {grubmenu.LABEL}")


def _not_as_shown(disk: Disk) -> RefusedError:
    return RefusedError(
        f"the partitions or boot menus of {disk.name} are not as they were shown",
        code="disk-changed",
        hint="look at the disks again and make a new plan",
    )


def _places(parts: Sequence[Partition]) -> set[tuple[int, int, int]]:
    return {(part.number, part.start, part.size) for part in parts}


class _Remove(_Work):
    def __init__(self, plan: RemovePlan, report: Reporter, cancel: threading.Event) -> None:
        super().__init__(plan, report, cancel)
        self.plan = plan
        self.gone = False

    @property
    def state(self) -> str:
        """What the disk is left in, in words."""
        if self.gone:
            return f"The recovery partition {self.name} is gone."
        if self.touched:
            return f"The recovery partition {self.name} is still there, but not all that starts it. Remove it again."
        return super().state

    def carry_out(self) -> None:
        """What starts it goes first, its entry in the table last."""
        plan = self.plan
        if os.geteuid() != 0:
            raise RefusedError("a partition can be removed by root alone", code="needs-root", hint="run as root")
        with media.undisturbed():
            now = self.look(plan.target)
            again = ownplan.plan_remove(now, plan.menus, firmware=plan.firmware)
            if structs.replace(again, target=plan.target) != plan:
                raise RefusedError(f"the partitions of {now.name} are not as they were shown", code="disk-changed")
            self.let_go(now, [plan.number, plan.efi, *(menu.partition for menu in plan.menus)])
            self.stop_if_asked()
            self._take_entries_away(now)
            self.report.step(f"Removing partition {plan.number} from the table of {now.name}")
            with writer.opened(now.path, regular_file=now.regular_file, shared=True) as target:
                self._take_partition_away(target, now)
            kernelparts.settle(now)

    def _take_entries_away(self, now: Disk) -> None:
        plan = self.plan
        self.report.step(f"Removing the boot entry {grubmenu.LABEL}")
        self.touched = True
        for menu in plan.menus:
            with bootplaces.reached(now, menu.partition) as root:
                name = now.partition_name(menu.partition)
                ownfiles.change_menu(ownfiles.refuse_unless_menu_takes(root, menu.folder, name), "")
        if plan.firmware:
            part = next(part for part in now.table.partitions if part.number == plan.efi)
            efientries.remove(partition=part.uuid.lower(), loader=grubmenu.LOADER)
        if plan.efi:
            with bootplaces.reached(now, plan.efi) as root:
                ownfiles.remove_efi(root)

    def _take_partition_away(self, target: Target, now: Disk) -> None:
        plan, fd = self.plan, target.fileno()
        self._refuse_unless_marked(target)
        writes = tableedit.removed(
            lambda at, size: read(fd, size, at),
            plan.number,
            kind=now.table.kind,
            size=target.size,
            sector=now.logical_sector,
        )
        kernelparts.forget(now, plan.number)
        try:
            self.write(target, writes)
        except RescueError:
            kernelparts.add(now, plan.number)
            raise
        self.gone = True
        after = sfdisk.read_table(target.path, now.logical_sector)
        if _places(after.partitions) != _places(now.table.partitions) - {(plan.number, plan.start, plan.size)}:
            raise IoError(f"the table of {now.name} does not hold what was written to it", code="read-back-differs")
        # A partition that is made at this very place one day is not to be taken for ours.
        target.write(bytes(ownmark.SIZE), plan.start + ownmark.place(plan.size))
        target.write(bytes(_HEAD), plan.start)
        target.sync()

    def _refuse_unless_marked(self, target: Target) -> None:
        """What stands on the medium decides, right before it is changed."""
        mark = bytearray(ownmark.SIZE)
        target.read(memoryview(mark), self.plan.start + ownmark.place(self.plan.size))
        if ownmark.parse(bytes(mark), self.plan.size) != self.plan.uuid:
            raise RefusedError(f"{self.name} does not bear the mark of a recovery partition", code="not-ours")
