"""Reset this computer: what becomes of the files on its disk, then the plan of the restore that does so."""

from collections.abc import Sequence
from enum import Enum
from functools import partial

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging.errors import RefusedError, RescueError
from imaging.forecast import Forecast
from imaging.imageplans import CapturePlan
from imaging.restoreplans import RestorePlan, Wipe
from rescue.formats import quoted
from rescue.language import N_, _
from rescue.report import disk_title
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import NOTHING, Known
from rescue.screens.restore import RestorePlanScreen
from rescue.screens.targets import TargetScreen
from rescue.widgets.choices import Choice, NumberedChoices


class Wish(Enum):
    """What becomes of the files that are there."""

    KEEP = "keep"
    REMOVE = "remove"
    ERASE = "erase"


WISHES = (
    (
        Wish.KEEP,
        N_("Keep my files"),
        (
            N_("Home folders, on Windows those in C:\\Users, come into the new system."),
            N_("Programs and settings are lost."),
        ),
    ),
    (
        Wish.REMOVE,
        N_("Remove everything"),
        (
            N_("Quick. What is not written over could still be found on the disk:"),
            N_("for a computer that you go on using yourself."),
        ),
    ),
    (
        Wish.ERASE,
        N_("Remove everything, and erase the disk first"),
        (
            N_("Nothing old is found any more:"),
            N_("for a computer that is given away or sold."),
        ),
    ),
)
"""Each, what it is called, and what it means."""


class ResetScreen(RescueScreen):
    """What shall become of the files?"""

    HEADING = N_("Reset - choose what becomes of the files")
    KEYS = N_("Number or Enter choose   Esc back   F1 or ? help")
    ABOUT = N_("""
The disk gets the system of the factory image. Here you say what becomes of
the files that are on it now.

Keep my files: an image of what is erased is saved first, in a library of
images, which needs room for it. Out of that the home folders come into the
new system; the next screen lists them, with their size, and what else can
be kept: accounts, networks, ssh keys. Where they are on a partition of
their own, that stays as it is, and all else is saved first where a library
has room for it.

Remove everything: only what the new system needs is written. Old files are
gone for you, and could be found by somebody who searches the disk.

Remove everything, and erase the disk first: the next screen says how this
disk does that, and what it is worth on it.

Nothing is written yet.""")

    def __init__(self, plan: RestorePlan, known: Known = NOTHING) -> None:
        super().__init__()
        self.plan = plan
        self.known = known

    def body(self) -> ComposeResult:
        """The image and the disk, then the three ways."""
        (pair,) = self.plan.targets
        lines = (
            _(" Image: {image}").format(image=quoted(self.plan.label) or self.plan.image),
            _(" Disk: {disk}").format(disk=disk_title(pair.target)),
            _(" What shall become of the files on this disk?"),
        )
        yield text("\n".join(lines), id="question")
        yield text("", id="status")
        yield NumberedChoices(id="wishes")

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one("#status").display = False
        (pair,) = self.plan.targets
        stays = _("the image leaves out partitions, which stay") if pair.may_stay else ""
        choices = [
            Choice(
                key=wish.value,
                lines=(f"{number}  {_(name)}", *("   " + _(line) for line in lines)),
                why_not=stays if wish is Wish.ERASE else "",
                alarm=stays if wish is Wish.REMOVE else "",
            )
            for number, (wish, name, lines) in enumerate(WISHES, 1)
        ]
        self.query_one(NumberedChoices).show(choices)
        self.query_one(NumberedChoices).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the plan that does so."""
        wish = Wish(event.option_id)
        if wish is Wish.KEEP:
            self.say("status", _(" Looking where the home folders are .."))
            self.query_one("#status").display = True
            self.look(partial(self.backend.plan_beside_homes, self.plan), self.keep, "plan")
            return
        plan = replace(self.plan, wipe=Wipe.DISCARD) if wish is Wish.ERASE else self.plan
        self.open(ResetPlanScreen(plan, self.known, wish))

    def keep(self, beside: RestorePlan | None) -> None:
        """Home folders on partitions of their own stay where they are; others are carried over."""
        self.query_one("#status").display = False
        self.open(ResetPlanScreen(beside if beside is not None else self.plan, self.known, Wish.KEEP))

    def unanswered(self, error: RescueError) -> None:  # noqa: ARG002
        """The dialogue says why; another wish can be chosen."""
        self.query_one("#status").display = False


class ResetPlanScreen(RestorePlanScreen):
    """What is lost and what comes, as of any restore; what was wished is ticked."""

    HEADING = N_("Reset - read this before you go on")

    def __init__(self, plan: RestorePlan, known: Known = NOTHING, wish: Wish | None = None) -> None:
        super().__init__(plan, known)
        self.wish = wish

    @property
    def to_keep(self) -> bool:
        """Also where a person has just said so."""
        return super().to_keep or self.wish is Wish.KEEP

    @property
    def may_do_without(self) -> bool:
        """Another wish says so."""
        return self.wish is not Wish.KEEP

    def begin(self) -> None:
        """Ask the drive how it erases itself, where it is to be erased."""
        if self.wish is Wish.ERASE:
            self.use_wipe(Wipe.DISCARD)

    def offer(self, places: Sequence[CapturePlan]) -> None:
        """Home folders are kept where that was wished; where nothing can take them, nothing begins.

        Beside those on partitions of their own, which stay, all else is saved where a library has room.
        """
        super().offer(places)
        if self.wish is not Wish.KEEP or self.waiting:
            return
        if self.beside:
            if places:
                self.seeking = True
                self.safety.action_tick()
                self.show_button()
        elif self.keep.display:
            self.keep.ticked = True
            self.look_for_files()
        else:
            self.refuse()

    @property
    def beside(self) -> bool:
        """Whether the home folders stay, on partitions of their own."""
        return self.wish is Wish.KEEP and bool(self.plan.targets[0].partitions)

    def use_fitting(self, found: tuple[CapturePlan, Forecast] | None) -> None:
        """Now it is known, too, what is saved beside them."""
        if self.beside:
            self.seeking = False
        super().use_fitting(found)
        self.show_button()

    def unanswered(self, error: RescueError) -> None:
        """Where they stay, nothing else is to be kept: what is erased is not saved then, and that can be seen."""
        if not self.beside:
            super().unanswered(error)
            return
        self.seeking = self.safety.ticked = False
        self.use_place(None, _("Save what is there first"))
        self.show_button()

    def refuse(self) -> None:
        """Nothing can take what is to be kept."""
        self.seeking = True
        error = RefusedError(
            "no library here can take what is on the disk, out of which the files would be kept",
            code="no-space",
            hint="attach a disk with an image library that has room",
        )
        self.unanswered(error)
        with self.telling():
            raise error

    def offer_identity(self, found: RestorePlan | None) -> None:
        """None: a computer that is put back stays the one that it is, and what is kept of it would not be kept."""

    def hopeless(self) -> str:
        """What was wished cannot be: another wish can be."""
        if self.wish is Wish.KEEP:
            return _("Your files cannot be kept. Esc goes back, to attach a disk or to choose otherwise.")
        return super().hopeless()

    def verb(self) -> str:
        """What stands on the button."""
        return _("Reset")


class ResetTargetScreen(TargetScreen):
    """The disks of this computer, where the factory image does not know the one that it is for."""

    HEADING = N_("Reset - choose the disk to write to")

    def last(self, plan: RestorePlan) -> RescueScreen:
        """What becomes of its files is asked first."""
        return reset_screen(plan, self.known)


def reset_screen(plan: RestorePlan, known: Known = NOTHING) -> RescueScreen:
    """The question what becomes of the files, or the plan where there are none to speak of, or that is known.

    Out of several disks nothing can be kept; and what an earlier reset that was cut off was to keep is kept.
    """
    pair, *others = plan.targets
    there = pair.target
    empty = not (there.table.partitions or there.content.kind)
    if others or pair.create or pair.partitions or there.keeps or empty:
        return ResetPlanScreen(plan, known)
    return ResetScreen(plan, known)
