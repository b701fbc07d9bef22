"""The commands that rename, annotate and delete an image, and what a verification leaves with it."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest
from blake3 import blake3

from imaging import care, notes
from imaging.errors import BadImageError, UsageError
from imaging.events import CaptureResult
from imaging.library import Library
from imaging.notes import Notes
from tests.command import Outcome
from tests.disks import MIB, blank, looped, run
from tests.faults.test_deletions import chunks_of
from tests.faults.world import PATIENCE, Sample, capture_here, images_of, mounted, verify_here

Rescue = Callable[..., Outcome]


def listed(command: Rescue, library: Path) -> dict[str, Any]:
    """The only image, as `rescue images --json` shows it."""
    (image,) = command("images", "--library", library, "--json").json["images"]
    assert isinstance(image, dict)
    return image


def noted(sample: Sample) -> Path:
    """The file with the image's notes."""
    return sample.manifest.with_name(notes.NAME)


def test_a_renamed_image_bears_its_new_label_everywhere_and_its_manifest_stays(
    command: Rescue, sample: Sample, tmp_path: Path
) -> None:
    before = sample.manifest.read_bytes()
    told = command("rename", sample.image_id, "before the update", "--library", sample.library)
    assert '"before the update"' in told.out
    assert listed(command, sample.library)["label"] == "before the update"
    assert "before the update" in command("images", "--library", sample.library).out
    assert "before the update" in command("show", sample.image_id, "--library", sample.library).out
    plan = command("delete", "--plan", "--json", sample.image_id, "--library", sample.library).json["plan"]
    assert plan["label"] == "before the update"
    assert sample.manifest.read_bytes() == before
    assert verify_here(sample, tmp_path / "verify").status == 0
    command("rename", sample.image_id, "", "--library", sample.library)
    assert listed(command, sample.library)["label"] == ""


def test_a_note_is_kept_until_it_is_replaced_by_nothing(command: Rescue, sample: Sample) -> None:
    command("note", sample.image_id, "Anna's PC, never restored", "--library", sample.library)
    assert listed(command, sample.library)["note"] == "Anna's PC, never restored"
    assert "Anna's PC" in command("show", sample.image_id, "--library", sample.library).out
    command("note", sample.image_id, "", "--library", sample.library)
    assert listed(command, sample.library)["note"] == ""


@pytest.mark.parametrize("words", ["two\nlines", "\x1b[2J", "x" * 201])
def test_a_label_that_is_no_line_of_text_is_refused(command: Rescue, sample: Sample, words: str) -> None:
    error = command("rename", sample.image_id, words, "--library", sample.library, "--json", status=2).json["error"]
    assert error["code"] in ("bad-text", "too-long")
    assert not noted(sample).exists()


def test_a_verification_is_kept_with_the_image(command: Rescue, sample: Sample, tmp_path: Path) -> None:
    assert listed(command, sample.library)["verified"] is None
    verify_here(sample, tmp_path / "good")
    kept = listed(command, sample.library)["verified"]
    assert (kept["bad"], kept["problem"], kept["job"]) == (0, "", "good")
    assert kept["chunks"] == len({sample.index.id(i) for i in range(len(sample.index))})
    command("note", sample.image_id, "a note", "--library", sample.library)
    sample.chunk(2).unlink()
    verify_here(sample, tmp_path / "bad")
    assert listed(command, sample.library)["verified"]["bad"] == 1
    assert listed(command, sample.library)["note"] == "a note"
    assert "BAD, 1 of" in command("show", sample.image_id, "--library", sample.library).out
    sample.part("used").write_bytes(b"")
    verify_here(sample, tmp_path / "worse")
    assert sample.part("used").name in listed(command, sample.library)["verified"]["problem"]


def test_a_comparison_with_a_disk_is_not_a_verification_of_the_image(sample: Sample, tmp_path: Path) -> None:
    assert verify_here(sample, tmp_path / "verify", against=sample.disk).status == 0
    assert not noted(sample).exists()


@pytest.mark.root
def test_on_a_read_only_medium_a_verification_ends_well_and_says_that_it_is_not_kept(
    captured: Sample, command: Rescue, tmp_path: Path
) -> None:
    with looped(blank(tmp_path / "medium.img", 80 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "medium") as medium:
            captured.copy(medium / "library")
        with mounted(loop, tmp_path / "medium", "-o", "ro") as medium:
            sample = replace_library(captured, medium / "library")
            assert verify_here(sample, tmp_path / "job").status == 0
            events = [json.loads(line) for line in (tmp_path / "job" / "events.jsonl").read_bytes().splitlines()]
            told = [event["message"] for event in events if event["event"] == "log"]
            assert any("The result is not kept with the image" in line and "read-only" in line for line in told)
            for words in (("rename", sample.image_id, "x"), ("note", sample.image_id, "x")):
                error = command(*words, "--library", sample.library, "--json", status=5).json["error"]
                assert error["code"] == "read-only"
            sure = ("delete", sample.image_id, "--delete", sample.image_id)
            assert command(*sure, "--library", sample.library, "--json", status=5).events[-1]["code"] == "read-only"
            assert images_of(sample.library) == [sample.image_id]


def replace_library(sample: Sample, library: Path) -> Sample:
    """The same image in a copy of its library."""
    return Sample(library, sample.image_id, sample.disk)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 1, "notes": {"label": 3}, "digest": "x"}', b"[" * 70_000],
)
def test_damaged_notes_neither_hide_nor_hurt_an_image(command: Rescue, sample: Sample, data: bytes) -> None:
    noted(sample).write_bytes(data)
    told = command("images", "--library", sample.library)
    assert sample.image_id in told.out
    assert "notes are ignored" in told.err
    assert listed(command, sample.library)["label"] == sample.image.label
    command("rename", sample.image_id, "mended", "--library", sample.library)
    assert listed(command, sample.library)["label"] == "mended"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_notes_that_are_no_file_do_not_hold_anything_up(command: Rescue, sample: Sample, kind: str) -> None:
    match kind:
        case "link":
            noted(sample).symlink_to("/etc/passwd")
        case "pipe":
            os.mkfifo(noted(sample))
        case _:
            noted(sample).mkdir()
    assert listed(command, sample.library)["label"] == sample.image.label


def test_notes_of_a_newer_program_are_ignored_and_left_alone(sample: Sample) -> None:
    noted(sample).write_bytes(b'{"format": 2, "new": true}')
    with pytest.raises(BadImageError, match="format version 2"):
        care.rename(sample.library, sample.image_id, "x")
    assert noted(sample).read_bytes() == b'{"format": 2, "new": true}'
    assert Library.open(sample.library).images().ignored


def test_a_file_of_notes_without_any_is_ignored_though_its_digest_is_right(command: Rescue, sample: Sample) -> None:
    digest = blake3(b"null").hexdigest()
    noted(sample).write_text(f'{{"format": 1, "digest": "{digest}"}}')
    assert listed(command, sample.library)["label"] == sample.image.label
    assert Library.open(sample.library).images().ignored


def test_notes_survive_their_own_encoding() -> None:
    whole = Notes(label="x", text="\u00e4 \u202e", verified=notes.Verification(when="2026-01-01", chunks=3, bad=1))
    for one in (Notes(), whole, replace(whole, label="")):
        assert notes.decode(notes.encode(one), "x") == one
    changed = notes.encode(whole).replace(b'"bad": 1', b'"bad": 0')
    with pytest.raises(BadImageError, match="digest"):
        notes.decode(changed, "x")
    with pytest.raises(UsageError):
        notes.text("\ud800")


def test_delete_shows_what_it_frees_and_deletes_what_is_named(command: Rescue, sample: Sample) -> None:
    told = command("delete", sample.image_id, "--library", sample.library, "--delete", sample.image_id)
    assert f"DELETED: image {sample.image_id}" in told.out
    assert "FREED: " in told.out
    assert images_of(sample.library) == []
    assert chunks_of(sample.library) == set()


def test_delete_is_refused_without_the_right_name(command: Rescue, sample: Sample, tmp_path: Path) -> None:
    made = capture_here(sample.disk, sample.library, tmp_path / "second").result
    assert isinstance(made, CaptureResult)
    before = sorted(images_of(sample.library))
    for words in ((), ("--delete", made.image), ("--delete", "")):
        refused = command("delete", sample.image_id, *words, "--library", sample.library, "--json", status=3)
        assert refused.json["error"]["code"] == "not-confirmed"
    assert sorted(images_of(sample.library)) == before


def test_a_damaged_image_can_be_deleted_by_its_id(command: Rescue, sample: Sample) -> None:
    sample.manifest.write_bytes(b"{")
    plan = command("delete", sample.image_id, "--library", sample.library, "--plan")
    assert "it is damaged" in plan.out
    command("delete", sample.image_id, "--library", sample.library, "--delete", sample.image_id)
    assert images_of(sample.library) == []
    assert chunks_of(sample.library) == set()


def test_an_image_in_two_libraries_is_not_deleted_from_just_one(
    command: Rescue, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sample.copy(tmp_path / "other")
    monkeypatch.setattr("rescue.finding.discover", lambda: (sample.library, other.library))
    error = command("delete", sample.image_id, "--plan", "--json", status=2).json["error"]
    assert error["code"] == "no-library"


@pytest.mark.parametrize("answer", ["label", "end of the id", "something else"])
def test_at_a_terminal_the_label_or_the_end_of_the_id_is_typed(sample: Sample, answer: str) -> None:
    care.rename(sample.library, sample.image_id, "my PC")
    typed = {"label": "my PC", "end of the id": sample.image_id[-8:]}.get(answer, "yes")
    words = ["-m", "rescue", "delete", sample.image_id, "--library", str(sample.library)]
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, words, encoding="utf-8", timeout=PATIENCE, dimensions=(24, 120)
    )
    try:
        child.expect("FREED: ")
        child.expect(f"Type my PC or {sample.image_id[-8:]} to delete it")
        child.sendline(typed)
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == (3 if typed == "yes" else 0)
    assert images_of(sample.library) == ([sample.image_id] if typed == "yes" else [])
