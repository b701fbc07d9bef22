"""Pictures of every screen, as a PC's text console shows them: `python -m tests.pictures FOLDER [SCENE ...]`."""

import asyncio
import os
import sys
import time
from pathlib import Path

from rescue.application import RescueApp
from tests import vga
from tests.app.conftest import Person
from tests.app.painted import VGA, painted
from tests.app.scenes import SCENES, Scene


async def picture(scene: Scene, width: int = 80, height: int = 24) -> bytes:
    """A scene as a PNG file."""
    app = RescueApp(scene.backend())
    async with app.run_test(size=(width, height)) as pilot:
        person = Person(app, pilot)
        await person.settle()
        await person.press(*scene.presses)
        return vga.draw(painted(app, VGA)).png()


def main(folder: Path, names: list[str]) -> None:
    """Write the pictures of these scenes, or of all."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    folder.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        if not names or scene.name in names:
            (folder / f"{scene.name}.png").write_bytes(asyncio.run(picture(scene)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
