"""Jobs in processes of their own that are killed at a moment of the test's choosing."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import jobs, unfinished
from imaging.jobs import Job, JobState
from imaging.plan import Plan
from tests.faults.world import PATIENCE, until


def worker_of(job: Job) -> int:
    """The process id that the worker wrote into its lock; 0 before it has."""
    return int((job.folder / "lock").read_text() or 0)


def ended(job: Job) -> bool:
    """Whether the job is over, in whichever way."""
    return job.state not in (JobState.RUNNING, JobState.STARTING)


def start(plan: Plan) -> Job:
    """Submit a plan; the worker is at work when this returns."""
    job = jobs.submit(plan)
    # Not until it is taken for dead: a loaded machine may need longer to begin with it.
    until(lambda: worker_of(job) > 0, what="the worker's id")
    return job


def finish(job: Job) -> Job:
    """Wait for the job's end, and for its worker's: until then others take whom it belonged to for alive."""
    until(lambda: ended(job), what=f"the end of job {job.id}")
    with suppress(FileNotFoundError):
        until(lambda: _is_gone(worker_of(job)), what="the end of the worker")
    return job


def kill(job: Job, number: int = signal.SIGKILL) -> None:
    """Send a signal to the worker, and wait until it is gone."""
    if not ended(job):
        with suppress(ProcessLookupError):  # it may end by itself just now
            os.kill(worker_of(job), number)
    finish(job)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def frozen(job: Job) -> Iterator[None]:
    """The worker stands still, with no read or write of its own under way."""
    pid = worker_of(job)
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: all(_stands_still(task) for task in Path(f"/proc/{pid}/task").iterdir()), what="standing still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _stands_still(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_for_step(job: Job, name: str) -> None:
    """Wait until a step whose name begins so has begun."""
    events = job.folder / "events.jsonl"  # made a moment after the worker has written its id

    def begun() -> bool:
        return (events.exists() and f'"name":"{name}' in events.read_text()) or ended(job)

    until(begun, what=f"step {name}")


def wait_for_first_write(job: Job, target: Path) -> None:
    """Wait until a restore has taken the target's table away."""

    def begun() -> bool:
        with target.open("rb") as file:
            return bool(unfinished.parse(file.read(unfinished.SIZE))) or ended(job)

    until(begun, what="the first write")


def moments(count: int, longest: float, seed: int) -> Iterator[float]:
    """So many moments of a job that takes `longest` seconds: one in each equal part of it, at random."""
    source = random.Random(seed)
    for i in range(count):
        yield (i + source.random()) * longest / count


def kill_after(job: Job, seconds: float) -> bool:
    """Kill the worker so long after it began; whether it was still at work then."""
    pid, deadline = worker_of(job), time.monotonic() + seconds
    until(lambda: time.monotonic() >= deadline or not Path(f"/proc/{pid}").exists(), seconds=seconds + PATIENCE)
    alive = not ended(job)
    kill(job)
    return alive and job.state is JobState.DIED


def seconds_of(job: Job) -> float:
    """How long a job took that ended by itself."""
    events = job.events()
    return events[-1].time - events[0].time
