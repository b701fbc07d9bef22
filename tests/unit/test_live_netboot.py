"""What the initramfs does with an address and a web server when it starts over the network: the real script is run."""

import hashlib
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "live-image/root/initramfs/network/network.sh"
SYSTEM_PATH = "/usr/bin:/bin"

# In the place of init's own, which write to all consoles; giving up ends the script.
STAND_INS = """
say() { echo "$1"; }
give_up() { echo "GAVE UP: $1 ${2:-}"; exit 3; }
try_again() { echo "TRIED AGAIN: $1"; }
"""
# Carries out the next answer, a shell script that knows `target`.
WGET = """#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" != -O ] || target=$2; shift; done
number=$(($(cat "$ANSWERS/asked" 2>/dev/null || echo 0) + 1))
echo $number > "$ANSWERS/asked"
. "$ANSWERS/$number"
"""
LAYER = b"squashfs" * 400
NOT_FOUND = "echo 'wget: server returned error: HTTP/1.1 404 Not Found' >&2; exit 1"
CUT_OFF = "echo 'wget: connection closed prematurely' >&2; exit 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How the script ended and what it said."""

    status: int
    said: str


def run_script(tmp_path: Path, commands: str, *, answers: Sequence[str] = (), memory: str = "") -> Ran:
    """Source the script and run commands of it; wget gives these answers, one after the other."""
    binaries, folder = tmp_path / "bin", tmp_path / "answers"
    for made in (binaries, folder, tmp_path / "medium/rescue"):
        made.mkdir(parents=True)
    for name, text in (("wget", WGET), ("sleep", "#!/bin/sh\n")):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    for number, answer in enumerate(answers, start=1):
        (folder / str(number)).write_text(answer)
    (tmp_path / "meminfo").write_text(memory)
    (tmp_path / "said").write_text("wget: download timed out\n")
    settings = f"medium={tmp_path}/medium; url=http://server/rescue"
    places = f"sums={tmp_path}/sums; said={tmp_path}/said"
    done = subprocess.run(
        ["sh", "-c", f". {SCRIPT}\n{STAND_INS}\n{settings}\n{places}\n{commands}"],
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": f"{binaries}:{SYSTEM_PATH}",
            "ANSWERS": str(folder),
            "RESCUE_MEMINFO": str(tmp_path / "meminfo"),
            "RESCUE_SYS": str(tmp_path / "sys"),
        },
    )
    assert not done.stderr
    return Ran(status=done.returncode, said=done.stdout)


def sums_of(tmp_path: Path, layer: bytes = LAYER) -> str:
    """Write SHA256SUMS for root.squashfs and return its own digest."""
    text = f"# size {len(layer)} root.squashfs\n{hashlib.sha256(layer).hexdigest()}  root.squashfs\n"
    (tmp_path / "sums").write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def answer(data: bytes) -> str:
    """Append this to the file, as wget -c does."""
    return f'printf %s {shlex.quote(data.decode())} >> "$target"'


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("http://server/rescue/", "http://server/rescue"),
        ("http://server:8080/a/rescue/boot.ipxe", "http://server:8080/a/rescue"),
        ("http://server", "http://server"),
        ("http://server/v1.2", "http://server/v1.2"),
    ],
)
def test_the_folder_is_where_the_boot_script_came_from(tmp_path: Path, given: str, folder: str) -> None:
    assert run_script(tmp_path, f"read_url {given}; echo $url").said == f"{folder}\n"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("https://server/rescue", "cannot check who an https server is"),
        ("tftp://server/rescue", "not an address that begins with http://"),
        ("http://server/a'b", "characters that cannot stand in one"),
    ],
)
def test_an_address_that_cannot_be_trusted_or_used_is_refused(tmp_path: Path, given: str, why: str) -> None:
    ran = run_script(tmp_path, f"read_url {shlex.quote(given)}")
    assert ran.status == 3
    assert why in ran.said


def test_a_static_address_and_the_first_card_are_read_from_the_kernel_line(tmp_path: Path) -> None:
    words = "quiet ip=10.0.0.5::10.0.0.1:255.255.0.0::eth1:none:10.0.0.2 BOOTIF=01-52-54-00-AB-CD-EF"
    show = 'echo "$address|$gateway|$mask|$only|$servers|$first"'
    ran = run_script(tmp_path, f"kernel_line={shlex.quote(words)}; read_words; {show}")
    assert ran.said == "10.0.0.5|10.0.0.1|255.255.0.0|eth1|10.0.0.2 |52:54:00:ab:cd:ef\n"


def put_card(tmp_path: Path, name: str, mac: str, *, wireless: bool = False) -> None:
    """A network card in sysfs."""
    folder = tmp_path / "sys/class/net" / name
    (folder / "device").mkdir(parents=True)
    (folder / "type").write_text("1\n")
    (folder / "address").write_text(f"{mac}\n")
    if wireless:
        (folder / "wireless").mkdir()


def test_the_card_that_the_kernel_came_through_is_asked_first_and_wireless_ones_never(tmp_path: Path) -> None:
    put_card(tmp_path, "eth0", "52:54:00:00:00:01")
    put_card(tmp_path, "eth1", "52:54:00:00:00:02")
    put_card(tmp_path, "wlan0", "52:54:00:00:00:03", wireless=True)
    (tmp_path / "sys/class/net/lo").mkdir()
    assert run_script(tmp_path, "only= first=52:54:00:00:00:02; cards").said == "eth1\neth0\n"


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ("linked= leased=", "no cable is plugged in, or its other end is off: eth0 (52:54:00:00:00:01)."),
        ("linked=' eth0 eth0' leased=", "nobody gave this computer an address (DHCP) on eth0 (52:54:00:00:00:01)."),
        (
            "linked=' eth0' leased=eth0",
            "http://server/rescue/SHA256SUMS cannot be fetched through eth0 (52:54:00:00:00:01): download timed out.",
        ),
    ],
)
def test_what_stands_between_a_card_and_its_server_is_told(tmp_path: Path, seen: str, why: str) -> None:
    put_card(tmp_path, "eth0", "52:54:00:00:00:01")
    assert run_script(tmp_path, f"only= first= {seen}; why_not").said == f"{why}\n"


def test_a_card_without_a_driver_is_named_by_its_numbers(tmp_path: Path) -> None:
    for name, kind in (("0000:00:03.0", "0x020000"), ("0000:00:04.0", "0x030000")):
        device = tmp_path / "sys/bus/pci/devices" / name
        device.mkdir(parents=True)
        for file, value in (("class", kind), ("vendor", "0x14e4"), ("device", "0x164e")):
            (device / file).write_text(f"{value}\n")
    ran = run_script(tmp_path, "only= first= linked= leased=; why_not")
    assert ran.said == "no network card was found; without a driver here: 14e4:164e.\n"


def test_a_layer_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    sums_of(tmp_path)
    half = f"{answer(LAYER[:1000])}; {CUT_OFF}"
    ran = run_script(tmp_path, "fetch_proved root.squashfs", answers=[half, answer(LAYER[1000:])])
    assert ran.status == 0
    assert "root.squashfs was cut off" in ran.said
    assert (tmp_path / "medium/rescue/root.squashfs").read_bytes() == LAYER


def test_a_file_that_is_missing_is_asked_for_again_after_it_was_told(tmp_path: Path) -> None:
    sums_of(tmp_path)
    ran = run_script(tmp_path, "fetch_proved root.squashfs", answers=[NOT_FOUND, answer(LAYER)])
    assert ran.status == 0
    told = "TRIED AGAIN: http://server/rescue/root.squashfs cannot be fetched: server returned error: HTTP/1.1 404"
    assert told in ran.said


def test_a_layer_that_is_damaged_twice_ends_the_start(tmp_path: Path) -> None:
    sums_of(tmp_path)
    damaged = b"S" + LAYER[1:]
    ran = run_script(tmp_path, "fetch_proved root.squashfs", answers=[answer(damaged), answer(damaged)])
    assert ran.status == 3
    assert "fetching it once more" in ran.said
    assert "GAVE UP: http://server/rescue/root.squashfs is damaged" in ran.said


def test_digests_of_another_build_end_the_start(tmp_path: Path) -> None:
    digest = sums_of(tmp_path)
    assert run_script(tmp_path / "same", f"sums={tmp_path}/sums; expected={digest}; prove_sums").status == 0
    other = run_script(tmp_path / "other", f"sums={tmp_path}/sums; expected={digest[::-1]}; prove_sums")
    assert other.status == 3
    assert "belongs to another build than this kernel" in other.said


def test_too_little_memory_says_how_much_is_needed(tmp_path: Path) -> None:
    commands = f"working=100; layers={100 << 20}; check_memory"
    enough = f"MemTotal: {300 << 10} kB\nMemFree: 1 kB\nMemAvailable: {200 << 10} kB\n"
    assert run_script(tmp_path / "enough", commands, memory=enough).status == 0
    less = enough.replace(str(200 << 10), str(150 << 10))
    ran = run_script(tmp_path / "less", commands, memory=less)
    assert ran.status == 3
    assert "300 MiB, and starting over the network needs 351 MiB" in ran.said
