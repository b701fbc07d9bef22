"""`rescue media install-partition` and `remove-partition`: the recovery system on the computer's own disk."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from imaging import mediavouching, ownlook, ownplan, planner
from imaging.blockdev import real_path
from imaging.disk import Disk
from imaging.errors import ExitStatus, RefusedError
from imaging.recoveryplans import InstallPlan, RemovePlan
from rescue import report
from rescue.accepting import add_accept, warn_of_doubt
from rescue.commands import ask, carry_out, print_json, print_lines
from rescue.disks import warn_of_targets
from rescue.formats import parse_size
from rescue.language import _
from rescue.media_images import chosen_images
from rescue.own_disk import closed_lines


def add_own_disk(
    under: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """Both commands, beneath `rescue media`."""
    install = under.add_parser(
        "install-partition",
        parents=list(parents),
        help=_("put the recovery system on a partition of the computer's own disk, so that no stick is needed"),
    )
    install.add_argument("disk", metavar="DISK", help=_("the whole disk, which keeps all that is on it"))
    install.add_argument(
        "--system",
        metavar="FILE",
        help=_(
            "the recovery system to copy: an image file, or a stick (default: the one that is installed or running)"
        ),
    )
    install.add_argument(
        "--size", metavar="SIZE", help=_("size of the partition, such as 2G (default: what two systems take)")
    )
    install.add_argument("--images-size", metavar="SIZE", help=_("room for more images on it (default: none)"))
    install.add_argument("--image", action="append", default=[], metavar="IMAGE", help=_("an image to copy, too"))
    install.add_argument(
        "--factory", metavar="IMAGE", help=_("an image to copy, too, and to mark as the factory image")
    )
    add_accept(install)
    add_confirmation(install)
    install.set_defaults(run=install_partition)

    remove = under.add_parser(
        "remove-partition", parents=[parents[0]], help=_("take that partition and its boot entries away again")
    )
    remove.add_argument("disk", metavar="DISK", help=_("the whole disk, which keeps all else that is on it"))
    add_confirmation(remove)
    remove.set_defaults(run=remove_partition)


def add_confirmation(parser: argparse.ArgumentParser) -> None:
    """What shows a plan and ends, and what confirms one that changes a disk and erases nothing."""
    parser.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    parser.add_argument(
        "--confirm",
        metavar="NAME-OR-SERIAL",
        help=_("confirms the disk by its name or serial number, in place of typing it"),
    )


def _device(name: str) -> str:
    real_path(name)
    if "/" not in name and not Path(name).exists() and Path("/dev", name).exists():
        return f"/dev/{name}"
    return name


def install_partition(options: Namespace) -> int:
    """`rescue media install-partition DISK`."""
    size, images = parse_size(options.size, "--size"), parse_size(options.images_size, "--images-size") or 0
    weight, factory = chosen_images(options)
    plan, boot = ownlook.plan_install(
        _device(options.disk),
        options.system,
        size=size,
        images=images + weight.content,
        copied=weight.images,
        factory=factory,
    )
    plan = mediavouching.of_plan(plan, accept_unsigned=options.accept_unsigned)
    warn_of_doubt(mediavouching.refuse_doubtful(plan).doubt)
    return _carry_out(plan, options, closed_lines(boot.closed))


def remove_partition(options: Namespace) -> int:
    """`rescue media remove-partition DISK`."""
    return _carry_out(ownlook.plan_remove(_device(options.disk)), options)


def _carry_out(plan: InstallPlan | RemovePlan, options: Namespace, notes: Sequence[str] = ()) -> int:
    lines = [*report.plan_lines(plan, planner.seconds_expected(plan)), *notes]
    if options.plan and options.json:
        print_json(plan)
    elif not options.json:
        print_lines(lines)
        sys.stdout.flush()
    warn_of_targets([plan.target])
    if options.plan:
        return ExitStatus.DONE
    confirm(plan.target, options, lines)
    return carry_out(plan, options)


def confirm(disk: Disk, options: Namespace, lines: Sequence[str]) -> None:
    """Have the disk named that is changed as `lines` say; raises RefusedError where it is not."""
    if options.confirm is not None:
        if ownplan.is_confirmed(options.confirm, disk):
            return
        raise RefusedError(
            f"--confirm {options.confirm} does not name {disk.name}: nothing was written",
            code="not-confirmed",
            hint="check which disk is meant",
        )
    if not sys.stdin.isatty():
        raise RefusedError(
            f"changing {disk.name} was not confirmed",
            code="not-confirmed",
            hint=f"without a terminal, --confirm {disk.name} stands for typing the name",
        )
    if options.json or not sys.stdout.isatty():
        for line in lines:
            print(line, file=sys.stderr)
    question = _("Type {name} to change it, anything else to stop: ").format(name=disk.name)
    if not ownplan.is_confirmed(ask(question), disk):
        raise RefusedError(f"{disk.name} was not confirmed: nothing was written", code="not-confirmed")
