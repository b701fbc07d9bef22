"""What is accepted on the command line with an option alone: that a disk is erased, that nobody signed an image."""

import argparse
import sys

from imaging import growth, wanted
from imaging.errors import UsageError
from imaging.keptfiles import KeepRule
from imaging.restoreplans import Wipe
from imaging.wanted import Wanted
from rescue.keeping_words import EXTRA, rules_of
from rescue.language import _
from rescue.signed import doubt_words


def add_accept(command: argparse.ArgumentParser) -> None:
    """The option that takes an image which no trusted key has signed."""
    words = _("take an image that no trusted key has signed, or whose signature does not match, all the same")
    command.add_argument("--accept-unsigned", action="store_true", help=words)


def add_erase(command: argparse.ArgumentParser) -> None:
    """The option that names what is to be erased."""
    command.add_argument(
        "--erase",
        action="append",
        default=[],
        metavar="NAME-OR-SERIAL",
        help=_(
            "confirms the target by its name (sda, disk.img) or serial number, in place of typing it; a partition by "
            "its own (sda2, nvme0n1p2, disk.img:2, SERIAL:2), never by its disk's; once for each"
        ),
    )


def add_grow(command: argparse.ArgumentParser) -> None:
    """The option that lets a partition take the room of a larger disk."""
    _add_resized(
        command,
        "--grow",
        _(
            "on a larger disk, let partition N (default: the last one) take the room behind it, with its file system: "
            "ext2 to ext4, NTFS, XFS, btrfs; LUKS and LVM get a larger partition. With N:SIZE (2:20G) it has that "
            "size, and the rest stays free"
        ),
    )


def add_shrink(command: argparse.ArgumentParser) -> None:
    """The option that makes a partition smaller on a smaller disk."""
    _add_resized(
        command,
        "--shrink",
        _(
            "on a disk that is too small, make partition N (default: the one that has the most room to spare) smaller, "
            "with its file system: ext2 to ext4, NTFS, btrfs; what lies behind it comes nearer. With N:SIZE (2:20G) it "
            "has that size, on any disk"
        ),
    )


def add_new_identity(command: argparse.ArgumentParser) -> None:
    """The options of a disk that is to stand beside its original."""
    command.add_argument(
        "--new-identity",
        action="store_true",
        help=_(
            "for a disk beside its original: new ids of the disk, its partitions and file systems, in all settings of "
            "Linux systems on it, too; a new machine id, new ssh host keys. Programs of the image make its initramfs "
            "anew, as root but shut in"
        ),
    )
    command.add_argument(
        "--host-name",
        default="",
        metavar="NAME",
        help=_("with --new-identity: what the computer is called from then on"),
    )


def _add_resized(command: argparse.ArgumentParser, name: str, words: str) -> None:
    """An option that names a partition, or leaves that to us."""
    last = Wanted(partition=growth.LAST)
    command.add_argument(name, nargs="?", type=_wanted, const=last, metavar="N[:SIZE]", help=words)


def _wanted(words: str) -> Wanted:
    try:
        return wanted.parse(words)
    except UsageError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def add_wipe(command: argparse.ArgumentParser) -> None:
    """The option that erases all that is there."""
    command.add_argument(
        "--wipe",
        type=Wipe,
        choices=[Wipe.DISCARD, Wipe.OVERWRITE, Wipe.SANITIZE],
        metavar="discard|overwrite|sanitize",
        help=_(
            "first erase all of the disk, so that nothing old is found on it: have the drive discard it (overwritten "
            "where it cannot), overwrite it with zeros, or have the drive erase itself, with what it keeps aside "
            "(NVMe and SATA drives that can; others discard)"
        ),
    )


def add_keep(command: argparse.ArgumentParser) -> None:
    """The option that leaves a partition as it is."""
    words = _("leave this partition of the target as it is (4, or sda4), such as one for /home; once for each")
    command.add_argument("--keep", action="append", default=[], metavar="PARTITION", help=words)


def add_keep_files(command: argparse.ArgumentParser) -> None:
    """The option that carries files of the old system over."""
    words = _(
        "carry the home folders of the Linux system on the disk over to the restored one, or the folders of people in "
        "C:\\Users of Windows; of Linux also {rules}, where named (--keep-files accounts,network). What is there is "
        "saved first: into the library of --save-first, or the image's own"
    ).format(rules=", ".join(EXTRA))
    command.add_argument("--keep-files", nargs="?", type=rules_of, const=(KeepRule.HOMES,), metavar="RULES", help=words)
    words = _("do not bring back files that a restore which was cut off was to keep: they stay in their image")
    command.add_argument("--no-keep-files", action="store_true", help=words)


def add_no_boot_entry(command: argparse.ArgumentParser) -> None:
    """The option that leaves the firmware as it is."""
    words = _("on the recovery system, give the firmware no entry for what is restored, even where it needs one")
    command.add_argument("--no-boot-entry", action="store_true", help=words)


def add_save_first(command: argparse.ArgumentParser) -> None:
    """The option that saves what is there."""
    words = _("first save what is there as an image in this library, so that `rescue undo` can bring it back")
    command.add_argument("--save-first", metavar="DIR", help=words)


def warn_of_doubt(doubt: str) -> None:
    """Say on standard error why images would not be used, had nobody accepted them."""
    for line in doubt_words(doubt).split("\n") if doubt else ():
        print(f"rescue: {_('warning: {problem}').format(problem=line)}", file=sys.stderr)
