"""Copy files out of an image: which volume they are on, and the passphrase of one that is encrypted."""

from collections.abc import Sequence
from functools import partial

from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging.imagevolumes import OpenVolume
from imaging.manifest import Image
from rescue.files import volume_line
from rescue.formats import clean
from rescue.language import N_, _
from rescue.report import image_title
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import INDENT
from rescue.screens.files import FilesScreen
from rescue.screens.unlocking import AskVolumePassphrase, Opener
from rescue.shelf import Item
from rescue.widgets.choices import Choice, Choices


class FileVolumesScreen(RescueScreen):
    """The volumes of an image: whose files are wanted?"""

    HEADING = N_("Copy files out of an image - choose where they are")
    ABOUT = N_("""
Here are the partitions and volumes that the image holds. Choose the one
whose files you want to see; they can be copied to a disk, a stick or a
share. Nothing of the image is changed, and no disk of this computer.

What LUKS encrypts can be chosen, too: its passphrase is asked for, and
what is in it then stands below it. What cannot be looked into is shown
with the reason.""")

    def __init__(self, item: Item, image: Image) -> None:
        super().__init__()
        self.source = item
        self.image = image
        self.volumes: list[OpenVolume] = []
        self.unlocked: list[str] = []
        """The encrypted ones that were opened, in that order."""

    def body(self) -> ComposeResult:
        """The image, then its volumes."""
        image = _(" Image: {image}").format(image=image_title(self.image))
        yield text(f"{image}\n" + _(" Whose files do you want to see?"), id="question")
        yield text("", id="status")
        yield Choices(id="volumes")

    def on_mount(self) -> None:
        """Fill the list."""
        self.status("")
        self.volumes = list(self.backend.volumes(self.image))
        self.show_volumes()
        self.query_one(Choices).focus()

    def status(self, words: str) -> None:
        """Say what goes on."""
        self.say("status", words)
        self.query_one("#status").display = bool(words)

    def show_volumes(self) -> None:
        """All that are known by now."""
        self.query_one(Choices).show([self.choice(volume) for volume in self.volumes])

    def choice(self, volume: OpenVolume) -> Choice:
        """A volume as the list shows it."""
        line, why_not = volume_line(volume), clean(volume.problem)
        if volume.name in self.unlocked:
            why_not = _("it is open: what is in it stands below")
        elif volume.locked:
            asks = INDENT + _("Enter asks for its passphrase")
            return Choice(key=volume.name, lines=(line, asks))
        return Choice(key=volume.name, lines=(line,), why_not=why_not)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Into it; what is encrypted is opened first."""
        volume = next((one for one in self.volumes if one.name == event.option_id), None)
        if volume is None:
            return
        if volume.locked:
            self.unlock(volume)
        else:
            self.look_into(volume)

    def look_into(self, volume: OpenVolume) -> None:
        """Its files."""
        self.open(FilesScreen(self.source, self.image, volume, self.unlocked))

    def unlock(self, volume: OpenVolume) -> None:
        """Ask for the passphrase of an encrypted one until it opens, or nobody gives any."""

        def attempt(words: str) -> Sequence[OpenVolume]:
            before = tuple(self.unlocked)
            return self.backend.unlock_volume(self.source.library, self.image.id, volume.name, words, before)

        def then(inside: Sequence[OpenVolume]) -> None:
            self.show_inside(volume, inside)

        dialogue = partial(AskVolumePassphrase, volume.name)
        Opener(self, volume.name, dialogue=dialogue, attempt=attempt, then=then, say=self.status).ask()

    def show_inside(self, volume: OpenVolume, inside: Sequence[OpenVolume]) -> None:
        """An encrypted one is open: what is in it stands below it, and is shown where that is one file system alone."""
        if volume.name in self.unlocked:
            return
        place = self.volumes.index(volume) + 1
        self.volumes[place:place] = inside
        self.unlocked.append(volume.name)
        self.show_volumes()
        usable = [one for one in inside if not one.problem or one.locked]
        if not usable:
            self.status(_(" {volume} is open, but nothing in it can be looked into.").format(volume=clean(volume.name)))
            return
        self.query_one(Choices).highlighted = self.volumes.index(usable[0])
        if len(usable) == 1 and not usable[0].locked:
            self.look_into(usable[0])
