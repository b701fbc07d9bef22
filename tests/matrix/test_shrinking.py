"""Images on smaller disks: one file system is made smaller, in memory, and what lies behind it comes nearer."""

import dataclasses
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from imaging import circumstances, inventory, orders, planner, smaller, views
from imaging.changes import Growth
from imaging.errors import RefusedError
from imaging.jobs import JobState
from imaging.library import Library
from imaging.manifest import Machine
from imaging.restoreplans import RestorePlan
from rescue.engine import engine
from rescue.growing import resized_disk
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.faults.killing import finish
from tests.faults.killing import start as begin
from tests.matrix import images, layouts, tools, volumes
from tests.matrix.shrinking import (
    BLOCKS,
    CLUSTERS,
    GPT,
    GPT_4K,
    MBR,
    SIZE,
    SMALL_BLOCKS,
    Imaged,
    a_disk,
    expect_completed_after_kills,
    expect_smaller,
    fill_high,
    refused,
)
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import EXT4, SWAP_SIZE, XFS

pytestmark = pytest.mark.root
_LESS = 350 * MIB
_KILLS = 5


@pytest.fixture(
    scope="module",
    params=[
        (BLOCKS, GPT),
        (BLOCKS, GPT_4K),
        (SMALL_BLOCKS, MBR),
        (CLUSTERS, GPT),
        (CLUSTERS, GPT_4K),
        (CLUSTERS, MBR),
    ],
    ids=lambda case: f"{case[0].name}-{case[1]}",
)
def imaged(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[Imaged]:
    """One kind of file system in one kind of table."""
    kind, layout = request.param
    folder = shared_room / f"shrinking-{kind.name}-{layout}"
    folder.mkdir()
    yield a_disk(folder, kind, layout, files)
    run("rm", "-r", folder)


@pytest.fixture(scope="module")
def ext4(files: Path, shared_room: Path) -> Iterator[Imaged]:
    """ext4 on a GPT disk."""
    folder = shared_room / "shrinking-ext4"
    folder.mkdir()
    yield a_disk(folder, BLOCKS, GPT, files)
    run("rm", "-r", folder)


def test_a_file_system_is_made_smaller_for_a_smaller_disk_and_what_follows_comes_nearer(
    imaged: Imaged, room: Path
) -> None:
    target = blank(room / "target.img", imaged.needed - _LESS + 5 * imaged.layout.sector, fill=0xAA)
    place, swap = imaged.smaller(target)
    new_end = place.start + place.size
    assert imaged.captured.used.clipped(new_end, imaged.swap.start).total > 8 * MIB
    library = {path: path.stat().st_mtime_ns for path in imaged.captured.library.rglob("*") if path.is_file()}
    before = digest(target)
    plan = run_rescue("restore", *images.words(imaged.captured, target), "--shrink", "--plan").json["targets"][0][
        "shrinkage"
    ]
    assert digest(target) == before
    assert (plan["partition"], plan["old_size"], plan["size"]) == (2, imaged.place.size, place.size)
    assert [(one["partition"], one["to"]) for one in plan["moved"]] == [(3, swap.start)]
    done = run_rescue("restore", *images.words(imaged.captured, target), "--shrink").events[-1]
    assert done["status"] == 0
    assert done["result"]["tables"] == 1
    assert done["result"]["smaller"] == [{"partition": "target.img:2", "before": imaged.place.size, "size": place.size}]
    expect_smaller(imaged, target)
    again = run_rescue("restore", *images.words(imaged.captured, target), "--shrink").events[-1]["result"]
    assert again["written_bytes"] < done["result"]["written_bytes"] // 4
    expect_smaller(imaged, target)
    assert {path: path.stat().st_mtime_ns for path in library} == library


def test_a_disk_that_all_fits_on_keeps_its_sizes_with_the_option_too(ext4: Imaged, room: Path) -> None:
    target = blank(room / "target.img", ext4.size, fill=0xAA)
    assert run_rescue("restore", *images.words(ext4.captured, target), "--shrink").events[-1]["status"] == 0
    table, before = (layouts.table_of(path, 512) for path in (target, ext4.place.path))
    assert table["partitions"] == before["partitions"]
    larger = blank(room / "larger.img", ext4.size + 100 * MIB)
    plan = run_rescue("restore", *images.words(ext4.captured, larger), "--shrink", "--grow", "--plan").json["targets"][
        0
    ]
    assert plan["shrinkage"] is None
    assert plan["growth"]["partition"] == 2
    small = blank(room / "small.img", ext4.needed - _LESS)
    plan = run_rescue("restore", *images.words(ext4.captured, small), "--shrink", "--grow", "--plan").json["targets"][0]
    assert plan["growth"] is None
    assert plan["shrinkage"]["partition"] == 2


def test_a_disk_that_is_too_small_for_the_smallest_file_system_is_refused_with_what_is_needed(
    ext4: Imaged, room: Path
) -> None:
    target = blank(room / "target.img", ext4.place.start + SWAP_SIZE + 40 * MIB, fill=0xAA)
    error = refused(ext4, target, "--shrink")
    assert error["code"] == "target-too-small"
    needed = int(error["message"].partition(" bytes) are needed")[0].rpartition("(")[2].replace(",", ""))
    assert f"it has {target.stat().st_size / 1e6:.1f} MB ({target.stat().st_size:,} bytes)" in error["message"]
    assert target.stat().st_size < needed < ext4.size
    enough = blank(room / "enough.img", needed, fill=0xAA)
    assert run_rescue("restore", *images.words(ext4.captured, enough), "--shrink").events[-1]["status"] == 0
    expect_smaller(ext4, enough)
    short = blank(room / "short.img", needed - MIB, fill=0xAA)
    assert f"{needed:,} bytes) are needed" in refused(ext4, short, "--shrink")["message"]


def test_without_the_option_a_smaller_disk_is_refused_and_the_option_is_named(ext4: Imaged, room: Path) -> None:
    target = blank(room / "target.img", ext4.needed - _LESS, fill=0xAA)
    error = refused(ext4, target)
    assert error["code"] == "target-too-small"
    assert "--shrink" in error["hint"]


def test_what_cannot_be_made_smaller_is_refused_with_what_is_needed(files: Path, room: Path) -> None:
    (room / "xfs").mkdir()
    xfs = a_disk(room / "xfs", dataclasses.replace(XFS, size=SIZE), GPT, files)
    target = blank(room / "target.img", xfs.needed - _LESS, fill=0xAA)
    error = refused(xfs, target, "--shrink")
    assert error["code"] == "target-too-small"
    least = xfs.swap.start + xfs.swap.size + 33 * 512
    assert f"({least:,} bytes) are needed" in error["message"]
    assert "nothing that is on its partitions (vfat, xfs, swap) can be made smaller" in error["message"]
    assert "partition 2 cannot be made smaller: what is on it (xfs)" in refused(xfs, target, "--shrink", 2)["message"]
    assert refused(xfs, target, "--shrink", 9, status=2)["code"] == "no-such-partition"


def _with(folder: Path, files: Path, *words: str) -> Imaged:
    """ext4 made with more words."""
    folder.mkdir()
    kind = dataclasses.replace(
        BLOCKS, make=lambda loop, _: ["mkfs.ext4", "-q", "-F", "-b", "4096", "-L", volumes.LABEL, *words, loop]
    )
    return a_disk(folder, kind, GPT, files)


@pytest.mark.parametrize(
    "words",
    [
        ("-O", "^resize_inode"),
        ("-O", "^64bit,^metadata_csum"),
        ("-O", "bigalloc", "-C", "65536"),
        ("-O", "^flex_bg"),
        ("-O", "meta_bg,^resize_inode"),
    ],
    ids=lambda words: words[1],
)
def test_ext4_of_any_kind_is_made_smaller_whole_or_refused_before_anything_is_written(
    words: tuple[str, ...], files: Path, room: Path
) -> None:
    imaged = _with(room / "made", files, *words)
    target = blank(room / "target.img", imaged.needed - _LESS, fill=0xAA)
    before = digest(target)
    done = run_rescue("restore", *images.words(imaged.captured, target), "--shrink", status=None)
    if done.status == 0:
        expect_smaller(imaged, target)
        return
    assert done.status == 3, done.out
    assert digest(target) == before
    assert any(words in done.out for words in ("cannot be made smaller", "as small as it can be"))


def test_a_journal_that_waits_is_replayed_before_the_file_system_is_made_smaller(files: Path, room: Path) -> None:
    (room / "made").mkdir()
    imaged = a_disk(room / "made", BLOCKS, GPT, files)
    with attached(imaged.place) as loop, mounted(BLOCKS.mount, loop) as folder:
        (folder / "late").write_bytes(b"late" * 100_000)
        run("sync", "-f", folder)
        copy = room / "dirty.img"
        tools.copied(imaged.place.path, copy)
    dirty = images.capture(copy, room / "library")
    image = dataclasses.replace(imaged, captured=dirty)
    target = blank(room / "target.img", imaged.needed - _LESS, fill=0xAA)
    assert run_rescue("restore", *images.words(image.captured, target), "--shrink").events[-1]["status"] == 0
    place, _ = imaged.smaller(target)
    volumes.check(BLOCKS, place)
    with volumes.opened(BLOCKS, place) as folder:
        assert (folder / "late").read_bytes() == b"late" * 100_000


@pytest.mark.parametrize("tool", ["e2fsck", "resize2fs"])
def test_a_tool_that_fails_refuses_the_restore_and_the_target_stays_as_it_was(
    ext4: Imaged, tool: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only where the plan is made: the worker asks it once more, to do it."""
    target = blank(room / "target.img", ext4.needed - _LESS, fill=0xAA)
    plan = ext4.plan(target)
    before = digest(target)
    fake = room / "bin" / tool
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\ndd if=/dev/zero of="$2" bs=1M count=9 conv=notrunc\necho no luck\nexit 8\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    job = finish(begin(plan))
    assert job.state is JobState.REFUSED
    ended = job.finished
    assert ended is not None
    assert f"{tool} ended with status 8: no luck" in ended.message
    assert "Nothing was written" in ended.state
    assert digest(target) == before


def test_a_restore_that_is_killed_leaves_an_unfinished_disk_that_the_next_completes(ext4: Imaged, room: Path) -> None:
    target = blank(room / "target.img", ext4.needed - _LESS)
    expect_completed_after_kills(ext4, target, _KILLS, 7, expect_smaller)


def test_the_screens_offer_a_disk_that_is_too_small_where_a_file_system_can_become_smaller(
    ext4: Imaged, room: Path
) -> None:
    library, backend = ext4.captured.library, engine()
    image = Library.open(library).image(ext4.captured.image)
    (source,) = image.disks
    small, tiny, short = (
        inventory.look(str(blank(room / f"{name}.img", size)), [library])
        for name, size in (
            ("small", ext4.needed - _LESS),
            ("tiny", 60 * MIB),
            ("short", ext4.place.start + SWAP_SIZE + 40 * MIB),
        )
    )
    assert backend.why_not_target(small, source) == ""
    assert "it is too small" in backend.why_not_target(tiny, source)
    (pair,) = backend.plan_restore(library, image, {source.name: small}).targets
    assert pair.shrinkage is not None
    place, swap = ext4.smaller(room / "small.img")
    drawn = {part.number: (part.start, part.size) for part in resized_disk(pair).table.partitions}
    assert drawn == {
        1: (ext4.fat.start, ext4.fat.size),
        2: (place.start, place.size),
        3: (swap.start, swap.size),
    }
    with pytest.raises(RefusedError) as error:
        backend.plan_restore(library, image, {source.name: short})
    assert error.value.code == "target-too-small"


def test_what_was_there_is_saved_first_and_brought_back(ext4: Imaged, room: Path) -> None:
    target = partition(blank(room / "target.img", ext4.needed - _LESS), "label: gpt\nstart=1MiB, size=60MiB\n")
    old = Place(path=target, start=MIB, size=60 * MIB)
    volumes.make(EXT4, old)
    with attached(old) as loop, mounted(EXT4.mount, loop) as folder:
        (folder / "old").write_text("it was here before")
    saved = room / "saved"
    assert (
        run_rescue("restore", *images.words(ext4.captured, target), "--shrink", "--save-first", saved).events[-1][
            "status"
        ]
        == 0
    )
    expect_smaller(ext4, target)
    said_ = run_rescue("undo", "--library", saved, "--to", target, "--erase", target.name)
    assert "Image" in said_.out
    assert layouts.table_of(target, 512)["partitions"][0]["size"] == 60 * 2048
    with volumes.opened(EXT4, old) as folder:
        assert (folder / "old").read_text() == "it was here before"


def test_a_partition_that_begins_at_an_odd_sector_becomes_smaller_on_a_device(files: Path, room: Path) -> None:
    """As partitions of long ago do: at sector 63, with nothing behind it."""
    path, start = room / "source.img", 63 * 512
    place = Place(path=path, start=start, size=SIZE - 7 * 512)
    blank(path, start + place.size + 3 * 512)
    partition(path, f"label: dos\nunit: sectors\nstart=63, size={place.size // 512}, type=83\n")
    volumes.make(BLOCKS, place)
    fill_high(BLOCKS, place, files)
    entries, captured = volumes.entries(BLOCKS, place), images.capture(path, room / "library")
    target = blank(room / "target.img", 300 * MIB + 512, fill=0xAA)
    with attached(Place(path=target, start=0, size=0)) as disk:
        words = ("--library", captured.library, "--erase", Path(disk).name, "--shrink", "--json")
        assert run_rescue("restore", captured.image, disk, *words).events[-1]["status"] == 0
    small = Place(path=target, start=start, size=299 * MIB - start)
    (entry,) = layouts.table_of(target, 512)["partitions"]
    assert (entry["start"], entry["size"]) == (63, small.size // 512)
    volumes.check(BLOCKS, small)
    assert volumes.entries(BLOCKS, small) == entries


def test_the_option_is_for_whole_disks_out_of_a_library(ext4: Imaged, room: Path) -> None:
    target = blank(room / "target.img", ext4.needed - _LESS, fill=0xAA)
    assert "whole disks" in refused(ext4, target, "--shrink", "--partition", "2", status=2)["message"]
    assert "whole disks" in refused(ext4, target, "--shrink", "--keep", "1", status=2)["message"]
    words = (ext4.place.path, target, "--erase", target.name, "--shrink", "--json")
    assert "import it" in run_rescue("restore", *words, status=2).events[-1]["error"]["hint"]


def test_an_order_has_the_tool_asked_before_it_counts_down(ext4: Imaged, room: Path) -> None:
    """By what is used of it the file system may fit; how small it can be its tool alone knows."""
    library, image = ext4.captured.library, ext4.captured.image
    (source,) = Library.open(library).image(image).disks
    volume = next(one for one in source.volumes if one.number == 2)
    rest = ext4.needed - ext4.place.size
    short = blank(room / "short.img", rest + volume.used - volume.size // 16 + 2 * MIB, fill=0xAA)
    enough = blank(room / "enough.img", ext4.needed - _LESS, fill=0xAA)

    def planned(path: Path) -> object:
        words = f'version = 1\n[restore]\nimage = "{image}"\nshrink = true\n[[restore.disk]]\nfile = "{path}"\n'
        order = orders.parse(words.encode(), "x")
        return circumstances.plan_order(order, circumstances.look(order, Machine(), library))

    plan = planned(enough)
    assert isinstance(plan, RestorePlan)
    assert plan.targets[0].shrinkage is not None
    assert planner.can_shrink(inventory.look(str(short)), source)
    before = digest(short)
    with pytest.raises(RefusedError, match="as small as it can be, at least") as error:
        planned(short)
    assert error.value.code == "target-too-small"
    assert digest(short) == before


def test_a_plan_that_both_grows_and_makes_smaller_is_refused_before_anything_is_written(
    ext4: Imaged, room: Path
) -> None:
    target = blank(room / "target.img", ext4.needed - _LESS, fill=0xAA)
    plan, before = ext4.plan(target), digest(target)
    (pair,) = plan.targets
    assert pair.shrinkage is not None
    growth = Growth(
        partition=2, start=ext4.place.start, old_size=ext4.place.size, size=pair.shrinkage.size, kind="ext4"
    )
    job = finish(begin(structs.replace(plan, targets=(structs.replace(pair, growth=growth),))))
    assert job.state is JobState.REFUSED
    assert job.finished is not None
    assert "both grow and become smaller" in job.finished.message
    assert digest(target) == before


def test_what_lies_behind_a_file_system_in_its_partition_is_not_dropped(room: Path) -> None:
    """As the mark of a recovery partition does."""
    path = partition(blank(room / "source.img", 103 * MIB), "label: gpt\nstart=1MiB, size=100MiB\n")
    with attached(Place(path=path, start=MIB, size=100 * MIB)) as loop:
        said("mkfs.ext4", "-q", "-F", "-b", "4096", loop, "99M")
    captured = images.capture(path, room / "library")
    target = blank(room / "target.img", 60 * MIB, fill=0xAA)
    before = digest(target)
    words = (captured.image, target, "--library", captured.library, "--erase", target.name, "--json", "--shrink")
    error = run_rescue("restore", *words, status=3).events[-1]
    found = error.get("error") or error
    assert found["code"] == "cannot-shrink"
    assert "1048576 bytes of its partition lie behind it" in found["message"]
    assert digest(target) == before


def test_a_boot_sector_that_can_name_blocks_of_a_file_keeps_its_file_system_as_it_is(room: Path) -> None:
    path = partition(blank(room / "source.img", 103 * MIB), "label: gpt\nstart=1MiB, size=100MiB\n")
    with attached(Place(path=path, start=MIB, size=100 * MIB)) as loop:
        said("mkfs.ext4", "-q", "-F", "-b", "4096", loop)
    with path.open("r+b") as file:
        file.seek(MIB + 510)
        file.write(b"\x55\xaa")
    captured = images.capture(path, room / "library")
    words = (captured.image, blank(room / "target.img", 60 * MIB), "--library", captured.library, "--json", "--shrink")
    error = run_rescue("restore", *words, "--plan", status=3).events[-1]
    assert "its boot sector can name blocks of a file" in (error.get("error") or error)["message"]


def test_a_hybrid_table_is_refused_when_the_plan_is_made(room: Path) -> None:
    path = partition(blank(room / "source.img", 103 * MIB), "label: gpt\nstart=1MiB, size=100MiB\n")
    with attached(Place(path=path, start=MIB, size=100 * MIB)) as loop:
        said("mkfs.ext4", "-q", "-F", "-b", "4096", loop)
    with path.open("r+b") as file:
        file.seek(446 + 16)
        file.write(struct.pack("<4xB3xII", 0x83, 2048, 100 * 2048))
    captured = images.capture(path, room / "library")
    target = blank(room / "target.img", 60 * MIB)
    words = (captured.image, target, "--library", captured.library, "--json", "--shrink", "--plan")
    error = run_rescue("restore", *words, status=3).events[-1]
    assert "a master boot record with partitions of its own" in (error.get("error") or error)["message"]


def test_chunks_that_hold_bytes_of_two_partitions_are_refused_before_anything_is_written(room: Path) -> None:
    """An imported disk can have such, where its table was not understood as it is now."""
    path = blank(room / "source.img", 86 * MIB)
    places = [Place(path=path, start=at * MIB, size=size * MIB) for at, size in ((1, 50), (51, 12), (63, 22))]
    lines = [f"start={one.start // MIB}MiB, size={one.size // MIB}MiB, type=83" for one in places]
    partition(path, "\n".join(["label: dos", *lines]) + "\n")
    for place in places:
        with attached(place) as loop:
            said("mkfs.ext4", "-q", "-F", "-b", "4096", loop)
            with mounted(BLOCKS.mount, loop) as folder:
                (folder / "file").write_bytes(os.urandom(place.size // 4))
    with path.open("r+b") as file:
        file.seek(446 + 32)
        file.write(b"\x01")
    run("gzip", "-1", path)
    library = room / "library"
    run_rescue("import", room / "source.img.gz", "--library", library, "--json")
    (image,) = Library.open(library).images().images
    target = blank(room / "target.img", 70 * MIB, fill=0xAA)
    before = digest(target)
    words = (image.id, target, "--library", library, "--erase", target.name, "--json", "--shrink", 1)
    error = run_rescue("restore", *words, status=3).events[-1]
    assert "bytes of several in one chunk" in (error.get("error") or error)["message"]
    assert digest(target) == before


@pytest.mark.parametrize("known_before", [True, False])
def test_a_view_that_has_too_little_memory_is_told_as_that(
    *, known_before: bool, files: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of less than a page stay in memory where they are moved."""
    (room / "made").mkdir()
    imaged = a_disk(room / "made", SMALL_BLOCKS, MBR, files)
    target = blank(room / "target.img", imaged.needed - _LESS, fill=0xAA)
    plan, before = imaged.plan(target), digest(target)
    if known_before:
        monkeypatch.setattr(smaller, "most_written", lambda: MIB)
        with pytest.raises(RefusedError, match="more memory than is free") as error:
            smaller.refuse_unless_fits(plan)
        assert error.value.code == "no-space"
    else:
        (pair,) = plan.targets
        assert pair.shrinkage is not None
        monkeypatch.setattr(views, "_SERVER", "tests.matrix.poor_viewserver")
        made = smaller.shrunk(Path(plan.library), plan.image, pair.source, pair.shrinkage, threading.Event())
        with pytest.raises(RefusedError, match="more memory than is free") as error, made:
            pass
        assert error.value.code == "no-space"
    assert digest(target) == before
