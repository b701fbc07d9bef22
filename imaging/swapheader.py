"""The header of a swap area, rendered anew: what others save of one is its UUID and its label.

Source: Linux include/linux/swap.h (union swap_header).
"""

import struct
import uuid as uuids

_PAGE = 4096
_FIELDS = struct.Struct("<III16s16s")
_FIELDS_AT = 1024
_MAGIC = b"SWAPSPACE2"


def render(size: int, uuid: str, label: str) -> bytes:
    """The first page of a swap area of `size` bytes; a UUID that is none counts as missing."""
    try:
        name = uuids.UUID(uuid).bytes
    except ValueError:
        name = bytes(16)
    # The field counts in 32 bits; Linux takes what it can of a larger area.
    last = min(size // _PAGE - 1, 0xFFFFFFFF)
    fields = _FIELDS.pack(1, max(0, last), 0, name, label.encode()[:15])
    return bytes(_FIELDS_AT) + fields.ljust(_PAGE - _FIELDS_AT - len(_MAGIC), b"\0") + _MAGIC
