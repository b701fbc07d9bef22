"""What each command does: look, plan, show, confirm, submit, follow."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from imaging import inventory, levels, planner
from imaging import jobs as jobs_
from imaging.blockdev import real_path
from imaging.disk import Disk, DiskId, PartitionTable, TableKind
from imaging.errors import BadImageError, CancelledError, ExitStatus, RefusedError, RescueError, UsageError
from imaging.jobs import Job
from imaging.library import DamagedImage, Library, discover
from imaging.manifest import Image
from imaging.partitions import plan_restore_partitions, plan_verify
from imaging.plan import Plan, RestorePlan
from rescue import chosen, follow, outcome, outlook, report
from rescue.lookahead import look_ahead, value


def _print_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _print_event(kind: str, fields: Mapping[str, Any]) -> None:
    """A line of our own beside those of the job's events."""
    line = msgspec.json.encode({"event": kind, "time": time.time(), **fields})
    sys.stdout.write(line.decode() + "\n")


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def report_error(error: RescueError, *, json: bool) -> int:
    """Say what went wrong: to standard error for a person, as an object on standard output for `--json`.

    The object is one line: it is a whole document where nothing was printed before, and an event after other events.
    """
    if json:
        fields = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "status": int(error.exit_status),
        }
        _print_event("error", {"error": fields})
    else:
        print(f"rescue: {report.clean(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"What to do: {report.clean(error.hint)}", file=sys.stderr)
    return error.exit_status


def disks(options: Namespace) -> int:
    """`rescue disks`."""
    found = inventory.scan([real_path(path) for path in ([options.library] if options.library else discover())])
    if options.json:
        _print_json({"disks": found})
    else:
        _print_lines(report.disks_table(found))
    return ExitStatus.DONE


def _known_libraries(options: Namespace) -> list[Path]:
    """The library that was given, else that of the environment, else all that are attached."""
    given = options.library or os.environ.get("RESCUE_LIBRARY")
    return [real_path(path) for path in ([given] if given else discover())]


@dataclass(frozen=True, slots=True)
class _Found:
    """An image and the library that holds it."""

    library: Library
    image: Image


def _libraries(options: Namespace) -> list[Library]:
    """Those of the known libraries that can be read, with a warning for others; raises RescueError where none can."""
    paths = _known_libraries(options)
    if not paths:
        raise BadImageError(
            "no image library was found on the media that are attached",
            code="not-a-library",
            hint="give its folder with --library DIR",
        )
    good, bad = _each(paths, Library.open)
    _warn_unless_alone(good, bad)
    return good


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def _each(things: Sequence[_In], ask: Callable[[_In], _Out]) -> tuple[list[_Out], list[RescueError]]:
    """What each thing answers, and the errors of those that cannot."""
    good: list[_Out] = []
    bad: list[RescueError] = []
    for thing in things:
        try:
            good.append(ask(thing))
        except RescueError as error:
            bad.append(error)
    return good, bad


def _warn_unless_alone(good: Sequence[object], bad: Sequence[RescueError]) -> None:
    """One library that cannot be read must not hide the others; raises its error where there are none."""
    if bad and not good:
        raise bad[0]
    for error in bad:
        print(f"rescue: warning: {report.clean(error.message)}", file=sys.stderr)


def _find(options: Namespace) -> _Found:
    """The image that was named, in whichever library; the error of the last one where none has it."""
    error: RescueError | None = None
    for library in _libraries(options):
        try:
            return _Found(library, library.image(options.image))
        except RescueError as found:
            if error is None or found.code != "no-such-image":
                error = found
    assert error is not None
    raise error


def images(options: Namespace) -> int:
    """`rescue images`."""
    good: list[tuple[str, Image]] = []
    damaged: list[tuple[str, DamagedImage]] = []
    listings, bad = _each(_libraries(options), lambda library: (str(library.path), library.images()))
    _warn_unless_alone(listings, bad)
    for path, listing in listings:
        good.extend((path, image) for image in listing.images)
        damaged.extend((path, image) for image in listing.damaged)
    if options.json:
        _print_json(
            {
                "images": [{"library": path, **msgspec.to_builtins(image)} for path, image in good],
                "damaged": [{"library": path, **msgspec.to_builtins(image)} for path, image in damaged],
            }
        )
    else:
        _print_lines(report.images_table([image for _, image in good], [image for _, image in damaged]))
    return ExitStatus.DONE


def show(options: Namespace) -> int:
    """`rescue show IMAGE`."""
    found = _find(options)
    if options.json:
        _print_json({"library": str(found.library.path), "image": found.image})
    else:
        _print_lines(report.image_lines(found.image))
    return ExitStatus.DONE


def capture(options: Namespace) -> int:
    """`rescue capture DISK...`."""
    library = _library_to_write(options)
    found = [inventory.look(_device(disk), [library]) for disk in options.disks]
    only = chosen.of_disks(options.partition, found)
    level = levels.parse(options.level)
    plan = planner.plan_capture(found, library, options.label, level, only=only, check=options.check)
    # A script reads no plan, and the job warns of what is stored whole before it stores anything.
    by_default = options.plan or (sys.stdout.isatty() and not options.json)
    wanted = by_default if options.forecast is None else options.forecast
    forecast = look_ahead(plan, every_level=options.plan) if wanted else None
    if not options.json:
        _print_lines(outlook.plan_lines(plan, forecast, planner.seconds_expected(plan), every_level=options.plan))
    elif options.plan:
        _print_json({"plan": plan, "forecast": value(plan, forecast)})
    elif forecast:
        _print_event("forecast", value(plan, forecast) or {})
    sys.stdout.flush()
    return ExitStatus.DONE if options.plan else _carry_out(plan, options)


def _library_to_write(options: Namespace) -> Path:
    paths = _known_libraries(options)
    if len(paths) == 1:
        return paths[0]
    if not paths:
        raise UsageError("no image library is attached", code="no-library", hint="give a folder for it: --library DIR")
    raise UsageError(
        f"several libraries are attached: {', '.join(map(str, paths))}",
        code="no-library",
        hint="choose with --library DIR",
    )


def _device(name: str) -> str:
    """A path; the kernel's bare name of a disk (`sda`) is one, too, where there is no file of that name."""
    real_path(name)
    if "/" not in name and not Path(name).exists() and Path("/dev", name).exists():
        return f"/dev/{name}"
    return name


def restore(options: Namespace) -> int:
    """`rescue restore IMAGE TARGET...`."""
    found = _find(options)
    plan = _plan_partitions(options, found) if options.partition else _plan_disks(options, found)
    if options.plan and options.json:
        _print_json(plan)
    elif not options.json:
        _print_lines(report.plan_lines(plan, planner.seconds_expected(plan)))
        sys.stdout.flush()
    if options.plan:
        return ExitStatus.DONE
    _confirm(plan, options)
    return _carry_out(plan, options)


def _plan_disks(options: Namespace, found: _Found) -> RestorePlan:
    pairs = _targets(options, found)
    create = [name for name, (_, new) in pairs.items() if new]
    if create and len(create) != len(pairs):
        raise UsageError("give either disks that exist or new files, not both", code="usage")
    return planner.plan_restore(
        found.library.path,
        found.image,
        {name: target for name, (target, _) in pairs.items()},
        read_back=not options.no_read_back,
        create=bool(create),
    )


def _plan_partitions(options: Namespace, found: _Found) -> RestorePlan:
    """Partitions go into partitions of one disk that exists."""
    parts = chosen.of_restore(options.partition)
    pairs = _targets(options, found)
    if len(pairs) != 1:
        raise UsageError("give one disk for the partitions to go to", code="usage")
    ((name, (target, new)),) = pairs.items()
    if new:
        raise UsageError(
            f"{target.path} does not exist: partitions are restored into those of a disk", code="no-such-disk"
        )
    return plan_restore_partitions(
        found.library.path, found.image, name, target, parts, read_back=not options.no_read_back
    )


def _targets(options: Namespace, found: _Found) -> Mapping[str, tuple[Disk, bool]]:
    """For each disk of the image that is restored: the target, and whether it is a new file."""
    names = [disk.name for disk in found.image.disks]
    pairs: dict[str, tuple[Disk, bool]] = {}
    for word in options.targets:
        name, equals, path = word.partition("=")
        if not (equals and name in names):
            if len(names) != 1 or len(options.targets) != 1:
                raise UsageError(
                    f"this image has {len(names)} disks ({', '.join(names)}): say which goes where, as NAME=TARGET",
                    code="usage",
                )
            name, path = names[0], word
        if name in pairs:
            raise UsageError(f"disk {name} was given two targets", code="usage")
        pairs[name] = _look_at_target(path, found, name)
    return pairs


def _among_devices(folder: Path) -> bool:
    """Whether a folder is where device nodes live: what is not there is a disk that is missing, not a new file."""
    return folder.stat().st_dev == Path("/dev").stat().st_dev


def _look_at_target(path: str, found: _Found, name: str) -> tuple[Disk, bool]:
    real = real_path(_device(path))
    if not real.exists() and real.parent.is_dir() and not _among_devices(real.parent):
        size = next(disk.size for disk in found.image.disks if disk.name == name)
        new = Disk(
            path=str(real),
            id=DiskId(size=size, model="disk file"),
            table=PartitionTable(kind=TableKind.NONE),
            transport="file",
            regular_file=True,
        )
        return new, True
    return inventory.look(str(real), [found.library.path]), False


def _confirm(plan: RestorePlan, options: Namespace) -> None:
    """Have each disk or partition that will be erased named; raises RefusedError where one is not."""
    doomed = chosen.doomed(plan)
    unused = list(options.erase)
    for target in chosen.doomed(plan, new_ones=True):
        match = next((word for word in unused if target.confirmed_by(word)), None)
        if match is not None:
            unused.remove(match)
            doomed = [other for other in doomed if other != target]
    if unused:
        names = ", ".join(name for pair in plan.targets for name in pair.names)
        raise RefusedError(
            f"--erase {unused[0]} names none of the targets: {names}",
            code="not-confirmed",
            hint="check which disk is meant: nothing was written",
        )
    if doomed and sys.stdin.isatty() and (options.json or not sys.stdout.isatty()):
        for line in report.plan_lines(plan, planner.seconds_expected(plan)):
            print(line, file=sys.stderr)
    for target in doomed:
        if not sys.stdin.isatty():
            raise RefusedError(
                f"erasing {target.name} was not confirmed",
                code="not-confirmed",
                hint=f"without a terminal, --erase {target.name} stands for typing the name",
            )
        if not target.confirmed_by(_ask(f"Type {target.name} to erase it, anything else to stop: ")):
            raise RefusedError(f"{target.name} was not confirmed: nothing was written", code="not-confirmed")


def _ask(question: str) -> str:
    """What is typed, empty at the end of input; the question goes where the terminal is, not into a pipe."""
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()
    except KeyboardInterrupt:
        raise CancelledError("stopped: nothing was written") from None


def verify(options: Namespace) -> int:
    """`rescue verify IMAGE`."""
    found = _find(options)
    against = inventory.look(_device(options.against)) if options.against else None
    plan = plan_verify(
        found.library.path,
        found.image,
        disk=options.disk,
        against=against,
        chosen=chosen.of_restore(options.partition),
        deep=options.deep,
        check=options.check,
    )
    return _carry_out(plan, options)


def _carry_out(plan: Plan, options: Namespace) -> int:
    job = jobs_.submit(plan)
    return follow.follow(job, json=options.json, interrupt_cancels=True)


def jobs(options: Namespace) -> int:
    """`rescue jobs`."""
    found = jobs_.jobs()
    if options.json:
        _print_json({"jobs": [_job_value(job) for job in found]})
        return ExitStatus.DONE
    for job in found:
        print(f"{job.id}  {job.state:<18}  {report.clean(job.title)}")
    if not found:
        print("There are no jobs.")
    return ExitStatus.DONE


def _job_value(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "started": job.started,
        "title": job.title,
        "plan": job.known_plan,
        "finished": job.finished,
    }


def watch(options: Namespace) -> int:
    """`rescue watch JOB`."""
    return follow.follow(jobs_.find(options.job), json=options.json, interrupt_cancels=False)


def cancel(options: Namespace) -> int:
    """`rescue cancel JOB`: done once the job has ended, however it ended."""
    job = jobs_.find(options.job)
    if job.state not in (jobs_.JobState.RUNNING, jobs_.JobState.STARTING):
        raise UsageError(f"job {job.id} has ended already: {job.state}", code="job-ended")
    job.cancel()
    finished = follow.wait(job)
    if options.json:
        _print_json(finished)
    else:
        _print_lines(outcome.result_lines(finished))
    return ExitStatus.DONE if finished.status == ExitStatus.CANCELLED else finished.status
