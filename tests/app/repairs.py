"""Whether a computer starts from a disk that exists only in memory, and how that is repaired."""

from msgspec import structs

from imaging.disk import Disk
from imaging.repairplans import FileSystemCheck, RepairedSystem, RepairPlan, RepairWishes, TableRepair
from imaging.startable import Answer, Firmware, Starts, Way

STARTS = Starts(
    disk="sda",
    ways=(
        Way(firmware=Firmware.BIOS, answer=Answer.STARTS),
        Way(firmware=Firmware.UEFI, answer=Answer.FAILS, reasons=("it has no EFI system partition",)),
    ),
    firmware="bios",
)


def repair_plan(disk: Disk, wishes: RepairWishes) -> RepairPlan:
    """A disk whose table is destroyed at its start, with the boot loader."""
    way = Way(firmware=Firmware.BIOS, answer=Answer.FAILS, reasons=("its boot sector holds no boot code",))
    parts = [part for part in disk.table.partitions if part.content.kind == "ext4"]
    checks = [
        FileSystemCheck(number=part.number, start=part.start, size=part.size, kind="ext4", only_looks=False)
        for part in parts
    ]
    return RepairPlan(
        target=disk,
        wishes=wishes,
        layout=disk.table,
        before=structs.replace(STARTS, disk=disk.name, ways=(way, STARTS.ways[1])),
        table=TableRepair(kept="end", writes=((1024, bytes(512)), (512, bytes(512)))),
        checks=tuple(checks) if wishes.check_all else (),
        system=RepairedSystem(number=2, name="Debian GNU/Linux 13 (trixie)", program="/usr/sbin/grub-install"),
        loaders=(Firmware.BIOS,),
        notes=("the boot loader is not put back: the disk has no EFI system partition",),
    )
