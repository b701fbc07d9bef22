"""One run of the schedule, as the timer starts it: capture from snapshots, or ask the next start for it; then prune."""

import argparse
import signal
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from imaging import freeing, inventory, jobs, keyring, levels, nextboot, planner, remains, schedulestate, still
from imaging.disk import Disk
from imaging.errors import BadImageError, ExitStatus, RefusedError, RescueError
from imaging.events import CaptureResult
from imaging.library import Library
from imaging.manifest import Image
from imaging.pipeline import Reporter
from imaging.retention import group_of
from imaging.schedules import Schedule, Way
from imaging.schedulestate import Failure, State, Success, boot_id
from rescue import follow, passphrases
from rescue.commands import print_json, print_lines
from rescue.finding import library_at
from rescue.language import _

AddLevel = Callable[[argparse.ArgumentParser], None]


def run(options: Namespace) -> int:
    """`rescue schedule run`: its status is that of the capture, and what came of it is kept."""
    schedule = _needed()
    # systemd stops a service so; the job is asked to stop, and waited for.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(schedule, options)
    except RescueError as error:
        _note_failure(error.code, error.message, error.hint or "")
        raise


def _run(schedule: Schedule, options: Namespace) -> int:
    if schedule.passphrase_file:
        keyring.use_file(schedule.passphrase_file)
    library = _library(schedule)
    state = settled(schedule, schedulestate.read(), library)
    if state.asked is not None:
        _tell(options, "waiting", _("The next start of this computer captures it: nothing is done until then."))
        return ExitStatus.DONE
    disks = _disks(schedule, library)
    why = None if options.next_boot else why_no_snapshots(disks)
    if why is not None and schedule.way is Way.SNAPSHOT:
        raise why
    if options.next_boot or why is not None:
        return _ask_next_start(schedule, library, options)
    level = levels.parse(str(schedule.level))
    plan = planner.plan_capture(disks, library, schedule.label, level, check=schedule.check, running=True)
    passphrases.unlock(plan)
    job = jobs.submit(plan)
    status = follow.follow(job, json=options.json, interrupt_cancels=True)
    finished = job.finished or job.died()
    if status != ExitStatus.DONE or not isinstance(finished.result, CaptureResult):
        _note_failure(finished.code or "failed", finished.message, finished.hint)
        return status or ExitStatus.INTERNAL
    _note_success(finished.result.image, library)
    return _prune(schedule, library, finished.result.image, options)


def _needed() -> Schedule:
    schedule = schedulestate.configured()
    if schedule is None:
        raise RefusedError(
            "no schedule is set on this computer",
            code="no-schedule",
            hint="set one: rescue schedule set DISK --library DIR",
        )
    return schedule


def _library(schedule: Schedule) -> Path:
    """The library, which has to be there: in place of a medium that is not mounted none is made."""
    path = library_at(schedule.library)
    try:
        Library.look(path)
    except BadImageError as error:
        raise BadImageError(
            f"the library of the schedule cannot be used: {error.message}",
            code=error.code,
            hint="is the medium attached and mounted, or the share?",
        ) from error
    return path


def _disks(schedule: Schedule, library: Path) -> Sequence[Disk]:
    """The disks that are meant, by what they are and not by their names of today."""
    there = inventory.scan([library])
    found = []
    for wanted in schedule.disk:
        same = [disk for disk in there if disk.id.same_disk(wanted.id)]
        if len(same) != 1:
            name = " ".join(filter(None, (wanted.model, wanted.serial or wanted.wwn))) or str(wanted.size)
            raise RefusedError(
                f"the disk {name} of the schedule is not there" if not same else f"{len(same)} disks are {name}",
                code="no-such-disk",
                hint="`rescue disks` lists the disks; set the schedule anew: rescue schedule set",
            )
        found.append(same[0])
    return found


def why_no_snapshots(disks: Sequence[Disk]) -> RefusedError | None:
    """Why the disks cannot be captured while they are in use; None where they can."""
    try:
        still.look_all(disks)
    except RefusedError as error:
        if error.code != "not-still":
            raise
        return error
    return None


def _ask_next_start(schedule: Schedule, library: Path, options: Namespace) -> int:
    known = [image.id for image in _images_of(schedule, library)]
    asked = nextboot.ask(schedule, known)
    schedulestate.write(structs.replace(schedulestate.read(), asked=asked))
    _tell(options, "asked", _("The next start of this computer captures it, and starts its own system again."))
    return ExitStatus.DONE


def settled(schedule: Schedule, state: State, library: Path | None) -> State:
    """What is known once it was seen what came of the start that was to capture; None is a library that is away.

    The order on the recovery partition is taken away first. Raises as nextboot.withdraw does.
    """
    asked = state.asked
    if asked is None or asked.boot == boot_id():
        return state
    nextboot.withdraw(asked)
    if library is None:
        return state
    new = [image for image in _images_of(schedule, library) if image.id not in asked.known and not image.unreadable]
    state = structs.replace(state, asked=None)
    if new:
        newest = max(new, key=lambda image: image.id)
        success = Success(when=newest.created, image=newest.id, library=str(library))
        state = structs.replace(state, success=success, failure=None)
    else:
        lacking = BadImageError(
            "this computer was started since, and no image came of it",
            code="no-image",
            hint="was the recovery partition started, with the library attached? else: rescue schedule run --next-boot",
        )
        failure = _failure(lacking.code, lacking.message, lacking.hint or "")
        state = structs.replace(state, failure=failure)
    schedulestate.write(state)
    return state


def _images_of(schedule: Schedule, library: Path) -> list[Image]:
    """The images of just these disks."""
    return [
        image
        for image in Library.open(library).images().images
        if len(image.disks) == len(schedule.disk)
        and all(any(disk.id.same_disk(one.id) for disk in image.disks) for one in schedule.disk)
    ]


def _note_success(image: str, library: Path) -> None:
    success = Success(when=schedulestate.now(), image=image, library=str(library))
    schedulestate.write(structs.replace(schedulestate.read(), success=success, failure=None))


def _note_failure(code: str, message: str, hint: str) -> None:
    schedulestate.write(structs.replace(schedulestate.read(), failure=_failure(code, message, hint)))


def _failure(code: str, message: str, hint: str) -> Failure:
    return Failure(when=schedulestate.now(), code=code, message=message, hint=hint)


def _prune(schedule: Schedule, library: Path, newest: str, options: Namespace) -> int:
    """Delete what the rule lets go, of this computer's images of these disks alone, whoever else uses the library."""
    rule = schedule.keep.rule
    if rule is None:
        return ExitStatus.DONE
    plan, verdicts = freeing.plan_prune(library, rule, datetime.now(UTC))
    images = {verdict.image.id: verdict.image for verdict in verdicts}
    if newest not in images:
        return ExitStatus.DONE
    ours = group_of(images[newest])
    plan = structs.replace(plan, images=tuple(one for one in plan.images if group_of(images[one.id]) == ours))
    if not plan.images:
        return ExitStatus.DONE
    passphrases.unlock(plan)
    job = jobs.submit(plan)
    return follow.follow(job, json=options.json, interrupt_cancels=True)


def tidy(options: Namespace) -> int:
    """`rescue schedule tidy`: what a capture that was killed has left; nothing while one is at work."""
    try:
        remains.tidy_alone(Reporter(len))
    except RefusedError as error:
        if error.code != "library-busy":
            raise
    _tell(options, "tidy", "")
    return ExitStatus.DONE


def back(options: Namespace) -> int:
    """`rescue schedule back`: after the start that was to capture, its order goes, and what came of it is kept."""
    schedule = _needed()
    library: Path | None = None
    try:
        library = _library(schedule)
    except RescueError:
        # It may not be mounted yet: the next run looks again.
        library = None
    state = settled(schedule, schedulestate.read(), library)
    if state.success and library is not None and state.success.library == str(library):
        _tell(options, "back", _("The last image: {image}").format(image=state.success.image))
        return _prune(schedule, library, state.success.image, options)
    _tell(options, "back", "")
    return ExitStatus.DONE


def _tell(options: Namespace, what: str, words: str) -> None:
    if options.json:
        print_json({"schedule": what})
    elif words:
        print_lines([words])
