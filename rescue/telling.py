"""What imaging says, in the language of the screen.

The engine's messages are English in events, logs and for scripts, and each screen shows them in its own language: two
consoles can follow one job in two. So they are translated where they are shown. A message that holds names or figures
is known by its template (`{disk} is in use`); templates.txt lists all of them, made from imaging's source
(tests/catalogue), and the catalogue holds their translations in the context "engine".
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from rescue import language

CONTEXT = "engine"
TEMPLATES = language.CATALOGUES / "templates.txt"

_FIELD = re.compile(r"\{(\w+)\}")
_OF_PARTITION, _WORD = re.compile(r"partition number\d*$", re.IGNORECASE), "[^ :]"
"""A partition's number is a word: what follows it is not taken for part of it where another message begins there."""
_BETWEEN = (re.compile(r"((?<=[.!?]) +(?=[A-Z0-9{]))"), re.compile("(; )"), re.compile("(, )"))
"""What stands between messages that are told together: sentences, notes, names."""
_DEEPEST = 6
"""Messages that hold messages that hold messages: no more than so many are looked into."""
_MOST = 4000
"""Characters of a message that is looked into: a hostile one must not hold the screen up."""


ALSO = (
    "none",
    "Input/output error",
    "No such file or directory",
    "No such device",
    "No such device or address",
    "No medium found",
    "No space left on device",
    "Read-only file system",
    "Permission denied",
    "Operation not permitted",
    "Device or resource busy",
    "File name too long",
    "Not a directory",
    "Is a directory",
    "Stale file handle",
    "Remote I/O error",
    "Connection timed out",
    "No route to host",
    "Network is unreachable",
    "Host is down",
    "Structure needs cleaning",
)
"""What messages hold, that is no message of imaging's own: a short word, and what the system says (strerror(3))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A message with places for names and figures."""

    words: str
    pattern: re.Pattern[str]
    weight: int
    """Characters that are the same in each such message."""

    @classmethod
    def of(cls, words: str) -> "Template":
        """Read a template."""
        parts = _FIELD.split(words)
        names = parts[1::2]
        pattern = re.escape(parts[0])
        for before, name, after in zip(parts[0::2], names, parts[2::2], strict=False):
            pattern += f"(?P<{name}>{_WORD if _OF_PARTITION.search(before + name) else '.'}+?){re.escape(after)}"
        if len(set(names)) != len(names):
            raise ValueError(f"two places of {words!r} bear one name")
        return cls(words=words, pattern=re.compile(pattern, re.DOTALL), weight=sum(map(len, parts[0::2])))


@cache
def templates() -> tuple[Template, ...]:
    """All templates with places, those that say most first."""
    lines = TEMPLATES.read_text(encoding="utf-8").splitlines()
    found = [Template.of(line) for line in lines if _FIELD.search(line)]
    return tuple(sorted(found, key=lambda template: -template.weight))


def told(message: str) -> str:
    """The engine's message in the language of the screen; as it is where it has no translation."""
    if language.spoken() == language.ENGLISH:
        return message
    spoken = (language.spoken(), language.spelt_out())
    return "\n".join(_told(line, spoken, _DEEPEST) for line in message.split("\n"))


@lru_cache(maxsize=2000)
def _told(message: str, spoken: tuple[str, bool], deepest: int) -> str:
    if not deepest or len(message) > _MOST:
        return message
    translated = language.pgettext(CONTEXT, message)
    if translated != message:
        return translated
    for template in templates():
        match = template.pattern.fullmatch(message)
        if match:
            words = {name: _told(value, spoken, deepest - 1) for name, value in match.groupdict().items()}
            return language.pgettext(CONTEXT, template.words).format_map(words)
    for between in _BETWEEN:
        parts = between.split(message)
        if len(parts) > 1:
            return "".join(_told(part, spoken, deepest - 1) for part in parts)
    return message
