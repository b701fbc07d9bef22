"""Lists to choose from: with the arrow keys, with number keys, several with the space bar, or always one."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widgets import OptionList
from textual.widgets.option_list import Option

REVERSE = Style(reverse=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing to choose: lines of text, and why it cannot be chosen where it cannot."""

    key: str
    lines: tuple[str, ...]
    why_not: str = ""


class Choices(OptionList):
    """Choices of one or more lines; those that cannot be chosen stay visible, with the reason."""

    REASON_INDENT = 5

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False, compact=True)

    def show(self, choices: Sequence[Choice]) -> None:
        """Replace the list, with the cursor on the first that can be chosen, or where it was."""
        before = self.chosen
        self.clear_options()
        self.add_options([self.option(choice) for choice in choices])
        usable = [place for place, choice in enumerate(choices) if not choice.why_not]
        same = [place for place in usable if choices[place].key == before]
        self.highlighted = next(iter(same or usable), None)

    def option(self, choice: Choice) -> Option:
        """A choice as the list draws it."""
        lines = list(choice.lines)
        if choice.why_not:
            width = max(40, (self.size.width or 80) - 2)
            reason = f"cannot be chosen: {choice.why_not}"
            indent = " " * self.REASON_INDENT
            lines += textwrap.wrap(reason, width, initial_indent=indent, subsequent_indent=indent)
        return Option(Content("\n".join(lines)), id=choice.key, disabled=bool(choice.why_not))

    def render_line(self, y: int) -> Strip:
        """The cursor's lines in reverse over the whole width: OptionList would show them by colour alone."""
        strip = super().render_line(y)
        if not self.has_focus or self.highlighted is None:
            return strip
        here = any(part.style is not None and part.style.meta.get("option") == self.highlighted for part in strip)
        return strip.apply_style(REVERSE) if here else strip

    @property
    def chosen(self) -> str:
        """The key under the cursor; empty where there is none."""
        if self.highlighted is None or self.highlighted >= self.option_count:
            return ""
        return self.get_option_at_index(self.highlighted).id or ""


class NumberedChoices(Choices):
    """Choices that bear a number each; the number's key chooses at once."""

    def on_key(self, event: events.Key) -> None:
        """Choose by number."""
        if event.character and event.character.isdigit() and 1 <= int(event.character) <= self.option_count:
            event.stop()
            self.highlighted = int(event.character) - 1
            self.action_select()


class Checks(Choices):
    """Choices of which several can be taken: the space bar marks, Enter goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [("space", "mark")]
    REASON_INDENT = 9

    class Marked(Message):
        """The marks have changed."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._choices: dict[str, Choice] = {}
        self._marked: set[str] = set()

    def show(self, choices: Sequence[Choice]) -> None:
        """Replace the list; marks stay where they can."""
        self._choices = {choice.key: choice for choice in choices}
        self._marked &= {choice.key for choice in choices if not choice.why_not}
        super().show(choices)

    def option(self, choice: Choice) -> Option:
        """With a box before it."""
        box = "   " if choice.why_not else "[x]" if choice.key in self._marked else "[ ]"
        first, *rest = choice.lines
        lines = (f"{box} {first}", *(f"    {line}" for line in rest))
        return super().option(Choice(key=choice.key, lines=lines, why_not=choice.why_not))

    @property
    def marked(self) -> list[str]:
        """Keys of the marked choices in the list's order."""
        return [key for key in self._choices if key in self._marked]

    def mark(self, key: str) -> None:
        """Mark it, or take the mark away."""
        self._marked ^= {key}
        self.replace_option_prompt(key, self.option(self._choices[key]).prompt)
        self.post_message(self.Marked())

    def action_mark(self) -> None:
        """The space bar."""
        if self.chosen:
            self.mark(self.chosen)


class Pick(Choices):
    """A few choices of which one is always taken: that under the cursor, marked also while the focus is elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [("pageup", "screen.page(-1)"), ("pagedown", "screen.page(1)")]

    class Picked(Message):
        """Another one is taken."""

    def show(self, choices: Sequence[Choice]) -> None:
        """Replace the list; what was taken stays so."""
        self._choices = list(choices)
        super().show(choices)
        self._mark()

    def pick(self, key: str) -> None:
        """Take one."""
        self.highlighted = self.get_option_index(key)

    def on_option_list_option_highlighted(self) -> None:
        """The cursor has moved."""
        self._mark()
        self.post_message(self.Picked())

    def _mark(self) -> None:
        for place, choice in enumerate(self._choices):
            box = "(x)" if choice.key == self.chosen else "( )"
            marked = Choice(key=choice.key, lines=(f"{box} {choice.lines[0]}", *choice.lines[1:]))
            self.replace_option_prompt_at_index(place, self.option(marked).prompt)
