"""Whom a recovery medium trusts, and whether the images that are copied to it are ones that may be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from imaging import medium, vouching
from imaging.chunk import digest
from imaging.errors import RefusedError
from imaging.library import Library
from imaging.mediakeys import keys_or_none
from imaging.recoveryplans import InstallPlan, MediaImage, MediaIsoPlan, MediaPlan
from imaging.signingkeys import PublicKey

_Plan = TypeVar("_Plan", MediaPlan, MediaIsoPlan, InstallPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image to copy, with the bytes of its manifest that were proved."""

    library: Library
    image: str
    manifest: bytes


def trusted_by(plan: MediaPlan | MediaIsoPlan, given: Sequence[PublicKey] | None = None) -> tuple[PublicKey, ...]:
    """The keys that a medium trusts once it is made: those given, else its own on an update, else its source's.

    Of a medium that was only partly made nobody knows its own any more. Raises BadImageError where a list is damaged,
    IoError, RefusedError.
    """
    if given is not None:
        return tuple(given)
    updated = isinstance(plan, MediaPlan) and plan.update
    kept = _keys(plan.target.path) if isinstance(plan, MediaPlan) and updated else None
    return (_keys(plan.system.path) or ()) if kept is None else kept


def _keys(path: str) -> tuple[PublicKey, ...] | None:
    with medium.volume_of(path) as volume:
        return keys_or_none(volume, path)


def of_plan(plan: _Plan, *, trusted: Sequence[PublicKey] = (), accept_unsigned: bool = False) -> _Plan:
    """The plan, with all that speaks against its images: ones that are not to be used here, or not from the medium.

    Raises as Library.image does.
    """
    doubts = []
    for one in plan.images:
        found = vouching.look(Library.open(Path(one.library)), one.image)
        why = found.why_not or why_not_from(one, found, trusted)
        if why:
            doubts.append(_doubt(one, why))
    changed = structs.replace(plan, doubt="\n".join(doubts), accept_unsigned=accept_unsigned)
    return changed if isinstance(changed, InstallPlan) else structs.replace(changed, trusted=tuple(trusted))


def _doubt(one: MediaImage, why: str) -> str:
    """A line of the plan's doubt: what was shown and accepted of one image says nothing of another."""
    line = f"image {one.image}: {why}"
    return line.replace("\n", " ")


def why_not_from(one: MediaImage, found: vouching.Vouched, trusted: Sequence[PublicKey]) -> str:
    """Why an image could not be restored from a medium that trusts these keys, in words; empty where it could."""
    if not trusted:
        return ""
    why = vouching.judged_by(Library.open(Path(one.library)), one.image, found.manifest, trusted)
    return f"it could not be restored from the medium, for {why}" if why else ""


def refuse_doubtful(plan: _Plan) -> _Plan:
    """The plan; raises RefusedError (code "not-trusted") where an image is not to be used and nobody accepts that."""
    if plan.doubt and not plan.accept_unsigned:
        doubt = plan.doubt.replace("\n", "; ")
        raise RefusedError(f"nothing was written: {doubt}", code="not-trusted", hint=vouching.HINT)
    return plan


def sources(plan: MediaPlan | MediaIsoPlan | InstallPlan) -> list[Source]:
    """The images of a plan, each with the manifest that it is copied by, which was proved.

    Raises RefusedError where one is not as it was shown, or is not to be used and nobody was shown that and accepted
    it; BadImageError, IoError.
    """
    trusted = () if isinstance(plan, InstallPlan) else plan.trusted
    accepted = plan.doubt.split("\n") if plan.accept_unsigned else ()
    found = []
    for one in plan.images:
        library = Library.open(Path(one.library))
        vouched = vouching.look(library, one.image)
        why = vouched.why_not or why_not_from(one, vouched, trusted)
        if why and _doubt(one, why) not in accepted:
            raise vouching.not_trusted(one.image, why)
        if vouched.image.created != one.created or one.manifest not in ("", digest(vouched.manifest).hex()):
            raise RefusedError(f"image {one.image} is not the one that was shown", code="image-changed")
        found.append(Source(library=library, image=one.image, manifest=vouched.manifest))
    return found
