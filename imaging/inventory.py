"""The disks of this machine and what stands on them, through pyudev, sysfs, sfdisk and blkid.

Regular files are looked at in the same way and can stand wherever a disk can.
"""

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pyudev

from imaging import erasing, filesystems, marks, ownmark, sanitizers, sfdisk, unfinished
from imaging.blockdev import (
    is_block_device,
    is_locked,
    is_read_only,
    open_for_reading,
    read,
    real_path,
    sector_sizes,
    size_of,
)
from imaging.decodable import decodable
from imaging.disk import DISK_FILE, Content, Disk, DiskId, Mount, Partition, PartitionTable, Role, TableKind
from imaging.durable import reading
from imaging.errors import IoError, RescueError, UsageError
from imaging.manifest import Machine
from imaging.mounts import (
    backing_file,
    disks_beneath,
    disks_beneath_path,
    partitions_beneath,
    partitions_beneath_path,
    read_mounts,
)
from imaging.run import find_tool, run
from imaging.unfinished import NOTHING, Manner

MEDIUM = "/run/rescue/medium"
NETWORK_BOOT = Path("/run/rescue/network-boot.json")
"""Written by the initramfs where it fetched the live system: live-image/root/initramfs/network."""
"""Where the live system mounts the stick that it was booted from."""
_SYSTEM_MOUNTS = {"/", "/usr", "/boot", "/boot/efi", "/var", "/home"}
_NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtdblock")
_BOOT_SECTORS = ("vfat", "exfat", "ntfs")
_SETTLE = 15
"""Seconds: a drive that hangs must not hide the others."""
_LOOKS, _BETWEEN_LOOKS = 4, 0.05
"""Another program that looks in this very way at a disk holds it for a moment."""


def scan(libraries: Iterable[Path] = ()) -> tuple[Disk, ...]:
    """All disks of this machine, by name; those that hold one of `libraries` are marked. Takes up to some seconds.

    Raises IoError where it cannot be known which disk holds a library.
    """
    settle()
    surroundings = _survey(libraries)
    devices = pyudev.Context().list_devices(subsystem="block", DEVTYPE="disk")
    found = [d for d in devices if not d.sys_name.startswith(_NOT_DISKS) and _sysfs_int(d, "size")]
    return tuple(_look_at_device(d, surroundings) for d in sorted(found, key=lambda d: (len(d.sys_name), d.sys_name)))


def settle() -> None:
    """Wait until udev has looked at the devices that the kernel found; at start that takes it some seconds."""
    if find_tool("udevadm") and Path("/run/udev/control").exists():
        run(["udevadm", "settle", f"--timeout={_SETTLE}"], accept=(0, 1))


def look(path: str, libraries: Iterable[Path] = ()) -> Disk:
    """One disk, by its device or as a regular file.

    Raises UsageError where there is no such thing or it is a partition, RefusedError where it may not be read, IoError
    where it cannot even be looked at; a disk that can, but not be read, has a `problem`.
    """
    with reading(path):
        return _look(path, libraries)


def _look(path: str, libraries: Iterable[Path]) -> Disk:
    real = str(real_path(path))
    if not Path(real).exists():
        raise UsageError(
            f"{path}: there is no such disk or file", code="no-such-disk", hint="`rescue disks` lists the disks"
        )
    surroundings = _survey(libraries)
    if is_block_device(real):
        device = pyudev.Devices.from_device_file(pyudev.Context(), real)
        if device.properties.get("DEVTYPE") == "partition":
            raise UsageError(
                f"{path} is a partition; give the whole disk, {device.parent.device_node}",
                code="not-a-whole-disk",
                hint=f"for this partition alone, add --partition {device.properties.get('PARTN', 'N')}",
            )
        return _look_at_device(device, surroundings)
    if not Path(real).is_file():
        raise UsageError(f"{path} is neither a disk nor a regular file", code="not-a-disk")
    return _look_at_file(real, surroundings)


def medium() -> Disk | None:
    """The disk that this recovery system was started from; None where it is installed, or its medium is not known."""
    beneath = [disks_beneath(device) for device, mount in read_mounts() if mount.where == MEDIUM]
    names = sorted(set().union(*beneath))
    return look(f"/dev/{names[0]}") if names else None


@decodable
class _NetworkBoot(msgspec.Struct, frozen=True):
    url: str


def network_boot() -> str:
    """The address that this recovery system was fetched from; empty where it was started from a medium or is installed.

    Raises IoError where what the start left cannot be read.
    """
    try:
        return msgspec.json.decode(NETWORK_BOOT.read_bytes(), type=_NetworkBoot).url
    except FileNotFoundError:
        return ""
    except (OSError, msgspec.DecodeError) as error:
        raise IoError(f"{NETWORK_BOOT} cannot be read: {error}", code="bad-state") from error


def machine() -> Machine:
    """This computer, from DMI; fields that are not known, or are a vendor's filler, stay empty."""

    def dmi(name: str) -> str:
        try:
            value = Path("/sys/class/dmi/id", name).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
        return "" if value.lower() in ("none", "not specified", "to be filled by o.e.m.", "default string") else value

    return Machine(
        vendor=dmi("sys_vendor"),
        model=dmi("product_name"),
        serial=dmi("product_serial"),
        firmware="uefi" if Path("/sys/firmware/efi").is_dir() else "bios",
        hostname=os.uname().nodename,
    )


_Place = tuple[int, int]
"""What is the same under all names of a file or a device node: hard links, bind mounts."""


def _place(path: str) -> _Place | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (0, status.st_rdev) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """What the running system uses, read once for a whole scan; keys of mounts and roles are kernel names of disks."""

    mounts: Mapping[str, Sequence[Mount]]
    loops: Mapping[_Place, Sequence[str]]
    roles: Mapping[str, Sequence[Role]]
    grounds: Mapping[str, set[str]]
    """Kernel names of the partitions (or of whole disks) that the roles of a disk come from."""

    def standing_on(self, path: str) -> Sequence[str]:
        """The loop devices in use that a file or device lies beneath."""
        place = _place(path)
        return self.loops.get(place, ()) if place else ()


def _survey(libraries: Iterable[Path]) -> _Surroundings:
    mounts: dict[str, list[Mount]] = {}
    roles: dict[str, list[Role]] = {}
    grounds: dict[str, set[str]] = {}

    def mark(disks: set[str], parts: set[str], role: Role) -> None:
        for disk in disks:
            grounds.setdefault(disk, set()).update(parts)
            if role not in roles.setdefault(disk, []):
                roles[disk].append(role)

    for device, mount in read_mounts():
        beneath, parts = disks_beneath(device), partitions_beneath(device)
        for disk in beneath:
            mounts.setdefault(disk, []).append(_printable(mount, parts))
        if mount.where == MEDIUM:
            mark(beneath, parts, Role.BOOT_MEDIUM)
        elif mount.where in _SYSTEM_MOUNTS:
            mark(beneath, parts, Role.SYSTEM)
    for library in libraries:
        with reading(library):
            beneath, parts = disks_beneath_path(library.resolve()), partitions_beneath_path(library.resolve())
        mark(beneath, parts, Role.LIBRARY)
    return _Surroundings(mounts=mounts, loops=_loops(mounts), roles=roles, grounds=grounds)


def _printable(mount: Mount, parts: set[str]) -> Mount:
    """Names of folders are bytes to the kernel; what is shown and stored in plans is UTF-8."""
    where = mount.where.encode(errors="surrogateescape").decode(errors="backslashreplace")
    others = () if parts == {mount.source.removeprefix("/dev/")} else tuple(sorted(parts))
    return replace(mount, where=where, beneath=others)


def _loops(mounts: Mapping[str, Sequence[Mount]]) -> dict[_Place, list[str]]:
    """Loop devices in use, by what backs them. One that is read-only and not mounted disturbs nobody."""
    found: dict[_Place, list[str]] = {}
    for node in Path("/sys/block").glob("loop*"):
        try:
            file = backing_file(node)
            idle = (node / "ro").read_text().strip() == "1" and not any((node / "holders").iterdir())
        except OSError:
            continue
        backing = _place(str(file)) if file else None
        if backing and (not idle or node.name in mounts):
            found.setdefault(backing, []).append(node.name)
    return found


def _sysfs_int(device: pyudev.Device, name: str) -> int:
    value = device.attributes.get(name) or b"0"
    try:
        return int(value)
    except ValueError:
        return 0


def _attribute(device: pyudev.Device, *names: str) -> str:
    for name in names:
        value = device.attributes.get(name)
        if value and value.strip():
            return str(value.decode(errors="replace")).strip()
    return ""


def _look_at_device(device: pyudev.Device, surroundings: _Surroundings) -> Disk:
    name, node = device.sys_name, device.device_node
    sysfs = Path(device.sys_path)
    nodes = [sysfs, *(child for child in sysfs.iterdir() if (child / "partition").exists())]
    holders = [h.name for n in nodes if (n / "holders").is_dir() for h in (n / "holders").iterdir()]
    loops = [loop for n in nodes for loop in surroundings.standing_on(f"/dev/{n.name}")]
    bare = Disk(
        path=node,
        id=DiskId(
            size=_sysfs_int(device, "size") * 512,
            model=_udev_text(device, "ID_MODEL_ENC", "ID_MODEL") or _attribute(device, "device/model"),
            serial=device.properties.get("ID_SERIAL_SHORT") or _attribute(device, "device/serial", "serial"),
            wwn=device.properties.get("ID_WWN_WITH_EXTENSION")
            or device.properties.get("ID_WWN")
            or _attribute(device, "wwid", "device/wwid"),
        ),
        table=PartitionTable(kind=TableKind.NONE),
        transport=_transport(device),
        removable=_sysfs_int(device, "removable") == 1,
        mounts=tuple(surroundings.mounts.get(name, ())),
        holders=tuple(sorted({*holders, *loops})),
        roles=tuple(surroundings.roles.get(name, ())),
    )
    found = _look_inside(bare)
    return replace(found, kept=_kept(found, surroundings.grounds.get(name, set())))


def _kept(disk: Disk, ground: set[str]) -> int:
    """The number of the computer's own recovery partition, where all of the disk's roles come from that one; else 0."""
    own = (p.number for p in disk.table.partitions if p.recovery and ground == {disk.partition_name(p.number)})
    return next(own, 0)


def _udev_text(device: pyudev.Device, encoded: str, plain: str) -> str:
    """udev writes spaces as \\x20 in the encoded form and as underscores in the plain one."""
    value = device.properties.get(encoded) or ""
    if value:
        return value.encode().decode("unicode_escape", errors="replace").strip()
    return (device.properties.get(plain) or "").replace("_", " ").strip()


def _transport(device: pyudev.Device) -> str:
    path = device.sys_path
    for part, transport in (
        ("/usb", "usb"),
        ("/nvme", "nvme"),
        ("/mmc", "mmc"),
        ("/virtio", "virtio"),
        ("/ata", "ata"),
    ):
        if part in path:
            return transport
    return device.properties.get("ID_BUS") or ("scsi" if "/host" in path else "")


def _look_at_file(path: str, surroundings: _Surroundings) -> Disk:
    status = Path(path).stat()
    bare = Disk(
        path=path,
        id=DiskId(size=status.st_size, model=DISK_FILE, wwn=f"file-{status.st_dev:x}-{status.st_ino:x}"),
        table=PartitionTable(kind=TableKind.NONE),
        transport="file",
        read_only=not os.access(path, os.W_OK),
        regular_file=True,
        holders=tuple(surroundings.standing_on(path)),
        mounts=tuple(m for loop in surroundings.standing_on(path) for m in surroundings.mounts.get(loop, ())),
    )
    return _look_inside(bare)


def _look_inside(disk: Disk) -> Disk:
    """Fill in what can only be known by reading the disk; what cannot be read becomes the disk's `problem`."""
    if not disk.regular_file and erasing.is_erasing(disk.path):
        return replace(disk, problem="a job has it erase itself: it can be read once it is done")
    try:
        fd = open_for_reading(disk.path)
    except RescueError as error:
        return replace(disk, problem=error.message)
    try:
        disk = replace(disk, holders=disk.holders or _unknown_holder(disk, fd))
        if not disk.regular_file:
            logical, physical = sector_sizes(fd)
            disk = replace(
                disk,
                logical_sector=logical,
                physical_sector=physical,
                read_only=is_read_only(fd),
                id=_sized(disk.id, fd),
            )
        else:
            logical = sfdisk.sector_size_of_file(disk.path)
            disk = replace(disk, logical_sector=logical, physical_sector=logical)
        sector = _first_sector(fd)  # first: a drive that is locked would refuse hundreds of reads
        mark, failing = marks.ends(fd)
        disk = replace(
            disk,
            fingerprint=mark,
            failing=failing,
            unfinished=unfinished.parse(sector),
            saved=unfinished.parse_saved(sector),
            keeps=unfinished.parse_keeps(sector),
            manner=unfinished.parse_manner(sector),
        )
        table = _unless_boot_sector(disk, sfdisk.read_table(disk.path, disk.logical_sector), fd)
        table = with_contents(disk, table, fd)
        manner = disk.manner if disk.unfinished else _manner_of_partitions(table, fd)
        return replace(disk, table=table, content=_bare_content(disk, table), manner=manner)
    except RescueError as error:
        return replace(disk, problem=sanitizers.why_unreadable(disk) or error.message)
    finally:
        os.close(fd)


def _unknown_holder(disk: Disk, fd: int) -> tuple[str, ...]:
    """Who holds a disk that no mount and no device is known to stand on, as far as words go.

    The kernel names no holder of a btrfs' further devices, of ZFS' members, or of external journals.
    """
    if disk.regular_file:
        return ("another program",) if is_locked(fd) else ()
    if disk.mounts or not _is_held(disk.path):
        return ()
    return ("another user of the device",)


def _is_held(path: str) -> bool:
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_LOOKS)
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
            return False
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
    return True


def _sized(identity: DiskId, fd: int) -> DiskId:
    return replace(identity, size=size_of(fd))


def _unless_boot_sector(disk: Disk, table: PartitionTable, fd: int) -> PartitionTable:
    """No table where what sfdisk takes for an MBR is the boot sector of a file system on the bare disk.

    FAT, exFAT and NTFS end theirs with an MBR's signature; in place of partitions stand zeros, code or messages. The
    kernel tells them apart by the boot indicators, too: block/partitions/msdos.c.
    """
    if table.kind is not TableKind.MBR:
        return table
    possible = all(flag in (0, 0x80) for flag in read(fd, 64, 446)[::16])
    if possible and table.partitions and all(p.end <= disk.size for p in table.partitions):
        return table
    bare = filesystems.probe(disk.path).kind in _BOOT_SECTORS
    return PartitionTable(kind=TableKind.NONE) if bare else table


def _bare_content(disk: Disk, table: PartitionTable) -> Content:
    if table.kind is not TableKind.NONE or not disk.size:
        return Content()
    return filesystems.probe(disk.path)


def with_contents(disk: Disk, table: PartitionTable, fd: int) -> PartitionTable:
    """The table with what stands on its partitions, of a disk that is open; raises IoError."""
    held = {p.number for p in sfdisk.volumes(table)}
    return replace(
        table,
        partitions=tuple(
            _with_marks(table, replace(p, content=filesystems.probe(disk.path, p.start, p.size)), fd)
            if p.number in held and p.size and p.end <= disk.size
            else p
            for p in table.partitions
        ),
    )


def _with_marks(table: PartitionTable, part: Partition, fd: int) -> Partition:
    """A restore into it that was not finished, and whether it is the computer's own recovery partition.

    One partition that cannot be read does not hide the others.
    """
    begun = saved = recovery = ""
    with suppress(IoError):
        sector = _first_sector(fd, part.start)
        begun, saved = unfinished.parse(sector), unfinished.parse_saved(sector)
        if ownmark.may_be_one(table, part):
            found = ownmark.parse(read(fd, ownmark.SIZE, part.start + ownmark.place(part.size)), part.size)
            recovery = found if ownmark.is_ours(part, found) else ""
    return replace(part, unfinished=begun, saved=saved, recovery=recovery)


def _manner_of_partitions(table: PartitionTable, fd: int) -> Manner:
    """How the restore was to be done whose mark stands in the first of the partitions that bear one."""
    begun = next((part for part in table.partitions if part.unfinished), None)
    return NOTHING if begun is None else unfinished.parse_manner(_first_sector(fd, begun.start))


def _first_sector(fd: int, at: int = 0) -> bytes:
    """Where the mark of a restore that was cut off would stand; empty where the disk ends before its end."""
    return read(fd, unfinished.SIZE, at) if size_of(fd) >= at + unfinished.SIZE else b""
