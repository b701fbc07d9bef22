"""From another program's image of a disk straight onto a disk: the plan, and what is refused."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from imaging import trust
from imaging.disk import Disk, Role
from imaging.durable import beneath
from imaging.errors import RescueError, UsageError
from imaging.foreignfiles import files_of
from imaging.foreignlook import Seen
from imaging.manifest import ImagedDisk
from imaging.mounts import files_beneath
from imaging.packformat import lies_in
from imaging.planner import refuse_target, why_not_target
from imaging.restoreplans import ForeignSource, RestorePlan, RestoreTarget
from imaging.signatures import UNSIGNED, why_not_used
from imaging.vouching import not_trusted


def plan_straight(
    seen: Seen,
    targets: Mapping[str, Disk],
    *,
    read_back: bool = True,
    create: bool = False,
    accept_unsigned: bool = False,
    library: Path | None = None,
) -> RestorePlan:
    """Plan to restore disks of a foreign image, by their names in it, each onto a whole disk.

    The targets were looked at with the image's path among the libraries. `create` says that they are files that do not
    exist yet; no target may lie in `library`. Raises RefusedError or UsageError.
    """
    sources = {disk.name: disk for disk in seen.disks}
    unknown = [name for name in targets if name not in sources]
    if unknown or not targets:
        names = ", ".join(sources)
        raise UsageError(
            f"{seen.path.name} has no disk {unknown[0] if unknown else ''!r}; it has {names}", code="no-such-disk"
        )
    if len({target.path for target in targets.values()}) != len(targets):
        raise UsageError("two disks cannot be restored onto one", code="same-disk-twice")
    for name, target in targets.items():
        if library is not None and target.regular_file and lies_in(Path(target.path), library):
            refuse_target(target.name, target, "it lies in the image library")
        if create and Path(target.path).is_relative_to(seen.path):
            refuse_target(target.name, target, "it would lie in what is restored")
        if not create:
            refuse_unless_target(seen.path, sources[name], target)
    pairs = tuple(RestoreTarget(source=sources[name], target=disk, create=create) for name, disk in targets.items())
    return RestorePlan(
        library="",
        image=seen.path.name,
        targets=pairs,
        read_back=read_back,
        doubt=doubt(),
        accept_unsigned=accept_unsigned,
        foreign=ForeignSource(path=str(seen.path), kind=seen.image.kind, mark=seen.mark),
    )


def refuse_unless_target(path: Path, source: ImagedDisk, target: Disk) -> None:
    """Raise RefusedError where a disk of the image at `path` cannot be restored onto a disk, looked at as above."""
    files = (*files_of(path), *(beneath(path, all_of_it=False) if path.is_dir() else ()))
    why = ""
    if not target.regular_file and target.roles == (Role.LIBRARY,):
        why = "what is restored, or the image library, lies on it"
    elif any(_is_one_of(ground, files) for ground in _grounds(target)):
        why = "it belongs to what is restored"
    why = why or why_not_target(target, source)
    if why:
        refuse_target(target.name, target, why)


def _grounds(target: Disk) -> tuple[Path, ...]:
    """The files that a target's bytes lie in: itself, or those of the loop devices that it is or stands on."""
    if target.regular_file:
        return (Path(target.path),)
    return files_beneath(target.path)


def _is_one_of(target: Path, files: Iterable[Path]) -> bool:
    """Whether a file is one of these by another name, too; whoever cannot be looked at is not one of them."""
    for file in files:
        try:
            if file.samefile(target):
                return True
        except OSError:
            continue
    return False


def doubt() -> str:
    """Why an image that nobody can have signed is not to be used here, in words; empty where it may be."""
    try:
        keys = trust.trusted()
    except RescueError as error:
        return f"which keys are trusted here is not known: {error.message}"
    return why_not_used(UNSIGNED, strict=bool(keys))


def refuse_doubtful(plan: RestorePlan) -> None:
    """Raise RefusedError (code "not-trusted") where only signed images are used here, and nobody accepts this one."""
    why = doubt()
    if why and not plan.accept_unsigned:
        raise not_trusted(plan.image, why)
