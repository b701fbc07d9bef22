"""Restore, second step: all of the image, one of its disks, or one partition."""

from dataclasses import replace

from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging.manifest import ImagedDisk
from rescue.contents import content_words
from rescue.formats import clean, format_size, joined
from rescue.language import N_, _, ngettext
from rescue.report import image_title
from rescue.screens.base import RescueScreen, text
from rescue.screens.parts import VolumesScreen
from rescue.screens.targets import Restore, TargetScreen
from rescue.widgets.choices import Choice, Choices

ALL, PARTITION = "all", "partition"
DISK = "disk:"


class ScopeScreen(RescueScreen):
    """What of the image is to be restored?"""

    HEADING = N_("Restore - choose what")
    ABOUT = N_("""
A whole disk is the usual answer: it brings the computer back as it was.
Everything on the disk that you choose next is then overwritten.

One partition goes into a partition that exists; the others on that disk,
and its partition table, stay as they are.

Nothing is written yet.""")

    def __init__(self, order: Restore) -> None:
        super().__init__()
        self.order = order

    def body(self) -> ComposeResult:
        """The image, then what can be taken of it."""
        title = _(" Image: {image}").format(image=image_title(self.order.image))
        yield text(f"{title}\n" + _(" What shall be restored?"), id="question")
        yield Choices(id="scope")

    def on_mount(self) -> None:
        """Fill the list."""
        disks = self.order.image.disks
        whole = [Choice(key=ALL, lines=(_("Everything: {disks}").format(disks=self.everything()), *contents(disks)))]
        if len(disks) > 1:
            whole += [
                Choice(
                    key=DISK + disk.name,
                    lines=(_("Only the disk {disk}").format(disk=disk_words(disk)), *contents((disk,))),
                )
                for disk in disks
            ]
        one = Choice(
            key=PARTITION,
            lines=(_("Only one partition .."), _("    into a partition that exists; all else on its disk stays")),
            why_not="" if any(disk.volumes for disk in disks) else _("the image holds no partition"),
        )
        self.query_one(Choices).show([*whole, one])
        self.query_one(Choices).focus()

    def everything(self) -> str:
        """The disks of the image."""
        disks = self.order.image.disks
        if len(disks) == 1:
            return _("the disk {disk}").format(disk=disk_words(disks[0]))
        count = ngettext("{count} disk", "{count} disks", len(disks)).format(count=len(disks))
        return f"{count}, {format_size(self.order.image.size)}"

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the targets, or to the partitions."""
        key = event.option_id or ""
        if key == PARTITION:
            self.open(VolumesScreen(self.order))
        elif key == ALL:
            self.open(TargetScreen(self.order))
        elif key.startswith(DISK):
            self.open(TargetScreen(replace(self.order, only=key.removeprefix(DISK))))


def disk_words(disk: ImagedDisk) -> str:
    """Name, size, model."""
    return joined(clean(disk.name), format_size(disk.size), clean(disk.id.model), by=", ")


def contents(disks: tuple[ImagedDisk, ...]) -> list[str]:
    """What stands on the volumes, on one line; nothing where that is not known."""
    words = [content_words(volume.content) for disk in disks for volume in disk.volumes]
    listed = ", ".join(word for word in words if word)
    return [f"    {listed}"] if listed else []
