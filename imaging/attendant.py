"""The process that attends to an order: `python -m imaging.attendant [ORDER]`, once at each start of the live system.

It finds the order that is for this computer, counts down on all consoles, submits the plan as a job like any other,
keeps and sends the result, and does what comes after. A power cut anywhere leaves no result: the order runs again at
the next start, and a restore goes on where it was cut off.
"""

import dataclasses
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from imaging import __version__, bootcheck, circumstances, inventory, jobs, matching, ordersource, results, run, web
from imaging.errors import CancelledError, ExitStatus, RefusedError, RescueError, of_system
from imaging.events import Finished
from imaging.imageplans import VerifyPlan
from imaging.jobs import Job, JobState
from imaging.manifest import Machine
from imaging.matching import Found, Named
from imaging.orderboard import STOPPED, Board, Phase, State
from imaging.orders import After, Order
from imaging.plan import Plan, kind
from imaging.restoreplans import RestorePlan
from imaging.results import OrderNote, Result

_LIVE = (JobState.STARTING, JobState.RUNNING)
_LOOK_EVERY = 0.2
"""Seconds between two looks whether somebody has stopped it."""
_UNSEEN = 90.0
"""Seconds that a countdown waits for a console to show it: broken ones must not hold up an unattended machine."""
GRACE = 10
"""Seconds to read the end, and to keep the computer on."""
_SENDING = 120.0
"""Seconds in which a result is sent again where the server does not answer."""


@dataclass(slots=True)
class Attendant:
    """Attends to one order; `word` is what the kernel command line says of it."""

    board: Board
    word: str = ""
    pause: Callable[[float], None] = time.sleep
    machine: Machine = field(default_factory=Machine)
    named: Named | None = None
    plan: Plan | None = None
    job: Job | None = None
    kept: bool = False
    """Whether the medium holds the result, so that the order does not begin anew."""
    taken_off: bool = False
    """Whether the order is off the medium, so that no other start finds it."""
    started: str = ""

    def attend(self) -> None:
        """From the order to its end; what goes wrong is told on all consoles."""
        self.started = results.now()
        if self.word == ordersource.NONE or not (self.word or ordersource.on_medium()):
            return
        with self.board.attended():
            self.board.clear()
            try:
                self._attend()
            except CancelledError:
                self._stopped()
            except RescueError as error:
                self._refuse(error)
            except OSError as error:
                self._refuse(of_system(error))
            except Exception as error:
                self.board.log(traceback.format_exc())
                self._refuse(RescueError(f"an error in Rescue itself: {type(error).__name__}: {error}"))

    def _attend(self) -> None:
        looking = State(phase=Phase.LOOKING, name=self.name, message=f"looking for the order {self.name}")
        self._show(looking)
        self.machine = inventory.machine()
        word = self.word
        found = [ordersource.fetch(word)] if word else ordersource.read_all(ordersource.on_medium())
        named = self.named = matching.choose(found, self.machine)
        if named is None:
            # Those on the medium are for other computers, and nobody has to read that here.
            told = f"the order {self.name} is for other computers" if self.word else ""
            return self._turn(looking, State(phase=Phase.SKIPPED, name=self.name, message=told))
        finding = State(phase=Phase.LOOKING, name=self.name, message="looking for its image and its disks")
        self._turn(looking, finding)
        if named.order.one_start:
            ordersource.take_off(named.name)
            self.taken_off = True
        here = circumstances.look(named.order, self.machine)
        plan = self.plan = circumstances.plan_order(named.order, here)
        before = self._done_before(named, plan)
        if before is not None:
            words = f"the order {self.name} was carried out on this computer already, at {before.ended}"
            hint = f"to have it done again: once = false in it, or remove the folder {results.FOLDER} from the medium"
            return self._turn(finding, State(phase=Phase.SKIPPED, name=self.name, message=words, hint=hint))
        counting = State(phase=Phase.COUNTING, name=self.name, plan=plan, then=named.order.after)
        _refuse_from_damaged_medium(plan)
        self._turn(finding, counting)
        return self._carry_out(named.order, plan, self._count(named.order, plan, here, counting))

    @property
    def name(self) -> str:
        """What the order is called."""
        if self.named is None:
            return ordersource.name_of(self.word) or ordersource.FOLDER
        return self.named.order.name or self.named.name

    def _show(self, state: State) -> None:
        self._log(state)
        self.board.show(state)

    def _log(self, state: State) -> None:
        self.board.log(f"{state.phase}: {state.name}: {state.message or (state.plan.title if state.plan else '')}")

    def _turn(self, seen: State, new: State) -> None:
        """Go on from one state to the next; raises CancelledError where a console has stopped it meanwhile."""
        if not self.board.turn(seen, new):
            raise CancelledError(STOPPED)
        self._log(new)

    def _done_before(self, named: Named, plan: Plan) -> Result | None:
        folder = results.place()
        if folder is None or not named.order.once:
            return None
        return results.done_before(folder, named.digest, self.machine, plan)

    def _count(self, order: Order, plan: Plan, here: Found, state: State) -> State:
        """Count down; the state in which the job may begin."""
        if order.countdown:
            self._wait(state, until=time.monotonic() + _UNSEEN, or_seen=True)
            counting = replace(state, ends_at=time.monotonic() + order.countdown)
            self._turn(state, counting)
            self._wait(counting, until=counting.ends_at)
            if self.board.read() == counting:
                _refuse_where_disks_came(order, plan, here)
            state = counting
        running = replace(state, phase=Phase.RUNNING, ends_at=0.0)
        self._turn(state, running)
        return running

    def _wait(self, state: State, *, until: float, or_seen: bool = False) -> None:
        """Wait, or until a console has changed the state, or shows it."""
        while time.monotonic() < until and self.board.read() == state and not (or_seen and self.board.watched):
            self.pause(_LOOK_EVERY)

    def _stopped(self) -> None:
        state = self.board.read()
        problems = self._report(self._result(results.STOPPED, ExitStatus.CANCELLED, message=STOPPED))
        if state is not None:
            self.board.show(replace(state, problems=problems))

    def _carry_out(self, order: Order, plan: Plan, state: State) -> None:
        # A check that has not ended by now is waited for by the job.
        _refuse_from_damaged_medium(plan)
        job = self.job = jobs.submit(plan)
        state = replace(state, job=job.id)
        self._show(state)
        while job.state in _LIVE:
            self.pause(_LOOK_EVERY)
        ended = job.state
        finished = job.finished or job.died()
        problems = self._report(self._result_of_job(job, ended, finished))
        then = order.after if ended is JobState.DONE else order.on_failure
        if then is After.REBOOT and order.once and not self.kept and not web.is_address(self.word):
            problems = (*problems, "the computer is not restarted: without a kept result, the order would begin anew")
            then = After.MENU
        ending = replace(state, phase=Phase.ENDED, result=ended, message=finished.message, hint=finished.hint)
        self._end(replace(ending, problems=problems, then=then))

    def _refuse(self, error: RescueError) -> None:
        """Tell why nothing is done, on all consoles, on the medium and to whoever asked."""
        state = self.board.read()
        if state is not None and state.phase is Phase.STOPPED:
            self._stopped()
            return
        result = results.REFUSED if self.job is None else str(JobState.FAILED)
        phase = Phase.REFUSED if self.job is None else Phase.ENDED
        told = State(phase=phase, name=self.name, result=result, message=error.message, hint=error.hint or "")
        told = replace(told, plan=self.plan, job=self.job.id if self.job else "")
        self._show(told)
        said = self._result(result, error.exit_status, message=error.message)
        problems = self._report(replace(said, code=error.code, hint=error.hint or ""))
        then = self.named.order.on_failure if self.named else After.MENU
        if then is After.REBOOT and not self.taken_off:
            then = After.MENU  # the next start would find it, and so on without end
        self._end(replace(told, problems=problems, then=then))

    def _end(self, state: State) -> None:
        """Show the end, and do what comes after unless somebody keeps the computer on."""
        others = [job.title for job in jobs.jobs() if job.state in _LIVE]
        if state.then is not After.MENU and others:
            problem = f"the computer stays on: another job is at work: {others[0]}"
            state = replace(state, then=After.MENU, problems=(*state.problems, problem))
        if state.then is not After.MENU:
            state = replace(state, ends_at=time.monotonic() + GRACE)
        self._show(state)
        self._wait(state, until=state.ends_at)
        # From here on no console can keep the computer on any more, nor is told that it has.
        if state.then is After.MENU or not self.board.turn(state, replace(state, ends_at=0.0)):
            return
        self.board.log(f"then: {state.then}")
        try:
            (run.reboot if state.then is After.REBOOT else run.power_off)()
        except RescueError as error:
            self._show(replace(state, ends_at=0.0, then=After.MENU, problems=(*state.problems, error.message)))

    def _result_of_job(self, job: Job, ended: JobState, finished: Finished) -> Result:
        said = self._result(ended, finished.status, message=finished.message)
        figures: dict[str, Any] = msgspec.to_builtins(finished.result) if finished.result is not None else {}
        image = str(figures.get("image", "")) or said.image
        said = replace(said, job=job.id, image=image, figures=figures, state=finished.state)
        return replace(said, code=finished.code, hint=finished.hint)

    def _result(self, result: str, status: int, *, message: str) -> Result:
        """What there is to say now."""
        named, plan = self.named, self.plan
        return Result(
            result=str(result),
            order=OrderNote(name=self.name, source=named.name if named else "", digest=named.digest if named else ""),
            machine=self.machine,
            started=self.started,
            ended=results.now(),
            rescue=__version__,
            status=int(status),
            kind=kind(plan) if plan else "",
            title=plan.title if plan else "",
            image=plan.image if isinstance(plan, RestorePlan | VerifyPlan) else "",
            disks=results.disks_of(plan) if plan else (),
            message=message,
        )

    def _report(self, result: Result) -> tuple[str, ...]:
        """Keep the result and send it; what cannot be kept or sent, in words."""
        self.board.log(f"result: {result.result}: {result.message}")
        problems: tuple[str, ...] = ()
        folder, kept = results.place(), None
        if folder is not None:
            try:
                kept = results.keep(result, folder, pause=self.pause)
                self.kept = True
            except RescueError as error:
                problems = (f"the result could not be kept: {error.message}",)
        url = self.named.order.report if self.named else ""
        if url:
            sent = replace(result, problems=problems)
            try:
                web.patiently(lambda: web.post(url, results.encode(sent)), _SENDING, pause=self.pause)
            except RescueError as error:
                problems = (*problems, f"the result could not be sent: {error.message}")
                if folder is not None and kept is not None:
                    with suppress(RescueError):
                        results.keep(replace(result, problems=problems), folder, over=kept, pause=self.pause)
        for problem in problems:
            self.board.log(problem)
        return problems


def _refuse_where_disks_came(order: Order, plan: Plan, here: Found) -> None:
    """Some controllers show their disks late: what was the only one that could be meant may be one of two by now."""
    if not results.disks_of(plan):
        return
    now = dataclasses.replace(here, disks=inventory.scan([here.library]))
    if results.disks_of(matching.plan_order(order, now)) != results.disks_of(plan):
        raise RefusedError(
            "the disks of this computer have changed while the order counted down",
            code="disk-changed",
            hint="start the computer again, or name the disk by its serial number or WWN in the order",
        )


def _refuse_from_damaged_medium(plan: Plan) -> None:
    if isinstance(plan, RestorePlan):
        bootcheck.refuse_where_damaged(bootcheck.boot_state())


def main(argv: list[str]) -> int:
    """Attend to the order that the kernel command line, or the first argument, names, or that lies on the medium."""
    try:
        Attendant(Board(), argv[1] if len(argv) > 1 else ordersource.asked()).attend()
    except RescueError as error:
        print(f"rescue: {error.message}", file=sys.stderr)
        return error.exit_status
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv))
