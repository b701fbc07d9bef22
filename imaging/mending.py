"""File systems of a disk, checked by their own tools, and mended as far as a person has agreed to.

Without a question only what loses nothing is done: a journal is replayed, and what e2fsck's -p mends. What its tool has
to decide is done where that was agreed to, too. A log is never thrown away (xfs_repair -L), and of FAT, exFAT, NTFS and
btrfs it is only said how they are: fsck.vfat can take the damaged one of two tables for the good one.
"""

import os
import re
import threading

from imaging import filesystems, peek
from imaging.blockdev import loop_over
from imaging.check import look_over, tail
from imaging.disk import Content, Disk
from imaging.errors import IoError
from imaging.events import CheckedVolume, Verdict
from imaging.repairplans import FileSystemCheck
from imaging.run import Completed, run_cancellable

_EXT = ("ext2", "ext3", "ext4")
_LEFT, _FAILED = 4, ~0b111
"""Bits of e2fsck's status: errors that are left, and those that say it could not do its work. Source: e2fsck(8)."""
_UNREADABLE = re.compile(r"error\s(?:reading|while)|input/output\serror|short\sread", re.IGNORECASE)
"""What e2fsck says of blocks that cannot be read: with -y it would write zeros over them. Source: e2fsck/ehandler.c."""

_CLEAN_LOG = "<CLEAN>"
"""What xfs_logprint says of a log in which nothing waits. Source: xfs_logprint(8), logprint/log_print_trans.c."""


def check(
    file: int, disk: Disk, one: FileSystemCheck, cancel: threading.Event, *, mend: bool
) -> tuple[CheckedVolume, bool]:
    """Check a file system of a disk that is open for writing, and say whether it was changed.

    With `mend` its tool may decide by itself. Raises IoError where the tool cannot be started, CancelledError where one
    that only looks was stopped.
    """
    name = disk.partition_name(one.number)
    unclean = filesystems.doubt(file, one.start, _content(disk, one))
    sector = disk.logical_sector
    with loop_over(file, offset=one.start, size=one.size, sector=sector, writable=not one.only_looks) as loop:
        if one.kind in _EXT:
            verdict, detail, changed = _ext(loop, mend=mend)
            changed = changed or unclean is not None  # a journal that is replayed is no error to e2fsck
        elif one.kind == "xfs":
            verdict, detail, changed = _xfs(loop, cancel, mend=mend)
        else:
            verdict, detail = look_over(one.kind, loop, unclean, cancel)
            changed = False
        if not one.only_looks:
            _sync(loop)
    if verdict is Verdict.ERRORS and one.kind == "ntfs":
        detail = f"{detail}; have Windows mend it: chkdsk /f"
    said = CheckedVolume(
        disk=disk.name, number=one.number, name=name, kind=one.kind, verdict=verdict, detail=detail.replace(loop, name)
    )
    return said, changed


def _content(disk: Disk, one: FileSystemCheck) -> Content:
    return next(part.content for part in disk.table.partitions if part.number == one.number)


def _to_its_end(argv: list[str]) -> Completed:
    """A tool that writes is not stopped in the middle, whoever asks for that."""
    return run_cancellable(argv, threading.Event())


def _ext(loop: str, *, mend: bool) -> tuple[Verdict, str, bool]:
    done = _to_its_end(["e2fsck", "-f", "-p", loop])
    changed = bool(done.status & 0b11)
    if mend and done.status >= 0 and done.status & _LEFT and not done.status & _FAILED:
        seen = done.stdout + _to_its_end(["e2fsck", "-f", "-n", loop]).stdout
        if _UNREADABLE.search(seen):
            return Verdict.ERRORS, "parts of it cannot be read: save what is on it before it is mended", changed
        done = _to_its_end(["e2fsck", "-f", "-y", loop])
        changed = True
    said = tail(done.stdout)
    if done.status < 0 or done.status & _FAILED:
        return Verdict.NOT_CHECKED, f"e2fsck ended with status {done.status}: {said}", changed
    if done.status & _LEFT:
        return Verdict.ERRORS, f"e2fsck: {said}", changed
    return Verdict.CLEAN, said if changed else "", changed


def _xfs(loop: str, cancel: threading.Event, *, mend: bool) -> tuple[Verdict, str, bool]:
    """A mount replays its log, where there is anything in that: xfs_repair looks at nothing before it."""
    replayed = _CLEAN_LOG not in _to_its_end(["xfs_logprint", "-t", loop]).stdout
    if replayed:
        try:
            os.close(peek.mounted("xfs", loop, writable=True, options=("nouuid",)))
        except OSError as error:
            # Without its log xfs_repair would go on only if that were thrown away.
            return Verdict.ERRORS, f"its log cannot be replayed: {error.strerror or error}", False
    verdict, detail = look_over("xfs", loop, None, cancel)
    if verdict is not Verdict.ERRORS or not mend:
        return verdict, detail, replayed
    done = _to_its_end(["xfs_repair", loop])
    if done.status:
        return Verdict.ERRORS, f"xfs_repair ended with status {done.status}: {tail(done.stdout)}", True
    verdict, detail = look_over("xfs", loop, None, cancel)
    return verdict, detail, True


def _sync(loop: str) -> None:
    fd = os.open(loop, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise IoError(f"what was mended is not on the medium: {error.strerror}", code="write-failed") from error
    finally:
        os.close(fd)
