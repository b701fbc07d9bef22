"""What each command does: look, plan, show, confirm, submit, follow."""

import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from imaging import cloning, growth, inventory, keeping, keyring, levels, planner, resectored, smaller, still, vouching
from imaging import jobs as jobs_
from imaging.bootentry import with_boot_entry
from imaging.errors import CancelledError, ExitStatus, RefusedError, RescueError, UsageError
from imaging.jobs import Job
from imaging.library import DamagedImage, Library, Listing, discover
from imaging.manifest import Image
from imaging.notes import NOTHING, Notes
from imaging.partitions import plan_restore_but, plan_restore_partitions
from imaging.plan import Plan
from imaging.restoreplans import RestorePlan
from imaging.resuming import with_erasing
from imaging.safetyplan import plan_safety
from imaging.signatures import UNSIGNED, Standing
from rescue import chosen, follow, outcome, outlook, passphrases, report, straight
from rescue.accepting import warn_of_doubt
from rescue.disks import warn_of_sources, warn_of_targets
from rescue.finding import Found, each, find, known_libraries, libraries, library_at, warn_of, warn_unless_alone
from rescue.language import _
from rescue.lookahead import look_ahead, value
from rescue.targeting import device_of, targets
from rescue.telling import told
from rescue.unlocking import unlock


def print_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_json_lists(lists: Mapping[str, Iterable[Any]]) -> None:
    """What `print_json` prints of lists by their names, one value after the other: thousands are never held at once."""
    out, before = sys.stdout, "{"
    for name, values in lists.items():
        out.write(f'{before}\n  "{name}": [')
        between = "\n"
        for one in values:
            words = msgspec.json.format(msgspec.json.encode(one), indent=2).decode().replace("\n", "\n    ")
            out.write(f"{between}    {words}")
            between = ",\n"
        out.write("]" if between == "\n" else "\n  ]")
        before = ","
    out.write("\n}\n")


def _print_event(kind: str, fields: Mapping[str, Any]) -> None:
    """A line of our own beside those of the job's events."""
    line = msgspec.json.encode({"event": kind, "time": time.time(), **fields})
    sys.stdout.write(line.decode() + "\n")


def print_lines(lines: Sequence[str]) -> None:
    """All at once: whoever reads the first line alone, such as head, must not end the command before it has begun."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


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
        print(f"rescue: {report.clean(told(error.message))}", file=sys.stderr)
        if error.hint:
            print(_("What to do: {hint}").format(hint=report.clean(told(error.hint))), file=sys.stderr)
    return error.exit_status


def images(options: Namespace) -> int:
    """`rescue images`."""
    good: list[tuple[str, Image, Notes, Standing]] = []
    damaged: list[tuple[str, DamagedImage]] = []
    listings, bad = each(libraries(options), _listed)
    warn_unless_alone(listings, bad)
    for path, listing, signed in listings:
        good.extend(
            (path, image, listing.notes.get(image.id, NOTHING), signed.get(image.id, UNSIGNED))
            for image in listing.images
        )
        damaged.extend((path, image) for image in listing.damaged)
        for words in listing.ignored:
            warning = _("warning: notes are ignored: {problem}").format(problem=report.clean(told(words)))
            print(f"rescue: {warning}", file=sys.stderr)
    if options.json:
        print_json_lists(
            {
                "images": (_image_value(*one) for one in good),
                "damaged": ({"library": path, **msgspec.to_builtins(image)} for path, image in damaged),
            }
        )
    else:
        print_lines(report.images_table([one[1:] for one in good], [image for _, image in damaged]))
    return ExitStatus.DONE


def _listed(library: Library) -> tuple[str, Listing, Mapping[str, Standing]]:
    """What a library holds, and who has signed what, as far as it is known whom to trust."""
    listing = library.images()
    signed: Mapping[str, Standing] = {}
    try:
        signed = vouching.of_images(library, [image.id for image in listing.images])
    except RescueError as error:
        warn_of(error)
    return str(library.path), listing, signed


def _image_value(library: str, image: Image, notes: Notes, standing: Standing) -> dict[str, Any]:
    """An image in a list for scripts: its manifest, with its present label, what is noted of it, and who signed it."""
    noted = {"note": notes.text, "verified": notes.verified, "factory": notes.factory, "signature": standing}
    return {"library": library, **msgspec.to_builtins(image), **noted}


def show(options: Namespace) -> int:
    """`rescue show IMAGE`."""
    found = find(options)
    notes = found.library.notes(found.image.id)
    standing = vouching.look(found.library, found.image.id).standing
    if options.json:
        noted = {"note": notes.text, "verified": notes.verified, "factory": notes.factory, "signature": standing}
        print_json({"library": str(found.library.path), "image": found.image, **noted})
    else:
        print_lines(report.image_lines(found.image, notes, standing))
    return ExitStatus.DONE


def capture(options: Namespace) -> int:
    """`rescue capture DISK...`."""
    library = library_to_write(options)
    found = [inventory.look(device_of(disk), [library]) for disk in options.disks]
    only = chosen.of_disks(options.partition, found)
    level = levels.parse(options.level)
    plan = planner.plan_capture(
        found, library, options.label, level, only=only, check=options.check, running=options.running
    )
    if options.running:
        still.look_all(found)
    key = unlock(options.sign) if options.sign else None
    if key is not None:
        plan = structs.replace(plan, signer=key.public.id)
        keyring.learn(keyring.name_of_signer(plan.signer), key.seed)
    # A script reads no plan, and the job warns of what is stored whole before it stores anything.
    by_default = options.plan or (sys.stdout.isatty() and not options.json)
    wanted = by_default if options.forecast is None else options.forecast
    # What is used of a file system that changes meanwhile is known once it is held still.
    forecast = look_ahead(plan, every_level=options.plan) if wanted and not options.running else None
    if not options.json:
        print_lines(outlook.plan_lines(plan, forecast, planner.seconds_expected(plan), every_level=options.plan))
    elif options.plan:
        print_json({"plan": plan, "forecast": value(plan, forecast)})
    elif forecast:
        _print_event("forecast", value(plan, forecast) or {})
    sys.stdout.flush()
    warn_of_sources(plan.disks)
    return ExitStatus.DONE if options.plan else carry_out(plan, options)


def library_to_write(options: Namespace) -> Path:
    """The library that was named, or the only one that is attached; raises UsageError."""
    paths = known_libraries(options, single=False)
    if len(paths) == 1:
        passphrases.refuse_plain(paths[0], options)
        return paths[0]
    if not paths:
        raise UsageError("no image library is attached", code="no-library", hint="give a folder for it: --library DIR")
    raise UsageError(
        f"several libraries are attached: {', '.join(map(str, paths))}",
        code="no-library",
        hint="choose with --library DIR",
    )


def restore(options: Namespace) -> int:
    """`rescue restore IMAGE TARGET...`."""
    plan = _wiping(_saving_first(_plan_restore(options), options), options)
    return show_and_restore(plan if options.no_boot_entry else with_boot_entry(plan), options)


def show_and_restore(plan: RestorePlan, options: Namespace) -> int:
    """Show a restore's plan, have it confirmed and carry it out; with `--plan` it is shown alone."""
    if not (options.no_keep_files or options.plan):
        keeping.refuse_forgotten(plan)
    if options.plan and options.json:
        print_json(plan)
    elif not options.json:
        print_lines(report.plan_lines(plan, planner.seconds_expected(plan)))
        print_lines(_safety_lines(plan))
        sys.stdout.flush()
    warn_of_doubt(plan.doubt)
    warn_of_targets([pair.target for pair in plan.targets if not pair.create])
    if options.plan:
        return ExitStatus.DONE
    confirm(plan, options)
    return carry_out(plan, options)


def _plan_restore(options: Namespace) -> RestorePlan:
    found = straight.source_or_image(options)
    if isinstance(found, Path):
        if options.keep:
            raise UsageError(
                "what is restored straight is restored whole: --keep is for images of a library",
                code="usage",
                hint="import it into a library first",
            )
        if options.shrink is not None:
            raise UsageError(
                "what is restored straight keeps its sizes: --shrink is for images of a library",
                code="usage",
                hint="import it into a library first",
            )
        if options.new_identity:
            raise UsageError(
                "what is restored straight stays as it is: --new-identity is for images of a library",
                code="usage",
                hint="import it into a library first",
            )
        return _grown(straight.plan(options, found), options)
    if options.keep and options.partition:
        raise UsageError("give the partitions to restore, or those to keep, not both", code="usage")
    if options.grow is not None and options.shrink is not None and options.shrink.size:
        raise UsageError(
            "one partition of a disk gets another size, not two", code="usage", hint="give --grow or --shrink"
        )
    if options.shrink is not None and (options.partition or options.keep):
        raise UsageError("a partition becomes smaller where whole disks are restored, and no others", code="usage")
    if options.host_name and not options.new_identity:
        raise UsageError("--host-name is for a disk with --new-identity", code="usage")
    plan = _plan_partitions(options, found) if options.partition or options.keep else _plan_disks(options, found)
    if options.new_identity:
        plan = cloning.with_new_identity(plan, options.host_name)
    plan = vouching.of_restore(_grown(plan, options), accept_unsigned=options.accept_unsigned)
    return vouching.refuse_doubtful(plan)


def _grown(plan: RestorePlan, options: Namespace) -> RestorePlan:
    """With a partition that grows, where that is wanted and none had to become smaller."""
    if options.grow is None or (plan.shrinks and options.grow.size is None):
        return plan
    return growth.with_growth(plan, options.grow.partition, options.grow.size)


def _saving_first(plan: RestorePlan, options: Namespace) -> RestorePlan:
    """With the library of a safety image, where that is wanted; raises RefusedError where there can be none."""
    if options.keep_files is not None:
        return _keeping_files(plan, options)
    if not options.save_first:
        return plan
    library = library_at(options.save_first)
    passphrases.refuse_plain(library, options)
    plan_safety(plan, library)
    return structs.replace(plan, safety=str(library))


def _keeping_files(plan: RestorePlan, options: Namespace) -> RestorePlan:
    """With the files of the old system that are kept; what is there is saved first, if need be beside the image."""
    if plan.identity is not None:
        raise UsageError("files of this computer are kept, or the disk gets a new identity: not both", code="usage")
    library = library_at(options.save_first or plan.library)
    passphrases.refuse_plain(library, options)
    kept = keeping.with_kept_files(plan, options.keep_files, library)
    if kept.safety:
        plan_safety(kept, library)
    return kept


def _wiping(plan: RestorePlan, options: Namespace) -> RestorePlan:
    """With the way in which the disks are erased before; raises UsageError where single partitions are restored."""
    if not options.wipe:
        return plan
    # What one that was cut off has saved may be in any library that is attached, whichever has the image.
    return with_erasing(planner.with_wipe(plan, options.wipe), discover)


def _safety_lines(plan: RestorePlan) -> list[str]:
    """What the safety image costs, on a terminal."""
    if not plan.safety or not sys.stdout.isatty():
        return []
    saved = plan_safety(plan, Path(plan.safety))
    found = look_ahead(saved, every_level=False)
    return outlook.forecast_lines(found, saved.level) if found else []


def _plan_disks(options: Namespace, found: Found) -> RestorePlan:
    pairs = targets(options.targets, found.image.disks, [found.library.path])
    create = [name for name, (_, new) in pairs.items() if new]
    if create and len(create) != len(pairs):
        raise UsageError("give either disks that exist or new files, not both", code="usage")
    plan = planner.plan_restore(
        found.library.path,
        found.image,
        {name: target for name, (target, _) in pairs.items()},
        read_back=not options.no_read_back,
        create=bool(create),
        shrink=options.shrink.partition if options.shrink else None,
        shrink_to=options.shrink.size if options.shrink else None,
    )
    smaller.refuse_unless_fits(plan)
    resectored.refuse_unless_possible(plan)
    return plan


def _plan_partitions(options: Namespace, found: Found) -> RestorePlan:
    """Partitions go into partitions of one disk that exists: those that were chosen, or all but those to keep."""
    parts = chosen.of_restore(options.partition)
    pairs = targets(options.targets, found.image.disks, [found.library.path])
    if len(pairs) != 1:
        raise UsageError("give one disk for the partitions to go to", code="usage")
    ((name, (target, new)),) = pairs.items()
    if new:
        raise UsageError(
            f"{target.path} does not exist: partitions are restored into those of a disk", code="no-such-disk"
        )
    if options.keep:
        keep = chosen.kept(options.keep, target)
        read_back = not options.no_read_back
        return plan_restore_but(found.library.path, found.image, name, target, keep, read_back=read_back)
    return plan_restore_partitions(
        found.library.path, found.image, name, target, parts, read_back=not options.no_read_back
    )


def confirm(plan: RestorePlan, options: Namespace) -> None:
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
        if not target.confirmed_by(ask(_("Type {name} to erase it, anything else to stop: ").format(name=target.name))):
            raise RefusedError(f"{target.name} was not confirmed: nothing was written", code="not-confirmed")


def ask(question: str) -> str:
    """What is typed, empty at the end of input; the question goes where the terminal is, not into a pipe."""
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()
    except KeyboardInterrupt:
        raise CancelledError("stopped: nothing was written") from None


def carry_out(plan: Plan, options: Namespace) -> int:
    passphrases.unlock(plan)
    job = jobs_.submit(plan)
    return follow.follow(job, json=options.json, interrupt_cancels=True)


def jobs(options: Namespace) -> int:
    """`rescue jobs`."""
    found = jobs_.jobs()
    if options.json:
        print_json({"jobs": [_job_value(job) for job in found]})
        return ExitStatus.DONE
    for job in found:
        print(f"{job.id}  {_(job.state):<18}  {report.clean(told(job.title))}")
    if not found:
        print(_("There are no jobs."))
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
        print_json(finished)
    else:
        print_lines(outcome.result_lines(finished))
    return ExitStatus.DONE if finished.status == ExitStatus.CANCELLED else finished.status
