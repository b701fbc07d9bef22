"""`rescue library`: an empty library made, what one is, and whether all is there that its images need."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imaging import naming, structure
from imaging.library import Library
from imaging.structure import Examined
from tests.command import Outcome
from tests.faults.world import Sample, capture_here, sample_disk, verify_here
from tests.servers import web

Rescue = Callable[..., Outcome]


def names(sample: Sample) -> set[bytes]:
    """The chunks of the only image."""
    return {sample.index.id(i) for i in range(len(sample.index))}


def checked(command: Rescue, library: Path | str, status: int) -> dict[str, Any]:
    """What `rescue library check` says of one library, to scripts."""
    (found,) = command("library", "check", library, "--json", status=status).json["libraries"]
    assert isinstance(found, dict)
    return found


def test_an_empty_library_is_made_once_and_takes_a_capture(command: Rescue, captured: Sample, tmp_path: Path) -> None:
    made = command("library", "init", tmp_path / "new", "--json").json
    assert made["id"] == Library.open(tmp_path / "new").info.id
    assert command("library", "init", tmp_path / "new", "--json", status=3).json["error"]["code"] == "library-there"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    error = command("library", "init", tmp_path / "full", "--json", status=3).json["error"]
    assert error["code"] == "not-a-library"
    assert capture_here(captured.disk, tmp_path / "new", tmp_path / "job").status == 0
    assert Library.open(tmp_path / "new").info.id == made["id"]


def test_what_a_library_holds_and_what_was_never_verified_is_said(
    command: Rescue, sample: Sample, tmp_path: Path
) -> None:
    chunks = list((sample.library / "chunks").glob("*/*.cacnk"))
    (said,) = command("library", "info", sample.library, "--json").json["libraries"]
    assert (said["id"], said["format"], said["features"]) == (Library.open(sample.library).info.id, 1, [])
    assert (said["images"], said["damaged"], said["unverified"]) == (1, 0, 1)
    assert (said["chunks"], said["bytes"]) == (len(chunks), sum(path.stat().st_size for path in chunks))
    assert said["oldest_unverified"] == sample.image_id
    assert sample.image_id in command("library", "info", sample.library).out
    verify_here(sample, tmp_path / "verify")
    (said,) = command("library", "info", sample.library, "--json").json["libraries"]
    assert (said["unverified"], said["oldest_unverified"]) == (0, None)


def test_a_whole_library_is_said_to_be_and_that_no_data_was_read(command: Rescue, sample: Sample) -> None:
    found = checked(command, sample.library, 0)
    assert (found["state"], found["data_read"], found["findings"]) == ("good", False, [])
    assert found["named"] == found["stock"]["chunks"] == len(names(sample))
    assert (found["orphans"]["chunks"], found["leftovers"]) == (0, [])
    assert "was not read" in command("library", "check", sample.library).out


def test_missing_empty_and_overlong_chunks_are_named_with_the_image_that_needs_them(
    command: Rescue, sample: Sample
) -> None:
    sample.chunk(1).unlink()
    sample.chunk(2).write_bytes(b"")
    sample.chunk(3).write_bytes(bytes(6 << 20))
    found = checked(command, sample.library, 4)
    assert (found["state"], found["bad_count"]) == ("damaged", 3)
    assert sorted(found["bad"]) == sorted(sample.index.id(i).hex() for i in (1, 2, 3))
    (finding,) = found["findings"]
    assert (finding["code"], finding["image"]) == ("missing-chunk", sample.image_id)
    said = command("library", "check", sample.library, status=4).out
    assert sample.index.id(2).hex() in said
    assert "The library is damaged." in said


@pytest.mark.parametrize("suffix", ["caibx", "used", "blake3"])
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_file_beside_the_manifest_that_is_not_the_manifests_is_found(
    command: Rescue, sample: Sample, suffix: str, how: str
) -> None:
    path = sample.part(suffix)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data) if how == "flipped" else path.unlink()
    found = checked(command, sample.library, 4)
    assert [(one["code"], one["image"]) for one in found["findings"]] == [("bad-image-file", sample.image_id)]
    # What the image names is not known without its index: then nothing can be said to be nobody's.
    assert (found["orphans"] is None) == (suffix == "caibx")


def test_a_damaged_manifest_is_found_and_what_its_index_names_is_nobodys_orphan(
    command: Rescue, sample: Sample
) -> None:
    sample.manifest.write_bytes(sample.manifest.read_bytes()[:-20])
    found = checked(command, sample.library, 4)
    assert [one["code"] for one in found["findings"]] == ["damaged-image"]
    assert found["orphans"] == {"chunks": 0, "bytes": 0}


def test_orphans_and_what_was_cut_off_are_counted_and_do_not_make_a_library_damaged(
    command: Rescue, sample: Sample
) -> None:
    library = Library.open(sample.library)
    orphan = bytes(range(32))
    library.store().put(orphan, b"x" * 100)
    sample.chunk(1).with_name(f".{sample.chunk(1).name}.77.tmp").write_bytes(b"half")
    sample.chunk(2).with_name(f"{sample.chunk(2).name}.bad").write_bytes(b"bad")
    (sample.library / "images" / "cut-off").mkdir()
    (sample.library / "images" / "at-work").mkdir()
    (sample.library / "writers").mkdir(exist_ok=True)
    (sample.library / "writers" / "at-work.json").write_text("{}")
    found = checked(command, sample.library, 0)
    assert found["orphans"] == {"chunks": 1, "bytes": 100}
    stray = [f"{sample.chunk(1).parent.name}/.{sample.chunk(1).name}.77.tmp"]
    stray.append(f"{sample.chunk(2).parent.name}/{sample.chunk(2).name}.bad")
    assert sorted(found["leftovers"]) == sorted(["images/cut-off", *(f"chunks/{path}" for path in stray)])


def test_the_parts_of_a_large_library_give_the_same_answer(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = captured.copy(tmp_path / "library")
    other = sample_disk(tmp_path / "other.img", seed=2)
    capture_here(other, sample.library, tmp_path / "job")
    sample.chunk(4).unlink()
    whole = look(sample.library)
    monkeypatch.setattr(naming, "_MOST_HELD", 3)
    monkeypatch.setattr(naming, "_BLOCK", 2)
    assert look(sample.library) == whole
    assert (whole.bad_count, whole.bad) == (1, (sample.index.id(4).hex(),))


def look(library: Path) -> Examined:
    return structure.check(Library.open(library), lambda _, __: None, threading.Event())


def test_behind_a_web_server_each_chunk_is_asked_for(command: Rescue, sample: Sample, tmp_path: Path) -> None:
    with web.serving(sample.library.parent, tmp_path / "nginx") as site:
        url = f"{site.url}/{sample.library.name}"
        found = checked(command, url, 0)
        assert (found["stock"], found["orphans"], found["named"]) == (
            None,
            None,
            len(names(sample)),
        )
        (said,) = command("library", "info", url, "--json").json["libraries"]
        assert (said["library"], said["chunks"], said["images"]) == (url, None, 1)
        sample.chunk(2).unlink()
        assert checked(command, url, 4)["bad"] == [sample.index.id(2).hex()]
