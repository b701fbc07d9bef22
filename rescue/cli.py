"""The command line: `rescue` alone opens the menu, `rescue COMMAND` does one thing; statuses are documented."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from imaging import __version__, levels
from imaging.chunk import DEFAULT_LEVEL
from imaging.errors import ExitStatus, RescueError, UsageError
from rescue import commands

_STATUSES = """\
exit statuses:
  0  done
  1  an error in the program itself
  2  usage: the command cannot be understood
  3  refused for safety: nothing was written
  4  bad image: a library, image or chunk is damaged, missing or too new
  5  I/O failure: a disk, a file system or a tool failed
  6  cancelled
  7  verify --against: the disk differs from the image
  8  capture: the image is there, but parts of the disk could not be read: it is damaged
  9  --check: the image is whole, but a file system in it has errors

Where --library is not given, the library is that of $RESCUE_LIBRARY; where that is not set, too, all libraries on the
media that are attached are looked at.
"""


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="rescue",
        description="Capture disks into images and restore them. Without a command: the menu.",
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rescue {__version__}")
    library = argparse.ArgumentParser(add_help=False)
    library.add_argument("--library", metavar="DIR", type=Path, help="the folder that holds the images")
    json = argparse.ArgumentParser(add_help=False)
    json.add_argument("--json", action="store_true", help="print JSON, for scripts")
    found = parser.add_subparsers(metavar="COMMAND", dest="command")

    disks = found.add_parser("disks", parents=[json, library], help="list the disks of this machine")
    disks.set_defaults(run=commands.disks)

    capture = found.add_parser("capture", parents=[json, library], help="capture disks into a new image")
    capture.add_argument("disks", metavar="DISK", nargs="+", help="a whole disk (/dev/sda) or a disk file")
    capture.add_argument(
        "--partition",
        action="append",
        default=[],
        metavar="[NAME=]N[,N...]",
        help="store these partitions alone, and the partition table; NAME= says of which disk where several are given",
    )
    capture.add_argument("--label", default="", metavar="TEXT", help="a name for the image")
    capture.add_argument(
        "--level",
        default=levels.name(DEFAULT_LEVEL),
        metavar="LEVEL",
        help="compression: fast, normal, small, or a zstd level from 1 to 19 (default: %(default)s)",
    )
    capture.add_argument("--check", action="store_true", help="then check the file systems of the new image")
    capture.add_argument("--plan", action="store_true", help="show what would be done, with a forecast, and end")
    capture.add_argument(
        "--forecast",
        action=argparse.BooleanOptionalAction,
        help="first look at what is used, and forecast size and time: some seconds (default: on a terminal)",
    )
    capture.set_defaults(run=commands.capture)

    images = found.add_parser("images", parents=[json, library], help="list the images")
    images.set_defaults(run=commands.images)

    show = found.add_parser("show", parents=[json, library], help="show an image in full")
    show.add_argument("image", metavar="IMAGE")
    show.set_defaults(run=commands.show)

    _add_restore(found.add_parser("restore", parents=[json, library], help="restore an image onto disks"))
    _add_verify(found.add_parser("verify", parents=[json, library], help="check an image, or compare a disk with it"))

    jobs = found.add_parser("jobs", parents=[json], help="list the jobs since this machine was started")
    jobs.set_defaults(run=commands.jobs)
    watch = found.add_parser("watch", parents=[json], help="follow a job; Ctrl+C lets it run on")
    watch.add_argument("job", metavar="JOB")
    watch.set_defaults(run=commands.watch)
    cancel = found.add_parser("cancel", parents=[json], help="stop a job and wait for its end")
    cancel.add_argument("job", metavar="JOB")
    cancel.set_defaults(run=commands.cancel)
    return parser


def _add_restore(restore: argparse.ArgumentParser) -> None:
    restore.add_argument("image", metavar="IMAGE")
    restore.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help="the disk or disk file to erase; for one disk of an image of several: NAME=TARGET, once for each",
    )
    restore.add_argument(
        "--partition",
        action="append",
        default=[],
        metavar="N[:M]",
        help="restore partition N of the image alone, into the existing partition M (default: N) of TARGET, of which "
        "nothing else is written; once for each",
    )
    restore.add_argument("--plan", action="store_true", help="show what would be done, and end")
    restore.add_argument(
        "--erase",
        action="append",
        default=[],
        metavar="NAME-OR-SERIAL",
        help="confirms the target by its name (sda, disk.img) or serial number, in place of typing it; a partition by "
        "its own (sda2, nvme0n1p2, disk.img:2, SERIAL:2), never by its disk's; once for each",
    )
    restore.add_argument(
        "--yes", action="store_true", help="ask nothing; what is to be erased must be named with --erase all the same"
    )
    restore.add_argument("--no-read-back", action="store_true", help="do not read back and compare what was written")
    restore.set_defaults(run=commands.restore)


def _add_verify(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("image", metavar="IMAGE")
    verify.add_argument("--against", metavar="TARGET", help="compare this disk or disk file with the image")
    verify.add_argument("--disk", default="", metavar="NAME", help="which disk of the image to compare")
    verify.add_argument(
        "--partition",
        action="append",
        default=[],
        metavar="N[:M]",
        help="compare partition N of the image alone with partition M (default: N) of TARGET; once for each",
    )
    verify.add_argument(
        "--deep", action="store_true", help="compute the SHA-512/256 of every chunk, too, as casync does"
    )
    verify.add_argument("--check", action="store_true", help="check the file systems in the image, too")
    verify.set_defaults(run=commands.verify)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or the menu; returns an imaging.errors.ExitStatus."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.command is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            parser.print_usage(sys.stderr)
            print("rescue: the menu needs a terminal; give a command", file=sys.stderr)
            return ExitStatus.USAGE
        from rescue import app  # Textual is large: the command line never loads it

        return app.run()
    try:
        status = _run(options, sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitStatus.CANCELLED
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"rescue: {error}", file=sys.stderr)
        _forget_output()
        return ExitStatus.IO_FAILURE
    return status


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    try:
        _refuse_unless_utf8(words)
        status: int = options.run(options)
    except RescueError as error:
        return commands.report_error(error, json=options.json)
    return status


def _refuse_unless_utf8(words: Sequence[str]) -> None:
    """Plans and events are UTF-8, whatever bytes a file's name may have."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            hint = "rename it, or give a link to it"
            raise UsageError(f"{word!a} is not UTF-8", code="not-utf8", hint=hint) from error


def _forget_output() -> None:
    """Nobody takes what is still to be printed: without this, Python tries once more at its end, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
