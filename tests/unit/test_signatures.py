"""Signatures and keys: what is right, what is not, and what somebody hostile may have written."""

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imaging import keyfiles, media, mediakeys, signingkeys, trust
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.medium import SUMS
from imaging.signatures import (
    MOST_BYTES,
    MOST_SIGNERS,
    UNSIGNED,
    State,
    decode,
    judge,
    merged,
    message,
    signed,
    why_not_used,
)
from imaging.signingkeys import (
    LONGEST_NAME,
    MOST_KEYS,
    MOST_LIST,
    PrivateKey,
    PublicKey,
    name_of_owner,
    parse_list,
    parse_private,
    parse_public,
    render_list,
)
from livebuild import tree

ID, MANIFEST = "20261126-010203-aabbccdd", b'{"format": 1}\n'
KEY, OTHER = PrivateKey(seed=bytes(range(32))), PrivateKey(seed=bytes(32))
OURS = PublicKey(raw=KEY.public.raw, name="Anna")
RSA = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf
9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==
-----END PUBLIC KEY-----
"""
"""Of RFC 8017, from a public collection of examples."""


def changed(data: bytes, **fields: Any) -> bytes:
    """The file with signatures, with other fields."""
    return msgspec.json.encode({**msgspec.json.decode(data), **fields})


def with_first(data: bytes, **fields: Any) -> bytes:
    """The same with other fields in its first signature."""
    first, *others = msgspec.json.decode(data)["signatures"]
    return changed(data, signatures=[{**first, **fields}, *others])


def test_a_signature_of_a_trusted_key_counts_and_is_called_what_the_key_is_called_here() -> None:
    standing = judge(signed(None, ID, MANIFEST, KEY), ID, MANIFEST, [OURS])
    assert standing.state is State.TRUSTED
    assert [(one.name, one.key, one.trusted) for one in standing.signers] == [("Anna", OURS.id, True)]
    assert not why_not_used(standing, strict=True)


def test_the_same_signature_counts_for_nothing_where_its_key_is_not_trusted() -> None:
    standing = judge(signed(None, ID, MANIFEST, KEY), ID, MANIFEST, [OTHER.public])
    assert standing.state is State.UNKNOWN
    assert OURS.id in why_not_used(standing, strict=True)
    assert not why_not_used(standing, strict=False)


def test_one_bit_of_the_manifest_or_another_image_makes_it_wrong() -> None:
    file = signed(None, ID, MANIFEST, KEY)
    for image, manifest, data in (
        (ID, MANIFEST + b" ", file),
        ("another", MANIFEST, file),
        ("another", MANIFEST, changed(file, image="another")),
        (ID, MANIFEST, with_first(file, signature=base64.b64encode(bytes(64)).decode())),
    ):
        standing = judge(data, image, manifest, [OURS])
        assert standing.state is State.WRONG
        assert not standing.signers
        assert "do not trust" in why_not_used(standing, strict=False)


def test_what_is_signed_is_told_apart_from_what_is_signed_elsewhere_with_the_same_key() -> None:
    data = msgspec.json.decode(signed(None, ID, MANIFEST, KEY))
    bare = base64.b64encode(KEY.sign(MANIFEST)).decode()
    data["signatures"][0]["signature"] = bare
    assert judge(msgspec.json.encode(data), ID, MANIFEST, [OURS]).state is State.WRONG
    assert message(ID, MANIFEST) == b"rescue image 1\n" + ID.encode() + b"\n" + MANIFEST


def test_a_second_signer_stands_beside_the_first_and_signing_again_replaces_ones_own() -> None:
    both = signed(signed(None, ID, MANIFEST, KEY), ID, MANIFEST, OTHER)
    assert [one.key for one in decode(signed(both, ID, MANIFEST, KEY), ID)] == [OTHER.public.id, KEY.public.id]
    assert judge(both, ID, MANIFEST, [OTHER.public]).state is State.TRUSTED


def test_a_bad_signature_beside_a_good_one_of_a_trusted_key_is_named_and_takes_nothing_away() -> None:
    both = signed(signed(None, ID, b"another manifest", OTHER), ID, MANIFEST, KEY)
    standing = judge(both, ID, MANIFEST, [OURS])
    assert standing.state is State.TRUSTED
    assert OTHER.public.id in standing.problem
    assert judge(both, ID, MANIFEST, []).state is State.WRONG


def test_two_files_are_merged_by_their_keys() -> None:
    mine, theirs = signed(None, ID, MANIFEST, KEY), signed(None, ID, MANIFEST, OTHER)
    assert {one.key for one in decode(merged(mine, theirs, ID, MANIFEST), ID)} == {KEY.public.id, OTHER.public.id}
    assert decode(merged(mine, mine, ID, MANIFEST), ID) == decode(mine, ID)


def test_without_a_file_an_image_is_not_signed_and_used_where_no_key_is_trusted() -> None:
    assert judge(None, ID, MANIFEST, [OURS]) == UNSIGNED
    assert why_not_used(UNSIGNED, strict=True)
    assert not why_not_used(UNSIGNED, strict=False)


GOOD = signed(None, ID, MANIFEST, KEY)
HOSTILE = {
    "empty": b"",
    "no JSON": b"\xff\xfe",
    "deep": b"[" * 20_000,
    "a list": b"[]",
    "cut": GOOD[:-20],
    "long": b" " * (MOST_BYTES + 1),
    "of a newer program": changed(GOOD, format=2),
    "a very odd version": changed(GOOD, format="9" * 20_000),
    "of something else": changed(GOOD, signed="a cheque"),
    "many signers": changed(GOOD, signatures=[{"algorithm": "ed25519", "public": str(i)} for i in range(400)]),
    "one key twice": changed(GOOD, signatures=[msgspec.json.decode(GOOD)["signatures"][0]] * 2),
    "another algorithm": with_first(GOOD, algorithm="rsa"),
    "a short key": with_first(GOOD, public="AAAA"),
    "no base64": with_first(GOOD, signature="\u00e4" * 88),
    "numbers for words": with_first(GOOD, algorithm=7),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_makes_no_sense_is_named_and_vouches_for_nothing(data: bytes) -> None:
    standing = judge(data, ID, MANIFEST, [OURS])
    assert standing.state is State.UNUSABLE
    assert not standing.signers
    assert 0 < len(standing.problem) < 300
    assert why_not_used(standing, strict=True)


def test_an_unknown_algorithm_takes_nothing_away_from_a_good_signature() -> None:
    first = msgspec.json.decode(GOOD)["signatures"][0]
    odd = {"algorithm": "ed448", "public": "x"}
    assert judge(changed(GOOD, signatures=[odd, first]), ID, MANIFEST, [OURS]).state is State.TRUSTED


def test_an_image_has_no_more_than_so_many_signers() -> None:
    file = None
    for number in range(MOST_SIGNERS):
        file = signed(file, ID, MANIFEST, PrivateKey(seed=bytes([number]) * 32))
    with pytest.raises(RefusedError, match="signatures already"):
        signed(file, ID, MANIFEST, KEY)


def test_a_list_of_keys_is_read_as_it_was_written() -> None:
    keys = (OURS, OTHER.public, PublicKey(raw=bytes(31) + b"\1", name="Bärbel, Lager"))
    assert parse_list(render_list(keys), "list") == keys
    assert parse_list(b"# of the office\r\n\r\n" + OURS.pem.replace("\n", "\r\n").encode(), "list") == (OURS,)
    assert parse_list(b"", "list") == parse_list(b"\n" * MOST_LIST, "list") == ()


def test_a_private_key_or_one_of_another_kind_is_no_public_key() -> None:
    for data, words in (
        (KEY.pem(), "private key"),
        (RSA.encode(), "none of Ed25519"),
        (OURS.pem.encode()[:-30], "cut short"),
        (b"\xff", "no public keys"),
        (OURS.pem.encode() * 400, "at most"),
        (render_list([PublicKey(raw=bytes(30) + i.to_bytes(2, "big")) for i in range(MOST_KEYS + 1)]), "at most"),
    ):
        with pytest.raises(BadImageError, match=words):
            parse_list(data, "list")
    with pytest.raises(BadImageError, match="2 public keys"):
        parse_public(render_list([OURS, OTHER.public]), "list")


def test_a_list_that_is_damaged_outside_of_its_keys_is_not_taken_for_a_shorter_one() -> None:
    whole = render_list([OURS, OTHER.public])
    flipped = whole.replace(b"-----BEGIN", b"-----BEGIO", 1)
    first = flipped[: len(OURS.pem.encode())]
    for data in (bytes(300), flipped, first, whole + b"\0", b"x" + whole, b"# nobody yet\n"):
        with pytest.raises(BadImageError, match="damaged"):
            parse_list(data, "list")
    one = render_list([OTHER.public])
    for at in range(len(one)):
        damaged = one[:at] + bytes([one[at] ^ 4]) + one[at + 1 :]
        with suppress(BadImageError):  # another key, where it hit the key itself
            assert len(parse_list(damaged, "list")) == 1


def test_a_key_that_is_cut_after_much_room_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signingkeys, "MOST_LIST", 8 << 20)
    with pytest.raises(BadImageError, match="cut short"):  # read anew from each byte on, this takes days
        parse_list(b"-----BEGIN PUBLIC KEY-----" + b"\n" * (4 << 20), "list")


def test_a_private_key_needs_its_passphrase() -> None:
    locked = KEY.pem(b"correct horse")
    assert parse_private(locked, "key", b"correct horse") == KEY
    assert parse_private(KEY.pem(), "key") == KEY
    for passphrase in (b"", b"wrong"):
        with pytest.raises(RefusedError) as error:
            parse_private(locked, "key", passphrase)
        assert error.value.code == "passphrase"
    with pytest.raises(BadImageError):
        parse_private(OURS.pem.encode(), "key")


def test_a_name_is_one_line() -> None:
    assert name_of_owner("  Anna ") == "Anna"
    for odd in ("a\nb", "\u202eevil", "x" * 61):
        with pytest.raises(UsageError):
            name_of_owner(odd)


def test_a_private_key_is_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    made = keyfiles.make(path, "Anna", b"")
    assert path.stat().st_mode & 0o777 == 0o600
    assert keyfiles.read_private(path).public.raw == made.raw
    assert keyfiles.read_public(tmp_path / "key.pem.pub") == made
    before = path.read_bytes()
    with pytest.raises(RefusedError, match="exists"):
        keyfiles.make(path, "Anna", b"")
    assert path.read_bytes() == before


def test_keys_are_trusted_and_no_more_by_name_or_by_the_beginning_of_the_id() -> None:
    assert trust.trusted() == ()
    for key in (OURS, OTHER.public):
        trust.trust(key)
    trust.trust(PublicKey(raw=OURS.raw, name="Anna B."))
    assert [key.name for key in trust.trusted()] == ["", "Anna B."]
    assert trust.untrust("Anna B.").raw == OURS.raw
    assert trust.untrust(OTHER.public.id[:9]).raw == OTHER.public.raw
    assert trust.trusted() == ()
    with pytest.raises(UsageError, match="no key"):
        trust.untrust("Anna B.")


def test_a_user_cannot_choose_keys_that_root_would_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESCUE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(trust, "SYSTEM", tmp_path / "system")
    with monkeypatch.context() as user:
        user.setattr(os, "geteuid", lambda: 1000)
        for refused in (lambda: trust.trust(OURS), lambda: trust.untrust("Anna")):
            with pytest.raises(RefusedError) as error:
                refused()
            assert error.value.code == "needs-root"
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    trust.trust(OURS)
    assert trust.trusted() == (OURS,)


def test_the_keys_of_the_medium_count_and_cannot_be_dismissed_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "MEDIUM_LIST", tmp_path / "trusted-keys.pem")
    trust.MEDIUM_LIST.write_bytes(render_list([OURS]))
    trust.trust(OTHER.public)
    assert {key.raw for key in trust.trusted()} == {OURS.raw, OTHER.public.raw}
    with pytest.raises(RefusedError, match="by the medium"):
        trust.untrust("Anna")


def test_a_list_that_others_can_write_to_or_that_is_damaged_is_no_empty_list() -> None:
    trust.trust(OURS)
    path = trust.config_folder() / trust.NAME
    path.chmod(0o666)
    with pytest.raises(RefusedError, match="other users"):
        trust.trusted()
    path.chmod(0o644)
    path.write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(BadImageError) as error:
        trust.trusted()
    assert str(path) in (error.value.hint or "")
    path.unlink()
    path.symlink_to(os.devnull)
    with pytest.raises(BadImageError, match="link"):
        trust.trusted()


def test_the_place_for_keys_is_the_same_for_whoever_builds_writes_and_reads_it() -> None:
    assert tree.TRUSTED_KEYS == mediakeys.PLACE
    assert media.DISC / mediakeys.PLACE == trust.MEDIUM_LIST
    most = [PublicKey(raw=bytes(31) + bytes([i]), name="\U0001f511" * LONGEST_NAME) for i in range(MOST_KEYS)]
    assert len(render_list(most)) <= tree.ROOM_FOR_KEYS <= MOST_LIST
    files = {mediakeys.PLACE: b"\n" * tree.ROOM_FOR_KEYS, SUMS: f"{'0' * 64}  {mediakeys.PLACE}\n".encode()}
    changed = mediakeys.changed_files(files, most)
    assert parse_list(changed[mediakeys.PLACE], "list") == tuple(most)
    assert {name: len(data) for name, data in changed.items()} == {name: len(data) for name, data in files.items()}
