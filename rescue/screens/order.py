"""Unattended work on all consoles: what an order will do, counted down; any console stops it for all."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from imaging.orderboard import LIVE, Phase, State
from imaging.orders import After
from rescue.formats import clean
from rescue.language import N_, _, ngettext
from rescue.report import plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.screens.erasing import emphasised
from rescue.telling import told
from rescue.widgets.act import Act, Acts

VERDICTS = {
    Phase.LOOKING: N_("WAIT - an order is looked for"),
    Phase.RUNNING: N_("IT BEGINS NOW"),
    Phase.REFUSED: N_("REFUSED - nothing was written"),
    Phase.STOPPED: N_("STOPPED - nothing was written"),
    Phase.SKIPPED: N_("NOTHING TO DO"),
}
"""What stands out, by the phase; a countdown and an end have words of their own."""
ACTS = {
    After.REBOOT: N_("restart"),
    After.POWER_OFF: N_("power off"),
}


class OrderScreen(RescueScreen):
    """Stands over whatever is shown. Each of its keys does what is harmless: it stops, or closes."""

    HEADING = N_("Unattended work")
    KEYS = N_("Esc or Enter: the button   PgUp/PgDn scroll   F1 or ? help")
    ABOUT = N_("""
This computer was started with an order: a file that says what is to be
done without anybody pressing a key. It lies in the folder jobs of the
recovery stick, or the kernel command line names it (rescue.job=).

While it counts down, Esc, Enter, s, q or c stops it, here and on all
other consoles. Nothing is written then. Without a key it begins when the
countdown ends, and is shown as any other job, which can be cancelled.

After the end the computer is restarted or switched off where the order
says so; the same keys keep it on.""")
    BINDINGS: ClassVar[list[BindingType]] = [("s,q,c,ctrl+c", "back")]
    DEFAULT_CSS = """
    OrderScreen {
        #order { height: auto; margin: 1 1 0 1; text-style: bold; }
        #count { height: 1; width: auto; margin: 1 1 0 1; text-style: bold reverse; }
        #advice { height: auto; margin: 0 1; }
    }
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.shown: tuple[str | None, ...] = (None,) * 5

    def body(self) -> ComposeResult:
        """Which order, the countdown, what it does, the button."""
        yield text("", id="order")
        yield text("", id="count")
        yield text("", id="advice")
        with VerticalScroll(id="plan", can_focus=False):
            yield Static("", id="lines", markup=False)
        yield Acts(Act("", id="stop"))

    def on_mount(self) -> None:
        """The button has the focus: it changes nothing."""
        self.query_one("#stop").focus()
        self.draw()
        # The countdown begins once somebody could read what it is about.
        self.call_after_refresh(self.say_it_is_shown)

    def say_it_is_shown(self) -> None:
        """Say that the order is shown here."""
        with self.telling():
            self.backend.watch_order()

    def show(self, state: State) -> None:
        """The state as it is now."""
        self.state = state
        # Whoever looks does so by the clock, perhaps before a slow machine has made the screen.
        if self.is_mounted:
            self.draw()

    def draw(self) -> None:
        """Only what has changed."""
        state = self.state
        words = (self.title_words(), count_words(state), self.advice(), button(state), "\n".join(self.lines()))
        if words == self.shown:
            return
        before, self.shown = self.shown, words
        for id, old, new in zip(("order", "count", "advice"), before, words, strict=False):
            if new != old:
                self.say(id, new)
                self.query_one(f"#{id}").display = bool(new)
        if words[3:] != before[3:]:
            act = self.query_one("#stop", Act)
            act.label = words[3]
            act.refresh(layout=True)
            lines = Content("\n").join(emphasised(line) for line in words[4].splitlines())
            self.query_one("#lines", Static).update(lines)

    def title_words(self) -> str:
        """Which order."""
        return _("Order: {name}").format(name=clean(self.state.name))

    def advice(self) -> str:
        """What a person can do now."""
        if self.state.phase is Phase.COUNTING:
            return _("Press Esc or Enter to stop it. Without a key it begins by itself.")
        if self.state.ends_at:
            return _("Press Esc or Enter to keep the computer on.")
        return ""

    def lines(self) -> list[str]:
        """What will be done, or what happened, the state of things and what to do."""
        state = self.state
        if state.phase is Phase.COUNTING and state.plan is not None:
            return [*plan_lines(state.plan, self.backend.seconds_expected(state.plan)), *after_lines(state)]
        hint = _("What to do: {hint}").format(hint=clean(told(state.hint))) if state.hint else ""
        problems = [_("WARNING: {problem}").format(problem=clean(told(words))) for words in state.problems]
        return [line for line in (clean(told(state.message)), hint, *problems) if line]

    def on_act_pressed(self) -> None:
        """Enter."""
        self.action_back()

    def action_back(self) -> None:
        """Stop what is counted down, and show that; or close."""
        with self.telling():
            stopped = self.backend.stop_order()
            state = self.backend.order()
            if state is not None and (stopped or state.phase in LIVE):
                self.show(state)
            else:
                self.dismiss()


def count_words(state: State) -> str:
    """What stands out: the countdown, or how it ended. Figures keep their places, so that a slow line carries few."""
    left = state.left
    match state.phase:
        case Phase.COUNTING if left is None:
            return f" {_('BEGINS IN A MOMENT')} "
        case Phase.COUNTING:
            words = ngettext("BEGINS IN {count} SECOND ", "BEGINS IN {count} SECONDS", left or 0)
            return f" {words.format(count=f'{left:>4}')} "
        case Phase.ENDED | Phase.REFUSED if left is not None:
            ended = _("DONE") if state.result == "done" else _("NOT DONE")
            words = ngettext("{act} in {count} second ", "{act} in {count} seconds", left)
            return f" {ended}: {words.format(act=_(ACTS[state.then]), count=f'{left:>2}')} "
        case Phase.ENDED:
            return f" {_('DONE') if state.result == 'done' else _('NOT DONE')} "
        case _:
            return f" {_(VERDICTS[state.phase])} "


def after_lines(state: State) -> list[str]:
    """What comes when the work has ended well."""
    match state.then:
        case After.REBOOT:
            return [_("Then the computer is restarted.")]
        case After.POWER_OFF:
            return [_("Then the computer is switched off.")]
        case After.MENU:
            return []


def button(state: State) -> str:
    """What the button does."""
    if state.phase in (Phase.LOOKING, Phase.COUNTING):
        return _("Stop it")
    return _("Keep the computer on") if state.ends_at else _("Close")


def worth_showing(state: State) -> bool:
    """Whether a person has to see it: not what leaves nothing to say, nor an end that the job's result tells."""
    match state.phase:
        case Phase.SKIPPED:
            return bool(state.message)
        case Phase.ENDED:
            return bool(state.ends_at or state.problems or not state.job or state.result == "died")
        case Phase.RUNNING:
            return False
        case _:
            return True
