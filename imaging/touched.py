"""What a plan touches: which disks, files and libraries it reads, writes and erases."""

from collections.abc import Iterator

import msgspec

from imaging.disk import DiskId
from imaging.imageplans import (
    CapturePlan,
    CopyImagesPlan,
    DeletePlan,
    ExportPlan,
    FilesPlan,
    ImportPlan,
    PrunePlan,
    VerifyPlan,
    VerifySetPlan,
)
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaIsoPlan, MediaPlan, MediaSystem, RemovePlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import ForeignSource, RestorePlan


def disks_used(plan: Plan) -> tuple[tuple[DiskId, str, bool], ...]:
    """The disks that the plan touches: identity, path, and whether it writes to them."""
    match plan:
        case CapturePlan():
            return tuple((disk.id, disk.path, False) for disk in plan.disks)
        case RestorePlan():
            return tuple((t.target.id, t.target.path, True) for t in plan.targets)
        case VerifyPlan():
            return ((plan.against.id, plan.against.path, False),) if plan.against else ()
        case VerifySetPlan() | DeletePlan() | PrunePlan():
            return ()
        case FilesPlan() | ExportPlan() | ImportPlan() | CopyImagesPlan():
            return ()
        case MediaPlan():
            return ((plan.target.id, plan.target.path, True), *_read(plan.system))
        case InstallPlan():
            return ((plan.target.id, plan.target.path, True), *_read(plan.system))
        case MediaGrowPlan() | RemovePlan() | RepairPlan():
            return ((plan.target.id, plan.target.path, True),)
        case MediaIsoPlan():
            return tuple(_read(plan.system))


def _read(system: MediaSystem) -> Iterator[tuple[DiskId, str, bool]]:
    """The disk that a system is read from, where it is one; what is known of it here is its path."""
    if system.path.startswith("/dev/"):
        yield DiskId(size=0), system.path, False


class LibraryUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does with a library: `image` names the one that it reads, empty where it reads none, or all."""

    library: str
    image: str = ""
    writes: bool = False
    deletes: bool = False


def files_written(plan: Plan) -> tuple[str, ...]:
    """The files and folders that the plan writes, beside those of libraries."""
    match plan:
        case FilesPlan() | ExportPlan():
            return (plan.target,)
        case MediaIsoPlan():
            return (plan.output,)
        case RepairPlan(keep=folder) if folder:
            return (folder,)
        case _:
            return ()


def files_read(plan: Plan) -> tuple[str, ...]:
    """The files and folders that the plan reads, beside libraries and systems."""
    match plan:
        case ImportPlan():
            return (plan.source,)
        case RestorePlan(foreign=ForeignSource(path=path)):
            return (path,)
        case _:
            return ()


def disks_erased(plan: Plan) -> tuple[str, ...]:
    """The paths of the devices of which nothing stays, whatever was on them."""
    match plan:
        case MediaPlan():
            targets = [plan.target]
        case RestorePlan():
            targets = [pair.target for pair in plan.targets if not pair.partitions]
        case _:
            targets = []
    return tuple(target.path for target in targets if not target.regular_file)


def libraries_used(plan: Plan) -> tuple[LibraryUse, ...]:
    """The libraries that the plan reads from or writes to, once for each image."""
    match plan:
        case CapturePlan() | ImportPlan():
            return (LibraryUse(library=plan.library, writes=True),)
        case CopyImagesPlan():
            read = tuple(LibraryUse(library=plan.library, image=image) for image in plan.images or ("",))
            return (*read, LibraryUse(library=plan.target, writes=True))
        case VerifyPlan(repair_from=other) if other:
            return (LibraryUse(library=plan.library, image=plan.image), LibraryUse(library=other))
        case VerifySetPlan():
            read = tuple(LibraryUse(library=plan.library, image=image) for image in plan.images)
            return (*read, LibraryUse(library=plan.repair_from)) if plan.repair_from else read
        case RestorePlan():
            read = () if plan.foreign is not None else (LibraryUse(library=plan.library, image=plan.image),)
            saved = (LibraryUse(library=plan.safety, writes=True),) if plan.safety else ()
            before = [pair.target.saved for pair in plan.targets if plan.saved_in and pair.target.saved]
            noted = (LibraryUse(library=plan.saved_in, image=saved) for saved in before)
            waits = (plan.keep,) if plan.keep is not None and plan.keep.image else ()
            return (*read, *saved, *noted, *(LibraryUse(library=kept.library, image=kept.image) for kept in waits))
        case VerifyPlan() | FilesPlan() | ExportPlan():
            return (LibraryUse(library=plan.library, image=plan.image),)
        case DeletePlan():
            return (LibraryUse(library=plan.library, image=plan.image, deletes=True),)
        case PrunePlan():
            gone = [image.id for image in plan.images] or [""]
            return tuple(LibraryUse(library=plan.library, image=image, deletes=True) for image in gone)
        case MediaPlan() | MediaIsoPlan() | InstallPlan():
            return tuple(LibraryUse(library=one.library, image=one.image) for one in plan.images)
        case MediaGrowPlan() | RemovePlan() | RepairPlan():
            return ()
