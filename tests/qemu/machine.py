"""A machine in QEMU, started through live-image/run-in-qemu, with its serial terminal and its monitor."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from .terminal import ENTER, RIGHT, SerialTerminal

CHECKOUT = Path(__file__).resolve().parents[2]
RUN_IN_QEMU = CHECKOUT / "live-image/run-in-qemu"

# A machine that was asked to power off, under emulation on a busy host.
POWER_OFF_TIMEOUT = 120.0

# Seconds in which an emulated machine on a busy host answers a key, and how often a key may be lost on its way.
_DRAWN = 3.0
_TRIES = 3


class Machine:
    """A running machine."""

    def __init__(self, line: "pexpect.spawn[bytes]", folder: Path) -> None:
        self._line = line
        self._folder = folder
        self.terminal = SerialTerminal(line, folder / "serial.log")

    def screenshot(self, name: str) -> Path:
        """The VGA screen as a PNG file in the machine's folder."""
        picture = self._folder / f"{name}.png"
        self._monitor("screendump", filename=str(picture), format="png")
        return picture

    def wait_for_power_off(self, timeout: float = POWER_OFF_TIMEOUT) -> None:
        """Wait until the machine has switched itself off."""
        terminal = self.terminal

        def off() -> bool:
            return terminal.closed

        if not off():
            deadline = terminal.seconds + timeout
            while not off() and terminal.seconds < deadline:
                terminal.look()
        assert off(), f"the machine did not power off within {timeout:.0f} s; its screen:\n{terminal.text}"

    def power_off_from_the_menu(self) -> None:
        """Choose Power off in the main menu; the focus starts on the harmless answer, and moves when it is drawn."""
        terminal = self.terminal
        for _ in range(_TRIES):
            terminal.press("6")
            terminal.wait_for("Switch the computer off?", timeout=POWER_OFF_TIMEOUT)
            terminal.look(_DRAWN)
            terminal.press(RIGHT)
            terminal.look(_DRAWN)
            terminal.press(ENTER)
            terminal.look(_DRAWN)
            if "Switch the computer off" in terminal.text or "1-6 or Enter choose" not in terminal.text:
                break
        self.wait_for_power_off()

    def stop(self) -> None:
        """End the machine whatever it does, as pulling the plug would."""
        self._line.close(force=True)

    def _monitor(self, command: str, **arguments: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self._folder / "monitor"))
            with connection.makefile("rw") as lines:
                # The greeting comes first; commands are refused until capabilities were settled.
                lines.readline()
                for name, values in (("qmp_capabilities", {}), (command, arguments)):
                    lines.write(json.dumps({"execute": name, "arguments": values}) + "\n")
                    lines.flush()
                    while "event" in (answer := json.loads(lines.readline())):
                        pass
                    if "error" in answer:
                        raise RuntimeError(f"QEMU refused {name}: {answer['error']}")


@contextmanager
def started(
    folder: Path,
    *,
    firmware: str,
    stick: Path | None = None,
    disk: Path | None = None,
    usb_disk: Path | None = None,
    bus: str = "sata",
    serial_number: str = "RESCUE-TEST",
) -> Iterator[Machine]:
    """A machine that is stopped at the end of the block; its log and pictures go to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    argv = [f"--firmware={firmware}", f"--bus={bus}", f"--serial-number={serial_number}", "--model=Rescue Test Disk"]
    argv += [f"--monitor={folder / 'monitor'}"]
    if stick:
        argv.append(f"--stick={stick}")
    if disk:
        argv.append(f"--disk={disk}")
    if usb_disk:
        argv.append(f"--usb-disk={usb_disk}")
    line: pexpect.spawn[bytes] = pexpect.spawn(str(RUN_IN_QEMU), argv, timeout=30)
    # Keys go out as they are pressed; pexpect's own pause before each would only add to it.
    line.delaybeforesend = None
    machine = Machine(line, folder)
    try:
        yield machine
    finally:
        machine.stop()
