"""What each screen looks like at 80x24, some at 60x20, word for word; RESCUE_SNAPSHOTS=write takes them anew.

Whoever changes a screen looks at the difference in the text files as at any other.
"""

import importlib
import os
import pkgutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.screen import Screen

import rescue.screens
from tests.app.conftest import Sit
from tests.app.painted import SERIAL, described, painted
from tests.app.scenes import SCENES, Scene

FOLDER = Path(__file__).with_name("snapshots")
WRITE = os.environ.get("RESCUE_SNAPSHOTS") == "write"

USUAL, SMALLEST = (80, 24), (60, 20)
SMALL = (
    "menu",
    "menu-power-off-busy",
    "images",
    "restore-plan-failing",
    "backup-plan",
    "progress",
    "result-failed",
    "ssh-crowded",
    "order-counting",
    "order-refused",
    "drive-images",
    "drive-plan",
    "files-marked",
    "files-plan",
)
"""Scenes with a snapshot of the smallest screen, too."""

WITHOUT_A_BODY = {
    "RescueScreen",
    "Dialogue",
    "CareScreen",
    "DiskListScreen",
    "ShelfScreen",
    "ErasingScreen",
    "Fields",
    "AskPassphrase",
    "PlacesScreen",
}
"""What others are derived from."""


@pytest.fixture(autouse=True)
def greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are those of one place."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_a_screen_looks_as_it_did(sit_down: Sit, scene: Scene) -> None:
    await compare(sit_down, scene, USUAL)


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.name in SMALL], ids=str)
async def test_a_small_screen_looks_as_it_did(sit_down: Sit, scene: Scene) -> None:
    await compare(sit_down, scene, SMALLEST)


async def compare(sit_down: Sit, scene: Scene, size: tuple[int, int]) -> None:
    """Go to a scene and hold it against its file."""
    file = file_of(scene, size)
    async with sit_down(scene.backend()) as person:
        await person.pilot.resize_terminal(*size)
        await person.press(*scene.presses)
        assert type(person.app.screen).__name__ == scene.screen
        now = described(painted(person.app, SERIAL))
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        file.write_text(now)
    assert now == file.read_text()


def file_of(scene: Scene, size: tuple[int, int]) -> Path:
    """Where the snapshot lies."""
    return FOLDER / (f"{scene.name}.txt" if size == USUAL else f"{scene.name}-{size[0]}x{size[1]}.txt")


def test_every_screen_has_a_snapshot() -> None:
    for module in pkgutil.iter_modules(rescue.screens.__path__, "rescue.screens."):
        importlib.import_module(module.name)
    screens = {one.__name__ for one in classes_below(Screen) if one.__module__.startswith("rescue.")}
    assert {scene.screen for scene in SCENES} == screens - WITHOUT_A_BODY


def test_every_snapshot_is_of_a_scene() -> None:
    usual = {file_of(scene, USUAL) for scene in SCENES}
    small = {file_of(scene, SMALLEST) for scene in SCENES if scene.name in SMALL}
    assert set(FOLDER.iterdir()) == usual | small


def classes_below(base: type[object]) -> Iterator[type[object]]:
    """All that are derived from a class."""
    below: list[type[object]] = base.__subclasses__()
    for one in below:
        yield one
        yield from classes_below(one)
