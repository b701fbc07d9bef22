"""Which partition is to have another size, and which, in words: `2` or `2:20G`. Pure."""

import re
from dataclasses import dataclass

from imaging.errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,12})([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[1-9]\d{0,2}", re.ASCII)
PATTERN = r"^[1-9][0-9]{0,2}:[0-9]{1,12}[KMGTkmgt]?(i?[Bb])?$"
"""What an order may have for a partition with its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A partition by its number, 0 for one that is chosen for the person, and the bytes that it is to have, if said."""

    partition: int
    size: int | None = None


def parse(words: str) -> Wanted:
    """`2` or `2:20G`; raises UsageError."""
    number, colon, size = words.partition(":")
    found = bytes_of(size) if colon else None
    if not _NUMBER.fullmatch(number) or (colon and not found):
        raise UsageError(f"{words}: a partition such as 2, or with its size 2:20G, is needed", code="usage")
    return Wanted(partition=int(number), size=found)


def bytes_of(words: str) -> int | None:
    """The bytes of `512M` or `4G`; None for what is no size, or nothing."""
    match = _SIZE.fullmatch(words)
    return int(match[1]) * _UNITS[match[2].upper()] or None if match is not None else None
