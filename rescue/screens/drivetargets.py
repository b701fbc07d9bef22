"""Create a recovery drive, third step: the stick that becomes one."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging import mediaplan
from imaging.disk import Disk, format_size
from imaging.medium import Medium
from imaging.recoveryplans import MediaPlan
from rescue.backend import Backend
from rescue.drives import Candidate, Load, Way, candidate, candidate_words, plan
from rescue.formats import clean
from rescue.language import N_, _
from rescue.screens.base import Dialogue, text
from rescue.screens.disklist import BESIDE_BAR, INDENT, DiskListScreen, all_disks, disk_choice
from rescue.screens.driveplan import DrivePlanScreen
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Choice, Choices


class DriveTargetScreen(DiskListScreen):
    """The disks of this computer; sticks stand before fixed disks."""

    HEADING = N_("Create a recovery drive - choose the stick")
    KEYS = N_("Enter choose   l look again   o disk file   Esc back   F1 or ? help")
    ABOUT = N_("""
Each entry is a disk of this computer, drawn with what is on it now. The
one that you choose will be ERASED, but not yet: the next screen shows what
is lost, and asks you to type its name. A drive that is a recovery drive
already can be updated instead: the images on it stay.

Sticks stand first; a fixed disk of this computer is marked. Disks that
cannot be chosen are shown with the reason.

  Enter   choose the disk under the cursor
  l       look for disks again, after you have plugged one in
  o       name a file that stands for a disk: a virtual machine's, say""")

    def __init__(self, load: Load) -> None:
        super().__init__()
        self.load = load
        self.media: Mapping[str, Medium] = {}

    def body(self) -> ComposeResult:
        """What goes on it, then the disks."""
        size = format_size(self.load.needed)
        words = _(" On it: {load}.").format(load=self.load.words)
        needs = _(" Which stick shall it be? {size} or more are needed.").format(size=size)
        yield text(f"{words}\n{needs}", id="question")
        yield text(_(" Looking at the disks .."), id="status")
        yield Choices(id="disks")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def libraries(self) -> Sequence[Path]:
        """Those that are attached now."""
        return self.backend.libraries()

    def action_again(self) -> None:
        """l: look at the disks again, and which of them are recovery drives."""

        def ask() -> tuple[Sequence[Disk], Mapping[str, Medium]]:
            disks = all_disks(self.backend, self.libraries(), self.files)
            return disks, self.backend.media_on(disks)

        def then(found: tuple[Sequence[Disk], Mapping[str, Medium]]) -> None:
            disks, self.media = found
            self.show_disks(disks)

        self.look(ask, then)

    def candidates(self) -> Sequence[Candidate]:
        """Those that can be chosen first, sticks before fixed disks."""
        found = [candidate(self.backend, disk, self.media.get(disk.path), self.load) for disk in self.disks.values()]
        return sorted(found, key=lambda one: (not one.ways, bool(mediaplan.doubts(one.disk))))

    def show_list(self) -> None:
        """Fill the list."""
        found = self.candidates()
        self.query_one(Choices).show([self.choice(one) for one in found])
        sticks = any(one.ways and not mediaplan.doubts(one.disk) for one in found)
        self.say("status", "" if sticks else _(" No stick was found that it fits on: plug one in and press l."))
        self.query_one("#status").display = not sticks

    def choice(self, one: Candidate) -> Choice:
        """A disk as the list shows it: what it is, and what speaks against it."""
        shown = disk_choice(one.disk, one.why_not, self.known, self.app.size.width - BESIDE_BAR)
        words = "" if one.disk.unfinished else candidate_words(one)
        more = [INDENT + words] if words else []
        if one.ways and mediaplan.doubts(one.disk):
            more.append(INDENT + _("a FIXED DISK of this computer, not a stick"))
        first, *rest = shown.lines
        return Choice(key=shown.key, lines=(first, *more, *rest), why_not=shown.why_not, alarm=shown.alarm)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the plan; where there are two ways the person says which."""
        disk = self.disks.get(event.option_id or "")
        if disk is None:
            return
        one = candidate(self.backend, disk, self.media.get(disk.path), self.load)
        if len(one.ways) > 1:

            def use(way: Way | None) -> None:
                if way is not None:
                    self.go_on(one, way)

            self.open(AskWay(one), use)
        elif one.ways:
            self.go_on(one, one.ways[0])

    def go_on(self, one: Candidate, way: Way) -> None:
        """To the plan."""
        ask = partial(planned, self.backend, one, way, self.load)
        self.look(ask, lambda found: self.open(DrivePlanScreen(found, self.known)), "plan")


def planned(backend: Backend, one: Candidate, way: Way, load: Load) -> MediaPlan:
    """What is to be done, with whom the drive trusts then, and what speaks against its images; takes up to seconds."""
    return backend.vouched(plan(backend, one, way, load))


class AskWay(Dialogue[Way]):
    """A recovery drive is to be updated, or made anew? The focus is on what keeps its images."""

    ABOUT = N_("""
Update: the system on the drive is replaced by this one, and the images
that are on it stay. Make anew: everything on it is erased.

Esc closes this box and changes nothing.""")
    WIDTH = 66

    def __init__(self, one: Candidate) -> None:
        name = clean(one.disk.name)
        words = _(
            "{name} is {what}.\n\nUpdate it: its system is replaced, and its images stay.\n"
            "Make it anew: everything on it is erased."
        )
        super().__init__(words.format(name=name, what=candidate_words(one)))

    def answers(self) -> ComposeResult:
        """What keeps its images comes first."""
        yield Acts(Act(_("Update it"), id=Way.UPDATE), Act(_("Make it anew"), id=Way.ANEW), Act(_("Back"), id="back"))

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """A button."""
        self.dismiss(None if event.act.id == "back" else Way(event.act.id or ""))
