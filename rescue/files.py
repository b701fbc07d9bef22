"""Files of an image in a person's words: lines of a folder, what is marked, what comes of it where it is copied to."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from imaging.fileplan import Loss, Place, losses
from imaging.fileview import Tally, Where, counted
from imaging.imagevolumes import OpenVolume
from imaging.tree import Entry, EntryKind
from rescue.contents import content_words
from rescue.formats import cells, clean, format_count, format_size, joined, padded, shortened
from rescue.language import N_, _, ngettext
from rescue.telling import told

BOX, SIZE, DATE = 4, 8, 16
"""Columns of a line beside the name."""
_TYPES = {EntryKind.FOLDER: stat.S_IFDIR, EntryKind.FILE: stat.S_IFREG, EntryKind.LINK: stat.S_IFLNK}
WORDS_FOR_LOSSES = {
    Loss.OWNERS: N_("owners and rights"),
    Loss.LINKS: N_("symbolic links: {count}"),
    Loss.LARGE: N_("files that are too large for it: {count}"),
    Loss.NAMES: N_("names that it forbids, and that are changed: {count}"),
}


class Marks:
    """What is marked to be copied: files, and folders with all that is in them."""

    def __init__(self) -> None:
        self.tallies: dict[Where, Tally | None] = {}
        """How much each is, by its path; None while that is counted."""
        self.watchers: list[Callable[[], None]] = []
        """Called when marks or figures have changed."""

    def __contains__(self, path: Where) -> bool:
        """Whether it is copied: marked itself, or in a folder that is."""
        return any(path[:length] in self.tallies for length in range(1, len(path) + 1))

    @property
    def paths(self) -> list[Where]:
        """What is marked, in a person's order."""
        return sorted(self.tallies, key=lambda path: [os.fsdecode(name).casefold() for name in path])

    @property
    def total(self) -> Tally | None:
        """All together; None while something is counted."""
        known = [tally for tally in self.tallies.values() if tally is not None]
        return sum(known, Tally()) if len(known) == len(self.tallies) else None

    def toggle(self, path: Where, entry: Entry) -> bool:
        """Mark it, or take its mark away; False where a folder above it is marked.

        A folder's marks below it are gone with that: they are in it.
        """
        if path in self.tallies:
            del self.tallies[path]
        elif path in self:
            return False
        else:
            self.tallies = {there: tally for there, tally in self.tallies.items() if there[: len(path)] != path}
            self.tallies[path] = None if entry.kind is EntryKind.FOLDER else counted(entry)
        self.tell()
        return True

    def count(self, path: Where, tally: Tally) -> None:
        """How much a folder is, if it is still marked."""
        if path in self.tallies:
            self.tallies[path] = tally
            self.tell()

    def tell(self) -> None:
        """Tell those who watch."""
        for watcher in list(self.watchers):
            watcher()


def path_words(path: Sequence[bytes]) -> str:
    """`/home/me`, safe to print."""
    return "/" + "/".join(clean(os.fsdecode(name)) for name in path)


def ending(text: str, width: int) -> str:
    """The end of a text that is too wide: of a path, that tells more than its beginning."""
    if cells(text) <= width:
        return text
    while cells(text) > width - 2:
        text = text[1:]
    return f"..{text}"


def name_words(entry: Entry) -> str:
    """A name with what kind of thing it is, safe to print."""
    name = clean(entry.text)
    if entry.problem:
        return _("{name} (cannot be read)").format(name=name)
    match entry.kind:
        case EntryKind.FOLDER:
            return f"{name}/"
        case EntryKind.LINK:
            return f"{name} -> {clean(os.fsdecode(entry.target))}"
        case _:
            return name


def when_words(entry: Entry) -> str:
    """When it was changed last, in UTC; empty for times that no calendar has."""
    try:
        return datetime.fromtimestamp(entry.modified, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""


def row(box: str, name: str, size: str, when: str, width: int) -> str:
    """One line of a folder."""
    room = max(10, width - BOX - SIZE - DATE - 7)
    return f"{box:<{BOX}}{padded(shortened(name, room), room)}  {size:>{SIZE}}  {when:<{DATE}}".rstrip()


def entry_row(entry: Entry, *, marked: bool, width: int, name: str = "") -> str:
    """An entry with its box; `name` where it is told by another than its own."""
    size = format_size(entry.size) if entry.kind is EntryKind.FILE and not entry.problem else ""
    when = "" if entry.problem else when_words(entry)
    return row("[x]" if marked else "[ ]", name or name_words(entry), size, when, width)


def detail_lines(path: Sequence[bytes], entry: Entry) -> list[str]:
    """All that is known of an entry."""
    lines = [path_words(path), ""]
    if entry.problem:
        return [*lines, _("It cannot be read: {why}").format(why=clean(told(entry.problem)))]
    if entry.kind is EntryKind.FILE:
        lines.append(_("Size: {size}, {count} bytes").format(size=format_size(entry.size), count=f"{entry.size:,}"))
    if entry.kind is EntryKind.LINK:
        lines.append(_("A link to: {target}").format(target=clean(os.fsdecode(entry.target))))
    if entry.kind is EntryKind.OTHER:
        lines.append(_("A device, a pipe or a socket: it cannot be copied."))
    lines.append(_("Changed: {when} UTC").format(when=when_words(entry) or "?"))
    mode = stat.filemode(_TYPES.get(entry.kind, 0) | entry.mode)
    lines.append(_("Owner and rights: {user}:{group}, {mode}").format(user=entry.user, group=entry.group, mode=mode))
    return lines


def volume_line(volume: OpenVolume) -> str:
    """What stands on a volume of an image: its system before its file system."""
    what = joined(clean(volume.system), content_words(volume.content), by=", ") or _("unknown content")
    return joined(clean(volume.name), format_size(volume.size), what)


def tally_words(tally: Tally) -> str:
    """`3 files in 2 folders, 12.3 MB`."""
    files = ngettext("{count} file", "{count} files", tally.files).format(count=format_count(tally.files))
    folders = ngettext("{count} folder", "{count} folders", tally.folders).format(count=format_count(tally.folders))
    links = ngettext("{count} link", "{count} links", tally.links).format(count=format_count(tally.links))
    return joined(
        files, folders if tally.folders else "", links if tally.links else "", format_size(tally.bytes), by=", "
    )


def marked_words(marks: Marks) -> str:
    """What is marked, on one line."""
    if not marks.tallies:
        return _("Nothing is marked. The space bar marks what is to be copied.")
    total = marks.total
    if total is None:
        count = len(marks.tallies)
        words = ngettext("Marked: {count} entry, counting ..", "Marked: {count} entries, counting ..", count)
        return words.format(count=format_count(count))
    return _("Marked: {what}").format(what=tally_words(total))


def place_words(place: Place) -> str:
    """The room at a place, and its file system."""
    free = "" if place.free is None else _("{size} free").format(size=format_size(place.free))
    return joined(free, clean(place.kind), by=", ")


def amount_lines(total: Tally | None, place: Place) -> list[str]:
    """How much is copied, what room there is, and what the file system there cannot keep."""
    lines = []
    if total is None:
        lines.append(_("HOW MUCH: counting .."))
    else:
        lines.append(_("HOW MUCH: {what}").format(what=tally_words(total)))
    if place.free is not None:
        lines.append(_("ROOM there: {size}").format(size=format_size(place.free)))
    if total is None:
        return lines
    if place.free is not None and total.bytes > place.free:
        lines.append(_("WARNING: there is not enough room for all of it."))
    return [*lines, *_lost(total), *_loss_lines(losses(place.kind, total), total, place)]


def _lost(total: Tally) -> Iterable[str]:
    if total.lost:
        words = _("WARNING: what cannot be read, and so cannot be copied: {count}")
        yield words.format(count=format_count(total.lost))
    if total.others:
        words = _("NOT COPIED: devices, pipes and sockets: {count}")
        yield words.format(count=format_count(total.others))


def _loss_lines(found: frozenset[Loss] | None, total: Tally, place: Place) -> list[str]:
    kind = clean(place.kind) or _("the file system there")
    if found is None:
        return [_("What {kind} cannot keep is told when it is written to.").format(kind=kind)]
    if not found:
        return []
    counts = {Loss.LINKS: total.links, Loss.LARGE: total.large, Loss.NAMES: total.odd}
    lines = [_("NOT KEPT by {kind}:").format(kind=kind)]
    for loss in Loss:
        if loss in found:
            lines.append("    " + _(WORDS_FOR_LOSSES[loss]).format(count=format_count(counts.get(loss, 0))))
    return lines
