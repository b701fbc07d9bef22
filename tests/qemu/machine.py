"""A machine in QEMU, started through live-image/run-in-qemu, with its serial terminal and its monitor."""

import json
import os
import shlex
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect

from tests import vga

from .line import Line, SlowLine
from .terminal import ScreenTimeoutError, SerialTerminal

CHECKOUT = Path(__file__).resolve().parents[2]
RUN_IN_QEMU = CHECKOUT / "live-image/run-in-qemu"

SERIAL_NUMBER = "RESCUE-TEST"
# The first disk's serial number, as the machine reports it.
DISK_SERIAL = SERIAL_NUMBER + "-1"

# Under emulation, beside other tests, a boot to the menu was seen to take 133 s. These bound a hang on a host that is
# twice as busy still; they are not what it takes.
BOOT, STEP, JOB = 400.0, 240.0, 1200.0

# Asked of a machine whose screen did not become what it should, and the seconds that may take.
_QUESTIONS = (
    "dmesg -l emerg,alert,crit,err | tail -n 20 | cut -c 1-79",
    "journalctl -b -o cat -p warning -n 20 | cut -c 1-79",
    "dmesg | grep -A 1 segfault | tail -n 8",
    "grep -A 20 Current /run/rescue/screen.log | sed s,/usr/local/lib/python3.13/dist-packages/,, | tail -n 21",
)
_ASKED, _ANSWERED = 90.0, 10.0

_KEY_NAMES = {
    " ": "spc",
    "-": "minus",
    "@": "shift-2",
    "/": "slash",
    ".": "dot",
    ",": "comma",
    ";": "semicolon",
    "=": "equal",
    "|": "shift-backslash",
}


class Machine:
    """A running machine."""

    def __init__(self, process: "pexpect.spawn[bytes]", line: Line, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.terminal = SerialTerminal(line, folder / "serial.log")

    def screenshot(self, name: str) -> Path:
        """The VGA screen as a PNG file in the machine's folder."""
        picture = self._folder / f"{name}.png"
        self._monitor("screendump", filename=str(picture), format="png")
        return picture

    def screen_text(self) -> str:
        """What stands on the VGA screen, read from its pixels."""
        picture = self._folder / "screen.ppm"
        self._monitor("screendump", filename=str(picture), format="ppm")
        return "\n".join(vga.read(vga.read_ppm(picture.read_bytes())))

    def wait_for_screen(self, wanted: str, timeout: float) -> None:
        """Wait until a text stands on the VGA screen; spaces count as any white space."""
        deadline = time.monotonic() + timeout
        while wanted not in " ".join((seen := self.screen_text()).split()):
            if time.monotonic() > deadline:
                raise ScreenTimeoutError(f"waited {timeout:.0f} s for {wanted!r} on the VGA screen:\n{seen}")
            self.terminal.look(1.0)

    def press_on_keyboard(self, *keys: str) -> None:
        """Press keys of the PC's keyboard by QEMU's names, one after the other; `ctrl-l` is a chord."""
        for key in keys:
            chord = [{"type": "qcode", "data": name} for name in key.split("-")]
            self._monitor("send-key", keys=chord)
            self.terminal.look(0.5)

    def type_on_keyboard(self, words: str) -> None:
        """Type a text on the PC's keyboard, which has the American layout."""
        self.press_on_keyboard(*(_KEY_NAMES.get(c) or (f"shift-{c.lower()}" if c.isupper() else c) for c in words))

    def slow_disk(self, number: int, bytes_a_second: int) -> None:
        """Let a disk take only so much from now on; 0 lifts the limit."""
        limits = dict.fromkeys(("bps", "bps_rd", "iops", "iops_rd", "iops_wr"), 0)
        self._monitor("block_set_io_throttle", device=f"disk{number}", bps_wr=bytes_a_second, **limits)

    def unplug_stick(self) -> None:
        """Pull the stick out of its socket."""
        self._monitor("device_del", id="plugged")

    def wait_for_power_off(self, timeout: float = STEP) -> None:
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
        """Choose Power off in the main menu; the focus starts on the harmless answer."""
        terminal = self.terminal
        terminal.press("0")
        terminal.wait_for("Switch the computer off?", timeout=STEP)
        terminal.wait_for_cursor("[ No, go back ]", timeout=STEP)
        terminal.press("y")
        self.wait_for_power_off()

    def what_it_says(self) -> str:
        """What the machine's own log says of what went wrong, read off its screen; empty where it cannot be asked."""
        try:
            self.press_on_keyboard("esc", "f2")
            self.wait_for_screen("root@rescue", timeout=_ASKED)
            answers = []
            for question in _QUESTIONS:
                self.type_on_keyboard(f"clear; {question}")
                self.press_on_keyboard("ret")
                self.terminal.look(_ANSWERED)
                answers.append(self.screen_text())
            return "\n".join(answers)
        except (OSError, ValueError, RuntimeError, ScreenTimeoutError):
            return ""

    def kill(self) -> None:
        """Take the power away: QEMU does nothing any more, as it would where it is asked to end."""
        if self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def save_state(self, path: Path) -> None:
        """Write all that the machine is, but for its disks, to a file, and let it stand still from then on."""
        self._monitor("stop")
        self._monitor("migrate", uri=f"exec:cat > {shlex.quote(str(path))}")
        deadline = time.monotonic() + STEP
        while (found := self._monitor("query-migrate")["status"]) != "completed":
            if found == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"the machine's state was not saved: {found}")
            time.sleep(0.2)

    def go_on(self) -> None:
        """Once the state that it was started from is read."""
        deadline = time.monotonic() + STEP
        while not (self._folder / "monitor").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        while self._monitor("query-status")["status"] == "inmigrate" and time.monotonic() < deadline:
            time.sleep(0.2)
        self._monitor("cont")

    def writes_to_stick(self) -> int:
        """How many there were so far."""
        found = {one["device"]: one["stats"] for one in self._monitor("query-blockstats")}
        return int(found["stick"]["wr_operations"])

    def stop(self) -> None:
        """End the machine whatever it does, as pulling the plug would."""
        self._process.close(force=True)

    def _monitor(self, command: str, **arguments: object) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STEP)
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
        return answer["return"]


@contextmanager
def started(
    folder: Path,
    *,
    firmware: str,
    stick: Path | None = None,
    disc: Path | None = None,
    disk: Path | None = None,
    usb_disk: Path | None = None,
    bus: str = "sata",
    serial_number: str = "RESCUE-TEST",
    memory: int | None = None,
    slow_line: SlowLine | None = None,
    network: Mapping[int, int] | None = None,
    more: Sequence[str] = (),
    within: Sequence[str] = (),
) -> Iterator[Machine]:
    """A machine that is stopped at the end of the block; its log and pictures go to the folder.

    `network` gives it a card, with ports of this computer that lead to its own; `more` are options of run-in-qemu,
    and `within` a command that runs the rest of its line, as `ip netns exec NAME` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    argv = [f"--firmware={firmware}", f"--bus={bus}", f"--serial-number={serial_number}", "--model=Rescue Test Disk"]
    # With more, a kernel that changes its own code on one processor while another runs it dies now and then under
    # QEMU's emulation ("Oops: int3"); and two machines at once have no more than that each.
    argv += [f"--monitor={folder / 'monitor'}", "--processors=1"]
    if stick:
        argv.append(f"--stick={stick}")
    if disc:
        argv.append(f"--disc={disc}")
    if disk:
        argv.append(f"--disk={disk}")
    if usb_disk:
        argv.append(f"--usb-disk={usb_disk}")
    if memory:
        argv.append(f"--memory={memory}")
    if slow_line:
        argv.append(f"--line={slow_line.path}")
    if network is not None:
        argv += ["--network", *(f"--forward={here}:{there}" for here, there in network.items())]
    argv += more
    command = [*within, str(RUN_IN_QEMU), *argv]
    process: pexpect.spawn[bytes] = pexpect.spawn(command[0], command[1:], timeout=30)
    # Keys go out as they are pressed; pexpect's own pause before each would only add to it.
    process.delaybeforesend = None
    machine = Machine(process, slow_line or process, folder)
    try:
        if slow_line:
            with slow_line.passing():
                slow_line.plug()
                yield machine
        else:
            yield machine
    except ScreenTimeoutError as error:
        if not machine.terminal.closed:
            error.add_note(machine.what_it_says())
        raise
    finally:
        machine.stop()
