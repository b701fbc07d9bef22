"""Workers killed at random moments: `python -m tests.faults.kills --rounds N --seed S`.

So many captures and so many restores are killed with SIGKILL, by turns after a random time and at a random operation
on the medium, so that short steps such as the table's and the manifest's writing get their share. After each, no image
is listed that is not whole, no table stands over missing data, and the same job again completes with the same result.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from imaging import unfinished
from imaging.events import Step
from imaging.jobs import Job, JobState
from imaging.library import Library
from tests.disks import MIB
from tests.faults.faulty import Fault
from tests.faults.killing import finish, kill_after, seconds_of, start
from tests.faults.proof import prove
from tests.faults.sweep import JOBS, SIZE, Kind, World, carry_out, check_success, expect, world
from tests.faults.world import holds_used_bytes

CAPTURES = tuple(kind for kind in JOBS if kind.captures)
RESTORES = tuple(kind for kind in JOBS if kind.target)


@dataclass(slots=True)
class Tally:
    """What happened: kills by the step that they fell into, jobs that had ended before, and what did not hold."""

    steps: Counter[str] = field(default_factory=Counter)
    too_late: int = 0
    left: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many workers were killed at work."""
        return sum(self.steps.values())

    def told(self) -> str:
        """All of it, for a person."""
        lines = [f"{self.killed} killed at work, {self.too_late} had ended; {len(self.defects)} did not hold"]
        for title, counts in (("in the step", self.steps), ("left", self.left)):
            lines.append(f"{title}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
        return "\n".join([*lines, *self.defects])


def _prepare(world: World, kind: Kind) -> None:
    world.fs.plan()
    world.reset(library=kind.library)
    kind.prepare(world)


def _step_of(job: Job) -> str:
    steps = [event.name for event in job.events() if isinstance(event, Step)]
    return steps[-1] if steps else "before the first"


def measure(world: World, kind: Kind) -> tuple[float, dict[str, int]]:
    """Seconds that a worker takes for a job, and its operations by kind and place."""
    _prepare(world, kind)
    plan = kind.plan(world)
    world.fs.plan()
    job = finish(start(plan))
    expect(job.state is JobState.DONE, f"without a kill: {job.finished}")
    return seconds_of(job), world.fs.plan().counts


def one_kill(world: World, kind: Kind, moment: float | Fault, tally: Tally) -> None:
    """Kill a job's worker after so many seconds or at an operation, look at what is left, and do the job again."""
    _prepare(world, kind)
    before = {path.name for path in (world.fs.back / "library" / "images").glob("*")}
    held = (world.fs.back / "disks" / kind.target).read_bytes() if kind.target else b""
    plan = kind.plan(world)
    world.fs.plan(*([moment] if isinstance(moment, Fault) else []))
    job = start(plan)
    if isinstance(moment, Fault):
        finish(job)
    else:
        kill_after(job, moment)
    world.fs.plan()
    if job.state is JobState.DIED:
        tally.steps[_step_of(job)] += 1
        tally.left[_left_by_restore(world, kind, held) if kind.target else _left_by_capture(world, before)] += 1
    else:
        expect(job.state is JobState.DONE, f"neither killed nor done: {job.finished}")
        tally.too_late += 1
    check_success(world, kind, carry_out(world, kind))
    if kind.captures:
        library = world.fs.back / "library"
        expect(not any((library / "writers").iterdir()), "a mark outlives the next capture")
        expect(all((f / "manifest.json").exists() for f in (library / "images").iterdir()), "half an image is left")


def _left_by_capture(world: World, before: set[str]) -> str:
    library = world.fs.back / "library"
    if not (library / "library.json").exists():
        return "no library"
    listing = Library.open(library).images()
    expect(not listing.damaged, f"damaged images are listed: {listing.damaged}")
    prove(library)
    return "a new image" if {image.id for image in listing.images} - before else "no new image"


def _left_by_restore(world: World, kind: Kind, held: bytes) -> str:
    path = world.fs.back / "disks" / kind.target
    holds = path.read_bytes()
    if unfinished.parse(holds[: unfinished.SIZE]):
        return "marked as unfinished"
    if holds_used_bytes(world.behind(), path):
        return "restored"
    body = slice(MIB, SIZE - MIB)
    expect(holds[body] == held[body], "a table stands over missing data")
    return "untouched"


def kills(world: World, kinds: tuple[Kind, ...], rounds: int, seed: int) -> Tally:
    """Kill so many jobs, each of the kinds in turn, by time and by operation in turn."""
    source, tally = random.Random(seed), Tally()
    measured = {kind.name: measure(world, kind) for kind in kinds}
    for i in range(rounds):
        kind = kinds[i % len(kinds)]
        seconds, counts = measured[kind.name]
        moment = source.random() * seconds if i // len(kinds) % 2 else _operation(source, counts)
        try:
            one_kill(world, kind, moment, tally)
        except AssertionError as error:
            tally.defects.append(f"round {i}, {kind.name}, {moment}: {error}")
    return tally


def _operation(source: random.Random, counts: dict[str, int]) -> Fault:
    """Any operation, each kind as likely as another: most of all are reads, and looks before the work begins."""
    kind, place = source.choice([key for key in sorted(counts) if not key.endswith(" ")]).split()
    return Fault(kind=kind, path=f"/{place}*", nth=source.randrange(counts[f"{kind} {place}"]) + 1, kill=True)


def main() -> int:
    """Parse the command line and kill; 1 where anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=50, help="of captures, and of restores (default: 50)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args()
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rescue-kills-", dir=memory))
    os.environ["RESCUE_STATE"] = str(folder / "state")
    defects = 0
    try:
        with world(folder) as made:
            for title, kinds in (("captures", CAPTURES), ("restores", RESTORES)):
                tally = kills(made, kinds, asked.rounds, asked.seed)
                defects += len(tally.defects)
                print(f"{title}, seed {asked.seed}: {tally.told()}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(defects))


if __name__ == "__main__":
    sys.exit(main())
