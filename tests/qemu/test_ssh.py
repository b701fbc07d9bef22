"""A shell from afar, with a key from the kernel command line and with a password of the Network screen; and the menu
on the serial port that the firmware names, with nothing said on the command line."""

import base64
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from tests.servers.s3 import free_ports
from tests.spcr import spcr

from .conftest import LABEL
from .line import SlowLine
from .machine import BOOT, STEP, Machine, started
from .terminal import DOWN, ENTER, ESCAPE, SerialTerminal
from .test_boot_matrix import with_own_words

SECOND_PORT = 0x2F8
BAUD, BAUD_CODE = 57600, 6
REFUSED = 255
"""ssh's own exit status, where it did not get as far as the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """ssh on this computer, which knows no keys and no hosts but those of the test."""

    folder: Path
    port: int

    def argv(self, *options: str) -> list[str]:
        """The command up to the host."""
        known = self.folder / "known_hosts"
        settings = [f"UserKnownHostsFile={known}", "StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes"]
        settings += ["LogLevel=ERROR", "NumberOfPasswordPrompts=1", f"ConnectTimeout={STEP:.0f}"]
        pairs = [word for setting in settings for word in ("-o", setting)]
        return ["ssh", "-F", "none", "-p", str(self.port), *pairs, *options, "root@127.0.0.1"]

    def run(self, command: str, *, key: Path | None = None, password: str | None = None) -> tuple[int, str]:
        """A command's exit status, and all that it or ssh says."""
        options = ["-i", str(key)] if key else ["-o", "PubkeyAuthentication=no"]
        environ = {**os.environ}
        if password is None:
            options += ["-o", "PasswordAuthentication=no"]
        else:
            asked = self.folder / "askpass"
            asked.write_text('#!/bin/sh\nprintf "%s\\n" "$TEST_PASSWORD"\n')
            asked.chmod(0o755)
            environ |= {"SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force", "TEST_PASSWORD": password}
        done = subprocess.run(
            [*self.argv(*options), command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environ,
            timeout=STEP,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def fingerprint(self) -> str:
        """Of the host key that ssh was shown."""
        done = subprocess.run(
            ["ssh-keygen", "-l", "-f", self.folder / "known_hosts"], check=True, capture_output=True, text=True
        )
        return done.stdout.split()[1]


def make_key(folder: Path, name: str) -> Path:
    """A key of its own; the public half lies beside it."""
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@test", "-f", key], check=True)
    return key


def allow_a_password(machine: Machine) -> tuple[str, str]:
    """On the Network screen; returns the password and the host key's fingerprint."""
    terminal = machine.terminal
    terminal.press("6")
    terminal.wait_for("cable plugged in, 10.0.2.15", timeout=STEP)
    terminal.wait_for("on: this menu can be used", timeout=STEP)
    terminal.press(DOWN, ENTER)
    terminal.wait_for("Keys that let in: anna@test", timeout=STEP)
    terminal.press("2")
    terminal.wait_for("Make another password", timeout=STEP)
    terminal.wait_for("ssh root@10.0.2.15", timeout=STEP)
    # The cursor comes to rest last of all: until then the password may be half drawn.
    terminal.wait_for_cursor(">  1  Leave it on", timeout=STEP)
    password, fingerprint = re.search(r"Password:\s+(\S+)", terminal.text), re.search(r"SHA256:\S+", terminal.text)
    assert password
    assert fingerprint
    return password[1], fingerprint[0]


@pytest.mark.qemu
@pytest.mark.thorough
def test_the_menu_is_there_from_afar_and_where_the_firmware_has_its_console(stick: Path, tmp_path: Path) -> None:
    client = Client(folder=tmp_path, port=free_ports(1)[0])
    key, other = make_key(tmp_path, "anna"), make_key(tmp_path, "mallory")
    table = tmp_path / "spcr.bin"
    table.write_bytes(spcr(SECOND_PORT, speed_code=BAUD_CODE))
    line, unused = SlowLine(tmp_path / "second", baud=BAUD), SlowLine(tmp_path / "third", baud=115200)
    more = [f"--acpi-table={table}", *(f"--further-line={one.path}" for one in (line, unused))]
    public = key.with_suffix(".pub").read_text().strip()
    own = with_own_words(stick, tmp_path, f"set extra='rescue.ssh=\"{public}\"'\n")
    with (
        started(tmp_path / "run", firmware="bios", stick=own, network={client.port: 22}, more=more) as machine,
        line.passing(),
        unused.passing(),
    ):
        line.plug()
        unused.plug()
        second, third = SerialTerminal(line, tmp_path / "second.log"), SerialTerminal(unused, tmp_path / "third.log")
        # The boot menu is there as well; later the firmware's table alone has brought the menu there, and its speed.
        second.wait_for("Serial console at 9600 baud", timeout=BOOT)
        second.wait_for("Restore an image", timeout=BOOT)
        second.wait_for("ssh on: this menu can be used from another computer", timeout=STEP)
        machine.terminal.wait_for("Restore an image", timeout=BOOT)

        machine.screenshot("menu-with-ssh")

        # On a port that nobody names, somebody is waited for.
        third.wait_for("press Enter twice for the menu on this line", timeout=STEP)
        third.press("x", ENTER)
        assert "Restore an image" not in third.text
        third.press(ENTER, ENTER)
        third.wait_for("Restore an image", timeout=STEP)

        # Anna's key lets in, and nobody else's; a password does not, as nobody has allowed one.
        status, said = client.run("stty -F /dev/ttyS1 speed; cat /proc/cmdline", key=key)
        assert status == 0, said
        assert said.split()[0] == str(BAUD)
        assert "console=ttyS1" not in said
        assert client.run("true", key=other)[0] == REFUSED
        status, said = client.run("true", password="root")
        assert status == REFUSED
        assert "Permission denied (publickey)" in said

        password, fingerprint = allow_a_password(machine)
        assert client.fingerprint == fingerprint
        status, said = client.run("true", password=f"{password}x")
        assert status == REFUSED
        assert "Permission denied" in said
        status, said = client.run("rescue disks --json", password=password)
        assert status == 0, said
        assert json.loads(said)["disks"]
        assert client.run("exit 7", password=password)[0] == 7
        # What anybody could read later holds the fingerprint, not the password.
        files = "find /run /etc /root /var /tmp -xdev -type f -size -2048k -exec cat {} +"
        status, said = client.run(f"(dmesg; journalctl --output=cat; ps -ef; {files}) | base64", key=key)
        assert status == 0, said
        everything = base64.b64decode(said)
        assert fingerprint.encode() in everything
        assert password.encode() not in everything

        # The same menu, with the jobs of the others.
        images = "/run/rescue/images/rescue-library"
        listed = client.run(f"rescue images --json --library {images}", key=key)[1]
        assert LABEL in listed
        environ = {**os.environ, "TERM": "xterm-256color"}
        session: pexpect.spawn[bytes] = pexpect.spawn(
            "ssh", client.argv("-i", str(key))[1:], env=environ, dimensions=(24, 80), timeout=30
        )
        afar = SerialTerminal(session, tmp_path / "ssh.log")
        afar.wait_for("Restore an image", timeout=STEP)
        image = json.loads(listed)["images"][0]["id"]
        status, said = client.run(f"rescue verify {image} --library {images}", key=key)
        assert status == 0, said
        for terminal in (afar, second):
            terminal.press("5")
            terminal.wait_for(LABEL, timeout=STEP)
            terminal.press(ESCAPE)
        # A window that is made smaller is known there.
        session.setwinsize(20, 60)
        look = "for tty in /dev/pts/*[0-9]; do stty -F $tty size; done"
        afar.wait_until(lambda: "20 60" in client.run(look, key=key)[1], what="the new size", timeout=STEP)

        # Switched off, nobody is in and nobody comes in; the machine goes on.
        machine.terminal.press("3")
        machine.terminal.wait_for("Leave it off", timeout=STEP)
        afar.wait_until(lambda: afar.closed, what="the end of the session", timeout=STEP)
        # The menu has given the terminal back: it is on its first screen, without the mouse.
        said_last = (tmp_path / "ssh.log").read_bytes()
        assert said_last.rfind(b"\x1b[?1049l") > said_last.rfind(b"\x1b[?1049h") >= 0
        for allowed in ({"key": key}, {"password": password}):
            assert client.run("true", **allowed)[0] == REFUSED
        machine.terminal.press(ESCAPE)
        machine.terminal.wait_for("off: nobody can come in", timeout=STEP)
        machine.terminal.press(ESCAPE)
        machine.terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()
