"""What is noted of an image beside its manifest, which never changes: another label, notes, a pin, a factory mark, the
last verification.

The file may be missing or damaged: an image is none the worse for it.
"""

import unicodedata
from dataclasses import dataclass, field
from typing import Any

import msgspec
from blake3 import blake3

from imaging.decodable import decodable
from imaging.disk import Size
from imaging.errors import BadImageError, UsageError
from imaging.orders import DiskMatch, Match, why_not_disk

FORMAT = 1
NAME = "notes.json"
"""The file's, beside the manifest."""
MOST_BYTES = 64 << 10
_MOST_PLAIN = 60 << 10
"""Bytes that leave room for the seal of an encrypted library."""
_MOST_LABEL = 200
_MOST_TEXT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How the last verification of the whole image ended; `when` is RFC 3339 in UTC."""

    when: str
    chunks: Size
    """Those that were looked at."""
    bad: Size
    """Those of them that are corrupt or missing."""
    job: str = ""
    deep: bool = False
    problem: str = ""
    """What of the image's own files cannot be used, in words; then no chunk may have been looked at."""

    @property
    def good(self) -> bool:
        """Whether everything was right."""
        return not self.bad and not self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryState:
    """That an image is the state in which a computer leaves the factory, and of which computers."""

    name: str = ""
    """What it is called to a person; empty: as the image."""
    description: str = ""
    edition: str = ""
    match: Match = field(default_factory=Match)
    """The computers that it was made for; all where nothing is given."""
    disk: DiskMatch | None = None
    """Which disk of such a computer it goes to, so that nobody is asked; None where a person says it."""


@decodable
@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is noted of one image."""

    label: str | None = None
    """In place of the label that it was captured with; None where that stands."""
    text: str = ""
    verified: Verification | None = None
    pinned: bool = False
    """Whether it is not to be deleted, by nobody and by no rule."""
    before: str = ""
    """Where it was captured for safety: the image that was restored next, which restoring this one undoes."""
    void: bool = False
    """Whether restoring it undoes nothing: it was not read back yet, or what was restored then was there already."""
    erasing: bool = False
    """Whether its disks began to erase themselves since, and have not got their marks again: they may hold nothing."""
    factory: FactoryState | None = None
    """Where it is a factory image, which is not deleted, either, as long as it is one."""


NOTHING = Notes()


def encode(notes: Notes) -> bytes:
    """Render as JSON: `format`, `notes`, and `digest`, the BLAKE3 of the notes' compact JSON with sorted keys.

    Raises UsageError where they are more than `decode` is given.
    """
    value = msgspec.to_builtins(notes)
    document = {"format": FORMAT, "digest": _digest(value), "notes": value}
    data = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    if len(data) > _MOST_PLAIN:
        raise UsageError(f"the notes of an image have at most {_MOST_PLAIN} bytes", code="too-long")
    return data


def decode(data: bytes, name: str) -> Notes:
    """Parse notes; `name` is the file's, for the message.

    Raises BadImageError where they are cut short, damaged, or (`unknown-version`) of a newer program.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: {what}", code="bad-notes")

    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad(f"the notes are cut short or damaged: {error}") from error
    if not isinstance(document, dict) or "format" not in document:
        raise bad("these are not an image's notes")
    if document["format"] != FORMAT:
        raise BadImageError(
            f"{name}: format version {document['format']} is not known to this program (it reads {FORMAT})",
            code="unknown-version",
            hint="use a newer version of Rescue",
        )
    if document.get("digest") != _digest(document.get("notes")):
        raise bad("the notes are damaged: their digest does not match")
    try:
        noted = msgspec.convert(document.get("notes"), Notes)
        _refuse_odd(noted.factory)
    except (msgspec.ValidationError, ValueError) as error:
        raise bad(f"the notes are not valid: {error}") from error
    return noted


def _refuse_odd(state: FactoryState | None) -> None:
    """Raise ValueError where the rule for the disk is none that this computer's own disks could meet."""
    if state is not None and state.disk is not None:
        if state.disk.file or state.disk.source:
            raise ValueError("a factory image goes to a disk of a computer, not to a file")
        if why := why_not_disk(state.disk, is_restore=False):
            raise ValueError(why)


def label(words: str) -> str:
    """A label as it is kept; raises UsageError where it is too long or more than a line."""
    return _line(words, _MOST_LABEL, "label")


def text(words: str) -> str:
    """Notes as they are kept; raises UsageError where they are too long or more than a line."""
    return _line(words, _MOST_TEXT, "note")


def factory_state(
    name: str = "", description: str = "", edition: str = "", match: Match | None = None, disk: DiskMatch | None = None
) -> FactoryState:
    """A factory mark as it is kept; raises UsageError where a text of it is too long or no line, or a rule is none."""
    why = why_not_disk(disk, is_restore=True) if disk is not None else ""
    if why:
        raise UsageError(why, code="usage")
    for rule in filter(None, (match, disk)):
        try:
            msgspec.convert(msgspec.to_builtins(rule), type(rule))
        except msgspec.ValidationError as error:
            raise UsageError("each word of a factory image's rule has 1 to 200 characters", code="usage") from error
    return FactoryState(
        name=_line(name, _MOST_LABEL, "name"),
        description=_line(description, _MOST_TEXT, "description"),
        edition=_line(edition, _MOST_LABEL, "edition"),
        match=match or Match(),
        disk=disk,
    )


def _line(words: str, most: int, what: str) -> str:
    words = words.strip()
    if len(words) > most:
        raise UsageError(f"a {what} has at most {most} characters, this one has {len(words)}", code="too-long")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in words):
        raise UsageError(f"a {what} is one line of text, without control characters", code="bad-text")
    return words


def _digest(value: object) -> str:
    return blake3(msgspec.json.encode(value, order="sorted")).hexdigest()
