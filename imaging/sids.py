"""Security descriptors of Windows: whose account they name, and another one named in its place. Pure.

Source: Microsoft's [MS-DTYP], 2.4.2 (SID), 2.4.4 (ACE), 2.4.5 (ACL) and 2.4.6 (SECURITY_DESCRIPTOR), self-relative.
"""

import struct
from collections.abc import Iterator, Mapping

_HEADER = struct.Struct("<BBHIIII")
_ALLOWED = 0x00
_PLAIN = (0x00, 0x01, 0x02, 0x03, 0x09, 0x0A, 0x0D, 0x0E)
"""Kinds of entries in which a SID follows the mask; those with GUIDs in them occur in directory services alone."""
_ACCOUNTS = ((5, 21, 5), (12, 1, 5))
"""The SIDs of accounts: their authority, first number, and how many numbers they have. Local ones and a domain's, and
those of Microsoft's cloud directory."""


def account(descriptor: bytes) -> bytes | None:
    """The SID of the one account that a profile's descriptor lets in; None where there is none, or several."""
    found = {
        descriptor[at : at + size]
        for at, size, kind in _named(descriptor)
        if kind == _ALLOWED and _is_account(descriptor[at : at + size])
    }
    return found.pop() if len(found) == 1 else None


def mapped(descriptor: bytes, sids: Mapping[bytes, bytes]) -> bytes:
    """The descriptor with each SID in `sids` replaced, wherever it is named; one of another length stays."""
    found = bytearray(descriptor)
    for at, size, _ in _named(descriptor):
        new = sids.get(descriptor[at : at + size], b"")
        if len(new) == size:
            found[at : at + size] = new
    return bytes(found)


def _named(descriptor: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each SID lies, its length in bytes, and its entry's kind (-1: owner, group). What is damaged names none."""
    if len(descriptor) < _HEADER.size:
        return
    _, _, _, owner, group, audits, rights = _HEADER.unpack_from(descriptor)
    for at in (owner, group):
        if at and (size := _length(descriptor, at)):
            yield at, size, -1
    for at in (audits, rights):
        if at:
            yield from _entries(descriptor, at)


def _entries(descriptor: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    if at + 8 > len(descriptor):
        return
    _, _, _, count = struct.unpack_from("<BBHH", descriptor, at)
    at += 8
    for _ in range(count):
        if at + 8 > len(descriptor):
            return
        kind, _, size = struct.unpack_from("<BBH", descriptor, at)
        if kind in _PLAIN and (length := _length(descriptor, at + 8)) and 8 + length <= size:
            yield at + 8, length, kind
        if size < 8:
            return
        at += size


def _length(descriptor: bytes, at: int) -> int:
    """Of the SID there; 0 where there is none."""
    if at + 8 > len(descriptor) or descriptor[at] != 1:
        return 0
    size = 8 + 4 * descriptor[at + 1]
    return size if at + size <= len(descriptor) else 0


def _is_account(sid: bytes) -> bool:
    if len(sid) < 12:
        return False
    return (int.from_bytes(sid[2:8], "big"), int.from_bytes(sid[8:12], "little"), sid[1]) in _ACCOUNTS
