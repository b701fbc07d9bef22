"""Images on larger disks whose last partition takes the room that is left, with its file system."""

import dataclasses
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imaging import enlarging, inventory, restoring
from imaging import growth as growth_
from imaging.changes import Growth
from imaging.errors import RefusedError
from imaging.events import Step
from imaging.growth import with_growth
from imaging.jobs import JobState
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.planner import plan_restore
from imaging.restore import restore
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.faults.killing import finish, kill_after, moments, seconds_of, wait_for_first_write, wait_for_step
from tests.faults.killing import start as begin
from tests.matrix import images, layouts, tools, volumes
from tests.matrix.images import Captured
from tests.matrix.layouts import Layout
from tests.matrix.tools import Place, attached, said
from tests.matrix.volumes import BTRFS, EXT4, FAT32, NTFS, SWAP_SIZE, XFS, FileSystem

pytestmark = pytest.mark.root
_MORE = 700 * MIB
_KILLS = 6
GPT, GPT_4K, MBR = (Layout(table=table, sector=sector) for table, sector in (("gpt", 512), ("gpt", 4096), ("dos", 512)))
_SWAP = ("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "82")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaged:
    """A disk with a swap area and a file system behind it, captured."""

    kind: FileSystem
    layout: Layout
    place: Place
    entries: dict[str, str]
    captured: Captured

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self.place.path.stat().st_size

    def grown(self, target: Path) -> Place:
        """Where the file system lies on a target on which it has all the room."""
        end = (target.stat().st_size - MIB) // MIB * MIB
        return Place(path=target, start=self.place.start, size=end - self.place.start, sector=self.layout.sector)

    def plan(self, target: Path) -> RestorePlan:
        """Restore onto the target, with growth."""
        library = self.captured.library
        image = Library.open(library).image(self.captured.image)
        shown = inventory.look(str(target), [library])
        return with_growth(plan_restore(library, image, {self.place.path.name: shown}))


def _disk(folder: Path, kind: FileSystem, layout: Layout, files: Path, *, last: bool = True) -> Imaged:
    """`last` tells whether nothing but free room follows the file system, else swap does."""
    at = MIB if last else MIB + kind.size_at(layout.sector)
    swap = Place(path=folder / "source.img", start=at, size=SWAP_SIZE, sector=layout.sector)
    start = MIB + SWAP_SIZE if last else MIB
    place = Place(path=swap.path, start=start, size=kind.size_at(layout.sector), sector=layout.sector)
    column = 0 if layout.table == "gpt" else 1
    lines = [f"label: {layout.table}", "unit: sectors"]
    rows = [(swap, _SWAP), (place, (kind.gpt_type, kind.mbr_type))]
    for one, code in sorted(rows, key=lambda row: row[0].start):
        lines.append(f"start={one.start // layout.sector}, size={one.size // layout.sector}, type={code[column]}")
    blank(place.path, max(place.start + place.size, swap.start + swap.size) + 2 * MIB)
    partition(place.path, "\n".join(lines) + "\n", layout.sector)
    volumes.make(kind, place)
    volumes.fill(kind, place, files)
    with attached(swap) as loop:
        said("mkswap", loop)
    entries = volumes.entries(kind, place)
    return Imaged(
        kind=kind,
        layout=layout,
        place=place,
        entries=entries,
        captured=images.capture(place.path, folder / "library"),
    )


_CASES = [(EXT4, GPT), (EXT4, GPT_4K), (EXT4, MBR), (NTFS, GPT), (NTFS, MBR), (XFS, GPT), (XFS, MBR)]
_CASES += [(BTRFS, GPT), (BTRFS, MBR)]


@pytest.fixture(scope="module", params=_CASES, ids=lambda case: f"{case[0].name}-{case[1]}")
def imaged(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[Imaged]:
    """One kind of file system in one kind of table."""
    kind, layout = request.param
    folder = shared_room / f"growth-{kind.name}-{layout}"
    folder.mkdir()
    yield _disk(folder, kind, layout, files)
    run("rm", "-r", folder)


@pytest.fixture(scope="module")
def ext4(files: Path, shared_room: Path) -> Imaged:
    """ext4 at the end of a GPT disk."""
    folder = shared_room / "growth-ext4"
    folder.mkdir()
    return _disk(folder, EXT4, GPT, files)


def _grow(imaged: Imaged, target: Path, *words: object) -> dict[str, Any]:
    last: dict[str, Any] = run_rescue("restore", *images.words(imaged.captured, target), "--grow", *words).events[-1]
    return last


def _size_of(kind: FileSystem, place: Place) -> int:
    """Bytes of a file system, as it says itself."""
    with place.path.open("rb") as file:
        file.seek(place.start)
        head = file.read(128 << 10)
    match kind.name:
        case "ext4":
            (blocks,) = struct.unpack_from("<I", head, 1024 + 4)
            return int(blocks << (10 + struct.unpack_from("<I", head, 1024 + 24)[0]))
        case "ntfs":
            return int(struct.unpack_from("<Q", head, 0x28)[0] * struct.unpack_from("<H", head, 0x0B)[0])
        case "xfs":
            return int.from_bytes(head[8:16], "big") * int.from_bytes(head[4:8], "big")
        case _:
            return int(struct.unpack_from("<Q", head, (64 << 10) + 0x70)[0])


def _expect_grown(imaged: Imaged, target: Path) -> None:
    """A sound table, the file system as large as the partition, whole by its own check, and every file in it."""
    place, sector = imaged.grown(target), imaged.layout.sector
    assert "No errors detected" in layouts.verified_table(target, sector)
    table, before = layouts.table_of(target, sector), layouts.table_of(imaged.place.path, sector)
    assert {k: v for k, v in table.items() if k in ("id", "label")} == {
        k: v for k, v in before.items() if k in ("id", "label")
    }
    first, last = table["partitions"]
    assert first == before["partitions"][0]
    assert last == {**before["partitions"][1], "size": place.size // sector}
    slack = max(64 * MIB if imaged.kind is XFS else MIB, 0)
    assert place.size - slack <= _size_of(imaged.kind, place) <= place.size
    volumes.check(imaged.kind, place)
    if imaged.kind is NTFS:
        with attached(place, read_only=True) as loop:
            said("ntfsresize", "--info", "--force", "--no-progress-bar", loop)
    assert volumes.entries(imaged.kind, place) == imaged.entries


def test_the_last_partition_takes_the_room_of_a_larger_disk(imaged: Imaged, room: Path) -> None:
    target = blank(room / "target.img", imaged.size + _MORE + 5 * imaged.layout.sector)
    with target.open("r+b") as file:
        file.seek(imaged.size - MIB)
        file.write(b"\xaa" * (300 * MIB))
    place = imaged.grown(target)
    growth = run_rescue("restore", *images.words(imaged.captured, target), "--grow", "--plan").json["targets"][0][
        "growth"
    ]
    assert (growth["start"], growth["old_size"], growth["size"]) == (place.start, imaged.place.size, place.size)
    assert _grow(imaged, target)["result"]["grown"] == [
        {
            "partition": "target.img:2",
            "before": imaged.place.size,
            "size": place.size,
            "filesystem": True,
            "why_not": "",
        }
    ]
    _expect_grown(imaged, target)


def test_a_grown_disk_is_restored_again_with_and_without_growth(imaged: Imaged, room: Path) -> None:
    target = blank(room / "target.img", imaged.size + _MORE, fill=0xAA)
    _grow(imaged, target)
    assert _grow(imaged, target)["status"] == 0
    _expect_grown(imaged, target)
    images.restore(imaged.captured, target)
    table, before = (layouts.table_of(path, imaged.layout.sector) for path in (target, imaged.place.path))
    assert table["partitions"] == before["partitions"]
    volumes.check(imaged.kind, imaged.place.on(target))
    assert volumes.entries(imaged.kind, imaged.place.on(target)) == imaged.entries
    assert _grow(imaged, target)["status"] == 0
    _expect_grown(imaged, target)


@pytest.mark.parametrize("case", [EXT4, NTFS, XFS, BTRFS], ids=lambda kind: kind.name)
def test_growth_that_is_killed_leaves_an_unfinished_disk_that_the_next_completes(
    case: FileSystem, files: Path, room: Path
) -> None:
    imaged = _disk(room, case, GPT, files)
    target = blank(room / "target.img", imaged.size + _MORE)
    job = finish(begin(imaged.plan(target)))
    assert job.state is JobState.DONE
    events = job.events()
    began = next(e.time for e in events if isinstance(e, Step) and e.name.startswith("Enlarging")) - events[0].time
    for moment in moments(_KILLS, seconds_of(job) - began + 0.02, seed=len(case.name)):
        blank(target, imaged.size + _MORE)
        job = begin(imaged.plan(target))
        wait_for_step(job, "Enlarging")
        kill_after(job, moment)
        if inventory.look(str(target)).unfinished:
            _expect_unfinished(imaged, target)
            run_rescue("complete", target, "--library", imaged.captured.library, "--erase", target.name)
        else:
            # Done, or killed while it looked at what was whole already.
            _expect_grown(imaged, target)
            assert finish(begin(imaged.plan(target))).state is JobState.DONE
        _expect_grown(imaged, target)


def _expect_unfinished(imaged: Imaged, target: Path) -> None:
    seen = inventory.look(str(target))
    assert (seen.unfinished, seen.table.partitions) == (imaged.captured.image, ())


@pytest.mark.parametrize("grown", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("case", [EXT4, NTFS, XFS, BTRFS], ids=lambda kind: kind.name)
def test_whoever_dies_at_the_growth_leaves_an_unfinished_disk(
    case: FileSystem, files: Path, room: Path, monkeypatch: pytest.MonkeyPatch, *, grown: bool
) -> None:
    """A clock seldom meets the moment in which XFS grows: the job ends there as if it had been killed."""

    class Killed(BaseException):
        """Nothing in the program waits for it."""

    def dying(file: int, growth: Growth, sector: int, cancel: threading.Event) -> None:
        if grown:
            enlarging.enlarge(file, growth, sector, cancel)
        raise Killed

    imaged = _disk(room, case, GPT, files)
    target = blank(room / "target.img", imaged.size + _MORE)
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "enlarge", dying)
        with pytest.raises(Killed):
            restore(imaged.plan(target), Reporter(len), threading.Event())
    _expect_unfinished(imaged, target)
    assert finish(begin(imaged.plan(target))).state is JobState.DONE
    _expect_grown(imaged, target)


@pytest.mark.parametrize("tool", ["e2fsck", "resize2fs"])
def test_a_file_system_that_does_not_grow_is_restored_as_it_was_and_that_is_no_success(
    ext4: Imaged, tool: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = room / "bin" / tool
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\ndd if=/dev/zero of="$(eval echo \\${$#})" bs=1M count=9 conv=notrunc\necho no luck\nexit 8\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    target = blank(room / "target.img", ext4.size + _MORE, fill=0xAA)
    done = run_rescue("restore", *images.words(ext4.captured, target), "--grow", status=8).events[-1]
    (grown,) = done["result"]["grown"]
    assert (done["code"], grown["size"]) == ("not-grown", ext4.place.size)
    assert f"{tool} ended with status 8: no luck" in grown["why_not"] in done["message"]
    table, before = (layouts.table_of(path, 512) for path in (target, ext4.place.path))
    assert table["partitions"] == before["partitions"]
    volumes.check(EXT4, ext4.place.on(target))
    assert volumes.entries(EXT4, ext4.place.on(target)) == ext4.entries
    monkeypatch.undo()
    said_ = run_rescue("verify", ext4.captured.image, "--library", ext4.captured.library, "--against", target)
    assert said_.status == 0


def _refused(imaged: Imaged, target: Path, *words: object, status: int = 3) -> dict[str, Any]:
    """The error of a restore with growth that is refused, and leaves the target as it was."""
    before = digest(target)
    done = run_rescue("restore", *images.words(imaged.captured, target), *words, status=status)
    assert digest(target) == before
    last = done.events[-1]
    found: dict[str, Any] = last.get("error") or last
    return found


def test_what_cannot_grow_is_refused_before_anything_is_written(files: Path, room: Path) -> None:
    (room / "fat").mkdir()
    (room / "swap").mkdir()
    fat = _disk(room / "fat", FAT32, GPT, files)
    swap = _disk(room / "swap", EXT4, MBR, files, last=False)
    target = blank(room / "target.img", fat.size + _MORE, fill=0xAA)
    error = _refused(fat, target, "--grow")
    assert error["code"] == "cannot-grow"
    assert "what is on it (vfat) cannot be enlarged" in error["message"]
    assert "--grow" in error["hint"]
    assert "what is on it (swap) cannot be enlarged" in _refused(swap, target, "--grow", 2)["message"]
    assert _refused(swap, target, "--grow", 7, status=2)["code"] == "no-such-partition"
    same = blank(room / "same.img", swap.size - MIB, fill=0xAA)
    assert "nothing is left" in _refused(swap, same, "--grow")["message"]


def _expect_moved(imaged: Imaged, target: Path) -> None:
    """The file system takes all up to the swap area, which stands at the end, and both are whole."""
    sector = imaged.layout.sector
    swap = Place(path=target, start=(target.stat().st_size - MIB - SWAP_SIZE) // MIB * MIB, size=SWAP_SIZE)
    root = Place(path=target, start=imaged.place.start, size=swap.start - imaged.place.start, sector=sector)
    assert "No errors detected" in layouts.verified_table(target, sector)
    now, before = (layouts.table_of(path, sector)["partitions"] for path in (target, imaged.place.path))
    assert now[0] == {**before[0], "size": root.size // sector}
    assert now[1] == {**before[1], "start": swap.start // sector}
    assert volumes.swap_identity(swap) == volumes.swap_identity(_old_swap(imaged))
    assert _size_of(EXT4, root) == root.size
    volumes.check(EXT4, root)
    assert volumes.entries(EXT4, root) == imaged.entries


def _old_swap(imaged: Imaged) -> Place:
    return Place(path=imaged.place.path, start=imaged.place.start + imaged.place.size, size=SWAP_SIZE)


@pytest.mark.parametrize("more", [5 * MIB, _MORE], ids=["overlapping", "far"])
@pytest.mark.parametrize("layout", [GPT, GPT_4K, MBR], ids=str)
def test_swap_at_the_end_goes_to_the_end_of_the_larger_disk(layout: Layout, more: int, files: Path, room: Path) -> None:
    imaged = _disk(room, EXT4, layout, files, last=False)
    target = blank(room / "target.img", imaged.size + more, fill=0xAA)
    for _ in range(2):
        _grow(imaged, target)
        _expect_moved(imaged, target)
    images.restore(imaged.captured, target)
    now, before = (layouts.table_of(path, layout.sector)["partitions"] for path in (target, imaged.place.path))
    assert now == before
    assert volumes.swap_identity(_old_swap(imaged).on(target)) == volumes.swap_identity(_old_swap(imaged))


def test_a_move_that_is_killed_is_completed_by_the_next(files: Path, room: Path) -> None:
    imaged = _disk(room, EXT4, MBR, files, last=False)
    target = blank(room / "target.img", imaged.size + 5 * MIB)
    job = finish(begin(imaged.plan(target)))
    assert job.state is JobState.DONE
    left = []
    for moment in (0.0, *moments(_KILLS, seconds_of(job), seed=5)):
        blank(target, imaged.size + 5 * MIB)
        job = begin(imaged.plan(target))
        if not moment:
            wait_for_first_write(job, target)
        kill_after(job, moment)
        left.append(inventory.look(str(target)).unfinished)
        assert finish(begin(imaged.plan(target))).state is JobState.DONE
        _expect_moved(imaged, target)
    assert imaged.captured.image in left


def test_swap_stays_where_it_was_where_the_file_system_does_not_grow(
    files: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imaged = _disk(room, EXT4, GPT, files, last=False)
    fake = room / "bin" / "resize2fs"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\ndd if=/dev/zero of="$1" bs=1M count=60 conv=notrunc\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    target = blank(room / "target.img", imaged.size + 5 * MIB, fill=0xAA)
    run_rescue("restore", *images.words(imaged.captured, target), "--grow", status=8)
    monkeypatch.undo()
    now, before = (layouts.table_of(path, 512)["partitions"] for path in (target, imaged.place.path))
    assert now == before
    assert volumes.swap_identity(_old_swap(imaged).on(target)) == volumes.swap_identity(_old_swap(imaged))
    volumes.check(EXT4, imaged.place.on(target))
    assert volumes.entries(EXT4, imaged.place.on(target)) == imaged.entries


@pytest.mark.parametrize("last", [True, False], ids=["last", "before-swap"])
def test_a_disk_file_of_another_program_grows_straight_onto_a_larger_disk(
    files: Path, room: Path, *, last: bool
) -> None:
    imaged = _disk(room, EXT4, GPT, files, last=last)
    target = blank(room / "target.img", imaged.size + _MORE, fill=0xAA)
    for _ in range(2):
        words = ("restore", imaged.place.path, target, "--erase", target.name, "--json", "--grow")
        done = run_rescue(*words).events[-1]
        assert not done["result"]["grown"][0]["why_not"]
        (_expect_grown if last else _expect_moved)(imaged, target)


def test_growth_without_room_for_it_is_refused(ext4: Imaged, room: Path) -> None:
    target = blank(room / "target.img", ext4.size - 512, fill=0xAA)
    assert "nothing is left" in _refused(ext4, target, "--grow")["message"]


def test_a_logical_partition_does_not_grow(files: Path, room: Path) -> None:
    source = layouts.small_mbr(room / "source.img", files)
    captured = images.capture(source.path, room / "library")
    target = blank(room / "target.img", source.size + _MORE, fill=0xAA)
    words = ("--library", captured.library, "--erase", target.name, "--json", "--grow", 5)
    error = run_rescue("restore", captured.image, target, *words, status=3).json["error"]
    assert "it lies in an extended partition" in error["message"]
    assert images.holds_only(target, 0xAA, [(0, target.stat().st_size)])


def test_a_hybrid_table_is_refused_by_the_job_before_anything_is_written(files: Path, room: Path) -> None:
    imaged = _disk(room, EXT4, GPT, files)
    with imaged.place.path.open("r+b") as file:
        file.seek(446 + 16)
        file.write(bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + struct.pack("<II", 2048, 2048))
    again = images.capture(imaged.place.path, room / "library")
    target = blank(room / "target.img", imaged.size + _MORE, fill=0xAA)
    error = _refused(dataclasses.replace(imaged, captured=again), target, "--grow")
    assert "master boot record with partitions of its own" in error["message"]


def test_a_missing_tool_is_told_before_anything_is_written(
    ext4: Imaged, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth_, "find_tool", lambda name: None if name == "resize2fs" else name)
    target = blank(room / "target.img", ext4.size + _MORE, fill=0xAA)
    with pytest.raises(RefusedError, match="resize2fs is not installed"):
        ext4.plan(target)


def test_an_ext4_that_was_not_closed_cleanly_grows_with_its_journal_replayed(ext4: Imaged, room: Path) -> None:
    source = tools.copied(ext4.place.path, room / ext4.place.path.name)
    place = ext4.place.on(source)
    with attached(place) as loop:
        run("debugfs", "-w", "-R", "feature needs_recovery", loop)
    dirty = dataclasses.replace(ext4, place=place, captured=images.capture(source, room / "library"))
    target = blank(room / "target.img", dirty.size + _MORE, fill=0xAA)
    _grow(dirty, target)
    _expect_grown(dirty, target)


def test_an_ntfs_that_windows_is_to_check_is_refused(files: Path, room: Path) -> None:
    imaged = _disk(room, NTFS, GPT, files)
    with attached(imaged.place) as loop:
        said("ntfsresize", "--no-progress-bar", "--size", str(imaged.place.size - 2 * MIB), loop)
    marked = images.capture(imaged.place.path, room / "library")
    target = blank(room / "target.img", imaged.size + _MORE, fill=0xAA)
    error = _refused(dataclasses.replace(imaged, captured=marked), target, "--grow")
    assert "has to be in order for that: it is marked as dirty" in error["message"]


def test_a_luks_partition_grows_alone(room: Path) -> None:
    source = blank(room / "source.img", 64 * MIB)
    partition(source, "label: gpt\nstart=1MiB, size=40MiB\n")
    place = Place(path=source, start=MIB, size=40 * MIB)
    with attached(place) as loop:
        words = ("--batch-mode", "--type=luks2", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--key-file=-")
        run("cryptsetup", "luksFormat", *words, loop, text="secret")
    captured = images.capture(source, room / "library")
    target = blank(room / "target.img", 200 * MIB, fill=0xAA)
    plan = ("restore", captured.image, target, "--library", captured.library, "--erase", target.name, "--grow")
    shown = run_rescue(*plan, "--plan").out
    assert "ENLARGED: partition 1 (" in shown
    assert "The partition alone grows." in shown
    done = run_rescue(*plan, "--json").events[-1]
    assert (done["status"], done["result"]["grown"][0]["filesystem"]) == (0, False)
    table = layouts.table_of(target, 512)["partitions"]
    assert (table[0]["start"], table[0]["size"]) == (2048, 198 * 2048)
    assert images.differing(source, target, [(MIB, 17 * MIB)]) == []
    modified = target.stat().st_mtime_ns
    assert run_rescue(*plan, "--json").events[-1]["result"]["written"] == 0
    assert target.stat().st_mtime_ns == modified
