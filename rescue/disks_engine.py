"""The part of the engine that looks at this computer and its disks."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imaging import bootcheck, checkboot, identify, inventory, media, repairlook, smart, systems
from imaging.bootcheck import BootState
from imaging.disk import Disk
from imaging.health import Health
from imaging.identify import Attachment
from imaging.manifest import Machine
from imaging.mediumcheck import Advance, Examined
from imaging.mounts import kind_at
from imaging.repairplans import RepairPlan, RepairWishes
from imaging.startable import Starts
from rescue.places_engine import PlacesEngine


class DisksEngine(PlacesEngine):
    """Knows the computer, what it was started from, and its disks."""

    def machine(self) -> Machine:
        """This computer."""
        return inventory.machine()

    def medium(self) -> Disk | None:
        """The disk that this recovery system was started from."""
        return inventory.medium()

    def network_boot(self) -> str:
        """The address that this recovery system was fetched from."""
        return inventory.network_boot()

    def in_memory(self) -> bool:
        """Whether the system was copied to memory, so that its medium is not needed any more."""
        return media.on_live_system() and kind_at(inventory.MEDIUM) == "tmpfs"

    def boot_state(self) -> BootState:
        """Whether the running medium is whole, as far as that is known; at once, and never raises."""
        return bootcheck.boot_state()

    def check_medium(self, advance: Advance, cancel: threading.Event) -> Examined:
        """Check the running medium, which takes minutes; raises BadImageError, IoError, CancelledError."""
        return bootcheck.check_running(advance, cancel)

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """All disks; takes up to seconds."""
        return inventory.scan(libraries)

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:
        """A regular file that stands in a disk's place, or a disk by its path."""
        return inventory.look(path, libraries)

    def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
        """How disks are doing, by path."""
        return smart.healths(disks)

    def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
        """The operating systems on disks, by path and partition."""
        return systems.all_systems(disks)

    def attachment(self, disk: Disk) -> Attachment:
        """Where a disk is plugged in."""
        return identify.attachment(disk)

    def blink(self, disk: Disk, stop: threading.Event) -> None:
        """Let a disk's light blink, until `stop` is set."""
        identify.blink(disk, stop)

    def starts(self, disk: Disk) -> Starts:
        """Whether a computer can start from a disk."""
        (found,) = checkboot.check_paths([disk.path])
        return found

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> RepairPlan:
        """What can be repaired of a disk."""
        return repairlook.plan_repair(inventory.look(disk.path, self.libraries()), wishes)
