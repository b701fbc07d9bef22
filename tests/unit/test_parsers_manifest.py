"""Manifests, plans, events and the mark of an unfinished restore, whatever bytes come in."""

from dataclasses import replace

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from imaging import events, manifest, plan, unfinished
from imaging.disk import DiskId, PartitionTable, TableKind
from imaging.errors import BadImageError, UsageError
from imaging.manifest import Image, ImagedDisk, InnerVolume, Machine, Volume

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SIZES = st.integers(17408, 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def imaged(name: str = "sda", size: int = 1 << 30) -> ImagedDisk:
    """A disk of an image without anything on it."""
    return ImagedDisk(
        name=name,
        id=DiskId(size=size, model="M", serial="S"),
        logical_sector=512,
        physical_sector=4096,
        table=PartitionTable(kind=TableKind.GPT),
        volumes=(),
        table_extents=((0, 17408),),
        used=17408,
        chunks=1,
        index_digest="00",
        used_digest="00",
        blake3_digest="00",
    )


IMAGE = Image(id="20261122-101112-abcd", created="2026-11-22T10:11:12Z", disks=(imaged(),))
ENCODED = manifest.encode(IMAGE)


def signed(image: object, version: object = 1) -> bytes:
    """A manifest with the right digest over whatever stands in it."""
    digest = blake3(msgspec.json.encode(image, order="sorted")).hexdigest()
    return msgspec.json.encode({"format": version, "digest": digest, "image": image})


def _refused(data: bytes) -> BadImageError:
    with pytest.raises(BadImageError, match=r"manifest\.json") as caught:
        manifest.decode(data, "images/a/manifest.json")
    return caught.value


@given(TEXT, TEXT, SIZES, SIZES)
def test_a_manifest_comes_back(label: str, serial: str, stored: int, size: int) -> None:
    image = Image(
        id="a", created="2026", disks=(imaged(size=size),), label=label, machine=Machine(serial=serial), stored=stored
    )
    assert manifest.decode(manifest.encode(image), "manifest.json") == image


VOLUME = Volume(number=1, start=0, size=1 << 20, used=9, map_origin="lvm")


def test_logical_volumes_come_back_and_older_manifests_have_none() -> None:
    inner = InnerVolume(name="group/root", size=9, used=9, map_origin="whole", note="why", pieces=((4, 9), (0, 4)))
    image = replace(IMAGE, disks=(replace(IMAGE.disks[0], volumes=(replace(VOLUME, inner=(inner,)),)),))
    assert manifest.decode(manifest.encode(image), "manifest.json") == image
    old = msgspec.to_builtins(replace(IMAGE, disks=(replace(IMAGE.disks[0], volumes=(VOLUME,)),)))
    del old["disks"][0]["volumes"][0]["inner"]
    assert manifest.decode(signed(old), "manifest.json").disks[0].volumes == (VOLUME,)


@given(st.integers(0, len(ENCODED.rstrip()) - 1))
def test_a_manifest_cut_short_anywhere_is_refused(length: int) -> None:
    assert _refused(ENCODED[:length]).code == "bad-manifest"


@given(st.integers(0, len(ENCODED) - 1), st.integers(1, 255))
def test_a_manifest_with_a_flipped_byte_is_refused_or_the_same(at: int, bits: int) -> None:
    damaged = bytearray(ENCODED)
    damaged[at] ^= bits
    try:
        assert manifest.decode(bytes(damaged), "manifest.json") == IMAGE  # white space between tokens
    except BadImageError as error:
        assert error.code in ("bad-manifest", "unknown-version")


@given(st.binary(max_size=100))
def test_no_bytes_make_the_manifest_parser_fail_otherwise(data: bytes) -> None:
    _refused(data)


@given(JSON)
def test_no_json_makes_the_manifest_parser_fail_otherwise(value: object) -> None:
    _refused(msgspec.json.encode(value) if _encodes(value) else b"1" * 40)


@given(JSON, JSON)
def test_no_signed_json_makes_the_manifest_parser_fail_otherwise(image: object, version: object) -> None:
    if _encodes([image, version]):
        _refused(signed(image, version))


def _encodes(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except (OverflowError, ValueError):
        return False
    return True


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"format":1,"image":' + b"[" * 100_000, b'{"a":' * 100_000])
def test_a_manifest_nested_too_deeply_is_refused(data: bytes) -> None:
    _refused(data)


def test_a_manifest_without_an_image_is_refused_though_its_digest_is_right() -> None:
    digest = blake3(msgspec.json.encode(None)).hexdigest()
    assert _refused(msgspec.json.encode({"format": 1, "digest": digest})).code == "bad-manifest"


def test_a_number_too_large_for_any_disk_is_refused() -> None:
    _refused(b'{"format":1,"digest":"","image":{"id":' + b"9" * 40 + b"}}")


@pytest.mark.parametrize("version", [0, 2, "1", None, [], {"a": 1}, 10**18])
def test_another_format_version_is_refused_as_such(version: object) -> None:
    error = _refused(signed(msgspec.to_builtins(IMAGE), version))
    assert error.code == "unknown-version"
    assert error.hint == "use a newer version of Rescue"


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc/shadow", "/etc/shadow", "a/b", "a\0b"])
def test_a_disk_name_that_leads_elsewhere_is_refused(name: str) -> None:
    image = msgspec.to_builtins(IMAGE)
    image["disks"][0]["name"] = name
    assert repr(name) in _refused(signed(image)).message


def test_two_disks_of_one_name_are_refused() -> None:
    image = msgspec.to_builtins(IMAGE)
    image["disks"] *= 2
    assert "two disks bear one name" in _refused(signed(image)).message


@pytest.mark.parametrize("sector", [0, 1, 511, 513, 1 << 20, 2**63 - 1])
def test_sector_sizes_that_no_disk_has_are_refused(sector: int) -> None:
    image = msgspec.to_builtins(IMAGE)
    image["disks"][0]["logical_sector"] = sector
    assert "sector" in _refused(signed(image)).message


@pytest.mark.parametrize(
    "ranges",
    [
        [[0, 2**40]],
        [[2**30 - 512, 2**30 + 512]],
        [[0, 1024], [512, 2048]],
        [[4096, 8192], [0, 512]],
        [[512, 512]],
        [[1024, 512]],
        [[0, 2**30]],
    ],
)
def test_a_table_that_overlaps_lies_beyond_the_disk_or_is_the_disk_is_refused(ranges: list[list[int]]) -> None:
    image = msgspec.to_builtins(IMAGE)
    image["disks"][0]["table_extents"] = ranges
    assert "partition table" in _refused(signed(image)).message


@given(st.binary(max_size=200) | JSON.filter(_encodes).map(msgspec.json.encode))
def test_no_line_makes_the_event_parser_fail(line: bytes) -> None:
    events.decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"log","time":1,"message":"\xff"}',
        b"[" * 100_000,
        b'{"event":"log","time":1,"message":"a"',
        b'{"event":"of tomorrow","time":1}',
        b"",
    ],
)
def test_a_line_that_is_damaged_or_of_tomorrow_is_skipped(line: bytes) -> None:
    assert events.decode(line) is None


@given(st.floats(allow_nan=False, allow_infinity=False), TEXT, st.integers(0, 2**63), st.integers(0, 2**63))
def test_events_come_back(time: float, text: str, done: int, total: int) -> None:
    result = events.VerifyResult(image=text, chunks=done, bytes=total, bad=(text,), differing=0, seconds=time)
    for event in (
        events.Log(time=time, message=text),
        events.Progress(time=time, done=done, total=total),
        events.Finished(time=time, status=4, message=text, code=text, result=result),
    ):
        line = events.encode(event)
        assert events.decode(line) == event
        assert line.count(b"\n") == 1


@given(st.binary(max_size=200) | JSON.filter(_encodes).map(msgspec.json.encode))
def test_no_bytes_make_the_plan_parser_fail_otherwise(data: bytes) -> None:
    with pytest.raises(UsageError):
        plan.decode(data)


@pytest.mark.parametrize("data", [b'{"kind":"capture","library":"\xff"}', b"[" * 100_000])
def test_a_damaged_plan_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        plan.decode(data)


@given(st.binary(min_size=512, max_size=512))
def test_no_sector_makes_the_mark_parser_fail(sector: bytes) -> None:
    assert unfinished.parse(sector) == ""


@pytest.mark.parametrize(
    ("name", "first", "second", "known"),
    [
        ("image", 0x00, 0x00, True),
        ("image", 0x83, 0x00, False),
        ("image", 0xEE, 0x00, False),
        (unfinished.MEDIUM, 0xEE, 0x00, True),
        (unfinished.MEDIUM, 0x83, 0x00, False),
        (unfinished.MEDIUM, 0xEE, 0x83, False),
    ],
)
def test_a_disk_that_was_partitioned_anew_bears_no_mark(name: str, first: int, second: int, known: bool) -> None:
    sector = bytearray(unfinished.render(name, "saved"))
    sector[446 + 4], sector[462 + 4] = first, second
    assert unfinished.parse(bytes(sector)) == (name if known else "")
    assert unfinished.parse_saved(bytes(sector)) == ("saved" if known else "")


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_the_mark_of_an_unfinished_restore_comes_back(image_id: str) -> None:
    sector = unfinished.render(image_id)
    assert len(sector) == 512
    assert sector[510:] == b"\x55\xaa"
    assert sector[446:510] == bytes(64), "the mark must be a table without partitions"
    assert unfinished.parse(sector) == image_id


@pytest.mark.parametrize("name", ["image", unfinished.MEDIUM])
def test_a_mark_that_is_cut_off_is_none(name: str) -> None:
    sector = unfinished.render(name, "saved")
    assert {unfinished.parse(sector[:size]) for size in range(512)} == {""}


@given(st.integers(0, 511), st.integers(0, 255))
def test_a_damaged_mark_never_fails(at: int, value: int) -> None:
    sector = bytearray(unfinished.render("a"))
    sector[at] = value
    unfinished.parse(bytes(sector))
