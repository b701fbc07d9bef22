"""What a person needs to know of a job that goes on, gathered from its events."""

from collections.abc import Iterable

from imaging.events import AnyEvent, Finished, Log, Progress, Started, Step
from imaging.plan import CapturePlan, Plan, RestorePlan, VerifyPlan
from rescue.backend import LIVE_STATES, Job
from rescue.formats import clean, format_duration, format_estimate, format_rate, format_size, joined
from rescue.pace import Pace, Reading


class Feed:
    """Follows one job from its first event; `poll` takes what is new."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.plan = job.known_plan
        self.title = job.title
        self.step = "Starting"
        self.done = 0
        self.total = 0
        self.moved = 0
        self.log: list[str] = []
        self.began = job.started
        self.last = job.started
        self.reading = Reading()
        self.finished: Finished | None = None
        self._offset = 0
        self._pace = Pace()

    def poll(self) -> bool:
        """Take new events; True where anything was new. The end of a job that could not report one is made up.

        The state is asked for only while the job is silent, and the events once more after it, as the last of them
        may have come in between.
        """
        news = self._take_new()
        if news or self.finished is not None:
            return news
        if self.job.state in LIVE_STATES:
            return False
        self._take_new()
        if self.finished is None:
            self.finished = self.job.died()
        return True

    def _take_new(self) -> bool:
        events, self._offset = self.job.read(self._offset)
        self.take(events)
        return bool(events)

    def take(self, events: Iterable[AnyEvent]) -> None:
        """Take events in their order."""
        for event in events:
            self.last = event.time
            match event:
                case Started():
                    self.title, self.began = event.title, event.time
                case Step():
                    self.step, self.total, self.done, self.moved = event.name, event.total, 0, 0
                    self._pace = Pace()
                    self.reading = self._pace.note(event.time, 0, event.total)
                    self.log.append(clean(event.name))
                case Progress():
                    self.done, self.total, self.moved = event.done, event.total, event.moved
                    self.reading = self._pace.note(event.time, event.done, event.total)
                case Log():
                    mark = "" if event.level == "info" else f"{clean(event.level).upper()}: "
                    self.log.append(mark + clean(event.message))
                case Finished():
                    self.finished = event

    @property
    def fraction(self) -> float | None:
        """How far the step is; None where that is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def percent(self) -> str:
        """`45 %`, or empty."""
        return "" if self.fraction is None else f"{int(100 * self.fraction)} %"

    def lines(self) -> list[str]:
        """All figures, a caption before each."""
        facts = [
            ("Done", self.bytes_line()),
            *self.moved_facts(),
            ("Rate", self.rate_line()),
            ("Time", self.time_line()),
        ]
        return [f"{caption:<10}{words}" for caption, words in facts]

    def bytes_line(self) -> str:
        """How many bytes of how many."""
        if not self.total:
            return f"{format_size(self.done)} so far" if self.done else "-"
        return f"{format_size(self.done)} of {format_size(self.total)}"

    def moved_facts(self) -> list[tuple[str, str]]:
        """What was moved, not just compared or found known."""
        rest = format_size(max(0, self.done - self.moved))
        match self.plan:
            case RestorePlan():
                return [("Written", f"{format_size(self.moved)}; {rest} was right already")]
            case CapturePlan():
                return [("New", f"{format_size(self.moved)}; {rest} was in the library already")]
            case VerifyPlan() | None:
                return []

    def rate_line(self) -> str:
        """Bytes a second, over the last seconds."""
        return "-" if self.reading.rate is None else format_rate(self.reading.rate)

    def time_line(self) -> str:
        """Time gone and time left."""
        left = "" if self.reading.left is None else f"{format_estimate(self.reading.left)} left"
        return joined(f"{format_duration(self.last - self.began)} so far", left, by=", ")


class States:
    """Where jobs stand. How a job ended never changes, and to find it out again costs reading all that it said."""

    def __init__(self) -> None:
        self._ended: dict[str, str] = {}

    def of(self, job: Job) -> str:
        """Where a job stands now."""
        if job.id in self._ended:
            return self._ended[job.id]
        state = str(job.state)
        if state not in LIVE_STATES:
            self._ended[job.id] = state
        return state

    def live(self, jobs: Iterable[Job]) -> list[Job]:
        """Those that still go on."""
        return [job for job in jobs if self.of(job) in LIVE_STATES]


def left_behind(plan: Plan | None) -> str:
    """What a job leaves behind that stops in the middle, in words; empty where its plan cannot be read."""
    match plan:
        case CapturePlan():
            return "There is no new image in the library; the disks are unchanged."
        case RestorePlan():
            doomed = [clean(name) for pair in plan.targets for name in pair.names]
            verb = "holds" if len(doomed) == 1 else "hold"
            what = "half a file system" if any(pair.partitions for pair in plan.targets) else "half a system"
            return f"{' and '.join(doomed)} {verb} {what} and cannot be used until a restore has run to its end."
        case VerifyPlan():
            return "Nothing was changed."
        case None:
            return ""
