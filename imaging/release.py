"""The name of an operating system, from the files in which it says it. Pure; the text may be anything.

Sources: os-release(5); Debian's `.disk/info` on installation media.
"""

import unicodedata

_LONGEST = 60
"""Characters of a name that are kept; those of real systems have up to 40."""
_MOST_LINES = 200
_ESCAPED = "$\"'`\\"

UNNAMED = "Linux"


def name_of(path: str, text: str) -> str:
    """The name of the system whose file this is; empty where there is none in it."""
    if path.endswith("info"):
        return printable(text.split("\n", 1)[0])
    return linux_name(text)


def linux_name(text: str) -> str:
    """The name in an os-release, such as `Debian GNU/Linux 13 (trixie)`; "Linux" where it has none."""
    values: dict[str, str] = {}
    for line in text.splitlines()[:_MOST_LINES]:
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            values[key] = _unquoted(value.strip())
    name = f"{values.get('NAME', '')} {values.get('VERSION', '')}"
    return printable(values.get("PRETTY_NAME", "")) or printable(name) or UNNAMED


def _unquoted(value: str) -> str:
    """A shell word without its quotes; nothing is expanded."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        quote, value = value[0], value[1:-1]
        if quote == "'":
            return value
    parts, chars = [], iter(value)
    for char in chars:
        following = next(chars, "") if char == "\\" else ""
        parts.append(following if following and following in _ESCAPED else char + following)
    return "".join(parts)


def printable(text: str) -> str:
    """On one line, without control or format characters, and no longer than is shown."""
    plain = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text[: 8 * _LONGEST])
    return " ".join(plain.split())[:_LONGEST].rstrip()
