"""Reset this computer: the factory images, those made for this computer first, then the plan of restoring one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import Disk
from imaging.errors import RefusedError, RescueError
from imaging.manifest import Image
from imaging.notes import FactoryState, Notes
from imaging.restoreplans import RestorePlan
from imaging.resuming import SEVERAL, CutOff, targets_of
from rescue.cutoff import COMPLETE, completing, undoing
from rescue.cutoff import UNDO as UNDO_CUT
from rescue.factories import Offer, newest_saved, offers, saved_disk, target_by_rule
from rescue.factory_words import made_for
from rescue.formats import clean, format_place, format_when, joined, quoted
from rescue.language import N_, _
from rescue.report import machine_line
from rescue.screens.base import Question, RescueScreen, text
from rescue.screens.disklist import INDENT, NOTHING
from rescue.screens.elsewhere import ElsewhereScreen
from rescue.screens.reset import ResetTargetScreen, reset_screen
from rescue.screens.restore import RestorePlanScreen
from rescue.screens.shelf import Filter, ShelfScreen
from rescue.screens.targets import Restore, TargetScreen, UndoTargetScreen
from rescue.shelf import Item, Shelf, gather, locked_lines
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

UNDO = "undo"


_NO_ROOM = ("target-too-small", "cannot-shrink", "no-space")
"""Errors of a disk that the image does not fit on, even with a smaller file system."""


class FactoryScreen(ShelfScreen):
    """Which factory image?"""

    HEADING = N_("Reset this computer to its factory state")
    KEYS = N_("Enter choose  / filter  o elsewhere  l look again  Esc back  F1 help")
    ABOUT = N_("""
A factory image is the state in which a computer left the factory, or its
administrator's hands. Restoring it erases everything on the disk that it
goes to: programs, settings and files.

A reset or restore that was cut off, by a power cut say, stands above all:
it can be completed, with whatever it was to keep, or be undone where the
disk was saved before.

The images that were made for this computer stand first. Where what was on
a disk was saved before the last reset or restore, that can be undone here.

Nothing is written before you have seen what is lost and have typed the
disk's name.

  Enter   choose the image; nothing is written yet
  /       show only images with the words that you type
  o       look elsewhere: on the network, in a folder, on another disk
  l       look for libraries again, after you have plugged in a medium

`rescue factory set IMAGE` makes an image a factory image.""")
    BINDINGS: ClassVar[list[BindingType]] = [("o", "other")]

    def __init__(self) -> None:
        super().__init__()
        self.cut: Sequence[CutOff] = ()
        """The restores that were cut off: each is completed or undone before anything else is begun."""

    def body(self) -> ComposeResult:
        """The list."""
        yield text("", id="question")
        yield text(_(" Looking for images .."), id="status")
        yield Choices(id="images")
        yield Filter()

    def unanswered(self, error: RescueError) -> None:
        """Nothing is looked for any more."""
        self.say("status", f" {clean(told(error.message))}")
        self.query_one("#status").display = True

    def look_again(self) -> None:
        """Read the libraries, and what was cut off."""

        def ask() -> tuple[Sequence[CutOff], Shelf]:
            cut = self.backend.cut_off()
            return cut, gather(self.backend, self.backend.libraries())

        def then(found: tuple[Sequence[CutOff], Shelf]) -> None:
            self.cut, shelf = found
            self.show_shelf(shelf)

        self.look(ask, then)

    def interrupted(self) -> list[Choice]:
        """What was cut off, to be completed or undone; none of it while a filter is set."""
        choices = []
        for number, cut in enumerate(() if self.words else self.cut):
            choices.append(choice(f"{COMPLETE}{number}", completing(cut)))
            if cut.can_be_undone:
                choices.append(choice(f"{UNDO_CUT}{number}", undoing(cut)))
        return choices

    def offers(self, shelf: Shelf, items: Sequence[Item]) -> list[Offer]:
        """The factory images among these."""
        marked = [
            (item.library, item.image, item.notes.factory or FactoryState())
            for item in items
            if item.image is not None and item.factory
        ]
        return offers(marked, shelf.here)

    def show_images(self) -> None:
        """Fill the list with what the filter lets through."""
        shelf = self.shelf
        if shelf is None:
            return
        self.say("question", _(" This computer: {words}").format(words=machine_line(shelf.here)))
        all_ = self.offers(shelf, shelf.good)
        saved = saved_of(shelf)
        # What brings back the disk as it was before the restore that was cut off stands above.
        told = saved is not None and any(cut.saved == saved[1].id for cut in self.cut)
        undo = (
            []
            if saved is None or told or self.words
            else [Choice(key=UNDO, lines=undo_lines(saved, restored_before(saved, shelf)))]
        )
        shown = self.offers(shelf, self.wanted(shelf.good, shelf.here))
        factory = [Choice(key=key_of(offer), lines=offer_lines(offer)) for offer in shown]
        self.query_one(Choices).show([*self.interrupted(), *factory, *undo])
        self.say("hits", _(" {count} of {all}").format(count=len(shown), all=len(all_)))
        status = self.status(shelf, all_)
        if self.words and not shown:
            status = _(" No image has these words. Esc shows all again.")
        self.say("status", status)
        self.query_one("#status").display = bool(status)

    def status(self, shelf: Shelf, found: Sequence[Offer]) -> str:
        """What there is to say of the libraries, and what to do where no image is marked."""
        lines = [_(" Cannot be read: {what}").format(what=words) for words in shelf.problems]
        lines += [f" {words}" for words in locked_lines(shelf)]
        if not found and not shelf.locked and saved_of(shelf) is None and not self.cut:
            lines.append(_(" No factory image was found."))
            lines.append(_(" Plug in the medium that holds it and press l, or press o to look elsewhere."))
            lines.append(_(" Any other image is restored with Restore an image, in the menu."))
        elif found and not found[0].fits:
            lines.append(_(" None of these was made for this computer."))
        return "\n".join(lines)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the plan; first a word where the image was made for other computers."""
        shelf = self.shelf
        if shelf is not None and event.option_id == UNDO:
            self.undo(shelf)
            return
        for number, cut in enumerate(self.cut):
            if shelf is not None and event.option_id == f"{COMPLETE}{number}":
                self.complete(cut, shelf)
                return
            if event.option_id == f"{UNDO_CUT}{number}":
                self.look(partial(self.backend.plan_undoing, cut), self.show_plan, "plan")
                return
        found = self.offers(shelf, shelf.good) if shelf else []
        offer = next((offer for offer in found if key_of(offer) == event.option_id), None)
        if shelf is None or offer is None:
            return
        if offer.fits:
            self.use(offer, shelf)
            return
        words = _(
            "This image was made for other computers: {computers}\n\nOn this one it may not start, or lack its drivers."
        ).format(computers=made_for(offer.state.match))

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.use(offer, shelf)

        self.open(Question(words, yes=_("use it all the same"), no=_("go back")), answered)

    def complete(self, cut: CutOff, shelf: Shelf) -> None:
        """The plan of going on with what was cut off; where other disks belong to it, a person chooses them first."""

        def ask() -> RestorePlan | Restore:
            try:
                return self.backend.plan_completion(cut)
            except RefusedError as error:
                found = next((one for one in shelf.good if one.id == cut.image), None)
                if error.code != SEVERAL or found is None or found.image is None:
                    raise
                known = dict(targets_of(cut, found.image))
                return Restore(library=found.library, image=found.image, libraries=shelf.libraries, targets=known)

        def then(found: RestorePlan | Restore) -> None:
            if isinstance(found, Restore):
                self.open(TargetScreen(found))
            else:
                self.show_plan(found)

        self.look(ask, then, "plan")

    def show_plan(self, plan: RestorePlan) -> None:
        """What will be done, and the disk's name to be typed."""
        self.open(RestorePlanScreen(plan, NOTHING))

    def use(self, offer: Offer, shelf: Shelf) -> None:
        """The plan where the image's own rule finds the one disk, the choice of a disk where it does not."""

        def targets() -> dict[str, Disk]:
            disk = self.ruled(offer, shelf)
            return {offer.image.disks[0].name: disk} if disk is not None else {}

        order = Restore(library=offer.library, image=offer.image, libraries=shelf.libraries)
        self.restore(order, targets, ResetTargetScreen, reset_screen)

    def undo(self, shelf: Shelf) -> None:
        """The plan of restoring the safety image onto the very disks that were saved; else a person chooses."""
        saved = saved_of(shelf)
        if saved is None:
            return
        library, image, _noted = saved

        def targets() -> dict[str, Disk]:
            there = self.backend.disks(shelf.libraries)
            found = {disk.name: saved_disk(disk, there) for disk in image.disks}
            known = {name: disk for name, disk in found.items() if disk is not None}
            return known if len(known) == len(found) else {}

        order = Restore(library=library, image=image, libraries=shelf.libraries)
        self.restore(order, targets, UndoTargetScreen, RestorePlanScreen, self.backend.plan_undo)

    def restore(
        self,
        order: Restore,
        targets: Callable[[], dict[str, Disk]],
        choosing: Callable[[Restore], RescueScreen],
        planned: Callable[[RestorePlan], RescueScreen],
        plan: Callable[[Path, Image, Mapping[str, Disk]], RestorePlan] | None = None,
    ) -> None:
        """The screen of the plan where the targets are known without a question; else a person chooses them."""

        def ask() -> RestorePlan | None:
            known = targets()
            try:
                return (plan or self.backend.plan_restore)(order.library, order.image, known) if known else None
            except RefusedError as error:
                # Another disk can have the room.
                if error.code in _NO_ROOM:
                    return None
                raise

        def then(found: RestorePlan | None) -> None:
            self.open(choosing(order) if found is None else planned(found))

        self.look(ask, then, "plan")

    def ruled(self, offer: Offer, shelf: Shelf) -> Disk | None:
        """The disk that the image's own rule means, where that is exactly one that can be written to."""
        disk = None
        with suppress(RescueError):
            disk = target_by_rule(offer, shelf.here, self.backend.disks(shelf.libraries))
        return disk if disk and not self.backend.why_not_target(disk, offer.image.disks[0]) else None

    def action_other(self) -> None:
        """o: look elsewhere; what was found there stands in the list afterwards."""
        self.open(ElsewhereScreen(), lambda _done: self.action_again())


def choice(key: str, lines: tuple[str, ...]) -> Choice:
    """A choice whose further lines stand below its first."""
    return Choice(key=key, lines=(lines[0], *(INDENT + line for line in lines[1:])))


def saved_of(shelf: Shelf) -> tuple[Path, Image, Notes] | None:
    """The safety image that undoes the last restore of this computer."""
    return newest_saved([(item.library, item.image, item.notes) for item in shelf.good if item.image], shelf.here)


def undo_lines(saved: tuple[Path, Image, Notes], restored: Image | None) -> tuple[str, ...]:
    """What undoing the last restore brings back; `restored` is that restore's image, where it is known."""
    library, image, noted = saved
    when = _("the disks as they were at {when}").format(when=format_when(image.created))
    name = (quoted(restored.label) if restored is not None else "") or clean(noted.before)
    why = _("before {image} was restored").format(image=name)
    return (_("Undo the last reset or restore"), *(INDENT + line for line in (when, why, format_place(library))))


def restored_before(saved: tuple[Path, Image, Notes], shelf: Shelf) -> Image | None:
    """The image that was restored after that was saved, where it is in a library here."""
    return next((item.image for item in shelf.good if item.image is not None and item.id == saved[2].before), None)


def key_of(offer: Offer) -> str:
    """Its own wherever it stands in the list."""
    return f"{offer.library}/{offer.image.id}"


def offer_lines(offer: Offer) -> tuple[str, ...]:
    """What it is called, then for which computers, from when and where."""
    title = joined(offer.name, clean(offer.state.edition), by=", ")
    computers = _("for: {computers}").format(computers=made_for(offer.state.match))
    fits = "" if offer.fits else _("NOT MADE FOR THIS COMPUTER")
    where = joined(format_when(offer.image.created), format_place(offer.library), by=", ")
    lines = (joined(fits, computers, by=", "), clean(offer.state.description), where)
    return (title, *(INDENT + line for line in lines if line))
