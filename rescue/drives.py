"""Recovery drives as the screens speak of them: what goes on one, and which disks can become one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from imaging import mediaplan
from imaging.bootcheck import BootState, State
from imaging.disk import Disk, Role, format_size
from imaging.errors import RescueError
from imaging.mediasource import Weight
from imaging.medium import Medium
from imaging.recoveryplans import MediaGrowPlan, MediaPlan, MediaSystem
from imaging.unfinished import MEDIUM
from rescue.backend import Backend
from rescue.care import INDENT
from rescue.formats import clean
from rescue.language import _, ngettext
from rescue.telling import told

NO_IMAGES = Weight(images=(), content=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What goes on a recovery drive: the system, and images with what they take; `factory` is the id of one of them."""

    system: MediaSystem
    weight: Weight = NO_IMAGES
    factory: str = ""

    @property
    def needed(self) -> int:
        """The least bytes that a disk must have to be made a drive with all that."""
        return mediaplan.needed(self.system, self.weight.content)

    @property
    def libraries(self) -> Sequence[Path]:
        """Where its images are copied from."""
        return list(dict.fromkeys(Path(image.library) for image in self.weight.images))

    @property
    def words(self) -> str:
        """`the system, 199 MB; 2 images, 34.5 GB`."""
        words = _("the system, {size}").format(size=format_size(self.system.size))
        count = len(self.weight.images)
        if not count:
            return words
        images = ngettext("{count} image, {size}", "{count} images, {size}", count)
        return f"{words}; {images.format(count=count, size=format_size(self.weight.content))}"


class Way(StrEnum):
    """How a disk becomes a recovery drive: erased, or with another system while its images stay."""

    ANEW = "anew"
    UPDATE = "update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A disk, the recovery drive that it is already, and the ways to make it one with `load`: or why there is none."""

    disk: Disk
    medium: Medium | None
    ways: tuple[Way, ...]
    why_not: str = ""


def candidate(backend: Backend, disk: Disk, medium: Medium | None, load: Load) -> Candidate:
    """What can be done with a disk. One that holds a library is never erased: a recovery drive keeps it.

    One that is damaged, or was only partly made, can be updated, too, where its partition for images is there.
    """
    ways, why_not = [], backend.why_not_medium(disk, load.needed)
    try:
        backend.plan_update(load.system, without_library(disk, load), medium, load.weight, load.factory)
        ways.append(Way.UPDATE)
    except RescueError as error:
        if error.code != "not-a-medium" and Role.BOOT_MEDIUM not in disk.roles:
            why_not = why_not and error.message
    if not why_not:
        ways.append(Way.ANEW)
    return Candidate(disk=disk, medium=medium, ways=tuple(ways), why_not="" if ways else why_not)


def without_library(disk: Disk, load: Load) -> Disk:
    """The disk, without the mark that it holds a library where nothing is copied from that one."""
    source = any(library.is_relative_to(mount.where) for library in load.libraries for mount in disk.mounts)
    return disk if source else replace(disk, roles=tuple(role for role in disk.roles if role is not Role.LIBRARY))


def plan(backend: Backend, chosen: Candidate, way: Way, load: Load) -> MediaPlan:
    """What is to be done; raises RefusedError."""
    if way is Way.UPDATE:
        disk = without_library(chosen.disk, load)
        return backend.plan_update(load.system, disk, chosen.medium, load.weight, load.factory)
    return backend.plan_media(load.system, chosen.disk, load.weight, load.factory)


def medium_words(medium: Medium) -> str:
    """A recovery drive that is there: its version and when it was built."""
    words = _("a recovery drive: Rescue {version}, built on {day}")
    return words.format(version=clean(medium.about.version), day=clean(medium.about.built[:10]))


def candidate_words(one: Candidate) -> str:
    """The recovery drive that a disk is already, whole or not; empty where it is none."""
    if one.medium is not None:
        return medium_words(one.medium)
    if one.disk.unfinished == MEDIUM:
        return _("a recovery drive that was only partly made")
    return _("a recovery drive that is damaged") if Way.UPDATE in one.ways else ""


def gain_words(plan: MediaGrowPlan) -> str:
    """What the growth of the running medium's partition for images brings."""
    words = _("{size} of {disk} are not used yet")
    return words.format(size=format_size(plan.size - plan.old_size), disk=clean(plan.target.name))


def share(state: BootState) -> str:
    """How far the check of the running medium is: `45 %`; empty while that is not known."""
    return f"{100 * min(state.done, state.total) // state.total} %" if state.total else ""


def checking_words(state: BootState) -> str:
    """That the running medium is being checked, and how far that is."""
    return _("This recovery drive is being checked: {share}").format(share=share(state) or "..")


def why_not_yet(state: BootState) -> str:
    """Why nothing may be restored yet, or at all, by a medium in that state; empty where nothing hinders."""
    match state.state:
        case State.CHECKING:
            words = _("Wait a moment: this recovery drive is being checked first, {share}.")
            return words.format(share=share(state) or "..")
        case State.DAMAGED:
            return _("This recovery drive is damaged: it must not write to a disk.")
        case State.GOOD | State.UNKNOWN:
            return ""


def boot_lines(state: BootState) -> list[str]:
    """What the check at the start has found, and what to do, in full."""
    match state.state:
        case State.CHECKING:
            words = _("It is being checked: all of it is read, and compared with what it was when it was made.")
            return [words, share(state)]
        case State.DAMAGED:
            found = [INDENT + clean(told(words)) for words in state.problems]
            todo = _("make a new recovery drive: on another computer, or from another recovery drive")
            lines = [_("DAMAGED: this recovery drive cannot be trusted, and nothing is restored with it."), *found]
            return [*lines, _("What to do: {hint}").format(hint=todo)]
        case State.GOOD:
            lines = [_("GOOD: all of it was read, and is what it was when it was made.")]
        case State.UNKNOWN:
            lines = [_("It was not checked when the computer was started. Press c to check it now.")]
    if state.old:
        todo = _("make a new one with a current version of Rescue; this one works until then")
        lines += [_("OLD: it was built over a year ago."), _("What to do: {hint}").format(hint=todo)]
    return lines


def menu_lines(state: BootState, *, slow: bool) -> list[str]:
    """What the main menu says of the running medium: nothing while it is whole and recent.

    That it is being checked is said only where that takes long: `slow`.
    """
    match state.state:
        case State.DAMAGED:
            return [
                _("DAMAGED: this recovery drive cannot be trusted, and restores nothing."),
                _("Make a new one on another computer; c says what is wrong."),
            ]
        case State.CHECKING if slow:
            return [checking_words(state)]
        case _ if state.old:
            return [_("OLD: this recovery drive was built over a year ago: make a new one.")]
        case _:
            return []
