"""What a library is, and what was found when it was gone through, in words: for the command line."""

from collections.abc import Sequence
from pathlib import Path

from imaging.backlog import unverified
from imaging.disk import format_size
from imaging.library import Listing
from imaging.libraryinfo import LibraryInfo
from imaging.manifest import Image
from imaging.structure import Examined, Stock
from rescue.care import INDENT
from rescue.encryption_words import slot_lines
from rescue.formats import clean, format_count, format_when, joined, quoted
from rescue.language import _, ngettext
from rescue.telling import told

_WIDTH = 14


def _fact(caption: str, words: str) -> str:
    return f"{INDENT}{caption:<{_WIDTH}}{words}"


def info_lines(where: str, info: LibraryInfo, listing: Listing, stock: Stock | None, room: int | None) -> list[str]:
    """What a library is and holds."""
    lines = [
        _("Library {path}").format(path=clean(where)),
        _fact(_("Id"), clean(info.id)),
        _fact(_("Format"), str(info.format)),
        _fact(_("Requires"), ", ".join(info.features) or _("nothing beyond that format")),
        *_encrypted_lines(info),
        _fact(_("Images"), format_count(len(listing.images))),
    ]
    if listing.damaged:
        lines.append(_fact(_("Damaged"), format_count(len(listing.damaged))))
    lines.append(_fact(_("Not verified"), _unverified_words(unverified(listing))))
    lines.append(
        _fact(_("Chunks"), _("not known: the web server does not list them") if stock is None else held(stock))
    )
    if room is not None:
        lines.append(_fact(_("Free"), format_size(room)))
    return lines


def _encrypted_lines(info: LibraryInfo) -> list[str]:
    """What opens a library, where it is encrypted."""
    if info.encryption is None:
        return []
    first, *others = slot_lines(info.encryption)
    return [_fact(_("Opened by"), first), *(_fact("", words) for words in others)]


def held(stock: Stock) -> str:
    """Chunks and what they take."""
    return joined(format_count(stock.chunks), format_size(stock.bytes), by=", ")


def _unverified_words(images: Sequence[Image]) -> str:
    if not images:
        return format_count(0)
    oldest = images[0]
    name = joined(clean(oldest.id), quoted(oldest.label), by=" ")
    words = _("{count}, the oldest of them {name} of {when} UTC")
    return words.format(count=format_count(len(images)), name=name, when=format_when(oldest.created))


def check_lines(path: Path | str, found: Examined) -> list[str]:
    """What was found when a library was gone through."""
    lines = [_("Library {path}").format(path=clean(str(path)))]
    words = ngettext("{count} image names {chunks} chunks", "{count} images name {chunks} chunks", found.images)
    lines.append(INDENT + words.format(count=format_count(found.images), chunks=format_count(found.named)))
    if found.stock is not None:
        lines.append(INDENT + _("in the store: {stock}").format(stock=held(found.stock)))
    lines += [*_finding_lines(found), *_left_lines(found)]
    for words in found.ignored:
        lines.append(INDENT + _("notes are ignored: {problem}").format(problem=clean(told(words))))
    if found.whole:
        lines.append(_("Everything that the images need is there, by name and size."))
    else:
        lines.append(_("The library is damaged."))
    lines.append(_("What is in the chunks was not read: `rescue verify` does that."))
    return lines


def _finding_lines(found: Examined) -> list[str]:
    lines = []
    for one in found.findings:
        image = _("image {id}").format(id=clean(one.image)) if one.image else ""
        lines.append(INDENT + joined(_("DAMAGED"), joined(image, clean(told(one.message)), by=": "), by=" "))
    lines += [2 * INDENT + name for name in found.bad[:8]]
    if found.bad_count > 8:
        lines.append(2 * INDENT + _("and {count} more").format(count=format_count(found.bad_count - 8)))
    return lines


def _left_lines(found: Examined) -> list[str]:
    lines = []
    if found.orphans is not None and found.orphans.chunks:
        words = _("no image needs {stock}: `rescue prune` frees what is old enough")
        lines.append(INDENT + words.format(stock=held(found.orphans)))
    if found.leftovers:
        words = ngettext(
            "left by what was cut off: {count} file or folder",
            "left by what was cut off: {count} files or folders",
            len(found.leftovers),
        )
        lines.append(INDENT + words.format(count=format_count(len(found.leftovers))))
        lines += [2 * INDENT + clean(path) for path in found.leftovers[:8]]
        if len(found.leftovers) > 8:
            lines.append(2 * INDENT + _("and {count} more").format(count=format_count(len(found.leftovers) - 8)))
    return lines
