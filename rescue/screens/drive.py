"""Create a recovery drive, first step: what one is, and what can be done; what the running one is like."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging.bootcheck import BootState, State
from imaging.errors import RescueError
from imaging.recoveryplans import MediaGrowPlan, MediaSystem
from rescue.backend import Backend
from rescue.drives import Load, checking_words, gain_words
from rescue.formats import clean
from rescue.language import N_, _
from rescue.medium import system_line
from rescue.screens.base import RescueScreen, problem, text
from rescue.screens.disklist import INDENT
from rescue.screens.driveimages import DriveImagesScreen
from rescue.screens.growth import GrowthScreen
from rescue.screens.mediumcheck import MediumScreen
from rescue.widgets.choices import Choice, Choices

MAKE, GROW, CHECK = "make", "grow", "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What there is to make one from; `growth` is None where the running medium has nothing to gain."""

    system: MediaSystem | None
    why_not: str
    growth: MediaGrowPlan | None
    state: BootState
    live: bool
    """Whether this system was started from a medium, or over the network."""


def means(backend: Backend) -> Means:
    """Ask for all of it; takes up to seconds, never raises."""
    system, why_not, growth = None, "", None
    try:
        system = backend.media_system()
    except RescueError as error:
        why_not = " ".join(problem(error).split())
    with suppress(RescueError):
        growth = backend.plan_grow()
    state = backend.boot_state()
    if state.state is State.DAMAGED:
        system, growth = None, None
        why_not = _("this recovery drive is damaged, and so would be its copy: use one that is whole")
    live = state.state is not State.UNKNOWN or (system is not None and system.booted)
    return Means(system=system, why_not=why_not, growth=growth, state=state, live=live)


class DriveScreen(RescueScreen):
    """What it makes, in two sentences, and the choices."""

    HEADING = N_("Create a recovery drive")
    ABOUT = N_("""
A recovery drive is a stick, or any disk, that a computer can be started
from when its own system does not start any more. It brings this menu with
it, and the images that you put on it.

Make one in calm times, try once that your computer starts from it, and
make it anew once a year. Nothing is written before you have seen what will
be erased and have typed that disk's name.

A drive that is a recovery drive already can be updated: then it gets this
system, and the images on it stay.""")
    DEFAULT_CSS = """
    DriveScreen #about { height: auto; margin: 1; }
    DriveScreen #status { margin: 0 1 1 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.means: Means | None = None

    def body(self) -> ComposeResult:
        """Two sentences, and the list."""
        words = _(
            "A recovery drive starts a computer whose own system does not start any more, and shows this menu there. "
            "The images that you put on it can be restored from it, with nothing else plugged in."
        )
        yield text(words, id="about")
        yield text(_("Looking at what there is .."), id="status")
        yield Choices(id="acts")

    def on_mount(self) -> None:
        """The cursor is in the list."""
        self.query_one(Choices).focus()

    def on_screen_resume(self) -> None:
        """Shown for the first time, or again: a medium may have been plugged in or checked meanwhile."""
        self.look(lambda: means(self.backend), self.show_means)

    def show_means(self, found: Means) -> None:
        """What can be done."""
        self.means = found
        self.query_one("#status").display = False
        self.query_one(Choices).show(choices_of(found))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to what was chosen."""
        found = self.means
        if found is None:
            return
        if event.option_id == MAKE and found.system is not None:
            self.open(DriveImagesScreen(Load(system=found.system)))
        elif event.option_id == GROW and found.growth is not None:
            self.open(GrowthScreen(found.growth))
        elif event.option_id == CHECK:
            self.open(MediumScreen())


def choices_of(found: Means) -> Sequence[Choice]:
    """The list: making one; more room on this one, where there is some; checking this one, where it runs from one."""
    what = INDENT + system_line(found.system) if found.system is not None else ""
    choices = [
        Choice(key=MAKE, lines=tuple(filter(None, (_("Make or update a drive"), what))), why_not=clean(found.why_not))
    ]
    if found.growth is not None:
        lines = (_("Use all of this drive for images"), INDENT + gain_words(found.growth))
        choices.append(Choice(key=GROW, lines=lines))
    if found.live:
        choices.append(Choice(key=CHECK, lines=(_("Check this recovery drive"), INDENT + state_words(found.state))))
    return choices


def state_words(state: BootState) -> str:
    """What is known of the running medium, in a few words."""
    match state.state:
        case State.CHECKING:
            return checking_words(state)
        case State.DAMAGED:
            return _("it is DAMAGED")
        case State.GOOD if state.old:
            return _("it is whole, but over a year old")
        case State.GOOD:
            return _("it is whole: checked when the computer was started")
        case State.UNKNOWN:
            return _("it was not checked yet")
