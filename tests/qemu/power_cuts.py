"""Resets whose power is cut:

    PYTHONPATH=live-image .venv/bin/python -m tests.qemu.power_cuts --rounds N --seed S

A machine that was used is reset from the stick, with its files kept, and loses its power in a step of that which is
drawn by lot, after a random part of the time that the step takes: QEMU is killed, and of what the disks were told since
their last flush a random part is lost (tests/qemu/writelog.py). Then the stick is started again: what the menu offers
is read off its screen, and the reset is completed or undone, by turns, with keys. The disk is then proved: its home
folders as they were and the system the image's, or all as it was before; and the safety image is whole. Cut off before
the disk's mark stood there it is untouched, bit for bit, and the menu says nothing.

So that a round does not begin with a start of the stick, the machine's state is saved once, at the moment in which the
command asks for the disk's name.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imaging import unfinished
from tests.command import run_rescue
from tests.disks import run
from tests.matrix.keptsystems import listed
from tests.matrix.tools import Place, attached, copied, mounted

from .machine import BOOT, CHECKOUT, DISK_SERIAL, JOB, STEP, Machine
from .terminal import DOWN, ENTER, SerialTerminal
from .used import ADDED, ANNA, DELETED, LIBRARY, SIZE, START, library_disk, machine_of, root_of, shell_of, use
from .writelog import TornLogError, replay

STEPS = (
    "Reading what is used on",
    "Capturing",
    "Finishing the image",
    "Verifying",
    "Restoring",
    "Reading back what was written",
    "Bringing back the files",
    "Reading back the files",
    "Writing the partition table",
    "Looking whether a computer",
)
"""How the steps of such a reset begin, in their order."""
SHORTEST = 0.4
"""Seconds that a step is taken to last at least: more than one look at the line, so that its end is met, too."""
CHECKED = "until grep -q good /run/rescue/medium-check.json; do sleep 1; done"
"""The stick is known to be whole: no job waits for that any more."""
QUESTION = "to erase it, anything else to stop:"
"""What the reset asks last."""
KEPT = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of what the disks were told since their last flush, how much is there: one of these in each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A round's moment: in a step, after a share of its time, and how much of the cache is kept."""

    step: str
    share: float
    kept: float
    seed: int
    undo: bool

    def __str__(self) -> str:
        then = "undone" if self.undo else "completed"
        return f"{self.step} at {self.share:.0%}, {self.kept:.0%} of the cache kept, to be {then}"


@dataclass(slots=True)
class Tally:
    """What happened: cuts by what the disk was left as, and what did not hold."""

    left: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    whole: int = 0
    """Disks of which nothing was lost, for it was not known what had been flushed."""
    defects: list[str] = field(default_factory=list)

    def told(self) -> str:
        """All of it, for a person."""
        lost = f"{self.lost} writes lost, {self.whole} disks kept all of theirs"
        lines = [f"{self.left.total()} cut, {lost}; {len(self.defects)} did not hold"]
        for title, counts in (("left", self.left), ("in the step", self.steps)):
            lines.append(f"{title}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
        return "\n".join([*lines, *self.defects])


def expect(holds: bool, what: str) -> None:
    """Raise AssertionError, which ends a round."""
    if not holds:
        raise AssertionError(what)


@dataclass(slots=True)
class Lab:
    """The used machine's disk, that of the library, and the stick's shell beside them."""

    folder: Path
    stick: Path
    firmware: str
    image: str
    home: dict[str, tuple[Any, ...]]
    everything: dict[str, tuple[Any, ...]]

    @property
    def disk(self) -> Path:
        """The used machine's, as it is before the reset."""
        return self.folder / "disk.img"

    @property
    def work(self) -> Path:
        """That of the library, at the moment of the state."""
        return self.folder / "work.img"

    @property
    def state(self) -> Path:
        """The machine, where the disk's name is to be typed."""
        return self.folder / "state"

    @property
    def times(self) -> Path:
        """How long each step takes there; written once the state is."""
        return self.folder / "steps.json"

    @property
    def reset(self) -> str:
        """The command, which asks for the disk's name."""
        words = f"rescue restore {self.image} $(disk 1) --keep-files accounts"
        return f"{words} --library {LIBRARY} | cat; echo EN''DED"


def prepared(folder: Path, stick: Path, sample: Path, firmware: str) -> Lab:
    """The disks of a machine that was used, and what is on it; those that are in the folder already are taken."""
    disk, work, known = folder / "disk.img", folder / "work.img", folder / "image"
    if known.exists():
        image = known.read_text()
    else:
        image = library_disk(sample, work, folder / "files")
        copied(sample, disk)
        use(disk)
        known.write_text(image)
    with root_of(disk) as top:
        home, everything = listed(top / "home"), listed(top)
    return Lab(folder=folder, stick=stick, firmware=firmware, image=image, home=home, everything=everything)


def save_state(lab: Lab) -> None:
    """Start the stick, and the reset as far as its question, and keep all of that."""
    disk, work = copied(lab.disk, lab.folder / "begun-disk.img"), lab.work
    options = [f"--write-log={lab.folder / name}" for name in ("0.log", "1.log")]
    with shell_of(lab.stick, disk, work, lab.folder / "begin", lab.firmware, options) as (machine, _library):
        terminal = machine.terminal
        terminal.press(f"clear; {CHECKED}; echo CHE''CKED", ENTER)
        terminal.wait_for("CHECKED", timeout=BOOT)
        terminal.press(f"clear; sync; {lab.reset}", ENTER)
        terminal.wait_for(QUESTION, timeout=JOB)
        part = lab.state.with_suffix(".part")
        machine.save_state(part)
        expect(not machine.writes_to_stick(), "the stick was written to, and what was is not in the state")
        machine.kill()
    expect(filecmp.cmp(disk, lab.disk, shallow=False), "the disk was written to before the reset")
    disk.unlink()
    part.rename(lab.state)


@contextmanager
def resumed(lab: Lab, folder: Path) -> Iterator[tuple[Machine, Path, Path]]:
    """The machine as the reset begins, its disk and that of the library, whose writes are taken down beside them."""
    folder.mkdir()
    disk, work = copied(lab.disk, folder / "disk.img"), copied(lab.work, folder / "work.img")
    options = [f"--state={lab.state}", *(f"--write-log={log_of(path)}" for path in (disk, work))]
    with machine_of(lab.stick, disk, work, folder / "cut", lab.firmware, options) as machine:
        machine.go_on()
        machine.terminal.type(DISK_SERIAL + ENTER)
        yield machine, disk, work


def log_of(disk: Path) -> Path:
    """Where a disk's writes are taken down."""
    return disk.with_suffix(".log")


def measure(lab: Lab) -> dict[str, float]:
    """Seconds that each step of a reset takes that nobody disturbs."""
    began: dict[str, float] = {}
    with resumed(lab, lab.folder / "measured") as (machine, disk, _work):
        terminal = machine.terminal
        while "ENDED" not in terminal.text:
            terminal.look()
            for step in STEPS:
                if step not in began and step in terminal.flow:
                    began[step] = time.monotonic()
            expect(not terminal.closed, "the machine ended")
        ended = time.monotonic()
        terminal.press("clear; sync; umount /w; sync; echo GO''NE", ENTER)
        terminal.wait_for("GONE", timeout=STEP)
        machine.kill()
        prove_completed(lab, disk)
        check_replay(lab, disk)
    shutil.rmtree(lab.folder / "measured")
    names = sorted(began, key=lambda step: began[step])
    ends = [*(began[step] for step in names[1:]), ended]
    return {step: max(SHORTEST, end - began[step]) for step, end in zip(names, ends, strict=True)}


def check_replay(lab: Lab, disk: Path) -> None:
    """All that was taken down and flushed makes the disk that QEMU has left."""
    again = copied(lab.disk, disk.with_name("again.img"))
    replay(log_of(disk), again, seed=0, kept=1.0)
    expect(filecmp.cmp(disk, again, shallow=False), "what was taken down is not what was written")


def cut_off(lab: Lab, folder: Path, cut: Cut, seconds: float, tally: Tally) -> tuple[Path, Path]:
    """A reset whose power is cut: the two disks as that leaves them."""
    with resumed(lab, folder) as (machine, disk, work):
        terminal = machine.terminal
        terminal.wait_for(cut.step, "ENDED", timeout=JOB)
        terminal.look(cut.share * seconds)
        tally.steps[step_of(terminal)] += 1
        machine.kill()
    pairs = ((lab.disk, disk), (lab.work, work))
    left = [lose_power(before, path, cut.seed, cut.kept, tally) for before, path in pairs]
    return left[0], left[1]


def lose_power(before: Path, path: Path, seed: int, kept: float, tally: Tally) -> Path:
    """A disk as it is left, of one that was as `before`, and whose writes were taken down beside it."""
    after = copied(before, path.with_name(f"cut-{path.name}"))
    try:
        lost, _late = replay(log_of(path), after, seed, kept)
        tally.lost += lost
    except TornLogError:
        # Nobody can tell then what was flushed: it is left with what QEMU had written when it was killed.
        path.replace(after)
        tally.whole += 1
    path.unlink(missing_ok=True)
    log_of(path).unlink()
    return after


def step_of(terminal: SerialTerminal) -> str:
    """The last one that is on the screen."""
    if "ENDED" in terminal.text:
        return "after its end"
    return max(STEPS, key=lambda step: terminal.flow.rfind(step)) if any(s in terminal.flow for s in STEPS) else "none"


def one_round(lab: Lab, folder: Path, cut: Cut, seconds: float, tally: Tally) -> None:
    """Cut a reset off, look at what the disk is left as, and have the menu complete or undo it."""
    disk, work = cut_off(lab, folder, cut, seconds, tally)
    with disk.open("rb") as file:
        mark = file.read(unfinished.SIZE)
    saved = unfinished.parse_saved(mark)
    with machine_of(lab.stick, disk, work, folder / "again", lab.firmware) as machine:
        if unfinished.parse(mark):
            tally.left["unfinished"] += 1
            expect(bool(saved), "the mark names no safety image")
            accept_the_offer(machine, undo=cut.undo)
        elif filecmp.cmp(disk, lab.disk, shallow=False):
            tally.left["untouched"] += 1
            see_no_offer(machine, undo=False)
        else:
            tally.left["completed"] += 1
            see_no_offer(machine, undo=True)
    if not saved and filecmp.cmp(disk, lab.disk, shallow=False):
        return
    if saved and cut.undo:
        with root_of(disk) as top:
            expect(listed(top) == lab.everything, "undone, it is not as it was")
    else:
        prove_completed(lab, disk)
    prove_safety(work, saved)


def accept_the_offer(machine: Machine, *, undo: bool) -> None:
    """From the main menu, by keys, to a machine that is off: what was cut off is completed, or undone."""
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.wait_for("was CUT OFF. Press f to complete it, or to undo it.", timeout=STEP)
    machine.screenshot("offer")
    terminal.press("f")
    terminal.wait_for("Complete the restore of", timeout=STEP)
    terminal.wait_for("Undo it: bring back what was on", timeout=STEP)
    terminal.press(*([DOWN] if undo else []), ENTER)
    terminal.wait_for("read this before you go on", timeout=STEP)
    if not undo:
        terminal.wait_for("[x] Keep the home folders of the system", timeout=JOB)
    terminal.wait_for("To erase it, type", timeout=STEP)
    terminal.type(DISK_SERIAL)
    terminal.wait_for("[ Restore ]", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for_cursor("[ Restore ]", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("A job is running", "A job has ended", timeout=STEP)
    terminal.wait_for("A job has ended", timeout=JOB)
    terminal.wait_for("DONE", timeout=STEP)
    machine.screenshot("result")
    terminal.press(ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)
    expect("CUT OFF" not in terminal.text or settled(terminal), "what was completed is said to be cut off")
    machine.power_off_from_the_menu()


def settled(terminal: SerialTerminal) -> bool:
    """Whether the line is gone once the menu has looked anew."""
    terminal.wait_until(lambda: "CUT OFF" not in terminal.text, what="a menu without the offer", timeout=STEP)
    return True


def see_no_offer(machine: Machine, *, undo: bool) -> None:
    """From the main menu to a machine that is off: nothing was cut off; only what was changed can be undone."""
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.wait_for("/run/rescue/media/", timeout=STEP)
    expect("CUT OFF" not in terminal.text, "a disk that was not cut off is said to be")
    terminal.press("f")
    terminal.wait_for("Undo the last reset" if undo else "No factory image was found.", timeout=STEP)
    expect(undo or "Undo" not in terminal.text, "it is offered to undo what did not happen")
    terminal.press("\x1b")
    terminal.wait_for("Restore an image", timeout=STEP)
    machine.power_off_from_the_menu()


def prove_completed(lab: Lab, disk: Path) -> None:
    """The home folders are as they were, with owners; the rest of the system is the image's."""
    with root_of(disk) as top:
        expect(listed(top / "home") == lab.home, "the home folders are not as they were")
        expect(not (top / ADDED).exists(), "a program of the old system is there")
        expect((top / DELETED).exists(), "a file of the image is not there")
        expect(f"anna:x:{ANNA}:{ANNA}:" in (top / "etc/passwd").read_text(), "the account is gone")


def prove_safety(work: Path, saved: str) -> None:
    """Every image of the library is whole, the safety image among them."""
    with (
        attached(Place(path=work, start=START, size=SIZE)) as loop,
        mounted(("mount", "-t", "ext4", "-o", "ro"), loop) as top,
    ):
        library = top / Path(LIBRARY).name
        names = [path.name for path in (library / "images").iterdir() if (path / "manifest.json").exists()]
        expect(not saved or saved in names, f"the safety image {saved} is not there")
        for name in names:
            run_rescue("verify", name, "--library", library)


def moments(steps: dict[str, float], rounds: int, seed: int) -> Iterator[Cut]:
    """A step by lot, each as likely as another, so that short ones get their share."""
    source, names = random.Random(seed), sorted(steps)
    for number in range(rounds):
        yield Cut(
            step=source.choice(names),
            share=source.random(),
            kept=source.choice(KEPT),
            seed=source.randrange(1 << 32),
            undo=bool(number % 2),
        )


def power_cuts(lab: Lab, rounds: int, seed: int, first: int = 0, abreast: int = 1) -> Tally:
    """So many rounds, of which those before `first` are left out; what does not hold is told, with its folder kept."""
    if not lab.state.exists():
        save_state(lab)
    if not lab.times.exists():
        lab.times.write_text(json.dumps(measure(lab)))
    steps, tally = json.loads(lab.times.read_text()), Tally()
    print("steps: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items()), flush=True)

    def cut_once(number: int, cut: Cut) -> None:
        folder, began = lab.folder / f"round-{number}", time.monotonic()
        try:
            one_round(lab, folder, cut, steps[cut.step], tally)
            shutil.rmtree(folder)
            said = "held"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            tally.defects.append(f"round {number}, {cut}: {said}; see {folder}")
        print(f"round {number}: {cut}: {said} ({time.monotonic() - began:.0f} s)", flush=True)

    with ThreadPoolExecutor(max_workers=abreast) as pool:
        for number, cut in enumerate(moments(steps, rounds, seed)):
            if number >= first:
                pool.submit(cut_once, number, cut)
    return tally


def main() -> int:
    """Parse the command line and cut; 1 where anything did not hold."""
    words = (__doc__ or "").split("\n\n")[2]
    parser = argparse.ArgumentParser(prog="python -m tests.qemu.power_cuts", description=words)
    parser.add_argument("--rounds", type=int, default=20, help="(default: 20)")
    parser.add_argument("--first", type=int, default=0, help="the round to begin with, of those of this seed")
    parser.add_argument("--abreast", type=int, default=1, help="how many at a time (default: 1)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--firmware", default="bios", choices=("bios", "uefi"))
    parser.add_argument("--stick", type=Path, help="of live-image/build (default: it is built)")
    parser.add_argument("--sample", type=Path, help="of live-image/sample-machine (default: it is built)")
    words = "for the disks and the state, some 8 GB, which are kept for the next rounds (default: a temporary one)"
    parser.add_argument("--folder", type=Path, help=words)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="rescue-power-"))
    folder.mkdir(exist_ok=True)
    os.environ["RESCUE_STATE"] = str(folder / "jobs")
    stick, sample = asked.stick or folder / "stick.img", asked.sample or folder / "sample.img"
    if not sample.exists():
        run(CHECKOUT / "live-image/sample-machine", "--output", sample)
    if not stick.exists():
        run(CHECKOUT / "live-image/build", "--output", stick)
    print(f"seed {asked.seed}, in {folder}", flush=True)
    lab = prepared(folder, stick, sample, asked.firmware)
    tally = power_cuts(lab, asked.rounds, asked.seed, asked.first, asked.abreast)
    print(tally.told(), flush=True)
    if not tally.defects and not asked.folder:
        shutil.rmtree(folder)
    return int(bool(tally.defects))


if __name__ == "__main__":
    sys.exit(main())
