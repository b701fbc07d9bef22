"""Restores that were cut off: which disks bear the mark of one, and the plans that complete it or undo it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from imaging import cloning, growth, planner, smaller, vouching
from imaging.bootentry import with_boot_entry
from imaging.disk import Disk, Role
from imaging.errors import BadImageError, RefusedError, RescueError
from imaging.keeping import with_kept_files
from imaging.keptfiles import KeepRule
from imaging.library import Library
from imaging.manifest import Image
from imaging.partitions import plan_restore_partitions, put_back
from imaging.restoreplans import RestorePlan, Wipe
from imaging.sanitizers import with_sanitizers
from imaging.unfinished import MEDIUM, UNKNOWN, Manner

SEVERAL = "several-disks"
"""The code of the error where other disks belong to the restore, and nobody knows which."""
_SAME_COMMAND = "the command, or the order, that began it completes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """One restore that was cut off: its image, the one in which it has saved what was there, and on which disks.

    `keeps` are the rules by which files come over from `saved`. `names` are what is only partly restored: the disks,
    or partitions of one.
    """

    image: str
    saved: str
    keeps: tuple[str, ...]
    manner: Manner
    disks: tuple[Disk, ...]
    names: tuple[str, ...]

    @property
    def can_be_undone(self) -> bool:
        """Whether what was there before was saved, and this is not what was being brought back."""
        return self.saved not in ("", self.image)


def cut_off(disks: Iterable[Disk]) -> list[CutOff]:
    """Those whose marks stand on the disks: one for each disk, or for those that were restored together."""
    found: list[CutOff] = []
    for disk in disks:
        # Beside the recovery partition that a computer was started from, others of the disk can be restored.
        if (Role.BOOT_MEDIUM in disk.roles and not disk.kept) or Role.SYSTEM in disk.roles:
            continue
        one = _of(disk)
        if one is None:
            continue
        several = one.manner.disks > 1 and not one.manner.partitions
        together = (other for other in found if several and _belongs(other, one))
        other = next(together, None)
        if other is None:
            found.append(one)
        else:
            found[found.index(other)] = CutOff(
                image=one.image,
                saved=one.saved or other.saved,
                keeps=one.keeps,
                manner=one.manner,
                disks=(*other.disks, *one.disks),
                names=(*other.names, *one.names),
            )
    return found


def _of(disk: Disk) -> CutOff | None:
    if disk.unfinished == MEDIUM:
        return None
    if disk.unfinished:
        return CutOff(
            image=disk.unfinished,
            saved=disk.saved,
            keeps=disk.keeps,
            manner=disk.manner,
            disks=(disk,),
            names=(disk.name,),
        )
    first = next((part for part in disk.table.partitions if part.unfinished), None)
    if first is None:
        return None
    same = [part.number for part in disk.table.partitions if part.unfinished == first.unfinished]
    return CutOff(
        image=first.unfinished,
        saved=first.saved,
        keeps=(),
        manner=disk.manner,
        disks=(disk,),
        names=tuple(disk.partition_name(number) for number in same),
    )


def _belongs(other: CutOff, one: CutOff) -> bool:
    """Whether two disks were restored together: from different disks of one image."""
    mine = {disk.manner.disk for disk in other.disks}
    return (other.image, other.manner.disks) == (one.image, one.manner.disks) and one.manner.disk not in mine


def plan_completion(
    cut: CutOff, libraries: Sequence[Path], *, files: bool = True, accept_unsigned: bool = False
) -> RestorePlan:
    """The restore that was cut off, as it was to be: the same image onto the same disks, in the same manner.

    What it was to keep is another step, `with_files`; without `files` nobody minds whether that is still there. Takes
    up to minutes where a file system becomes smaller. Raises RefusedError: "no-such-image" where no library has the
    image, or that of the files; "several-disks" where other disks belong to it that bear no mark; BadImageError,
    UsageError, IoError.
    """
    manner = cut.manner
    if manner.noted and not manner.known:
        why = "it has no room on the disk" if manner.version == UNKNOWN else "a newer version of Rescue began that"
        raise RefusedError(
            f"how {_listed(cut)} was to be restored cannot be read: {why}", code="unknown-version", hint=_SAME_COMMAND
        )
    if manner.straight:
        raise RefusedError(
            f"{_listed(cut)} was being restored straight from {manner.library}, and from no library",
            code="no-such-image",
            hint=f"attach what holds that, and give the same command again: rescue restore PATH {cut.disks[0].path}",
        )
    path, image = _found(
        cut.image, libraries, manner.library, f"image {cut.image} is needed to complete the restore of {_listed(cut)}"
    )
    if cut.keeps and files:
        what = f"image {cut.saved} holds the files that were to be kept on {_listed(cut)}"
        _found(cut.saved, libraries, manner.safety, what)
    plan = _planned(cut, path, image)
    if manner.grow and not plan.shrinks:
        plan = growth.with_growth(plan, manner.grow, manner.size or None)
    if manner.new_identity:
        plan = cloning.with_new_identity(plan, manner.host_name)
    if manner.wipe:
        plan = with_erasing(planner.with_wipe(plan, _way(manner.wipe, cut)), lambda: libraries)
    if manner.boot_entry or not manner.noted:
        plan = with_boot_entry(plan)
    return vouching.of_restore(plan, accept_unsigned=accept_unsigned)


def with_erasing(plan: RestorePlan, libraries: Callable[[], Sequence[Path]]) -> RestorePlan:
    """The plan with how its drives erase themselves, and in which library that is noted of those that were cut off.

    A drive loses its mark then, and what tells what was saved of it. Nobody asks for the `libraries` of others.
    """
    plan = with_sanitizers(plan)
    saved = next((pair.target.saved for pair in plan.targets if pair.target.saved), "")
    if plan.wipe is not Wipe.SANITIZE or not saved:
        return plan
    return structs.replace(plan, saved_in=_place_of(saved, libraries()))


def _planned(cut: CutOff, path: Path, image: Image) -> RestorePlan:
    manner = cut.manner
    if manner.partitions:
        chosen = dict(manner.partitions)
        return plan_restore_partitions(path, image, manner.disk, cut.disks[0], chosen, read_back=manner.read_back)
    if not cut.disks[0].unfinished:
        raise RefusedError(
            f"which partitions were restored to {cut.disks[0].name}, and from which, was not noted",
            code="unknown-version",
            hint=_SAME_COMMAND,
        )
    targets = targets_of(cut, image)
    if len(targets) < (manner.disks if manner.noted else len(image.disks)):
        raise RefusedError(
            f"other disks were restored together with {_listed(cut)}, and it is not known which",
            code=SEVERAL,
            hint=_SAME_COMMAND,
        )
    # Of one that noted nothing it is only known that it was to fit.
    shrink = (manner.shrink or None) if manner.noted else growth.LAST
    size = manner.size or None if shrink and manner.disks == 1 else None
    plan = planner.plan_restore(
        path, image, targets, read_back=manner.read_back, shrink=shrink, shrink_to=size if manner.shrink else None
    )
    smaller.refuse_unless_fits(plan)
    return plan


def targets_of(cut: CutOff, image: Image) -> Mapping[str, Disk]:
    """The disks that bear the mark, by the names of the image's disks that go there, as far as that is known."""
    names = {disk.name for disk in image.disks}
    if len(cut.disks) == 1 and not cut.manner.noted and len(names) == 1:
        return {image.disks[0].name: cut.disks[0]}
    return {disk.manner.disk: disk for disk in cut.disks if disk.manner.disk in names}


def with_files(plan: RestorePlan, cut: CutOff, libraries: Sequence[Path]) -> RestorePlan:
    """The plan, with what the restore was to keep; raises as keeping.with_kept_files does, and "unknown-rule"."""
    return with_kept_files(plan, rules_of(cut.disks[0]), Path(plan.library), libraries) if cut.keeps else plan


def rules_of(disk: Disk) -> tuple[KeepRule, ...]:
    """By which rules files of a disk were to be kept; raises RefusedError where a newer program has others."""
    for word in disk.keeps:
        if word not in list(KeepRule):
            raise RefusedError(
                f"a restore of {disk.name} was to keep {word}, which this version of Rescue does not know",
                code="unknown-rule",
                hint="complete it with the newer version, or undo it",
            )
    return tuple(KeepRule(word) for word in disk.keeps)


def plan_undoing(cut: CutOff, libraries: Sequence[Path], *, accept_unsigned: bool = False) -> RestorePlan:
    """The restore of what was there before, onto the disks that bear the mark; raises as `plan_completion` does."""
    what = f"image {cut.saved} holds what was there before on {_listed(cut)}"
    if not cut.can_be_undone:
        raise RefusedError(
            f"what was there before on {_listed(cut)} was not saved: the restore can only be completed",
            code="no-such-image",
        )
    path, image = _found(cut.saved, libraries, cut.manner.safety or cut.manner.library, what)
    targets: dict[str, Disk] = {}
    for source in image.disks:
        same = [disk for disk in cut.disks if source.id.same_disk(disk.id)]
        # A file has no identity, and one disk alone was the one that was saved.
        same = same or list(cut.disks if len(cut.disks) == len(image.disks) == 1 else ())
        if same:
            targets[source.name] = same[0]
    if not targets:
        raise RefusedError(f"image {image.id} is of other disks than {_listed(cut)}", code="no-such-disk")
    if len(targets) < len(image.disks):
        # Some of them may be complete, and hold the new system: one half of a computer would be the old one.
        raise RefusedError(
            f"other disks were saved together with {_listed(cut)}: what was there comes back on all of them or none",
            code=SEVERAL,
            hint="`rescue undo` brings it back on all of them",
        )
    (name, disk), *others = targets.items()
    if disk.unfinished or others:
        plan = planner.plan_restore(path, image, targets)
    else:
        # Of partitions that were restored those were saved, and the table is there: no other is touched.
        source = next(source for source in image.disks if source.name == name)
        plan = plan_restore_partitions(path, image, name, disk, put_back(source, disk))
    return vouching.of_restore(with_boot_entry(plan), accept_unsigned=accept_unsigned)


def _place_of(image_id: str, libraries: Sequence[Path]) -> str:
    """The library that has an image; empty where none does that can be read."""
    for path in libraries if image_id else ():
        with suppress(RescueError):
            Library.open(path).image(image_id)
            return str(path)
    return ""


def _found(image_id: str, libraries: Sequence[Path], noted: str, what: str) -> tuple[Path, Image]:
    """An image and the library that has it; raises RefusedError, which says where it was, or why none can be read."""
    problems = []
    for path in dict.fromkeys(libraries):
        try:
            return path, Library.open(path).image(image_id)
        except BadImageError as error:
            if error.code not in ("no-such-image", "not-a-library"):
                problems.append(error.message)
        except RescueError as error:
            problems.append(error.message)
    where = f"; it was in library {noted}" if noted else ""
    why = f" ({'; '.join(problems)})" if problems else ""
    raise RefusedError(
        f"{what}, and is in none of the libraries here{why}{where}",
        code="no-such-image",
        hint="attach the disk, stick or share that holds this library, and open it where it is encrypted",
    )


def _way(word: str, cut: CutOff) -> Wipe:
    if word not in list(Wipe):
        raise RefusedError(
            f"{_listed(cut)} was to be erased in a way that this version of Rescue does not know: {word}",
            code="unknown-version",
            hint=_SAME_COMMAND,
        )
    return Wipe(word)


def _listed(cut: CutOff) -> str:
    return ", ".join(cut.names)
