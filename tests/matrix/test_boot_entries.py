"""The entry that the firmware gets for what was restored: which loader it names, and when there is none."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from imaging import bootentry, bootuefi, checkboot, efientries, inventory, media, planner
from imaging.blockdev import opened
from imaging.bootlook import Looking
from imaging.disk import Disk, PartitionTable, TableKind
from imaging.efientries import Entry
from imaging.errors import IoError
from imaging.events import RestoreResult
from imaging.pipeline import Reporter
from imaging.restoreplans import RestorePlan
from imaging.startable import Answer, BootEntry, Firmware, Starts, Way
from imaging.startcheck import looked_at
from tests.disks import MIB, run
from tests.matrix import bootable
from tests.unit.builders import a_disk, a_partition, a_table, an_image

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("grub")]

SHIM = "\\grubx64.efi".encode("utf-16-le")


def missed(path: Path, known: Sequence[Entry] | None = ()) -> BootEntry | None:
    """What a firmware with these entries lacks to start from a disk."""
    disk = inventory.look(str(path))
    with opened(disk.path) as fd:
        return bootuefi.check(Looking([(disk, fd)], checkboot.PATIENCE, None), known).entry


def efi(**files: bytes) -> dict[str, bytes]:
    """An EFI system partition without a loader that any firmware finds."""
    named = {f"EFI/debian/{name}.efi": data for name, data in files.items()}
    return {"EFI/debian/grub.cfg": bootable.small_menu().encode(), **named}


def label_of(found: BootEntry | None) -> str:
    return found.loader if found else ""


def test_the_entry_is_for_the_loader_that_starts(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img", efi=efi(grubx64=bootable.loader()))
    found = missed(made.path)
    assert found is not None
    assert (found.partition, found.loader, found.label) == (2, r"\EFI\debian\grubx64.efi", "debian")
    assert found.uuid == run("sfdisk", "--part-uuid", made.path, "2").strip().lower()
    # Nobody knows what a firmware lacks whose entries cannot be read; one that has the entry lacks nothing.
    assert missed(made.path, None) is None
    path = rf"HD(2,GPT,{found.uuid},0x1000,0x12000)/File({found.loader})"
    known = Entry(number="0001", label="debian", partition=found.uuid, path=path)
    assert missed(made.path, (known,)) is None
    assert missed(bootable.for_uefi(room / "any.img").path) is None


def test_shim_goes_first_and_what_only_helps_it_is_passed_over(room: Path) -> None:
    grub = bootable.loader()
    files = efi(grubx64=grub, shimx64=grub + SHIM, mmx64=grub + SHIM, fbx64=grub + SHIM)
    assert label_of(missed(bootable.for_uefi(room / "shim.img", efi=files).path)) == r"\EFI\debian\shimx64.efi"
    # Without what it goes on to, shim starts nothing.
    files = {"EFI/other/shimx64.efi": grub + SHIM, **efi(grubx64=grub)}
    assert label_of(missed(bootable.for_uefi(room / "alone.img", efi=files).path)) == r"\EFI\debian\grubx64.efi"


def test_what_starts_the_recovery_system_itself_is_none_of_the_disks_loaders(room: Path) -> None:
    grub = bootable.loader()
    ours = {"EFI/rescue/shimx64.efi": grub + SHIM, "EFI/rescue/grubx64.efi": grub}
    ours["EFI/rescue/grub.cfg"] = bootable.small_menu().encode()
    made = bootable.for_uefi(room / "disk.img", efi={**efi(grubx64=grub), **ours})
    found = missed(made.path)
    assert label_of(found) == r"\EFI\debian\grubx64.efi"
    assert found is not None
    path = rf"HD(2,GPT,{found.uuid},0x1000,0x12000)/File(\EFI\rescue\shimx64.efi)"
    known = Entry(number="0001", label="Rescue recovery", partition=found.uuid, path=path)
    assert missed(made.path, (known,)) == found
    assert missed(bootable.for_uefi(room / "alone.img", efi=ours).path) is None


def test_a_loader_at_the_known_path_that_cannot_start_is_no_reason_for_none(room: Path) -> None:
    files = {"EFI/BOOT/BOOTX64.EFI": b"", **efi(grubx64=bootable.loader())}
    assert label_of(missed(bootable.for_uefi(room / "disk.img", efi=files).path)) == r"\EFI\debian\grubx64.efi"


def test_many_other_programs_hide_no_loader(room: Path) -> None:
    tools = {f"EFI/aaa/tool{number}.efi": b"MZ" for number in range(40)}
    files = {**tools, **efi(grubx64=bootable.loader())}
    assert label_of(missed(bootable.for_uefi(room / "disk.img", efi=files).path)) == r"\EFI\debian\grubx64.efi"


def test_what_nobody_can_tell_of_is_not_sure_to_start(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img", efi=efi(grubx64=bootable.loader()))
    found = missed(made.path)
    assert found is not None
    assert found.sure
    luks = b"LUKS\xba\xbe\x00\x02".ljust(4096, b"\0")
    bootable.write(made.path, made.root, luks + bytes(2 * MIB))
    closed = missed(made.path)
    assert closed is not None
    assert not closed.sure


@pytest.mark.parametrize(
    "files",
    [
        lambda: efi(mmx64=bootable.loader() + SHIM),
        lambda: efi(grubx64=b""),
        lambda: {"EFI/debian/grubx64.efi": bootable.loader()},
        lambda: {"EFI/d\u00e9bian/grubx64.efi": bootable.loader(), **efi()},
        dict,
    ],
    ids=["helper", "empty", "no menu", "odd name", "nothing"],
)
def test_what_would_not_start_with_an_entry_gets_none(room: Path, files: Callable[[], dict[str, bytes]]) -> None:
    assert missed(bootable.for_uefi(room / "disk.img", efi=files()).path) is None


ENTRY = BootEntry(partition=2, uuid="abc", loader=r"\EFI\debian\shimx64.efi", label="debian")
NOT_FOUND = Way(firmware=Firmware.UEFI, answer=Answer.FAILS, reasons=("it has no entry",))
LACKS = Starts(disk="sda", ways=(NOT_FOUND,), firmware="uefi", entry=ENTRY)
RESULT = RestoreResult(image="i", compared=1, skipped=0, written=1, written_bytes=1, read_back=True, seconds=1.0)


def a_plan(target: Disk | None = None) -> RestorePlan:
    empty = PartitionTable(kind=TableKind.NONE)
    return planner.plan_restore(Path("/library"), an_image(), {"sda": target or a_disk(table=empty)})


class Computer:
    """The live system on a computer with UEFI, whose disk lacks an entry until it has one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, Any]] = []
        self.error: IoError | None = None
        patch.setattr(media, "on_live_system", lambda: True)
        patch.setattr(efientries, "can_be_changed", lambda: True)
        patch.setattr(efientries, "add", self.add)
        patch.setattr(inventory, "scan", lambda *_: (a_disk(),))
        patch.setattr(checkboot, "check_paths", lambda *_: (self.starts,))

    def add(self, **words: Any) -> str:
        if self.error is not None:
            raise self.error
        self.asked.append(words)
        return "0001"

    @property
    def starts(self) -> Starts:
        good = structs.replace(LACKS, ways=(Way(firmware=Firmware.UEFI, answer=Answer.STARTS),), entry=None)
        return good if self.asked else LACKS


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer(monkeypatch)


def ended(plan: RestorePlan) -> tuple[RestoreResult, str]:
    """The result, and what was said."""
    said: list[str] = []

    def take(line: memoryview | bytes) -> int:
        said.append(bytes(line).decode())
        return len(line)

    result = looked_at(plan, RESULT, Reporter(take), threading.Event())
    return result, "\n".join(said)


def test_the_entry_is_made_first_and_looked_at_again(computer: Computer) -> None:
    result, said = ended(bootentry.with_boot_entry(a_plan()))
    words = {"disk": "/dev/sda", "number": 2, "partition": "abc", "label": "debian", "loader": ENTRY.loader}
    assert computer.asked == [{**words, "first": True}]
    bootentry.add("/dev/sda", structs.replace(ENTRY, sure=False))
    assert computer.asked[-1]["first"] is False
    assert result.boot_entries == ("debian",)
    assert result.starts[0].answer is Answer.STARTS
    assert "starts sda by a new entry, debian" in said


def test_a_disk_beside_its_copy_gets_no_entry(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = a_disk(path="/dev/sdb", table=a_table(a_partition(2, uuid=ENTRY.uuid.upper())))
    monkeypatch.setattr(inventory, "scan", lambda *_: (a_disk(), copy))
    result, said = ended(bootentry.with_boot_entry(a_plan()))
    assert (computer.asked, result.boot_entries) == ([], ())
    assert "sdb has a partition with the same GUID" in said


def test_the_first_disk_of_several_is_tried_first(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bootentry.with_boot_entry(a_plan())
    (pair,) = plan.targets
    other = structs.replace(pair, target=replace(pair.target, path="/dev/sdb"))
    both = (LACKS, structs.replace(LACKS, disk="sdb", entry=structs.replace(ENTRY, uuid="def", label="second")))
    monkeypatch.setattr(checkboot, "check_paths", lambda *_: both)
    result, _ = ended(structs.replace(plan, targets=(pair, other)))
    assert [words["disk"] for words in computer.asked] == ["/dev/sdb", "/dev/sda"]
    assert result.boot_entries == ("debian", "second")


def test_an_entry_that_was_made_is_told_whatever_comes_after(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> tuple[Starts, ...]:
        if computer.asked:
            raise IoError("the disk is gone", code="read-failed")
        return (LACKS,)

    monkeypatch.setattr(checkboot, "check_paths", look)
    result, _ = ended(bootentry.with_boot_entry(a_plan()))
    assert (result.boot_entries, result.starts) == (("debian",), ())


def test_nothing_is_given_to_the_firmware_that_the_plan_does_not_say(computer: Computer) -> None:
    result, _ = ended(a_plan())
    assert (computer.asked, result.boot_entries, result.starts) == ([], (), (LACKS,))


def test_a_firmware_that_takes_no_entry_makes_no_good_restore_a_bad_one(computer: Computer) -> None:
    computer.error = IoError("the firmware did not keep the boot entry", code="no-boot-entry")
    result, said = ended(bootentry.with_boot_entry(a_plan()))
    assert (result.boot_entries, result.starts) == ((), (LACKS,))
    assert "was given no entry for sda: the firmware did not keep the boot entry" in said


@pytest.mark.parametrize(
    "starts",
    [
        structs.replace(LACKS, firmware="bios"),
        structs.replace(LACKS, entry=None),
        structs.replace(LACKS, ways=(Way(firmware=Firmware.UEFI, answer=Answer.STARTS),)),
    ],
)
def test_an_entry_is_made_only_where_it_is_all_that_is_missing(starts: Starts) -> None:
    assert bootentry.missing(starts) is None
    assert bootentry.missing(LACKS) == ENTRY


@pytest.mark.usefixtures("computer")
@pytest.mark.parametrize("changes", [{"removable": True}, {"transport": "usb"}, {"regular_file": True}])
def test_what_does_not_stay_in_this_computer_gets_no_entry(changes: dict[str, Any]) -> None:
    assert bootentry.with_boot_entry(a_plan()).boot_entry
    target = replace(a_disk(table=PartitionTable(kind=TableKind.NONE)), **changes)
    assert not bootentry.with_boot_entry(a_plan(target)).boot_entry


@pytest.mark.usefixtures("computer")
def test_elsewhere_than_on_the_recovery_system_the_firmware_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "on_live_system", lambda: False)
    assert not bootentry.with_boot_entry(a_plan()).boot_entry
