"""A new id for what stands on a volume, by its own tool: on a target whose table is taken away, through a loop device.

Sources: tune2fs(8), e2fsck(8), xfs_db(8), btrfstune(8), swaplabel(8), fatlabel(8), exfatlabel(8), ntfslabel(8),
cryptsetup-luksUUID(8); Linux fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h.
"""

import struct
import threading
from collections.abc import Callable

from imaging import systemroot
from imaging.cloning import LUKS
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError, RefusedError
from imaging.filesystems import probe
from imaging.identities import Renamed
from imaging.run import run_cancellable

_EXT_SUPER, _EXT_COMPAT, _EXT_JOURNAL = 1024, 0x5C, 0xE0
_STABLE_INODES = 0x800
_XFS_LOG_AT = 0x30
_BTRFS_DEVICES = 0x88
_HINT = "restore the image again: with --new-identity, or without, as an exact copy"

ReadRange = Callable[[int, int], bytes]
"""`bytes_at(start, end)` of a disk."""


def refuse_doubtful(one: Renamed, start: int, bytes_at: ReadRange) -> None:
    """Raise RefusedError where the volume that begins at `start` of the image cannot get a new id, by what it says."""
    match one.kind:
        case "ext2" | "ext3" | "ext4":
            head = bytes_at(start + _EXT_SUPER, start + _EXT_SUPER + 1024)
            inode, device = struct.unpack_from("<II", head, _EXT_JOURNAL)
            if device and not inode:
                raise _refused(one, "its journal lies on another device")
            if struct.unpack_from("<I", head, _EXT_COMPAT)[0] & _STABLE_INODES:
                raise _refused(one, "what is encrypted in it depends on its id")
        case "xfs":
            head = bytes_at(start, start + 512)
            if not any(head[_XFS_LOG_AT : _XFS_LOG_AT + 8]):
                raise _refused(one, "its log lies on another device")
        case "btrfs":
            at = start + BTRFS_SUPER + _BTRFS_DEVICES
            (devices,) = struct.unpack("<Q", bytes_at(at, at + 8))
            if devices != 1:
                raise _refused(one, f"its file system lies on {devices} devices")
        case _:
            return


def _refused(one: Renamed, why: str) -> RefusedError:
    return RefusedError(
        f"partition {one.number} cannot get a new id: {why}",
        code="cannot-renew",
        hint="restore it without --new-identity, and do not have both disks in one computer",
    )


def rename(one: Renamed, loop: str, cancel: threading.Event) -> None:
    """Give what stands on a loop device its new id. Raises IoError where it does not bear that then, CancelledError."""
    match one.kind:
        case "ext2" | "ext3" | "ext4":
            # Where checksums depend on the id all of them are computed anew, which takes what was just checked.
            _tool(["e2fsck", "-f", "-p", loop], cancel, accept=(0, 1))
            _tool(["tune2fs", "-U", one.new, loop], cancel)
        case "xfs":
            _replayed(one.kind, loop)
            # As xfs_admin does, which is a script: what it has started would live on for a while, should it be killed.
            _tool(["xfs_db", "-x", "-p", "xfs_admin", "-c", "uuid " + one.new, loop], cancel)
        case "btrfs":
            # In the super blocks alone: to rewrite all metadata would take as long as they are large.
            _tool(["btrfstune", "-f", "-M", one.new, loop], cancel)
        case "swap":
            _tool(["swaplabel", "-U", one.new, loop], cancel)
        case "vfat":
            _tool(["fatlabel", "-i", loop, one.new.replace("-", "")], cancel)
        case "exfat":
            _tool(["exfatlabel", "-i", loop, f"0x{one.new.replace('-', '')}"], cancel)
        case "ntfs":
            _tool(["ntfslabel", f"--new-serial={one.new}", loop], cancel)
        case kind if kind == LUKS:
            _tool(["cryptsetup", "luksUUID", "--batch-mode", "--uuid", one.new, loop], cancel)
        case _:
            raise IoError(f"{one.kind} is not known to take another id", code="not-renewed")
    confirm(one, loop)


def confirm(one: Renamed, loop: str) -> None:
    """Raise IoError where what stands on a loop device does not bear its new id."""
    found = probe(loop)
    if found.uuid.lower() != one.new.lower():
        raise IoError(
            f"partition {one.number} bears the id {found.uuid}, not {one.new}", code="not-renewed", hint=_HINT
        )


def _replayed(kind: str, loop: str) -> None:
    """Only a log with nothing in it lets XFS have another id; the kernel replays it, and empties it at the end."""
    with systemroot.mounted(loop, kind, "the restored file system", writable=True):
        pass


def _tool(argv: list[str], cancel: threading.Event, accept: tuple[int, ...] = (0,)) -> None:
    done, name = run_cancellable(argv, cancel), argv[0]
    if done.status not in accept:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        words = f"{name} ended with status {done.status}" + (f": {said[-1]}" if said else "")
        raise IoError(words, code="tool-failed", hint=_HINT)
