"""What all screens have in common: title, key line, help, the way back, and waiting for what is slow."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeVar, cast

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from imaging.errors import RescueError
from imaging.plan import Plan
from rescue.backend import Backend, Job
from rescue.feed import States
from rescue.formats import clean
from rescue.widgets.act import Act, Acts
from rescue.widgets.band import Band

T = TypeVar("T")

HELP_EVERYWHERE = """
Everywhere:
  Up, Down      move the cursor         Enter   choose
  Tab           to the next field       Esc     one step back
  F1 or ?       this help (F1 while you type)
  PgUp, PgDn    scroll"""


def text(content: str, *, id: str = "", classes: str = "") -> Static:
    """Plain text: no markup, whatever a label may hold."""
    return Static(Content(content), id=id or None, classes=classes, markup=False)


class Host(App[int]):
    """What screens need of the application."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.states = States()

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


class RescueScreen(Screen[None]):
    """A screen with a title, a body and a line of keys."""

    HEADING: ClassVar[str] = ""
    KEYS: ClassVar[str] = "Enter choose   Esc back   F1 or ? help"
    ABOUT: ClassVar[str] = ""
    """The help for this screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "back"),
        ("f1,question_mark", "help"),
        ("pageup", "page(-1)"),
        ("pagedown", "page(1)"),
    ]

    submitting = False

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
        yield Band(f" {self.HEADING}", id="heading")
        with Vertical(id="body"):
            yield from self.body()
        yield Band(f" {self.KEYS}", id="keys")

    def body(self) -> ComposeResult:
        """What stands between title and keys."""
        raise NotImplementedError

    def say(self, id: str, content: str) -> None:
        """Put plain text into the Static of that id."""
        self.query_one(f"#{id}", Static).update(Content(content))

    def action_back(self) -> None:
        """Esc."""
        self.dismiss()

    def action_help(self) -> None:
        """F1 or ?."""
        self.app.push_screen(Help(f"{self.HEADING}\n\n{reflowed(self.ABOUT)}\n{HELP_EVERYWHERE}"))

    def action_page(self, by: int) -> None:
        """PgUp and PgDn, while a field or a button has the focus: scroll what there is to read."""
        for words in self.query(VerticalScroll):
            words.scroll_relative(y=by * max(1, words.size.height - 1), animate=False)
            return

    def look(self, ask: Callable[[], T], then: Callable[[T], None]) -> None:
        """Ask something slow in a thread, then go on with the answer; a newer question replaces an older one."""

        async def wait() -> None:
            with self.telling():
                answer = await asyncio.to_thread(ask)
                then(answer)

        self.run_worker(wait(), group="look", exclusive=True)

    def submit(self, plan: Plan) -> None:
        """Start a job and show it; what was pressed twice starts one."""
        if self.submitting:
            return
        self.submitting = True

        async def wait() -> None:
            try:
                with self.telling():
                    self.host.started(await asyncio.to_thread(self.backend.submit, plan))
            finally:
                self.submitting = False

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
    paragraphs = words.strip().split("\n\n")
    return "\n\n".join(text if text.startswith(" ") else text.replace("\n", " ") for text in paragraphs)


def problem(error: RescueError) -> str:
    """An error's message and hint."""
    hint = f"\n\nWhat to do: {clean(error.hint)}" if error.hint else ""
    return clean(error.message) + hint


class Dialogue(ModalScreen[T]):
    """A box over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "refuse"), ("f1,question_mark", "help")]
    ABOUT: ClassVar[str] = "Esc closes this box and changes nothing."

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def compose(self) -> ComposeResult:
        """The message, then whatever answers it."""
        with Vertical(classes="box"):
            with VerticalScroll(classes="words", can_focus=False):
                yield text(self.message, id="message")
            yield from self.answers()

    def answers(self) -> ComposeResult:
        """The buttons."""
        raise NotImplementedError

    def action_refuse(self) -> None:
        """Esc."""
        self.dismiss(None)

    def action_help(self) -> None:
        """F1 or ?."""
        self.app.push_screen(Help(f"{self.ABOUT}\n{HELP_EVERYWHERE}"))


class Notice(Dialogue[None]):
    """Something to be read."""

    def answers(self) -> ComposeResult:
        """One button."""
        yield Acts(Act("Close", id="close"))

    def on_act_pressed(self) -> None:
        """Enter."""
        self.dismiss(None)


class Help(ModalScreen[None]):
    """The explanation of a screen; any of its own keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,f1,question_mark,enter,q", "close")]

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def compose(self) -> ComposeResult:
        """A page that scrolls."""
        with Vertical(classes="box"):
            with VerticalScroll(classes="words", id="help"):
                yield text(self.message)
            yield text("Esc closes this help", classes="foot")

    def action_close(self) -> None:
        """Back to where it was opened."""
        self.dismiss(None)


class Question(Dialogue[bool]):
    """Yes or no; the focus is on No."""

    BINDINGS: ClassVar[list[BindingType]] = [("n", "refuse"), ("y", "agree")]

    def __init__(self, message: str, *, yes: str, no: str) -> None:
        super().__init__(message)
        self.yes = yes
        self.no = no

    def answers(self) -> ComposeResult:
        """No comes first."""
        yield Acts(Act(f"No, {self.no}", id="no"), Act(f"Yes, {self.yes}", id="yes"))

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

    def answers(self) -> ComposeResult:
        """A field and the way back."""
        yield Input(id="answer")
        yield Acts(Act("Use it", id="use"), Act("Back", id="back"))

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
