"""What menus cost on a serial line: ours, Textual's own driver, whiptail and dialog, as Markdown.

    .venv/bin/python -m tests.bench.console

All show the same menu at 80x24 with TERM=vt220. A step is over when nothing has come for half a second; seconds are
what its bytes take on the wire. Then, of ours: CPU time up to the menu, memory, and CPU time at rest.
"""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rescue.console import size
from rescue.screens.menu import TASKS

ROOT = Path(__file__).parents[2]
QUIET = 0.5
START = 2.0
"""Seconds of quiet after which the application has started: it asks the terminal something before it draws."""
WATCHED = 10.0
"""Seconds for which progress is watched, and for which the menu rests."""
BAUDS = (115200, 9600)
DOWN = b"\x1b[B"
PERCENTS = "(sleep 2; echo 26; sleep 2)"
STEPS = ("first paint", "cursor key", "question", "progress, a second")


class Session:
    """A program at the end of a pseudo-terminal."""

    def __init__(self, words: list[str], environ: dict[str, str] | None = None) -> None:
        self._theirs, ours = pty.openpty()
        size.tell(ours, (80, 24))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *words],
            cwd=ROOT,
            stdin=ours,
            stdout=ours,
            stderr=ours,
            env={**os.environ, "TERM": "vt220", **(environ or {})},
        )
        os.close(ours)

    def count(self, quiet: float = QUIET, longest: float = 30.0, first: float = 10.0) -> int:
        """Bytes until nothing comes for a while."""
        found, end, wait = 0, time.monotonic() + longest, first
        while time.monotonic() < end and select.select([self._theirs], [], [], wait)[0]:
            try:
                found += len(os.read(self._theirs, 65536))
            except OSError:
                break
            wait = quiet
        return found

    def press(self, keys: bytes) -> int:
        """Press keys; the bytes that come of it."""
        os.write(self._theirs, keys)
        return self.count()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)


def application(environ: dict[str, str]) -> list[float]:
    """Ours, with one driver or the other."""
    sparing = {"TEXTUAL_COLOR_SYSTEM": "standard", "TEXTUAL_ANIMATIONS": "none", "TEXTUAL_DISABLE_KITTY_KEY": "1"}
    menu = Session([sys.executable, "-m", "tests.app.played"], {**sparing, **environ})
    counts: list[float] = [menu.count(START), menu.press(DOWN), menu.press(b"9")]
    menu.close()
    work = Session([sys.executable, "-m", "tests.app.played", "--works"], {**sparing, **environ})
    work.count(START)
    work.press(b"r")
    counts.append(work.count(quiet=2.0, longest=WATCHED) / WATCHED)
    work.close()
    return counts


def box(program: str) -> list[float]:
    """whiptail or dialog."""
    entries = [word for key, _, name, what in TASKS for word in (key, f"{name:<23}{what}")]
    menu = Session([program, "--title", "Rescue", "--menu", "What is to be done?", "22", "76", "11", *entries])
    counts: list[float] = [menu.count(), menu.press(DOWN)]
    menu.close()
    question = Session([program, "--defaultno", "--yesno", "Restart the computer?", "8", "44"])
    counts.append(question.count())
    question.close()
    gauge = Session(["sh", "-c", f"{PERCENTS} | {program} --gauge 'Restoring sda' 8 70 25"])
    gauge.count()
    counts.append(gauge.count())
    gauge.close()
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a running menu takes."""

    cpu: float
    memory: int


def cost(process: int) -> Cost:
    """Seconds of CPU time so far, and bytes of memory."""
    ticks = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return Cost(cpu=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), memory=pages * os.sysconf("SC_PAGE_SIZE"))


def footprint() -> str:
    """Of ours: its start, its memory, its rest."""
    menu = Session([sys.executable, "-m", "rescue"], {"RESCUE_CONSOLE": "serial"})
    menu.count(START)
    started = cost(menu.process.pid)
    time.sleep(WATCHED)
    rested = cost(menu.process.pid)
    menu.close()
    idle = 100 * (rested.cpu - started.cpu) / WATCHED
    return (
        f"The menu is there after {started.cpu:.2f} s of CPU time, takes {rested.memory / (1 << 20):.0f} MiB, "
        f"and rests at {idle:.1f} % of a core."
    )


def cell(count: float) -> str:
    """Bytes, and seconds at either speed."""
    seconds = " / ".join(f"{10 * count / baud:.2f}" for baud in BAUDS)
    return f"{count:,.0f} ({seconds} s)"


def main() -> int:
    """Print the table."""
    rows = {
        "ours": application({"RESCUE_CONSOLE": "serial"}),
        "Textual's own driver": application({"RESCUE_CONSOLE": "full"}),
    }
    rows |= {program: box(program) for program in ("whiptail", "dialog") if shutil.which(program)}
    print(f"| bytes (seconds at {BAUDS[0]} / {BAUDS[1]} baud) | {' | '.join(STEPS)} |")
    print("|" + "---|" * (len(STEPS) + 1))
    for name, counts in rows.items():
        print(f"| {name} | {' | '.join(map(cell, counts))} |")
    print(f"\n{footprint()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
