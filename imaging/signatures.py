"""Signatures of an image: `manifest.sig` beside its manifest, which may be there or not.

The manifest holds the digests of index, used map and digest table, and these those of all chunks: who signs the
manifest vouches for every byte that a restore writes. Labels, notes and pins are kept apart and are not signed. Signed
is the line `rescue image 1`, a line with the image's id, and the manifest's bytes: so a signature is good for this one
purpose, this one image and these very bytes. Who may sign here is another question: imaging.trust.
"""

import base64
import binascii
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from imaging.decodable import decodable
from imaging.errors import BadImageError, RefusedError
from imaging.signingkeys import KEY_SIZE, SIGNATURE_SIZE, PrivateKey, PublicKey

FORMAT = 1
NAME = "manifest.sig"
"""The file's, beside the manifest."""
MOST_BYTES = 32 << 10
MOST_SIGNERS = 16
_ALGORITHM = "ed25519"
_PURPOSE = "rescue image 1"
"""What is signed, and the first line of it."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature as it stands in the file: `public` and `signature` in base64, `key` for people to compare."""

    algorithm: Annotated[str, Meta(max_length=40)]
    key: Annotated[str, Meta(max_length=100)] = ""
    public: Annotated[str, Meta(max_length=200)] = ""
    signature: Annotated[str, Meta(max_length=200)] = ""


@decodable
class _Document(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    signed: str
    image: Annotated[str, Meta(max_length=100)]
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=MOST_SIGNERS)]


class State(StrEnum):
    """What an image's signatures say."""

    UNSIGNED = "unsigned"
    TRUSTED = "trusted"
    """By a key that is trusted here."""
    UNKNOWN = "untrusted"
    UNUSABLE = "unreadable"
    WRONG = "wrong"
    """Somebody has changed the manifest, or has put another image's signature here."""


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose signature is right; `name` is what it is called where it is trusted, empty elsewhere."""

    key: str
    name: str = ""
    trusted: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an image's signatures; `problem` is what is wrong with one of them, in words."""

    state: State = State.UNSIGNED
    signers: tuple[Signer, ...] = ()
    problem: str = ""


UNSIGNED = Standing()


def message(image_id: str, manifest: bytes) -> bytes:
    """The bytes that are signed."""
    return f"{_PURPOSE}\n{image_id}\n".encode() + manifest


def signed(before: bytes | None, image_id: str, manifest: bytes, key: PrivateKey) -> bytes:
    """The file with that of `key`, too, in place of an earlier one. Raises BadImageError, RefusedError."""
    found = decode(before, image_id) if before is not None else ()
    public = key.public
    mine = Signature(
        algorithm=_ALGORITHM,
        key=public.id,
        public=base64.b64encode(public.raw).decode(),
        signature=base64.b64encode(key.sign(message(image_id, manifest))).decode(),
    )
    return encode(image_id, [*(one for one in found if one.public != mine.public), mine])


def merged(mine: bytes | None, theirs: bytes, image_id: str, manifest: bytes) -> bytes:
    """The signatures of both files; of a key in both, the one that is right for this manifest, else that of the first.

    Of too many only those stay that are right. Raises BadImageError, RefusedError (code "full").
    """
    signed_bytes = message(image_id, manifest)
    found: dict[str, Signature] = {}
    right: dict[str, Signature] = {}
    for one in [*(decode(mine, image_id) if mine is not None else ()), *decode(theirs, image_id)]:
        if one.public not in right and _proves(one, signed_bytes):
            found[one.public] = right[one.public] = one
        found.setdefault(one.public, one)
    chosen = right if right and len(found) > MOST_SIGNERS else found
    return encode(image_id, list(chosen.values()))


def _proves(one: Signature, signed_bytes: bytes) -> bool:
    raw, signature = _bytes(one.public, KEY_SIZE), _bytes(one.signature, SIGNATURE_SIZE)
    if one.algorithm != _ALGORITHM or raw is None or signature is None:
        return False
    return PublicKey(raw=raw).proves(signature, signed_bytes)


def encode(image_id: str, found: Sequence[Signature]) -> bytes:
    """Render as JSON; raises RefusedError where there are too many."""
    if len(found) > MOST_SIGNERS:
        raise RefusedError(f"image {image_id} has {MOST_SIGNERS} signatures already, and can have no more", code="full")
    document = _Document(format=FORMAT, signed=_PURPOSE, image=image_id, signatures=tuple(found))
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, image_id: str) -> tuple[Signature, ...]:
    """The signatures in the file of an image, right or not.

    Raises BadImageError: "bad-signature-file" where it is damaged, too long or of a newer program, "bad-signature"
    where it is of another image.
    """

    def bad(what: str, code: str = "bad-signature-file") -> BadImageError:
        return BadImageError(what, code=code, hint=f"`rescue sign --replace` writes {NAME} anew")

    if len(data) > MOST_BYTES:
        raise bad(f"{NAME} has more than the {MOST_BYTES} bytes that it can need")
    try:
        document: Any = msgspec.json.decode(data)
        version = document.get("format") if isinstance(document, dict) else None
        if version != FORMAT:
            raise bad(f"{NAME} is of format version {str(version)[:20]}, which is not known to this program")
        found = msgspec.convert(document, _Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad(f"{NAME} is cut short or damaged, or names more than {MOST_SIGNERS} signers") from error
    if found.signed != _PURPOSE:
        raise bad(f"{NAME} signs something else than an image")
    if found.image != image_id:
        raise bad(f"{NAME} is that of another image", "bad-signature")
    if len({one.public for one in found.signatures}) != len(found.signatures):
        raise bad(f"{NAME} names one key twice")
    return found.signatures


def judge(data: bytes | None, image_id: str, manifest: bytes, trusted: Sequence[PublicKey]) -> Standing:
    """What the file with the signatures (None: there is none) says of a manifest's bytes, to whom these keys count."""
    if data is None:
        return UNSIGNED
    try:
        found = decode(data, image_id)
    except BadImageError as error:
        state = State.WRONG if error.code == "bad-signature" else State.UNUSABLE
        return Standing(state=state, problem=error.message)
    names = {key.raw: key for key in trusted}
    signers: list[Signer] = []
    wrong: list[str] = []
    odd: list[str] = []
    signed_bytes = message(image_id, manifest)
    for one in found:
        raw, signature = _bytes(one.public, KEY_SIZE), _bytes(one.signature, SIGNATURE_SIZE)
        if one.algorithm != _ALGORITHM:
            odd.append(f"it is signed by {one.algorithm!a}, which is not known to this program")
        elif raw is None or signature is None:
            odd.append("a signature in it is cut short or damaged")
        elif (key := names.get(raw, PublicKey(raw=raw))).proves(signature, signed_bytes):
            signers.append(Signer(key=key.id, name=key.name, trusted=raw in names))
        else:
            wrong.append(f"the signature by {key.id} does not match")
    return _standing(signers, wrong, odd)


def _standing(signers: Sequence[Signer], wrong: Sequence[str], odd: Sequence[str]) -> Standing:
    """A good signature of a trusted key is enough: whoever can write there could have added a bad one to it."""
    ours = tuple(signer for signer in signers if signer.trusted)
    problem = next(iter([*wrong, *odd]), "")
    if ours:
        return Standing(state=State.TRUSTED, signers=ours, problem=problem)
    if wrong:
        return Standing(state=State.WRONG, problem=problem)
    if signers:
        return Standing(state=State.UNKNOWN, signers=tuple(signers), problem=problem)
    return Standing(state=State.UNUSABLE, problem=problem) if odd else UNSIGNED


def _bytes(words: str, size: int) -> bytes | None:
    try:
        found = base64.b64decode(words, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == size else None


def why_not_used(standing: Standing, *, strict: bool) -> str:
    """Why an image is not to be restored, in words; empty where it may be. `strict`: keys are trusted here."""
    match standing.state:
        case State.WRONG:
            return f"its signature does not match, do not trust it: {standing.problem}"
        case State.TRUSTED:
            return ""
        case _ if not strict:
            return ""
        case State.UNSIGNED:
            return "it is not signed, and only images that are signed by a trusted key are used here"
        case State.UNKNOWN:
            keys = ", ".join(signer.key for signer in standing.signers)
            return f"it is signed by {keys}, which is not trusted here"
        case State.UNUSABLE:
            return f"its signatures cannot be read: {standing.problem}"
