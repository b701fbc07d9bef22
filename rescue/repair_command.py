"""`rescue repair DISK`: what keeps a computer from starting from it is repaired, from what the disk itself has."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from imaging import inventory, planner, repairlook
from imaging.blockdev import real_path
from imaging.disk import Disk
from imaging.errors import ExitStatus, UsageError
from imaging.repairplans import RepairPlan, RepairWishes
from imaging.startable import Answer
from rescue import report
from rescue.commands import carry_out, print_json, print_lines
from rescue.disks import warn_of_targets
from rescue.finding import known_libraries
from rescue.language import _
from rescue.own_disk_commands import add_confirmation, confirm
from rescue.targeting import device_of

_ALL = "all"


def add_repair(
    under: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The command and its options."""
    words = _("repair what keeps a computer from starting from a disk: partition table, boot loader, file systems")
    repair = under.add_parser("repair", parents=list(parents), help=words)
    repair.add_argument("disk", metavar="DISK", help=_("the whole disk, which keeps all that is on it"))
    repair.add_argument(
        "--check-filesystems",
        nargs="?",
        const=_ALL,
        metavar="N[,N...]",
        help=_("check the file systems of these partitions, or of all, and mend what can be without a loss"),
    )
    repair.add_argument(
        "--mend-filesystems",
        action="store_true",
        help=_("with --check-filesystems: let its tool decide what of a damaged file system is thrown away"),
    )
    repair.add_argument(
        "--system", type=_number, default=0, metavar="N", help=_("the partition of the system that is to start")
    )
    repair.add_argument("--no-table", action="store_true", help=_("leave the partition table as it is"))
    repair.add_argument("--no-loader", action="store_true", help=_("leave the boot loader as it is"))
    words = _("leave the boot entries of this computer's firmware as they are")
    repair.add_argument("--no-boot-entry", action="store_true", help=words)
    words = _("keep what is written over in this folder, not only with the job")
    repair.add_argument("--keep-in", metavar="DIR", default="", help=words)
    add_confirmation(repair)
    repair.set_defaults(run=repair_)


def _number(words: str) -> int:
    if not words.isascii() or not words.isdecimal() or not int(words):
        raise argparse.ArgumentTypeError(_("{words} is not a number").format(words=words))
    return int(words)


def repair_(options: Namespace) -> int:
    """Look, plan, show, confirm; status 0 says that a computer starts from it, or was not meant to."""
    if options.mend_filesystems and options.check_filesystems is None:
        raise UsageError("--mend-filesystems says how file systems are checked: give --check-filesystems", code="usage")
    disk = inventory.look(device_of(options.disk), known_libraries(options))
    plan = planned(disk, options)
    lines = report.plan_lines(plan, planner.seconds_expected(plan) if plan.writes else None)
    if (options.plan or not plan.writes) and options.json:
        print_json(plan)
    elif not options.json:
        print_lines(lines)
        sys.stdout.flush()
    if not plan.writes:
        return status_of(plan)
    warn_of_targets([plan.target])
    if options.plan:
        return ExitStatus.DONE
    confirm(plan.target, options, lines)
    return carry_out(plan, options)


def planned(disk: Disk, options: Namespace) -> RepairPlan:
    """The plan for what was asked for; raises UsageError, RefusedError, IoError."""
    wishes = RepairWishes(
        table=not options.no_table,
        loader=not options.no_loader,
        boot_entry=not options.no_boot_entry,
        check=numbers_of(options.check_filesystems or ""),
        check_all=options.check_filesystems == _ALL,
        mend=options.mend_filesystems,
        system=options.system,
    )
    keep = _folder(options.keep_in) if options.keep_in else ""
    return repairlook.plan_repair(disk, wishes, keep)


def numbers_of(words: str) -> tuple[int, ...]:
    """The partitions that are named; none of `all`. Raises UsageError."""
    found = []
    for word in words.split(",") if words not in ("", _ALL) else ():
        if not word.isascii() or not word.isdecimal() or not int(word):
            raise UsageError(f"--check-filesystems {words}: {word!r} is not a partition's number", code="usage")
        found.append(int(word))
    return tuple(sorted(set(found)))


def _folder(words: str) -> str:
    path = real_path(words)
    if not path.is_dir():
        raise UsageError(f"{Path(words)} is not a folder", code="usage")
    return str(path)


def status_of(plan: RepairPlan) -> ExitStatus:
    """That of a plan that does nothing: as check-boot has it, where the disk is meant to start.

    What was to be done and cannot be is no success, whether the disk starts or not.
    """
    answers = {way.answer for way in plan.before.warned}
    if Answer.FAILS in answers:
        return ExitStatus.CANNOT_START
    if plan.notes:
        return ExitStatus.DAMAGED
    return ExitStatus.START_UNKNOWN if Answer.UNKNOWN in answers else ExitStatus.DONE
