"""Restores in which one partition has a size that a person has chosen, and the rest of the disk stays free."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import inventory, sizing
from imaging.jobs import JobState
from imaging.library import Library
from imaging.planner import plan_restore
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, run
from tests.faults.killing import finish, kill_after, moments, seconds_of
from tests.faults.killing import start as begin
from tests.matrix import images, shrinking, volumes
from tests.matrix import test_growth as growing
from tests.matrix.shrinking import GPT, MBR
from tests.matrix.tools import Place
from tests.matrix.volumes import EXT4, NTFS

pytestmark = pytest.mark.root
_LESS, _MORE = 330 * MIB, 80 * MIB
_KILLS = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Smaller(shrinking.Imaged):
    """With a size that was chosen for its file system."""

    wanted: int

    def smaller(self, target: Path) -> tuple[Place, Place]:
        """Where the file system and swap lie on a target."""
        by = self.place.size - self.wanted
        place = dataclasses.replace(self.place, path=target, size=self.wanted)
        return place, dataclasses.replace(self.swap, path=target, start=self.swap.start - by)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Larger(growing.Imaged):
    """With a size that was chosen for its file system."""

    wanted: int

    def grown(self, target: Path) -> Place:
        """Where the file system lies on a target."""
        return dataclasses.replace(self.place, path=target, size=self.wanted)


def _chosen(imaged: shrinking.Imaged, wanted: int) -> Smaller:
    return Smaller(**{one.name: getattr(imaged, one.name) for one in dataclasses.fields(imaged)}, wanted=wanted)


@pytest.fixture(scope="module", params=[(shrinking.BLOCKS, GPT), (shrinking.CLUSTERS, MBR)], ids=["ext4", "ntfs"])
def imaged(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[Smaller]:
    """A disk with FAT, a file system, and swap behind it."""
    kind, layout = request.param
    folder = shared_room / f"sizes-{kind.name}"
    folder.mkdir()
    yield _chosen(shrinking.a_disk(folder, kind, layout, files), _LESS)
    run("rm", "-r", folder)


@pytest.mark.parametrize("more", [0, 100 * MIB], ids=["the-same-disk", "a-larger-disk"])
def test_a_partition_becomes_as_small_as_was_chosen_though_all_would_fit(
    imaged: Smaller, more: int, room: Path
) -> None:
    target = blank(room / "target.img", imaged.size + more, fill=0xAA)
    done = run_rescue("restore", *images.words(imaged.captured, target), "--shrink", f"2:{_LESS}").events[-1]
    assert done["result"]["smaller"] == [{"partition": "target.img:2", "before": imaged.place.size, "size": _LESS}]
    shrinking.expect_smaller(imaged, target)


def test_a_size_beyond_the_limits_is_refused_and_the_target_stays_as_it_was(imaged: Smaller, room: Path) -> None:
    target = blank(room / "target.img", imaged.size, fill=0xAA)
    error = shrinking.refused(imaged, target, "--shrink", "2:30M")
    assert error["code"] == "cannot-shrink"
    assert "partition 2 cannot have 31.5 MB (31,457,280 bytes)" in error["message"]
    assert "needs" in error["message"]
    assert "at most" in shrinking.refused(imaged, target, "--shrink", "2:2G")["message"]
    assert "at most" in shrinking.refused(imaged, target, "--grow", "2:2G")["message"]
    assert "not two" in shrinking.refused(imaged, target, "--shrink", f"2:{_LESS}", "--grow", status=2)["message"]
    small = blank(room / "small.img", imaged.needed - 100 * MIB, fill=0xAA)
    assert "at most" in shrinking.refused(imaged, small, "--shrink", "2:550M")["message"]
    assert "becomes smaller" in shrinking.refused(imaged, small, "--shrink", "--grow", "2:650M")["message"]


def test_a_chosen_size_that_is_cut_off_is_completed_by_the_next(imaged: Smaller, room: Path) -> None:
    target = blank(room / "target.img", imaged.size, fill=0xAA)

    def planned() -> RestorePlan:
        library = imaged.captured.library
        image = Library.open(library).image(imaged.captured.image)
        plan = plan_restore(library, image, {imaged.place.path.name: inventory.look(str(target), [library])})
        return sizing.with_size(plan, 2, _LESS)

    whole = seconds_of(finish(begin(planned())))
    for moment in moments(_KILLS, whole, seed=5):
        blank(target, imaged.size, fill=0xAA)
        kill_after(begin(planned()), moment)
        if inventory.look(str(target)).unfinished:
            run_rescue("complete", target, "--library", imaged.captured.library, "--erase", target.name)
        else:
            assert finish(begin(planned())).state is JobState.DONE
        shrinking.expect_smaller(imaged, target)


@pytest.mark.parametrize("kind", [EXT4, NTFS], ids=lambda kind: kind.name)
def test_a_partition_grows_as_far_as_was_chosen_and_the_rest_stays_free(
    kind: volumes.FileSystem, files: Path, room: Path
) -> None:
    made = growing._disk(room, kind, growing.GPT, files)
    fields = {one.name: getattr(made, one.name) for one in dataclasses.fields(made)}
    imaged = Larger(**fields, wanted=made.place.size + _MORE)
    target = blank(room / "target.img", imaged.size + 4 * _MORE, fill=0xAA)
    words = ("--grow", f"2:{imaged.wanted + 1000}")
    done = run_rescue("restore", *images.words(imaged.captured, target), *words).events[-1]
    assert [one["size"] for one in done["result"]["grown"]] == [imaged.wanted]
    growing._expect_grown(imaged, target)
    before = digest(target)
    refused = run_rescue("restore", *images.words(imaged.captured, target), "--grow", "2:9T", status=3).events[-1]
    assert "at most" in (refused.get("error") or refused)["message"]
    assert digest(target) == before
