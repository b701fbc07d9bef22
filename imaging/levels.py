"""Compression levels: the three that have names, and any of zstd's own."""

from imaging.errors import UsageError

LEAST, MOST = 1, 19
"""zstd's levels without those that make every reader hold large windows. Source: zstd(1)."""

LEVELS = {"fast": 1, "normal": 3, "small": 9}
"""Names for people.

Measured on 24 chunks of files of /usr, in one thread of a server: level 1 leaves 39.7 % at 282 MB/s, 3 leaves 36.1 % at
142 MB/s, 6 leaves 34.2 % at 55 MB/s, 9 leaves 33.6 % at 33 MB/s, 12 leaves 33.4 % at 19 MB/s. On a quarter of them: 9
leaves 40.2 % at 37 MB/s, 15 leaves 39.9 % at 5 MB/s and 19 leaves 37.9 % at 2 MB/s. So `small` is 9: up to 15 next to
nothing more is saved, and 19 takes sixteen times as long for a twentieth.
"""


def parse(word: str) -> int:
    """The level that was typed, a name or a number; raises UsageError (code "bad-level")."""
    if word in LEVELS:
        return LEVELS[word]
    if word.isascii() and word.isdigit() and len(word) <= 2 and LEAST <= int(word) <= MOST:
        return int(word)
    names = ", ".join(LEVELS)
    raise UsageError(
        f"compression level {word} is not known", code="bad-level", hint=f"give {names}, or {LEAST} to {MOST}"
    )


def name(level: int) -> str:
    """A level for a person: `small`, or `level 7` where it has no name."""
    return next((word for word, number in LEVELS.items() if number == level), f"level {level}")
