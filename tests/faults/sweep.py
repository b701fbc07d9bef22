"""Faults at random operations of whole jobs: `python -m tests.faults.sweep --rounds N --seed S`.

Each round takes one job (a capture, a restore, a verification), counts its operations on a file system of the tests'
own, does it again with one of them failing, and then looks at what must hold whatever failed: the error is a documented
one and names the right thing, no image is listed that is not whole, a target says what it is left in and bears no
partition table over missing data, and the same job without faults completes with the same result as ever.
"""

import argparse
import errno
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from imaging import chunk, inventory, planner, unfinished
from imaging.errors import ExitStatus, RescueError
from imaging.events import CaptureResult, Finished
from imaging.library import Library
from imaging.plan import Plan
from tests.disks import MIB, blank, partition
from tests.faults.faulty import Fault, Faulty, Told, faulty
from tests.faults.proof import prove
from tests.faults.world import Sample, carry_out_here, chunk_path, holds_used_bytes, images_of

SIZE = 8 * MIB
_WRITES = ("write", "create", "mkdir", "rename", "fsync", "fsyncdir", "truncate", "unlink", "flush")
_ERRORS = (errno.EIO, errno.EIO, errno.ENOSPC, errno.EROFS)
_CODES = {
    errno.ENOSPC: {"no-space"},
    errno.EROFS: {"read-only", "target-read-only"},
    errno.EIO: {
        "read-failed",
        "source-gone",
        "write-failed",
        "cannot-open",
        "library-gone",
        "tool-failed",
        "not-a-library",
    },
}
"""What a failure may be called, by what failed."""
_MAY_REFUSE = {"disk-changed", "target-read-only", "not-a-library", "refused", "cannot-open", "unreadable-disk"}
"""What may be refused, before anything was written. blkid calls what it cannot read empty: then a disk has changed."""


class Unsound(AssertionError):
    """Something that must hold does not."""


def expect(holds: object, what: str) -> None:
    if not holds:
        raise Unsound(what)


@dataclass(frozen=True, slots=True)
class World:
    """A faulty file system with `library` and `disks` on it, and copies of both as every round finds them."""

    fs: Faulty
    scratch: Path
    sample: Sample
    """The image in the library as the program sees it, through the faulty file system."""

    def reset(self, *, library: bool) -> None:
        """Put the disks back as they were, and the library; or none."""
        for name in ("library", "disks"):
            shutil.rmtree(self.fs.back / name, ignore_errors=True)
        shutil.copytree(self.scratch / "disks", self.fs.back / "disks")
        if library:
            shutil.copytree(self.scratch / "library", self.fs.back / "library")

    @property
    def library(self) -> Path:
        return self.fs.where / "library"

    def disk(self, name: str) -> Path:
        """A disk file as the program sees it."""
        return self.fs.where / "disks" / name

    def behind(self) -> Sample:
        """The image and its disk as they are, past the faulty file system."""
        return Sample(self.fs.back / "library", self.sample.image_id, self.fs.back / "disks" / "pc.img")


def _fill(path: Path, seed: int, at: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(random.Random(seed).randbytes(size))


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make one in an empty folder: a disk that is captured, that disk changed since, and targets."""
    scratch, back = folder / "scratch", folder / "back"
    for path in (scratch / "disks", back):
        path.mkdir(parents=True)
    disk = partition(
        blank(scratch / "disks" / "pc.img", SIZE), "label: gpt\nstart=1MiB, size=2MiB\nstart=3MiB, size=3MiB\n"
    )
    _fill(disk, 1, MIB, 4 * MIB)
    with faulty(back, folder / "seen") as fs:
        made = World(fs, scratch, Sample(fs.where / "library", "", fs.where / "disks" / "pc.img"))
        made.reset(library=False)
        result = carry_out(made, JOBS[0]).result
        assert isinstance(result, CaptureResult)
        shutil.copytree(back / "library", scratch / "library")
        shutil.copy(disk, scratch / "disks" / "changed.img")
        _fill(scratch / "disks" / "changed.img", 2, 4 * MIB, MIB // 2)
        blank(scratch / "disks" / "target.img", SIZE, fill=0xAA)
        yield replace(made, sample=Sample(made.library, result.image, made.disk("pc.img")))


def _capture_plan(world: World) -> Plan:
    return planner.plan_capture([inventory.look(str(world.disk("pc.img")))], world.library, level=1)


def _restore_plan(world: World, target: str) -> Plan:
    shown = inventory.look(str(world.disk(target)), [world.library])
    return planner.plan_restore(world.library, world.sample.image, {"pc.img": shown})


def _verify_plan(world: World, against: str = "") -> Plan:
    disk = inventory.look(str(world.disk(against))) if against else None
    return planner.plan_verify(world.library, world.sample.image, against=disk)


def carry_out(world: World, job: "Kind") -> Finished:
    """Plan and carry out in this process; how it ended, whichever of the two failed."""
    folder = Path(tempfile.mkdtemp(dir=world.fs.back.parent))
    try:
        return carry_out_here(job.plan(world), folder)
    except RescueError as error:
        return Finished(time=0.0, status=error.exit_status, message=error.message, code=error.code)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: what it starts from, how it is planned, and where it writes."""

    name: str
    plan: Callable[[World], Plan]
    library: bool = True
    target: str = ""
    captures: bool = False
    prepare: Callable[[World], None] = lambda _: None


def _change_the_disk(world: World) -> None:
    _fill(world.fs.back / "disks" / "pc.img", 3, 2 * MIB, MIB // 2)


def _leave_a_death(world: World) -> None:
    """The mark of a capture that died on this machine, its folder, and a chunk of the disk that is not whole."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    mark = world.fs.back / "library" / "writers" / "20200101-000000-dead.json"
    mark.write_text(
        f'{{"image": "{mark.stem}", "began": {time.time() - 9}, "pid": {2**22 + 1}, '
        f'"boot": "{boot} {Path("/proc/self/ns/pid").readlink()}"}}'
    )
    (world.fs.back / "library" / "images" / mark.stem).mkdir()
    _change_the_disk(world)
    data = (world.fs.back / "disks" / "pc.img").read_bytes()[MIB : 3 * MIB]
    half = chunk_path(world.fs.back / "library", chunk.chunk_id(data))
    half.parent.mkdir()
    half.write_bytes(chunk.compress(data)[:1000])


JOBS = (
    Kind("first capture", _capture_plan, library=False, captures=True),
    Kind("second capture", _capture_plan, captures=True, prepare=_change_the_disk),
    Kind("capture after a death", _capture_plan, captures=True, prepare=_leave_a_death),
    Kind("restore", lambda world: _restore_plan(world, "target.img"), target="target.img"),
    Kind("reset", lambda world: _restore_plan(world, "changed.img"), target="changed.img"),
    Kind("verify", _verify_plan),
    Kind("compare", lambda world: _verify_plan(world, "pc.img")),
)


def count(world: World, job: Kind) -> Told:
    """The operations of a job without faults; it must succeed."""
    world.reset(library=job.library)
    job.prepare(world)
    world.fs.plan()
    done = carry_out(world, job)
    told = world.fs.plan()
    check_success(world, job, done)
    return told


def choose(source: random.Random, counts: dict[str, int]) -> Fault:
    """A fault that the job must meet: each kind of operation is as likely as another, and each of a kind."""
    kind, top = source.choice(sorted(key for key in counts if not key.endswith(" "))).split()
    error = source.choice(_ERRORS) if kind in _WRITES else errno.EIO
    path, times = f"/{top}*", source.choice((1, 1, 0))
    match source.randrange(4):
        case 0 if kind in ("read", "write") and top == "disks":
            low = source.randrange(SIZE)
            return Fault(kind=kind, times=0, path=path, error=error, low=low, high=low + source.choice((512, MIB)))
        case 1 if kind in ("read", "write"):
            error, times = 0, source.choice((1, 0))
    return Fault(kind=kind, nth=source.randrange(counts[f"{kind} {top}"]) + 1, times=times, path=path, error=error)


def one_round(world: World, job: Kind, fault: Fault) -> tuple[Finished, bool]:
    """A job with a fault and again without; how it ended, and whether the fault was met. Raises Unsound."""
    world.reset(library=job.library)
    job.prepare(world)
    before = images_of(world.fs.back / "library")
    held = (world.fs.back / "disks" / job.target).read_bytes() if job.target else b""
    world.fs.plan(fault)
    done = carry_out(world, job)
    told = world.fs.plan()
    if done.status == ExitStatus.DONE:
        check_success(world, job, done)
        return done, bool(told.hit)
    expect(told.hit, f"it failed without a fault: {done}")
    if done.status == ExitStatus.DAMAGED:
        _check_damaged(world, fault, done)
        check_success(world, job, carry_out(world, job))
        return done, True
    _check_error(fault, done)
    listed = images_of(world.fs.back / "library")
    # A medium on which nothing is found any more keeps a manifest that should go: what it lists must be whole, as ever.
    kept = fault.kind == "getattr" and fault.times == 0 and set(before) < set(listed)
    expect(listed == before or kept, f"images are listed that were not, or not those: {done}")
    prove(world.fs.back / "library")
    if job.target:
        _check_target(world, job, fault, done, held)
    again = carry_out(world, job)
    check_success(world, job, again)
    return done, True


def _check_error(fault: Fault, done: Finished) -> None:
    expect(done.status in (ExitStatus.IO_FAILURE, ExitStatus.REFUSED), f"status {done.status}: {done}")
    if not fault.error and ("sfdisk" in done.message or done.code == "disk-changed"):
        return  # sfdisk takes half a read for an error, blkid for the end of the disk
    expect(fault.error, f"half a read or write is no failure: {done}")
    if done.status == ExitStatus.REFUSED:
        expect(done.code in _MAY_REFUSE, f"refused as {done.code!r}: {done}")
    else:
        called = _CODES[fault.error] | ({"read-failed"} if fault.kind == "flush" else set())
        expect(done.code in called, f"{errno.errorcode[fault.error]} is called {done.code!r}: {done}")
    expect("/" in done.message or ".img" in done.message, f"the message names nothing: {done}")


def _check_damaged(world: World, fault: Fault, done: Finished) -> None:
    """The image of a disk with bad sectors is marked, zero where they are and the disk elsewhere."""
    assert isinstance(done.result, CaptureResult)
    expect((fault.kind, fault.error, fault.path) == ("read", errno.EIO, "/disks*"), f"the disk was whole: {done}")
    prove(world.fs.back / "library")
    library = world.fs.back / "library"
    made = Sample(library, done.result.image, world.fs.back / "disks" / "pc.img")
    plain, disk = _disk_of(made), bytearray(made.disk.read_bytes())
    for start, end in made.imaged.unreadable:
        disk[start:end] = bytes(end - start)
    expect(made.image.unreadable == done.result.unreadable > 0, f"not marked as damaged: {done}")
    expect(plain == disk, "the image is not what could be read of the disk")


def check_success(world: World, job: Kind, done: Finished) -> None:
    """The result is that of a job without faults, and whole."""
    expect(done.status == ExitStatus.DONE, f"without a fault: {done}")
    prove(world.fs.back / "library")
    if job.target:
        whole = holds_used_bytes(world.behind(), world.fs.back / "disks" / job.target)
        expect(whole, "the target does not hold what the image does")
    if job.captures:
        assert isinstance(done.result, CaptureResult)
        library = Library.open(world.fs.back / "library")
        disk = Sample(library.path, done.result.image, world.fs.back / "disks" / "pc.img")
        expect(not library.images().damaged, "an image is damaged")
        expect(_disk_of(disk) == disk.disk.read_bytes(), "the image is not the disk")


def _disk_of(sample: Sample) -> bytes:
    """The disk as the image has it."""
    index = sample.index
    frames = ((i, sample.chunk(i).read_bytes()) for i in range(len(index)))
    return b"".join(chunk.decompress(frame, index.length(i), index.id(i).hex()) for i, frame in frames)


def _check_target(world: World, job: Kind, fault: Fault, done: Finished, held: bytes) -> None:
    """The words about the target are true, and its table stands over all of its data or over none that changed."""
    path = world.fs.back / "disks" / job.target
    holds = path.read_bytes()
    whole = holds_used_bytes(world.behind(), path)
    marked = bool(unfinished.parse(holds[: unfinished.SIZE]))
    body = slice(MIB, SIZE - MIB)
    if not marked and not whole:
        expect(holds[body] == held[body], f"a table stands over missing data: {done}")
    match done.state.split(" ")[0]:
        case "":
            expect(holds == held, f"no word about a target that was written to: {done}")
        case "Nothing":
            expect(holds == held, f"something was written: {done}")
        case "Writing":
            expect(holds[body] == held[body], f"more than the table was written: {done}")
        case "Everything":
            expect(whole, f"not everything was written: {done}")
        case _:
            expect("only partly restored" in done.state, f"strange words: {done}")
            last = fault.kind in ("fsync", "flush", "read")
            expect(marked or (whole and last), f"partly restored, but not marked as such: {done}")


def sweep(world: World, jobs: tuple[Kind, ...], rounds: int, seed: int, seconds: float = 0.0) -> "Tally":
    """So many rounds, one job after the other in turn, or as many as fit into `seconds`."""
    source, tally = random.Random(seed), Tally()
    deadline = time.monotonic() + seconds if seconds else float("inf")
    counts: dict[str, dict[str, int]] = {}
    for i in range(rounds):
        if time.monotonic() > deadline:
            break
        job = jobs[i % len(jobs)]
        if job.name not in counts:
            counts[job.name] = count(world, job).counts
        fault = choose(source, counts[job.name])
        try:
            done, hit = one_round(world, job, fault)
        except Exception as error:
            tally.defects.append(f"round {i}, {job.name}, {fault}: {type(error).__name__}: {error}")
            continue
        tally.add(job, fault, done, hit)
    return tally


class Tally:
    """What a sweep found."""

    def __init__(self) -> None:
        self.rounds = self.hit = 0
        self.ends: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.defects: list[str] = []

    def add(self, job: Kind, fault: Fault, done: Finished, hit: bool) -> None:
        """Count a round that held."""
        self.rounds += 1
        self.hit += hit
        error = errno.errorcode[fault.error] if fault.error else "half"
        self.faults[f"{error} {fault.kind} {fault.path[1:-1]}"] += 1
        self.ends[f"{job.name}: {done.code or 'done'}"] += 1

    def told(self) -> str:
        """All of it, for a person."""
        lines = [f"{self.rounds} rounds held, {self.hit} of them met their fault; {len(self.defects)} did not hold"]
        for title, counts in (("ends", self.ends), ("faults", self.faults)):
            lines.append(f"{title}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
        return "\n".join([*lines, *self.defects])


def main() -> int:
    """Parse the command line and sweep; 1 where anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sweep", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--job", choices=[job.name for job in JOBS], help="this kind of job alone")
    asked = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="rescue-sweep-", dir=memory) as folder, world(Path(folder)) as made:
        jobs = tuple(job for job in JOBS if asked.job in (None, job.name))
        tally = sweep(made, jobs, asked.rounds, asked.seed)
    print(f"seed {asked.seed}: {tally.told()}")
    return int(bool(tally.defects))


if __name__ == "__main__":
    sys.exit(main())
