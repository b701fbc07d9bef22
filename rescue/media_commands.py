"""`rescue media`: making, checking, enlarging and updating recovery media, and discs."""

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from imaging import (
    bootcheck,
    inventory,
    keyfiles,
    media,
    mediaplan,
    mediavouching,
    medium,
    mediumcheck,
    ownlook,
    planner,
)
from imaging.blockdev import real_path
from imaging.disk import Disk
from imaging.errors import BadImageError, ExitStatus, RefusedError, UsageError
from imaging.mediasource import find_system, medium_on
from imaging.mediumcheck import Examined
from imaging.recoveryplans import MediaGrowPlan, MediaIsoPlan, MediaPlan
from rescue import report
from rescue.accepting import add_accept, warn_of_doubt
from rescue.commands import ask, carry_out, print_json, print_lines
from rescue.disks import warn_of_targets
from rescue.language import _
from rescue.media_images import chosen_images
from rescue.medium import examined_lines
from rescue.own_disk_commands import add_own_disk
from rescue.progressline import ProgressLine

_Plan = TypeVar("_Plan", MediaPlan, MediaIsoPlan)


def add_media(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The command `media` and those beneath it."""
    top = found.add_parser("media", help=_("make, check and update recovery media"))
    under = top.add_subparsers(metavar="COMMAND", dest="media_command", required=True)

    create = under.add_parser("create", parents=list(parents), help=_("make a stick, or any disk, a recovery medium"))
    create.add_argument("target", metavar="TARGET", help=_("the whole disk, or disk file, to erase"))
    _add_contents(create)
    create.add_argument(
        "--update", action="store_true", help=_("replace the system of a recovery medium and keep its images")
    )
    create.add_argument(
        "--images-filesystem",
        choices=mediaplan.FILESYSTEMS,
        default=mediaplan.FILESYSTEMS[0],
        help=_("what its partition for images gets: ext4 (default), or exfat, which Windows opens, too"),
    )
    _add_trust(create)
    _add_confirmation(create)
    create.set_defaults(run=create_medium)

    check = under.add_parser(
        "check", parents=[parents[0]], help=_("check a recovery medium: the running one, or another")
    )
    check.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help=_("a stick, a disc, an image file, or a disk with a recovery partition"),
    )
    check.set_defaults(run=check_medium)

    disc = under.add_parser("iso", parents=list(parents), help=_("write the image of a recovery disc"))
    disc.add_argument("output", metavar="OUT.iso", help=_("the file to write, which does not exist yet"))
    _add_contents(disc)
    _add_trust(disc)
    disc.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    disc.set_defaults(run=write_disc)

    grow = under.add_parser(
        "grow", parents=[parents[0]], help=_("let the images partition of a recovery medium take the rest of it")
    )
    grow.add_argument("target", metavar="TARGET", nargs="?", help=_("the medium (default: the running one)"))
    _add_confirmation(grow)
    grow.set_defaults(run=grow_medium)
    add_own_disk(under, parents)


def _add_contents(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--system",
        metavar="FILE",
        help=_(
            "the recovery system to copy: an image file, or a stick (default: the one that is installed or running)"
        ),
    )
    parser.add_argument("--image", action="append", default=[], metavar="IMAGE", help=_("an image to copy, too"))
    parser.add_argument("--factory", metavar="IMAGE", help=_("an image to copy, too, and to mark as the factory image"))


def _add_trust(parser: argparse.ArgumentParser) -> None:
    words = _("a key that the medium trusts, the file of its public half; then nothing else is restored from it")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--trust", action="append", metavar="FILE", help=words)
    words = _("the medium trusts no key, whatever it or the system that is copied did (default: the same as before)")
    group.add_argument("--no-trust", action="store_true", help=words)
    add_accept(parser)


def _vouched(plan: _Plan, options: Namespace) -> _Plan:
    """The plan, with the keys that the medium trusts; raises RefusedError where an image is not to be used."""
    given = [keyfiles.read_public(real_path(file)) for file in options.trust or []]
    chosen = given if given or options.no_trust else None
    trusted = mediavouching.trusted_by(plan, chosen)
    plan = mediavouching.of_plan(plan, trusted=trusted, accept_unsigned=options.accept_unsigned)
    return mediavouching.refuse_doubtful(plan)


def _add_confirmation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    parser.add_argument(
        "--erase",
        metavar="NAME-OR-SERIAL",
        help=_("confirms the medium by its name or serial number, in place of typing it"),
    )


def create_medium(options: Namespace) -> int:
    """`rescue media create TARGET`."""
    system = find_system(options.system)
    weight, factory = chosen_images(options, options.images_filesystem)
    disk = inventory.look(_device(options.target), [Path(one.library) for one in weight.images])
    if options.update:
        plan = mediaplan.plan_update(system, disk, medium_on(disk), weight.images, weight.content, factory=factory)
    else:
        plan = mediaplan.plan_media(
            system, disk, weight.images, weight.content, factory=factory, filesystem=options.images_filesystem
        )
    plan = _vouched(plan, options)
    _show(plan, options)
    warn_of_doubt(plan.doubt)
    warn_of_targets([disk])
    if options.plan:
        return ExitStatus.DONE
    _confirm(plan, disk, options)
    return carry_out(plan, options)


def _device(name: str) -> str:
    real_path(name)
    if "/" not in name and not Path(name).exists() and Path("/dev", name).exists():
        return f"/dev/{name}"
    return name


def _show(plan: MediaPlan | MediaGrowPlan | MediaIsoPlan, options: Namespace) -> None:
    if options.plan and options.json:
        print_json(plan)
    elif not options.json:
        print_lines(report.plan_lines(plan, planner.seconds_expected(plan)))
        sys.stdout.flush()


def _confirm(plan: MediaPlan | MediaGrowPlan, disk: Disk, options: Namespace) -> None:
    """Have the medium named; raises RefusedError where it is not."""
    if options.erase is not None:
        if planner.confirms(options.erase, disk):
            return
        raise RefusedError(
            f"--erase {options.erase} does not name {disk.name}: nothing was written",
            code="not-confirmed",
            hint="check which disk is meant",
        )
    if not sys.stdin.isatty():
        raise RefusedError(
            f"writing to {disk.name} was not confirmed",
            code="not-confirmed",
            hint=f"without a terminal, --erase {disk.name} stands for typing the name",
        )
    if options.json or not sys.stdout.isatty():
        for line in report.plan_lines(plan, planner.seconds_expected(plan)):
            print(line, file=sys.stderr)
    if isinstance(plan, MediaGrowPlan) or plan.update:
        question = _("Type {name} to change it, anything else to stop: ")
    else:
        question = _("Type {name} to erase it, anything else to stop: ")
    if not planner.confirms(ask(question.format(name=disk.name)), disk):
        raise RefusedError(f"{disk.name} was not confirmed: nothing was written", code="not-confirmed")


def grow_medium(options: Namespace) -> int:
    """`rescue media grow`."""
    disk = inventory.look(_device(options.target)) if options.target else inventory.medium()
    if disk is None:
        raise UsageError(
            "this system was not started from a recovery medium, or the medium is not attached",
            code="no-medium",
            hint="give the medium: rescue media grow /dev/sdX",
        )
    plan = mediaplan.plan_grow(disk, medium.look(disk.path))
    _show(plan, options)
    if options.plan:
        return ExitStatus.DONE
    _confirm(plan, disk, options)
    return carry_out(plan, options)


def write_disc(options: Namespace) -> int:
    """`rescue media iso OUT.iso`."""
    output = real_path(options.output)
    if output.exists():
        raise UsageError(f"{output} exists", code="bad-path", hint="give the name of a new file")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent}", code="bad-path", hint="give the name of a new file")
    system = find_system(options.system)
    weight, factory = chosen_images(options)
    plan = _vouched(mediaplan.plan_iso(system, str(output), weight.images, factory=factory), options)
    _show(plan, options)
    warn_of_doubt(plan.doubt)
    return ExitStatus.DONE if options.plan else carry_out(plan, options)


def check_medium(options: Namespace) -> int:
    """`rescue media check [TARGET]`: 4 where it is damaged or none at all, 10 where it is only old."""
    progress = ProgressLine(shown=sys.stderr.isatty() and not options.json)
    try:
        if options.target:
            examined = _check(_device(options.target), progress)
        elif media.on_live_system():
            examined = bootcheck.check_running(progress)
        else:
            raise UsageError("say which medium to check", code="usage", hint="rescue media check /dev/sdX")
    finally:
        progress.end()
    if options.json:
        print_json(_value(examined))
    else:
        print_lines(examined_lines(examined))
    if examined.damaged:
        return ExitStatus.BAD_IMAGE
    return ExitStatus.OUTDATED if examined.outdated else ExitStatus.DONE


def _check(path: str, progress: ProgressLine) -> Examined:
    """A stick, disc or image file; or the recovery partition of a computer's own disk."""
    try:
        return mediumcheck.check(path, progress)
    except BadImageError as error:
        own = ownlook.check(path, progress) if error.code == "not-a-medium" and os.geteuid() == 0 else None
        if own is None:
            raise
        return own


def _value(examined: Examined) -> dict[str, object]:
    """A check for scripts."""
    state = "damaged" if examined.damaged else "outdated" if examined.outdated else "good"
    return {
        "path": examined.path,
        "state": state,
        "about": examined.about,
        "bytes": examined.bytes,
        "images": examined.has_images,
        "trusted": [{"id": key.id, "name": key.name} for key in examined.trusted],
        "findings": [
            {"kind": one.kind, "message": one.message, "hint": one.hint, "file": one.file} for one in examined.findings
        ],
    }
