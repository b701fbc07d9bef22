"""Signed images: who signs, what is refused where keys are trusted, and that nothing can be slipped in between."""

import base64
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from imaging import encryption, freeing, inventory, keyfiles, keyring, librarycopy, planner, signatures, trust, vouching
from imaging.errors import BadImageError, RefusedError
from imaging.events import CaptureResult, Finished, VerifyResult
from imaging.imageplans import CopyImagesPlan
from imaging.keyslots import LEAST
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.restoreplans import RestorePlan
from imaging.signatures import State
from imaging.signingkeys import PrivateKey, PublicKey
from tests.command import Outcome
from tests.disks import blank, run
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    images_of,
    restore_here,
    verify_here,
    warnings_of,
)

KEY, OTHER = PrivateKey(seed=bytes(range(32))), PrivateKey(seed=bytes(32))
ANNA = PublicKey(raw=KEY.public.raw, name="Anna")


@pytest.fixture
def ours(sample: Sample) -> Sample:
    """An image that Anna has signed, on a computer that trusts her."""
    vouching.sign(sample.library, sample.image_id, KEY)
    trust.trust(ANNA)
    return sample


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A disk file with something on it."""
    path = blank(tmp_path / "target.img", DISK_SIZE)
    with path.open("r+b") as file:
        file.write(b"what was there before")
    return path


def file_of(sample: Sample) -> Path:
    return sample.manifest.with_name("manifest.sig")


def state_of(sample: Sample) -> State:
    return vouching.look(Library.open(sample.library), sample.image_id).standing.state


def planned(sample: Sample, target: Path) -> RestorePlan:
    shown = inventory.look(str(target), [sample.library])
    return planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown})


def refused(sample: Sample, target: Path, tmp_path: Path) -> Finished:
    """The image is refused when it is planned, and by the worker, too, should nobody have planned it; the end of that.

    Where a person accepts it, it is restored.
    """
    plan = planned(sample, target)
    with pytest.raises(RefusedError) as error:
        vouching.refuse_doubtful(vouching.of_restore(plan))
    assert error.value.code == "not-trusted"
    before = target.read_bytes()
    done = carry_out_here(plan, tmp_path / "refused")
    assert (done.status, done.code) == (3, "not-trusted"), done
    assert target.read_bytes() == before
    return done


def test_an_image_of_a_trusted_key_is_restored_and_shown_as_signed(ours: Sample, target: Path, tmp_path: Path) -> None:
    plan = vouching.of_restore(planned(ours, target))
    assert plan.standing.state is State.TRUSTED
    assert not plan.doubt
    assert carry_out_here(vouching.refuse_doubtful(plan), tmp_path / "job").status == 0
    assert holds_used_bytes(ours, target)


def test_where_no_key_is_trusted_images_are_restored_as_ever(sample: Sample, target: Path, tmp_path: Path) -> None:
    assert not vouching.of_restore(planned(sample, target)).doubt
    assert restore_here(sample, target, tmp_path / "job").status == 0
    vouching.sign(sample.library, sample.image_id, OTHER)
    assert restore_here(sample, target, tmp_path / "again").status == 0


def test_an_unsigned_image_is_refused_unless_a_person_accepts_it(ours: Sample, target: Path, tmp_path: Path) -> None:
    file_of(ours).unlink()
    refused(ours, target, tmp_path)
    plan = vouching.of_restore(planned(ours, target), accept_unsigned=True)
    assert carry_out_here(vouching.refuse_doubtful(plan), tmp_path / "accepted").status == 0
    assert holds_used_bytes(ours, target)


def test_an_image_that_only_a_stranger_signed_is_refused(ours: Sample, target: Path, tmp_path: Path) -> None:
    vouching.sign(ours.library, ours.image_id, OTHER, anew=True)
    assert OTHER.public.id in refused(ours, target, tmp_path).message


def test_a_forged_manifest_is_refused_even_where_no_key_is_trusted(ours: Sample, target: Path, tmp_path: Path) -> None:
    ours.edit(lambda image: image.update(label="as it was"))
    for keys in ((ANNA,), ()):
        if not keys:
            trust.untrust("Anna")
        assert state_of(ours) is State.WRONG
        assert "does not match" in refused(ours, target, tmp_path).message


def test_another_images_signature_is_no_signature(ours: Sample, target: Path, tmp_path: Path) -> None:
    found = capture_here(ours.disk, ours.library, tmp_path / "second").result
    assert isinstance(found, CaptureResult)
    second = Sample(ours.library, found.image, ours.disk)
    shutil.copyfile(file_of(ours), file_of(second))
    assert "another image" in refused(second, target, tmp_path).message
    document = msgspec.json.decode(file_of(ours).read_bytes())
    file_of(second).write_bytes(msgspec.json.encode({**document, "image": second.image_id}))
    assert state_of(second) is State.WRONG


@pytest.mark.parametrize("suffix", ["caibx", "used", "blake3"])
def test_each_file_beside_a_signed_manifest_is_the_one_that_was_signed(
    ours: Sample, target: Path, tmp_path: Path, suffix: str
) -> None:
    """The chain: the signature proves the manifest, its digests the files, and their digests the chunks."""
    data = bytearray(ours.part(suffix).read_bytes())
    data[-50] ^= 1
    ours.part(suffix).write_bytes(data)
    done = restore_here(ours, target, tmp_path / "job")
    assert (done.status, done.code) == (4, "bad-image-file")
    # Whoever mends the digest in the manifest has to sign it.
    ours.replace_part(suffix, bytes(data))
    refused(ours, target, tmp_path)


def test_a_chunk_that_was_exchanged_is_found_by_the_table_that_was_signed(
    ours: Sample, target: Path, tmp_path: Path
) -> None:
    shutil.copyfile(ours.chunk(2), ours.chunk(1))
    done = restore_here(ours, target, tmp_path / "job")
    assert (done.status, done.code) == (4, "corrupt-chunk")


def test_what_is_restored_is_what_was_proved_whatever_lies_there_a_moment_later(
    ours: Sample, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {path: path.read_bytes() for path in ours.manifest.parent.iterdir()}
    evil = Sample(tmp_path / "evil", ours.image_id, ours.disk)
    shutil.copytree(ours.library, evil.library)
    data = bytearray(evil.part("used").read_bytes())
    evil.replace_part("used", bytes(data))
    evil.edit(lambda image: image["disks"][0].update(table_extents=[[0, 1 << 20]]))
    judge = signatures.judge

    def judge_and_be_robbed(*words: Any) -> signatures.Standing:
        standing = judge(*words)
        ours.manifest.write_bytes(evil.manifest.read_bytes())
        return standing

    plan = vouching.of_restore(planned(ours, target))
    monkeypatch.setattr(signatures, "judge", judge_and_be_robbed)
    done = carry_out_here(plan, tmp_path / "job")
    assert done.status == 0, done
    assert ours.manifest.read_bytes() != good[ours.manifest]
    ours.manifest.write_bytes(good[ours.manifest])
    assert holds_used_bytes(ours, target)


def test_a_capture_signs_before_the_image_is_there(ours: Sample, tmp_path: Path) -> None:
    plan = planner.plan_capture([inventory.look(str(ours.disk))], ours.library, level=1)
    plan = structs.replace(plan, signer=KEY.public.id)
    name = keyring.name_of_signer(plan.signer)
    assert carry_out_here(plan, tmp_path / "without").code == "no-key"
    keyring.learn(name, OTHER.seed)
    assert carry_out_here(plan, tmp_path / "with another").code == "no-key"
    keyring.learn(name, KEY.seed)
    before = images_of(ours.library)
    done = carry_out_here(plan, tmp_path / "signed")
    assert isinstance(done.result, CaptureResult), done
    assert done.result.image not in before
    assert state_of(Sample(ours.library, done.result.image, ours.disk)) is State.TRUSTED


def test_signing_refuses_an_image_whose_files_are_not_its_own(sample: Sample) -> None:
    sample.part("used").write_bytes(b"something else")
    with pytest.raises(BadImageError):
        vouching.sign(sample.library, sample.image_id, KEY)
    assert not file_of(sample).exists()


def test_verify_says_who_signed_and_finds_a_signature_that_does_not_match(ours: Sample, tmp_path: Path) -> None:
    done = verify_here(ours, tmp_path / "good")
    assert done.status == 0
    assert isinstance(done.result, VerifyResult)
    assert [one.name for one in done.result.standing.signers] == ["Anna"]
    ours.edit(lambda image: image.update(label="as it was"))
    done = verify_here(ours, tmp_path / "forged")
    assert (done.status, done.code) == (4, "bad-signature")
    assert isinstance(done.result, VerifyResult)
    assert not done.result.bad
    verified = Library.open(ours.library).notes(ours.image_id).verified
    assert verified is not None
    assert "does not match" in verified.problem


def test_copies_are_signed_too_and_get_later_signatures_beside_theirs(ours: Sample, tmp_path: Path) -> None:
    other = tmp_path / "off-site"
    plan = CopyImagesPlan(library=str(ours.library), target=str(other))
    assert carry_out_here(plan, tmp_path / "first").status == 0
    copy = Sample(other, ours.image_id, ours.disk)
    assert copy.manifest.read_bytes() == ours.manifest.read_bytes()
    assert state_of(copy) is State.TRUSTED
    vouching.sign(ours.library, ours.image_id, OTHER)
    vouching.sign(other, ours.image_id, PrivateKey(seed=b"x" * 32))
    assert carry_out_here(plan, tmp_path / "second").status == 0
    assert len(signatures.decode(file_of(copy).read_bytes(), ours.image_id)) == 3
    file_of(ours).write_bytes(b"no signatures")
    assert carry_out_here(plan, tmp_path / "third").status == 0
    assert any("are not copied" in words for words in warnings_of(tmp_path / "third"))
    assert state_of(copy) is State.TRUSTED


def test_signatures_that_are_wrong_do_not_keep_the_right_one_from_a_copy(ours: Sample, tmp_path: Path) -> None:
    other = tmp_path / "off-site"
    plan = CopyImagesPlan(library=str(ours.library), target=str(other))
    assert carry_out_here(plan, tmp_path / "first").status == 0
    copy = Sample(other, ours.image_id, ours.disk)
    wrong = signatures.signed(None, ours.image_id, b"another manifest", KEY)
    junk = None
    for i in range(signatures.MOST_SIGNERS):
        junk = signatures.signed(junk, ours.image_id, b"another manifest", PrivateKey(seed=bytes([i + 1]) * 32))
    assert junk is not None
    for planted in (wrong, junk):
        file_of(copy).write_bytes(planted)
        assert state_of(copy) is State.WRONG
        assert carry_out_here(plan, tmp_path / f"job-{len(planted)}").status == 0
        assert state_of(copy) is State.TRUSTED
    file_of(ours).write_bytes(wrong)
    file_of(copy).write_bytes(junk)
    assert carry_out_here(plan, tmp_path / "full").status == 0
    assert any("can have no more" in words for words in warnings_of(tmp_path / "full"))


def test_a_forged_image_in_the_other_library_is_not_taken_for_the_one_to_copy(sample: Sample, tmp_path: Path) -> None:
    other = tmp_path / "off-site"
    plan = CopyImagesPlan(library=str(sample.library), target=str(other))
    assert carry_out_here(plan, tmp_path / "first").status == 0
    copy = Sample(other, sample.image_id, sample.disk)
    copy.edit(lambda image: image.update(label="forged"))
    done = carry_out_here(plan, tmp_path / "second")
    assert (done.status, done.code) == (3, "image-changed")
    assert not list((other / "writers").glob("*.json"))
    right = sample.manifest.read_bytes()
    with pytest.raises(RefusedError, match="their manifests differ"):
        librarycopy.prove_image(Library.open(other), copy.image_id, right, Reporter(lambda _: 0), threading.Event())
    copy.manifest.write_bytes(right)
    assert carry_out_here(plan, tmp_path / "third").status == 0


def test_a_manifest_of_another_version_is_copied_byte_for_byte(sample: Sample, tmp_path: Path) -> None:
    """A later program may know more of an image than this one: written anew, its signature would not match."""
    document = msgspec.json.decode(sample.manifest.read_bytes())
    document["beside the image"] = "what this program does not know"
    sample.manifest.write_bytes(msgspec.json.encode(document))
    vouching.sign(sample.library, sample.image_id, KEY)
    plan = CopyImagesPlan(library=str(sample.library), target=str(tmp_path / "off-site"))
    assert carry_out_here(plan, tmp_path / "job").status == 0
    trust.trust(ANNA)
    assert state_of(Sample(tmp_path / "off-site", sample.image_id, sample.disk)) is State.TRUSTED


def test_a_deletion_leaves_no_signature(ours: Sample, tmp_path: Path) -> None:
    folder = ours.manifest.parent
    assert carry_out_here(freeing.plan_delete(ours.library, ours.image_id), tmp_path / "job").status == 0
    assert not folder.exists()


@pytest.mark.parametrize("odd", ["a link", "a folder", "a pipe", "a huge file"])
def test_what_is_no_file_of_signatures_is_named_and_does_not_hide_the_image(
    ours: Sample, target: Path, tmp_path: Path, odd: str
) -> None:
    path = file_of(ours)
    path.unlink()
    match odd:
        case "a link":
            path.symlink_to("/dev/zero")
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case _:
            with path.open("wb") as file:
                file.truncate(1 << 40)
    library = Library.open(ours.library)
    assert [image.id for image in library.images().images] == [ours.image_id]
    standing = vouching.of_images(library, [ours.image_id])[ours.image_id]
    assert standing.state is State.UNUSABLE
    assert "manifest.sig" in standing.problem
    refused(ours, target, tmp_path)
    trust.untrust("Anna")
    assert restore_here(ours, target, tmp_path / "job").status == 0


def test_a_list_of_keys_that_cannot_be_believed_restores_nothing(ours: Sample, target: Path, tmp_path: Path) -> None:
    (trust.config_folder() / trust.NAME).chmod(0o646)
    assert "not known" in refused(ours, target, tmp_path).message
    plan = vouching.of_restore(planned(ours, target), accept_unsigned=True)
    assert carry_out_here(plan, tmp_path / "accepted").status == 0


def test_a_list_of_keys_that_cannot_be_believed_hides_no_image(ours: Sample, command: Callable[..., Outcome]) -> None:
    (trust.config_folder() / trust.NAME).chmod(0o646)
    listed = command("images", "--library", ours.library)
    assert ours.image_id in listed.out
    assert "can be changed by other users" in listed.err


def test_signatures_stay_valid_in_an_encrypted_library_and_out_of_it(ours: Sample, tmp_path: Path) -> None:
    sealed, _recovery = encryption.create(tmp_path / "sealed", "correct horse battery", cost=LEAST)
    plan = CopyImagesPlan(library=str(ours.library), target=str(sealed.path))
    assert carry_out_here(plan, tmp_path / "in").status == 0
    inside = Sample(sealed.path, ours.image_id, ours.disk)
    assert b"ed25519" not in file_of(inside).read_bytes()
    assert state_of(inside) is State.TRUSTED
    vouching.sign(inside.library, inside.image_id, OTHER)
    plan = CopyImagesPlan(library=str(sealed.path), target=str(tmp_path / "plain"), unseal=True)
    assert carry_out_here(plan, tmp_path / "out").status == 0
    outside = Sample(tmp_path / "plain", ours.image_id, ours.disk)
    assert state_of(outside) is State.TRUSTED
    assert len(signatures.decode(file_of(outside).read_bytes(), ours.image_id)) == 2


def test_openssl_proves_a_signature_without_us(ours: Sample, tmp_path: Path) -> None:
    document = json.loads(file_of(ours).read_text())
    (tmp_path / "anna.pub").write_text(ANNA.pem)
    head = f"{document['signed']}\n{document['image']}\n".encode()
    (tmp_path / "message").write_bytes(head + ours.manifest.read_bytes())
    (tmp_path / "signature").write_bytes(base64.b64decode(document["signatures"][0]["signature"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "anna.pub", "-rawin"]
    command += ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    assert "Successfully" in run(*command)
    digest = run("sh", "-c", f"openssl pkey -pubin -in {tmp_path}/anna.pub -outform DER | sha256sum")
    assert digest.startswith(ANNA.id.replace("-", ""))
    with (tmp_path / "message").open("ab") as file:
        file.write(b" ")
    with pytest.raises(AssertionError):
        run(*command)


def test_the_command_makes_trusts_signs_and_refuses(
    sample: Sample, target: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    key, library = tmp_path / "anna.pem", ("--library", sample.library)
    made = command("key", "new", key, "--name", "Anna", "--json").json
    assert command("key", "show", key, "--json").json["id"] == made["id"]
    assert "No key is trusted" in command("key", "list").out
    assert made["id"] in command("key", "trust", f"{key}.pub").out
    assert command("key", "list", "--json").json["keys"][0]["name"] == "Anna"
    words = ("restore", sample.image_id, target, *library)
    assert "not-trusted" in command(*words, "--plan", "--json", status=3).out
    signed = command("sign", sample.image_id, "--key", key, *library, "--json").json
    assert signed["signature"]["state"] == "trusted"
    assert f"signed by Anna ({made['id']})" in command(*words, "--plan").out
    (listed,) = command("images", *library, "--json").json["images"]
    assert listed["signature"]["signers"][0]["name"] == "Anna"
    assert "SIGNED BY" in command("images", *library).out
    assert "signed by Anna" in command("show", sample.image_id, *library).out
    assert command("key", "untrust", "Anna", "--json").json["id"] == made["id"]


def test_a_key_with_a_passphrase_signs_what_is_captured_and_stands_in_no_file(
    sample: Sample, tmp_path: Path, state: Path, rescue: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, library = tmp_path / "anna.pem", ("--library", sample.library)
    (tmp_path / "words").write_text("correct horse\n")
    (tmp_path / "wrong").write_text("incorrect\n")
    rescue("key", "new", key, "--new-passphrase-file", tmp_path / "words")
    assert b"ENCRYPTED" in key.read_bytes()
    capture = ("capture", sample.disk, *library, "--sign", key, "--json")
    monkeypatch.setenv(keyring.PASSPHRASE_FILE, str(tmp_path / "wrong"))
    assert "passphrase-needed" in rescue(*capture, status=3).out
    words = ("--passphrase-file", tmp_path / "words", "--json")
    assert rescue("sign", "--key", key, sample.image_id, *library, *words).json["signature"]["state"] == "untrusted"
    monkeypatch.setenv(keyring.PASSPHRASE_FILE, str(tmp_path / "words"))
    done = rescue(*capture).events[-1]
    assert state_of(Sample(sample.library, done["result"]["image"], sample.disk)) is State.UNKNOWN
    seed = keyfiles.read_private(key, b"correct horse").seed
    for path in state.rglob("*"):
        if path.is_file():
            assert path.name != "secret"
            assert seed not in path.read_bytes()
            assert b"correct horse" not in path.read_bytes()
