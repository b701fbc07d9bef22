"""Whether a disk can start a computer is told rightly: made with GRUB's own tools, then with one piece taken away."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from imaging import bootlook, checkboot, inventory, peek, planner
from imaging.errors import ExitStatus, IoError
from imaging.events import CaptureResult, RestoreResult
from imaging.pipeline import Reporter
from imaging.plan import encode
from imaging.startable import Answer, Firmware, Starts, Way
from imaging.worker import carry_out
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, looped, partition, run
from tests.faults.world import Sample, capture_here, restore_here, warnings_of
from tests.matrix import bootable
from tests.matrix.bootable import EFI, INITRD, KERNEL, ROOT, Made

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("grub")]

BIOS, UEFI = Firmware.BIOS, Firmware.UEFI
STARTS, FAILS, UNKNOWN = Answer.STARTS, Answer.FAILS, Answer.UNKNOWN
NO_SUCH = "99999999-9999-9999-9999-999999999999"


def look(path: Path) -> Starts:
    """What is found, on a disk that is not changed by it."""
    before = digest(path)
    (found,) = checkboot.check_paths([str(path)])
    assert digest(path) == before
    return found


def way(found: Starts, firmware: Firmware) -> Way:
    return next(one for one in found.ways if one.firmware is firmware)


def told_of(found: Starts, firmware: Firmware = BIOS) -> tuple[Answer, str]:
    return way(found, firmware).answer, "; ".join(way(found, firmware).reasons)


def told(path: Path, firmware: Firmware) -> tuple[Answer, str]:
    return told_of(look(path), firmware)


def without(path: str) -> dict[str, bytes]:
    """A system without one of its files."""
    files = bootable.system()
    del files[path]
    return files


def having(path: str, text: str) -> dict[str, bytes]:
    """A system with one file that says this."""
    return {**bootable.system(), path: text.encode()}


def test_a_disk_for_a_bios_starts_on_a_bios_alone(room: Path) -> None:
    found = look(bootable.for_bios(room / "disk.img").path)
    assert way(found, BIOS) == Way(firmware=BIOS, answer=STARTS)
    assert way(found, UEFI) == Way(firmware=UEFI, answer=FAILS, reasons=("it has no EFI system partition",))
    assert found.answer is STARTS
    assert found.warned == ()
    assert found.notes == ()


def test_a_disk_for_uefi_starts_on_both(room: Path) -> None:
    found = look(bootable.for_uefi(room / "disk.img").path)
    assert [one.answer for one in found.ways] == [STARTS, STARTS]
    assert [one.reasons for one in found.ways] == [(), ()]


def no_code(made: Made) -> None:
    bootable.write(made.path, 0, bytes(440))


def no_core(made: Made) -> None:
    bootable.write(made.path, made.core, bytes(512))


def empty_list(made: Made) -> None:
    bootable.write(made.path, made.core + 0x1F4, bytes(12))


def damaged_core(made: Made) -> None:
    bootable.write(made.path, made.core + 8192, b"damage" * 500)


def beyond(made: Made) -> None:
    bootable.write(made.path, made.core + 0x1F4, b"\xff" * 8)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_code, "its boot sector holds no boot code"),
        (no_core, "sector 1, which its boot sector loads, holds no GRUB"),
        (empty_list, "GRUB's list of its own sectors is empty"),
        (damaged_core, "GRUB's core cannot be unpacked"),
        (beyond, "point beyond its end"),
    ],
)
def test_what_a_bios_misses_is_named(room: Path, spoil: Callable[[Made], None], why: str) -> None:
    made = bootable.for_bios(room / "disk.img")
    spoil(made)
    answer, reasons = told(made.path, BIOS)
    assert answer is FAILS
    assert why in reasons
    assert look(made.path).warned


def test_a_core_that_may_mend_itself_is_not_known(room: Path) -> None:
    """grub-install writes a Reed-Solomon code behind the core, grub-mkimage none: its length tells."""
    made = bootable.for_bios(room / "disk.img")
    bootable.write(made.path, made.core + 512 + 0x10, (27246).to_bytes(4, "little"))
    assert told(made.path, BIOS) == (STARTS, "")
    damaged_core(made)
    assert told(made.path, BIOS) == (UNKNOWN, "GRUB's core is damaged: it mends a part of that as it starts")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (lambda: without(KERNEL), f"the boot menu names /{KERNEL}, which is not on disk.img:1"),
        (lambda: without(INITRD), f"the boot menu names /{INITRD}, which is not on disk.img:1"),
        (lambda: having(KERNEL, ""), f"the boot menu names /{KERNEL}, which is empty on disk.img:1"),
        (lambda: without("boot/grub/grub.cfg"), "there is no boot menu /boot/grub/grub.cfg on disk.img:1"),
        (lambda: without("boot/grub/i386-pc/normal.mod"), "GRUB's modules are missing on disk.img:1"),
        (
            lambda: having("boot/grub/grub.cfg", bootable.MENU.replace(f"root=UUID={ROOT}", f"root=UUID={NO_SUCH}")),
            f"the kernel looks for its root file system on UUID={NO_SUCH}, which is not there",
        ),
        (
            lambda: having("boot/grub/grub.cfg", bootable.MENU.replace(f"root {ROOT}", f"root {NO_SUCH}")),
            f"the boot menu names the file system {NO_SUCH}, which is not there",
        ),
        (
            lambda: having("etc/fstab", f"{bootable.FSTAB}UUID={NO_SUCH} /home ext4 defaults 0 2\n"),
            f"/etc/fstab on disk.img:1 names UUID={NO_SUCH} for /home, which is not there",
        ),
        (
            lambda: having("etc/fstab", f"{bootable.FSTAB}PARTUUID=deadbeef-07 /srv ext4 defaults 0 2\n"),
            "/etc/fstab on disk.img:1 names PARTUUID=deadbeef-07 for /srv, which is not there",
        ),
    ],
)
def test_what_the_system_misses_is_named(room: Path, files: Callable[[], dict[str, bytes]], why: str) -> None:
    made = bootable.for_bios(room / "disk.img", files())
    answer, reasons = told(made.path, BIOS)
    assert answer is FAILS
    assert why in reasons


def test_what_a_start_does_without_is_noted(room: Path) -> None:
    lines = [
        f"UUID={NO_SUCH} /media/backup ext4 nofail 0 2",
        f"UUID={NO_SUCH} none swap sw 0 0",
        "PARTUUID=12345678-01 /again ext4 noauto 0 0",
    ]
    files = having("etc/fstab", bootable.FSTAB + "\n".join(lines) + "\n")
    files["etc/initramfs-tools/conf.d/resume"] = f"RESUME=UUID={NO_SUCH}\n".encode()
    files["etc/crypttab"] = f"vault UUID={NO_SUCH} none luks,noauto\n".encode()
    found = look(bootable.for_bios(room / "disk.img", files).path)
    assert way(found, BIOS).answer is STARTS
    notes = "\n".join(found.notes)
    for part in ("for /media/backup", "for swap", "the start waits for it", "for vault"):
        assert part in notes
    assert "/again" not in notes  # that partition is there


def test_another_entry_of_the_menu_is_noted(room: Path) -> None:
    second = bootable.MENU[bootable.MENU.index("menuentry") :].replace("'Debian GNU/Linux'", "'The other one'")
    text = bootable.MENU.replace(f"/{KERNEL}", "/boot/gone") + second
    found = look(bootable.for_bios(room / "disk.img", having("boot/grub/grub.cfg", text)).path)
    assert way(found, BIOS).answer is STARTS
    assert "of the boot menu, choose: The other one" in found.notes


def efi(**changes: bytes | None) -> dict[str, bytes]:
    """The files of an EFI system partition; None takes one away."""
    names = {"loader": "EFI/BOOT/BOOTX64.EFI", "menu": "EFI/debian/grub.cfg", "vendor": "EFI/debian/grubx64.efi"}
    files: dict[str, bytes] = bootable.efi_system()
    for name, data in changes.items():
        files.pop(names[name], None)
        if data is not None:
            files[names[name]] = data
    return files


def shim() -> bytes:
    """What tells shim from others here: where it goes on."""
    return bootable.loader() + "\\grubx64.efi".encode("utf-16-le")


@pytest.mark.parametrize(
    ("files", "answer", "why"),
    [
        (lambda: efi(loader=None, menu=None), FAILS, "its EFI system partition disk.img:2 holds no loader"),
        (lambda: efi(loader=b""), FAILS, r"\EFI\BOOT\BOOTX64.EFI on disk.img:2 cannot be started: it is empty"),
        (lambda: efi(loader=b"MZ" + bytes(4000)), FAILS, "it is not a UEFI program"),
        (lambda: efi(loader=bootable.loader()[:40_000]), FAILS, "it is cut off"),
        (lambda: efi(menu=None), FAILS, "GRUB's configuration is missing on disk.img:2: EFI/debian/grub.cfg"),
        (
            lambda: efi(menu=bootable.small_menu(NO_SUCH).encode()),
            FAILS,
            f"GRUB looks for its menu on the file system {NO_SUCH}, which is not there",
        ),
        (lambda: efi(loader=shim()), FAILS, "starts efi/boot/grubx64.efi, which is not there"),
        (
            lambda: efi(loader=None, vendor=bootable.loader()),
            UNKNOWN,
            r"has no loader that any firmware finds, and only one with an entry for \EFI\debian\grubx64.efi starts it",
        ),
    ],
)
def test_what_uefi_misses_is_named(room: Path, files: Callable[[], dict[str, bytes]], answer: Answer, why: str) -> None:
    made = bootable.for_uefi(room / "disk.img", efi=files())
    found, reasons = told(made.path, UEFI)
    assert why in reasons
    assert found is answer
    assert told(made.path, BIOS) == (STARTS, "")


def test_shim_is_followed_to_what_it_starts(room: Path) -> None:
    files = {**efi(loader=shim()), "EFI/BOOT/grubx64.efi": bootable.loader()}
    assert told(bootable.for_uefi(room / "beside.img", efi=files).path, UEFI) == (STARTS, "")
    files = {**efi(loader=shim(), vendor=bootable.loader()), "EFI/BOOT/fbx64.efi": bootable.loader()}
    files["EFI/debian/BOOTX64.CSV"] = "\ufeffgrubx64.efi,debian,,This is the boot entry\r\n".encode("utf-16-le")
    assert told(bootable.for_uefi(room / "listed.img", efi=files).path, UEFI) == (STARTS, "")


def test_a_core_that_was_told_its_file_system_is_followed(room: Path) -> None:
    config = f"search.fs_uuid {ROOT} root hd0,gpt3\nset prefix=($root)'/boot/grub'\n"
    files = {"EFI/BOOT/BOOTX64.EFI": bootable.loader(config, "(hd0,gpt3)/boot/grub")}
    made = bootable.for_uefi(room / "disk.img", efi=files)
    bootable.write(made.path, made.core, bootable.core("/boot/grub", made.core // 512, config))
    assert [one.answer for one in look(made.path).ways] == [STARTS, STARTS]
    bootable.write(made.path, made.core, bootable.core("/boot/grub", made.core // 512, config.replace(ROOT, NO_SUCH)))
    assert told(made.path, BIOS)[0] is FAILS


def test_a_partition_that_is_no_fat_is_no_efi_system_partition(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img")
    bootable.write(made.path, made.efi, bytes(MIB))
    assert told(made.path, UEFI) == (FAILS, "its EFI system partition disk.img:2 holds no FAT file system")


@pytest.mark.parametrize("table", ["label: dos\nstart=2048, size=73728, type=c, bootable\n", ""])
def test_a_stick_without_an_efi_system_partition_starts_on_some_firmware(room: Path, table: str) -> None:
    path = blank(room / "stick.img", 38 * MIB)
    if table:
        partition(path, table)
    bootable.fat(path, MIB if table else 0, bootable.efi_system())
    answer, reasons = told(path, UEFI)
    assert answer is UNKNOWN
    assert "only some firmware finds the loader on stick.img" in reasons


@pytest.mark.parametrize("name", ["a" * 300, "..", "a\0b"])
def test_a_name_that_no_device_can_have_is_of_none(
    room: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "by-uuid").mkdir()
    monkeypatch.setattr(bootlook, "_LINKS", tmp_path)
    menu = bootable.MENU.replace(f"root=UUID={ROOT}", f"root=UUID={name}")
    made = bootable.for_bios(room / "disk.img", having("boot/grub/grub.cfg", menu))
    with looped(made.path) as loop:
        answer, reasons = told(Path(loop), BIOS)
    assert answer is FAILS
    assert "the kernel looks for its root file system on" in reasons


@pytest.mark.parametrize(("link", "answer"), [("my\\x20files\\x2f\u00fc", STARTS), ("my_files", FAILS)])
def test_a_label_is_looked_for_as_udev_writes_it(
    room: Path, link: str, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "LABEL=my\\040files/\u00fc /srv ext4 defaults 0 2\n"
    made = bootable.for_bios(room / "disk.img", having("etc/fstab", bootable.FSTAB + line))
    (tmp_path / "by-label").mkdir()
    (tmp_path / "by-label" / link).symlink_to("/dev/null")
    monkeypatch.setattr(bootlook, "_LINKS", tmp_path)
    with looped(made.path) as loop:
        assert told(Path(loop), BIOS)[0] is answer


@pytest.mark.parametrize(("own", "answer"), [(True, FAILS), (False, UNKNOWN)])
def test_a_logical_volume_may_lie_on_another_disk(
    room: Path, own: bool, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bootable.for_bios(
        room / "disk.img", having("etc/fstab", f"{bootable.FSTAB}/dev/data/home /home ext4 defaults 0 2\n")
    )
    (tmp_path / "by-id").mkdir()
    monkeypatch.setattr(bootlook, "_LINKS", tmp_path)
    with looped(made.path) as loop:
        (tmp_path / "by-id/lvm-pv-uuid-a").symlink_to(f"{loop}p2" if own else "/dev/none1")
        found, reasons = told(Path(loop), BIOS)
    assert found is answer
    assert "/dev/mapper/data-home for /home, which is not there" in reasons


def test_windows_is_found_by_its_boot_manager(room: Path) -> None:
    path = blank(room / "disk.img", 20 * MIB)
    partition(path, "label: dos\nstart=2048, size=32768, type=7, bootable\n")
    bootable.write(path, 0, b"\x33\xc0Invalid partition table\0Error loading operating system\0")
    volume = blank(room / "ntfs", 16 * MIB)
    run("mkntfs", "--quick", "--force", "--sector-size", "512", "--partition-start", "2048", volume)
    image = bytearray(volume.read_bytes())
    image[512:540] = "BOOTMGR".encode("utf-16-le").ljust(28, b"\0")
    bootable.write(path, MIB, bytes(image))
    assert told(path, BIOS) == (FAILS, "Windows' boot manager is missing on disk.img:1: bootmgr")
    bootmgr = room / "bootmgr"
    bootmgr.write_bytes(b"bootmgr")
    volume.write_bytes(image)
    run("ntfscp", "--force", volume, bootmgr, "bootmgr")
    bootable.write(path, MIB, volume.read_bytes())
    assert told(path, BIOS) == (STARTS, "")
    run("sfdisk", "--quiet", "--activate", path, "-")
    assert told(path, BIOS) == (FAILS, "no partition is active")


def test_what_is_encrypted_makes_it_unknown(room: Path) -> None:
    text = bootable.MENU.replace(f"root=UUID={ROOT}", "root=/dev/mapper/vault")
    made = bootable.for_bios(room / "disk.img", having("boot/grub/grub.cfg", text))
    assert told(made.path, BIOS)[0] is FAILS
    with made.path.open("r+b") as file:
        file.truncate(made.path.stat().st_size + 20 * MIB)
    run("sfdisk", "--quiet", "--append", made.path, text="size=32768, type=83\n")
    volume = blank(room / "luks", 16 * MIB)
    run("cryptsetup", "luksFormat", "--type", "luks1", "--batch-mode", "--iter-time", "1", volume, "-", text="secret")
    bootable.write(made.path, 25 * MIB, volume.read_bytes())
    answer, reasons = told(made.path, BIOS)
    assert answer is UNKNOWN
    assert "disk.img:2 cannot be examined: it is encrypted (LUKS)" in reasons


def test_a_disk_of_data_is_no_matter_of_warning(room: Path) -> None:
    path = blank(room / "disk.img", 30 * MIB)
    partition(path, "label: gpt\nstart=2048, size=49152, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n")
    bootable.ext4(path, MIB, {"letters/one": b"text"})
    found = look(path)
    assert found.answer is FAILS
    assert found.warned == ()


def test_the_root_may_be_on_another_disk_of_the_machine(room: Path) -> None:
    """Each disk alone does not start, both together do."""
    first = bootable.for_uefi(room / "first.img", files={"letters/one": b"text"})
    run("tune2fs", "-U", "33333333-3333-3333-3333-333333333333", f"{first.path}?offset={first.root}")
    second = bootable.for_bios(room / "second.img")
    bootable.write(second.path, 0, bytes(440))
    assert told(first.path, UEFI)[0] is FAILS
    one, other = checkboot.check_paths([str(first.path), str(second.path)])
    assert way(one, UEFI).answer is STARTS
    assert way(other, UEFI).answer is FAILS


def test_disks_of_one_name_are_told_apart(room: Path) -> None:
    for name in ("one", "two"):
        (room / name).mkdir()
    first = bootable.for_bios(room / "one/disk.img", without(KERNEL))
    second = bootable.for_bios(room / "two/disk.img")
    run("tune2fs", "-U", NO_SUCH, f"{second.path}?offset={second.root}")
    one, _ = checkboot.check_paths([str(first.path), str(second.path)])
    assert way(one, BIOS).answer is FAILS


def test_a_stick_that_is_a_disc_as_well_is_not_judged(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img")
    bootable.write(made.path, 0x8001, b"CD001")
    assert [one.answer for one in look(made.path).ways] == [UNKNOWN, UNKNOWN]


def test_a_disk_that_takes_too_long_is_not_known(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img")
    (found,) = checkboot.check_paths([str(made.path)], patience=0.0)
    assert [one.answer for one in found.ways] == [UNKNOWN, UNKNOWN]
    assert "it takes too long" in way(found, UEFI).reasons[0]


def test_a_look_into_a_file_system_that_hangs_ends_with_its_time_or_when_it_is_cancelled(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process hangs, as it does in the kernel where a medium does not answer."""
    hangs = room / "hangs.py"
    hangs.write_text("import time\ntime.sleep(600)\n")
    made = bootable.for_bios(room / "disk.img")
    monkeypatch.setattr(peek, "__file__", str(hangs))
    (found,) = checkboot.check_paths([str(made.path)], patience=1.0)
    assert told_of(found) == (UNKNOWN, "disk.img:1 cannot be examined: it takes too long")
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    began = time.monotonic()
    (found,) = checkboot.check_paths([str(made.path)], 600.0, cancel)
    assert time.monotonic() - began < 60
    assert way(found, BIOS).answer is UNKNOWN


def test_a_hostile_disk_is_looked_at_in_time(room: Path) -> None:
    """Each structure is overwritten with what leads in circles or far beyond; nothing hangs, nothing is changed."""
    made = bootable.for_uefi(room / "disk.img")
    for at in (made.core, made.core + 512, made.efi, made.efi + 512 * 32, made.root + 1024, made.root + 4096):
        for fill in (b"\xff", b"\x02\x00\x00\x00"):
            before = made.path.read_bytes()
            bootable.write(made.path, at, (fill * 4096)[:4096])
            began = time.monotonic()
            assert look(made.path).ways
            assert time.monotonic() - began < checkboot.PATIENCE + 5
            made.path.write_bytes(before)


@pytest.mark.parametrize(
    "text",
    [
        bootable.MENU.replace(KERNEL, "k" * 200_000),
        bootable.MENU.replace(f"/{INITRD}", " /i" * 300_000),
        bootable.MENU.replace(f"/{INITRD}", "".join(f" /i{number}" for number in range(100_000))),
    ],
)
def test_a_menu_that_names_more_than_a_boot_loader_takes_is_not_known_in_time(room: Path, text: str) -> None:
    made = bootable.for_bios(room / "disk.img", having("boot/grub/grub.cfg", text))
    began = time.monotonic()
    assert told(made.path, BIOS)[0] is UNKNOWN
    assert time.monotonic() - began < checkboot.PATIENCE


def test_what_a_table_names_fills_no_log(room: Path) -> None:
    lines = "".join(f"UUID={NO_SUCH} /{'x' * 4000}{number} ext4 defaults 0 2\n" for number in range(5))
    lines += "".join(f"UUID={NO_SUCH} /none/{number} ext4 nofail 0 2\n" for number in range(100))
    made = bootable.for_bios(room / "disk.img", having("etc/fstab", bootable.FSTAB + lines))
    found = look(made.path)
    words = [*found.notes, *(reason for one in found.ways for reason in one.reasons)]
    assert way(found, BIOS).answer is FAILS
    assert len(words) <= 60
    assert max(map(len, words)) <= 302


def test_a_folder_that_is_longer_than_a_path_can_be_is_not_known(room: Path) -> None:
    made = bootable.for_uefi(
        room / "disk.img", efi=efi(menu=bootable.small_menu().replace("/boot", "/b" * 90_000).encode())
    )
    answer, reasons = told(made.path, UEFI)
    assert answer is UNKNOWN
    assert "cannot be examined" in reasons


def test_the_command_ends_with_the_answer(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img")
    done = run_rescue("check-boot", made.path)
    assert done.out == "disk.img can start on BIOS.\ndisk.img can start on UEFI.\n"
    found = run_rescue("check-boot", made.path, "--json").json
    assert found["answer"] == "starts"
    assert [one["firmware"] for one in found["disks"][0]["ways"]] == ["bios", "uefi"]
    bootable.write(made.path, 0, bytes(440))
    bootable.fat(made.path, made.efi, {})
    done = run_rescue("check-boot", made.path, status=ExitStatus.CANNOT_START)
    assert "disk.img will not start on UEFI: its EFI system partition disk.img:2 holds no loader.\n" in done.out
    bootable.fat(made.path, made.efi, efi(loader=None, vendor=bootable.loader()))
    done = run_rescue("check-boot", made.path, status=ExitStatus.START_UNKNOWN)
    assert "Whether disk.img starts on UEFI is not known: " in done.out
    assert run_rescue("check-boot", room / "none", status=ExitStatus.USAGE).err
    for status in (11, 12):
        assert f"\n {status}  check-boot" in run_rescue("--help").out
    assert EFI


def a_restored(room: Path, source: Path) -> tuple[dict[str, Any], Path]:
    """The last event of a restore of a captured disk onto a blank one, and that disk."""
    target, library = blank(room / "target.img", source.stat().st_size), room / "library"
    image = run_rescue("capture", source, "--library", library, "--json").events[-1]["result"]["image"]
    words = ("--library", library, "--erase", "target.img", "--json")
    return run_rescue("restore", image, target, *words).events[-1], target


def test_the_result_of_a_restore_says_that_the_disk_starts(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img")
    ended, target = a_restored(room, made.path)
    assert ended["status"] == ExitStatus.DONE
    assert ended["message"].endswith("was restored, read back and verified.")
    (starts,) = ended["result"]["starts"]
    assert [(one["firmware"], one["answer"]) for one in starts["ways"]] == [("bios", "starts"), ("uefi", "starts")]
    assert digest(target) == digest(made.path)
    image, library = ended["result"]["image"], room / "library"
    done = run_rescue("restore", image, target, "--library", library, "--erase", "target.img")
    assert "Can start a computer: target.img on BIOS, UEFI\n" in done.out
    job = run_rescue("jobs", "--json").json["jobs"][0]["id"]
    assert "target.img can start on UEFI." in run_rescue("watch", job).out


def test_the_result_of_a_restore_warns_of_a_disk_that_will_not_start(room: Path) -> None:
    made = bootable.for_uefi(room / "disk.img", files=without(KERNEL))
    ended, _ = a_restored(room, made.path)
    assert ended["status"] == ExitStatus.DONE
    why = f"the boot menu names /{KERNEL}, which is not on target.img:3"
    assert f"target.img will not start on BIOS: {why}. target.img will not start on UEFI: {why}." in ended["message"]


@pytest.mark.parametrize("error", [ValueError("no such luck"), IoError("no such luck"), OSError(5, "no such luck")])
def test_a_look_that_fails_makes_no_good_restore_a_bad_one(
    room: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> NoReturn:
        raise error

    made, target = bootable.for_bios(room / "disk.img"), blank(room / "target.img", 26 * MIB)
    captured = capture_here(made.path, room / "library", room / "capture")
    assert isinstance(captured.result, CaptureResult)
    monkeypatch.setattr(checkboot, "check_paths", fails)
    ended = restore_here(Sample(room / "library", captured.result.image, made.path), target, room / "job")
    assert ended.status == ExitStatus.DONE
    assert isinstance(ended.result, RestoreResult)
    assert ended.result.starts == ()
    assert "no such luck" in "".join(warnings_of(room / "job"))
    assert target.read_bytes() == made.path.read_bytes()


def test_whoever_cancels_during_the_look_has_a_good_restore(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()
    made = bootable.for_bios(room / "disk.img")

    def later(paths: object, patience: float, asked: threading.Event) -> tuple[Starts, ...]:
        assert asked is cancel
        cancel.set()
        return looking(paths, patience, asked)

    looking: Callable[..., tuple[Starts, ...]] = checkboot.check_paths
    monkeypatch.setattr(checkboot, "check_paths", later)
    shown = inventory.look(str(blank(room / "target.img", 26 * MIB)))
    captured = capture_here(made.path, room / "library", room / "capture")
    assert isinstance(captured.result, CaptureResult)
    sample = Sample(room / "library", captured.result.image, made.path)
    plan = planner.plan_restore(sample.library, sample.image, {"disk.img": shown})
    (room / "job").mkdir()
    (room / "job/plan.json").write_bytes(encode(plan))
    ended = carry_out(room / "job", Reporter(len), cancel)
    assert (ended.status, ended.code) == (ExitStatus.DONE, "")
    assert isinstance(ended.result, RestoreResult)
    assert ended.result.starts == ()
