"""Encrypted libraries: one is made, and who can open it changes, without touching what lies in it."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from imaging import keyring, keyslots, libraryinfo, recoverykey, remote
from imaging.access import make_writable
from imaging.durable import write_file
from imaging.errors import RefusedError, UsageError
from imaging.keyslots import USUAL, Cost, KeySlots, Slot, SlotKind
from imaging.library import Library
from imaging.libraryinfo import ENCRYPTION, LibraryInfo
from imaging.notebook import held
from imaging.sealing import KEY_SIZE
from imaging.settling import settle


def create(path: Path, passphrase: str, cost: Cost = USUAL) -> tuple[Library, str]:
    """Make an encrypted library; returns it and its recovery key, which is nowhere else.

    Raises UsageError where the passphrase is none, and as Library.create.
    """
    keyslots.refuse_unless_good(passphrase)
    master, recovery = secrets.token_bytes(KEY_SIZE), recoverykey.spell(recoverykey.make())

    def slots(library_id: str) -> KeySlots:
        keyring.learn(library_id, master)
        each = ((passphrase, SlotKind.PASSPHRASE), (recovery, SlotKind.RECOVERY))
        made = [keyslots.new_slot(library_id, master, words, kind, _now(), cost) for words, kind in each]
        return keyslots.make(library_id, master, made)

    return Library.create(path, [ENCRYPTION], slots), recovery


def init(path: Path, passphrase: str) -> tuple[Library, str]:
    """As `create`, on a medium that may have to be made writable first."""
    make_writable(path)
    return create(path, passphrase)


def add(path: Path, known: str, new: str) -> Slot:
    """Let another passphrase open a library, given one that does, or its recovery key; the new slot.

    Raises UsageError where it cannot be one, RefusedError where `known` does not open the library, BadImageError,
    IoError.
    """
    keyslots.refuse_unless_good(new)
    return _changed(path, known, new, SlotKind.PASSPHRASE, lambda _: "")


def change(path: Path, old: str, new: str) -> Slot:
    """Put a passphrase in another's place; raises as `add`."""
    keyslots.refuse_unless_good(new)

    def replaced(opened: Slot) -> str:
        if opened.kind is not SlotKind.PASSPHRASE:
            raise RefusedError(
                "this is the recovery key, which cannot be changed into a passphrase",
                code="wrong-passphrase",
                hint="add a passphrase, then remove the one that was forgotten",
            )
        return opened.id

    return _changed(path, old, new, SlotKind.PASSPHRASE, replaced)


def new_recovery_key(path: Path, known: str) -> str:
    """Another recovery key in place of the one that there was, which opens the library no more; raises as `add`."""
    spelled = recoverykey.spell(recoverykey.make())
    _changed(path, known, spelled, SlotKind.RECOVERY, lambda _: SlotKind.RECOVERY)
    return spelled


def remove(path: Path, known: str, slot_id: str = "") -> Slot:
    """Let a passphrase open a library no more: that of a slot, or else `known` itself; the slot that went.

    The last passphrase stays. Raises RefusedError, UsageError where there is no such slot, BadImageError, IoError.
    """
    gone: list[Slot] = []

    def without(found: KeySlots, _: str, opened: Slot) -> Sequence[Slot]:
        wanted = slot_id or opened.id
        gone.extend(slot for slot in found.slots if slot.id == wanted)
        if not gone or gone[0].kind is not SlotKind.PASSPHRASE:
            ids = ", ".join(slot.id for slot in found.slots if slot.kind is SlotKind.PASSPHRASE)
            raise UsageError(f"{wanted} is no passphrase of this library, which has {ids}", code="no-such-slot")
        left = [slot for slot in found.slots if slot.id != wanted]
        if not any(slot.kind is SlotKind.PASSPHRASE for slot in left):
            raise RefusedError(
                "the last passphrase is not removed", code="last-passphrase", hint="add another first, or change it"
            )
        return left

    _rewrite(path, known, without)
    return gone[0]


def _changed(path: Path, known: str, new: str, kind: SlotKind, replaces: Callable[[Slot], str]) -> Slot:
    """Add a slot; `replaces` says which goes for it, by its id or its kind, from the one that `known` opens."""
    made: list[Slot] = []

    def with_new(found: KeySlots, library_id: str, opened: Slot) -> Sequence[Slot]:
        gone = replaces(opened)
        left = [slot for slot in found.slots if gone not in (slot.id, slot.kind)]
        if len(left) >= keyslots.MOST_SLOTS:
            raise RefusedError(f"a library has at most {keyslots.MOST_SLOTS} passphrases", code="too-many-passphrases")
        made.append(keyslots.new_slot(library_id, keyring.key_of(library_id), new, kind, _now(), opened.cost))
        return [*left, made[0]]

    _rewrite(path, known, with_new)
    return made[0]


def _rewrite(path: Path, known: str, how: Callable[[KeySlots, str, Slot], Sequence[Slot]]) -> None:
    """Write library.json anew with other slots, whole or not at all; one at a time does."""
    mirror = remote.mirror_of(path)
    remote.refuse_unless_writable(mirror)
    make_writable(path)
    with held(path):
        info: LibraryInfo = Library.look(path, mirror)
        opened = keyring.unlock(info, known, str(path))
        assert info.encryption is not None  # else it could not be unlocked
        slots = keyslots.make(info.id, keyring.key_of(info.id), how(info.encryption, info.id, opened))
        write_file(path / "library.json", libraryinfo.encode(replace(info, encryption=slots)))
        if mirror is None:
            settle(path)
        else:
            mirror.push(path / "library.json")


def refuse_to_unseal(source: Library, target: Library | None) -> None:
    """Raise RefusedError where what is encrypted would lie in a library, or on a recovery medium, that is not."""
    if source.seal is not None and (target is None or target.seal is None):
        raise RefusedError(
            f"{source.path} is encrypted, and {target.path if target else 'a recovery medium'} is not: whoever has "
            "that could read the image",
            code="would-unseal",
            hint="copy it into an encrypted library, or first into a plain one: rescue unseal LIBRARY TARGET",
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
