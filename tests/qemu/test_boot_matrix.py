"""One file boots as a stick and as a disc, under BIOS and UEFI, with Secure Boot; a damaged one says what it is."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Sample
from .machine import BOOT, STEP, Machine, started
from .terminal import CTRL_P, ENTER
from .test_stick import extent_of, output_of

pytestmark = pytest.mark.qemu

OWN_WORD = "rescue.own-word=1"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Firmware, medium, memory in MiB, key in the boot menu, and commands with what they say."""

    firmware: str
    medium: str
    memory: int = 1024
    key: str = ENTER
    asked: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.firmware}-{self.medium}"


SECURE = (
    # Four bytes of attributes, then the value; the kernel took over what the firmware enforces.
    (f"od -An -tu1 -j4 {SECURE_BOOT}", "1"),
    ("mount -t securityfs none /sys/kernel/security; cat /sys/kernel/security/lockdown", "[integrity] confidentiality"),
)
CASES = [
    Case(
        firmware="bios",
        medium="stick",
        key="3",
        asked=(
            ("findmnt -no FSTYPE /run/rescue/medium", "tmpfs"),
            ("while ls /sys/class/block | grep -q ^sd; do sleep 1; done; echo pulled", "pulled"),
            # Everything there is to read can be read, without a medium.
            (
                "cat /run/rescue/medium/rescue/*.squashfs > /dev/null && rescue --help > /dev/null && echo whole",
                "whole",
            ),
            (f"grep -o {OWN_WORD} /proc/cmdline", OWN_WORD),
        ),
    ),
    Case(firmware="bios", medium="disc", memory=512, asked=(("findmnt -no SOURCE /run/rescue/medium", "/dev/sr0"),)),
    Case(
        firmware="uefi",
        medium="stick",
        key="2",
        asked=(
            ("findmnt -no SOURCE,FSTYPE /run/rescue/medium", "/dev/sda1 iso9660"),
            (f"grep -o {OWN_WORD} /proc/cmdline", OWN_WORD),
            ("grep -o nomodeset /proc/cmdline", "nomodeset"),
        ),
    ),
    Case(firmware="uefi", medium="disc"),
    Case(firmware="uefi-secure", medium="stick", asked=SECURE),
    Case(firmware="uefi-secure", medium="disc", asked=SECURE),
]


@pytest.fixture(scope="module")
def own_stick(stick: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stick with a word of a person's own for the kernel."""
    return with_own_words(stick, tmp_path_factory.mktemp("own"), f'set extra="{OWN_WORD}"\n')


def with_own_words(stick: Path, folder: Path, words: str) -> Path:
    """A copy of the stick with a file of a person's own on its EFI system partition."""
    copy = folder / "stick.img"
    output_of("cp", "--sparse=always", "--reflink=auto", stick, copy)
    options = folder / "options.cfg"
    options.write_text(words)
    partition = f"{copy}@@{extent_of(copy, 2)[0]}"
    output_of("mmd", "-i", partition, "::/rescue")
    output_of("mcopy", "-i", partition, options, "::/rescue/options.cfg")
    return copy


def choose(machine: Machine, key: str) -> None:
    """Press an entry's key in the boot menu, which stands on the serial line."""
    terminal = machine.terminal
    terminal.wait_for("Serial console at 9600 baud (key 9)", timeout=BOOT)
    # Any key ends the countdown; this one, up, leaves the first entry chosen.
    terminal.press(CTRL_P)
    # A UEFI firmware whose console goes to the line as well draws a second menu over the first: still to be read.
    terminal.wait_for("Power off (key p)", timeout=STEP)
    machine.screenshot("boot-menu")
    terminal.press(key)


def ask(machine: Machine, command: str, answer: str) -> None:
    """Give a command in the shell; what it says ends in this answer."""
    machine.terminal.press(f"clear; {command}; echo '>>'end", ENTER)
    machine.terminal.wait_for(f"{answer} >>end", timeout=STEP)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_file_boots_to_the_menu(case: Case, stick: Path, own_stick: Path, tmp_path: Path) -> None:
    disc = stick if case.medium == "disc" else None
    plugged = own_stick if case.medium == "stick" else None
    with started(tmp_path, firmware=case.firmware, stick=plugged, disc=disc, memory=case.memory) as machine:
        terminal = machine.terminal
        choose(machine, case.key)
        terminal.wait_for("Restore an image", timeout=BOOT)
        machine.wait_for_screen("Restore an image", timeout=STEP)
        machine.screenshot("menu")
        if case.key == "3":
            machine.unplug_stick()
        if case.asked:
            terminal.press("s")
            terminal.wait_for("root@rescue", timeout=STEP)
            for command, answer in case.asked:
                ask(machine, command, answer)
            terminal.press("exit", ENTER)
            terminal.wait_for("Restore an image", timeout=STEP)


@pytest.mark.parametrize(
    ("firmware", "key", "words"),
    [
        ("bios", "d", "Sample machine"),
        ("uefi", "d", "Sample machine"),
        ("uefi", "m", "Memtest86+"),
        ("uefi-secure", "m", "not signed"),
    ],
)
def test_the_boot_menu_leads_elsewhere(
    firmware: str, key: str, words: str, stick: Path, sample: Sample, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    output_of("cp", "--sparse=always", "--reflink=auto", sample.disk, disk)
    with started(tmp_path / "run", firmware=firmware, stick=stick, disk=disk) as machine:
        choose(machine, key)
        machine.terminal.wait_for(words, timeout=BOOT)


def spoil(stick: Path, how: str) -> None:
    """Let the end of the root layer be noise, or let the stick end in the middle of it."""
    report = output_of("xorriso", "-indev", stick, "-find", "/rescue/root.squashfs", "-exec", "report_lba")
    fields = next(line for line in report.splitlines() if line.startswith("File data lba:")).split(",")
    start, size = int(fields[1]) * 2048, int(fields[3])
    with stick.open("r+b") as file:
        if how == "overwritten":
            file.seek(start + size - (1 << 16))
            file.write(b"?" * (1 << 16))
        else:
            file.truncate(start + size // 2)


@pytest.mark.parametrize("how", ["overwritten", "cut-off"])
def test_a_damaged_medium_is_named_in_plain_words(how: str, stick: Path, tmp_path: Path) -> None:
    spoiled = tmp_path / "stick.img"
    output_of("cp", "--sparse=always", "--reflink=auto", stick, spoiled)
    spoil(spoiled, how)
    with started(tmp_path / "run", firmware="bios", stick=spoiled) as machine:
        choose(machine, ENTER)
        machine.terminal.wait_for("the medium is damaged: rescue/root.squashfs", timeout=BOOT)
        machine.terminal.wait_for("Make it anew", timeout=STEP)
        machine.screenshot("told")
