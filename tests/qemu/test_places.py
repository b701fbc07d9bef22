"""In QEMU, from the menu: a backup to a Windows share, and restores from a web server and from a bucket.

The servers are real ones, on this computer: Samba, nginx with TLS, Swift with its S3 interface.
"""

import random
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.servers import s3, smb, web

from .conftest import LABEL, Sample
from .machine import BOOT, JOB, STEP, Machine, started
from .terminal import DOWN, ENTER, SerialTerminal
from .test_orders import place_of

HERE = "10.0.2.2"
"""This computer, as the machine sees it."""
SHARE = f"/run/rescue/shares/{HERE}-{smb.SHARE}"
OWN, SECOND, THIRD = (f"RESCUE-TEST-{number}" for number in (1, 2, 3))
START, ROOM = 1 * MIB, 48 * MIB


def disk_of_papers(path: Path) -> Path:
    """A disk with a volume of files, and nothing that starts."""
    files = path.with_suffix(".files")
    files.mkdir()
    for number in range(4):
        (files / f"paper {number}").write_bytes(random.Random(number).randbytes(2 * MIB))
    blank(path, 64 * MIB)
    partition(path, f"label: gpt\nstart={START // 512}, size={ROOM // 512}\n")
    run("mkfs.ext4", "-q", "-L", "PAPERS", "-d", files, "-E", f"offset={START}", path, f"{ROOM // 1024}k")
    return path


def stick_with(stick: Path, certificate: Path, folder: Path) -> Path:
    """A copy of the stick that carries who vouches for the web server."""
    own, script = folder / "stick.img", folder / "script.debugfs"
    run("cp", "--sparse=always", stick, own)
    script.write_text(f"write {certificate} ca.pem\n")
    run("debugfs", "-w", "-f", script, place_of(own, 3))
    return own


def fill_in(terminal: SerialTerminal, *fields: tuple[str, str]) -> None:
    """Type into one field after the other, each by the words before it, and press Enter in it."""
    for words, typed in fields:
        terminal.wait_for_field(words, timeout=STEP)
        terminal.type(typed)
        terminal.press(ENTER)


def type_address(terminal: SerialTerminal, question: str, address: str) -> None:
    """Into the box that asks for one; its field stands alone."""
    terminal.wait_for(question, timeout=STEP)
    fill_in(terminal, ("|", address))


def back_up_to_the_share(terminal: SerialTerminal, nas: smb.Smb) -> None:
    """From the main menu and back to it; a password that is wrong comes first."""
    terminal.press("2")
    terminal.wait_for_cursor("> [x] vda", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for_cursor("> /run/rescue/images/rescue-library", timeout=STEP)
    terminal.press(DOWN)
    terminal.wait_for_cursor("> A network share ..", timeout=STEP)
    terminal.press(ENTER)
    type_address(terminal, "Which network share?", nas.address(HERE))
    terminal.wait_for(f"Who asks for //{HERE}/{smb.SHARE}?", timeout=STEP)
    fill_in(terminal, ("User (empty: as a guest)", smb.USER), ("Password", "wrong"))
    terminal.wait_for(f"{HERE} does not let this user at //{HERE}/{smb.SHARE}", timeout=STEP)
    assert f"[{smb.USER} " in terminal.text
    fill_in(terminal, ("Password", smb.PASSWORD))
    terminal.wait_for_cursor(f"> {SHARE}/rescue-library", timeout=STEP)
    assert "a new library is made in this folder" in terminal.flow
    terminal.press(ENTER)
    fill_in(terminal, ("Label:", "To the NAS"))
    terminal.wait_for_cursor("[ Start the backup ]", timeout=STEP)
    terminal.press(ENTER)
    wait_for_the_end(terminal)


def wait_for_the_end(terminal: SerialTerminal) -> None:
    """Of a job, and back to the main menu."""
    terminal.wait_for("A job has ended", timeout=JOB)
    terminal.wait_for("DONE", timeout=STEP)
    terminal.wait_for_cursor("[ Main menu ]", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)


def let_go_of_the_share(terminal: SerialTerminal) -> None:
    """In the shell; what is restored later comes from elsewhere."""
    terminal.press("s")
    terminal.wait_for("root@rescue", timeout=STEP)
    command = f"rescue unmount-share {SHARE}; grep ' cifs ' /proc/mounts || echo unmounted-$((40 + 2))"
    terminal.press(f"clear; {command}", ENTER)
    terminal.wait_for("unmounted-42", timeout=STEP)
    assert f"Nothing is mounted at {SHARE} any more." in terminal.flow
    terminal.press("exit", ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)


def look_in(terminal: SerialTerminal, address: str) -> None:
    """From the main menu to the box that follows once the address of a bucket or web server was typed."""
    terminal.press("1")
    terminal.wait_for(LABEL, timeout=STEP)
    terminal.wait_for_cursor("> ", timeout=STEP)
    terminal.press("o")
    terminal.wait_for_cursor("> A network share ..", timeout=STEP)
    terminal.press(DOWN)
    terminal.wait_for_cursor("> A bucket or a web server ..", timeout=STEP)
    terminal.press(ENTER)
    type_address(terminal, "Which bucket or web server?", address)


def restore(machine: Machine, label: str, disk: str, downs: int) -> None:
    """From the list of images, whichever is chosen there, to a disk; and back to the main menu."""
    terminal = machine.terminal
    terminal.press("/")
    terminal.wait_for_field("Show only:", timeout=STEP)
    terminal.type(label)
    terminal.wait_for("1 of", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for_cursor("> 20", timeout=STEP)
    machine.screenshot(f"image-{disk}")
    terminal.press(ENTER)
    terminal.wait_for_cursor("> Everything:", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for_cursor("> vda", timeout=STEP)
    for number in range(downs):
        terminal.press(DOWN)
        terminal.wait_for_cursor(f"> vd{'bc'[number]}", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for_field(f"{disk}:", timeout=STEP)
    terminal.type(disk)
    # The check of the stick itself may go on: until then there is nothing for Enter to go to.
    terminal.wait_for("[ Restore ]", timeout=JOB)
    terminal.press(ENTER)
    terminal.wait_for_cursor("[ Restore ]", timeout=STEP)
    terminal.press(ENTER)
    wait_for_the_end(terminal)


@pytest.mark.qemu
@pytest.mark.thorough
@pytest.mark.root
def test_a_computer_is_backed_up_to_a_share_and_disks_come_from_a_web_server_and_a_bucket(
    stick: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = {name: tmp_path / f"{name}.img" for name in (OWN, SECOND, THIRD)}
    run("cp", "--sparse=always", sample.disk, disks[OWN])
    blank(disks[SECOND], sample.disk.stat().st_size)
    papers = disk_of_papers(tmp_path / "papers.img")
    blank(disks[THIRD], papers.stat().st_size)
    with (
        smb.serving(tmp_path / "smb") as nas,
        web.serving(nas.home, tmp_path / "web", tls=True) as site,
        s3.serving(tmp_path / "s3") as cloud,
    ):
        cloud.bucket("papers")
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        run_rescue("capture", papers, "--library", "s3://papers/images", "--label", "Papers")
        assert site.certificate
        with started(
            tmp_path / "run",
            firmware="bios",
            stick=stick_with(stick, site.certificate, tmp_path),
            disk=disks[OWN],
            bus="virtio",
            network={},
            more=[f"--disk={disks[SECOND]}", f"--disk={disks[THIRD]}"],
        ) as machine:
            terminal = machine.terminal
            terminal.wait_for("Restore an image", timeout=BOOT)
            terminal.wait_for("/run/rescue/images/rescue-library", timeout=STEP)
            back_up_to_the_share(terminal, nas)
            library = nas.home / "rescue-library"
            (image,) = run_rescue("images", "--library", library, "--json").json["images"]
            assert image["label"] == "To the NAS"
            run_rescue("verify", image["id"], "--library", library)
            run_rescue("verify", image["id"], "--library", library, "--against", sample.disk)
            let_go_of_the_share(terminal)

            # What the share was given is handed out by the web server; nobody has heard of who vouches for that one.
            look_in(terminal, f"{site.url.replace('127.0.0.1', HERE)}/rescue-library")
            terminal.wait_for("nobody whom this computer knows vouches for it", timeout=STEP)
            machine.screenshot("who-vouches")
            fill_in(terminal, ("|", "/run/rescue/images/ca.pem"))
            terminal.wait_for("To the NAS", timeout=STEP)
            assert "Cannot be read" not in terminal.text
            restore(machine, "nas", SECOND, 1)

            look_in(terminal, "s3://papers/images")
            fill_in(
                terminal,
                ("Server (empty: Amazon)", cloud.endpoint.replace("127.0.0.1", HERE)),
                ("Region (may stay empty)", ""),
                ("Access key (empty: public)", s3.KEY),
                ("Secret key", s3.SECRET),
                ("Limit in MB/s (empty: none)", ""),
            )
            terminal.wait_for("Papers", timeout=STEP)
            restore(machine, "papers", THIRD, 2)
            machine.power_off_from_the_menu()
        (stored,) = run_rescue("images", "--library", "s3://papers/images", "--json").json["images"]
        run_rescue("verify", stored["id"], "--library", "s3://papers/images", "--against", disks[THIRD])
    run("cmp", disks[OWN], sample.disk)
    run_rescue("verify", image["id"], "--library", library, "--against", disks[SECOND])
    assert run("debugfs", "-R", "cat /etc/rescue-marker", place_of(disks[SECOND], 3)).strip() == sample.marker
    # No line that a person could look at later holds what was typed as a password or a secret.
    assert smb.PASSWORD == s3.SECRET
    assert smb.PASSWORD.encode() not in (tmp_path / "run/serial.log").read_bytes()
