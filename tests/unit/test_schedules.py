"""Schedules: what is written and read, systemd's units, what of a disk in use can be held still, and what cannot."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import nextboot, orders, schedules, scheduleunits, snapshots, stillness
from imaging.composed import Composed, Piece
from imaging.disk import Content, Mount, PartitionRole, TableKind
from imaging.errors import IoError, RefusedError, UsageError
from imaging.freezer import How
from imaging.lvmgroup import parse_group
from imaging.mounts import Beneath
from imaging.schedules import Keep, Schedule, ScheduledDisk, Way
from imaging.schedulestate import State, Success, is_overdue
from imaging.snapshots import Origin
from imaging.still import same_but_ours
from imaging.stillness import NOBODY, WHOLE, Still, Use
from tests.unit.builders import GIB, a_disk, a_partition, a_table

DISK = ScheduledDisk(size=GIB, model="Disk", serial="S1", wwn="0x5000")
WEEKLY = Schedule(library="/mnt/backup/images", since="2026-01-01T00:00:00Z", disk=(DISK,))


def test_a_schedule_is_read_as_it_was_written() -> None:
    full = Schedule(
        library="s3://bucket/images",
        every="Mon..Fri 12:30",
        overdue_days=4,
        since="2026-01-01T00:00:00Z",
        label='He said "now" \\ \x7f\n',
        level="small",
        check=True,
        way=Way.EITHER,
        next_boot_library="nfs://nas/images",
        passphrase_file="/etc/rescue/words",
        disk=(DISK, ScheduledDisk(size=2 * GIB)),
        keep=Keep(last=3, weekly=8),
    )
    for one in (WEEKLY, full):
        assert schedules.parse(schedules.render(one).encode(), "x") == one
    assert WEEKLY.keep.rule is None
    rule = full.keep.rule
    assert rule is not None and (rule.last, rule.weekly, rule.daily) == (3, 8, 0)


@given(st.text(max_size=100))
def test_any_label_survives(label: str) -> None:
    one = Schedule(library="/x", label=label.encode(errors="ignore").decode(), disk=(DISK,))
    assert schedules.parse(schedules.render(one).encode(), "x").label == one.label


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("version = 2", "line 2 cannot be understood: this program reads schedules that say version = 1"),
        ("libary = 'x'", "there is no key libary"),
        ("every = '; reboot'", "is not a calendar event of systemd"),
        ('every = "daily\\nUnit=x"', "is not a calendar event of systemd"),
        ("level = 'tiny'", "compression level tiny"),
        ("passphrase_file = 'words'", "passphrase_file needs a whole path"),
        ("keep = 3", "Expected `object`"),
        ("way = 'maybe'", "Invalid enum value"),
        ("overdue_days = 0", "overdue_days"),
    ],
)
def test_what_a_schedule_cannot_mean_is_refused(change: str, said: str) -> None:
    key = change.partition(" ")[0]
    lines = [line for line in schedules.render(WEEKLY).splitlines() if not line.startswith(f"{key} ")]
    lines = [line for line in lines if key != "keep" or (line != "[keep]" and "= 0" not in line)]
    lines.insert(1, change)
    with pytest.raises(UsageError) as error:
        schedules.parse("\n".join(lines).encode(), "schedule.toml")
    assert error.value.code == "bad-schedule"
    assert said in error.value.message


def test_units_start_the_program_when_nobody_needs_the_computer() -> None:
    units = scheduleunits.render(WEEKLY, ["/opt/a b/python", "-m", "rescue"], {"PYTHONPATH": "/opt/100%", "NONE": ""})
    service, timer = units["rescue-schedule.service"], units["rescue-schedule.timer"]
    assert 'ExecStart="/opt/a b/python" "-m" "rescue" "schedule" "run"' in service
    assert 'ExecStopPost=-"/opt/a b/python" "-m" "rescue" "schedule" "tidy"' in service
    assert 'Environment="PYTHONPATH=/opt/100%%"\nEnvironment="RESCUE_MODEST=1"' in service
    assert "NONE" not in service
    for line in ("ConditionACPower=true", "IOSchedulingPriority=7", "CPUSchedulingPolicy=batch", "Type=oneshot"):
        assert line in service.splitlines()
    for line in ("OnCalendar=weekly", "Persistent=true", "RandomizedDelaySec=1h", "WantedBy=timers.target"):
        assert line in timer.splitlines()
    assert set(units) == {"rescue-schedule.service", "rescue-schedule.timer"}


def test_a_secret_stands_in_no_unit_and_the_next_start_has_one_of_its_own() -> None:
    schedule = Schedule(library="/x", way=Way.EITHER, passphrase_file="/root/words", disk=(DISK,))
    units = scheduleunits.render(schedule, ["rescue"], {})
    assert set(units) == set(scheduleunits.NAMES)
    assert not any("words" in text for text in units.values())


def test_the_order_for_the_next_start_names_the_disk_and_comes_back() -> None:
    schedule = Schedule(library="/mnt/x", label="Weekly", way=Way.EITHER, next_boot_library="nfs://nas/i", disk=(DISK,))
    order = orders.parse(nextboot.render(schedule).encode(), "x")
    assert isinstance(order.work, orders.Capture)
    assert (order.one_start, order.on_failure) == (True, "reboot"), "the computer would stay where it is, or never stop"
    assert (order.after, order.once, order.work.library, order.work.label) == ("reboot", False, "nfs://nas/i", "Weekly")
    assert (order.work.disk[0].wwn, order.work.disk[0].size) == ("0x5000", GIB)
    odd = Schedule(library="/x", disk=(ScheduledDisk(size=GIB, serial="A*B?", model="M"),))
    work = orders.parse(nextboot.render(odd).encode(), "x").work
    assert isinstance(work, orders.Capture)
    assert (work.disk[0].serial, work.disk[0].model) == ("A?B?", "M")


def test_a_schedule_is_overdue_by_its_last_success_or_from_when_it_was_set() -> None:
    at = datetime(2026, 1, 11, tzinfo=UTC)
    assert is_overdue(WEEKLY, State(), at)
    assert not is_overdue(WEEKLY, State(), at - timedelta(days=2))
    done = State(success=Success(when="2026-01-05T00:00:00Z", image="i", library="/x"))
    assert not is_overdue(WEEKLY, done, at)
    assert is_overdue(WEEKLY, done, at + timedelta(days=9))
    assert is_overdue(WEEKLY, done, at - timedelta(days=9)), "by a clock that was wrong"
    assert is_overdue(Schedule(library="/x", since="?", disk=(DISK,)), State(), at)


@given(st.lists(st.integers(1, 40 * GIB), min_size=1, max_size=4), st.integers(0, 60 * GIB))
def test_snapshots_take_no_more_than_is_free_and_are_not_begun_with_too_little(origins: list[int], free: int) -> None:
    extent = 4 << 20
    free -= free % extent
    volumes = [Origin(size=size) for size in origins]
    made = snapshots.sizes(volumes, free, extent)
    if not made:
        assert snapshots.least_room(volumes, extent) > free
        return
    assert sum(made) <= free
    for size, origin in zip(made, origins, strict=True):
        assert size % extent == 0
        assert min(64 << 20, origin) <= size <= origin * 1.02 + 2 * extent


def test_what_the_capture_itself_writes_has_room_in_a_snapshot() -> None:
    extent, origin = 4 << 20, 10 * GIB
    quiet, busy = ([Origin(size=origin, more=more)] for more in (0, GIB))
    assert snapshots.least_room(busy, extent) == snapshots.least_room(quiet, extent) + GIB
    assert snapshots.sizes(busy, snapshots.least_room(busy, extent) - extent, extent) == ()
    assert snapshots.least_room([Origin(size=GIB, more=4 * GIB)], extent) < 2 * GIB


def use(where: str = "", *, holders: tuple[str, ...] = (), read_only: bool = False, held: bool = False) -> Use:
    mounts = (Mount(source="/dev/x", where=where, read_only=read_only),) if where else ()
    return Use(mounts=mounts, holders=holders, held=held or bool(where or holders))


def decided(kind: str, how: Use) -> Still:
    part = a_partition(number=2, content=Content(kind=kind))
    (one,) = stillness.decide(a_disk(table=a_table(part)), {2: how})
    return one


def test_what_nobody_uses_and_swap_and_boot_and_lvm_can_be_still() -> None:
    assert decided("ext4", NOBODY).way is stillness.Way.APART
    assert decided("ext4", use("/", read_only=True)).way is stillness.Way.APART
    assert decided("swap", NOBODY).way is stillness.Way.SWAP
    assert decided("swap", use("[swap]")).way is stillness.Way.SWAP
    assert decided("LVM2_member", NOBODY).way is stillness.Way.APART
    assert decided("LVM2_member", use(holders=("pc-root",))).way is stillness.Way.SNAPSHOTS
    assert decided("ext4", use("/boot")) == Still(number=2, way=stillness.Way.HELD, where="/boot", how=How.FREEZE)
    assert decided("vfat", use("/boot/efi")).how is How.READ_ONLY


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("ext4", use("/"), "ext4 without LVM beneath it is mounted at /"),
        ("btrfs", use("/"), "btrfs without LVM beneath it is mounted at /"),
        ("ext4", use("/home"), "mounted at /home"),
        ("crypto_LUKS", use(holders=("open",)), "open stands on it"),
        ("linux_raid_member", use(holders=("md0",)), "md0 stands on it"),
        ("btrfs", use(held=True), "a file system of several devices"),
        ("ntfs", use("/boot"), "ntfs, mounted at /boot, cannot be held still"),
    ],
)
def test_what_cannot_be_still_is_refused_with_the_other_way(kind: str, how: Use, said: str) -> None:
    with pytest.raises(RefusedError, match="cannot be captured while it is in use") as error:
        decided(kind, how)
    assert said in error.value.message
    assert (error.value.code, "--next-boot" in (error.value.hint or "")) == ("not-still", True)


def test_a_disk_on_all_of_which_something_stands_is_refused() -> None:
    part = a_partition(number=1, content=Content(kind="ext4"))
    with pytest.raises(RefusedError, match="mpatha stands on all of it"):
        stillness.decide(a_disk(table=a_table(part)), {1: NOBODY, WHOLE: use(holders=("mpatha",))})


def test_a_bare_disk_in_use_is_refused_and_an_extended_partition_is_passed_over() -> None:
    with pytest.raises(RefusedError):
        stillness.decide(a_disk(table=replace(a_table(), kind=TableKind.NONE)), {})
    extended = a_partition(number=1, role=PartitionRole.EXTENDED)
    assert stillness.decide(a_disk(table=a_table(extended)), {}) == []


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("btrfs", use("/"), "second copy"),
        ("crypto_LUKS", use(holders=("open",)), "open stands on it"),
        ("zfs_member", NOBODY, "no snapshot is taken of zfs_member"),
        ("", use(held=True), "a file system of several devices"),
    ],
)
def test_a_logical_volume_that_cannot_be_still_is_refused(kind: str, how: Use, said: str) -> None:
    with pytest.raises(RefusedError) as error:
        stillness.decide_volume("pc/root", kind, how)
    assert said in error.value.message


def test_logical_volumes_are_read_from_snapshots_but_for_swap() -> None:
    ways: Mapping[str, Use] = {"ext4": use("/"), "xfs": use("/srv"), "": NOBODY}
    assert {stillness.decide_volume("pc/x", kind, how) for kind, how in ways.items()} == {stillness.Way.SNAPSHOTS}
    assert stillness.decide_volume("pc/x", "swap", use("[swap]")) is stillness.Way.SWAP


def test_pieces_are_one_disk_and_what_none_covers_is_zero() -> None:
    data = bytes(range(1, 101))
    pieces = [
        Piece(start=60, end=70, read=lambda at, size: data[at : at + size], at=5),
        Piece(start=10, end=20, read=lambda at, size: data[at : at + size]),
    ]
    whole = bytes(10) + data[:10] + bytes(40) + data[5:15] + bytes(30)
    file = Composed(100, pieces)
    for start in range(100):
        for stop in range(start, 101):
            assert b"".join(map(bytes, file.read(start, stop - start))) == whole[start:stop]
    for wrong in (Piece(start=15, end=30, read=pieces[0].read), Piece(start=95, end=101, read=pieces[0].read)):
        with pytest.raises(IoError, match="not known for certain"):
            Composed(100, [*pieces, wrong])


_GROUP = """\
contents = "Text Format Volume Group"
version = 1
pc {{
    id = "vg"
    seqno = {seqno}
    status = ["RESIZEABLE", "READ", "WRITE"]
    extent_size = 8192
    physical_volumes {{
        pv0 {{ id = "pv" status = ["ALLOCATABLE"] pe_start = 2048 pe_count = 100 }}
    }}
    logical_volumes {{
        root {{
            id = "{root}" status = ["READ", "WRITE", "VISIBLE"] segment_count = 1
            segment1 {{
                start_extent = 0 extent_count = 10 type = "striped" stripe_count = 1 stripes = ["pv0", {first}]
            }}
        }}
        {more}
    }}
}}
"""
_OURS = """
        rescue-still-0 {
            id = "cow" status = ["READ", "VISIBLE"] segment_count = 1
            segment1 {
                start_extent = 0 extent_count = 3 type = "striped" stripe_count = 1 stripes = ["pv0", 40]
            }
        }
        snapshot0 {
            id = "snap" status = ["READ", "WRITE", "VISIBLE"] segment_count = 1
            segment1 {
                start_extent = 0 extent_count = 10 type = "snapshot" chunk_size = 8 origin = "root"
                cow_store = "rescue-still-0"
            }
        }
"""


def test_a_group_is_the_same_but_for_our_snapshots() -> None:
    before = parse_group(_GROUP.format(seqno=3, root="r", first=0, more=""))
    after = parse_group(_GROUP.format(seqno=7, root="r", first=0, more=_OURS))
    assert same_but_ours(before, after, ["rescue-still-0"])
    assert not same_but_ours(before, after, ["rescue-still-1"])
    for changed in ({"root": "other"}, {"first": 20}):
        text = _GROUP.format(**{"seqno": 7, "root": "r", "first": 0, "more": _OURS, **changed})
        assert not same_but_ours(before, parse_group(text), ["rescue-still-0"])


USB = Beneath(device="8:17", root="/", where="/mnt/usb", source="/dev/sdb1", kind="ext4")


@pytest.mark.parametrize(
    ("library", "there", "words"),
    [
        ("/mnt/usb", USB, ""),
        ("/mnt/usb/rescue-library", USB, ""),
        ("/mnt/usb/images", USB, "in a medium's first folder, and in rescue-library there"),
        ("/mnt/usb/rescue-library/old", USB, "in a medium's first folder"),
        ("/mnt/usb/rescue-library", replace(USB, root="/backups"), "in a medium's first folder"),
        ("/mnt/here", replace(USB, where="/mnt/here", root="/rescue-library"), ""),
        ("/mnt/usb/rescue-library", replace(USB, kind="f2fs"), "it mounts no f2fs"),
        ("/mnt/usb/rescue-library", replace(USB, source="/dev/ntfs", kind="fuseblk"), ""),
        ("/mnt/usb/rescue-library", replace(USB, source="/dev/ntfs", kind="ntfs3"), ""),
        ("/mnt/usb/rescue-library", replace(USB, kind="fuseblk"), "it mounts no fuseblk"),
        ("/mnt/usb/rescue-library", replace(USB, device="253:0"), "opens no /dev/sdb1, but partitions of disks alone"),
        ("/mnt/usb/rescue-library", None, "opens no /mnt/usb/rescue-library, but"),
        ("/mnt/usb/other", USB, "in a medium's first folder"),
    ],
)
def test_a_library_that_the_recovery_system_would_not_find_is_refused(
    library: str, there: Beneath | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Beneath(device="253:3", root="/", where="/mnt/luks", source="/dev/mapper/luks", kind="ext4")
    other = Beneath(device="8:33", root="/", where="/mnt/other", source="/dev/sdc1", kind="ext4")
    lies_on = {"/mnt/luks": opened, "/mnt/other": other}
    monkeypatch.setattr(nextboot, "beneath", lambda path: lies_on.get(str(path), there))
    monkeypatch.setattr(nextboot, "probe", lambda path: Content(kind=path.removeprefix("/dev/").partition("sdb")[0]))
    monkeypatch.setattr(nextboot, "_is_same", lambda one, another: one in (another, Path("/mnt/bound")))
    monkeypatch.setattr(nextboot, "discover", lambda: (Path(library), Path("/mnt/bound"), Path("/mnt/luks")))
    monkeypatch.setattr(nextboot, "_is_partition", lambda numbers: numbers.startswith("8:"))
    if words:
        with pytest.raises(RefusedError, match=re.escape(words)):
            nextboot.refuse_unless_found(Path(library))
        return
    nextboot.refuse_unless_found(Path(library))
    monkeypatch.setattr(nextboot, "discover", lambda: (Path(library), Path("/mnt/other")))
    with pytest.raises(RefusedError, match="it would find others, too: /mnt/other"):
        nextboot.refuse_unless_found(Path(library))


@pytest.mark.parametrize(
    ("node", "opens"),
    [
        ("pci0000:00/ata1/host0/block/sda/sda2", True),
        ("virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p2", True),
        ("pci0000:00/ata1/host0/block/sda", False),
        ("virtual/block/md126/md126p2", False),
        ("virtual/block/loop3/loop3p2", False),
    ],
)
def test_a_partition_of_a_raid_is_none_of_a_disk(
    node: str, opens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GRUB cannot write to one, and would start the recovery system again and again; that one assembles none."""
    there = tmp_path / "devices" / node
    there.mkdir(parents=True)
    if node[-2:] in ("a2", "p2"):
        (there / "partition").write_text("2\n")
    numbers = tmp_path / "dev/block"
    numbers.mkdir(parents=True)
    (numbers / "259:2").symlink_to(there)
    monkeypatch.setattr(nextboot, "_NUMBERS", numbers)
    boot = Beneath(device="259:2", root="/", where="/boot", source="/dev/boot", kind="ext4")
    monkeypatch.setattr(nextboot, "beneath", lambda _: boot)
    assert nextboot.can_note(tmp_path) is opens
    assert (nextboot._why_unfound(Path("/boot/rescue-library")) == "") is opens
