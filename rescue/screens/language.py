"""The language of the screens, and the layout of the keyboard."""

from functools import partial

from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging.keyboard import Keyboard
from rescue import language, layouts
from rescue.language import N_, _
from rescue.screens.base import RescueScreen, text
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

NAMES = {"en": "English", "de": "Deutsch"}
"""Languages in their own words."""


class LanguageScreen(RescueScreen):
    """Two lists; Enter takes what is under the cursor at once."""

    HEADING = N_("Language and keyboard")
    KEYS = N_("Enter take it   Tab the other list   Esc back   F1 or ? help")
    ABOUT = N_("""
  Enter   take the language or the layout under the cursor
  Tab     to the other list

The language is that of this screen, and of each that is started later. The
layout is that of the keyboard at this computer: a serial line or ssh brings
the layout of the computer that you sit at.

At boot, the words rescue.lang=de rescue.keymap=de on the kernel command
line choose both.""")
    DEFAULT_CSS = """
    LanguageScreen {
        #language-title, #keyboard-title { height: auto; margin: 1 1 0 1; }
    }
    """

    def __init__(self, *, at_keyboard: bool = False) -> None:
        super().__init__()
        self.at_keyboard = at_keyboard

    def body(self) -> ComposeResult:
        """Languages above, layouts below."""
        yield text(_("Language"), id="language-title")
        yield Choices(id="languages")
        yield text(_("Keyboard layout"), id="keyboard-title")
        yield Choices(id="layouts")

    def on_mount(self) -> None:
        """The cursor is on what is spoken."""
        codes = sorted(language.languages(), key=lambda code: code != language.spoken())
        languages = self.query_one("#languages", Choices)
        languages.styles.height = "auto"
        languages.show(
            [Choice(key=code, lines=(marked(NAMES.get(code, code), code == language.spoken()),)) for code in codes]
        )
        self.query_one("#layouts" if self.at_keyboard else "#languages").focus()
        self.look(self.backend.keyboard, self.show_keyboard)

    def show_keyboard(self, found: Keyboard) -> None:
        """The layouts, the loaded one first; or why there are none."""
        title = _("Keyboard layout")
        if found.why_not:
            title = f"{title}: {told(found.why_not)}"
        elif not self.host.at_computer:
            title = f"{title} {_('(of the keyboard at the computer, not of this line)')}"
        self.say("keyboard-title", title)
        if found.why_not:
            return
        loaded = found.loaded or layouts.DEFAULT.keymap
        rows = sorted(layouts.installed(found), key=lambda layout: layout.keymap != loaded)
        self.query_one("#layouts", Choices).show(
            [Choice(key=layout.keymap, lines=(marked(_(layout.name), layout.keymap == loaded),)) for layout in rows]
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take it."""
        key = event.option_id or ""
        if event.option_list.id == "languages":
            with self.telling():
                self.backend.remember_language(key)
            language.use(key)
            self.host.redraw(LanguageScreen(at_keyboard=True))
        else:
            self.look(partial(self.take, key), self.show_keyboard)

    def take(self, keymap: str) -> Keyboard:
        """Load a layout, and look again."""
        self.backend.load_keymap(keymap)
        return self.backend.keyboard()


def marked(name: str, taken: bool) -> str:
    """One row: `(x) German`."""
    return f" ({'x' if taken else ' '}) {name}"
