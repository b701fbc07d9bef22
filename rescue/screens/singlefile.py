"""Save an image as a single file: where to, and what it takes there, before anything is written."""

from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from imaging.exportplan import SingleFile
from imaging.fileplan import Place
from imaging.manifest import Image
from rescue.care import single_file_lines
from rescue.language import N_, _
from rescue.report import image_title, plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.screens.places import PlacesScreen
from rescue.shelf import Item
from rescue.widgets.act import Act, Acts


class SingleFilePlaceScreen(PlacesScreen[SingleFile]):
    """Where the file shall be."""

    HEADING = N_("Save an image as a single file - choose where to")
    ABOUT = N_("""
The image with all of its disks becomes one file, which you can keep, send
or carry anywhere. It bears the image's label and lies at the top of the
disk, stick or share that you choose, where Rescue finds it by itself:
images are restored from such a file as from a library.

You can type the path of a folder instead, or of the file itself, which
then ends in .rescue. Nothing that is there is overwritten, and nothing is
written yet.

  l       look again, after you have plugged in a medium""")
    ASK_FOR_PATH = N_("Into which folder? Type its full path, or that of the file, such as /mnt/disk/office.rescue")
    PLANNING = N_(" Measuring the image ..")

    def __init__(self, item: Item, image: Image) -> None:
        super().__init__()
        self.source = item
        self.image = image

    def question(self) -> str:
        """The image."""
        image = _(" Image: {image}").format(image=image_title(self.image))
        return f"{image}\n" + _(" Where shall the file be saved?")

    def find_places(self) -> Sequence[Place]:
        """The top of each."""
        return self.backend.single_file_places()

    def plan_into(self, where: Path) -> SingleFile:
        """With what it takes there."""
        return self.backend.plan_single_file(self.source.library, self.image, where)

    def show_plan(self, found: SingleFile) -> None:
        """What would be done."""
        self.open(SingleFilePlanScreen(found))


class SingleFilePlanScreen(RescueScreen):
    """What is written where, how much, and in how many pieces; the focus is on what changes nothing."""

    HEADING = N_("Save an image as a single file - the plan")
    KEYS = N_("Left, Right and Enter a button   PgUp/PgDn scroll   Esc back   F1 help")
    ABOUT = N_("""
This is the file that will be written. Every part of the image is read and
checked on the way, and the file bears its name once all of it is on the
medium: one that was cut off is never taken for an image.

Where the medium holds no file so large, as FAT does not, it becomes
several, named .001, .002 and so on. All of them are needed: keep them in
one folder.""")

    def __init__(self, found: SingleFile) -> None:
        super().__init__()
        self.found = found

    def body(self) -> ComposeResult:
        """The plan, the buttons."""
        lines = [*plan_lines(self.found.plan), *single_file_lines(self.found)]
        with VerticalScroll(id="plan", can_focus=False):
            yield text("\n".join(lines), id="lines")
        yield Acts(Act(_("Back"), id="back"), Act(_("Save"), id="save"))

    def on_mount(self) -> None:
        """The focus is on the harmless answer."""
        self.query_one("#back").focus()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.action_back()
        else:
            self.submit(self.found.plan)
