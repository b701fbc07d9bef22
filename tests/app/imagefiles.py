"""The files of an image that exists only in memory."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imaging.errors import CancelledError, IoError, RescueError
from imaging.fileview import Hit, Hits, Order, Page, Tally, Where, counted
from imaging.tree import Entry, EntryKind

WHEN = datetime(2026, 11, 20, 10, 15, tzinfo=UTC).timestamp()


def a_file(name: str | bytes, size: int = 1000, *, days: int = 0) -> Entry:
    """A file that was changed that many days before the image was made."""
    return Entry(name=os.fsencode(name), kind=EntryKind.FILE, size=size, mode=0o644, modified=WHEN - days * 86400)


def a_folder(name: str | bytes) -> Entry:
    """A folder."""
    return Entry(name=os.fsencode(name), kind=EntryKind.FOLDER, mode=0o755, user=1000, group=1000, modified=WHEN)


def a_link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name=name.encode(), kind=EntryKind.LINK, mode=0o777, modified=WHEN, target=target.encode())


HOME: Mapping[Where, Sequence[Entry]] = {
    (): [a_folder("etc"), a_folder("home"), a_file("vmlinuz", 8_500_000)],
    (b"etc",): [a_file("fstab", 800), a_link("mtab", "/proc/self/mounts"), a_file("passwd", 2_100, days=30)],
    (b"home",): [a_folder("anna")],
    (b"home", b"anna"): [
        a_folder("Letters"),
        a_file("accounts 2026.ods", 248_000, days=2),
        a_file("big.iso", 5_000_000_000),
        a_link("latest", "Letters/bank.odt"),
        Entry(name=b"mail", kind=EntryKind.OTHER, mode=0o600, modified=WHEN),
    ],
    (b"home", b"anna", b"Letters"): [a_file("bank.odt", 31_000), a_file("Q: 1?.txt", 12)],
}
"""A small system with one person's files."""


@dataclass
class FakeFiles:
    """What is in the volume, by folder; what is asked of it is noted in `calls`."""

    tree: Mapping[Where, Sequence[Entry]] = field(default_factory=lambda: HOME)
    broken: Mapping[Where, RescueError] = field(default_factory=dict)
    """Folders that cannot be read, and why."""
    calls: list[str] = field(default_factory=list)
    going: threading.Event | None = None
    """Where a test sets it, searches and counts wait for it, or for their cancellation."""
    closed: bool = False
    sorted: dict[tuple[Where, Order], list[Entry]] = field(default_factory=dict)
    """Folders as they were shown before."""

    def page(self, path: Sequence[bytes], order: Order, start: int, count: int, at: bytes = b"") -> Page:
        """In the order that is asked for."""
        self.calls.append(f"page {b'/'.join(path).decode(errors='replace')} {order} {start} {count}")
        if self.closed:
            raise IoError("it is closed")
        if tuple(path) in self.broken:
            raise self.broken[tuple(path)]
        keys: dict[Order, Callable[[Entry], tuple[bool, Any]]] = {
            Order.NAME: lambda one: (one.kind is not EntryKind.FOLDER, one.text.casefold()),
            Order.SIZE: lambda one: (one.kind is not EntryKind.FOLDER, -one.size),
            Order.DATE: lambda one: (one.kind is not EntryKind.FOLDER, -one.modified),
        }
        if (tuple(path), order) not in self.sorted:
            self.sorted[tuple(path), order] = sorted(self.tree[tuple(path)], key=keys[order])
        entries = self.sorted[tuple(path), order]
        names = [one.name for one in entries]
        if at in names:
            start = names.index(at) // count * count
        return Page(id=1, start=start, total=len(entries), entries=tuple(entries[start : start + count]))

    def search(self, words: str, found: Callable[[Hits], None], cancel: threading.Event) -> None:
        """One answer for each folder."""
        self.calls.append(f"search {words}")
        seen = 0
        for where, entries in self.tree.items():
            seen += len(entries)
            hits = [Hit(where=where, entry=one) for one in entries if words.casefold() in one.text.casefold()]
            found(Hits(id=1, hits=tuple(hits), seen=seen))
            self._wait(cancel)
        found(Hits(id=1, hits=(), seen=seen, ended=True))

    def tally(self, path: Sequence[bytes], cancel: threading.Event) -> Tally:
        """What is there."""
        self.calls.append(f"tally {b'/'.join(path).decode(errors='replace')}")
        self._wait(cancel)
        if tuple(path) in self.broken:
            raise self.broken[tuple(path)]
        below = [one for where, entries in self.tree.items() if where[: len(path)] == tuple(path) for one in entries]
        return sum((counted(one) for one in below), Tally(folders=1))

    def _wait(self, cancel: threading.Event) -> None:
        while self.going is not None and not self.going.wait(0.01):
            if cancel.is_set():
                self.calls.append("cancelled")
                raise CancelledError("cancelled")

    def close(self) -> None:
        """Nothing is asked after that."""
        self.closed = True
