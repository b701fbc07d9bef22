"""Folders that are no library, versions of tomorrow, and manifests that are cut short or damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import libraryinfo
from imaging.errors import BadImageError, RefusedError
from imaging.library import Library, refuse_to_create
from tests.command import Outcome
from tests.faults.world import Sample, capture_here, chunk_path, images_of, verify_here

Rescue = Callable[..., Outcome]
READING = (["images"], ["show", "x"], ["verify", "x"], ["restore", "x", "new.img"])


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_a_folder_without_a_library_is_a_bad_image_and_is_named(
    command: Rescue, tmp_path: Path, words: list[str]
) -> None:
    error = command(*words, "--library", tmp_path / "empty", "--json", status=4).json["error"]
    assert (error["code"], error["status"]) == ("not-a-library", 4)
    assert str(tmp_path / "empty") in error["message"]
    assert "--library" in error["hint"]


def test_without_any_library_a_person_is_told_to_give_one(command: Rescue) -> None:
    done = command("images", status=4)
    assert "no image library was found" in done.err
    assert "--library" in done.err
    assert not done.out


def test_a_folder_with_other_files_is_not_made_a_library(rescue: Rescue, captured: Sample, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    done = rescue("capture", captured.disk, "--library", tmp_path, "--json", status=3)
    assert done.events[-1]["code"] == "not-a-library"
    assert "holiday.jpg" in done.events[-1]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_what_a_killed_first_capture_leaves_is_still_a_place_for_a_library(tmp_path: Path) -> None:
    for name in ("images", "chunks", "writers"):
        (tmp_path / name).mkdir()
    (tmp_path / ".library.json.4711.tmp").write_text("{")
    refuse_to_create(tmp_path)
    Library.open_or_create(tmp_path)
    (tmp_path / "library.json").unlink()
    (tmp_path / ".library.json.mine").touch()
    with pytest.raises(RefusedError):
        refuse_to_create(tmp_path)


@pytest.mark.parametrize("left", ["chunks/0000", "images/20260101-000000-00000000"])
def test_no_library_is_made_over_what_one_without_its_library_json_holds(tmp_path: Path, left: str) -> None:
    Library.open_or_create(tmp_path)
    (tmp_path / "library.json").unlink()
    (tmp_path / left).mkdir()
    with pytest.raises(RefusedError) as caught:
        Library.open_or_create(tmp_path)
    assert "library.json" in caught.value.message
    assert not (tmp_path / "library.json").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "not-a-library"),
        ('{"format": 1', "not-a-library"),
        ("[]", "not-a-library"),
        ("null", "not-a-library"),
        ("\x00\x01", "not-a-library"),
        ("[" * 100_000, "not-a-library"),
        ('{"format": 1}', "not-a-library"),
        ('{"format": 1, "id": 5, "digest": "sha512-256", "chunk_size": 1}', "not-a-library"),
        ('{"format": 2}', "unknown-version"),
        ('{"format": "1"}', "unknown-version"),
        ('{"format": 1, "id": "a", "digest": "md5", "chunk_size": 1}', "unknown-version"),
        ('{"format": 1, "features": ["holograms"]}', "unknown-feature"),
        ('{"format": 2, "features": ["holograms"]}', "unknown-version"),
        ('{"format": 1, "features": "holograms"}', "not-a-library"),
        ('{"format": 1, "features": [1]}', "not-a-library"),
        ('{"format": 1, "features": ["\\u001b[2J"]}', "not-a-library"),
        ('{"format": 1, "features": [' + ", ".join(33 * ['"x"']) + "]}", "not-a-library"),
    ],
)
def test_a_library_that_cannot_be_understood_is_refused_by_name(sample: Sample, text: str, code: str) -> None:
    (sample.library / "library.json").write_text(text)
    with pytest.raises(BadImageError) as caught:
        Library.open(sample.library)
    assert caught.value.code == code
    assert str(sample.library) in caught.value.message


def test_a_library_of_tomorrow_is_not_written_to(rescue: Rescue, sample: Sample) -> None:
    name = sample.library / "library.json"
    name.write_text(name.read_text().replace('"format": 1', '"format": 2'))
    before = sorted(sample.library.rglob("*"))
    error = rescue("images", "--library", sample.library, "--json", status=4).json["error"]
    assert error["code"] == "unknown-version"
    assert "version 2" in error["message"]
    done = rescue("capture", sample.disk, "--library", sample.library, "--json", status=4)
    assert done.events[-1]["code"] == "unknown-version"
    assert sorted(sample.library.rglob("*")) == before


@pytest.mark.parametrize(
    ("needs", "hint"),
    [
        ('"7.1"', "use Rescue 7.1 or a newer version"),
        ('"0.0.9"', "use a newer version of Rescue"),
        ('"\\u001b[2J"', "use a newer version of Rescue"),
        ("7", "use a newer version of Rescue"),
    ],
)
def test_a_library_that_requires_what_nobody_here_knows_is_refused_with_a_word_of_what_and_of_who_knows(
    command: Rescue, sample: Sample, needs: str, hint: str
) -> None:
    name = sample.library / "library.json"
    name.write_text(name.read_text().rstrip("}\n") + f', "features": ["holograms", "ropes"], "needs": {needs}}}')
    error = command("images", "--library", sample.library, "--json", status=4).json["error"]
    assert (error["code"], error["hint"]) == ("unknown-feature", hint)
    assert "requires holograms, ropes," in error["message"]


def test_a_library_without_features_says_what_it_said_before_there_were_any(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "new")
    said = (tmp_path / "new" / "library.json").read_text()
    assert said == (
        f'{{\n "format": 1,\n "id": "{library.info.id}",\n "digest": "sha512-256",\n "chunk_size": 4194304\n}}\n'
    )
    with pytest.raises(RefusedError, match="is an image library already"):
        Library.create(tmp_path / "new")


def test_a_feature_that_is_known_is_written_with_the_version_that_knows_it_and_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(libraryinfo, "KNOWN", {"ropes": "0.9", "knots": "0.10"})
    Library.create(tmp_path / "new", ["ropes", "knots"])
    info = Library.open(tmp_path / "new").info
    assert (info.format, info.features, info.needs) == (1, ("ropes", "knots"), "0.10")


def test_damaged_manifests_are_listed_apart_and_the_others_still_work(
    command: Rescue, sample: Sample, tmp_path: Path
) -> None:
    whole = sample.manifest.read_bytes()
    damages = {
        **{f"cut-{length}": whole[:length] for length in range(0, len(whole) - 1, 97)},
        "flipped": whole.replace(b'"used"', b'"uszd"', 1),
        "other-number": whole.replace(b'"chunks": 1', b'"chunks": 2', 1),
        "tomorrow": whole.replace(b'"format": 1', b'"format": 7', 1),
        "other-id": whole,
        "deep": b"[" * 100_000,
    }
    for name, data in damages.items():
        assert data != whole or name == "other-id"
        folder = sample.library / "images" / name
        folder.mkdir()
        (folder / "manifest.json").write_bytes(data)
    (sample.library / "images" / "no manifest yet").mkdir()
    listing = Library.open(sample.library).images()
    assert [image.id for image in listing.images] == [sample.image_id]
    assert {bad.id for bad in listing.damaged} == set(damages)
    problems = {bad.id: bad.problem for bad in listing.damaged}
    assert "version 7" in problems["tomorrow"]
    assert sample.image_id in problems["other-id"]
    assert all("manifest.json" in problem for problem in problems.values())

    found = command("images", "--library", sample.library, "--json").json
    assert len(found["images"]) == 1
    assert len(found["damaged"]) == len(damages)
    said = command("images", "--library", sample.library).out
    assert "Damaged, cannot be restored:" in said
    assert "flipped" in said
    for words in (["show", "flipped"], ["verify", "flipped"], ["restore", "flipped", tmp_path / "new.img"]):
        error = command(*words, "--library", sample.library, "--json", status=4).json["error"]
        assert error["code"] == "bad-manifest"
        assert "flipped/manifest.json" in error["message"]
    assert not (tmp_path / "new.img").exists()
    assert verify_here(sample, tmp_path / "job").status == 0


@pytest.mark.parametrize("image", ["../images", "..", ".", "a/b", "/etc", "", "x" * 200, "%00", "a\nb", "-x", "é"])
def test_an_image_id_that_leads_elsewhere_is_no_image(sample: Sample, image: str) -> None:
    (sample.library / "manifest.json").write_bytes(sample.manifest.read_bytes())
    with pytest.raises(BadImageError) as caught:
        Library.open(sample.library).image(image)
    assert caught.value.code == "no-such-image"
    assert repr(image) in caught.value.message


def test_a_path_as_image_id_ends_with_bad_image(command: Rescue, sample: Sample) -> None:
    error = command("show", f"../images/{sample.image_id}", "--library", sample.library, "--json", status=4).json[
        "error"
    ]
    assert error["code"] == "no-such-image"


def test_a_hostile_disk_name_never_leaves_the_image(sample: Sample) -> None:
    (sample.library / "evil.caibx").write_bytes(sample.part("caibx").read_bytes())
    sample.edit(lambda image: image["disks"][0].update(name="../../evil"))
    assert Library.open(sample.library).images().images == ()
    with pytest.raises(BadImageError, match=r"\.\./\.\./evil"):
        Library.open(sample.library).image(sample.image_id)


def test_a_capture_into_a_library_with_damaged_images_succeeds(sample: Sample, tmp_path: Path) -> None:
    sample.part("caibx").write_bytes(b"")
    folder = sample.library / "images" / "20990101-000000-0000"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"format": 1}))
    done = capture_here(sample.disk, sample.library, tmp_path / "job")
    assert done.status == 0
    assert len(images_of(sample.library)) == 3


def test_chunks_that_are_missing_come_back_with_the_next_capture_of_the_disk(sample: Sample, tmp_path: Path) -> None:
    for i in range(0, len(sample.index), 2):
        chunk_path(sample.library, sample.index.id(i)).unlink(missing_ok=True)
    assert verify_here(sample, tmp_path / "before").status == 4
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    assert verify_here(sample, tmp_path / "after").status == 0
