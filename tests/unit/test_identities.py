"""New ids for a clone: how they are told in files, in a partition table, and which images cannot have them."""

import struct
import uuid
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import cloning, gpt, namingfiles, tableedit
from imaging.disk import Content, TableKind
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.identities import HOST_NAME, NewIdentity, NotRenamed, References, host_name_in, hosts_with
from imaging.manifest import ImagedDisk
from imaging.plan import decode, encode
from imaging.restoreplans import PartitionTarget, RestorePlan, RestoreTarget
from tests.unit.builders import MIB, a_disk, a_partition, a_source

OLD, NEW = "0a1b2c3d-1111-4222-8333-abcdefabcdef", "f00df00d-9999-4888-8777-fedcbafedcba"
FAT, NEW_FAT = "ABCD-1234", "00EF-9A7C"
SIGNED, NEW_SIGNED = "1234abcd-02", "9876fedc-02"
_ALL = References.to({OLD: NEW, FAT: NEW_FAT, SIGNED: NEW_SIGNED})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"UUID={OLD} / ext4", f"UUID={NEW} / ext4"),
        (f'UUID="{OLD.upper()}"', f'UUID="{NEW.upper()}"'),
        (f"--id 'gnulinux-simple-{OLD}'", f"--id 'gnulinux-simple-{NEW}'"),
        (f"gnulinux-6.1-advanced-{OLD}>x", f"gnulinux-6.1-advanced-{NEW}>x"),
        (f"/dev/disk/by-uuid/{FAT}", f"/dev/disk/by-uuid/{NEW_FAT}"),
        (f"UUID={FAT.lower()}", f"UUID={NEW_FAT.lower()}"),
        (f"root=PARTUUID={SIGNED}", f"root=PARTUUID={NEW_SIGNED}"),
        (
            rf"What=/dev/disk/by\x2duuid/{OLD}".replace("-", r"\x2d"),
            rf"What=/dev/disk/by\x2duuid/{NEW}".replace("-", r"\x2d"),
        ),
        (f"search --fs-uuid {OLD}\nresume=UUID={OLD}", f"search --fs-uuid {NEW}\nresume=UUID={NEW}"),
    ],
)
def test_every_way_to_name_a_disk_is_told_the_new_id(before: str, after: str) -> None:
    assert _ALL.replaced(before.encode()) == after.encode()


@pytest.mark.parametrize(
    "text",
    [f"{OLD}0", f"a{OLD}", f"UUID={FAT}5", f"-{FAT}-", f"12345678-{FAT}-1234-abcdefabcdef", f"x{SIGNED}", f"{SIGNED}1"],
)
def test_what_is_a_part_of_another_word_stays(text: str) -> None:
    assert _ALL.replaced(text.encode()) == text.encode()


@given(st.binary(), st.binary())
def test_a_file_keeps_its_size_and_all_bytes_around(before: bytes, after: bytes) -> None:
    data = before + b" " + OLD.encode() + b" " + after
    new = _ALL.replaced(data)
    assert len(new) == len(data)
    assert NEW.encode() in new


def test_nothing_is_found_without_ids_and_other_forms_are_refused() -> None:
    assert References.to({}).replaced(b"anything") == b"anything"
    with pytest.raises(ValueError, match="another form"):
        References.to({OLD: FAT})


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("LABEL=root / ext4 defaults", "LABEL=root"),
        ("/dev/disk/by-label/root / ext4", "/dev/disk/by-label/root"),
        ("  /dev/sda2 none swap sw", "/dev/sda2"),
        ("cryptswap /dev/sda5 /dev/urandom swap", "/dev/sda5"),
        ("/dev/disk/by-id/ata-x-part1 /home xfs defaults", "/dev/disk/by-id/ata-x-part1"),
        ("options quiet root=PARTLABEL=root ro", "PARTLABEL=root"),
        ("\tlinux /vmlinuz root=/dev/nvme0n1p2 ro", "/dev/nvme0n1p2"),
        ("# LABEL=root / ext4", ""),
        ("LABEL=stick /mnt auto defaults", ""),
        ("/dev/sdb1 /media/usb0 auto rw,user,noauto 0 0", ""),
        ("/dev/sr0 /media/cdrom0 udf user 0 0", ""),
        (f"UUID={OLD} / ext4 defaults", ""),
        ("set root='hd0,gpt2'", ""),
    ],
)
def test_what_could_mean_the_original_as_well_is_found(line: str, name: str) -> None:
    found = References.to({OLD: NEW}, ["root", ""]).shared(f"UUID={OLD} /x ext4\n{line}\n".encode())
    assert found == ([name] if name else [])


def test_hosts_name_the_computer_alone_and_in_its_domain() -> None:
    text = "127.0.0.1\tlocalhost\n127.0.1.1\told.lan old\n10.0.0.1 older bold old-one\n"
    assert hosts_with(text, "old", "new") == text.replace("old.lan old", "new.lan new")
    assert hosts_with(text, "", "new") == text
    assert hosts_with("127.0.0.1 localhost\n", "localhost", "new") == "127.0.0.1 localhost\n"


def test_a_comment_is_no_part_of_a_computer_s_name() -> None:
    assert host_name_in("# by hand\n\n old\t\r\n#new\nnewer\n") == "old"
    assert host_name_in("# old\n") == host_name_in("") == ""


@pytest.mark.parametrize(
    ("name", "right"),
    [("pc-7", True), ("pc.lan", True), ("", False), ("-pc", False), ("a b", False), ("a" * 65, False)],
)
def test_names_of_computers(name: str, right: bool) -> None:
    assert bool(HOST_NAME.fullmatch(name)) is right


@pytest.mark.parametrize("sector", [512, 4096])
def test_both_copies_of_a_gpt_get_the_new_ids_and_nothing_else_changes(sector: int) -> None:
    size, parts = 64 * MIB, [uuid.UUID(int=i + 1) for i in range(2)]
    entries = b"".join(
        uuid.UUID(tableedit.LINUX_DATA).bytes_le + own.bytes_le + struct.pack("<QQQ", 300 + i, 300 + i, 5) + b"n\0" * 36
        for i, own in enumerate(parts)
    ).ljust(128 * 128, b"\0")
    fields = [gpt.SIGNATURE, 0x10000, 92, 0, 0, 1, 0, 34, 0, bytes(16), 2, 128, 128, zlib.crc32(entries)]
    layout = struct.Struct("<8sIIIIQQQQ16sQIII")
    fields[3] = zlib.crc32(layout.pack(*fields))
    mbr = bytes(446) + bytes(4) + b"\xee" + bytes(59) + b"\x55\xaa"
    before = gpt.relocate(
        mbr.ljust(sector, b"\0"), layout.pack(*fields).ljust(sector, b"\0"), entries, size=size, sector=sector
    )
    own, new = str(uuid.uuid4()), str(uuid.uuid4())
    after = tableedit.with_new_ids(before, own, {2: new}, kind="gpt", sector=sector)
    assert [(at, len(data)) for at, data in after] == [(at, len(data)) for at, data in before]
    assert dict(after)[0] == dict(before)[0]
    for at in (sector, (size // sector - 1) * sector):
        header = dict(after)[at]
        found = gpt.parse_header(header, copy=at != sector)
        assert uuid.UUID(bytes_le=header[56:72]) == uuid.UUID(own)
        table = gpt.parse_entries(found, dict(after)[found.entries_at * sector])
        assert [entry.uuid for entry in table] == [str(parts[0]), new]
        assert [(entry.first, entry.name) for entry in table] == [(300, "n" * 36), (301, "n" * 36)]
    with pytest.raises(BadImageError):
        tableedit.with_new_ids(before[2:], own, {2: new}, kind="gpt", sector=sector)


def test_an_mbr_gets_a_signature() -> None:
    before = [(512, b"x" * 512), (0, bytes(510) + b"\x55\xaa")]
    after = tableedit.with_new_ids(before, "0x1234abcd", {}, kind="dos", sector=512)
    assert after[0] == before[0]
    assert after[1][1] == bytes(0x1B8) + bytes.fromhex("cdab3412") + bytes(510 - 0x1BC) + b"\x55\xaa"


_FIRST = a_partition(1, MIB, 100 * MIB)
_SECOND = a_partition(2, 101 * MIB, 200 * MIB)


def _source(*kinds: str, table: TableKind = TableKind.GPT, systems: tuple[str, ...] = ()) -> ImagedDisk:
    source = a_source(*zip((_FIRST, _SECOND), kinds, strict=False), kind=table)
    volumes = tuple(
        replace(v, content=replace(v.content, uuid=str(uuid.UUID(int=v.number))), system=system)
        for v, system in zip(source.volumes, (*systems, "", ""), strict=False)
    )
    parts = tuple(replace(p, uuid=str(uuid.UUID(int=77 + p.number))) for p in source.table.partitions)
    return replace(source, volumes=volumes, table=replace(source.table, partitions=parts, table_id="0x1234abcd"))


def _plan(source: ImagedDisk) -> RestorePlan:
    return RestorePlan(library="/l", image="i", targets=(RestoreTarget(source=source, target=a_disk(path="/dev/sdb")),))


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The tools that are installed: all of them."""
    there = {tool for needed in cloning.TOOLS.values() for tool in needed}
    monkeypatch.setattr(cloning, "find_tool", lambda name: name if name in there else None)
    return there


def _identity(source: ImagedDisk) -> NewIdentity:
    found = cloning.with_new_identity(_plan(source), "pc-7").identity
    assert found is not None
    return found


def test_everything_that_can_gets_an_id_and_what_cannot_is_named() -> None:
    found = _identity(_source("ext4", "f2fs"))
    assert [(one.number, one.kind, one.old) for one in found.volumes] == [(1, "ext4", str(uuid.UUID(int=1)))]
    assert found.kept == (NotRenamed(number=2, kind="f2fs", why="no tool here can change its id"),)
    assert [one.old for one in found.partitions] == [str(uuid.UUID(int=78)), str(uuid.UUID(int=79))]
    assert len({found.new_table, *(one.new for one in (*found.volumes, *found.partitions))}) == 4
    assert found.host_name == "pc-7"
    plan = cloning.with_new_identity(_plan(_source("ext4", "swap")))
    assert decode(encode(plan)) == plan


@pytest.mark.parametrize("kind", ["vfat", "exfat", "ntfs"])
def test_short_ids_have_the_form_of_old_ones(kind: str) -> None:
    source = _source(kind)
    old = "0123456789ABCDEF" if kind == "ntfs" else FAT
    volume = replace(source.volumes[0], content=replace(source.volumes[0].content, uuid=old))
    (one,) = _identity(replace(source, volumes=(volume,), table=replace(source.table, partitions=(_FIRST,)))).volumes
    assert References.to({one.old: one.new}).replaced(old.encode()) == one.new.encode()


def test_partitions_of_an_mbr_follow_its_signature() -> None:
    found = _identity(_source("ext4", "swap", table=TableKind.MBR))
    assert [one.old for one in found.partitions] == ["1234abcd-01", "1234abcd-02"]
    assert [one.new for one in found.partitions] == [f"{found.new_table[2:]}-0{i}" for i in (1, 2)]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (_source("ntfs", systems=("Windows",)), "Windows' boot settings"),
        (_source("ext4", "BitLocker"), "Windows' boot settings"),
        (_source("ext4", "LVM2_member"), "partition 2 belongs to LVM"),
        (_source("ext4", "swsuspend"), "is hibernated"),
        (_source("ext4", "linux_raid_member"), "partition 2 belongs to a RAID array"),
        (_source("ext4", "crypto_LUKS"), "may be in what is encrypted"),
        (_source("ext4", "f2fs", systems=("", "Debian")), "stands on f2fs"),
    ],
)
def test_what_would_not_start_or_be_mistaken_is_refused(source: ImagedDisk, why: str) -> None:
    with pytest.raises(RefusedError, match=why) as caught:
        cloning.with_new_identity(_plan(source))
    assert caught.value.code == "cannot-renew"


def test_an_active_partition_of_ntfs_may_be_windows_though_the_image_does_not_say_so() -> None:
    source = _source("ntfs", table=TableKind.MBR)
    assert _identity(source).volumes[0].kind == "ntfs"
    first, *others = source.table.partitions
    active = replace(source.table, partitions=(replace(first, bootable=True), *others))
    with pytest.raises(RefusedError, match="Windows may start from it"):
        cloning.with_new_identity(_plan(replace(source, table=active)))


def test_a_data_partition_that_is_encrypted_gets_an_id_beside_a_system_that_is_not() -> None:
    assert [one.kind for one in _identity(_source("ext4", "crypto_LUKS", systems=("Debian",))).volumes] == [
        "ext4",
        "crypto_LUKS",
    ]


def test_a_part_of_windows_or_of_an_image_is_refused() -> None:
    source = _source("ext4", "swap")
    reserved = replace(_SECOND, type="E3C9E316-0B5C-4DB8-817D-F92DF00215AE")
    with pytest.raises(RefusedError, match="Windows"):
        cloning.with_new_identity(_plan(replace(source, table=replace(source.table, partitions=(_FIRST, reserved)))))
    with pytest.raises(RefusedError, match="only some"):
        cloning.with_new_identity(_plan(replace(source, volumes=source.volumes[:1])))
    same = tuple(replace(v, content=replace(v.content, uuid=OLD)) for v in source.volumes)
    with pytest.raises(RefusedError, match="bear one id"):
        cloning.with_new_identity(_plan(replace(source, volumes=same)))


def test_only_one_whole_disk_gets_an_identity() -> None:
    plan = _plan(_source("ext4"))
    (pair,) = plan.targets
    spot = PartitionTarget(volume=1, partition=1, start=MIB, size=MIB)
    for targets in ((pair, pair), (RestoreTarget(source=pair.source, target=pair.target, partitions=(spot,)),)):
        with pytest.raises(UsageError):
            cloning.with_new_identity(RestorePlan(library="/l", image="i", targets=targets))
    with pytest.raises(UsageError, match="name"):
        cloning.with_new_identity(plan, "no name")


def test_a_tool_that_is_missing_is_named(tools: set[str]) -> None:
    tools.remove("swaplabel")
    with pytest.raises(RefusedError, match="swaplabel is not installed"):
        cloning.with_new_identity(_plan(_source("ext4", "swap")))


def test_a_plan_that_was_shown_for_another_image_is_refused() -> None:
    plan = cloning.with_new_identity(_plan(_source("ext4", "swap")), "pc")
    cloning.refuse_unless_same(plan)
    other = _plan(_source("ext4", "ext4"))
    with pytest.raises(RefusedError, match="as it was shown"):
        cloning.refuse_unless_same(RestorePlan(library="/l", image="i", targets=other.targets, identity=plan.identity))


def test_a_disk_that_bears_an_id_of_the_image_is_like_it() -> None:
    plan = _plan(_source("ext4", "swap"))
    part = replace(_FIRST, content=Content(kind="ext4", uuid=str(uuid.UUID(int=1))))
    twin, target = a_disk(path="/dev/sda"), plan.targets[0].target
    twin = replace(twin, table=replace(twin.table, partitions=(part,)))
    assert cloning.alike(plan, [target, twin, a_disk(path="/dev/sdc")]) == (twin,)


def test_a_signed_program_is_known() -> None:
    image = bytearray(512)
    struct.pack_into("<I", image, 0x3C, 64)
    struct.pack_into("<H", image, 64 + 24, 0x20B)
    assert not namingfiles.is_signed(bytes(image))
    struct.pack_into("<II", image, 64 + 24 + 112 + 32, 400, 8)
    assert namingfiles.is_signed(bytes(image))
    assert not namingfiles.is_signed(b"MZ")
