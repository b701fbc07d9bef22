"""Restore, last step: what will be erased and written, drawn and in words, and the disk's name typed to confirm it."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.bootcheck import State
from imaging.changes import Growth, Shrinkage
from imaging.disk import Disk
from imaging.errors import RefusedError, RescueError, UsageError
from imaging.forecast import Forecast
from imaging.identities import HOST_NAME, NewIdentity
from imaging.imageplans import CapturePlan
from imaging.keptfiles import KeepRule
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.resuming import rules_of
from rescue.chosen import Doomed, doomed
from rescue.contents import content_words
from rescue.drives import boot_lines, why_not_yet
from rescue.formats import clean, format_size, joined
from rescue.growing import resized_disk
from rescue.keeping_words import EXTRA
from rescue.language import N_, _
from rescue.outlook import fits, most_expected
from rescue.parts import erased_partitions
from rescue.report import plan_lines
from rescue.screens.disklist import NOTHING, Known
from rescue.screens.erasing import ErasingScreen, captioned, is_loud, room_for_bar
from rescue.screens.sizes import SizesScreen
from rescue.widgets.act import Act
from rescue.widgets.diskbar import bar
from rescue.widgets.line import Line
from rescue.widgets.toggle import Toggle

KEEP = N_("Keep the home folders of the system that is there")
LONGEST_NAME = 64
"""Characters of a computer's name. Source: Linux's HOST_NAME_MAX."""
WATCH = 1.0
"""Seconds between two looks at how far the check of the running medium is."""


def drawing(pair: RestoreTarget, systems: Mapping[int, str], width: int) -> list[str]:
    """The target before and after, each as a bar behind its caption."""
    room = room_for_bar(width)
    now = [] if pair.create else bar(pair.target, room, names=systems, marked=_chosen(pair))
    if pair.partitions:
        after = bar(pair.target, room, names={**systems, **_coming(pair)}, marked=_chosen(pair))
    else:
        names = {volume.number: volume.system for volume in pair.source.volumes if volume.system}
        after = bar(resized_disk(pair), room, size=pair.target.size, names=names)
    return captioned(now, after)


def _chosen(pair: RestoreTarget) -> list[int]:
    return [spot.partition for spot in pair.partitions]


def _coming(pair: RestoreTarget) -> dict[int, str]:
    """What will stand in the partitions that are written to."""
    volumes = {volume.number: volume for volume in pair.source.volumes}
    coming = {spot.partition: volumes[spot.volume] for spot in pair.partitions}
    return {number: volume.system or content_words(volume.content) for number, volume in coming.items()}


def lost_line(pair: RestoreTarget, systems: Mapping[int, str]) -> list[str]:
    """Which operating systems are lost; nothing where none is known."""
    if pair.create:
        return []
    numbers = _chosen(pair) or [0, *(part.number for part in erased_partitions(pair))]
    lost = dict.fromkeys(clean(systems[number]) for number in numbers if systems.get(number))
    return ["    " + _("LOST with all that is on it: {systems}").format(systems=joined(*lost, by=", "))] if lost else []


def resized(plan: RestorePlan, growth: Growth | None, shrinkage: Shrinkage | None = None) -> RestorePlan:
    """The plan of one disk, with a partition that grows or becomes smaller, or with none."""
    (pair,) = plan.targets
    return replace(plan, targets=(replace(pair, growth=growth, shrinkage=shrinkage),))


def drawn_lines(plan: RestorePlan, seconds: float, known: Known, width: int) -> list[str]:
    """A restore in words, as the command line has it, with each target drawn below its first line."""
    lines = plan_lines(plan, seconds)
    places = [place for place, line in enumerate(lines) if is_loud(line)]
    firsts = []
    for pair in plan.targets:
        firsts.append(places[0])
        places = places[max(1, len(pair.partitions)) :]
    for pair, place in reversed(list(zip(plan.targets, firsts, strict=True))):
        systems = known.of(pair.target)
        lines[place + 1 : place + 1] = [*drawing(pair, systems, width), *lost_line(pair, systems)]
    return lines


class RestorePlanScreen(ErasingScreen):
    """What is lost and what comes."""

    HEADING = N_("Restore - read this before you go on")
    GO = "restore"
    ABOUT = N_("""
This is what will be done. Everything under ERASED is lost. The bars show
the disk as it is now and as it will be.

Compare the model, the serial number and the size with the disk that you
mean. To go on, type the disk's name or its serial number and press Enter
(for one partition its own name, such as sda2, or the serial number and :2);
then the button can be pressed with Enter once more.

Where the original is attached, too, or was another computer's, this disk
can get an identity of its own: new ids, machine id and ssh keys; and a
name, for two of the same name disturb each other in a network.

On a larger disk the last partition can take the room that is left, with its
file system: Tab to that line, and Space ticks it. F4 shows the sizes of all
partitions, where another one can be chosen.

Where a library has room for it, what is on the disk now can be saved first,
as an image: Tab to that line, Space ticks it, and the line says how much
room it takes. Restoring that image undoes this restore.

Of a Linux system the home folders can be kept, of Windows those in
C:\\Users: what is there is saved first, too, and they are brought from
there into the restored system.

Below, all of the disk can be wiped before, for it to be given away.

While the recovery drive itself is being checked the button cannot be
pressed yet: how far that is stands above it.

Where keys are trusted here, an image that none of them has signed is named
in red, and a second word has to be typed to use it all the same.

Nothing is written until then. Esc goes back.""")

    BINDINGS: ClassVar[list[BindingType]] = [("f4", "sizes")]

    plan: RestorePlan

    def __init__(self, plan: RestorePlan, known: Known = NOTHING) -> None:
        super().__init__(plan, known)
        self.places: Sequence[CapturePlan] = ()
        """Where what is there can be saved first."""
        self.leaving = threading.Event()
        self.seeking = False
        """Whether files that are to be kept are being looked for."""
        self.asking = False
        """Whether the drive is asked how it erases itself: what is confirmed must not change the moment it is."""
        self.failed = False
        """Whether they could not be found when it was looked last."""
        self.unfound = False
        """Whether those that wait cannot be brought back, and nobody has said yet that it is to be done without."""
        self.growth: Growth | None = None
        """How the last partition can grow."""
        self.begun = plan.targets[0].growth
        """How one grows by a restore that was cut off."""
        self.identity: NewIdentity | None = None
        """The new ids that are offered."""

    def choices(self) -> ComposeResult:
        """A safety image, a partition that grows, and a disk that is wiped."""
        yield Toggle(_("Save what is there first"), id="safety")
        yield Toggle(_(KEEP), id="keep")
        yield Toggle(_("and accounts, networks, this computer's name and its ssh keys"), id="settings")
        yield Toggle("", id="growth")
        yield Toggle(_("An identity of its own, to stand beside the original: new ids, ssh keys"), id="identity")
        with Horizontal(classes="confirm", id="called"):
            yield Static(Content(_("The computer's name (empty: as in the image): [")), classes="ask", markup=False)
            yield Line(compact=True, id="name", max_length=LONGEST_NAME)
            yield Static(Content("]"), classes="end", markup=False)
        if not any(pair.partitions or pair.create or pair.may_stay for pair in self.plan.targets):
            yield Toggle(_("Wipe the disk first: nothing old can be found on it then"), id="wipe")

    def on_mount(self) -> None:
        """Watch how far the check of the running medium is; a safety image is offered where there can be one."""
        self.safety.display = self.keep.display = self.settings.display = self.clone.display = False
        self.query_one("#called").display = False
        self.seeking = self.to_keep
        self.show_button()
        self.offer_growth()
        for box in self.query("#wipe").results(Toggle):
            box.ticked = self.plan.wipe is not Wipe.NONE
        if self.hindrance():
            self.set_interval(WATCH, self.show_medium)
        self.look(partial(self.backend.plan_safety, self.plan), self.offer, "safety")
        self.look(partial(self.found_identity, self.plan), self.offer_identity, "identity")
        self.begin()

    def begin(self) -> None:
        """What is done without a person's tick, once all stands there."""

    def on_unmount(self) -> None:
        """Nobody waits for the forecast any more."""
        self.leaving.set()

    def offer(self, places: Sequence[CapturePlan]) -> None:
        """A library can take a safety image, out of which files can be kept, too."""
        self.places = places
        self.safety.display = bool(places)
        self.seeking = False
        there = self.plan.targets[0].target
        known = bool(there.table.partitions or there.content.kind)
        self.keep.display = self.may_keep and (self.waiting or (bool(places) and known))
        if self.keep.display and self.waiting:
            # What a restore that was cut off was to keep is kept, unless a person does not want that.
            self.keep.ticked = True
            self.settings.ticked = any(rule in EXTRA for rule in self.plan.targets[0].target.keeps)
            self.look_for_files()
        self.show_button()

    @property
    def may_keep(self) -> bool:
        """Whether one whole disk is restored from a library, and not to what it held before."""
        pair, *others = self.plan.targets
        plain = not (others or pair.partitions or pair.create) and self.plan.foreign is None
        return plain and self.plan.image != pair.target.saved

    @property
    def waiting(self) -> bool:
        """Whether files wait that a restore which was cut off was to keep."""
        return any(pair.target.keeps for pair in self.plan.targets)

    @property
    def to_keep(self) -> bool:
        """Whether files are to be kept though nobody has ticked that here."""
        return self.waiting and self.may_keep

    @property
    def may_do_without(self) -> bool:
        """Whether it can be done here without files that cannot be kept."""
        return True

    @property
    def keep(self) -> Toggle:
        """The box for home folders."""
        return self.query_one("#keep", Toggle)

    @property
    def settings(self) -> Toggle:
        """The box for what else can be kept."""
        return self.query_one("#settings", Toggle)

    def look_for_files(self) -> None:
        """Find out what is kept, and where it can wait; until then nothing can be confirmed."""
        wanted = self.keep.ticked
        wipe = Wipe.DISCARD if wanted and self.plan.wipe is Wipe.SANITIZE else self.plan.wipe
        self.plan = replace(self.plan, keep=None, safety="", wipe=wipe)
        self.unfound = self.failed and not wanted and not self.may_do_without
        self.safety.ticked = False
        self.seeking = wanted
        self.say_keep(_("Keep the home folders. Looking at what is there ..") if wanted else _(KEEP))
        if wanted:
            extra = self.settings.ticked
            self.look(partial(self.found_files, self.plan, extra=extra), self.use_files, "forecast")

    def say_keep(self, words: str) -> None:
        """What stands behind the box; the others, the plan and the button as they are now."""
        # Windows' accounts and networks are in its registry, which is that of the image.
        windows = self.plan.keep is not None and self.plan.keep.windows
        self.settings.display = self.keep.ticked and not windows
        self.safety.display = bool(self.places) and not self.keep.ticked
        self.keep.words = words
        self.keep.refresh(layout=True)
        self.show_plan()
        self.show_button()

    def found_files(self, plan: RestorePlan, *, extra: bool) -> RestorePlan:
        """The plan with what is kept, which waits in the first library with room; raises RefusedError, IoError.

        With `extra` all that can be; of what was cut off, all that it was to keep.
        """
        rules: Sequence[KeepRule] = tuple(KeepRule) if extra else (KeepRule.HOMES,)
        if extra and self.waiting:
            rules = rules_of(plan.targets[0].target)
        fitting = self.fitting() if self.places else None
        if self.places and fitting is None:
            raise RefusedError(
                "no library here has room for what is there, out of which the files would be kept",
                code="no-space",
                hint="attach a disk with an image library that has room",
            )
        return self.backend.keep_files(plan, rules, Path(fitting[0].library if fitting else plan.library))

    def use_files(self, found: RestorePlan) -> None:
        """They are kept, unless the box was unticked meanwhile."""
        self.seeking = False
        if self.keep.ticked:
            self.plan, self.failed = replace(self.plan, keep=found.keep, safety=found.safety), False
            self.say_keep(_(KEEP))

    def unanswered(self, error: RescueError) -> None:
        """Where files that are to be kept were looked for they are not; why is told."""
        super().unanswered(error)
        self.asking = False
        self.show_button()
        if self.seeking:
            self.seeking = self.keep.ticked = False
            self.unfound = self.failed = self.to_keep
            self.say_keep(_("Keep the home folders: that cannot be"))

    @property
    def safety(self) -> Toggle:
        """The box for a safety image."""
        return self.query_one("#safety", Toggle)

    @property
    def clone(self) -> Toggle:
        """The box for new ids."""
        return self.query_one("#identity", Toggle)

    def found_identity(self, plan: RestorePlan) -> RestorePlan | None:
        """The plan with new ids; None where they are not offered, or cannot be: that hinders nothing else."""
        with suppress(RescueError):
            return self.backend.with_new_identity(plan)
        return None

    def offer_identity(self, found: RestorePlan | None) -> None:
        """The original is attached, or belongs to another computer: this may be meant to be a disk of its own."""
        self.identity = found.identity if found is not None else None
        self.clone.display = self.identity is not None

    @property
    def called(self) -> str:
        """What the computer is to be called; empty where that is as in the image."""
        return self.query_one("#name", Input).value.strip()

    def on_input_changed(self) -> None:
        """The plan follows the computer's name. Textual calls that of the class above as well: so does the button."""
        if self.plan.identity is not None:
            self.use_identity(self.identity)

    def use_identity(self, identity: NewIdentity | None) -> None:
        """With these new ids, or with those of the image; files of this computer are kept without."""
        self.query_one("#called").display = identity is not None
        if identity is not None and HOST_NAME.fullmatch(self.called):
            identity = replace(identity, host_name=self.called)
        self.plan = replace(self.plan, identity=identity)
        if identity is not None and self.keep.ticked:
            self.keep.ticked = False
            self.look_for_files()
        self.show_plan()

    def offer_growth(self) -> None:
        """Where the last partition can take what would be drawn as free."""
        box = self.query_one("#growth", Toggle)
        box.display = False
        try:
            # One that was planned already, for it was cut off, need not be the last partition's.
            own = self.begun is not None and self.plan.targets[0].growth == self.begun
            plan = self.plan if own else self.backend.grown(self.plan)
            (pair,) = plan.targets
        except (RefusedError, UsageError):
            return
        growth = pair.growth
        if growth is None or (growth.size - growth.old_size) * 100 < pair.target.size:
            return
        if self.plan.targets[0].growth not in (None, growth):
            return  # a person has chosen another size
        self.growth = growth
        box.words = _("Enlarge partition {number} from {before} to {after}").format(
            number=growth.partition, before=format_size(growth.old_size), after=format_size(growth.size)
        )
        box.ticked = self.plan.targets[0].growth is not None
        box.display = True

    def more_acts(self) -> Iterable[Act]:
        """To do without files that cannot be kept; the sizes of the partitions, where any can have another."""
        yield Act(_("Without it"), id="without")
        if any(not one.fixed for one in self.backend.sizes(self.plan)):
            yield Act(_("Sizes (F4)"), id="sizes")

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """The sizes; or files that cannot be kept are not. Textual calls that of the class above as well."""
        if event.act.id == "sizes":
            self.action_sizes()
        elif event.act.id == "without" and self.unfound and self.may_do_without:
            self.keep.ticked = False
            self.look_for_files()

    def action_sizes(self) -> None:
        """F4."""
        if self.query("#sizes"):
            self.open(SizesScreen(self.plan, self.use_sizes))

    def use_sizes(self, plan: RestorePlan) -> None:
        """Have the partitions the sizes of that plan; there may be another amount of room for what is kept."""
        (pair,) = plan.targets
        self.plan = resized(self.plan, pair.growth, pair.shrinkage)
        self.offer_growth()
        self.show_plan()
        if self.keep.ticked:
            self.look_for_files()

    def on_toggle_changed(self, event: Toggle.Changed) -> None:
        """The growth, the wiping; or where a safety image was ticked: what it takes, and in which library it fits."""
        if event.toggle.id == "growth":
            self.plan = resized(self.plan, self.growth if event.toggle.ticked else None)
            self.show_plan()
            if self.keep.ticked:
                self.look_for_files()  # there is another amount of room for them now
        elif event.toggle.id == "wipe":
            self.use_wipe(Wipe.DISCARD if event.toggle.ticked else Wipe.NONE)
        elif event.toggle.id == "identity":
            self.use_identity(self.identity if event.toggle.ticked else None)
        elif event.toggle.id in ("keep", "settings"):
            if self.keep.ticked:
                self.clone.ticked = False
                self.use_identity(None)
            self.look_for_files()
        elif self.safety.ticked:
            self.use_place(self.places[0], _("Save what is there first. Looking at what is used .."))
            self.look(self.fitting, self.use_fitting, "forecast")
        else:
            self.use_place(None, _("Save what is there first"))

    def use_wipe(self, way: Wipe) -> None:
        """The disk is wiped so; a drive that can is found out meanwhile, and erases itself."""
        self.plan = replace(self.plan, wipe=way)
        self.asking = way is Wipe.DISCARD and not self.keep.ticked
        self.show_plan()
        self.show_button()
        if self.asking:
            self.look(
                partial(self.backend.with_sanitizers, replace(self.plan, wipe=Wipe.SANITIZE)), self.sanitize, "wipe"
            )

    def sanitize(self, found: RestorePlan) -> None:
        """Its drives erase themselves: where all can without a password, and nobody has thought otherwise."""
        self.asking = False
        self.show_button()
        how = [pair.sanitizer for pair in found.targets]
        if self.plan.wipe is not Wipe.DISCARD or self.keep.ticked or len(how) != len(self.plan.targets):
            return
        if all(one is not None and one.method is not None and not one.method.sets_password for one in how):
            targets = tuple(replace(pair, sanitizer=one) for pair, one in zip(self.plan.targets, how, strict=True))
            self.plan = replace(self.plan, wipe=Wipe.SANITIZE, targets=targets, saved_in=found.saved_in)
            self.show_plan()

    def use_place(self, place: CapturePlan | None, words: str) -> None:
        """It is saved there, or nowhere."""
        self.plan = replace(self.plan, safety=place.library if place else "")
        box = self.safety
        box.words = words
        box.refresh(layout=True)
        self.show_plan()

    def fitting(self) -> tuple[CapturePlan, Forecast] | None:
        """The first place with room for it, and what it takes; None where none has."""
        for place in self.places:
            found = self.backend.forecast(place, self.leaving)
            if fits(found, place.level):
                return place, found
        return None

    def use_fitting(self, found: tuple[CapturePlan, Forecast] | None) -> None:
        """It is saved there; unticked where no library has the room, or where that was done meanwhile."""
        box = self.safety
        if found is None:
            box.ticked = False
            self.use_place(None, _("Save what is there first: no library here has room for it"))
        elif box.ticked:
            place, forecast = found
            words = _("Save what is there first: {size} at most").format(size=most_expected(forecast, place.level))
            self.use_place(place, words)

    def show_button(self) -> None:
        """As always; and the one for doing without what cannot be kept, while that is so."""
        super().show_button()
        self.query_one("#without", Act).display = self.unfound and self.may_do_without

    def show_medium(self) -> None:
        """What is said of the medium; the button can be reached as soon as it is known to be whole."""
        if self.app.screen is self:
            self.show_plan()
            self.show_button()

    def hindrance(self) -> str:
        """The running medium has to be whole: what is damaged writes to no disk."""
        waits = _("The drive is being asked how it erases itself.") if self.asking else ""
        if self.seeking:
            waits = _("What is to be kept is being looked for.")
        if self.plan.identity is not None and self.called and not HOST_NAME.fullmatch(self.called):
            waits = _("{name} cannot be a computer's name: letters, digits and hyphens can.").format(name=self.called)
        if self.unfound:
            waits = self.hopeless()
        return waits or why_not_yet(self.backend.boot_state())

    def hopeless(self) -> str:
        """What is said where what was to be kept cannot be."""
        return _("What was to be kept cannot be. Tick its box to try again, or go on without it.")

    def warnings(self) -> Sequence[str]:
        """What is damaged of the running medium, and which target is failing."""
        state = self.backend.boot_state()
        damage = [*boot_lines(state), ""] if state.state is State.DAMAGED else []
        return [*damage, *super().warnings()]

    @property
    def doubt(self) -> str:
        """Why the image is not to be used."""
        return self.plan.doubt

    def accepted(self) -> RestorePlan:
        """The plan; where there was a doubt, a person has typed that it is accepted."""
        return replace(self.plan, accept_unsigned=True) if self.doubt else self.plan

    def verb(self) -> str:
        """What stands on the button."""
        return _("Restore")

    def doomed(self) -> Sequence[Doomed]:
        """Disks, or partitions of them."""
        return doomed(self.plan, new_ones=True)

    @property
    def disks(self) -> Sequence[Disk]:
        """Those that are written to, each once."""
        return list({pair.target.path: pair.target for pair in self.plan.targets if not pair.create}.values())

    def drawn(self) -> Sequence[str]:
        """The plan in words, each target drawn."""
        return drawn_lines(self.plan, self.backend.seconds_expected(self.plan), self.known, self.app.size.width)
