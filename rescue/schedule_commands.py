"""`rescue schedule`: regular images of a running Linux, set, shown and taken away; rescue.schedule_run is a run."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imaging import inventory, levels, nextboot, planner, schedulestate, scheduleunits, scheduling
from imaging.address import is_address
from imaging.blockdev import real_path
from imaging.disk import Disk
from imaging.errors import ExitStatus, RefusedError, RescueError, UsageError
from imaging.library import Library
from imaging.mounts import kind_beneath
from imaging.orders import ATTACHED
from imaging.schedules import Keep, Schedule, ScheduledDisk, Way, overdue_days, render
from imaging.schedulestate import State
from rescue import schedule_run
from rescue.commands import library_to_write, print_json, print_lines
from rescue.disks import warn_of_sources
from rescue.formats import clean, columns, format_size, format_when, joined
from rescue.language import N_, _, ngettext
from rescue.prune_commands import add_rule, rule_of
from rescue.targeting import device_of
from rescue.telling import told

_LABEL = N_("Scheduled")
EVERY = (N_("daily"), N_("weekly"), N_("monthly"))
_SHARES = ("cifs", "smb3", "nfs", "nfs4", "fuse.sshfs", "9p")


def add_schedule(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]",
    parents: Sequence[argparse.ArgumentParser],
    add_level: "schedule_run.AddLevel",
) -> None:
    """The command `schedule`; `parents` are --json and --library."""
    words = _("regular images of this computer while it runs, by a timer of systemd")
    schedule = found.add_parser("schedule", help=words)
    under = schedule.add_subparsers(metavar="COMMAND", dest="schedule", required=True)
    _add_set(under.add_parser("set", parents=list(parents), help=_("set the schedule, or replace it")), add_level)
    show = under.add_parser("show", parents=[parents[0]], help=_("say what is set, and what came of it"))
    show.set_defaults(run=show_schedule)
    remove = under.add_parser("remove", parents=[parents[0]], help=_("take the schedule away; images stay"))
    remove.set_defaults(run=remove_schedule)
    words = _("carry it out now, as the timer does")
    run = under.add_parser("run", parents=[parents[0]], help=words)
    words = _("have the next start of this computer capture it, whatever the schedule says")
    run.add_argument("--next-boot", action="store_true", help=words)
    run.set_defaults(run=schedule_run.run)
    words = _("take away what a run that was cut off has left; the timer's service does that by itself")
    tidy = under.add_parser("tidy", parents=[parents[0]], help=words)
    tidy.set_defaults(run=schedule_run.tidy)
    words = _("see what came of the image that the last start was to make; a service does that by itself")
    back = under.add_parser("back", parents=[parents[0]], help=words)
    back.set_defaults(run=schedule_run.back)


def _add_set(command: argparse.ArgumentParser, add_level: "schedule_run.AddLevel") -> None:
    command.add_argument("disks", metavar="DISK", nargs="+", help=_("a whole disk (/dev/sda)"))
    words = _("daily, weekly (the default), monthly, or another calendar event of systemd, such as 'Mon..Fri 12:30'")
    command.add_argument("--every", default="weekly", metavar="WHEN", help=words)
    words = _("days after the last success from which `rescue status` ends with 10 (default: 3, 9 or 35)")
    command.add_argument("--overdue", type=int, metavar="DAYS", help=words)
    words = _("a name for the images (default: {label})").format(label=_(_LABEL))
    command.add_argument("--label", default=_(_LABEL), metavar="TEXT", help=words)
    add_level(command)
    command.add_argument("--check", action="store_true", help=_("then check the file systems of each new image"))
    add_rule(command)
    words = _(
        "where no snapshot can be had: the next start of the computer captures it, by its recovery partition, and "
        "starts its own system again"
    )
    command.add_argument("--next-boot", action="store_true", help=words)
    words = _("where the recovery system finds the library (default: attached, the one on all attached media)")
    command.add_argument("--next-boot-library", metavar="WHERE", help=words)
    command.add_argument("--plan", action="store_true", help=_("show the files that would be written, and end"))
    command.set_defaults(run=set_schedule)


def set_schedule(options: Namespace) -> int:
    """`rescue schedule set DISK...`."""
    library = library_to_write(options)
    encrypted = Library.look(library).encryption is not None
    disks = [inventory.look(device_of(name), [library]) for name in options.disks]
    planner.plan_capture(disks, library, options.label, levels.parse(options.level), running=True)
    scheduling.refuse_bad_calendar(options.every)
    schedule = _schedule(options, library, disks)
    _refuse_unless_opened(schedule, library, encrypted=encrypted)
    if options.plan:
        return _show_plan(schedule, options)
    scheduling.refuse_unless_possible()
    why = schedule_run.why_no_snapshots(disks)
    if why is not None and schedule.way is Way.SNAPSHOT:
        raise why
    if schedule.way is Way.EITHER:
        nextboot.refuse_unless_possible()
        if schedule.next_boot_library == ATTACHED:
            nextboot.refuse_unless_found(library)
        nextboot.render(schedule)
    scheduling.install(schedule)
    if options.json:
        print_json({"schedule": schedule, "snapshots": why is None})
    else:
        print_lines(_set_lines(schedule, why))
    warn_of_sources(disks)
    return ExitStatus.DONE


def _schedule(options: Namespace, library: Path, disks: Sequence[Disk]) -> Schedule:
    overdue = options.overdue or overdue_days(options.every)
    if overdue is None:
        raise UsageError(
            "of such a calendar event it has to be said when an image is overdue",
            code="usage",
            hint="give the days with --overdue",
        )
    if options.next_boot_library and not options.next_boot:
        raise UsageError("--next-boot-library says how --next-boot is meant: give it, too", code="usage")
    rule = rule_of(options)
    return Schedule(
        library=options.library if options.library and is_address(options.library) else str(library),
        every=options.every,
        overdue_days=overdue,
        since=schedulestate.now(),
        label=options.label,
        level=options.level,
        check=options.check,
        way=Way.EITHER if options.next_boot else Way.SNAPSHOT,
        next_boot_library=_next_boot_library(options, library) if options.next_boot else ATTACHED,
        passphrase_file=str(real_path(options.passphrase_file)) if options.passphrase_file else "",
        disk=tuple(_identity(disk) for disk in disks),
        keep=Keep(
            last=rule.last,
            daily=rule.daily,
            weekly=rule.weekly,
            monthly=rule.monthly,
            yearly=rule.yearly,
            within_days=rule.within_days,
        ),
    )


def _identity(disk: Disk) -> ScheduledDisk:
    if disk.regular_file:
        raise RefusedError(
            f"{disk.name} is a file: a schedule is for disks of this computer",
            code="refused",
            hint="have `rescue capture` started by a timer of your own",
        )
    return ScheduledDisk(size=disk.id.size, model=disk.id.model, serial=disk.id.serial, wwn=disk.id.wwn)


def _next_boot_library(options: Namespace, library: Path) -> str:
    if options.next_boot_library:
        return str(options.next_boot_library)
    if options.library and is_address(options.library):
        return str(options.library)
    if kind_beneath(library) in _SHARES:
        raise UsageError(
            f"the recovery system does not know the share that is mounted for {library}",
            code="usage",
            hint="give its address: --next-boot-library smb://server/share/folder, or nfs://server/folder",
        )
    return ATTACHED


def _refuse_unless_opened(schedule: Schedule, library: Path, *, encrypted: bool) -> None:
    """Nobody is there to type a passphrase when a run begins."""
    if not encrypted:
        return
    if schedule.way is Way.EITHER:
        raise RefusedError(
            f"{library} is encrypted, and the recovery system has nobody to ask for its passphrase",
            code="passphrase-needed",
            hint="take a library that is not encrypted, or leave --next-boot out",
        )
    if not schedule.passphrase_file:
        raise RefusedError(
            f"{library} is encrypted, and a run has nobody to ask for its passphrase",
            code="passphrase-needed",
            hint="give a file that holds it, and that root alone can read: --passphrase-file FILE",
        )
    status = real_path(schedule.passphrase_file).stat()
    if status.st_mode & 0o077:
        raise RefusedError(
            f"{schedule.passphrase_file} holds a passphrase, and others can read it",
            code="unsafe-passphrase-file",
            hint=f"chmod 600 {schedule.passphrase_file}",
        )
    Library.open(library)


def _show_plan(schedule: Schedule, options: Namespace) -> int:
    units = scheduleunits.render(schedule, scheduling.program(), scheduling.environment())
    files = {str(schedulestate.configuration()): render(schedule)}
    files |= {str(scheduling.UNITS / name): text for name, text in units.items()}
    if options.json:
        print_json({"schedule": schedule, "files": files})
    else:
        for path, text in files.items():
            print_lines([f"{path}:", "", *text.splitlines(), ""])
    return ExitStatus.DONE


def _set_lines(schedule: Schedule, why: RefusedError | None) -> list[str]:
    lines = [
        _("{disks} will be captured into {library}: {every}.").format(
            disks=_names(schedule), library=clean(schedule.library), every=_how_often(schedule)
        )
    ]
    if why is not None:
        lines += [told(why.message), _("So the next start of this computer captures it, each time that it is due.")]
    if schedule.keep.rule is None:
        lines.append(_("No image will be deleted: --keep-last and the like say which stay."))
    lines.append(_("The first one now: {command}").format(command="rescue schedule run"))
    return lines


def _names(schedule: Schedule) -> str:
    return ", ".join(
        joined(clean(one.model), clean(one.serial or one.wwn), format_size(one.size), by=" ") for one in schedule.disk
    )


def _how_often(schedule: Schedule) -> str:
    """The calendar event: one of systemd's own as it stands, those with a name of their own in words."""
    return _(schedule.every) if schedule.every in EVERY else clean(schedule.every)


def show_schedule(options: Namespace) -> int:
    """`rescue schedule show`."""
    schedule = schedulestate.configured()
    value = value_of(schedule, datetime.now(UTC))
    if options.json:
        print_json(value)
    elif schedule is None:
        print(_("No schedule is set: rescue schedule set DISK --library DIR"))
    else:
        print_lines(lines_of(schedule, schedulestate.read(), datetime.now(UTC)))
    return ExitStatus.OUTDATED if value["overdue"] else ExitStatus.DONE


def value_of(schedule: Schedule | None, now: datetime) -> dict[str, Any]:
    """The schedule, and what came of it, for scripts."""
    if schedule is None:
        return {"schedule": None, "overdue": False}
    state = schedulestate.read()
    return {
        "schedule": schedule,
        "overdue": schedulestate.is_overdue(schedule, state, now),
        "success": state.success,
        "failure": state.failure,
        "asked": state.asked,
        "next": scheduling.next_run(),
    }


def lines_of(schedule: Schedule, state: State, now: datetime) -> list[str]:
    """The same for a person."""
    rows = [
        [_("Disks"), _names(schedule)],
        [_("Library"), clean(schedule.library)],
        [_("When"), _how_often(schedule)],
    ]
    following = scheduling.next_run()
    if following:
        rows.append([_("Next time"), clean(following)])
    if state.success:
        rows.append([_("Last success"), f"{format_when(state.success.when)}  {clean(state.success.image)}"])
    else:
        rows.append([_("Last success"), _("none yet")])
    if state.failure:
        rows.append([_("Last failure"), f"{format_when(state.failure.when)}  {clean(told(state.failure.message))}"])
        if state.failure.hint:
            rows.append(["", clean(told(state.failure.hint))])
    if state.asked:
        rows.append([_("Waiting"), _("for the next start of this computer, which is to capture it")])
    if schedulestate.is_overdue(schedule, state, now):
        words = ngettext(
            "no success in the last {days} day", "no success in the last {days} days", schedule.overdue_days
        )
        rows.append([_("OVERDUE"), words.format(days=schedule.overdue_days)])
    return columns(rows)


def remove_schedule(options: Namespace) -> int:
    """`rescue schedule remove`: the timer, the document, what is known, and an order that waits."""
    scheduling.refuse_unless_possible()
    there = False
    try:
        there = schedulestate.configured() is not None
    except RescueError:
        there = True  # one that is damaged goes, too
    asked = schedulestate.read().asked
    if asked is not None:
        nextboot.withdraw(asked)
    scheduling.uninstall()
    schedulestate.forget()
    if options.json:
        print_json({"removed": there})
    else:
        print(_("The schedule is taken away; the images stay.") if there else _("No schedule was set."))
    return ExitStatus.DONE
