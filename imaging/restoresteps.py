"""The steps of a restore, each for all of its disks before the next, and what has come of them."""

from collections.abc import Sequence

from imaging.errors import IoError, RefusedError, RescueError, of_system
from imaging.events import Carried, Grown, Renewed, Smaller, Unsanitized
from imaging.restoreplans import Wipe
from imaging.restoring import Restoring


def carry_out(disks: Sequence[Restoring], *, read_back: bool) -> None:
    """All disks are held and looked at before the first is written to, and no table comes before all data are there.

    So neither can one disk be refused after another was erased, nor a system that spans disks start from half of them.
    """
    for disk in disks:
        disk.prepare()
    for disk in disks:
        disk.wipe()
    for disk in disks:
        disk.write_body()
    if read_back:
        for disk in disks:
            disk.read_back()
    # Before the table: a file system that was cut off while it grew belongs to a disk that is known as unfinished.
    for disk in disks:
        disk.enlarge(read_back=read_back)
    for disk in disks:
        disk.carry(read_back=read_back)
    for disk in disks:
        disk.renew(read_back=read_back)
    for disk in disks:
        disk.write_table(read_back=read_back)


def told(error: Exception, disks: Sequence[Restoring]) -> Exception:
    """The error with the state of every target; once one was written to, it is not a refusal any more."""
    state = " ".join(disk.state for disk in disks)
    if isinstance(error, RefusedError) and any(disk.touched for disk in disks):
        error = IoError(error.message, code=error.code, hint=error.hint)
    if isinstance(error, OSError):
        error = of_system(error)
    if isinstance(error, RescueError):
        error.state = state
        return error
    unknown = RescueError(f"an error in Rescue itself: {type(error).__name__}: {error}")
    unknown.state = state
    return unknown


def grown(disks: Sequence[Restoring]) -> tuple[Grown, ...]:
    """What has come of the partitions that were to grow."""
    return tuple(
        Grown(
            partition=disk.pair.target.partition_name(growth.partition),
            before=growth.old_size,
            size=growth.old_size if disk.not_grown else growth.size,
            filesystem=growth.filesystem,
            why_not=disk.not_grown,
        )
        for disk in disks
        if (growth := disk.pair.growth) is not None
    )


def made_smaller(disks: Sequence[Restoring]) -> tuple[Smaller, ...]:
    """The partitions that have become smaller."""
    return tuple(
        Smaller(
            partition=disk.pair.target.partition_name(shrinkage.partition),
            before=shrinkage.old_size,
            size=shrinkage.size,
        )
        for disk in disks
        if (shrinkage := disk.pair.shrinkage) is not None
    )


def carried(disks: Sequence[Restoring]) -> Carried | None:
    """What was carried over from the system that was there before."""
    return next((disk.carried for disk in disks if disk.carried is not None), None)


def renewed(disks: Sequence[Restoring]) -> Renewed | None:
    """What has come of a new identity."""
    return next((disk.renewed for disk in disks if disk.renewed is not None), None)


def wiped(disks: Sequence[Restoring]) -> Wipe:
    """How the disks were erased: where in several ways, the one that reaches least of what a drive keeps aside."""
    ways = {disk.wiped for disk in disks}
    return next((way for way in (Wipe.OVERWRITE, Wipe.DISCARD, Wipe.SANITIZE) if way in ways), Wipe.NONE)


def unsanitized(disks: Sequence[Restoring]) -> tuple[Unsanitized, ...]:
    """The disks that were to erase themselves, and did not."""
    return tuple(
        Unsanitized(disk=disk.name, expected=disk.pair.sanitizer is not None and disk.pair.sanitizer.method is None)
        for disk in disks
        if disk.plan.wipe is Wipe.SANITIZE and disk.wiped is not Wipe.SANITIZE
    )
