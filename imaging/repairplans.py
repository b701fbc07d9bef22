"""Plans to repair a disk from which no computer starts any more, from what is on that disk alone."""

import msgspec

from imaging.disk import Disk, PartitionTable, Size
from imaging.planversion import VERSION
from imaging.startable import Firmware, Starts


class RepairWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair may do: each of it can be left out, and file systems are checked where that is asked for alone."""

    table: bool = True
    loader: bool = True
    boot_entry: bool = True
    check: tuple[Size, ...] = ()
    """The partitions whose file systems are checked by their own tools, which mend what they can without a question."""
    check_all: bool = False
    """Whether that is all of them."""
    mend: bool = False
    """Whether these may also decide for themselves what to throw away (e2fsck -y, xfs_repair)."""
    system: Size = 0
    """The partition of the system whose boot loader is put back; 0 for the only one."""


class TableRepair(msgspec.Struct, frozen=True, kw_only=True):
    """What of a GPT is written anew from its copy at the disk's `kept` ("start", "end", or "both"), in this order."""

    kept: str
    writes: tuple[tuple[Size, bytes], ...]
    """Offsets in bytes, and what goes there."""


class FileSystemCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A file system that is checked; `only_looks` where its tool is not let write."""

    number: Size
    start: Size
    size: Size
    kind: str
    only_looks: bool


class RepairedSystem(msgspec.Struct, frozen=True, kw_only=True):
    """The system whose own programs put its boot loader back; `number` is the partition of its root."""

    number: Size
    name: str
    program: str
    """The path of grub-install in it."""
    subvolume: str = ""
    mounts: tuple[tuple[Size, str], ...] = ()
    """Other partitions of the disk, and where the system has them: /boot, /boot/efi."""
    efi: str = ""
    """Where its EFI system partition is mounted; empty where it has none."""


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True, tag="repair", tag_field="kind"):
    """Repair what keeps a computer from starting from a disk, from what is on that disk alone."""

    target: Disk
    wishes: RepairWishes
    layout: PartitionTable
    """The partitions, as they are once the table is repaired."""
    before: Starts
    table: TableRepair | None = None
    checks: tuple[FileSystemCheck, ...] = ()
    system: RepairedSystem | None = None
    loaders: tuple[Firmware, ...] = ()
    removable: bool = False
    """Whether the loader also goes to the one path that all firmware knows, where nothing is."""
    menu: bool = False
    """Whether the system's boot menu is made anew."""
    boot_entry: bool = False
    """Whether this computer's firmware gets an entry, should that be all that is missing."""
    notes: tuple[str, ...] = ()
    """What cannot be repaired, and why, in words: with any of them the repair is at most a part of one."""
    left: tuple[str, ...] = ()
    """What is left as it is because that was asked for, or is in order, in words."""
    keep: str = ""
    """The folder in which what is written over is kept; empty for the job's own."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Repair {self.target.name}"

    @property
    def writes(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self.table or self.checks or self.loaders or self.menu or self.boot_entry)
