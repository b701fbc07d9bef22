"""Disks whose images are restored onto smaller ones: how they are made, and what is expected there."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging import inventory
from imaging.jobs import JobState
from imaging.library import Library
from imaging.planner import plan_restore
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.faults.killing import finish, kill_after, moments, seconds_of, wait_for_first_write
from tests.faults.killing import start as begin
from tests.matrix import images, layouts, volumes
from tests.matrix.images import Captured
from tests.matrix.layouts import Layout
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import EXT4, FAT32, NTFS, SWAP_SIZE, FileSystem

SIZE = 600 * MIB
_FILLER = 300 * MIB
GPT, GPT_4K, MBR = (Layout(table=table, sector=sector) for table, sector in (("gpt", 512), ("gpt", 4096), ("dos", 512)))
_SWAP = ("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "82")
BLOCKS = dataclasses.replace(
    EXT4, size=SIZE, make=lambda loop, _: ["mkfs.ext4", "-q", "-F", "-b", "4096", "-L", volumes.LABEL, loop]
)
SMALL_BLOCKS = dataclasses.replace(
    EXT4, size=SIZE, make=lambda loop, _: ["mkfs.ext4", "-q", "-F", "-b", "1024", "-L", volumes.LABEL, loop]
)
CLUSTERS = dataclasses.replace(NTFS, size=SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaged:
    """A disk with FAT, the file system that becomes smaller, and swap behind it, captured."""

    kind: FileSystem
    layout: Layout
    fat: Place
    place: Place
    swap: Place
    entries: dict[str, str]
    captured: Captured

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self.place.path.stat().st_size

    @property
    def needed(self) -> int:
        """Bytes that the disk's partitions take."""
        return self.swap.start + self.swap.size + MIB

    def smaller(self, target: Path) -> tuple[Place, Place]:
        """Where the file system and swap lie on a target."""
        by = self.swap.start + self.swap.size - (target.stat().st_size - MIB) // MIB * MIB
        place = dataclasses.replace(self.place, path=target, size=self.place.size - by)
        return place, dataclasses.replace(self.swap, path=target, start=self.swap.start - by)

    def plan(self, target: Path) -> RestorePlan:
        """Restore onto the target."""
        library = self.captured.library
        image = Library.open(library).image(self.captured.image)
        shown = inventory.look(str(target), [library])
        return plan_restore(library, image, {self.place.path.name: shown}, shrink=0)


def fill_high(kind: FileSystem, place: Place, files: Path) -> None:
    """The sample's files, and more of them high up: what was there before them was deleted."""
    with attached(place) as loop, mounted(kind.mount, loop) as folder:
        run("dd", "if=/dev/zero", f"of={folder}/filler", "bs=1M", f"count={_FILLER // MIB}")
        run("sync", "-f", folder)
        for i in range(4):
            run("cp", "-r", files / "keep", folder / f"keep {i}")
        run("sync", "-f", folder)
        run("rm", folder / "filler")
        run("cp", "-r", files / "links", folder)


def a_disk(
    folder: Path,
    kind: FileSystem,
    layout: Layout,
    files: Path,
    fill: Callable[[FileSystem, Place, Path], None] = fill_high,
) -> Imaged:
    sector, path = layout.sector, folder / "source.img"
    fat = Place(path=path, start=MIB, size=FAT32.size_at(sector), sector=sector)
    place = Place(path=path, start=fat.start + fat.size, size=kind.size, sector=sector)
    swap = Place(path=path, start=place.start + place.size, size=SWAP_SIZE, sector=sector)
    column = 0 if layout.table == "gpt" else 1
    lines = [f"label: {layout.table}", "unit: sectors"]
    for one, code in (
        (fat, (FAT32.gpt_type, FAT32.mbr_type)),
        (place, (kind.gpt_type, kind.mbr_type)),
        (swap, _SWAP),
    ):
        lines.append(f"start={one.start // sector}, size={one.size // sector}, type={code[column]}")
    blank(path, swap.start + swap.size + 2 * MIB)
    partition(path, "\n".join(lines) + "\n", sector)
    volumes.make(FAT32, fat)
    volumes.fill(FAT32, fat, files)
    volumes.make(kind, place)
    fill(kind, place, files)
    with attached(swap) as loop:
        said("mkswap", loop)
    entries = volumes.entries(kind, place)
    captured = images.capture(path, folder / "library")
    return Imaged(kind=kind, layout=layout, fat=fat, place=place, swap=swap, entries=entries, captured=captured)


def expect_smaller(imaged: Imaged, target: Path) -> None:
    """A sound table, every file system whole by its own check, and every file in it."""
    (place, swap), sector = imaged.smaller(target), imaged.layout.sector
    assert "No errors detected" in layouts.verified_table(target, sector)
    table, before = layouts.table_of(target, sector), layouts.table_of(imaged.place.path, sector)
    assert {k: v for k, v in table.items() if k in ("id", "label")} == {
        k: v for k, v in before.items() if k in ("id", "label")
    }
    first, second, third = before["partitions"]
    assert table["partitions"] == [
        first,
        {**second, "size": place.size // sector},
        {**third, "start": swap.start // sector},
    ]
    volumes.check(FAT32, imaged.fat.on(target))
    assert volumes.entries(FAT32, imaged.fat.on(target)) == volumes.entries(FAT32, imaged.fat)
    volumes.check(imaged.kind, place)
    if imaged.kind.name == "ntfs":
        with attached(place, read_only=True) as loop:
            said("ntfsresize", "--info", "--force", "--no-progress-bar", loop)
            with Path(loop).open("rb") as device:
                head = device.read(sector)
                device.seek(place.size - sector)
                assert device.read(sector) == head
    assert volumes.entries(imaged.kind, place) == imaged.entries
    assert volumes.swap_identity(swap) == volumes.swap_identity(imaged.swap)


def refused(imaged: Imaged, target: Path, *words: object, status: int = 3) -> dict[str, Any]:
    """The error of a restore that is refused, and leaves the target as it was."""
    before = digest(target)
    done = run_rescue("restore", *images.words(imaged.captured, target), *words, status=status)
    assert digest(target) == before
    last = done.events[-1]
    found: dict[str, Any] = last.get("error") or last
    return found


def expect_completed_after_kills(
    imaged: Imaged, target: Path, kills: int, seed: int, expect: Callable[[Imaged, Path], None]
) -> None:
    """A restore that is killed leaves an unfinished disk, which the next completes."""
    size = target.stat().st_size
    job = finish(begin(imaged.plan(target)))
    assert job.state is JobState.DONE
    whole = seconds_of(job)
    for moment in moments(kills, whole, seed=seed):
        blank(target, size, fill=0xAA)
        job = begin(imaged.plan(target))
        if moment > whole / 2:
            wait_for_first_write(job, target)
        kill_after(job, moment)
        seen = inventory.look(str(target))
        assert seen.unfinished in (imaged.captured.image, "")
        if seen.unfinished and moment > whole / 2:
            run_rescue("complete", target, "--library", imaged.captured.library, "--erase", target.name)
        else:
            assert finish(begin(imaged.plan(target))).state is JobState.DONE
        expect(imaged, target)
    assert not said("losetup", "--associated", target).strip()
