"""Where a boot spends its time, in a machine in QEMU: firmware, GRUB, kernel, initramfs, systemd, Python, first paint.

    .venv/bin/python -m tests.bench.boot STICK.img [--firmware bios|uefi|uefi-secure] [--disc] [--rounds N] [--imports]
    .venv/bin/python -m tests.bench.boot STICK.img --all

Times come from two clocks: this computer's, for what comes over the serial line, and the guest's own since its kernel
started, for what systemd and the kernel noted; the guest's /proc/uptime, as it comes over the line, ties them together.
The output is Markdown: medians of the rounds. --all boots each firmware from a stick and from a disc, a row for each.
--imports adds the slowest imports of the menu's Python. Under emulation everything is 10 to 20 times as slow as on a
real machine, so only the shares and the differences mean something.
"""

import argparse
import itertools
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pexpect

from tests.qemu.line import Line
from tests.qemu.machine import RUN_IN_QEMU
from tests.qemu.terminal import ENTER, SerialTerminal

MENU = "Restore an image"
PROMPT = "root@rescue"
PATIENCE = 600.0
"""Seconds within which a slow host boots."""

# What the guest is asked; each answer is a line "name=value".
_UNIT = "rescue-tui@ttyS0.service"
_ASKED = (
    "echo up=$(cut -d' ' -f1 /proc/uptime)",
    "dmesg | sed -n 's/^\\[ *\\([0-9.]*\\)\\] Run .init as init.*/init=\\1/p'",
    "systemctl show -p UserspaceTimestampMonotonic -p GeneratorsStartTimestampMonotonic "
    "-p GeneratorsFinishTimestampMonotonic -p UnitsLoadFinishTimestampMonotonic",
    f"systemctl show -p ExecMainStartTimestampMonotonic {_UNIT}",
    "systemd-analyze blame --no-pager | head -16 | sed 's/^ */blame=/'",
)
_IMPORTS = "python3 -X importtime -c 'import rescue.application, rescue.engine' 2>&1 | sort -t'|' -k1.13n | tail -24"

# Before it loads Textual, the menu tries a letter of UTF-8 on the terminal; Textual's start sets the character set.
_FIRST_WORD = "ä".encode()
_TEXTUAL_STARTS = b"\x1b(B\x0f"


class TimedLine:
    """A serial line that notes when what came."""

    def __init__(self, process: Line) -> None:
        self._process = process
        self.came: list[tuple[float, bytes]] = []

    def send(self, s: str) -> object:
        """Keys."""
        return self._process.send(s)

    def read_nonblocking(self, size: int, timeout: float) -> bytes:
        """What has come; raises as pexpect does."""
        data = self._process.read_nonblocking(size, timeout=timeout)
        self.came.append((time.monotonic(), data))
        return data

    def first(self, wanted: bytes, *, after: float = 0.0) -> float:
        """When these bytes had come, counted from `after` on."""
        seen = b""
        for when, data in self.came:
            if when > after:
                seen = seen[-len(wanted) :] + data
                if wanted in seen:
                    return when
        raise LookupError(f"{wanted!r} never came over the line")

    def write(self, log: Path, began: float) -> None:
        """What came, each piece with its time in seconds since `began`."""
        log.write_text("".join(f"{when - began:7.2f} {data!r}\n" for when, data in self.came))


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One boot: seconds of each stage in their order, systemd's slowest units, Python's slowest imports."""

    stages: dict[str, float]
    units: list[str]
    imports: list[str]


def measure(image: Path, folder: Path, *, firmware: str, medium: str, imports: bool, more: list[str]) -> Boot:
    """Boot a machine once and take the times; the image is the machine's `medium`, stick or disc."""
    began = time.monotonic()
    argv = [f"--firmware={firmware}", f"--{medium}={image}", f"--monitor={folder / 'monitor'}", *more]
    process: pexpect.spawn[bytes] = pexpect.spawn(str(RUN_IN_QEMU), argv, timeout=30)
    process.delaybeforesend = None
    line = TimedLine(process)
    try:
        terminal = SerialTerminal(line, folder / "serial.log")
        terminal.wait_for("GNU GRUB", timeout=PATIENCE)
        grub = time.monotonic()
        terminal.wait_for(MENU, timeout=PATIENCE)
        painted = time.monotonic()
        # What the guest still does in the background must not count as slow answers.
        terminal.look(10)
        terminal.press("s")
        terminal.wait_for(PROMPT, timeout=PATIENCE)
        told, when = _ask(terminal, line, "; ".join(_ASKED))
        slow = _ask(terminal, line, _IMPORTS)[0] if imports else []
    finally:
        process.close(force=True)
        line.write(folder / "serial.times", began)
    values = dict(entry.split("=", 1) for entry in told if re.match(r"\w+=[\d.]+$", entry))
    kernel = when(f"up={values['up']}") - float(values["up"])

    def guest(name: str) -> float:
        return kernel + float(values[name]) / (1 if name in ("init", "up") else 1_000_000)

    unit = guest("ExecMainStartTimestampMonotonic")
    word = line.first(_FIRST_WORD, after=unit)
    moments = {
        "firmware": grub,
        "GRUB, its menu's seconds and loading": kernel,
        "kernel": guest("init"),
        "initramfs": guest("UserspaceTimestampMonotonic"),
        "systemd: itself": guest("GeneratorsStartTimestampMonotonic"),
        "systemd: generators": guest("GeneratorsFinishTimestampMonotonic"),
        "systemd: reading units": guest("UnitsLoadFinishTimestampMonotonic"),
        "systemd: until the menu's unit": unit,
        "systemd's look at the terminal, Python's start": word,
        "Textual and the application": line.first(_TEXTUAL_STARTS, after=word),
        "first paint": painted,
    }
    stages: dict[str, float] = {}
    last = began
    for name, moment in moments.items():
        stages[name] = moment - last
        last = moment
    stages["all"] = painted - began
    units = [entry.removeprefix("blame=") for entry in told if entry.startswith("blame=")]
    return Boot(stages=stages, units=units, imports=slow)


def _ask(terminal: SerialTerminal, line: TimedLine, command: str) -> tuple[list[str], Callable[[str], float]]:
    """Run a command in the guest's shell: the lines that it printed, and when one of them had come."""
    start = len(line.came)
    # The marks are spelled apart where they are typed, so that the echo is no answer.
    terminal.type(f"clear; echo @@'BEGIN'; {command}; echo @@'END'")
    terminal.press(ENTER)

    def said() -> bytes:
        return b"".join(data for _when, data in line.came[start:])

    terminal.wait_until(lambda: b"@@END" in said(), what="the guest's answer", timeout=PATIENCE)
    text = said().split(b"@@BEGIN", 1)[1].split(b"@@END", 1)[0].decode(errors="replace")
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", entry).strip() for entry in text.splitlines()]
    began = line.came[start][0] - 1e-6
    return [entry for entry in lines if entry], lambda wanted: line.first(wanted.encode(), after=began)


def render(boots: list[Boot]) -> str:
    """The table in Markdown, with the slowest units and imports of the last round."""
    lines = ["| stage | seconds | share |", "| --- | ---: | ---: |"]
    whole = statistics.median(boot.stages["all"] for boot in boots)
    for name in boots[0].stages:
        seconds = statistics.median(boot.stages[name] for boot in boots)
        lines.append(f"| {name} | {seconds:.1f} | {100 * seconds / whole:.0f} % |")
    for title, entries in (("Units", boots[-1].units), ("Imports", boots[-1].imports)):
        if entries:
            lines += ["", f"{title}, the slowest:", "", *(f"    {entry}" for entry in entries)]
    return "\n".join(lines)


FIRMWARE = ("bios", "uefi", "uefi-secure")
MEDIA = ("stick", "disc")
# What a person would call the stages, for the table of all cases.
PARTS = {
    "firmware": ("firmware",),
    "GRUB": ("GRUB, its menu's seconds and loading",),
    "kernel": ("kernel",),
    "initramfs": ("initramfs",),
    "systemd": (
        "systemd: itself",
        "systemd: generators",
        "systemd: reading units",
        "systemd: until the menu's unit",
    ),
    "Python, menu painted": (
        "systemd's look at the terminal, Python's start",
        "Textual and the application",
        "first paint",
    ),
    "all": ("all",),
}


def render_cases(cases: dict[str, list[Boot]]) -> str:
    """A row for each case and a column for each part, in seconds, medians of the rounds."""
    lines = [f"| | {' | '.join(PARTS)} |", f"|---|{'---:|' * len(PARTS)}"]
    for name, boots in cases.items():
        seconds = [
            statistics.median(sum(boot.stages[stage] for stage in stages) for boot in boots)
            for stages in PARTS.values()
        ]
        lines.append(f"| {name} | {' | '.join(f'{value:.1f}' for value in seconds)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="tests.bench.boot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stick", type=Path, metavar="STICK.img")
    parser.add_argument("--firmware", choices=FIRMWARE, default="bios")
    parser.add_argument("--disc", action="store_true", help="as a disc instead of a stick")
    parser.add_argument("--all", action="store_true", help="each firmware, from a stick and from a disc")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--imports", action="store_true", help="also the slowest imports of the menu's Python")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the serial logs there")
    parser.add_argument("more", nargs="*", help="options of run-in-qemu, after --")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("there must be a round to measure")
    chosen = [(options.firmware, "disc" if options.disc else "stick")]
    cases: dict[str, list[Boot]] = {}
    with tempfile.TemporaryDirectory(prefix="rescue-boot-") as name:
        for firmware, medium in itertools.product(FIRMWARE, MEDIA) if options.all else chosen:
            boots = cases.setdefault(f"{firmware}, {medium}", [])
            for number in range(options.rounds):
                folder = (options.keep or Path(name)) / f"{firmware}-{medium}-{number}"
                folder.mkdir(parents=True, exist_ok=True)
                boots.append(
                    measure(
                        options.stick,
                        folder,
                        firmware=firmware,
                        medium=medium,
                        imports=options.imports,
                        more=options.more,
                    )
                )
    if options.all:
        print(render_cases(cases))
    else:
        for boots in cases.values():
            print(render(boots))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
