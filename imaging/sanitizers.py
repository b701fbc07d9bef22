"""Asking drives whether they can erase themselves; nothing is changed, and none is woken for it."""

from msgspec.structs import replace

from imaging import sanitize
from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.run import run
from imaging.sanitize import Obstacle, Progress, Sanitizer

_PATIENCE = 10.0
"""Seconds that a drive has to answer."""


def sanitizer(path: str, transport: str) -> Sanitizer:
    """How the drive at `path` erases itself.

    Only those that are attached as NVMe or ATA are asked: adapters for USB pass such commands on wrongly, or hang.
    """
    try:
        match transport:
            case "nvme":
                identified = run(["nvme", "id-ctrl", path, "--output-format=json"], timeout=_PATIENCE).stdout
                every = ["--all"] if sanitize.manages_namespaces(identified) else []
                listed = run(["nvme", "list-ns", path, *every], timeout=_PATIENCE).stdout
                return sanitize.of_nvme(identified, listed)
            case "ata":
                identified = run(["hdparm", "-I", path], timeout=_PATIENCE).stdout
                return sanitize.of_ata(identified, ata_status(path) if sanitize.knows_sanitize(identified) else "")
            case _:
                return Sanitizer(obstacle=Obstacle.UNABLE)
    except RescueError:
        return Sanitizer(obstacle=Obstacle.UNKNOWN)


def why_unreadable(disk: Disk) -> str:
    """What a drive that cannot be read says for itself: it erases itself, or is locked; empty where neither is so.

    Cut off by a loss of power it goes on by itself, or keeps the password under which it was to do so.
    """
    try:
        if disk.transport == "nvme":
            return _erasing(sanitize.nvme_progress(run(["nvme", "sanitize-log", disk.path], timeout=_PATIENCE).stdout))
        if disk.transport == "ata":
            if sanitize.is_locked(run(["hdparm", "-I", disk.path], timeout=_PATIENCE).stdout):
                return (
                    "it is locked by a password; where it was cut off while it erased itself, "
                    f"`hdparm --user-master u --security-disable {sanitize.PASSWORD} {disk.path}` takes that back"
                )
            return _erasing(sanitize.ata_progress(ata_status(disk.path)))
    except RescueError:
        return ""
    return ""


def ata_status(path: str, timeout: float = _PATIENCE) -> str:
    """What an ATA drive says of "Sanitize Device", and what hdparm complains of; takes `timeout` seconds at most."""
    said = run(["hdparm", "--sanitize-status", path], accept=range(256), timeout=timeout)
    return said.stdout + said.stderr


def _erasing(state: Progress) -> str:
    if state.failed and state.begun:
        return "it has failed to erase itself, and can do nothing else until it has: replace it, if that fails again"
    if state.done or state.failed:
        return ""
    return f"it still erases itself ({state.share:.0%}): leave it switched on until that is done"


def with_sanitizers(plan: RestorePlan) -> RestorePlan:
    """The plan with how each of its drives erases itself, where it is to: for showing, and for being carried out."""
    if plan.wipe is not Wipe.SANITIZE:
        return plan
    return replace(plan, targets=tuple(replace(pair, sanitizer=look(pair.target)) for pair in plan.targets))


def as_shown(pair: RestoreTarget) -> Sanitizer:
    """How the drive erases itself now, asked anew: by no other command than was shown, where anything was.

    Since then another disk may have come to be on the same drive, or the firmware may have locked it, on waking up.
    """
    shown, now = pair.sanitizer, look(pair.target)
    if shown is None or now.method is None or now.method is shown.method:
        return now
    return Sanitizer(obstacle=shown.obstacle)


def look(disk: Disk) -> Sanitizer:
    """How the drive erases itself."""
    return Sanitizer(obstacle=Obstacle.UNABLE) if disk.regular_file else sanitizer(disk.path, disk.transport)
