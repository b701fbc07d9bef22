"""Lists to choose from: with the arrow keys, with number keys, several with the space bar, or always one."""

import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.strip import Strip
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from rescue.language import _
from rescue.telling import told

REVERSE = Style(reverse=True)
ALARM = "bold ansi_red"

MARK = "> "
"""What stands before the line under the cursor, in the gutter that rescue.tcss leaves for it."""
LABEL = re.compile(r"(\S{1,3}\s+)?\S+( \S+)*")
WIDEST_LABEL = 40
"""Cells of a line that are drawn in reverse at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing to choose: lines of text, and why it cannot be chosen where it cannot.

    `alarm` is drawn in red below the first line; its words must tell without the colour, too.
    """

    key: str
    lines: tuple[str, ...]
    why_not: str = ""
    alarm: str = ""


class Choices(OptionList):
    """Choices of one or more lines; those that cannot be chosen stay visible, with the reason."""

    REASON_INDENT = 4

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
            reason = _("cannot be chosen: {reason}").format(reason=told(choice.why_not))
            indent = " " * self.REASON_INDENT
            lines += textwrap.wrap(reason, width, initial_indent=indent, subsequent_indent=indent)
        words = Content("\n".join(lines))
        if choice.alarm:
            first, *rest = lines
            alarm = Content.styled(choice.alarm, ALARM)
            words = Content("\n").join([Content(first), alarm, *map(Content, rest)])
        return Option(words, id=choice.key, disabled=bool(choice.why_not))

    def render_line(self, y: int) -> Strip:
        """The cursor: a mark before the line, and its label in reverse, seen without colour and cheap to move."""
        strip = super().render_line(y)
        if not self.has_focus or self.scroll_offset.y + y != self._cursor_line:
            return strip
        start, end = label_span(strip.text)
        before, label, after = strip.divide([start, end, strip.cell_length])
        mark = before.crop(0, 0) if start < len(MARK) else Strip.join([Strip([Segment(MARK)]), before.crop(len(MARK))])
        return Strip.join([mark, label.apply_style(REVERSE), after])

    @property
    def _cursor_line(self) -> int | None:
        """The line of all lines on which the cursor stands."""
        return None if self.highlighted is None else self._index_to_line.get(self.highlighted)

    @property
    def spot(self) -> Offset:
        """Where the terminal's own cursor belongs: screen readers and braille displays follow it."""
        line = (self._cursor_line or 0) - self.scroll_offset.y
        return self.content_region.offset + Offset(0, max(0, min(line, self.content_region.height - 1)))

    @property
    def chosen(self) -> str:
        """The key under the cursor; empty where there is none."""
        if self.highlighted is None or self.highlighted >= self.option_count:
            return ""
        return self.get_option_at_index(self.highlighted).id or ""


class NumberedChoices(Choices):
    """Choices that may bear a number before their words; the number's key chooses at once."""

    def on_key(self, event: events.Key) -> None:
        """Choose by number."""
        if event.character and event.character in "0123456789":
            for place, option in enumerate(self.options):
                if str(option.prompt).split(maxsplit=1)[:1] == [event.character]:
                    event.stop()
                    self.highlighted = place
                    self.action_select()
                    return


def label_span(line: str) -> tuple[int, int]:
    """Where the label of a list's line begins and ends, in cells: its first words, up to where two blanks stand.

    A number or a box before them belongs to it.
    """
    indent = len(line) - len(line.lstrip())
    found = LABEL.match(line.strip())
    label = found.group() if found else ""
    if cell_len(label) > WIDEST_LABEL:
        label = set_cell_size(label, WIDEST_LABEL).rsplit(" ", 1)[0]
    return indent, indent + cell_len(label)


class Checks(Choices):
    """Choices of which several can be taken: the space bar marks, Enter goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [("space", "mark")]
    REASON_INDENT = 8

    class Marked(Message):
        """The marks have changed."""

    def __init__(self, *, id: str, fixed: Collection[str] = ()) -> None:
        super().__init__(id=id)
        self._choices: dict[str, Choice] = {}
        self._fixed = frozenset(fixed)
        """Those that are always marked."""
        self._marked: set[str] = set(self._fixed)

    def show(self, choices: Sequence[Choice]) -> None:
        """Replace the list; marks stay where they can."""
        self._choices = {choice.key: choice for choice in choices}
        self._marked &= {choice.key for choice in choices if not choice.why_not}
        self._marked |= self._fixed
        super().show(choices)

    def option(self, choice: Choice) -> Option:
        """With a box before it."""
        box = "   " if choice.why_not else "[x]" if choice.key in self._marked else "[ ]"
        first, *rest = choice.lines
        lines = (f"{box} {first}", *(f"    {line}" for line in rest))
        alarm = f"    {choice.alarm}" if choice.alarm else ""
        return super().option(replace(choice, lines=lines, alarm=alarm))

    @property
    def marked(self) -> list[str]:
        """Keys of the marked choices in the list's order."""
        return [key for key in self._choices if key in self._marked]

    @property
    def keys(self) -> Collection[str]:
        """Keys of all choices in the list."""
        return self._choices.keys()

    def mark(self, key: str) -> None:
        """Mark it, or take the mark away."""
        if key in self._fixed:
            return
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
            marked = replace(choice, lines=(f"{box} {choice.lines[0]}", *choice.lines[1:]))
            self.replace_option_prompt_at_index(place, self.option(marked).prompt)
