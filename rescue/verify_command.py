"""`rescue verify`: one image, all of a library, or those that nobody has looked at for long."""

import argparse
import re
import sys
from argparse import Namespace
from datetime import UTC, datetime

from msgspec import structs

from imaging import inventory
from imaging.backlog import plan_verify_set
from imaging.errors import ExitStatus, UsageError
from imaging.imageplans import VerifyPlan
from imaging.partitions import plan_verify
from rescue import chosen
from rescue.care import verify_set_lines
from rescue.commands import carry_out, print_json, print_lines
from rescue.finding import find, library_at, only_library
from rescue.language import _, ngettext
from rescue.targeting import device_of

_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([kKmMgG]?)")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def add_verify(command: argparse.ArgumentParser) -> None:
    """The options of `rescue verify`."""
    command.add_argument("image", metavar="IMAGE", nargs="?")
    command.add_argument("--all", action="store_true", help=_("check all images of the library, each chunk once"))
    command.add_argument(
        "--older-than",
        type=_days,
        metavar="DAYS",
        help=_("check the images that were not found right in the last DAYS days"),
    )
    command.add_argument("--against", metavar="TARGET", help=_("compare this disk or disk file with the image"))
    command.add_argument("--disk", default="", metavar="NAME", help=_("which disk of the image to compare"))
    command.add_argument(
        "--partition",
        action="append",
        default=[],
        metavar="N[:M]",
        help=_("compare partition N of the image alone with partition M (default: N) of TARGET; once for each"),
    )
    command.add_argument(
        "--deep", action="store_true", help=_("compute the SHA-512/256 of every chunk, too, as casync does")
    )
    command.add_argument("--check", action="store_true", help=_("check the file systems in the image, too"))
    command.add_argument("--repair-from", metavar="DIR", help=_("mend bad chunks from this other library"))
    command.add_argument(
        "--rate", type=_rate, default=0, metavar="RATE", help=_("read no more than so many bytes a second: 20M, 500k")
    )
    command.add_argument(
        "--anew", action="store_true", help=_("read again what a verification that was cut off has read")
    )
    command.set_defaults(run=verify)


def _days(words: str) -> int:
    if not words.isascii() or not words.isdecimal() or len(words) > 5:
        raise argparse.ArgumentTypeError(_("{words} is not a number of days").format(words=words))
    return int(words)


def _rate(words: str) -> int:
    found = _RATE.fullmatch(words)
    rate = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if not rate:
        raise argparse.ArgumentTypeError(_("{words} is not a rate such as 20M or 500k").format(words=words))
    return rate


def verify(options: Namespace) -> int:
    """`rescue verify IMAGE`, `--all` or `--older-than DAYS`."""
    if options.all or options.older_than is not None:
        return _verify_set(options)
    if options.image is None:
        raise UsageError("say which image to verify, or --all", code="usage", hint="`rescue images` lists them")
    found = find(options)
    against = inventory.look(device_of(options.against)) if options.against else None
    plan = plan_verify(
        found.library.path,
        found.image,
        disk=options.disk,
        against=against,
        chosen=chosen.of_restore(options.partition),
        deep=options.deep,
        check=options.check,
    )
    if against is not None and options.repair_from:
        raise UsageError("--repair-from mends a library, not a disk: leave --against out", code="usage")
    if against is not None and options.rate:
        raise UsageError("--rate is for reading a library: leave --against out", code="usage")
    return carry_out(_with_options(plan, options), options)


def _with_options(plan: VerifyPlan, options: Namespace) -> VerifyPlan:
    other = str(library_at(options.repair_from)) if options.repair_from else ""
    return structs.replace(plan, repair_from=other, rate=options.rate, anew=options.anew)


def _verify_set(options: Namespace) -> int:
    if options.image is not None or (options.all and options.older_than is not None):
        raise UsageError("give one of an image, --all and --older-than", code="usage")
    if options.against or options.disk or options.partition or options.check:
        raise UsageError("--against, --disk, --partition and --check are for one image", code="usage")
    plan = plan_verify_set(only_library(options), datetime.now(UTC), options.older_than)
    if not plan.images:
        return _nothing_to_do(options)
    other = str(library_at(options.repair_from)) if options.repair_from else ""
    plan = structs.replace(plan, deep=options.deep, repair_from=other, rate=options.rate, anew=options.anew)
    if not options.json:
        print_lines(verify_set_lines(plan))
        sys.stdout.flush()
    return carry_out(plan, options)


def _nothing_to_do(options: Namespace) -> int:
    if options.json:
        print_json({"images": []})
    elif options.all:
        print(_("There are no images."))
    else:
        words = ngettext(
            "Every image was found right in the last {count} day.",
            "Every image was found right in the last {count} days.",
            options.older_than,
        )
        print(words.format(count=options.older_than))
    return ExitStatus.DONE
