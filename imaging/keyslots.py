"""How the master key of an encrypted library is kept in its library.json: in slots, each sealed by one secret.

A slot's secret is a passphrase or the recovery key; Argon2id (RFC 9106) makes a key of it, which seals the master key
by AES-256-GCM. Whoever has no secret can read the slots, but make none: they are proved by a key that comes from the
master key. What Argon2id is asked to take is bounded, for the file can come from anyone.
"""

import hmac
import os
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from imaging import recoverykey
from imaging.disk import Size
from imaging.errors import BadImageError, IoError, RefusedError, UsageError
from imaging.sealing import KEY_SIZE, derive

VERSION = 1
MOST_SLOTS = 16
SHORTEST, LONGEST = 8, 1024
"""Characters of a passphrase."""
_SALT, _NONCE, _TAG = 16, 12, 16


class SlotKind(StrEnum):
    """What opens a slot."""

    PASSPHRASE = "passphrase"
    RECOVERY = "recovery key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What Argon2id takes: memory in KiB, passes over it, lanes at once."""

    memory: Size = 64 << 10
    passes: Size = 3
    lanes: Size = 4


USUAL = Cost()
"""RFC 9106's second recommendation, for machines with little memory."""
LEAST, MOST = Cost(memory=8 << 10, passes=1, lanes=1), Cost(memory=256 << 10, passes=16, lanes=16)
"""What a slot may ask for, at least and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The master key, sealed by one secret; salt and key (nonce, ciphertext, tag) in hex."""

    id: str
    kind: SlotKind
    created: str
    """RFC 3339 in UTC."""
    cost: Cost
    salt: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySlots:
    """The part of library.json called `encryption`; `proof` is an HMAC-SHA-256 in hex."""

    version: Size
    slots: tuple[Slot, ...]
    proof: str = ""


def make(library_id: str, master: bytes, slots: Sequence[Slot]) -> KeySlots:
    """Slots with their proof."""
    unproved = KeySlots(version=VERSION, slots=tuple(slots))
    return replace(unproved, proof=_proof(unproved, library_id, master))


def new_slot(library_id: str, master: bytes, words: str, kind: SlotKind, created: str, cost: Cost = USUAL) -> Slot:
    """Seal the master key by a passphrase, or by a recovery key as it is spelled."""
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    blank = Slot(id=secrets.token_hex(4), kind=kind, created=created, cost=cost, salt=salt.hex(), key="")
    sealed = AESGCM(_stretched(blank, _secret(words, kind))).encrypt(nonce, master, _bound(blank, library_id))
    return replace(blank, key=(nonce + sealed).hex())


def refuse_unless_good(words: str) -> None:
    """Raise UsageError where this can be no passphrase."""
    if not SHORTEST <= len(words) <= LONGEST:
        raise UsageError(
            f"a passphrase has {SHORTEST} to {LONGEST} characters, this one has {len(words)}",
            code="bad-passphrase",
            hint="take a few words that do not belong together",
        )
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in words):
        raise UsageError("a passphrase has no control characters", code="bad-passphrase")


def opened_by(found: KeySlots, library_id: str, words: str, name: str) -> tuple[bytes, Slot]:
    """The master key, and the slot that was opened with what was typed; `name` is the library's, for the message.

    Raises RefusedError with code "wrong-passphrase", and BadImageError as `refuse_unless_proved`.
    """
    refuse_unless_bounded(found, name)
    for slot in _in_order(found.slots, words):
        try:
            sealed = bytes.fromhex(slot.key)
            key = AESGCM(_stretched(slot, _secret(words, slot.kind)))
            master = key.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(slot, library_id))
        except (InvalidTag, UsageError):
            continue
        refuse_unless_proved(found, library_id, master, name)
        return master, slot
    hint = "check capital letters and the keyboard's layout; the recovery key opens it, too"
    if recoverykey.is_spelled(words):
        try:
            recoverykey.read(words)
        except UsageError as error:
            hint = error.message
    raise RefusedError(f"this does not open {name}: the passphrase is wrong", code="wrong-passphrase", hint=hint)


def refuse_unless_bounded(found: KeySlots, name: str) -> None:
    """Raise BadImageError where the slots are none of this program's, or ask for more than it gives."""
    if found.version != VERSION:
        raise BadImageError(
            f"{name}: encryption version {found.version} is not known to this program (it reads {VERSION})",
            code="unknown-version",
            hint="use a newer version of Rescue",
        )
    if not 0 < len(found.slots) <= MOST_SLOTS:
        raise BadImageError(f"{name}: there are {len(found.slots)} key slots, not 1 to {MOST_SLOTS}", code="bad-key")
    for slot in found.slots:
        for what in ("memory", "passes", "lanes"):
            least, asked, most = (getattr(cost, what) for cost in (LEAST, slot.cost, MOST))
            if not least <= asked <= most:
                raise BadImageError(
                    f"{name}: key slot {slot.id} asks for {what} {asked}, not {least} to {most}", code="bad-key"
                )
        try:
            sizes = len(bytes.fromhex(slot.salt)), len(bytes.fromhex(slot.key))
        except ValueError:
            sizes = 0, 0
        if sizes != (_SALT, _NONCE + KEY_SIZE + _TAG):
            raise BadImageError(f"{name}: key slot {slot.id} is damaged", code="bad-key")


def refuse_unless_proved(found: KeySlots, library_id: str, master: bytes, name: str) -> None:
    """Raise BadImageError unless whoever wrote the slots had the master key."""
    if not hmac.compare_digest(found.proof.encode(), _proof(found, library_id, master).encode()):
        raise BadImageError(
            f"{name}: the key slots were damaged, or changed by somebody who has no key",
            code="bad-key",
            hint="put back a copy of library.json from before that",
        )


def _in_order(slots: Sequence[Slot], words: str) -> Sequence[Slot]:
    """The slots that may be opened, the likely ones first: each that is tried takes a moment."""
    is_key = recoverykey.is_spelled(words)
    likely = [slot for slot in slots if (slot.kind is SlotKind.RECOVERY) == is_key]
    return [*likely, *(slot for slot in slots if is_key and slot not in likely)]


def _secret(words: str, kind: SlotKind) -> bytes:
    match kind:
        case SlotKind.PASSPHRASE:
            return unicodedata.normalize("NFC", words).encode("utf-8", "surrogatepass")
        case SlotKind.RECOVERY:
            return recoverykey.read(words)


def _stretched(slot: Slot, secret: bytes) -> bytes:
    """The key that a secret gives. Raises IoError where there is no memory for it."""
    cost = slot.cost
    try:
        return Argon2id(
            salt=bytes.fromhex(slot.salt),
            length=KEY_SIZE,
            iterations=cost.passes,
            lanes=cost.lanes,
            memory_cost=max(cost.memory, 8 * cost.lanes),
        ).derive(secret)
    except (MemoryError, UnsupportedAlgorithm) as error:
        raise IoError(
            f"the passphrase cannot be tried: {error or 'there is not enough memory'}", code="no-memory"
        ) from (error)


def _bound(slot: Slot, library_id: str) -> bytes:
    """What a slot's key is bound to: all of the slot but the key."""
    about = {"library": library_id, "version": VERSION, "slot": replace(slot, key="")}
    return msgspec.json.encode(about, order="sorted")


def _proof(found: KeySlots, library_id: str, master: bytes) -> str:
    key = derive(master, library_id.encode(), "key slots")
    return hmac.digest(key, msgspec.json.encode(replace(found, proof=""), order="sorted"), "sha256").hex()
