"""What a screen asks of the files in an image, and what it is answered: one JSON object a line, through two pipes."""

from enum import StrEnum
from typing import Any

import msgspec

from imaging.decodable import decodable
from imaging.imagevolumes import OpenVolume
from imaging.tree import Entry, EntryKind, is_odd

LARGEST_ON_FAT = (4 << 30) - 1
"""Bytes of the largest file that FAT32 can hold."""
MOST_HITS = 10_000
"""Entries that a search finds before it ends."""

Where = tuple[bytes, ...]
"""The names of a path from the volume's root on."""


class Order(StrEnum):
    """How a folder is sorted; its folders stand first in any order."""

    NAME = "name"
    SIZE = "size"
    DATE = "date"


@decodable
class Open(msgspec.Struct, frozen=True, kw_only=True, tag="open"):
    """What comes first: which volume, the key of its library where that is encrypted, and how an address is reached.

    `unlocked` are the keys of volumes that LUKS encrypts and that are opened first, in that order. With a `passphrase`
    the volume itself is such a one: what it holds is told, and that is all.
    """

    library: str
    image: str
    volume: str
    keys: dict[str, bytes]
    access: dict[str, Any] = {}
    unlocked: dict[str, bytes] = {}
    passphrase: str = ""


class AskPage(msgspec.Struct, frozen=True, kw_only=True, tag="page"):
    """`count` entries of a folder from the entry `start` on, or, where it has one named `at`, the page with that."""

    id: int
    path: Where
    order: Order
    start: int
    count: int
    at: bytes = b""


class AskSearch(msgspec.Struct, frozen=True, kw_only=True, tag="search"):
    """Everything in the volume whose name holds `words`, whatever their case."""

    id: int
    words: str


class AskTally(msgspec.Struct, frozen=True, kw_only=True, tag="tally"):
    """How much is at a path, all that is below it included."""

    id: int
    path: Where


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Nobody waits for the answer to a question any more."""

    id: int


Question = AskPage | AskSearch | AskTally | Stop


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """The volume is mounted: questions can come."""

    id: int = 0


class Unlocked(msgspec.Struct, frozen=True, kw_only=True, tag="unlocked"):
    """The passphrase was right: the volume's key, and what is in it."""

    key: bytes
    volumes: tuple[OpenVolume, ...]
    id: int = 0


class Page(msgspec.Struct, frozen=True, kw_only=True, tag="page"):
    """A part of a folder with `total` entries."""

    id: int
    start: int
    total: int
    entries: tuple[Entry, ...]


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that a search has found, and the path of the folder that it is in."""

    where: Where
    entry: Entry


class Hits(msgspec.Struct, frozen=True, kw_only=True, tag="hits"):
    """What a search has found since it last said something; `seen` entries were looked at so far."""

    id: int
    hits: tuple[Hit, ...]
    seen: int
    ended: bool = False


class Tally(msgspec.Struct, frozen=True, kw_only=True, tag="tally"):
    """How much there is to copy; `bytes` are of the files.

    `large` files do not fit on FAT32, `odd` names cannot stand on FAT, exFAT and shares, `lost` cannot be read.
    """

    id: int = 0
    files: int = 0
    folders: int = 0
    links: int = 0
    others: int = 0
    bytes: int = 0
    large: int = 0
    odd: int = 0
    lost: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        names = (name for name in self.__struct_fields__ if name != "id")
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})


def counted(entry: Entry) -> Tally:
    """One entry, without what is in it."""
    if entry.problem:
        return Tally(lost=1)
    odd = int(is_odd(entry.name))
    match entry.kind:
        case EntryKind.FOLDER:
            return Tally(folders=1, odd=odd)
        case EntryKind.FILE:
            return Tally(files=1, bytes=entry.size, large=int(entry.size > LARGEST_ON_FAT), odd=odd)
        case EntryKind.LINK:
            return Tally(links=1, odd=odd)
        case EntryKind.OTHER:
            return Tally(others=1)


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """A question has no answer; `status` is the error's exit status. Without an id the volume cannot be opened."""

    status: int
    message: str
    code: str
    hint: str = ""
    id: int = 0


Answer = Opened | Unlocked | Page | Hits | Tally | Failed
