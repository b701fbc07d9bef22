"""Check the file systems of an image by their own tools, read-only and without writing the image out.

What a checksum proves is that the image is what was captured; whether that was a whole file system, only the file
system's own checker can tell.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from imaging import virtual
from imaging.blockdev import loop_over
from imaging.content import Content
from imaging.doubts import Doubt
from imaging.errors import CancelledError, IoError, RefusedError
from imaging.events import CheckedVolume, Verdict
from imaging.extents import Extents
from imaging.filesystems import doubt
from imaging.library import Library
from imaging.manifest import ImagedDisk, Volume
from imaging.pipeline import Reporter
from imaging.reader import DiskReader
from imaging.run import Completed, find_tool, run_cancellable

_PAGE = 4096
"""The kernel reads the virtual disk in pages, also where a volume begins or ends within one."""
_MOST_LINES, _MOST_CHARACTERS = 6, 400
_MOST_DETAILS = 64
"""How many volumes are told of in detail: the last event of a job must not grow beyond what is reserved for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tool:
    """A command that checks a device, which is added to it, and what its end means.

    `errors` are the statuses that mean errors; any other than these and 0 means that it could not do its work.
    `complaint` is what it says of errors whatever its status, `harmless` what it says where its status is no matter,
    `unclean` what it says of a file system that was not unmounted.
    """

    argv: tuple[str, ...]
    errors: frozenset[int] = frozenset({1})
    complaint: str = ""
    harmless: str = ""
    unclean: str = ""


_FSCK_ERRORS = frozenset({1, 4, 5, 12, 13})
"""Source: fsck(8): 1 corrected, 4 left uncorrected, 8 an operational error, added up."""
_EXT = (_Tool(argv=("e2fsck", "-f", "-n"), errors=_FSCK_ERRORS),)
_TOOLS: dict[str, tuple[_Tool, ...]] = {
    "ext2": _EXT,
    "ext3": _EXT,
    "ext4": _EXT,
    "xfs": (_Tool(argv=("xfs_repair", "-n"), unclean="metadata changes in a log"),),
    "btrfs": (
        _Tool(
            argv=("btrfs", "check", "--readonly"),
        ),
    ),
    # The first compares what is there twice; the second goes through every file and accounts for every cluster.
    "ntfs": (
        _Tool(argv=("ntfsfix", "-n")),
        _Tool(
            argv=("ntfsresize", "--info", "--force", "--bad-sectors", "--no-progress-bar"),
            errors=frozenset(),
            complaint="is inconsistent",
            harmless="Volume is full",
        ),
    ),
    "vfat": (_Tool(argv=("fsck.vfat", "-n"), unclean="Dirty bit is set"),),
    "exfat": (_Tool(argv=("fsck.exfat", "-n"), errors=_FSCK_ERRORS),),
    "f2fs": (_Tool(argv=("fsck.f2fs", "--dry-run"), errors=_FSCK_ERRORS | {255}, complaint="[Fail]"),),
    "swap": (_Tool(argv=("swaplabel",)),),
}
_REASONS = {
    "": "nothing known stands on it",
    "crypto_LUKS": "it is encrypted",
    "BitLocker": "it is encrypted",
    "LVM2_member": "the volumes inside it are not looked into",
    "linux_raid_member": "it is one member of an array",
}


def refuse_unless_able() -> None:
    """Raise RefusedError where this process can attach no disk: before a capture, not after it."""
    if os.geteuid() != 0:
        raise RefusedError("checking file systems needs root", code="no-permission", hint="run as root")


def check(library: Path, image_id: str, report: Reporter, cancel: threading.Event) -> tuple[CheckedVolume, ...]:
    """Check every volume of an image; nothing is written.

    A chunk that is corrupt or missing makes its volume UNREADABLE. Raises BadImageError where manifest or index cannot
    be used, IoError where the library cannot be read or the kernel gives no device, RefusedError without root,
    CancelledError: a tool that is at work is killed.
    """
    refuse_unless_able()
    opened = Library.open(library)
    image = opened.image(image_id)
    found: list[CheckedVolume] = []
    for disk in image.disks:
        with (
            DiskReader(Content.load(opened, image, disk)) as reader,
            virtual.opened({"disk": reader}) as files,
        ):
            for volume in disk.volumes:
                if cancel.is_set():
                    raise CancelledError("stopped because somebody asked")
                said = _check_volume(disk, volume, reader, files["disk"], report, cancel)
                found.append(said if len(found) < _MOST_DETAILS else _shortened(said))
                _warn(said, report)
    return tuple(found)


def _warn(said: CheckedVolume, report: Reporter) -> None:
    match said.verdict:
        case Verdict.CLEAN:
            report.log(f"{said.name}: {said.kind}, clean")
        case Verdict.ERRORS:
            report.log(f"{said.name}: {said.kind}, errors: {said.detail}", "warning")
        case Verdict.NOT_CHECKED:
            report.log(f"{said.name}: not checked: {said.detail}", "warning" if said.kind in _TOOLS else "info")
        case Verdict.UNREADABLE:
            report.log(f"{said.name}: not checked: {said.detail}", "warning")


def _check_volume(
    disk: ImagedDisk, volume: Volume, reader: DiskReader, file: int, report: Reporter, cancel: threading.Event
) -> CheckedVolume:
    kind = volume.content.kind
    name = f"partition {volume.number} of {disk.name}" if volume.number else disk.name
    verdict, detail = Verdict.NOT_CHECKED, _why_not(disk, volume)
    if not detail:
        report.step(f"Checking {kind} on {name}")
        verdict, detail = _run_tools(disk, volume, file, cancel)
        end = volume.start + volume.size
        if verdict is Verdict.ERRORS and Extents(disk.unreadable).overlaps(volume.start, end):
            detail = f"parts of it could not be read when it was captured; {detail}"
        bad = reader.bad_within(volume.start // _PAGE * _PAGE, -(-end // _PAGE) * _PAGE)
        failed = next((b.error for b in bad if isinstance(b.error, IoError)), None)
        if failed is not None:
            raise failed
        if bad:
            verdict, detail = Verdict.UNREADABLE, f"the image is damaged: {bad[0].error.message}"
    return CheckedVolume(disk=disk.name, number=volume.number, name=name, kind=kind, verdict=verdict, detail=detail)


def _why_not(disk: ImagedDisk, volume: Volume) -> str:
    """Why a volume cannot be checked at all; empty where it can."""
    kind = volume.content.kind
    if kind not in _TOOLS:
        return _REASONS.get(kind, f"there is no checker for {kind}")
    if not 0 < volume.size <= disk.size - volume.start:
        return "it does not lie within the disk"
    missing = [tool.argv[0] for tool in _TOOLS[kind] if find_tool(tool.argv[0]) is None]
    return f"{missing[0]} is not installed" if missing else ""


def _run_tools(disk: ImagedDisk, volume: Volume, file: int, cancel: threading.Event) -> tuple[Verdict, str]:
    unclean = doubt(file, volume.start, volume.content)
    with loop_over(file, offset=volume.start, size=volume.size, sector=disk.logical_sector) as loop:
        return look_over(volume.content.kind, loop, unclean, cancel)


def look_over(kind: str, loop: str, unclean: Doubt | None, cancel: threading.Event) -> tuple[Verdict, str]:
    """What the tools for a kind of file system find on a device, up to the first that finds anything; nothing is
    written. Raises IoError where one is not installed, CancelledError.
    """
    for tool in _TOOLS[kind]:
        found = _judge(tool, run_cancellable([*tool.argv, loop], cancel), unclean, loop)
        if found[0] is not Verdict.CLEAN:
            return found
    return Verdict.CLEAN, ""


def _judge(tool: _Tool, done: Completed, unclean: Doubt | None, loop: str) -> tuple[Verdict, str]:
    """What a tool's end means; `loop` is left out of what it said, for that device is gone by then."""
    said = tail(done.stdout.replace(loop, "the volume"))

    def says(words: str) -> bool:
        return bool(words) and words in done.stdout

    complained = says(tool.complaint)
    if says(tool.harmless) or (done.status == 0 and not complained):
        return Verdict.CLEAN, ""
    if done.status not in tool.errors and not complained:
        how = f"was ended by signal {-done.status}" if done.status < 0 else f"ended with status {done.status}"
        return Verdict.NOT_CHECKED, f"{tool.argv[0]} {how}: {said}"
    if unclean is not None and unclean.passes:
        return Verdict.NOT_CHECKED, f"{unclean.why}, so what its checker says means little: {said}"
    if says(tool.unclean):
        why = "it was not unmounted cleanly when it was captured"
        return Verdict.NOT_CHECKED, f"{why}, so what its checker says means little: {said}"
    return Verdict.ERRORS, f"{tool.argv[0]}: {said}"


def tail(said: str) -> str:
    """The last lines of what a tool said, on one line and fit to be printed."""
    lines = [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in said.splitlines()]
    text = "; ".join([line for line in lines if line][-_MOST_LINES:])
    return text if len(text) <= _MOST_CHARACTERS else f"..{text[-_MOST_CHARACTERS:]}"


def _shortened(said: CheckedVolume) -> CheckedVolume:
    return replace(said, detail="")
