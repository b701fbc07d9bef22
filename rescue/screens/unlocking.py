"""What is encrypted, libraries and volumes of images: the passphrase is asked for in a dialogue, until one is right."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

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

T = TypeVar("T")


class AskPassphrase(Dialogue[str]):
    """Asks for what opens something; it is never shown, and None where the box was left."""

    WIDTH = WIDEST

    def __init__(self, question: str, wrong: str) -> None:
        super().__init__((f"{wrong}\n\n" if wrong else "") + question)

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


class AskLibraryPassphrase(AskPassphrase):
    """Asks for what opens a library."""

    ABOUT = N_("""
The images in this library are encrypted. Type one of its passphrases, or
its recovery key, in capitals or not, with dashes or without.

What you type is not shown. It is kept in memory as long as this menu
runs, and stored nowhere; a job gets what it needs of it. Another screen
asks anew.

Esc leaves the library closed.""")

    def __init__(self, library: Path, wrong: str) -> None:
        words = _("{library} is encrypted. Type its passphrase or its recovery key.")
        super().__init__(words.format(library=clean(str(library))), wrong)


class AskVolumePassphrase(AskPassphrase):
    """Asks for what opens a volume of an image that LUKS encrypts."""

    ABOUT = N_("""
This volume was encrypted with LUKS on its computer. Type any passphrase
that opened it there; mind the keyboard's layout.

What you type is not shown, and gone once it was tried. The key of the
volume is kept in memory as long as this menu runs; a job that copies
files out of it gets the key, and no plan and no log has it. To try one
takes as much time and memory as it took on that computer.

Esc leaves the volume closed.""")

    def __init__(self, volume: str, wrong: str) -> None:
        super().__init__(_("{volume} is encrypted. Type its passphrase.").format(volume=clean(volume)), wrong)


class Opener(Generic[T]):
    """Has a passphrase asked for until one opens something; `say` tells what goes on, `left` that nobody gave one.

    `dialogue` takes what was wrong with the one before, `attempt` the passphrase, `then` what that has answered.
    """

    def __init__(
        self,
        screen: RescueScreen,
        name: str,
        *,
        dialogue: Callable[[str], AskPassphrase],
        attempt: Callable[[str], T],
        then: Callable[[T], None],
        say: Callable[[str], None],
        left: Callable[[], None] = lambda: None,
    ) -> None:
        self.screen, self.name = screen, name
        self.dialogue, self.attempt = dialogue, attempt
        self.then, self.say, self.left = then, say, left

    def ask(self, wrong: str = "") -> None:
        """Ask for it."""

        def use(words: str | None) -> None:
            if words is None:
                self.left()
            else:
                self.open(words)

        self.screen.open(self.dialogue(wrong), use)

    def open(self, words: str) -> None:
        """Try it, which takes a moment; a wrong one is asked for again."""
        self.say(_(" Opening {library} ..").format(library=clean(self.name)))

        async def wait() -> None:
            try:
                found = await aside(lambda: self.attempt(words))
            except RescueError as error:
                self.say("")
                if error.code == "wrong-passphrase":
                    self.ask(problem(error))
                else:
                    self.left()
                    self.screen.app.push_screen(Notice(problem(error)))
                return
            self.say("")
            self.then(found)

        self.screen.run_worker(wait(), group="unlock", exclusive=True)


def open_library(
    screen: RescueScreen, library: Path, then: Callable[[], None], left: Callable[[Path], None] = lambda _library: None
) -> None:
    """Have the passphrase of a library asked for on a screen, which shows what goes on in its `status`."""

    def say(words: str) -> None:
        """The screen itself says what there is to say afterwards."""
        screen.say("status", words)
        screen.query_one("#status").display = True

    Opener(
        screen,
        str(library),
        dialogue=partial(AskLibraryPassphrase, library),
        attempt=partial(screen.backend.unlock, library),
        then=lambda _opened: then(),
        say=say,
        left=lambda: left(library),
    ).ask()
