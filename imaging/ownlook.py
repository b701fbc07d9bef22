"""What is looked at on this machine before a recovery partition of its own disk is planned, and the plan for it."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imaging import bootplaces, inventory, medium, mediumcheck, ownfiles, ownplan, placement
from imaging.blockdev import opened
from imaging.disk import Disk
from imaging.errors import BadImageError, RefusedError, RescueError
from imaging.mediasource import find_system
from imaging.mediumcheck import Advance, Examined
from imaging.ownplan import Boot
from imaging.recoveryplans import InstallPlan, MediaImage, MediaSystem, RemovePlan
from imaging.usedmap import volume_map


def plan_install(
    path: str,
    given: str | None = None,
    *,
    size: int | None = None,
    images: int = 0,
    copied: Sequence[MediaImage] = (),
    factory: str = "",
) -> tuple[InstallPlan, Boot]:
    """Plan a recovery partition on a disk, and say what there is to start it from.

    `given` is the system to copy, else that of the running or installed program; where there is none, and the disk has
    a recovery partition already, what starts that one is planned to be added again.

    Takes some seconds where there is no room, for then it is looked up what could be shrunk. Raises as
    ownplan.plan_install does, and BadImageError where the system's files cannot be read.
    """
    disk = inventory.look(path)
    boot = bootplaces.look(disk)
    try:
        system = find_system(given)
    except RescueError:
        if given or copied or ownplan.own_partition(disk) is None:
            raise
        return ownplan.plan_entries(disk, system_of(disk), boot), boot
    with ownfiles.opened(system.path) as source:
        content = source.content

    def plan(free: Mapping[int, int] | None = None) -> InstallPlan:
        return ownplan.plan_install(
            disk, system, boot, content=content, size=size, images=images, copied=copied, factory=factory, free=free
        )

    try:
        return plan(), boot
    except RefusedError as error:
        if error.code != "no-room":
            raise
    return plan(free_inside(disk)), boot


def system_of(disk: Disk) -> MediaSystem:
    """The system of a disk's own recovery partition; raises BadImageError where there is none that is whole."""
    part = ownplan.own_partition(disk)
    if part is None:
        raise RefusedError(f"{disk.name} has no recovery partition", code="no-system")
    name = disk.partition_name(part.number)
    if not part.content.kind:
        raise _only_begun(name)
    with bootplaces.reached(disk, part.number, writable=False) as root:
        about = medium.folder_about(root)
    if about is None:
        raise _only_begun(name)
    return MediaSystem(
        path=name, build=about.build, version=about.version, built=about.built, flavour=about.flavour, size=part.size
    )


def _only_begun(name: str) -> BadImageError:
    return BadImageError(
        f"the recovery partition {name} is only begun",
        code="unfinished-medium",
        hint="complete it: rescue media install-partition",
    )


def plan_remove(path: str) -> RemovePlan:
    """Plan to take it away; raises as ownplan.plan_remove does."""
    disk = inventory.look(path)
    boot = bootplaces.look(disk)
    return ownplan.plan_remove(disk, boot.menus, firmware=boot.firmware)


def check(path: str, advance: Advance, cancel: threading.Event | None = None) -> Examined | None:
    """Check the recovery system on a computer's own disk; None where the disk has none. Needs root.

    Raises as mediumcheck.check_folder does, and where the partition cannot be mounted.
    """
    disk = inventory.look(path)
    part = ownplan.own_partition(disk)
    if part is None:
        return None
    name = disk.partition_name(part.number)
    if not part.content.kind:
        raise _only_begun(name)
    with bootplaces.reached(disk, part.number, writable=False) as root:
        examined = mediumcheck.check_folder(root, advance, cancel)
    return replace(examined, path=name)


def free_inside(disk: Disk) -> dict[int, int]:
    """The free bytes of each partition whose file system can be shrunk and says what it uses."""
    found = {}
    with opened(disk.path) as fd:
        for part in disk.table.partitions:
            if part.content.kind in placement.SHRINKABLE and part.end <= disk.size:
                used = volume_map(disk.path, fd, part.start, part.size, part.content)
                found[part.number] = part.size - used.used.total
    return found
