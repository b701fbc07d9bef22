"""Places on the network that a person asked the recovery drive to remember: a small file beside its images.

Anybody who has the drive can read the file, so it holds a password only where that was asked for by itself.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imaging import address as addresses
from imaging import shares
from imaging.durable import write_file
from imaging.errors import BadImageError, IoError, RescueError, UsageError
from imaging.regular import read_regular

FILE = "rescue-places.json"
"""Its name, in the folder in which the images partition of a recovery drive is mounted."""
_MOST_BYTES = 64 << 10
_MOST = 100
_LONGEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A share, bucket or web server by its address, and who asks there."""

    address: str
    user: str = ""
    domain: str = ""
    password: str = field(default="", repr=False)
    """Empty unless a person wanted it to be kept."""


def read(folder: Path) -> tuple[Remembered, ...]:
    """What is remembered on a drive, in the order in which it came; what cannot be meant is passed over.

    Raises IoError where the file cannot be read.
    """
    path = folder / FILE
    try:
        known: Any = json.loads(read_regular(path, _MOST_BYTES))
        entries = known["places"]
        found = [_place(entry) for entry in entries[:_MOST]] if isinstance(entries, list) else []
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
    except (BadImageError, ValueError, KeyError, TypeError, RecursionError):
        return ()  # it is written anew with the next place
    return tuple(place for place in found if place is not None)


def remember(folder: Path, place: Remembered) -> None:
    """Add a place, or replace the one of that address and user. Raises UsageError, IoError."""
    if _place(asdict(place)) is None:
        raise UsageError(f"{place.address} cannot be remembered", code="bad-address")
    others = [other for other in read(folder) if (other.address, other.user) != (place.address, place.user)]
    if len(others) >= _MOST:
        raise _too_many()
    _write(folder, [*others, place])


def forget(folder: Path, place: Remembered) -> None:
    """Remove a place, where it is remembered. Raises IoError."""
    known = read(folder)
    left = [other for other in known if (other.address, other.user) != (place.address, place.user)]
    if len(left) != len(known):
        _write(folder, left)


def _write(folder: Path, places: Iterable[Remembered]) -> None:
    entries: Sequence[object] = [{key: value for key, value in asdict(place).items() if value} for place in places]
    data = json.dumps({"places": entries}, indent=1, ensure_ascii=False).encode()
    if len(data) > _MOST_BYTES:
        raise _too_many()
    write_file(folder / FILE, data)


def _too_many() -> UsageError:
    return UsageError("no more places can be remembered", code="too-many", hint="have one of them forgotten first")


def _place(entry: Any) -> Remembered | None:
    """A place as it stands in the file; None where it is none."""
    if not isinstance(entry, dict):
        return None
    words = {name: entry.get(name, "") for name in ("address", "user", "domain", "password")}
    if not all(isinstance(word, str) and len(word) <= _LONGEST and word.isprintable() for word in words.values()):
        return None
    try:
        if addresses.is_address(words["address"]):
            addresses.parse(words["address"])
        else:
            shares.parse(words["address"])
    except RescueError:
        return None
    return Remembered(**words)
