"""Plans of a restore beside the original: which new ids its disk, partitions and file systems get, and why others none.

Refused where a system could not be told of them: what is encrypted is not looked into, LVM and RAID are put together
by ids that no tool changes while they are not in use, and Windows' own boot settings name the disk.
"""

import secrets
import uuid
from collections.abc import Iterable, Iterator, Sequence

from msgspec import structs

from imaging.disk import Disk, PartitionRole, TableKind
from imaging.errors import RefusedError, UsageError
from imaging.identities import HOST_NAME, NewIdentity, NotRenamed, Renamed
from imaging.manifest import ImagedDisk, Machine, Volume
from imaging.restoreplans import RestorePlan
from imaging.run import find_tool

LUKS = "crypto_LUKS"
TOOLS: dict[str, tuple[str, ...]] = {
    "ext2": ("tune2fs", "e2fsck"),
    "ext3": ("tune2fs", "e2fsck"),
    "ext4": ("tune2fs", "e2fsck"),
    "xfs": ("xfs_db",),
    "btrfs": ("btrfstune",),
    "swap": ("swaplabel",),
    "vfat": ("fatlabel",),
    "exfat": ("exfatlabel",),
    "ntfs": ("ntfslabel",),
    LUKS: ("cryptsetup",),
}
"""What can be given a new id, each with the tools that it takes."""
_TOGETHER = {
    "LVM2_member": "LVM",
    "linux_raid_member": "a RAID array",
    "zfs_member": "ZFS",
    "bcache": "bcache",
    "isw_raid_member": "a RAID array",
    "ddf_raid_member": "a RAID array",
}
"""What the kernel, or the tools of a system, would take for a part of the original, by blkid's name."""
_EDITED = ("ext2", "ext3", "ext4", "xfs", "btrfs")
"""The file systems on which a system's files can be changed."""
_WINDOWS_TYPES = ("e3c9e316-0b5c-4db8-817d-f92df00215ae", "de94bba4-06d1-4d40-a16a-bfd50179d6ac")
"""What Microsoft has reserved, and Windows' recovery, in a GPT. Source: Microsoft, PARTITION_INFORMATION_GPT."""
_WINDOWS = ("Windows", "BitLocker")
_CODE = "cannot-renew"
_HINT = "restore it without --new-identity, and do not have both disks in one computer"
_SHORT = ("vfat", "exfat")


def with_new_identity(plan: RestorePlan, host_name: str = "") -> RestorePlan:
    """The plan, with new ids for its one disk and for what stands on it.

    Raises UsageError where it is not a plan of one whole disk of a library's image, RefusedError (code "cannot-renew")
    with the reason where that cannot be.
    """
    if len(plan.targets) != 1 or plan.targets[0].partitions or plan.foreign is not None:
        raise UsageError("a new identity is given where one whole disk is restored from a library", code="usage")
    if plan.keep is not None:
        raise UsageError("files of this computer are kept, or it becomes another one: not both", code="usage")
    if host_name and not HOST_NAME.fullmatch(host_name):
        raise UsageError(f"{host_name!r} cannot be a computer's name", code="bad-host-name")
    (pair,) = plan.targets
    why = why_not(pair.source)
    if pair.resectoring is not None:
        why = "the disk has sectors of another size than the image"
    if why:
        raise RefusedError(f"{pair.source.name} cannot get a new identity: {why}", code=_CODE, hint=_HINT)
    identity = _drawn(pair.source, host_name)
    refuse_unless_able(identity)
    return structs.replace(plan, identity=identity)


def why_not(source: ImagedDisk) -> str:
    """Why no new ids can be given to a disk of an image, in words; empty where they can."""
    kinds = {volume.content.kind: volume for volume in source.volumes if volume.content.kind}
    windows = any(volume.system.startswith(_WINDOWS) for volume in source.volumes) or "BitLocker" in kinds
    if windows or source.table.dynamic or any(p.type.lower() in _WINDOWS_TYPES for p in source.table.partitions):
        return "Windows' boot settings name the disk and its partitions, and it would not start any more"
    if any(_starts_windows(source, volume) for volume in source.volumes):
        return "Windows may start from it: its settings name the disk, and it would not start any more"
    if source.left_out:
        return "the image has only some of its partitions"
    if "swsuspend" in kinds:
        return "the system on it is hibernated, and would wake up with what it knew of its disk"
    for kind, what in _TOGETHER.items():
        if kind in kinds:
            return f"partition {kinds[kind].number} belongs to {what}, which would be taken for the original"
    for volume in source.volumes:
        if volume.system and volume.content.kind not in _EDITED:
            return (
                f"the system on partition {volume.number} stands on {volume.content.kind}, which is not written to here"
            )
    if LUKS in kinds and not any(volume.system for volume in source.volumes if volume.content.kind != LUKS):
        return "the system on it may be in what is encrypted, where its settings cannot be changed"
    ids = [volume.content.uuid.lower() for volume in _volumes(source)]
    if len(set(ids)) != len(ids):
        return "two file systems on it bear one id"
    return ""


def _starts_windows(source: ImagedDisk, volume: Volume) -> bool:
    """Whether a BIOS goes on to it, and it can be Windows' alone; not every image says which system is where."""
    active = {part.number for part in source.table.partitions if part.bootable}
    return source.table.kind is TableKind.MBR and volume.content.kind == "ntfs" and volume.number in active


def refuse_unless_able(identity: NewIdentity) -> None:
    """Raise RefusedError where a tool that is needed for the ids is not installed here."""
    for one in identity.volumes:
        for tool in TOOLS[one.kind]:
            if find_tool(tool) is None:
                raise RefusedError(
                    f"partition {one.number} cannot get a new id: {tool} is not installed",
                    code=_CODE,
                    hint="start the computer from the recovery stick, which has it",
                )


def refuse_unless_same(plan: RestorePlan) -> None:
    """Raise RefusedError where the ids that were shown are not those that the image's disk needs."""
    if plan.identity is None:
        return
    new = with_new_identity(structs.replace(plan, identity=None), plan.identity.host_name).identity
    if new is None or _outline(new) != _outline(plan.identity):
        raise RefusedError("the new identity would not be as it was shown", code="disk-changed")


def _outline(identity: NewIdentity) -> object:
    """All but the new ids, which are other ones each time; of these, their form."""
    return (
        identity.old_table,
        len(identity.new_table),
        [(one.number, one.kind, one.old, len(one.new)) for one in (*identity.volumes, *identity.partitions)],
        identity.kept,
    )


def alike(plan: RestorePlan, disks: Iterable[Disk]) -> Sequence[Disk]:
    """Of the disks that are attached, those that could be mistaken for the one that is restored: by an id or more."""
    if len(plan.targets) != 1:
        return ()
    (pair,) = plan.targets
    mine = {name for name in (pair.source.table.table_id, *(v.content.uuid for v in _volumes(pair.source))) if name}
    others = [disk for disk in disks if disk.path != pair.target.path and not disk.unfinished]
    return tuple(disk for disk in others if mine & set(_names(disk)))


def offered(plan: RestorePlan, made_on: Machine, here: Machine, disks: Iterable[Disk]) -> RestorePlan | None:
    """The plan with new ids, where somebody may well want them: beside the original, or for another computer.

    None elsewhere, and where there can be none.
    """
    elsewhere = made_on.serial and here.serial and made_on.serial != here.serial
    if not elsewhere and not alike(plan, disks):
        return None
    try:
        return with_new_identity(plan)
    except (RefusedError, UsageError):
        return None


def _names(disk: Disk) -> Iterator[str]:
    yield disk.table.table_id
    yield disk.content.uuid
    yield from (part.content.uuid for part in disk.table.partitions)


def _volumes(source: ImagedDisk) -> list[Volume]:
    return [volume for volume in source.volumes if volume.content.uuid]


def _drawn(source: ImagedDisk, host_name: str) -> NewIdentity:
    able = [v for v in source.volumes if v.content.uuid and v.content.kind in TOOLS]
    kept = [v for v in source.volumes if v.content.kind and v not in able]
    table, parts = _table(source)
    return NewIdentity(
        old_table=source.table.table_id,
        new_table=table,
        partitions=tuple(parts),
        volumes=tuple(
            Renamed(number=v.number, kind=v.content.kind, old=v.content.uuid, new=new_id(v.content.kind)) for v in able
        ),
        kept=tuple(NotRenamed(number=v.number, kind=v.content.kind, why=_why_kept(v)) for v in kept),
        host_name=host_name,
    )


def _why_kept(volume: Volume) -> str:
    return "no tool here can change its id" if volume.content.uuid else "it has none"


def _table(source: ImagedDisk) -> tuple[str, list[Renamed]]:
    """The new id of the table, and the new ones of its partitions."""
    parts = [part for part in source.table.partitions if part.role is not PartitionRole.EXTENDED]
    old = source.table.table_id
    match source.table.kind:
        case TableKind.GPT:
            new = [
                Renamed(number=part.number, kind="partition", old=part.uuid, new=str(uuid.uuid4()))
                for part in parts
                if part.uuid
            ]
            return str(uuid.uuid4()), new
        case TableKind.MBR:
            mine = f"0x{secrets.randbits(32) or 1:08x}"
            before, after = (f"{int(one or '0', 16):08x}" for one in (old, mine))
            new = [
                Renamed(
                    number=p.number, kind="partition", old=f"{before}-{p.number:02x}", new=f"{after}-{p.number:02x}"
                )
                for p in parts
            ]
            return mine, new
        case TableKind.NONE:
            return "", []


def new_id(kind: str) -> str:
    """An id by which blkid knows such a volume, drawn at random."""
    if kind in _SHORT:
        number = secrets.randbits(32) or 1
        return f"{number >> 16:04X}-{number & 0xFFFF:04X}"
    return secrets.token_hex(8).upper() if kind == "ntfs" else str(uuid.uuid4())
