"""`rescue pin`, `unpin`, `prune` and `copy-images`: which images stay, and where else they are."""

import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from imaging import care, freeing
from imaging.errors import CancelledError, ExitStatus, RefusedError
from imaging.forecast import free_room
from imaging.freeing import Freed
from imaging.imageplans import CopyImagesPlan, PrunePlan
from imaging.retention import Rule, Verdict
from rescue.care import copy_images_lines, prune_lines
from rescue.commands import ask, carry_out, print_json, print_lines
from rescue.finding import find, library_at, only_library
from rescue.formats import clean, columns, format_when
from rescue.language import N_, _, ngettext
from rescue.report import label_words

_REASONS = {
    "pinned": N_("pinned"),
    "factory": N_("a factory image"),
    "last": N_("one of the last"),
    "daily": N_("of its day"),
    "weekly": N_("of its week"),
    "monthly": N_("of its month"),
    "yearly": N_("of its year"),
    "within": N_("recent"),
    "undated": N_("its date cannot be read"),
    "unnoted": N_("its notes cannot be read: it may be pinned"),
}
"""Why an image stays, by the reasons of imaging.retention."""


def pin(options: Namespace) -> int:
    """`rescue pin IMAGE`."""
    return _pin(options, pinned=True)


def unpin(options: Namespace) -> int:
    """`rescue unpin IMAGE`."""
    return _pin(options, pinned=False)


def _pin(options: Namespace, *, pinned: bool) -> int:
    found = find(options)
    noted = care.pin(found.library.path, found.image.id, pinned=pinned)
    if options.json:
        print_json({"library": str(found.library.path), "id": found.image.id, "pinned": noted.pinned})
    elif noted.pinned:
        print(_("Image {image} is pinned: nobody can delete it before `rescue unpin`.").format(image=found.image.id))
    else:
        print(_("Image {image} is not pinned any more.").format(image=found.image.id))
    return ExitStatus.DONE


def add_rule(command: ArgumentParser) -> None:
    """The options that say which images stay."""
    for name, words in (
        ("last", _("keep the last N images of each computer")),
        ("daily", _("keep the newest image of each of the last N days that have one")),
        ("weekly", _("the same of weeks")),
        ("monthly", _("the same of months")),
        ("yearly", _("the same of years")),
        ("within", _("keep what is at most N days old")),
    ):
        command.add_argument(f"--keep-{name}", type=count, default=0, metavar="N", help=words)


def rule_of(options: Namespace) -> Rule:
    """The rule that they say; it may be empty."""
    return Rule(
        last=options.keep_last,
        daily=options.keep_daily,
        weekly=options.keep_weekly,
        monthly=options.keep_monthly,
        yearly=options.keep_yearly,
        within_days=options.keep_within,
    )


def count(words: str) -> int:
    """A whole number; raises ArgumentTypeError."""
    if not words.isascii() or not words.isdecimal():
        raise ArgumentTypeError(_("{words} is not a number").format(words=words))
    return int(words)


def prune(options: Namespace) -> int:
    """`rescue prune`: which images stay and why, what that frees, confirmed, then the job."""
    rule = rule_of(options)
    library = only_library(options).path
    plan, verdicts = freeing.plan_prune(library, None if rule.empty else rule, datetime.now(UTC))
    freed, room = _freed(plan), free_room(Path(plan.library))
    if options.plan and options.json:
        stay = {verdict.image.id: verdict.reasons for verdict in verdicts if verdict.stays}
        print_json({"plan": plan, "kept": stay, "freed": freed, "room": room})
    elif not options.json:
        print_lines([*verdict_lines(verdicts), *prune_lines(plan, freed, room)])
        sys.stdout.flush()
    if options.plan:
        return ExitStatus.DONE
    if plan.images:
        _confirm(plan, options)
    return carry_out(plan, options)


def _freed(plan: PrunePlan) -> Freed:
    cancel = threading.Event()
    try:
        return freeing.freed_by_pruning(plan, cancel)
    except KeyboardInterrupt:
        cancel.set()
        raise CancelledError("stopped: nothing was deleted") from None


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Each image that a rule was asked of: whether it stays, and why."""
    if not verdicts:
        return []
    rows = []
    for verdict in verdicts:
        reasons = ", ".join(_(_REASONS.get(reason, reason)) for reason in verdict.reasons)
        what = _("stays: {reasons}").format(reasons=reasons) if verdict.stays else _("GOES")
        image = verdict.image
        rows.append([clean(image.id), format_when(image.created), label_words(image), what])
    return [*columns(rows), ""]


def _confirm(plan: PrunePlan, options: Namespace) -> None:
    """Have the number of images that go be given; raises RefusedError where it is another."""
    count = len(plan.images)
    if options.delete is not None:
        if options.delete == count:
            return
        raise RefusedError(
            f"--delete {options.delete} is not the number of images that would go, which is {count}: "
            "nothing was deleted",
            code="not-confirmed",
            hint="look at the list with --plan",
        )
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError(
            f"deleting {count} images was not confirmed: nothing was deleted",
            code="not-confirmed",
            hint="without a terminal, --yes or --delete COUNT confirms it",
        )
    question = ngettext(
        "Type {count} to delete that image, anything else to stop: ",
        "Type {count} to delete these images, anything else to stop: ",
        count,
    ).format(count=count)
    if ask(question).strip() != str(count):
        raise RefusedError("the images were not confirmed: nothing was deleted", code="not-confirmed")


def copy_images(options: Namespace) -> int:
    """`rescue copy-images FROM TO`: the off-site copy."""
    source, target = library_at(options.source), library_at(options.target)
    plan = CopyImagesPlan(library=str(source), target=str(target), images=tuple(options.image), unseal=options.unseal)
    if options.plan:
        if options.json:
            print_json({"plan": plan})
        else:
            print_lines(copy_images_lines(plan))
        return ExitStatus.DONE
    return carry_out(plan, options)
