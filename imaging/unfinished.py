"""The boot sector that stands on a disk while it is being restored, or made a recovery medium.

It takes the place of the partition table's first sector, so that a disk whose restore was cut off neither boots half a
system nor looks empty: a BIOS shows a line of text, and the inventory sees which restore was not finished.
"""

from collections.abc import Sequence

SIZE = 512
_MAGIC = b"RESCUE-UNFINISHED\0"
_MAGIC_AT = 0x100
_TEXT_AT = 0x40
_ID_ROOM = 0x1B8 - _MAGIC_AT - len(_MAGIC)
_ENTRIES = slice(446, 510)
"""An MBR's, of which the mark of a restore has none, not even that before a GPT. Source: UEFI 2.10, 5.2."""
_ENTRY, _TYPE, _PROTECTIVE = 16, 4, 0xEE
_TEXT = b"\r\nThis disk was only partly restored. Start the recovery stick and restore it again.\r\n\0"
MEDIUM = "recovery medium"
"""What stands in an image's place on a recovery medium that is being made."""
_MEDIUM_TEXT = b"\r\nThis recovery medium was only partly made. Make it again.\r\n\0"
# 16-bit code, loaded at 0000:7C00: prints the text at 7C40 through BIOS call 10h, function 0Eh, then halts.
_CODE = bytes.fromhex("31c0 8ed8 fc be407c ac 08c0 7409 b40e bb0700 cd10 ebf2 f4 ebfd")


def render(image_id: str, saved: str = "", keeps: Sequence[str] = ()) -> bytes:
    """The 512 bytes to stand at the start of a disk onto which `image_id` is being restored.

    `saved` is the image in which the restore has saved what was there before, `keeps` the rules by which it carries
    files over from that.
    """
    sector = bytearray(SIZE)
    sector[: len(_CODE)] = _CODE
    text = _MEDIUM_TEXT if image_id == MEDIUM else _TEXT
    sector[_TEXT_AT : _TEXT_AT + len(text)] = text
    words = (image_id, saved, ",".join(keeps)) if saved else (image_id,)
    name = b"\0".join(word.encode() for word in words if word)[: _ID_ROOM - 1]
    sector[_MAGIC_AT : _MAGIC_AT + len(_MAGIC) + len(name)] = _MAGIC + name
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


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


def _parsed(sector: bytes) -> tuple[str, str, str]:
    if len(sector) < SIZE or sector[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return "", "", ""
    names = sector[_MAGIC_AT + len(_MAGIC) : _MAGIC_AT + len(_MAGIC) + _ID_ROOM].split(b"\0")
    image, saved, keeps = (name.decode(errors="replace") for name in (*names, b"", b"")[:3])
    # The mark of a recovery medium that is being made stands before its GPT.
    entries = sector[_ENTRIES]
    before_gpt = image == MEDIUM and entries[_TYPE] == _PROTECTIVE and not any(entries[_ENTRY:])
    return (image or "?", saved, keeps) if not any(entries) or before_gpt else ("", "", "")
