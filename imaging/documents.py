"""Documents in TOML that a person writes or reads: what is not known in them is refused, with the key and its line.

Format: TOML 1.0, with `version` at the outermost level.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from imaging.errors import UsageError

_LINE = re.compile(r"\s*(?:\[\[?\s*(?P<table>[^\[\]]+?)\s*\]\]?|(?P<key>[A-Za-z0-9_\"'.-]+)\s*=)")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Generic[T]):
    """What a kind of document has to be.

    `convert` makes the value, by msgspec. `why_not` names a key of that which is wrong (empty for none in particular),
    and what is wrong with it. `bad` makes the error, of where in the document, and what is wrong there, in words.
    """

    version: int
    versions: str
    """Which are read, where it has another than `version`."""
    most: int
    """Bytes that it has at most."""
    convert: Callable[[object], T]
    why_not: Callable[[T], tuple[str, str] | None]
    bad: Callable[[str, str], UsageError]


def parse(data: bytes, name: str, form: Form[T]) -> T:
    """The document as a value; `name` is what messages call it. Raises what the form's `bad` makes."""
    text = ""

    def wrong(what: str, key: str = "") -> UsageError:
        line = line_of(text, key) if key else 0
        return form.bad(f"{name}, line {line}" if line else name, what)

    if len(data) > form.most:
        raise wrong(f"it has more than {form.most} bytes")
    try:
        text = data.decode("utf-8-sig")  # editors on Windows put a mark before it
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong(f"it is not TOML: {_without_values(error)}") from error
    # The version comes first: of another one, the other keys say nothing.
    found = document.get("version")
    if type(found) is not int or found != form.version:
        raise wrong(form.versions, "version")
    try:
        value = form.convert(document)
    except msgspec.ValidationError as error:
        raise wrong(*_told(str(error))) from error
    if refused := form.why_not(value):
        key, what = refused
        raise wrong(what, key)
    return value


def _without_values(error: Exception) -> str:
    """What the parser says, but for the parts of the order that it may repeat: they can hold a password."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    place = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
    what = str(error).partition(" (at ")[0] if place and "'" not in str(error) and '"' not in str(error) else ""
    return " ".join(filter(None, [what or "it is malformed", f"({place[1]})" if place else ""]))


def _told(said: str) -> tuple[str, str]:
    """A complaint of the checker in words, and the key that it is about."""
    place = _PLACE.search(said)
    key, what = (place[1], said[: place.start()]) if place else ("", said)
    unknown = _UNKNOWN.search(what)
    if unknown:
        whole = f"{key}.{unknown[1]}" if key else unknown[1]
        return f"there is no key {whole}", whole
    return (f"{key}: {what}" if key else what), key


def line_of(text: str, key: str) -> int:
    """The line on which a key such as `restore.disk[1].size` stands, or its table begins; 0 where it is not found."""
    found, table, counts = 0, "", dict[str, int]()
    wanted = re.sub(r"\[\.\.\.\]", "[0]", key)
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.match(line)
        if match is None:
            continue
        if match["table"]:
            table = _plain(match["table"])
            if line.lstrip().startswith("[["):
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            here = table
        else:
            here = f"{table}.{_plain(match['key'])}".lstrip(".")
        if here == wanted:
            return number
        # The nearest that is around it, should the key itself be written in another way.
        if wanted.startswith((f"{here}.", f"{here}[")):
            found = number
    return found


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
