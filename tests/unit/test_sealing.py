"""The seal of encrypted libraries: known answers, what is changed or moved, passphrases, the recovery key."""

import re
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from imaging import keyslots, libraryinfo, recoverykey
from imaging.chunk import chunk_id, compress
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.keyslots import LEAST, MOST, Cost, KeySlots, SlotKind
from imaging.libraryinfo import LibraryInfo
from imaging.sealing import OVERHEAD, Seal, derive

LIBRARY = "00112233445566778899aabbccddeeff"
MASTER = bytes(range(32))
SEAL = Seal(MASTER, LIBRARY)
DATA = b"what a disk holds, " * 40
FRAME = compress(DATA)
PLACE = "images/one/manifest.json"
KNOWN_KEY = "8c678e1cdda7d5e7f518cc9753655f7e4ce6a92c568e89702783bd930a99afcd"
KNOWN_NAME = "35f69337128b59de939f9b04623646c774d5275dc0434c1355b64cfb3a21b0ee"
KNOWN_FILE = "525345414c4544018fea62d64d96a6466928af05b3ccae109e5ea4049f2e919e31a8f9242d6fec6483167eb3082f"
KNOWN_CHUNK = "ae579789c8319f5eff7169678c069900ca3a650a13fe0f8034a1ba39492852a56fc8e3"
KNOWN_RECOVERY = "000GD-40R4X-0M300-E209K-185G3-R38ED-1W811-24GKZ"
KNOWN_SLOTS = b"""{
 "version": 1,
 "slots": [
  {
   "id": "3f5e8169",
   "kind": "passphrase",
   "created": "2026-01-02T03:04:05Z",
   "cost": {
    "memory": 8192,
    "passes": 1,
    "lanes": 1
   },
   "salt": "28d15ca3100849275ad042445f6545fb",
   "key": "f84480f41b7dac133ad57d6fbf226825eba148785915b730d92cfcca5138b6046f76867dddcd81326002ba5f883331666b4608f4f8ffdee71ced2790"
  },
  {
   "id": "8a27d073",
   "kind": "recovery key",
   "created": "2026-01-02T03:04:05Z",
   "cost": {
    "memory": 8192,
    "passes": 1,
    "lanes": 1
   },
   "salt": "73526435bde434413d45cf83dbb74808",
   "key": "ab232b4b990311773b19a8ff26bbc9a4a7c267208c2538b430ce9d5091caeec704cb260ffa50054610dcb85de1060cac10bd0ffb7393023a3c545321"
  }
 ],
 "proof": "aef3d348011b0703e790b541bb1d09b54cd638bf84a5283ff2fb5790ee2d2f53"
}"""  # noqa: E501


def test_the_primitives_give_the_answers_of_their_specifications() -> None:
    # RFC 9106, 5.3, and test case 16 of the GCM specification (McGrew and Viega).
    argon = Argon2id(
        salt=b"\2" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\4" * 12, secret=b"\3" * 8
    ).derive(b"\1" * 32)
    assert argon.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    about = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = AESGCM(key).encrypt(bytes.fromhex("cafebabefacedbaddecaf888"), plain, about)
    assert sealed[-16:].hex() == "76fc6ece0f4e1768cddf8853bb2d551b"


def test_what_lies_in_todays_libraries_can_be_opened_for_ever() -> None:
    chunk = chunk_id(DATA)
    assert derive(MASTER, LIBRARY.encode(), "chunks").hex() == KNOWN_KEY
    assert SEAL.name(chunk).hex() == KNOWN_NAME
    assert SEAL.open_file(PLACE, bytes.fromhex(KNOWN_FILE)) == b"a manifest"
    assert SEAL.open_chunk(SEAL.name(chunk), bytes.fromhex(KNOWN_CHUNK)) == b"a frame"
    found = msgspec.json.decode(KNOWN_SLOTS, type=KeySlots)
    assert keyslots.opened_by(found, LIBRARY, "correct horse", "x")[0] == MASTER
    assert keyslots.opened_by(found, LIBRARY, KNOWN_RECOVERY, "x")[0] == MASTER


def test_a_file_with_any_byte_changed_or_cut_off_anywhere_is_refused() -> None:
    sealed = SEAL.seal_file(PLACE, b"a manifest")
    assert SEAL.open_file(PLACE, sealed) == b"a manifest"
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        for bad in (bytes(changed), sealed[:at]):
            with pytest.raises(BadImageError):
                SEAL.open_file(PLACE, bad)
    with pytest.raises(BadImageError):
        SEAL.open_file(PLACE, sealed + b"x")


def test_a_chunk_with_any_byte_changed_or_cut_off_anywhere_is_not_whole() -> None:
    name = SEAL.name(chunk_id(DATA))
    sealed = SEAL.seal_chunk(name, FRAME)
    assert len(sealed) == len(FRAME) + OVERHEAD
    assert SEAL.is_whole(sealed, name)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        assert not SEAL.is_whole(changed, name)
        assert not SEAL.is_whole(sealed[:at], name)
        with pytest.raises(BadImageError):
            SEAL.open_chunk(name, sealed[:at])


def test_what_was_sealed_for_one_place_opens_at_no_other() -> None:
    name = SEAL.name(chunk_id(DATA))
    sealed, other = SEAL.seal_chunk(name, FRAME), SEAL.name(chunk_id(b"other"))
    elsewhere = Seal(MASTER, LIBRARY[::-1])
    for seal, at in ((SEAL, other), (elsewhere, name), (Seal(bytes(32), LIBRARY), name)):
        with pytest.raises(BadImageError):
            seal.open_chunk(at, sealed)
    file = SEAL.seal_file(PLACE, FRAME)
    for seal, place in ((SEAL, "images/two/manifest.json"), (SEAL, "images/one/notes.json"), (elsewhere, PLACE)):
        with pytest.raises(BadImageError):
            seal.open_file(place, file)
    with pytest.raises(BadImageError):
        SEAL.open_chunk(name, file)


def test_a_frame_under_the_name_of_other_data_is_not_whole() -> None:
    other = SEAL.name(chunk_id(b"other"))
    assert not SEAL.is_whole(SEAL.seal_chunk(other, FRAME), other)


def test_the_same_is_sealed_otherwise_each_time() -> None:
    name = SEAL.name(chunk_id(DATA))
    assert len({SEAL.seal_chunk(name, FRAME)[:12] for _ in range(100)}) == 100
    assert SEAL.seal_file(PLACE, DATA) != SEAL.seal_file(PLACE, DATA)


def _slots(*secrets: tuple[str, SlotKind]) -> KeySlots:
    made = [keyslots.new_slot(LIBRARY, MASTER, words, kind, "2026-01-02T03:04:05Z", LEAST) for words, kind in secrets]
    return keyslots.make(LIBRARY, MASTER, made)


RECOVERY = recoverykey.spell(bytes(range(20)))
SLOTS = _slots(
    ("correct horse", SlotKind.PASSPHRASE), ("b\u00e4rentatze", SlotKind.PASSPHRASE), (RECOVERY, SlotKind.RECOVERY)
)


@pytest.mark.parametrize(
    "words", ["correct horse", "b\u00e4rentatze", "ba\u0308rentatze", RECOVERY, RECOVERY.lower().replace("-", " ")]
)
def test_each_secret_opens_the_slots(words: str) -> None:
    assert keyslots.opened_by(SLOTS, LIBRARY, words, "x")[0] == MASTER


@pytest.mark.parametrize("words", ["correct horse ", "Correct horse", "", recoverykey.spell(bytes(20))])
def test_no_other_secret_does(words: str) -> None:
    with pytest.raises(RefusedError) as caught:
        keyslots.opened_by(SLOTS, LIBRARY, words, "x")
    assert caught.value.code == "wrong-passphrase"


def test_a_mistyped_recovery_key_is_told_by_its_group() -> None:
    mistyped = RECOVERY[:13] + ("Z" if RECOVERY[13] != "Z" else "Y") + RECOVERY[14:]
    with pytest.raises(RefusedError) as caught:
        keyslots.opened_by(SLOTS, LIBRARY, mistyped, "x")
    assert "group 3 of 8" in (caught.value.hint or "")


def _with_slot(**change: object) -> KeySlots:
    return replace(SLOTS, slots=(replace(SLOTS.slots[0], **change), *SLOTS.slots[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "found",
    [
        replace(SLOTS, slots=SLOTS.slots[:1]),
        replace(SLOTS, slots=SLOTS.slots[::-1]),
        replace(SLOTS, proof=""),
        replace(SLOTS, proof="ä" * 64),
        replace(SLOTS, slots=(*SLOTS.slots, _slots(("correct horse", SlotKind.PASSPHRASE)).slots[0])),
    ],
)
def test_slots_that_somebody_without_a_key_changed_are_refused(found: KeySlots) -> None:
    with pytest.raises(BadImageError, match="changed by somebody"):
        keyslots.opened_by(found, LIBRARY, "correct horse" if found.slots != SLOTS.slots[::-1] else RECOVERY, "x")


@pytest.mark.parametrize(
    "found",
    [
        _with_slot(cost=replace(MOST, memory=MOST.memory + 1)),
        _with_slot(cost=replace(MOST, passes=1 << 40)),
        _with_slot(cost=replace(MOST, lanes=MOST.lanes + 1)),
        _with_slot(cost=Cost(memory=0, passes=0, lanes=0)),
        _with_slot(salt=""),
        _with_slot(key="zz"),
        _with_slot(key="00" * 1000),
        replace(SLOTS, slots=()),
        replace(SLOTS, slots=SLOTS.slots * 6),
        replace(SLOTS, version=2),
    ],
)
def test_slots_that_ask_for_too_much_are_refused_before_anything_is_tried(found: KeySlots) -> None:
    info = LibraryInfo(
        format=1, id=LIBRARY, digest="sha512-256", chunk_size=4 << 20, features=("encryption",), encryption=found
    )
    with pytest.raises(BadImageError):
        libraryinfo.decode(libraryinfo.encode(info), "x", "x")
    with pytest.raises(BadImageError):
        keyslots.opened_by(found, LIBRARY, "correct horse", "x")


@pytest.mark.parametrize("change", [{"features": ()}, {"encryption": None}])
def test_half_of_what_an_encrypted_library_needs_is_damage(change: dict[str, object]) -> None:
    whole = LibraryInfo(
        format=1, id=LIBRARY, digest="sha512-256", chunk_size=4 << 20, features=("encryption",), encryption=SLOTS
    )
    assert libraryinfo.decode(libraryinfo.encode(whole), "x", "x") == whole
    with pytest.raises(BadImageError):
        libraryinfo.decode(libraryinfo.encode(replace(whole, **change)), "x", "x")  # type: ignore[arg-type]


def test_a_slot_is_bound_to_all_that_it_says_and_to_its_library() -> None:
    slot = SLOTS.slots[0]
    for bad in (
        replace(slot, created="2027"),
        replace(slot, id="other"),
        replace(slot, cost=replace(LEAST, passes=2)),
    ):
        with pytest.raises(RefusedError):
            keyslots.opened_by(keyslots.make(LIBRARY, MASTER, [bad]), LIBRARY, "correct horse", "x")
    with pytest.raises(RefusedError):
        keyslots.opened_by(SLOTS, LIBRARY[::-1], "correct horse", "x")


@pytest.mark.parametrize("words", ["short", "x" * 1025, "with\na line", "with\0zero", ""])
def test_what_can_be_no_passphrase_is_refused(words: str) -> None:
    with pytest.raises(UsageError):
        keyslots.refuse_unless_good(words)


def test_a_recovery_key_is_eight_groups_that_can_be_read_back() -> None:
    keys = [bytes(20), b"\xff" * 20, *(recoverykey.make() for _ in range(20))]
    for key in keys:
        spelled = recoverykey.spell(key)
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){7}", spelled)
        typed = (spelled, spelled.lower(), spelled.replace("-", ""), f" {spelled.replace('-', ' ')}\n")
        assert {recoverykey.read(words) for words in typed} == {key}
        assert recoverykey.read(spelled.replace("0", "o").replace("1", "l")) == key
    assert len(set(keys)) == len(keys)


def test_any_wrong_symbol_and_any_two_that_changed_places_are_found() -> None:
    spelled = recoverykey.spell(bytes(range(100, 120)))
    symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    wrong = {spelled[:i] + s + spelled[i + 1 :] for i, c in enumerate(spelled) if c != "-" for s in symbols if s != c}
    pairs = [(a, b) for a, b in pairwise(range(len(spelled))) if "-" not in spelled[a : b + 1]]
    wrong |= {spelled[:a] + spelled[b] + spelled[a] + spelled[b + 1 :] for a, b in pairs} - {spelled}
    groups = spelled.split("-")
    wrong |= {"-".join([*groups[:i], groups[i + 1], groups[i], *groups[i + 2 :]]) for i in range(7)}
    assert len(wrong) > 40 * 31
    for words in wrong:
        with pytest.raises(UsageError, match="mistyped in group"):
            recoverykey.read(words)


@pytest.mark.parametrize("words", ["", "correct horse", "AAAAA-" * 7, "U" * 40, RECOVERY + "A"])
def test_what_has_not_the_form_of_a_recovery_key_is_none(words: str) -> None:
    assert not recoverykey.is_spelled(words)
    with pytest.raises(UsageError):
        recoverykey.read(words)
