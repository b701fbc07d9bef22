"""The command line: `rescue` alone opens the menu, `rescue COMMAND` does one thing; statuses are documented."""

import argparse
import gc
import gettext
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from imaging import __version__, levels
from imaging.chunk import DEFAULT_LEVEL
from imaging.errors import ExitStatus, RescueError, UsageError
from imaging.imageplans import ExportFormat
from rescue import (
    boot_command,
    care_commands,
    commands,
    complete_command,
    diff_command,
    encryption_commands,
    factory_commands,
    files_commands,
    key_commands,
    language,
    library_commands,
    log_command,
    media_commands,
    order_command,
    passphrases,
    prune_commands,
    repair_command,
    schedule_commands,
    share_commands,
    status_command,
    undo_command,
    verify_command,
)
from rescue import disks as disks_
from rescue.accepting import (
    add_accept,
    add_erase,
    add_grow,
    add_keep,
    add_keep_files,
    add_new_identity,
    add_no_boot_entry,
    add_save_first,
    add_shrink,
    add_wipe,
)
from rescue.language import N_, _

_STATUSES = N_("""\
exit statuses:
  0  done
  1  an error in the program itself
  2  usage: the command cannot be understood
  3  refused for safety: nothing was written
  4  bad image: a library, image or chunk is damaged, missing or too new
  5  I/O failure: a disk, a file system or a tool failed
  6  cancelled
  7  verify --against, diff: what was compared differs
  8  capture: the image is there, but parts of the disk could not be read: it is damaged;
     restore --grow: all is restored, but a partition has not grown;
     restore --new-identity: all is restored, but an initramfs or a loader may still name the original;
     restore --keep-files: all is restored, but files that are kept have lost something that the plan did not tell;
     restore --wipe sanitize: all is restored, but a drive has not erased itself, though the plan said so;
     repair: not all could be repaired
  9  --check: the image is whole, but a file system in it has errors
 10  media check: the medium is whole, but over a year old or behind the installed version;
     status: there is no backup, or it is older than --overdue or the schedule says;
     schedule show: the last success is too long ago
 11  check-boot: no computer can start from the disk; repair: this one cannot, or of a disk file none
 12  check-boot, repair: whether a computer can start from the disk is not known

Where --library is not given, the library is that of $RESCUE_LIBRARY; where that is not set, too, all libraries on the
media that are attached are looked at.
""")

_OBJECTS_AT_ONCE = 50_000
"""How many objects come before Python looks for those that nothing leads to: with its own 700, that look took a third
of the time of a list of 10,000 images, and found nothing."""

_WORDS_OF_ARGPARSE = (
    N_("usage: "),
    N_("positional arguments"),
    N_("options"),
    N_("show this help message and exit"),
    N_("%(prog)s: error: %(message)s\n"),
    N_("argument %(argument_name)s: %(message)s"),
    N_("the following arguments are required: %s"),
    N_("unrecognized arguments: %s"),
    N_("expected one argument"),
    N_("expected at least one argument"),
    N_("ambiguous option: %(option)s could match %(matches)s"),
    N_("ignored explicit argument %r"),
    N_("invalid choice: %(value)r (choose from %(choices)s)"),
)
"""What argparse itself says, which it has translated by the domain that `_speak` names."""


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="rescue",
        description=_("Capture disks into images and restore them. Without a command: the menu."),
        epilog=_(_STATUSES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words = _("show program's version number and exit")
    parser.add_argument("--version", action="version", version=f"rescue {__version__}", help=words)
    secret = argparse.ArgumentParser(add_help=False)
    passphrases.add_options(secret)
    library = argparse.ArgumentParser(add_help=False, parents=[secret])
    words = _(
        "the folder that holds the images, an image in a single file, or an address: s3://bucket/folder, gs://, az://, "
        "https://"
    )
    library.add_argument("--library", metavar="DIR", help=words)
    json = argparse.ArgumentParser(add_help=False)
    json.add_argument("--json", action="store_true", help=_("print JSON, for scripts"))
    found = parser.add_subparsers(metavar="COMMAND", dest="command")

    disks = found.add_parser("disks", parents=[json, library], help=_("list the disks of this machine"))
    disks.add_argument("--quick", action="store_true", help=_("ask for neither health nor operating systems"))
    disks.set_defaults(run=disks_.disks)

    words = _("say whether a computer can start from a disk, and why not")
    boot = found.add_parser("check-boot", parents=[json], help=words)
    boot.add_argument("targets", metavar="TARGET", nargs="+", help=_("a disk or disk file; several of one computer"))
    boot.set_defaults(run=boot_command.check_boot)

    repair_command.add_repair(found, [json, library])

    capture = found.add_parser("capture", parents=[json, library], help=_("capture disks into a new image"))
    capture.add_argument("disks", metavar="DISK", nargs="+", help=_("a whole disk (/dev/sda) or a disk file"))
    capture.add_argument(
        "--partition",
        action="append",
        default=[],
        metavar="[NAME=]N[,N...]",
        help=_(
            "store these partitions alone, and the partition table; NAME= says of which disk where several are given"
        ),
    )
    capture.add_argument("--label", default="", metavar="TEXT", help=_("a name for the image"))
    _add_level(capture)
    words = _("sign the new image with this key: the file of its secret half")
    capture.add_argument("--sign", metavar="FILE", help=words)
    capture.add_argument("--check", action="store_true", help=_("then check the file systems of the new image"))
    words = _("disks of the running system, as they are at one moment: from LVM's snapshots, or refused")
    capture.add_argument("--running", action="store_true", help=words)
    capture.add_argument("--plan", action="store_true", help=_("show what would be done, with a forecast, and end"))
    capture.add_argument(
        "--forecast",
        action=argparse.BooleanOptionalAction,
        help=_("first look at what is used, and forecast size and time: some seconds (default: on a terminal)"),
    )
    capture.set_defaults(run=commands.capture)

    images = found.add_parser("images", parents=[json, library], help=_("list the images"))
    images.set_defaults(run=commands.images)

    show = found.add_parser("show", parents=[json, library], help=_("show an image in full"))
    show.add_argument("image", metavar="IMAGE")
    show.set_defaults(run=commands.show)

    rename = found.add_parser("rename", parents=[json, library], help=_("give an image another label"))
    rename.add_argument("image", metavar="IMAGE")
    rename.add_argument("label", metavar="LABEL", help=_("the new label, which may be empty"))
    rename.set_defaults(run=care_commands.rename)
    note = found.add_parser("note", parents=[json, library], help=_("keep a note with an image"))
    note.add_argument("image", metavar="IMAGE")
    note.add_argument(
        "text", metavar="TEXT", help=_("one line, in place of an earlier note; an empty one takes it away")
    )
    note.set_defaults(run=care_commands.note)
    delete = found.add_parser(
        "delete", parents=[json, library], help=_("delete an image, and what no other image needs of its data")
    )
    delete.add_argument("image", metavar="IMAGE")
    delete.add_argument(
        "--plan", action="store_true", help=_("show what would be deleted and what that frees, and end")
    )
    delete.add_argument(
        "--delete", metavar="LABEL-OR-ID", help=_("confirms the image by its label or its id, in place of typing it")
    )
    delete.set_defaults(run=care_commands.delete)

    library_commands.add_library(found, [json, secret])
    encryption_commands.add_unseal(found, [json, secret])
    words = _("list the volumes of an image, or the files in one of them")
    unlock = argparse.ArgumentParser(add_help=False)
    files_commands.add_unlock(unlock)
    files = found.add_parser("files", parents=[json, library, unlock], help=words)
    files.add_argument("image", metavar="IMAGE[:VOLUME]")
    files.add_argument("path", metavar="PATH", nargs="?", help=_("a folder in the volume"))
    files.add_argument("--find", metavar="TEXT", help=_("search below PATH for names that hold this"))
    files.set_defaults(run=files_commands.files)
    copy = found.add_parser("copy", parents=[json, library, unlock], help=_("copy files out of an image"))
    copy.add_argument(
        "words", metavar="IMAGE:VOLUME/PATH... FOLDER", nargs="+", help=_("what to copy, and the folder to copy it to")
    )
    copy.set_defaults(run=files_commands.copy)
    mount = found.add_parser("mount", parents=[json, library, unlock], help=_("show an image's files in a folder"))
    mount.add_argument("image", metavar="IMAGE")
    mount.add_argument("folder", metavar="FOLDER", help=_("an empty folder"))
    mount.set_defaults(run=files_commands.mount)
    words = _("write a disk of an image as a file for other programs, or the image itself as a single file")
    export = found.add_parser("export", parents=[json, library], help=words)
    export.add_argument("image", metavar="IMAGE")
    export.add_argument("file", metavar="FILE", help=_("the file to write, which must not be there"))
    words = _(
        "raw, raw.zst (seekable; zstd -d makes raw of it), qcow2, vmdk, vhdx or vdi, or rescue: the image with all of "
        "its disks, which any command takes as a library (default: by FILE's name)"
    )
    export.add_argument("--as", dest="format", choices=[kind.value for kind in ExportFormat], help=words)
    export.add_argument("--disk", default="", metavar="NAME", help=_("which disk, of an image of several"))
    words = _("with --as rescue: pieces of so many bytes at most, such as 2G (default: what FAT holds, on FAT)")
    export.add_argument("--piece-size", metavar="SIZE", help=words)
    export.set_defaults(run=files_commands.export)
    words = _("make an image of a disk file of another program, or take one from a single file into the library")
    imports = found.add_parser("import", parents=[json, library], help=words)
    words = _(
        "a raw disk, maybe compressed (gz, xz, zst, bz2, lz4, lzip, lzop), a virtual machine's (qcow2, vmdk, vdi, vhd, "
        "vhdx), or a folder of Clonezilla"
    )
    imports.add_argument("source", metavar="FILE", help=words)
    imports.add_argument("--label", default="", metavar="TEXT", help=_("a name for the image"))
    _add_level(imports)
    imports.set_defaults(run=files_commands.import_)
    words = _("copy images to another library: only what is missing there")
    copies = found.add_parser("copy-images", parents=[json, secret], help=words)
    copies.add_argument("source", metavar="FROM", help=_("the library that has them, or an image in a single file"))
    copies.add_argument(
        "target", metavar="TO", help=_("the library that is to have them; it is made where there is none")
    )
    copies.add_argument("--image", action="append", default=[], metavar="IMAGE", help=_("this one alone; may repeat"))
    words = _("let what is encrypted in FROM lie open in TO")
    copies.add_argument("--unseal", action="store_true", help=words)
    copies.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    copies.set_defaults(run=prune_commands.copy_images)
    pin = found.add_parser("pin", parents=[json, library], help=_("keep an image from being deleted"))
    pin.add_argument("image", metavar="IMAGE")
    pin.set_defaults(run=prune_commands.pin)
    unpin = found.add_parser("unpin", parents=[json, library], help=_("allow an image to be deleted again"))
    unpin.add_argument("image", metavar="IMAGE")
    unpin.set_defaults(run=prune_commands.unpin)
    _add_prune(
        found.add_parser("prune", parents=[json, library], help=_("delete images by a rule, and what no image uses"))
    )

    _add_restore(found.add_parser("restore", parents=[json, library], help=_("restore an image onto disks")))
    words = _("say what differs between two images, or an image and a disk, volume by volume")
    diff_command.add_diff(found.add_parser("diff", parents=[json, library], help=words))
    words = _("check an image, or compare a disk with it")
    verify_command.add_verify(found.add_parser("verify", parents=[json, library], help=words))

    order = found.add_parser("order", parents=[json, library], help=_("check an order for unattended work, or run it"))
    order.add_argument("order", metavar="FILE", help=_("a file, or an address that begins with http:// or https://"))
    order.add_argument(
        "--check", action="store_true", help=_("say what it would do on this computer, and end (the default)")
    )
    order.add_argument(
        "--run",
        dest="run_it",
        action="store_true",
        help=_("carry it out now: what it erases is confirmed as for restore; no countdown, no report, no restart"),
    )
    add_erase(order)
    order.set_defaults(run=order_command.order)

    words = _("mount a network share in a folder")
    share_commands.add(
        found.add_parser("mount-share", parents=[json], help=words),
        found.add_parser("unmount-share", parents=[json], help=_("let go of a network share")),
    )
    jobs = found.add_parser("jobs", parents=[json], help=_("list the jobs since this machine was started"))
    jobs.set_defaults(run=commands.jobs)
    watch = found.add_parser("watch", parents=[json], help=_("follow a job; Ctrl+C lets it run on"))
    watch.add_argument("job", metavar="JOB")
    watch.set_defaults(run=commands.watch)
    cancel = found.add_parser("cancel", parents=[json], help=_("stop a job and wait for its end"))
    cancel.add_argument("job", metavar="JOB")
    cancel.set_defaults(run=commands.cancel)
    log = found.add_parser("log", parents=[json], help=_("show the logs of all jobs, or save them in one file"))
    log.add_argument(
        "--save", metavar="DIR", type=Path, help=_("write all logs and a list of the disks as one file there")
    )
    log.add_argument("--kernel", action="store_true", help=_("show what the kernel said, too"))
    log.set_defaults(run=log_command.log)
    media_commands.add_media(found, [json, library])
    factory_commands.add_factory(found, [json, library])
    complete_command.add_complete(found, [json, library])
    undo_command.add_undo(found, [json, library])
    status_command.add_status(found, [json, library])
    schedule_commands.add_schedule(found, [json, library], _add_level)
    key_commands.add_keys(found, [json, library])
    return parser


def _add_level(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--level",
        default=levels.name(DEFAULT_LEVEL),
        metavar="LEVEL",
        help=_("compression: fast, normal, small, or a zstd level from 1 to 19 (default: %(default)s)"),
    )


def _add_restore(restore: argparse.ArgumentParser) -> None:
    words = _("an image in a library; or the path of what import takes, a file or folder: then no library is needed")
    restore.add_argument("image", metavar="IMAGE", help=words)
    restore.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help=_("the disk or disk file to erase; for one disk of an image of several: NAME=TARGET, once for each"),
    )
    restore.add_argument(
        "--partition",
        action="append",
        default=[],
        metavar="N[:M]",
        help=_(
            "restore partition N of the image alone, into the existing partition M (default: N) of TARGET, of which "
            "nothing else is written; once for each"
        ),
    )
    add_keep(restore)
    add_keep_files(restore)
    add_grow(restore)
    add_shrink(restore)
    add_new_identity(restore)
    restore.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    add_erase(restore)
    restore.add_argument(
        "--yes",
        action="store_true",
        help=_("ask nothing; what is to be erased must be named with --erase all the same"),
    )
    add_accept(restore)
    add_save_first(restore)
    add_wipe(restore)
    add_no_boot_entry(restore)
    restore.add_argument("--no-read-back", action="store_true", help=_("do not read back and compare what was written"))
    restore.set_defaults(run=commands.restore)


def _add_prune(prune: argparse.ArgumentParser) -> None:
    prune_commands.add_rule(prune)
    prune.add_argument("--plan", action="store_true", help=_("show what would go, and what that frees, and end"))
    prune.add_argument("--yes", action="store_true", help=_("ask nothing"))
    prune.add_argument(
        "--delete",
        type=prune_commands.count,
        metavar="COUNT",
        help=_("confirms that so many images go, in place of typing it"),
    )
    prune.set_defaults(run=prune_commands.prune)


def _speak() -> None:
    """Speak the language of the environment, and have argparse do so."""
    language.use(language.of_environment(os.environ))
    language.spell_out(not _can_write("\u00e4", sys.stdout.encoding))
    if language.spoken() != language.ENGLISH:
        gettext.bindtextdomain(language.DOMAIN, str(language.CATALOGUES))
        gettext.textdomain(language.DOMAIN)


def _can_write(letter: str, encoding: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or the menu; returns an imaging.errors.ExitStatus."""
    _speak()
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.command is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            parser.print_usage(sys.stderr)
            words = _("the menu needs a terminal; give a command")
            print(f"rescue: {words}", file=sys.stderr)
            return ExitStatus.USAGE
        from rescue import app  # Textual is large: the command line never loads it

        app.leave(app.run())
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
    gc.set_threshold(_OBJECTS_AT_ONCE)
    try:
        _refuse_unless_utf8(words)
        passphrases.prepare(options)
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
            raise UsageError(
                f"{word!a} is not UTF-8", code="not-utf8", hint="rename it, or give a link to it"
            ) from error


def _forget_output() -> None:
    """Nobody takes what is still to be printed: without this, Python tries once more at its end, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
