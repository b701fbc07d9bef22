"""On which consoles the live system starts the menu, and what comes after it: the real scripts are run."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.spcr import LENGTH_BEFORE_REVISION_4, MEMORY, sealed, spcr

OVERLAY = Path(__file__).parents[2] / "live-image/system/overlay"
GENERATOR = OVERLAY / "usr/lib/systemd/system-generators/rescue-console-generator"
STOPPED = OVERLAY / "usr/lib/rescue/console-stopped"
IS_CONSOLE = OVERLAY / "usr/lib/rescue/is-console"
WAIT_ON_LINE = OVERLAY / "usr/lib/rescue/wait-on-line"
SPCR = OVERLAY / "usr/lib/rescue/spcr"

PORTS = {"ttyS0": "0x3F8", "ttyS1": "0x2F8", "ttyS2": "0x3E8", "ttyS3": "0x0"}
MAPPED = {"ttyS3": "0xFE034000", "ttyAMA0": "0x9000000"}
"""Where ports are, as sysfs says it."""


def wanted(
    tmp_path: Path, *, active: str, words: str, consoles: dict[str, str], table: bytes = b"", kind_of_unit: str = "tui"
) -> set[str]:
    """The units that the generator asks for; `consoles` are those in sysfs, with their UART's type, empty for none."""
    tty = tmp_path / "sys/class/tty"
    (tty / "console").mkdir(parents=True)
    (tty / "console/active").write_text(f"{active}\n")
    for name, kind in consoles.items():
        (tty / name).mkdir()
        if kind:
            (tty / name / "type").write_text(f"{kind}\n")
            (tty / name / "port").write_text(f"{PORTS.get(name, '0x0')}\n")
            (tty / name / "iomem_base").write_text(f"{MAPPED.get(name, '0x0')}\n")
    if table:
        tables = tmp_path / "sys/firmware/acpi/tables"
        tables.mkdir(parents=True)
        (tables / "SPCR").write_bytes(table)
    (tmp_path / "cmdline").write_text(words)
    environ = {
        "PATH": "/usr/bin:/bin",
        "RESCUE_SYS": str(tmp_path / "sys"),
        "RESCUE_CMDLINE": str(tmp_path / "cmdline"),
        "RESCUE_LIB": str(SPCR.parent),
    }
    subprocess.run([GENERATOR, tmp_path / "out"], check=True, env=environ)
    units = [unit.name for unit in (tmp_path / "out/sysinit.target.wants").iterdir()]
    kind_before = f"rescue-{kind_of_unit}@"
    return {name.removeprefix(kind_before).removesuffix(".service") for name in units if name.startswith(kind_before)}


def speeds(tmp_path: Path) -> dict[str, str]:
    """The speeds that the generator gave to consoles."""
    found = (tmp_path / "out").glob("rescue-tui@*.service.d/speed.conf")
    return {
        file.parent.name.removeprefix("rescue-tui@").removesuffix(".service.d"): file.read_text()
        .partition("RESCUE_SPEED=")[2]
        .strip()
        for file in found
    }


def firmware_console(tmp_path: Path, table: bytes) -> tuple[str, str]:
    """What the program makes of a table, and what it complains of."""
    wanted(tmp_path, active="tty0", words="", consoles={"ttyS0": "4", "ttyS1": "4", "ttyS2": "0", "ttyS3": "4"})
    tables = tmp_path / "sys/firmware/acpi/tables"
    tables.mkdir(parents=True)
    (tables / "SPCR").write_bytes(table)
    environ = {"PATH": "/usr/bin:/bin", "RESCUE_SYS": str(tmp_path / "sys")}
    done = subprocess.run([SPCR], env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("active", "words", "consoles", "expected"),
    [
        ("tty0", "quiet", {"tty1": "", "ttyS0": "4"}, {"tty1", "ttyS0"}),
        ("tty0", "quiet", {"tty1": "", "ttyS0": "0"}, {"tty1"}),
        ("tty0 ttyS1", "console=ttyS1,9600", {"tty1": "", "ttyS0": "0", "ttyS1": "4"}, {"tty1", "ttyS1"}),
        ("ttyAMA0", "", {"tty1": "", "ttyAMA0": "32"}, {"tty1", "ttyAMA0"}),
        ("hvc0 tty0", "console=hvc0", {"tty1": "", "hvc0": ""}, {"tty1", "hvc0"}),
        ("tty0", "rescue.console=ttyS2,80x24", {"tty1": "", "ttyS2": "4"}, {"tty1", "ttyS2"}),
        ("ttyS0", "console=ttyS0 console=tty0", {"ttyS0": "4"}, {"ttyS0"}),
        ("tty0", "rescue.console=../../x console=null", {"tty1": ""}, {"tty1"}),
    ],
)
def test_the_menu_goes_to_the_screen_and_to_every_line_that_the_kernel_uses(
    tmp_path: Path, active: str, words: str, consoles: dict[str, str], expected: set[str]
) -> None:
    assert wanted(tmp_path, active=active, words=words, consoles=consoles) == expected


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("console=ttyUSB0,115200", True),
        ("quiet rescue.console=ttyUSB0", True),
        ("rescue.console=ttyUSB01", False),
        ("console=ttyS0", False),
    ],
)
def test_a_line_behind_usb_gets_a_menu_only_where_it_is_named(tmp_path: Path, words: str, *, named: bool) -> None:
    (tmp_path / "cmdline").write_text(words)
    environ = {"PATH": "/usr/bin:/bin", "RESCUE_CMDLINE": str(tmp_path / "cmdline")}
    done = subprocess.run([IS_CONSOLE, "ttyUSB0"], env=environ, check=False)
    assert (done.returncode == 0) is named


@pytest.mark.parametrize(
    ("code", "status", "shell"),
    [
        ("exited", "1", True),
        ("exited", "0", False),
        ("exited", "129", False),
        ("exited", "143", False),
        ("killed", "9", False),
    ],
)
def test_only_a_menu_that_cannot_start_gives_way_to_a_shell(
    tmp_path: Path, code: str, status: str, *, shell: bool
) -> None:
    said = tmp_path / "said"
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$*" > {said}\n')
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "console-ttyS0.started").write_text(Path("/proc/uptime").read_text().partition(".")[0])
    environ = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "RESCUE_RUN": str(tmp_path),
        "EXIT_CODE": code,
        "EXIT_STATUS": status,
    }
    subprocess.run([STOPPED, "ttyS0"], check=True, env=environ)
    assert said.exists() is shell


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (spcr(0x2F8), "ttyS1 115200"),
        (spcr(0x2F8, speed_code=3), "ttyS1 9600"),
        (spcr(0x2F8, speed_code=4), "ttyS1 19200"),
        (spcr(0x2F8, speed_code=6), "ttyS1 57600"),
        # "As it is now", and a number that the document does not have.
        (spcr(0x3F8, speed_code=0), "ttyS0 115200"),
        (spcr(0x3F8, speed_code=5), "ttyS0 115200"),
        (spcr(0xFE034000, space=MEMORY, interface=0x12), "ttyS3 115200"),
        (spcr(0x2F8, revision=4, speed_code=0, precise=460800), "ttyS1 460800"),
        (spcr(0x2F8, revision=4, speed_code=3, precise=0), "ttyS1 9600"),
        (spcr(0x2F8, revision=4, speed_code=3, precise=0xFFFFFFFF), "ttyS1 9600"),
        (sealed(spcr(0x2F8, revision=1)), "ttyS1 115200"),
    ],
)
def test_the_firmwares_console_is_found_by_its_address(tmp_path: Path, table: bytes, expected: str) -> None:
    assert firmware_console(tmp_path, table) == (expected, "")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (b"", "0 bytes"),
        (spcr(0x2F8)[:79], "79 bytes"),
        (spcr(0x2F8) + b"\0", "says 80"),
        (spcr(0x2F8) + bytes(5000), "4097 bytes"),
        (spcr(0x2F8)[:-1] + b"\1", "checksum"),
        (b"\xff" * LENGTH_BEFORE_REVISION_4, "not one"),
        (sealed(b"DBG2" + spcr(0x2F8)[4:]), "not one"),
        (spcr(0x2F8, space=3), "address space 3"),
        # A port that has no UART, one that is not there, and the space taken for the other.
        (spcr(0x3E8), "no serial port"),
        (spcr(0x2F0), "no serial port"),
        (spcr(0x2F8, space=MEMORY), "no serial port"),
        (spcr(0xFFFFFFFFFFFFFFFF, space=MEMORY), "no serial port"),
    ],
)
def test_a_bad_table_of_the_firmwares_names_no_console(tmp_path: Path, table: bytes, complaint: str) -> None:
    found, said = firmware_console(tmp_path, table)
    assert not found
    assert complaint in said


def test_a_firmware_without_redirection_is_no_fault(tmp_path: Path) -> None:
    assert firmware_console(tmp_path, spcr(0)) == ("", "")


@pytest.mark.parametrize(
    ("table", "words", "consoles", "expected", "speed"),
    [
        (spcr(0x2F8, speed_code=6), "quiet", {"ttyS0": "4", "ttyS1": "4"}, {"ttyS0", "ttyS1"}, {"ttyS1": "57600"}),
        (spcr(0x9000000, space=MEMORY), "", {"tty1": "", "ttyAMA0": "32"}, {"tty1", "ttyAMA0"}, {"ttyAMA0": "115200"}),
        # What a person wrote goes before the table.
        (spcr(0x2F8), "rescue.console=ttyS1,9600,80x24", {"ttyS1": "4"}, {"ttyS1"}, {"ttyS1": "9600"}),
        (spcr(0x2F8), "console=ttyS1,9600n8", {"ttyS1": "4"}, {"ttyS1"}, {}),
        (b"", "rescue.console=/dev/ttyS2,57600", {"ttyS2": "4"}, {"ttyS2"}, {"ttyS2": "57600"}),
        # It is plugged in later.
        (b"", "rescue.console=ttyUSB0,38400", {"tty1": ""}, {"tty1"}, {"ttyUSB0": "38400"}),
        (spcr(0x2F8)[:-1] + b"\1", "", {"tty1": "", "ttyS1": "4"}, {"tty1"}, {}),
    ],
)
def test_the_menu_comes_up_where_the_firmware_has_its_console(
    tmp_path: Path, table: bytes, words: str, consoles: dict[str, str], expected: set[str], speed: dict[str, str]
) -> None:
    assert wanted(tmp_path, active="tty0", words=words, consoles=consoles, table=table) == expected
    assert speeds(tmp_path) == speed


def test_on_other_serial_ports_somebody_is_waited_for(tmp_path: Path) -> None:
    consoles = {"tty1": "", "ttyS0": "4", "ttyS1": "4", "ttyS2": "0", "ttyS3": "4", "ttyUSB0": ""}
    found = wanted(tmp_path, active="tty0", words="", consoles=consoles, table=spcr(0x2F8), kind_of_unit="line")
    assert found == {"ttyS3"}


def started_by(tmp_path: Path, typed: bytes) -> str:
    """The unit that is started after something was typed on an unused line; empty where none is."""
    said = tmp_path / "said"
    said.unlink(missing_ok=True)
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$*" > {said}\n')
    (tmp_path / "systemctl").chmod(0o755)
    ours, line = pty.openpty()
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    waiting = subprocess.Popen([WAIT_ON_LINE, "ttyS1"], env=environ, stdin=line, stdout=line)
    seen = b""
    while b"on this line." not in seen:
        seen += os.read(ours, 1000)
    # Ctrl+D ends what was typed, then all: the waiting ends as it does when the line hangs up.
    os.write(ours, typed + b"\x04\x04")
    status = waiting.wait(timeout=180)
    os.close(ours)
    os.close(line)
    assert (status == 0) is said.exists()
    return said.read_text().strip() if said.exists() else ""


def test_enter_twice_starts_the_menu_on_an_unused_line(tmp_path: Path) -> None:
    assert started_by(tmp_path, b"\r\r") == "--no-block start rescue-tui@ttyS1.service"
    assert started_by(tmp_path, b"hello\r\r\r") == "--no-block start rescue-tui@ttyS1.service"


@pytest.mark.parametrize(
    "noise",
    [
        b"\r\nRING\r\n\r\nRING\r\n",
        b"$GPRMC,1,A*1\r\n$GPRMC,2,A*2\r\n",
        b"\n\n\n\r",
        b"\r\0\xff\xfe\x80\r\x00",
    ],
)
def test_what_no_person_types_starts_no_menu(tmp_path: Path, noise: bytes) -> None:
    assert started_by(tmp_path, noise) == ""


def test_the_units_that_the_generator_names_are_there() -> None:
    linked = set(re.findall(r"/etc/systemd/system/(rescue-\w+@\.service)", GENERATOR.read_text()))
    assert linked == {"rescue-tui@.service", "rescue-line@.service"}
    for unit in linked:
        assert (OVERLAY / "etc/systemd/system" / unit).is_file()
