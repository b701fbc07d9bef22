"""The boot sector that stands on a disk while it is being restored, or made a recovery medium.

It takes the place of the partition table's first sector, so that a disk whose restore was cut off neither boots half a
system nor looks empty: a BIOS shows a line of text, and the inventory sees which restore was not finished.
"""

from collections.abc import Sequence

import msgspec

SIZE = 512
_MAGIC = b"RESCUE-UNFINISHED\0"
_MAGIC_AT = 0x100
_TEXT_AT = 0x40
_ID_ROOM = 0x1B8 - _MAGIC_AT - len(_MAGIC)
_ENTRIES = slice(446, 510)
"""An MBR's, of which the mark of a restore has none, not even that before a GPT. Source: UEFI 2.10, 5.2."""
_ENTRY, _TYPE, _PROTECTIVE = 16, 4, 0xEE
_TEXT = b"\r\nThis disk was only partly restored. Start the recovery stick and restore it again.\r\n\0"
_MANNER_AT = 0xA0
_MANNER_MAGIC = b"HOW"
"""Before the version of what follows, its length, each a byte, and it. Older programs read past all of it."""
_MANNER_ROOM = _MAGIC_AT - _MANNER_AT - len(_MANNER_MAGIC) - 2
_VERSION = 1
UNKNOWN = 255
"""Stands for the version of what cannot be read."""
_LEAST_PLACE = 8
"""Characters of a place that still tell it from others."""
MEDIUM = "recovery medium"
"""What stands in an image's place on a recovery medium that is being made."""
_MEDIUM_TEXT = b"\r\nThis recovery medium was only partly made. Make it again.\r\n\0"
# 16-bit code, loaded at 0000:7C00: prints the text at 7C40 through BIOS call 10h, function 0Eh, then halts.
_CODE = bytes.fromhex("31c0 8ed8 fc be407c ac 08c0 7409 b40e bb0700 cd10 ebf2 f4 ebfd")


class Manner(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={
        "version": "v",
        "disk": "d",
        "disks": "n",
        "partitions": "p",
        "grow": "g",
        "shrink": "s",
        "size": "z",
        "new_identity": "i",
        "host_name": "h",
        "wipe": "w",
        "boot_entry": "b",
        "read_back": "r",
        "straight": "f",
        "library": "l",
        "safety": "k",
    },
):
    """How a restore was to be done that was cut off: what completes it has to know beside the image.

    `version` is 0 where a program began it that noted none of this, and not this program's where it cannot be read.
    """

    version: int = 0
    disk: str = ""
    """Which of the image's disks."""
    disks: int = 1
    """How many of them were restored together."""
    partitions: tuple[tuple[int, int], ...] = ()
    """Each volume of the image, and the partition that it goes into; none where whole disks are restored."""
    grow: int = 0
    shrink: int = 0
    """The number of the partition that takes more room than it had in the image, or gives some; 0 for none."""
    size: int = 0
    """Bytes that this partition has then."""
    new_identity: bool = False
    host_name: str = ""
    """Whether the disk gets ids of its own, and what the computer on it is called then."""
    wipe: str = ""
    boot_entry: bool = False
    read_back: bool = True
    straight: bool = False
    """Whether it comes from what another program has made, and from no library."""
    library: str = ""
    safety: str = ""
    """The library of the image, and that of what was saved: words for a person."""

    @property
    def known(self) -> bool:
        """Whether all of it can be read."""
        return 0 < self.version <= _VERSION

    @property
    def noted(self) -> bool:
        """Whether anything is there, be it unknown to this program."""
        return self.version > 0


NOTHING = Manner()


def render(image_id: str, saved: str = "", keeps: Sequence[str] = (), manner: Manner = NOTHING) -> bytes:
    """The 512 bytes to stand at the start of a disk onto which `image_id` is being restored.

    `saved` is the image in which the restore has saved what was there before, `keeps` the rules by which it carries
    files over from that. Of `manner` the places are cut at their beginning where there is no room for all of it.
    """
    sector = bytearray(SIZE)
    sector[: len(_CODE)] = _CODE
    text = _MEDIUM_TEXT if image_id == MEDIUM else _TEXT
    sector[_TEXT_AT : _TEXT_AT + len(text)] = text
    words = (image_id, saved, ",".join(keeps)) if saved else (image_id,)
    name = b"\0".join(word.encode() for word in words if word)[: _ID_ROOM - 1]
    sector[_MAGIC_AT : _MAGIC_AT + len(_MAGIC) + len(name)] = _MAGIC + name
    if image_id != MEDIUM:
        how = _MANNER_MAGIC + _rendered(manner)
        sector[_MANNER_AT : _MANNER_AT + len(how)] = how
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def _rendered(manner: Manner) -> bytes:
    """The version, the length and the rest; where that is too much, that there is something which cannot be read."""
    for room in (*range(_MANNER_ROOM, _LEAST_PLACE - 1, -1), 0):
        places = (_tail(manner.library, room), _tail(manner.safety, room))
        data = msgspec.msgpack.encode(msgspec.structs.replace(manner, version=0, library=places[0], safety=places[1]))
        if len(data) <= _MANNER_ROOM:
            return bytes([_VERSION, len(data)]) + data
    return bytes([UNKNOWN, 0])


def _tail(words: str, room: int) -> str:
    if not room:
        return ""
    return words if len(words.encode()) <= room else ".." + words.encode()[2 - room :].decode(errors="ignore")


def parse(sector: bytes) -> str:
    """The id of the image whose restore was not finished; empty where the sector is not such a mark.

    Nor is it one any more where somebody has partitioned the disk anew: some tools leave what stands before its entries
    as it was.
    """
    return _parsed(sector)[0]


def parse_saved(sector: bytes) -> str:
    """The id of the image in which such a restore has saved what was there before; empty where it has not."""
    return _parsed(sector)[1]


def parse_keeps(sector: bytes) -> tuple[str, ...]:
    """The rules by which such a restore carries files over from what it has saved; none where it does not."""
    return tuple(filter(None, _parsed(sector)[2].split(",")))


def parse_manner(sector: bytes) -> Manner:
    """How such a restore was to be done; NOTHING where that is not noted, or where the sector is no mark."""
    if not parse(sector) or sector[_MANNER_AT : _MANNER_AT + len(_MANNER_MAGIC)] != _MANNER_MAGIC:
        return NOTHING
    at = _MANNER_AT + len(_MANNER_MAGIC)
    version, length = sector[at], sector[at + 1]
    unknown = Manner(version=max(version, _VERSION + 1))
    if version != _VERSION or length > _MANNER_ROOM:
        return unknown
    try:
        manner = msgspec.msgpack.decode(sector[at + 2 : at + 2 + length], type=Manner)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return unknown
    return msgspec.structs.replace(manner, version=version)


def _parsed(sector: bytes) -> tuple[str, str, str]:
    if len(sector) < SIZE or sector[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return "", "", ""
    names = sector[_MAGIC_AT + len(_MAGIC) : _MAGIC_AT + len(_MAGIC) + _ID_ROOM].split(b"\0")
    image, saved, keeps = (name.decode(errors="replace") for name in (*names, b"", b"")[:3])
    # The mark of a recovery medium that is being made stands before its GPT.
    entries = sector[_ENTRIES]
    before_gpt = image == MEDIUM and entries[_TYPE] == _PROTECTIVE and not any(entries[_ENTRY:])
    return (image or "?", saved, keeps) if not any(entries) or before_gpt else ("", "", "")
