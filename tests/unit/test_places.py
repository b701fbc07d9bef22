"""Places that a recovery drive remembers: a file that anybody may have written."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from imaging import places
from imaging.errors import IoError, UsageError
from imaging.places import Remembered

NAS = Remembered(address="//nas/backup", user="anna", domain="OFFICE")


def test_a_place_is_remembered_and_forgotten(tmp_path: Path) -> None:
    assert places.read(tmp_path) == ()
    places.remember(tmp_path, NAS)
    bucket = Remembered(address="s3://office/images?endpoint=https://nas:9000")
    places.remember(tmp_path, bucket)
    assert places.read(tmp_path) == (NAS, bucket)
    assert oct((tmp_path / places.FILE).stat().st_mode & 0o777) == "0o600"
    places.forget(tmp_path, NAS)
    assert places.read(tmp_path) == (bucket,)
    places.forget(tmp_path, NAS)


def test_a_place_that_is_known_is_replaced_and_another_users_stays(tmp_path: Path) -> None:
    other = Remembered(address="//nas/backup", user="bert")
    places.remember(tmp_path, NAS)
    places.remember(tmp_path, other)
    anew = Remembered(address="//nas/backup", user="anna", password="pa,ss")
    places.remember(tmp_path, anew)
    assert places.read(tmp_path) == (other, anew)
    assert "pa,ss" not in repr(anew)


def test_a_password_is_kept_only_where_there_is_one(tmp_path: Path) -> None:
    places.remember(tmp_path, NAS)
    assert "password" not in (tmp_path / places.FILE).read_text()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/mnt/images",
        "//",
        "https://anna:secret@nas/x",
        "smb://anna:secret@nas/x",
        "a" * 2000,
        "s3://office/images?endpoint=https://s3.\u0430mazonaws.com",
        "s3://office/images?endpoint=https://nas%20(https://other)",
        "s3://office/images?endpoint=s3://nas",
    ],
)
def test_what_is_no_address_is_not_remembered(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError):
        places.remember(tmp_path, Remembered(address=address))
    assert not (tmp_path / places.FILE).exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 30000,
        '{"places": {}}',
        '{"places": [1, null, {}, {"address": 3}, {"address": "/etc"}, {"address": "//nas/x", "user": "\\u001b[2J"}]}',
        '{"places": [{"address": "//nas/x", "user": ["anna"]}]}',
        "x" * (1 << 20),
    ],
    ids=range(8),
)
def test_what_cannot_be_meant_is_passed_over_and_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / places.FILE).write_text(text)
    assert places.read(tmp_path) == ()
    places.remember(tmp_path, NAS)
    assert places.read(tmp_path) == (NAS,)


def test_good_entries_beside_bad_ones_are_kept(tmp_path: Path) -> None:
    (tmp_path / places.FILE).write_text(json.dumps({"places": [{"address": "x"}, asdict(NAS)]}))
    assert places.read(tmp_path) == (NAS,)


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(json.dumps({"places": [asdict(NAS)]}))
    (tmp_path / places.FILE).symlink_to(tmp_path / "elsewhere")
    assert places.read(tmp_path) == ()


def test_there_is_an_end_to_it(tmp_path: Path) -> None:
    many = [{"address": f"//nas/{number}"} for number in range(200)]
    (tmp_path / places.FILE).write_text(json.dumps({"places": many}))
    assert len(places.read(tmp_path)) == 100
    with pytest.raises(UsageError, match="no more places"):
        places.remember(tmp_path, NAS)
    assert len(json.loads((tmp_path / places.FILE).read_text())["places"]) == 200


def test_what_would_be_too_long_to_be_read_again_is_not_written(tmp_path: Path) -> None:
    long = [Remembered(address=f"//nas/{number}", user="u" * 1000) for number in range(100)]
    with pytest.raises(UsageError, match="no more places"):
        for place in long:
            places.remember(tmp_path, place)
    assert 50 < len(places.read(tmp_path)) < 100


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / places.FILE).mkdir()
    assert places.read(tmp_path) == ()
    with pytest.raises(IoError):
        places.remember(tmp_path, NAS)
