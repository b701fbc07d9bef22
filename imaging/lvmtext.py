"""LVM's metadata text as nested values: sections, numbers, strings and lists of both.

Source: lvm2, libdm/libdm-config.c (the grammar) and lib/format_text/export.c (what of it LVM writes). Stricter than
LVM: what it would never write is refused, since a text that is not understood in full must not decide what is kept.
"""

import re
from typing import TypeAlias

from imaging.errors import IoError

Scalar: TypeAlias = int | str
Section: TypeAlias = "dict[str, Scalar | tuple[Scalar, ...] | Section]"
"""What a name stands for: a number, a string, a list, or a section of its own."""

MOST_TEXT = 4 << 20
"""Characters of the longest text that is parsed: LVM's own default leaves room for half a MiB."""
_MOST_VALUES = 1 << 18
"""Values and sections of such a text: a logical volume has about 15."""
_DEEPEST = 12
"""Sections inside sections; LVM itself needs five."""
_SPACE = re.compile(r"(?:\s+|#[^\n]*)*+")
_NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,127}")
_NUMBER = re.compile(r"-?[0-9]{1,19}(?![A-Za-z0-9_.+-])")
_STRING = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse(text: str) -> Section:
    """Parse a whole text; raises IoError (code "bad-lvm") where it is none, is too long or is nested too deeply."""
    if len(text) > MOST_TEXT:
        raise IoError(f"LVM's metadata of {len(text)} characters are too long", code="bad-lvm")
    return _Parser(text).whole()


class _Parser:
    """A place in the text, which moves on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._values = 0

    def whole(self) -> Section:
        """The outermost section, up to the end of the text; without recursion, whatever the nesting."""
        stack: list[Section] = [{}]
        while True:
            self._skip()
            if self._at == len(self._text):
                if len(stack) > 1:
                    raise self._bad("a section does not end")
                return stack[0]
            if len(stack) > 1 and self._took("}"):
                stack.pop()
                continue
            name = self._name()
            self._count()
            if name in stack[-1]:
                raise self._bad(f"{name} stands there twice")
            if self._took("{"):
                if len(stack) > _DEEPEST:
                    raise self._bad("sections are nested too deeply")
                inner: Section = {}
                stack[-1][name] = inner
                stack.append(inner)
            elif self._took("="):
                stack[-1][name] = self._value()
            else:
                raise self._bad(f"{name} has no value")

    def _value(self) -> Scalar | tuple[Scalar, ...]:
        if not self._took("["):
            return self._scalar()
        values: list[Scalar] = []
        while not self._took("]"):
            if values and not self._took(","):
                raise self._bad("a list does not end")
            values.append(self._scalar())
            self._count()
        return tuple(values)

    def _scalar(self) -> Scalar:
        self._skip()
        number = _NUMBER.match(self._text, self._at)
        if number:
            self._at = number.end()
            return int(number[0])
        string = _STRING.match(self._text, self._at)
        if string:
            self._at = string.end()
            return _ESCAPED.sub(r"\1", string[1])
        raise self._bad("there is neither a number nor a string")

    def _count(self) -> None:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise self._bad(f"there are more than {_MOST_VALUES} values")

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            raise self._bad("there is no name")
        self._at = found.end()
        return found[0]

    def _took(self, mark: str) -> bool:
        """Whether the next character but space is `mark`; then it is passed."""
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += 1
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _bad(self, what: str) -> IoError:
        return IoError(f"LVM's metadata do not parse: {what} at character {self._at}", code="bad-lvm")
