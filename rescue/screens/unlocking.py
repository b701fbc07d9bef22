"""Encrypted libraries: the passphrase is asked for in a dialogue, and known as long as this screen runs."""

from collections.abc import Callable
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.errors import RescueError
from rescue.aside import aside
from rescue.formats import clean
from rescue.language import N_, _
from rescue.screens.base import WIDEST, Dialogue, Notice, RescueScreen, problem
from rescue.widgets.act import Act, Acts
from rescue.widgets.line import Line


class AskPassphrase(Dialogue[str]):
    """Asks for what opens a library; it is never shown, and None where the box was left."""

    ABOUT = N_("""
The images in this library are encrypted. Type one of its passphrases, or
its recovery key, in capitals or not, with dashes or without.

What you type is not shown. It is kept in memory as long as this menu
runs, and stored nowhere; a job gets what it needs of it. Another screen
asks anew.

Esc leaves the library closed.""")
    WIDTH = WIDEST

    def __init__(self, library: Path, *, wrong: str = "") -> None:
        words = _("{library} is encrypted. Type its passphrase or its recovery key.")
        super().__init__((f"{wrong}\n\n" if wrong else "") + words.format(library=clean(str(library))))

    def answers(self) -> ComposeResult:
        """A field that shows nothing, and the buttons."""
        field = Line(password=True, compact=True, id="passphrase")
        field.styles.margin = 0
        with Horizontal(classes="confirm"):
            yield Static(Content(f"{_('Passphrase')} ["), classes="ask", markup=False)
            yield field
            yield Static(Content("]"), classes="end", markup=False)
        yield Acts(Act(_("Open it"), id="open"), Act(_("Back"), id="back"))

    def on_mount(self) -> None:
        """Typing can begin."""
        self.query_one(Input).focus()

    def on_input_submitted(self) -> None:
        """Enter in the field."""
        self.use()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """A button."""
        if event.act.id == "open":
            self.use()
        else:
            self.dismiss(None)

    def use(self) -> None:
        """Hand over what was typed, if anything was."""
        if words := self.query_one(Input).value:
            self.dismiss(words)


class Unlocker:
    """Opens libraries for a screen, which shows what goes on in its `status`; `then` is called once one is open."""

    def __init__(
        self, screen: RescueScreen, then: Callable[[], None], left: Callable[[Path], None] = lambda _library: None
    ) -> None:
        self.screen, self.then, self.left = screen, then, left

    def ask(self, library: Path, wrong: str = "") -> None:
        """Ask for the passphrase; `left` is called where nobody gives one."""

        def use(words: str | None) -> None:
            if words is None:
                self.left(library)
            else:
                self.open(library, words)

        self.screen.open(AskPassphrase(library, wrong=wrong), use)

    def open(self, library: Path, words: str) -> None:
        """Try it, which takes a moment; a wrong one is asked for again."""
        self.say(_(" Opening {library} ..").format(library=clean(str(library))))

        async def wait() -> None:
            try:
                await aside(lambda: self.screen.backend.unlock(library, words))
            except RescueError as error:
                self.say("")
                if error.code == "wrong-passphrase":
                    self.ask(library, problem(error))
                else:
                    self.left(library)
                    self.screen.app.push_screen(Notice(problem(error)))
                return
            self.say("")
            self.then()

        self.screen.run_worker(wait(), group="unlock", exclusive=True)

    def say(self, words: str) -> None:
        """What goes on; the screen itself says what there is to say afterwards."""
        self.screen.say("status", words)
        self.screen.query_one("#status").display = True
