"""Recovery drives that exist only in memory, and the system on them."""

from imaging import bootcheck
from imaging.bootcheck import BootState
from imaging.disk import Content, Partition, PartitionTable, TableKind
from imaging.medium import About, Medium, Part
from imaging.recoveryplans import MediaSystem
from tests.app.disks import EFI_TYPE, EMPTY, GB, LINUX_TYPE, STICK, make_disk

BUILT = "2026-11-20T08:00:00Z"
LIVE_SYSTEM = MediaSystem(
    path=STICK.path, build="0123456789abcdef", version="0.1.0", built=BUILT, size=200 << 20, booted=True
)
"""The system that a recovery drive gets."""
WHOLE = BootState(state=bootcheck.State.GOOD, done=200 << 20, total=200 << 20, built=BUILT)
EFI_PART = Part(number=2, start=190 << 20, end=200 << 20, name="EFI")


def make_medium(path: str, *, size: int = 32 * GB, images: int = 0, built: str = "2025-10-01T08:00:00Z") -> Medium:
    """A recovery drive, with a partition for images where they have bytes."""
    part = Part(number=3, start=384 << 20, end=(384 << 20) + images, name="RESCUE-IMAGES") if images else None
    about = About(format=1, version="0.0.9", build="fedcba9876543210", built=built, flavour="generic")
    return Medium(path=path, size=size, about=about, needed=200 << 20, system=200 << 20, efi=EFI_PART, images=part)


def drive_table(images: int = 0) -> PartitionTable:
    """The table of a recovery drive."""
    parts = [
        Partition(number=1, start=64 << 10, size=189 << 20, type=LINUX_TYPE, content=Content(kind="iso9660")),
        Partition(number=2, start=190 << 20, size=10 << 20, type=EFI_TYPE, content=Content(kind="vfat")),
    ]
    if images:
        content = Content(kind="ext4", usage="filesystem", label="RESCUE-IMAGES")
        parts.append(Partition(number=3, start=384 << 20, size=images, type=LINUX_TYPE, content=content))
    return PartitionTable(kind=TableKind.GPT, table_id="22222222-2222-3333-4444-555555555555", partitions=tuple(parts))


BLANK_STICK = make_disk("sde", size=64 * GB, model="Cruzer", serial="4C99", transport="usb", table=EMPTY)
OLD_DRIVE = make_disk(
    "sdf", size=32 * GB, model="DataTraveler", serial="E0D5", transport="usb", table=drive_table(30 * GB)
)
TINY = make_disk("sdg", size=128 << 20, model="Mini", serial="77", transport="usb", table=EMPTY)
