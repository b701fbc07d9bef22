"""The part of a computer in memory that has disks."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import structs

from imaging.bootcheck import BootState
from imaging.disk import Disk, Role
from imaging.errors import RescueError, UsageError
from imaging.health import Health
from imaging.identify import Attachment
from imaging.manifest import Machine
from imaging.mediumcheck import Advance, Examined
from imaging.repairplans import RepairPlan, RepairWishes
from imaging.startable import Starts
from tests.app.disks import BUSY, HERE, NO_HEALTH, SDA, SDB, STICK, make_disk
from tests.app.drives import WHOLE, make_medium
from tests.app.notedcalls import NotedCalls
from tests.app.repairs import STARTS, repair_plan


@dataclass
class FakeDisks(NotedCalls):
    """The computer, what it was started from, and its disks."""

    found_disks: Sequence[Disk] = (STICK, BUSY, SDA, SDB)
    found_health: Mapping[str, Health] = field(default_factory=dict)
    """By path, as `Backend.health` has it."""
    found_systems: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By path, as `Backend.systems` has it."""
    blinking: threading.Event | None = None
    """What stops the light that blinks."""
    fetched_from: str = ""
    """The address, where the recovery system was started over the network."""
    copied: bool = False
    """Whether the system runs from memory."""
    medium_state: BootState = WHOLE
    examined: Examined | RescueError | None = None
    """What a check that is asked for finds."""
    sound: bool = False
    """Whether nothing of any disk can be repaired."""

    def machine(self) -> Machine:
        """This computer."""
        return HERE

    def medium(self) -> Disk | None:
        """The stick, if it is still plugged in."""
        return next((disk for disk in self.found_disks if Role.BOOT_MEDIUM in disk.roles), None)

    def network_boot(self) -> str:
        """The web server, where it came from one."""
        return self.fetched_from

    def in_memory(self) -> bool:
        """As the test wants it."""
        return self.copied

    def boot_state(self) -> BootState:
        """As the test wants it."""
        return self.medium_state

    def check_medium(self, advance: Advance, cancel: threading.Event) -> Examined:
        """What the test wants to be found."""
        self.calls.append("check medium")
        advance(50 << 20, 200 << 20)
        if isinstance(self.examined, RescueError):
            raise self.examined
        return self.examined or Examined(
            path=STICK.path, about=make_medium(STICK.path).about, findings=(), bytes=200 << 20
        )

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """All disks."""
        return self.found_disks

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:
        """Every path that ends in .img is a disk file."""
        if not path.endswith(".img"):
            raise UsageError(f"{path}: there is no such disk or file")
        return replace(make_disk("disk.img", model="", serial=path, regular_file=True), path=path)

    def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
        """What the test wants; of other disks nothing is known."""
        return {disk.path: self.found_health.get(disk.path, NO_HEALTH) for disk in disks}

    def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
        """What the test wants."""
        return {disk.path: self.found_systems.get(disk.path, {}) for disk in disks}

    def attachment(self, disk: Disk) -> Attachment:
        """All in the first port of the common controller."""
        return Attachment(port="pci-0000:00:17.0-ata-1", rotational=disk.name == "sdb")

    def blink(self, disk: Disk, stop: threading.Event) -> None:
        """Noted, with what stops it."""
        self.calls.append(f"blink {disk.name}")
        self.blinking = stop

    def starts(self, disk: Disk) -> Starts:
        """As a disk for a BIOS alone."""
        self.calls.append(f"starts {disk.name}")
        return structs.replace(STARTS, disk=disk.name)

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> RepairPlan:
        """The table and the loader; file systems where that is asked for."""
        self.calls.append(f"plan_repair {disk.name}")
        if self.sound:
            starts = structs.replace(STARTS, disk=disk.name)
            return RepairPlan(target=disk, wishes=wishes, layout=disk.table, before=starts)
        return repair_plan(disk, wishes)
