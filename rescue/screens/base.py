"""What all screens have in common: title, key line, help, the way back, and waiting for what is slow."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeVar, cast

from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.driver import Driver
from textual.geometry import Offset
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from imaging.errors import RescueError
from imaging.plan import Plan
from imaging.ssh import Password
from rescue.aside import aside
from rescue.backend import Backend, Job
from rescue.feed import States
from rescue.formats import clean, joined
from rescue.language import N_, _
from rescue.telling import told
from rescue.widgets.act import Act, Acts
from rescue.widgets.band import Band
from rescue.widgets.choices import Choices
from rescue.widgets.line import Line

T = TypeVar("T")

HELP_EVERYWHERE = N_("""
Everywhere:
  Up, Down      move the cursor         Enter   choose
  Tab           to the next field       Esc     one step back
  F1 or ?       this help (F1 while you type)
  PgUp, PgDn    scroll                  F2      a shell, and back here
  F9 or t       plain, or with colours and lines (F9 while you type)
  Ctrl+L        draw the screen anew, if something has spoilt it""")


def text(content: str, *, id: str = "", classes: str = "") -> Static:
    """Plain text: no markup, whatever a label may hold."""
    return Static(Content(content), id=id or None, classes=classes, markup=False)


class Host(App[int]):
    """What screens need of the application."""

    def __init__(self, backend: Backend, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class)
        self.backend = backend
        self.states = States()
        self.at_computer = False
        """Whether this is the computer's own screen and keyboard."""
        self.password: Password | None = None
        """For ssh, where it was made on this screen: no other shows it, and nothing keeps it."""

    @property
    def cursor_position(self) -> Offset:
        """Where the terminal's cursor stands: on what has the focus, for screen readers and braille displays."""
        focused = self.screen_stack[-1].focused if self.is_running and self.screen_stack else None
        match focused:
            case Choices() | Act():
                return focused.spot
            case Input():
                return focused.cursor_screen_offset
            case Widget():
                return focused.content_region.offset
            case None:
                return Offset(0, max(0, self.size.height - 1))

    @cursor_position.setter
    def cursor_position(self, place: Offset) -> None:
        """Textual's fields say so, too, but they alone; where the cursor stands is looked up when it is drawn."""

    def follow(self, job: Job) -> None:
        """Show a job over the main menu: its progress, or its result."""
        raise NotImplementedError

    def go_home(self) -> None:
        """Back to the main menu."""
        raise NotImplementedError

    def start(self, task: str) -> None:
        """Begin one of the main menu's tasks."""
        raise NotImplementedError

    def started(self, job: Job) -> None:
        """A job was started: show it, over the main menu."""
        raise NotImplementedError

    def redraw(self, over: "RescueScreen") -> None:
        """Begin anew in another language: the menu, with a screen over it."""
        raise NotImplementedError


class RescueScreen(Screen[None]):
    """A screen with a title, a body and a line of keys."""

    HEADING: ClassVar[str] = ""
    KEYS: ClassVar[str] = N_("Enter choose   Esc back   F1 or ? help")
    ABOUT: ClassVar[str] = ""
    """The help for this screen."""

    # Here and not in rescue.tcss, so that a screen's own style goes before it.
    DEFAULT_CSS = "RescueScreen #status { height: auto; margin: 0 0 1 0; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "back"),
        ("f1,question_mark", "help"),
        ("pageup", "page(-1)"),
        ("pagedown", "page(1)"),
    ]

    submitting = False
    closing = False
    """Whether it was to close while something stood over it."""

    @property
    def host(self) -> Host:
        """The application."""
        return cast(Host, self.app)

    @property
    def backend(self) -> Backend:
        """The machine."""
        return self.host.backend

    def compose(self) -> ComposeResult:
        """Title, body, keys."""
        yield Band(_(self.HEADING), id="heading")
        with Vertical(id="body"):
            yield from self.body()
        yield text(_(self.KEYS), id="keys")

    def body(self) -> ComposeResult:
        """What stands between title and keys."""
        raise NotImplementedError

    def say(self, id: str, content: str) -> None:
        """Put plain text into the Static of that id."""
        self.query_one(f"#{id}", Static).update(Content(content))

    def open(self, screen: Screen[T], then: Callable[[T | None], None] | None = None) -> None:
        """Show another screen over this one, once: a second Enter comes here when that one is there already."""
        if self.app.screen is self:
            self.app.push_screen(screen, then)

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close, once: Textual would close whatever stands over this screen, or below it where it is closed already."""
        if self.app.screen is self:
            return super().dismiss(result)
        self.closing = True
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        """What stood over it is gone."""
        if self.closing:
            self.dismiss()

    def on_screen_suspend(self) -> None:
        """Left, or covered. Its widgets go before it does: an answer that came in between would find some gone."""
        if self not in self.app.screen_stack:
            self.workers.cancel_node(self)

    def action_back(self) -> None:
        """Esc. A job that is being started cannot be called back: what follows shows it."""
        if not self.submitting:
            self.dismiss()

    def action_help(self) -> None:
        """F1 or ?."""
        self.open(Help(f"{_(self.HEADING)}\n\n{reflowed(_(self.ABOUT))}\n{_(HELP_EVERYWHERE)}"))

    def action_page(self, by: int) -> None:
        """PgUp and PgDn, while a field or a button has the focus: scroll what there is to read."""
        for words in self.query(VerticalScroll):
            words.scroll_relative(y=by * max(1, words.size.height - 1), animate=False)
            return

    def look(self, ask: Callable[[], T], then: Callable[[T], None], group: str = "look") -> None:
        """Ask something slow in a thread, then go on with the answer; a newer question replaces an older one."""

        async def wait() -> None:
            with self.telling():
                try:
                    answer = await aside(ask)
                except RescueError as error:
                    self.unanswered(error)
                    raise
                then(answer)

        # Not what it returns: of a question that is replaced before it began, nobody would ever await that.
        begin: Callable[[], object] = wait
        self.run_worker(begin, group=group, exclusive=True)

    def unanswered(self, error: RescueError) -> None:
        """A question failed, which a dialogue tells: nobody waits for its answer any more."""

    def submit(self, plan: Plan) -> None:
        """Start a job and show it; what was pressed twice starts one."""
        if self.submitting:
            return
        self.submitting = True
        self.say("keys", f"{_('Starting')} ..")

        async def wait() -> None:
            try:
                with self.telling():
                    self.host.started(await asyncio.to_thread(self.backend.submit, plan))
            finally:
                self.submitting = False
                if self.is_attached:
                    self.say("keys", _(self.KEYS))

        self.run_worker(wait(), group="submit")

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What is refused or fails in here is told in a dialogue."""
        try:
            yield
        except RescueError as error:
            self.app.push_screen(Notice(problem(error)))


def reflowed(words: str) -> str:
    """Help as it is written in the code, its paragraphs made one line each; indented lines stay."""
    paragraphs = words.strip("\n").split("\n\n")
    return "\n\n".join(text if text.startswith(" ") else text.replace("\n", " ") for text in paragraphs)


def problem(error: RescueError) -> str:
    """An error's message and hint."""
    hint = _("What to do: {hint}").format(hint=clean(told(error.hint))) if error.hint else ""
    return joined(clean(told(error.message)), hint, by="\n\n")


WIDEST = 72
"""Columns of a box at most."""
FRAME = 6
"""Columns of a box beside what stands in it."""
BUTTON = 6
"""Columns of a button beside its label: brackets, blanks, and the gap to the next."""


class Dialogue(ModalScreen[T]):
    """A box over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [("f2", "app.shell"), ("escape", "refuse"), ("f1,question_mark", "help")]
    ABOUT: ClassVar[str] = N_("Esc closes this box and changes nothing.")
    WIDTH: ClassVar[int] = 0
    """Columns of the box; 0 where its words tell."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def compose(self) -> ComposeResult:
        """The message, then whatever answers it."""
        with Vertical(classes="box") as box:
            box.styles.width = self.WIDTH or self.fitting()
            with VerticalScroll(classes="words", can_focus=False):
                yield text(self.message, id="message")
            yield from self.answers()

    def fitting(self) -> int:
        """Columns that the box needs: on a slow line a wide one costs."""
        return min(WIDEST, max(map(cell_len, self.message.splitlines()), default=0) + FRAME)

    def answers(self) -> ComposeResult:
        """The buttons."""
        raise NotImplementedError

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Close and answer, once: a second Enter would close what is below, and answer again."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def action_refuse(self) -> None:
        """Esc."""
        self.dismiss(None)

    def action_help(self) -> None:
        """F1 or ?."""
        if self.app.screen is self:
            self.app.push_screen(Help(f"{_(self.ABOUT)}\n{_(HELP_EVERYWHERE)}"))


class Notice(Dialogue[None]):
    """Something to be read."""

    def answers(self) -> ComposeResult:
        """One button."""
        yield Acts(Act(_("Close"), id="close"))

    def on_act_pressed(self) -> None:
        """Enter."""
        self.dismiss(None)


class Help(ModalScreen[None]):
    """The explanation of a screen; any of its own keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [("f2", "app.shell"), ("escape,f1,question_mark,enter,q", "close")]

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def compose(self) -> ComposeResult:
        """A page that scrolls."""
        with Vertical(classes="box"):
            with VerticalScroll(classes="words", id="help"):
                yield text(self.message)
            yield text(_("Esc closes this help"), classes="foot")

    def action_close(self) -> None:
        """Back to where it was opened."""
        if self.app.screen is self:
            self.dismiss(None)


class Question(Dialogue[bool]):
    """Yes or no; the focus is on No."""

    BINDINGS: ClassVar[list[BindingType]] = [("n", "refuse"), ("y", "agree")]

    def __init__(self, message: str, *, yes: str, no: str) -> None:
        super().__init__(message)
        self.yes = yes
        self.no = no

    @property
    def labels(self) -> tuple[str, str]:
        """What the two buttons say."""
        return _("No, {what}").format(what=self.no), _("Yes, {what}").format(what=self.yes)

    def fitting(self) -> int:
        """The two buttons stand side by side."""
        return min(WIDEST, max(super().fitting(), sum(map(cell_len, self.labels)) + 2 * BUTTON + FRAME))

    def answers(self) -> ComposeResult:
        """No comes first."""
        no, yes = self.labels
        yield Acts(Act(no, id="no"), Act(yes, id="yes"))

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Enter."""
        self.dismiss(event.act.id == "yes")

    def action_refuse(self) -> None:
        """n or Esc."""
        self.dismiss(False)

    def action_agree(self) -> None:
        """y."""
        self.dismiss(True)


class AskText(Dialogue[str]):
    """Asks for a line of text, such as a folder's path; None where it was left."""

    WIDTH = WIDEST

    def answers(self) -> ComposeResult:
        """A field and the way back."""
        yield Line(id="answer")
        yield Acts(Act(_("Use it"), id="use"), Act(_("Back"), id="back"))

    def on_input_submitted(self) -> None:
        """Enter in the field."""
        self.use()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """A button."""
        if event.act.id == "use":
            self.use()
        else:
            self.dismiss(None)

    def use(self) -> None:
        """Hand the text over, if there is any."""
        answer = self.query_one("#answer", Input).value.strip()
        if answer:
            self.dismiss(answer)
