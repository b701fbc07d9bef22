"""What a person needs to know of a job that goes on, gathered from its events."""

import time
from collections.abc import Callable, Iterable

from imaging.events import READING_BACK, AnyEvent, Finished, Log, Progress, Started, Step
from imaging.imageplans import (
    CapturePlan,
    CopyImagesPlan,
    DeletePlan,
    ExportPlan,
    FilesPlan,
    ImportPlan,
    PrunePlan,
    VerifyPlan,
    VerifySetPlan,
)
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaIsoPlan, MediaPlan, RemovePlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan
from rescue.backend import LIVE_STATES, Job
from rescue.course import Course
from rescue.formats import clean, format_estimate, format_rate, format_size, format_so_far
from rescue.history import History
from rescue.language import N_, _, ngettext
from rescue.outcome import level_word
from rescue.pace import LONG_WINDOW, Pace, Reading
from rescue.repair_words import left_by_repair
from rescue.telling import told

SILENCE = 15.0
"""Seconds without a word after which it is said that nothing moves, and no time left is told."""

LONGEST = 24
"""Columns of a figure that may change as a whole: on a line, 40 bytes with the moves to it and back."""


class Feed:
    """Follows one job from its first event; `poll` takes what is new."""

    def __init__(self, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        self.job = job
        self.plan = job.known_plan
        self.title = job.title
        self.step = N_("Starting")
        self.done = 0
        self.total = 0
        self.moved = 0
        self.log: list[str] = []
        self.began = job.started
        self.last = job.started
        self.reading = Reading()
        self.finished: Finished | None = None
        self.history = History()
        self._clock = clock
        self._heard = clock()
        self._offset = 0
        self._course = Course(self.plan)
        self._pace = Pace()
        self._whole_pace = Pace(LONG_WINDOW)
        self._whole = Reading()

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
            self.last, self._heard = event.time, self._clock()
            match event:
                case Started():
                    self.title, self.began = event.title, event.time
                case Step():
                    self._take_step(event)
                case Progress():
                    self._take_progress(event)
                case Log():
                    mark = "" if event.level == "info" else f"{level_word(event).upper()}: "
                    self.log.append(mark + clean(told(event.message)))
                case Finished():
                    self.finished = event

    def _take_step(self, event: Step) -> None:
        self.step, self.total, self.done, self.moved = event.name, event.total, 0, 0
        self._course.begin(event.name, event.total)
        self._pace = Pace()
        self.reading = self._pace.note(event.time, 0, event.total)
        self.log.append(clean(told(event.name)))

    def _take_progress(self, event: Progress) -> None:
        self.history.note(event.time, max(0, event.done - self.done))
        self.done, self.total, self.moved = event.done, event.total, event.moved
        self.reading = self._pace.note(event.time, event.done, event.total)
        self._course.note(event.done, event.moved)
        work = self._course.work
        if work is not None:
            self._whole = self._whole_pace.note(event.time, int(work[0]), int(work[1]))

    @property
    def fraction(self) -> float | None:
        """How far the step is; None where that is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def whole(self) -> float | None:
        """How far the whole job is; None where that is not known. It never goes back."""
        return self._course.fraction

    @property
    def percent(self) -> str:
        """`45 %` of the whole, or of the step where the whole is not known, or empty."""
        share = self.fraction if self.whole is None else self.whole
        return "" if share is None else f"{round(100 * share)} %"

    @property
    def silent(self) -> float:
        """Seconds since the job said something."""
        return self._clock() - self._heard

    def lines(self) -> list[str]:
        """The figures that change: bytes, rate, time gone, time left; a caption before each, each in its place."""
        left = _("Step left") if self.whole is None else _("Left")
        facts = [
            (_("Done"), self.bytes_line()),
            (_("Rate"), self.rate_line()),
            (_("Time"), self.time_line()),
            (left, self.left_line()),
        ]
        return [f"{caption:<10}{words}" for caption, words in facts]

    def bytes_line(self) -> str:
        """How many bytes of how many, and which of them were moved, not just compared or found known."""
        done = f"{format_size(self.done):>8}"
        if not self.total:
            return _("{done} so far").format(done=done) if self.done else "-"
        words = _("{done} of {total}").format(done=done, total=format_size(self.total))
        moved = f"{format_size(self.moved):>8}"
        match self.plan:
            case RestorePlan() if not self.step.startswith(READING_BACK):
                return f"{words}, {_('{moved} of it had to be written').format(moved=moved)}"
            case CapturePlan() | ImportPlan():
                return f"{words}, {_('{moved} of it new to the library').format(moved=moved)}"
        return words

    def rate_line(self) -> str:
        """Bytes a second, over the last seconds."""
        if self.silent >= SILENCE or self.reading.rate is None:
            return "-"
        return f"{format_rate(self.reading.rate):>10}"

    def time_line(self) -> str:
        """Time gone."""
        return _("{time} so far").format(time=format_so_far(self.last - self.began + self.silent))

    def left_line(self) -> str:
        """Time left: of the whole, or of the step where the whole is not known; or for how long nothing has moved.

        At most LONGEST columns while a job goes well, as it changes as a whole.
        """
        if self.silent >= SILENCE and self.total:
            return _("no progress for {time}").format(time=format_so_far(self.silent))
        left = self.reading.left if self.whole is None else self._whole.left
        return "-" if left is None or self.silent >= SILENCE else format_estimate(left)


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
            return _("There is no new image in the library; the disks are unchanged.")
        case ImportPlan():
            return _("There is no new image in the library; what was imported is unchanged.")
        case RestorePlan():
            doomed = [clean(name) for pair in plan.targets for name in pair.names]
            names = _(" and ").join(doomed)
            if any(pair.partitions for pair in plan.targets):
                words = ngettext(
                    "{names} holds half a file system and cannot be used until a restore has run to its end.",
                    "{names} hold half a file system and cannot be used until a restore has run to its end.",
                    len(doomed),
                )
            else:
                words = ngettext(
                    "{names} holds half a system and cannot be used until a restore has run to its end.",
                    "{names} hold half a system and cannot be used until a restore has run to its end.",
                    len(doomed),
                )
            return words.format(names=names)
        case VerifyPlan() if plan.against is not None:
            return _("Nothing was changed.")
        case VerifyPlan() | VerifySetPlan():
            return _("Nothing was changed. The same verification, begun again, goes on from where it was.")
        case CopyImagesPlan():
            return _("The images that were copied to their end are whole, and stay.")
        case ExportPlan() | MediaIsoPlan():
            return _("The file that was begun is removed.")
        case FilesPlan():
            return _("The files that were copied already are whole, and stay.")
        case PrunePlan():
            return _("Images that have left the list already stay deleted; the next pruning frees the rest.")
        case DeletePlan():
            return _("If the image has left the list already, the next deletion frees the rest of its room.")
        case MediaPlan(update=True):
            words = _("{name} does not start a computer until an update has run to its end; its images are kept.")
            return words.format(name=clean(plan.target.name))
        case MediaPlan():
            words = _("{name} is no recovery medium until it was made to the end, and what was on it is lost.")
            return words.format(name=clean(plan.target.name))
        case MediaGrowPlan():
            return _("The partition for images stays as it was, or becomes larger; what is on it is kept.")
        case RepairPlan():
            return left_by_repair(plan.target)
        case InstallPlan() | RemovePlan():
            words = _(
                "{name} keeps all other partitions; the recovery partition is completed or removed by a later job."
            )
            return words.format(name=clean(plan.target.name))
        case None:
            return ""
