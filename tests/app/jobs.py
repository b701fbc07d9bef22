"""Jobs that exist only in memory, and how they end."""

from dataclasses import dataclass, field

from imaging.events import (
    AnyEvent,
    CaptureResult,
    Finished,
    Log,
    MediaResult,
    Progress,
    RepairResult,
    RestoreResult,
    Started,
    Step,
    VerifyResult,
)
from imaging.plan import Plan
from tests.app.disks import GB
from tests.app.images import restore_plan
from tests.app.repairs import STARTS

REPAIRED = Finished(
    time=1300.0,
    status=8,
    message="sda was only partly repaired.",
    code="partly-repaired",
    hint="the log says why; save what is on the disk before anything else is tried",
    result=RepairResult(
        target="sda",
        starts=STARTS,
        seconds=42.0,
        table=True,
        loaders=("BIOS",),
        saved="/run/rescue/jobs/20261124-101500-abcd/kept",
        failed=("sda2 (ext4): e2fsck: the volume: UNEXPECTED INCONSISTENCY",),
    ),
)
RESTORED = Finished(
    time=1300.0,
    status=0,
    message="clean install was restored to sda",
    state="sda holds the whole image",
    result=RestoreResult(
        image="i",
        compared=6000,
        skipped=5000,
        written=1000,
        written_bytes=4 * GB,
        read_back=True,
        seconds=300.0,
        starts=(STARTS,),
    ),
)
FAILED = Finished(
    time=1300.0,
    status=5,
    code="io",
    message="writing to sda failed at 12.0 GB: Input/output error",
    state="sda holds half a system",
    hint="check the cable, or replace the disk",
)
DIED = Finished(
    time=1300.0,
    status=5,
    code="worker-died",
    message="the process that did the work ended without a word",
    state="sda may be only partly restored",
    hint="restore the image again: only what is missing will be written",
)
MADE = Finished(
    time=1300.0,
    status=0,
    message="The recovery medium sde was made, read back and checked.",
    result=MediaResult(
        target="sde",
        build="0123456789abcdef",
        system=200 << 20,
        images=("i",),
        chunks=10_000,
        new=10_000,
        copied=9 * GB,
        room=50 * GB,
        seconds=500.0,
    ),
)
CAPTURED = Finished(
    time=1300.0,
    status=0,
    message="sda was captured",
    result=CaptureResult(image="i", used=40 * GB, chunks=10_000, new=4_000, stored=9 * GB, seconds=400.0),
)
VERIFIED_BAD = Finished(
    time=1300.0,
    status=4,
    message="the image is damaged",
    result=VerifyResult(image="i", chunks=100, bytes=GB, bad=tuple("abcdefghij"), differing=0, seconds=3.0),
)


@dataclass
class FakeJob:
    """A job whose worker is the test: it says what `events` hold."""

    known_plan: Plan | None
    id: str = "1"
    state: str = "running"
    started: float = 1000.0
    events: list[AnyEvent] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """As the plan has it."""
        return self.known_plan.title if self.known_plan else "a job whose plan cannot be read"

    @property
    def finished(self) -> Finished | None:
        """The last event, if it is an end."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    def died(self) -> Finished:
        """What the job's folder tells."""
        return DIED

    def cancel(self) -> None:
        """Only noted."""
        self.calls.append("cancel")

    def read(self, offset: int) -> tuple[list[AnyEvent], int]:
        """The offset counts events."""
        return self.events[offset:], len(self.events)

    def say(self, *events: AnyEvent) -> None:
        """The worker says something."""
        self.events += events

    def end(self, finished: Finished, state: str = "done") -> None:
        """The worker ends."""
        self.events.append(finished)
        self.state = state


def running_job(plan: Plan | None = None) -> FakeJob:
    """A job that is a quarter through its step."""
    plan = plan or restore_plan()
    job = FakeJob(known_plan=plan)
    job.say(
        Started(time=1000.0, job="1", kind="restore", title=plan.title),
        Log(time=1000.0, message="the target's table was cleared"),
        Step(time=1000.0, name="Restoring sda", total=100 * GB),
        *(Progress(time=1000.0 + second, done=second * GB, total=100 * GB, moved=GB) for second in range(26)),
    )
    return job
