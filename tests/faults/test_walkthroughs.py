"""Each task from the main menu with the keys that rescue/README.md lists, on the real engine and disk files."""

import asyncio
import re
import shutil
import tarfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from imaging import care, inventory, medium, mediumcheck, planner
from imaging.disk import Disk
from imaging.factory import factory_image
from imaging.library import Library
from imaging.logs import Place
from imaging.notes import FactoryState
from rescue.application import RescueApp
from rescue.engine import Engine
from tests import small_medium
from tests.app.conftest import Person
from tests.disks import MIB, blank
from tests.faults.media import library_on
from tests.faults.world import DISK_SIZE, PATIENCE, Sample, carry_out_here, holds_used_bytes, images_of

README = Path(__file__).parents[2] / "rescue/README.md"
ROW = re.compile(r"^\| (?P<task>[^|]+?) \| (?P<keys>[^|]*`[^|]+?) \|", re.MULTILINE)
KEY = re.compile(r"`(?P<key>[^`]+)`|\*(?P<typed>[^*]+)\*")


def keys_for(task: str, **typed: str) -> list[str]:
    """The keys of a task as Textual names them; what stands in italics is typed."""
    section = README.read_text().partition("## Keys for each task")[2]
    rows = {row["task"]: row["keys"] for row in ROW.finditer(section)}
    keys: list[str] = []
    for found in KEY.finditer(rows[task]):
        if found["key"]:
            keys.append(found["key"].lower().replace("esc", "escape"))
        else:
            keys += typed[found["typed"].replace(" ", "_")]
    return keys


class Workshop(Engine):
    """The real engine, but its disks are disk files."""

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self.files = files
        self.medium_folder = Path("/nonexistent")

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """The files."""
        return [inventory.look(str(file), libraries) for file in self.files]

    def log_places(self) -> Sequence[Place]:
        """A folder, for there is no stick."""
        return [Place(path=self.medium_folder, free=1 << 30, stick=True)]


async def walk(engine: Engine, keys: Iterable[str], until: str) -> str:
    """Press these keys and wait until a text stands on the screen; returns the screen."""
    app = RescueApp(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        person = Person(app, pilot)
        await person.settle()
        await person.press(*keys)
        deadline = time.monotonic() + PATIENCE
        while until not in person.words:
            assert time.monotonic() < deadline, person.screen
            await asyncio.sleep(0.05)
            await person.settle()
        return person.words


@pytest.fixture(autouse=True)
def library(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library that the menu finds."""
    monkeypatch.setenv("RESCUE_LIBRARY", str(sample.library))
    return sample.library


async def test_an_image_is_restored(sample: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "new.img", DISK_SIZE)
    said = await walk(Workshop(target), keys_for("Restore an image", the_disks_name="new.img"), "A job has ended")
    assert "DONE" in said
    assert holds_used_bytes(sample, target)


async def test_a_computer_is_reset_to_its_factory_state(sample: Sample, tmp_path: Path) -> None:
    care.mark_factory(sample.library, sample.image_id, FactoryState(name="as new"))
    target = tmp_path / "new.img"
    target.write_bytes(sample.disk.read_bytes())
    with target.open("r+b") as file:
        file.seek(MIB)
        file.write(b"used" * MIB)
    assert not holds_used_bytes(sample, target)
    said = await walk(Workshop(target), keys_for("Reset this computer", the_disks_name="new.img"), "A job has ended")
    assert "DONE" in said
    assert holds_used_bytes(sample, target)


@pytest.mark.parametrize("undo", [False, True])
async def test_what_was_cut_off_is_completed_or_undone(sample: Sample, tmp_path: Path, undo: bool) -> None:
    target = blank(tmp_path / "new.img", DISK_SIZE, 0xAA)
    shown = inventory.look(str(target), [sample.library])
    plan = planner.plan_restore(sample.library, sample.image, {sample.imaged.name: shown})
    frame = max((sample.library / "chunks").rglob("*.cacnk"), key=lambda path: path.stat().st_size)
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-100])
    assert carry_out_here(structs.replace(plan, safety=str(sample.library)), tmp_path / "job").status == 4
    frame.write_bytes(whole)
    keys = keys_for("Complete what was cut off", the_disks_name="new.img")
    said = await walk(Workshop(target), [keys[0], "down", *keys[1:]] if undo else keys, "A job has ended")
    assert "DONE" in said
    assert holds_used_bytes(sample, target) is not undo
    assert not undo or target.read_bytes() == bytes([0xAA]) * DISK_SIZE


async def test_a_computer_is_backed_up(sample: Sample, tmp_path: Path) -> None:
    disk = tmp_path / "office.img"
    shutil.copyfile(sample.disk, disk)
    before = images_of(sample.library)
    said = await walk(Workshop(disk), keys_for("Back up this computer"), "A job has ended")
    assert "DONE" in said
    assert len(images_of(sample.library)) == len(before) + 1


async def test_an_image_is_verified(sample: Sample) -> None:
    said = await walk(Workshop(), keys_for("Verify an image"), "A job has ended")
    assert "DONE" in said
    (notes,) = Library.open(sample.library).images().notes.values()
    assert notes.verified


async def test_an_image_is_deleted(sample: Sample) -> None:
    engine = Workshop()
    engine.rename(sample.library, sample.image_id, "old")
    said = await walk(engine, keys_for("Delete an image", its_label="old"), "A job has ended")
    assert "DONE" in said
    assert images_of(sample.library) == []


@pytest.mark.root
async def test_a_recovery_drive_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = small_medium.make(tmp_path / "rescue.img")
    monkeypatch.setenv("RESCUE_SYSTEM", str(system))
    stick = blank(tmp_path / "stick.img", 512 << 20)
    keys = keys_for("Create a recovery drive", the_disks_name="stick.img")
    said = await walk(Workshop(stick), keys, "A job has ended")
    assert "DONE" in said
    assert "everything was read back and is right, and the medium can start a computer" in said
    examined = mediumcheck.check(str(stick), now=datetime(2026, 11, 26, tzinfo=UTC))
    assert (examined.findings, examined.has_images) == ((), True)


@pytest.mark.root
async def test_a_recovery_drive_takes_the_factory_image_along_and_keeps_it_when_it_is_updated(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = blank(tmp_path / "stick.img", 512 << 20)
    monkeypatch.setenv("RESCUE_SYSTEM", str(small_medium.make(tmp_path / "rescue.img")))
    keys = ["c", "enter", "down", "f", "enter", "enter", *stick.name, "enter", "enter"]
    said = await walk(Workshop(stick), keys, "A job has ended")
    assert "1 image, " in said
    later = small_medium.make(tmp_path / "later.img", build="fedcba9876543210", larger_by=100_000)
    monkeypatch.setenv("RESCUE_SYSTEM", str(later))
    keys = ["c", "enter", "enter", "enter", "enter", *stick.name, "enter", "enter"]
    said = await walk(Workshop(stick), keys, "A job has ended")
    assert "The recovery medium stick.img was updated, read back and checked." in said
    assert medium.look(str(stick)).about.build == "fedcba9876543210"
    with library_on(stick) as library:
        assert images_of(library) == [sample.image_id]
        assert factory_image(library) == sample.image_id


async def test_the_log_is_saved(tmp_path: Path) -> None:
    engine = Workshop()
    engine.medium_folder = tmp_path / "stick"
    engine.medium_folder.mkdir()
    said = await walk(engine, keys_for("Save the log"), "The log is saved")
    (saved,) = engine.medium_folder.iterdir()
    assert saved.name in said.replace(" ", "")
    with tarfile.open(saved) as archive:
        assert archive.getnames()
