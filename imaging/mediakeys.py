"""The list of trusted keys in the system part of a recovery medium (imaging.trust reads it where that has started).

Every build has room for it: `rescue/trusted-keys.pem`, a file of blank lines. When a medium is made, its list is
written over them, and the new digest of that over the old one in `rescue/SHA256SUMS`. Both files keep their length and
place: nothing else of the system changes, and whatever compares a medium with its digests covers the list.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging import iso
from imaging.bounded import Bounded
from imaging.durable import reading
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.iso import IsoFile
from imaging.medium import SUMS, system_files
from imaging.signingkeys import MOST_LIST, PublicKey, parse_list, render_list

PLACE = "rescue/trusted-keys.pem"
_MOST_SUMS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Bytes that differ from those of the system that is copied, at an offset of the medium."""

    at: int
    data: bytes


def keys_on(volume: Bounded, path: str) -> tuple[PublicKey, ...]:
    """The keys that a medium, or an image file, trusts; `path` is for words.

    Raises BadImageError where its list is damaged, IoError (code "bad-map") where its ISO makes no sense.
    """
    image, files = system_files(volume)
    if PLACE not in files:
        return ()
    return parse_list(iso.read_file(image, files[PLACE], MOST_LIST), f"{path}, {PLACE}")


def keys_beneath(folder: Path) -> tuple[PublicKey, ...]:
    """The keys that a system trusts whose files lie beneath a folder. Raises BadImageError, IoError."""
    place = folder / PLACE
    with reading(place):
        return parse_list(place.read_bytes()[: MOST_LIST + 1], str(place)) if place.is_file() else ()


def patches(volume: Bounded, path: str, keys: Sequence[PublicKey]) -> tuple[Patch, ...]:
    """What makes a copy of the system on a medium trust these keys, and no others.

    Raises RefusedError where the system has no room for them, BadImageError where it is damaged.
    """
    image, files = system_files(volume)
    if PLACE not in files:
        if not keys:
            return ()
        raise RefusedError(
            f"the recovery system of {path} has no place for trusted keys: it is of an earlier version",
            code="no-place-for-keys",
            hint="give a newer one with --system",
        )
    before = iso.read_file(image, files[SUMS], _MOST_SUMS) if SUMS in files else b""
    changed = changed_files({SUMS: before, PLACE: bytes(files[PLACE].size)}, keys)
    return tuple(patch for name, data in changed.items() for patch in _placed(files[name], data))


def changed_files(files: Mapping[str, bytes], keys: Sequence[PublicKey]) -> dict[str, bytes]:
    """The list and the digests of a system, as they are with these keys; of the list that is there its length counts.

    Raises RefusedError where there is no room, BadImageError where the digests name no list.
    """
    room, sums = len(files[PLACE]), files[SUMS]
    data = render_list(keys)
    if len(data) > room:
        raise RefusedError(f"{len(keys)} trusted keys have no room on a medium", code="full", hint="give fewer")
    data = data.ljust(room, b"\n")
    line = re.compile(rb"^[0-9a-f]{64}(?=  " + re.escape(PLACE.encode()) + rb"$)", re.MULTILINE)
    new, count = line.subn(hashlib.sha256(data).hexdigest().encode(), sums)
    if count != 1:
        raise BadImageError(f"{SUMS} of the recovery system does not name {PLACE}", code="damaged-medium")
    return {PLACE: data, SUMS: new}


def _placed(file: IsoFile, data: bytes) -> Iterator[Patch]:
    done = 0
    for at, size in file.extents:
        yield Patch(at=at, data=data[done : done + size])
        done += size


def applied(found: Iterable[Patch], at: int, data: bytes) -> bytes:
    """The bytes of a system from an offset on, with the patches that fall into them."""
    patched = bytearray(data)
    for patch in found:
        low, high = max(at, patch.at), min(at + len(data), patch.at + len(patch.data))
        if low < high:
            patched[low - at : high - at] = patch.data[low - patch.at : high - patch.at]
    return bytes(patched)


def keys_or_none(volume: Bounded, path: str) -> tuple[PublicKey, ...] | None:
    """As `keys_on`; None where the medium is so damaged, or so far from whole, that nobody can tell."""
    try:
        return keys_on(volume, path)
    except IoError as error:
        if error.code != "bad-map":
            raise
        return None
