"""The disks of a computer that exists only in memory, and how they are."""

from imaging.disk import Content, Disk, DiskId, Mount, Partition, PartitionTable, Role, TableKind
from imaging.elsewhere import Attached
from imaging.health import Condition, Health
from imaging.manifest import Machine

GB = 1000**3
EFI_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
HERE = Machine(vendor="Dell Inc.", model="OptiPlex 7050", serial="ABC1234", firmware="uefi", hostname="office")


def make_table(size: int = 500 * GB) -> PartitionTable:
    """An EFI system partition and an ext4 root."""
    return PartitionTable(
        kind=TableKind.GPT,
        table_id="11111111-2222-3333-4444-555555555555",
        partitions=(
            Partition(
                number=1,
                start=1 << 20,
                size=512 << 20,
                type=EFI_TYPE,
                name="EFI",
                content=Content(kind="vfat", usage="filesystem", label="EFI"),
            ),
            Partition(
                number=2,
                start=513 << 20,
                size=size - (514 << 20),
                type=LINUX_TYPE,
                name="root",
                content=Content(kind="ext4", usage="filesystem", label="debian"),
            ),
        ),
    )


def make_disk(
    name: str = "sda",
    *,
    size: int = 500 * GB,
    model: str = "Samsung SSD 870",
    serial: str = "S5Y1NX0R",
    table: PartitionTable | None = None,
    mounts: tuple[Mount, ...] = (),
    roles: tuple[Role, ...] = (),
    transport: str = "sata",
    fingerprint: str = "00ff",
    unfinished: str = "",
    problem: str = "",
    regular_file: bool = False,
) -> Disk:
    """A disk with the common table, unless told otherwise."""
    return Disk(
        path=f"/dev/{name}",
        id=DiskId(size=size, model=model, serial=serial),
        table=make_table(size) if table is None else table,
        mounts=mounts,
        roles=roles,
        transport=transport,
        fingerprint=fingerprint,
        unfinished=unfinished,
        problem=problem,
        regular_file=regular_file,
    )


EMPTY = PartitionTable(kind=TableKind.NONE)
SDA = make_disk()
SDB = make_disk("sdb", size=2000 * GB, model="WDC WD20EZRZ", serial="WD-77", table=EMPTY)
STICK = make_disk(
    "sdc", size=32 * GB, model="Ultra Fit", serial="4C53", transport="usb", roles=(Role.BOOT_MEDIUM, Role.LIBRARY)
)
BUSY = make_disk("sdd", serial="B1", mounts=(Mount(source="/dev/sdd2", where="/srv/data"),))

ATTACHED = (
    Attached(disk=BUSY, number=2, size=499 * GB, content=Content(kind="ext4", label="data"), mounted_at="/srv/data"),
    Attached(disk=SDA, number=2, size=499 * GB, content=Content(kind="ext4", label="debian")),
    Attached(disk=SDB, number=1, size=2000 * GB, content=Content(kind="crypto_LUKS"), why_not="it is encrypted"),
)

NO_HEALTH = Health(condition=Condition.UNKNOWN, reasons=("it keeps no health log",))
GOOD_HEALTH = Health(condition=Condition.GOOD, temperature=31, power_on_hours=8734, rotation=0)
FAILING_HEALTH = Health(
    condition=Condition.FAILING,
    reasons=("sectors that cannot be read: 312", "bad sectors that it replaced by spare ones: 1,432"),
    temperature=38,
    power_on_hours=44801,
    power_cycles=2210,
    reallocated=1432,
    pending=312,
    uncorrectable=256,
    rotation=5400,
    firmware="80.00A80",
)
