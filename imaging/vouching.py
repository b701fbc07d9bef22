"""Images and who vouches for them: what their signatures say here, and the manifest that a restore is to believe.

What is proved are bytes that were read once: the image is made of those very bytes, and its index, used map and digest
table are compared with the digests in them. So nobody can exchange anything between the proof and the use.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from imaging import remote, signatures, trust
from imaging.access import make_writable
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.library import Library
from imaging.manifest import Image
from imaging.restoreplans import RestorePlan
from imaging.settling import settle
from imaging.signatures import MOST_BYTES, NAME, UNSIGNED, Standing, State
from imaging.signingkeys import PrivateKey, PublicKey

HINT = "take one that is signed by a trusted key (`rescue key list`), or accept this one: --accept-unsigned"


def of_images(library: Library, images: Sequence[str]) -> Mapping[str, Standing]:
    """What the signatures of images say, by id; those that have none are left out. Raises as trust.trusted does."""
    trusted = trust.trusted()
    found = {image: _judged(library, image, None, trusted, anew=False) for image in images}
    return {image: standing for image, standing in found.items() if standing is not UNSIGNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """An image, the bytes of its manifest, and what its signatures say of these very bytes."""

    image: Image
    manifest: bytes
    standing: Standing
    why_not: str = ""
    """Why it is not to be restored unless a person wants it all the same, in words; empty where it may be."""


def look(library: Library, image_id: str, trusted: Sequence[PublicKey] | None = None) -> Vouched:
    """What is to be known of an image before it is used; `trusted` are the keys that count, else those of this system.

    A list of keys that cannot be used is no empty one: then nobody vouches for anything. Raises as Library.image does.
    """
    data = library.manifest(image_id)
    image = library.image_of(image_id, data)
    try:
        keys = trust.trusted() if trusted is None else trusted
    except RescueError as error:
        standing = _judged(library, image_id, data, (), anew=True)
        why = f"which keys are trusted here is not known: {error.message}"
        return Vouched(image=image, manifest=data, standing=standing, why_not=why)
    standing = _judged(library, image_id, data, keys, anew=True)
    why = signatures.why_not_used(standing, strict=bool(keys))
    return Vouched(image=image, manifest=data, standing=standing, why_not=why)


def image_to_use(library: Library, image_id: str, *, accept_unsigned: bool = False) -> Vouched:
    """An image that may be restored; its index, used map and digest table are to be compared with this manifest.

    Raises RefusedError (code "not-trusted") where nobody vouches for it who is trusted here, or where its signature
    does not match, unless a person accepts that; as Library.image otherwise.
    """
    found = look(library, image_id)
    if found.why_not and not accept_unsigned:
        raise not_trusted(image_id, found.why_not)
    return found


def of_restore(plan: RestorePlan, *, accept_unsigned: bool = False) -> RestorePlan:
    """The plan, with what the signatures of its image say; raises as Library.image does."""
    found = look(Library.open(Path(plan.library)), plan.image)
    return replace(plan, standing=found.standing, doubt=found.why_not, accept_unsigned=accept_unsigned)


def refuse_doubtful(plan: RestorePlan) -> RestorePlan:
    """The plan; raises RefusedError (code "not-trusted") where its image is not to be used, and nobody accepts that."""
    if plan.doubt and not plan.accept_unsigned:
        raise not_trusted(plan.image, plan.doubt)
    return plan


def not_trusted(image_id: str, why: str) -> RefusedError:
    """The refusal of an image, for the reason that `look` gives."""
    return RefusedError(f"image {image_id} is not used: {why}", code="not-trusted", hint=HINT)


def judged_by(library: Library, image_id: str, manifest: bytes, trusted: Sequence[PublicKey]) -> str:
    """Why an image is not to be used where these keys are trusted, in words; empty where it may be."""
    standing = _judged(library, image_id, manifest, trusted, anew=False)
    return signatures.why_not_used(standing, strict=bool(trusted))


def sign(library: Path, image_id: str, key: PrivateKey, *, anew: bool = False) -> Standing:
    """Sign an image, beside others who have; with `anew`, in place of all of them.

    The files that its manifest names are looked at, its chunks are not: a verification does that. Raises BadImageError
    where they, or the signatures that are there, cannot be used; RefusedError, IoError.
    """
    make_writable(library)
    opened = Library.open(library)
    data = opened.manifest(image_id)
    image = opened.image_of(image_id, data)
    for disk in image.disks:
        opened.files(image, disk)
    before = None if anew else _read(opened, image_id, anew=True)
    write(opened, image_id, signatures.signed(before, image_id, data, key))
    return look(opened, image_id).standing


def write(library: Library, image_id: str, data: bytes) -> None:
    """Put a file with signatures beside a manifest, in place of an earlier one. Raises RefusedError, IoError."""
    remote.refuse_unless_writable(library.mirror)
    library.write(_path(library, image_id), data)
    if library.mirror is None:
        settle(library.root)


def copy(source: Library, target: Library, image_id: str) -> None:
    """Copy an image's signatures to another library, beside those that are there; where both have one, the right one.

    Raises BadImageError where they cannot be read, RefusedError, IoError.
    """
    theirs = _read(source, image_id, anew=False)
    if theirs is None:
        return
    mine = _read(target, image_id, anew=True)
    data = theirs if mine is None else signatures.merged(mine, theirs, image_id, source.manifest(image_id))
    signatures.decode(data, image_id)
    if data != mine:
        write(target, image_id, data)


def _judged(
    library: Library, image_id: str, manifest: bytes | None, trusted: Sequence[PublicKey], *, anew: bool
) -> Standing:
    try:
        data = _read(library, image_id, anew=anew)
    except (BadImageError, IoError) as error:
        return Standing(state=State.UNUSABLE, problem=error.message)
    if data is None:
        return UNSIGNED
    return signatures.judge(data, image_id, library.manifest(image_id) if manifest is None else manifest, trusted)


def _read(library: Library, image_id: str, *, anew: bool) -> bytes | None:
    """The file with an image's signatures, whatever it holds; None where there is none.

    With `anew` that of a remote library is fetched again. Raises BadImageError where it is far too long, IoError.
    """
    path = _path(library, image_id)
    if library.mirror is not None and anew:
        library.mirror.pull(f"images/{image_id}/{NAME}", 2 * MOST_BYTES)
    return library.read(path, MOST_BYTES) if os.path.lexists(path) else None


def _path(library: Library, image_id: str) -> Path:
    return library.root.joinpath("images", image_id, NAME)
