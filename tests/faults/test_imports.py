"""Disks of other programs, imported: the same image as a capture of the disk makes, and all or nothing."""

import bz2
import gzip
import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

from imaging import encryption, importing, keyring, retention
from imaging.chunk import Buffer
from imaging.errors import IoError
from imaging.events import CaptureResult, ImportResult
from imaging.extents import Extents
from imaging.foreign import ForeignDisk, ForeignImage
from imaging.imageplans import ExportFormat, ExportPlan, ImportPlan, PrunePlan
from imaging.jobs import JobState
from imaging.keyslots import LEAST
from imaging.library import Library
from imaging.manifest import Image, Machine
from imaging.pipeline import busy_chunks
from imaging.stores import LocalStore
from imaging.storing import Storing
from imaging.streaming import Stream, store_stream
from imaging.writers import Writer
from tests.command import Outcome
from tests.disks import MIB, blank, partition, run
from tests.faults.killing import finish, kill, start, wait_for_step
from tests.faults.world import Sample, capture_here, carry_out_here, holds_used_bytes, restore_here, warnings_of

MBR = "label: dos\nstart=63, size=10000, type=83\nstart=20480, size=77000, type=5\nstart=20543, size=8192\n" + (
    "start=40960, size=50000\n"
)
"""Partitions that begin where no chunk of four MiB would, two of them logical ones."""


def used_disk(path: Path, table: str, *places: int) -> Path:
    """A disk with a table, an ext4 at each of `places`, and in all of them what was deleted."""
    partition(blank(path, 48 * MIB), table)
    source = random.Random(3)
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(source.randbytes(4 * MIB))
    for place in places:
        run("mkfs.ext4", "-q", "-E", f"offset={place},nodiscard", path, "4M")
    return path


def import_here(source: Path, library: Path, folder: Path, label: str = "") -> ImportResult:
    done = carry_out_here(ImportPlan(library=str(library), source=str(source), label=label, level=1), folder)
    assert done.status == 0, done
    assert isinstance(done.result, ImportResult)
    return done.result


def only_image(library: Path) -> Image:
    (image,) = Library.open(library).images().images
    return image


def chunks(library: Path) -> set[str]:
    return {path.name for path in (library / "chunks").glob("*/*")}


def parts(library: Path, image: Image) -> list[bytes]:
    (disk,) = image.disks
    return [
        Library.open(library).file(image.id, disk.name, suffix).read_bytes() for suffix in ("caibx", "used", "blake3")
    ]


def zst(source: Path, target: Path) -> Path:
    target.write_bytes(zstandard.ZstdCompressor(level=1).compress(source.read_bytes()))
    return target


@pytest.mark.root
@pytest.mark.parametrize(
    ("table", "places"),
    [
        ("label: gpt\nstart=1MiB, size=13MiB\nstart=14MiB, size=21MiB\n", (MIB, 14 * MIB)),
        (MBR, (63 * 512, 20543 * 512, 40960 * 512)),
    ],
    ids=["gpt", "mbr"],
)
def test_a_stream_becomes_the_image_that_a_capture_makes(tmp_path: Path, table: str, places: tuple[int, ...]) -> None:
    disk = used_disk(tmp_path / "pc.img", table, *places)
    captured = capture_here(disk, tmp_path / "captured", tmp_path / "capture").result
    assert isinstance(captured, CaptureResult)
    result = import_here(zst(disk, tmp_path / "pc.img.zst"), tmp_path / "library", tmp_path / "job")
    theirs, ours = only_image(tmp_path / "captured"), only_image(tmp_path / "library")
    assert parts(tmp_path / "library", ours) == parts(tmp_path / "captured", theirs)
    assert chunks(tmp_path / "library") == chunks(tmp_path / "captured")
    assert (result.used, result.chunks) == (captured.used, captured.chunks)
    # A chunk of zeros is new to a capture that meets it among what is used, and never to an import.
    assert result.new <= captured.new
    assert result.stored <= captured.stored
    assert ours.disks[0].volumes == theirs.disks[0].volumes
    assert ours.disks[0].table == theirs.disks[0].table
    assert ours.tool.endswith("imported from pc.img.zst: raw disk (zst)")
    assert not warnings_of(tmp_path / "job")


@pytest.mark.root
def test_what_was_exported_comes_back_with_other_sectors_too(tmp_path: Path) -> None:
    disk = partition(blank(tmp_path / "pc.img", 40 * MIB), "label: gpt\nstart=1MiB, size=30MiB\n", sector=4096)
    run("mkfs.ext4", "-q", "-b", "4096", "-E", f"offset={MIB}", disk, "30M")
    first, second = tmp_path / "first", tmp_path / "second"
    assert capture_here(disk, first, tmp_path / "capture").status == 0
    before = only_image(first)
    packed = tmp_path / "pc.img.zst"
    plan = ExportPlan(library=str(first), image=before.id, target=str(packed), format=ExportFormat.ZSTD)
    assert carry_out_here(plan, tmp_path / "export").status == 0
    import_here(packed, second, tmp_path / "import", "again")
    after = only_image(second)
    assert (after.label, after.disks[0].logical_sector) == ("again", 4096)
    assert parts(second, after) == parts(first, before)
    with (tmp_path / "target.img").open("wb") as file:
        file.truncate(40 * MIB)
    assert restore_here(Sample(second, after.id, disk), tmp_path / "target.img", tmp_path / "restore").status == 0
    assert holds_used_bytes(Sample(first, before.id, disk), tmp_path / "target.img")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A disk of which only what is used is there, in small pieces."""

    path: Path
    used: Extents
    name: str = "sda"
    sector: int = 512
    left_out: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        with self.path.open("rb") as file:
            for start, end in self.used:
                for at in range(start, end, 300_001):
                    file.seek(at)
                    yield at, file.read(min(300_001, end - at))


@pytest.mark.root
def test_a_disk_that_says_what_is_used_is_believed(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = Library.open(captured.library).files(captured.image, captured.imaged).used
    machine = Machine(vendor="ACME", serial="1")
    disks = (Mapped(captured.disk, used),)
    foreign = ForeignImage(kind="raw disk", disks=disks, label="old", created="2019-02-03T04:05:06Z", machine=machine)
    monkeypatch.setattr(importing, "open_foreign", lambda *_: foreign)
    result = import_here(captured.disk, tmp_path / "library", tmp_path / "job")
    image = only_image(tmp_path / "library")
    assert parts(tmp_path / "library", image) == parts(captured.library, captured.image)
    assert (image.label, image.created, image.machine) == ("old", foreign.created, machine)
    assert [volume.used for volume in image.disks[0].volumes] == [volume.used for volume in captured.imaged.volumes]
    assert (result.used, result.chunks) == (used.total, len(busy_chunks(captured.index, used)))


@pytest.mark.root
@pytest.mark.parametrize(
    "piece", [(1 << 30, b"x"), (47 * MIB, bytes(2 * MIB)), (0, b"again")], ids=["far", "over", "back"]
)
def test_pieces_that_make_no_disk_make_no_image(
    captured: Sample, tmp_path: Path, piece: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = iter([(0, captured.disk.read_bytes()[:MIB]), (MIB, b"more"), piece])
    disk = Mapped(captured.disk, Extents([(0, MIB)]))
    monkeypatch.setattr(Mapped, "pieces", lambda _: pieces)
    monkeypatch.setattr(importing, "open_foreign", lambda *_: ForeignImage(kind="raw disk", disks=(disk,)))
    assert refused(captured.disk, tmp_path / "library", tmp_path / "job") == (4, "bad-stream")


def test_a_plain_disk_file_is_captured_as_it_is(captured: Sample, tmp_path: Path) -> None:
    result = import_here(captured.disk, tmp_path / "library", tmp_path / "job")
    image = only_image(tmp_path / "library")
    assert parts(tmp_path / "library", image) == parts(captured.library, captured.image)
    assert (result.kind, image.disks[0].name) == ("raw disk", captured.disk.name)


@pytest.mark.root
def test_a_bare_file_system_of_an_odd_size_is_a_disk(tmp_path: Path) -> None:
    disk = blank(tmp_path / "data.img", 9 * MIB)
    run("mkfs.ext4", "-q", disk)
    with disk.open("ab") as file:
        file.write(b"more than whole sectors")
    import_here(zst(disk, tmp_path / "data.zst"), tmp_path / "library", tmp_path / "job")
    image = only_image(tmp_path / "library")
    assert (image.size, image.disks[0].name) == (9 * MIB + 23, "data")
    assert [(volume.number, volume.map_origin) for volume in image.disks[0].volumes] == [(0, "rescue")]
    sample = Sample(tmp_path / "library", image.id, disk)
    plan = ExportPlan(
        library=str(sample.library), image=image.id, target=str(tmp_path / "out"), format=ExportFormat.RAW
    )
    assert carry_out_here(plan, tmp_path / "export").status == 0
    used = Library.open(sample.library).files(image, image.disks[0]).used
    original, back = disk.read_bytes(), (tmp_path / "out").read_bytes()
    assert len(original) == len(back)
    assert all(original[start:end] == back[start:end] for start, end in used)


def refused(source: Path, library: Path, folder: Path) -> tuple[int, str]:
    """Status and code of an import that fails: no image may be listed then, and nobody's mark be left."""
    done = carry_out_here(ImportPlan(library=str(library), source=str(source)), folder)
    assert done.status != 0
    if library.exists():
        assert not Library.open(library).images().images
        assert not list((library / "images").iterdir())
        assert not list((library / "writers").iterdir())
    return done.status, done.code


@pytest.mark.root
def test_a_stream_that_is_cut_short_makes_no_image(captured: Sample, tmp_path: Path) -> None:
    packed = zst(captured.disk, tmp_path / "pc.img.zst")
    with packed.open("r+b") as file:
        file.truncate(packed.stat().st_size - 5)
    assert refused(packed, tmp_path / "library", tmp_path / "job") == (4, "bad-stream")
    whole = zst(captured.disk, tmp_path / "pc.img.zst")
    result = import_here(whole, tmp_path / "library", tmp_path / "again")
    assert result.new < result.chunks / 2, "what the first one stored was there"
    assert parts(tmp_path / "library", only_image(tmp_path / "library")) == parts(captured.library, captured.image)


@pytest.mark.root
@pytest.mark.parametrize("pack", [bytes, lambda data: bz2.compress(data, 1)], ids=["plain", "packed"])
@pytest.mark.parametrize("lost", [0, 512], ids=["whole head", "damaged head"])
def test_a_copy_of_a_part_of_a_disk_makes_no_image(tmp_path: Path, pack: Callable[[bytes], bytes], lost: int) -> None:
    data = partition(blank(tmp_path / "pc.img", 12 * MIB), "label: gpt\nstart=1MiB, size=2MiB\n").read_bytes()
    data = data[:512] + bytes(lost) + data[512 + lost :]
    path = tmp_path / "part"
    path.write_bytes(pack(data[: 6 * MIB]))
    assert refused(path, tmp_path / "library", tmp_path / "job") == (4, "bad-stream")
    path.write_bytes(pack(data))
    import_here(path, tmp_path / "library", tmp_path / "again")


@pytest.mark.root
def test_one_that_is_written_to_meanwhile_makes_no_image(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zst(captured.disk, tmp_path / "pc.img.zst")

    def store_late(job: Storing, disk: ForeignDisk) -> Stream:
        stream = store_stream(job, disk)
        packed.write_bytes(packed.read_bytes())
        return stream

    monkeypatch.setattr(importing, "store_stream", store_late)
    assert refused(packed, tmp_path / "library", tmp_path / "job") == (5, "source-changed")


@pytest.mark.root
def test_a_stream_is_read_back_once_all_of_it_is_stored(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, sync, late = LocalStore.put, LocalStore.sync, list[tuple[bytes, bytes]]()

    def store_all(self: LocalStore) -> None:
        while late:
            put(self, *late.pop())
        sync(self)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", lambda _, chunk, frame: late.append((chunk, bytes(frame))))
        patch.setattr(LocalStore, "sync", store_all)
        import_here(zst(captured.disk, tmp_path / "pc.img.zst"), tmp_path / "library", tmp_path / "job")
    assert only_image(tmp_path / "library").disks[0].volumes == captured.image.disks[0].volumes
    assert parts(tmp_path / "library", only_image(tmp_path / "library")) == parts(captured.library, captured.image)


@pytest.mark.root
def test_a_stream_that_could_not_be_read_back_makes_no_image(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, lost = LocalStore.get, captured.index.id(captured.index.find(14 * MIB - 1))  # the end of a partition

    def fail(self: LocalStore, chunk: bytes, size: int) -> Buffer:
        if chunk == lost:
            raise IoError("bad sector", code="read-failed")
        return get(self, chunk, size)

    monkeypatch.setattr(LocalStore, "get", fail)
    packed = zst(captured.disk, tmp_path / "pc.img.zst")
    assert refused(packed, tmp_path / "library", tmp_path / "job") == (5, "read-failed")


@pytest.mark.root
def test_one_that_is_cancelled_makes_no_image(captured: Sample, tmp_path: Path) -> None:
    packed = zst(captured.disk, tmp_path / "pc.img.zst")
    job = start(ImportPlan(library=str(tmp_path / "library"), source=str(packed), level=19))
    wait_for_step(job, "Importing pc.img")
    kill(job, signal.SIGTERM)
    assert job.state is JobState.CANCELLED
    assert not Library.open(tmp_path / "library").images().images
    assert not list((tmp_path / "library/writers").iterdir())


@pytest.mark.root
def test_no_rule_takes_two_disks_that_were_imported_for_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        disk = blank(tmp_path / name, 8 * MIB)
        run("mkfs.ext4", "-q", disk)
        import_here(zst(disk, tmp_path / f"{name}.zst"), tmp_path / "library", tmp_path / f"job-{name}")
    images = Library.open(tmp_path / "library").images().images
    assert len({retention.group_of(image) for image in images}) == 2


@pytest.mark.root
def test_one_that_was_killed_is_no_image_and_the_next_is_whole(captured: Sample, tmp_path: Path) -> None:
    packed = zst(captured.disk, tmp_path / "pc.img.zst")
    plan = ImportPlan(library=str(tmp_path / "library"), source=str(packed))
    job = start(plan)
    wait_for_step(job, "Importing pc.img")
    kill(job)
    if job.state is not JobState.DONE:
        assert not Library.open(tmp_path / "library").images().images
        assert finish(start(plan)).state is JobState.DONE
    assert parts(tmp_path / "library", only_image(tmp_path / "library")) == parts(captured.library, captured.image)


@pytest.mark.root
def test_an_encrypted_library_keeps_nothing_that_is_not_used(tmp_path: Path) -> None:
    disk = used_disk(tmp_path / "pc.img", "label: gpt\nstart=1MiB, size=13MiB\n", MIB)
    reference, path = tmp_path / "captured", tmp_path / "library"
    assert capture_here(disk, reference, tmp_path / "capture").status == 0
    encryption.create(path, "correct horse", cost=LEAST)
    try:
        packed = zst(disk, tmp_path / "pc.img.zst")
        first, again = (import_here(packed, path, tmp_path / f"job{i}") for i in (1, 2))
        assert len(chunks(path)) == len(chunks(reference))
        assert 0 < first.stored <= sum(file.stat().st_size for file in (path / "chunks").glob("*/*"))
        assert (again.new, again.stored) == (0, 0)
    finally:
        keyring.forget_all()


@pytest.mark.root
def test_beside_another_writer_nothing_is_removed_and_a_later_deletion_does_it(tmp_path: Path) -> None:
    table = "label: gpt\nstart=1MiB, size=13MiB\n"
    disk = used_disk(tmp_path / "pc.img", table, MIB)
    reference, path = tmp_path / "captured", tmp_path / "library"
    assert capture_here(disk, reference, tmp_path / "capture").status == 0
    library = Library.open_or_create(path)
    other = Writer(library, "20240229-120000-01234567")
    import_here(zst(disk, tmp_path / "pc.img.zst"), path, tmp_path / "job")
    assert [words for words in warnings_of(tmp_path / "job") if "freed by the next deletion" in words]
    other.end()
    assert chunks(path) > chunks(reference)
    plan = PrunePlan(library=str(path))
    assert carry_out_here(plan, tmp_path / "prune").status == 0
    assert chunks(path) == chunks(reference)
    assert [folder.name for folder in (path / "images").iterdir()] == [only_image(path).id]


def test_without_root_a_stream_is_refused_before_anything_is_stored(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zst(captured.disk, tmp_path / "pc.img.zst")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refused(packed, tmp_path / "library", tmp_path / "job") == (3, "no-permission")
    assert not (tmp_path / "library").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing", tmp_path / "library", tmp_path / "job") == (2, "no-such-file")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "folder", tmp_path / "library", tmp_path / "job") == (2, "not-a-file")


@pytest.mark.root
def test_the_command_imports_and_says_what(captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome]) -> None:
    packed = tmp_path / "disk.gz"
    packed.write_bytes(gzip.compress(captured.disk.read_bytes(), 0))
    said = rescue("import", packed, "--label", "old PC", "--library", tmp_path / "library").out
    assert "was imported" in said
    assert "raw disk (gz)" in said
    assert only_image(tmp_path / "library").label == "old PC"
