"""The loader of the system on a disk is put back by that system's own programs."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import smart
from imaging.errors import ExitStatus
from imaging.health import Condition, Health
from imaging.startable import Answer, Firmware
from tests import programs
from tests.disks import MIB, digest, lines_of, looped, run
from tests.faults.world import warnings_of
from tests.matrix import bootable
from tests.matrix.bootable import Made
from tests.matrix.repairs import as_disk, done, look, result, zero

pytestmark = pytest.mark.root

FAKE = """#!/usr/bin/sh
echo "$@" >> /calls
case "$1" in
--version) echo "grub-install (fake) 1" ;;
--target=i386-pc)
    {fails}
    ls=$(echo /dev/loop*)
    echo "sees $ls" >> /calls
    dd if=/fake/boot of="$2" bs=440 count=1 conv=notrunc 2>/dev/null
    dd if=/fake/core of="$2" bs=512 seek={core} conv=notrunc 2>/dev/null ;;
*) exit 7 ;;
esac
"""
OS = b'NAME="Small"\nPRETTY_NAME="Small Linux"\n'


def small_system(core: int, prefix: str, *, fails: str = "") -> dict[str, bytes]:
    """A system whose grub-install is a script, with what that needs to run."""
    files = bootable.system()
    files |= programs.contents(programs.needed("sh", "dd"))
    files["usr/sbin/grub-install"] = FAKE.format(core=core, fails=fails).encode()
    files["usr/lib/grub/i386-pc/modinfo.sh"] = b"#\n"
    files["fake/boot"] = bytes(440)
    files["fake/core"] = bootable.core(prefix, core)
    files["etc/os-release"] = OS
    for folder in ("dev", "proc", "sys"):
        files[f"{folder}/.folder"] = b""
    return files


def made_runnable(path: Path, start: int, sector: int) -> None:
    """Rights, and the boot sector that leads to the core."""
    where = path.parent / "root"
    where.mkdir(exist_ok=True)
    with looped(path, start) as loop:
        run("mount", "-t", "ext4", loop, where)
        try:
            for file in [*where.glob("usr/*bin/*"), *where.glob("bin/*"), *where.rglob("*.so*")]:
                file.chmod(0o755)
            boot = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
            boot[0x5C:0x64] = sector.to_bytes(8, "little")
            (where / "fake/boot").write_bytes(boot)
        finally:
            run("umount", where)


def for_bios(room: Path, *, fails: str = "") -> Made:
    made = bootable.for_bios(room / "disk.img", small_system(1, "(,msdos1)/boot/grub", fails=fails))
    made_runnable(made.path, made.root, 1)
    return made


def calls(made: Made) -> list[str]:
    """How the system's grub-install was called."""
    where = made.path.parent / "root"
    with looped(made.path, made.root) as loop:
        run("mount", "-t", "ext4", "-o", "ro", loop, where)
        try:
            return (where / "calls").read_text().splitlines()
        finally:
            run("umount", where)


@pytest.mark.usefixtures("grub")
def test_the_system_s_own_grub_install_puts_the_loader_back(room: Path) -> None:
    made = for_bios(room)
    zero(made.path, 0, 440)
    zero(made.path, 512, 8192)
    with as_disk(made.path) as disk:
        plan = look(disk)
        assert plan.loaders == (Firmware.BIOS,)
        assert plan.system is not None
        assert (plan.system.number, plan.system.name) == (1, "Small Linux")
        before = hashlib.sha256(Path(disk).read_bytes()[:440]).digest()
        finished = done(plan, room / "job")
        assert (finished.status, warnings_of(room / "job")) == (ExitStatus.DONE, [])
        assert result(finished).loaders == ("BIOS",)
        assert result(finished).starts.answer is Answer.STARTS
        assert hashlib.sha256(Path(disk).read_bytes()[:440]).digest() != before
        assert not look(disk).writes
    called, sees = calls(made)
    assert called == f"--target=i386-pc {disk}"
    # The disk, and the partition: no other device of this computer.
    assert str(disk) in sees.split()
    assert len(sees.split()) == 3
    kept = [path.name for path in Path(result(finished).saved).iterdir()]
    assert any(name.endswith("-at-0.bin") for name in kept)
    assert [line for line in lines_of(Path("/proc/self/mounts")) if str(disk) in line] == []


@pytest.mark.usefixtures("grub")
def test_a_grub_install_that_fails_is_told_and_is_no_success(room: Path) -> None:
    made = for_bios(room, fails='echo "no space left" >&2; exit 1')
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        finished = done(look(disk), room / "job")
    assert (finished.status, finished.code) == (ExitStatus.CANNOT_START, "cannot-start")
    assert "no space left" in " ".join(result(finished).failed)
    assert result(finished).loaders == ()


@pytest.mark.usefixtures("grub")
def test_programs_that_cannot_run_here_write_nothing(room: Path) -> None:
    made = for_bios(room)
    where = made.path.parent / "root"
    with looped(made.path, made.root) as loop:
        run("mount", "-t", "ext4", loop, where)
        (where / "usr/sbin/grub-install").write_bytes(b"\x7fELF of another machine")
        run("umount", where)
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
        before = digest(made.path)
        finished = done(plan, room / "job")
    assert finished.status == ExitStatus.CANNOT_START
    assert digest(made.path) == before


def no_program(files: dict[str, bytes]) -> None:
    del files["usr/sbin/grub-install"]


def no_modules(files: dict[str, bytes]) -> None:
    del files["usr/lib/grub/i386-pc/modinfo.sh"]


def apart(files: dict[str, bytes]) -> None:
    files["etc/fstab"] += b"UUID=99999999-9999-9999-9999-999999999999 /usr ext4 defaults 0 2\n"


def boot_elsewhere(files: dict[str, bytes]) -> None:
    files["etc/fstab"] += b"UUID=99999999-9999-9999-9999-999999999999 /boot ext4 defaults 0 2\n"


def no_system(files: dict[str, bytes]) -> None:
    del files["etc/os-release"]


def moved(files: dict[str, bytes]) -> None:
    """It lives on another disk now, and this is what it left behind."""
    files["etc/fstab"] = files["etc/fstab"].replace(bootable.ROOT.encode(), bootable.HOME.encode())


def boot_in_pieces(files: dict[str, bytes]) -> None:
    files["etc/fstab"] += f"UUID={bootable.ROOT} /boot/grub ext4 defaults 0 2\n".encode()


def no_kernel(files: dict[str, bytes]) -> None:
    del files[bootable.KERNEL]


@pytest.mark.usefixtures("grub")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (no_program, "Small Linux has no grub-install of its own"),
        (no_modules, "Small Linux has no GRUB for this kind of firmware"),
        (apart, "/usr of Small Linux is a file system of its own"),
        (boot_elsewhere, "/boot of Small Linux is not on a partition of this disk"),
        (no_system, "no system was found on the disk"),
        (moved, "by its fstab Small Linux has its root elsewhere"),
        (boot_in_pieces, "/boot/grub of Small Linux is a file system of its own"),
        (no_kernel, "Small Linux has no kernel in /boot"),
    ],
)
def test_why_a_loader_is_not_put_back_is_told(room: Path, change: Callable[[dict[str, bytes]], None], why: str) -> None:
    files = small_system(1, "(,msdos1)/boot/grub")
    change(files)
    made = bootable.for_bios(room / "disk.img", files)
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
    assert not plan.writes
    assert why in " ".join(plan.notes)


@pytest.mark.usefixtures("grub")
def test_of_several_systems_a_person_says_which(room: Path) -> None:
    files = small_system(1, "(,msdos1)/boot/grub")
    made = bootable.for_bios(room / "disk.img", files)
    run("sfdisk", "--append", "--quiet", _larger(made.path), text="size=24MiB, type=83\n")
    bootable.ext4(made.path, 25 * MIB, {"etc/os-release": b'PRETTY_NAME="Other"\n'})
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
    assert not plan.loaders
    assert "several systems on the disk" in " ".join(plan.notes)
    assert "1 (Small Linux), 2 (Other)" in " ".join(plan.notes)


def _larger(path: Path) -> Path:
    with path.open("r+b") as file:
        file.truncate(60 * MIB)
    return path


@pytest.mark.usefixtures("grub")
def test_a_plan_for_a_disk_file_promises_no_loader(room: Path) -> None:
    made = bootable.for_bios(room / "disk.img", small_system(1, "(,msdos1)/boot/grub"))
    zero(made.path, 0, 440)
    plan = look(made.path)
    assert not plan.writes
    assert "attach it" in " ".join(plan.notes)


@pytest.mark.usefixtures("grub")
def test_a_failing_disk_gets_no_loader(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Health(condition=Condition.FAILING, reasons=("its spare blocks are used up",))
    monkeypatch.setattr(smart, "health", lambda *_: bad)
    made = bootable.for_bios(room / "disk.img", small_system(1, "(,msdos1)/boot/grub"))
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
    assert not plan.loaders
    assert "the disk is failing" in " ".join(plan.notes)


@pytest.mark.usefixtures("grub")
def test_a_disk_that_starts_needs_nothing(room: Path) -> None:
    plan = look(bootable.for_uefi(room / "disk.img").path)
    assert not plan.writes
    assert plan.notes == ()
