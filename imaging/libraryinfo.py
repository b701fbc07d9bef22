"""`library.json`: what kind of library this is, and what a program has to know to read it.

A library may require features: each changes how its files are to be read or written, so a program that does not know
one of them refuses the library. One without features looks as it did before there were any.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from imaging import __version__, keyslots
from imaging.decodable import decodable
from imaging.disk import Size
from imaging.errors import BadImageError
from imaging.keyslots import KeySlots

FORMAT = 1
ENCRYPTION = "encryption"
KNOWN: Mapping[str, str] = MappingProxyType({ENCRYPTION: "0.1.0"})
"""The features that this program knows, each with the first version that does: what it means begins in
imaging.library.Library.open."""

_DIGESTS = ("sha512-256",)
_FEATURE = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,3}")
_MOST_FEATURES = 32
_ALWAYS = ("format", "id", "digest", "chunk_size")


@decodable
@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryInfo:
    """What stands in `library.json`."""

    format: Size
    id: str
    digest: str
    chunk_size: Size
    features: tuple[str, ...] = ()
    """What a program must know to read the library, or to write to it; not written where there are none."""
    needs: str = ""
    """The first version of Rescue that knows all of them."""
    encryption: KeySlots | None = None
    """Who can open it, where it is encrypted."""


def needed(features: Sequence[str]) -> str:
    """The first version that knows all of these features; empty where there are none."""
    return max((KNOWN[feature] for feature in features), key=_numbers, default="")


def encode(info: LibraryInfo) -> bytes:
    """Render as JSON: the first four keys always, any other where it says something."""
    value = {name: part for name, part in msgspec.to_builtins(info).items() if name in _ALWAYS or part}
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def decode(data: bytes, name: str, where: str) -> LibraryInfo:
    """Parse `library.json`; for messages, `name` is the file's and `where` the library's.

    Raises BadImageError where it is damaged (`not-a-library`), of another format (`unknown-version`), or requires a
    feature that this program does not know (`unknown-feature`).
    """
    try:
        document: Any = msgspec.json.decode(data)
        if isinstance(document, dict):
            _refuse_unknown(document, where)
        info = msgspec.convert(document, LibraryInfo)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadImageError(f"{name} is damaged: {error}", code="not-a-library") from error
    if (ENCRYPTION in info.features) != (info.encryption is not None):
        raise BadImageError(f"{name} is damaged: it says half of what an encrypted library needs", code="not-a-library")
    if info.encryption is not None:
        keyslots.refuse_unless_bounded(info.encryption, name)
    if info.digest not in _DIGESTS:
        raise BadImageError(
            f"{where}: chunks named by {info.digest} are not known to this program", code="unknown-version"
        )
    return info


def _refuse_unknown(document: dict[str, Any], where: str) -> None:
    """Before anything else is read: what an unknown format or feature has made of the rest nobody knows."""
    if document.get("format") != FORMAT:
        raise BadImageError(
            f"{where}: library format version {document.get('format')} is not known to this program "
            f"(it reads {FORMAT})",
            code="unknown-version",
            hint="use a newer version of Rescue",
        )
    features = document.get("features", [])
    if not isinstance(features, list) or len(features) > _MOST_FEATURES or not all(map(_is_feature, features)):
        raise BadImageError(f"{where}: its list of required features is damaged", code="not-a-library")
    unknown = [feature for feature in features if feature not in KNOWN]
    if unknown:
        needs = document.get("needs")
        known = isinstance(needs, str) and _VERSION.fullmatch(needs) and _numbers(needs) > _numbers(__version__)
        raise BadImageError(
            f"{where}: the library requires {', '.join(unknown)}, which this program, Rescue {__version__}, "
            "does not know",
            code="unknown-feature",
            hint=f"use Rescue {needs} or a newer version" if known else "use a newer version of Rescue",
        )


def _is_feature(word: object) -> bool:
    return isinstance(word, str) and _FEATURE.fullmatch(word) is not None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
