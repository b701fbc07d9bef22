"""A copy-on-write view for a file system that is made smaller in it: what is only moved takes next to no memory.

What lies behind the file system's new end has to come to lie before it. Whoever moves it reads a page and writes the
very same page somewhere else, so each page that is read there (of btrfs, which moves whole chunks, anywhere) is
remembered by its BLAKE3, and a page that is written with one of those is kept as the number of the page that it is a
copy of. What else is written stays in memory.
"""

import errno
import os
import threading
from array import array
from enum import IntEnum

from imaging.chunk import Buffer, digest
from imaging.fuse import Reply, VirtualFile
from imaging.overlay import PAGE, most_written

_MOST_KNOWN = 1 << 18
"""Pages that are remembered, the last half of them for certain: writes can come long after the reads, for the kernel
gathers them. 1 GiB of data."""
_WORD = 8
_AS_IT_WAS, _ZEROS, _KEPT = 0, 1, 2
_COPIES = 3
"""What is told of a page: nothing was written there, zeros, what is in memory, or from here on the page it is like."""
_NOTHING = bytes(PAGE)
GROUP = 1 << 16
"""Pages that are told of together, once one of them is written to."""


class Trouble(IntEnum):
    """What became of what was written."""

    NONE = 0
    FULL = 1
    """Something was not kept because it was too much."""
    FAILED = 2
    """Something was not kept for another reason."""


class Relocating:
    """`base` with what was written to it since; safe for several threads."""

    def __init__(
        self, base: VirtualFile, new_size: int, most: int | None = None, moved_from: int | None = None
    ) -> None:
        """Begin with nothing written; `most` bytes of what is no copy can be, by default a part of the free memory.

        What lies from `moved_from` on may be moved, by default what lies behind the new size.
        """
        self._base, self._most = base, most_written() if most is None else most
        self.size = base.size
        self.changes = Changes(self, new_size)
        self._from = (new_size if moved_from is None else moved_from) // PAGE
        self._told: dict[int, array[int]] = {}
        """Of each group of pages that was written to; reading makes none."""
        self.trouble = Trouble.NONE
        """Whether everything that was written was kept."""
        self._lock = threading.Lock()
        self._pages: dict[int, bytearray] = {}
        self._known: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}
        """Pages of the base that may be moved, by their digests: those that were read last, and those before them.

        All of the older ones are forgotten at once: one by one, each would be looked for behind all that are gone.
        """

    @property
    def written(self) -> int:
        """Bytes that are in memory."""
        return len(self._pages) * PAGE

    def read(self, offset: int, size: int) -> Reply:
        """Exactly these bytes, never past the end, in parts; raises what `base` raises."""
        if not size:
            return ()
        first, end = offset // PAGE, offset + size
        with self._lock:
            told = self._told_of(first, -(-end // PAGE))
            kept = {first + i: bytes(self._pages[first + i]) for i, what in enumerate(told) if what == _KEPT}
        parts: list[Buffer] = []
        i = 0
        while i < len(told):
            what, at = told[i], (first + i) * PAGE
            count = self._alike(told, i)
            low, high = max(at, offset), min(at + count * PAGE, end)
            if what == _ZEROS:
                parts.append(bytes(high - low))
            elif what == _KEPT:
                parts.append(kept[first + i][low - at : high - at])
            elif what == _AS_IT_WAS:
                parts.append(self._remembered(low, b"".join(self._base.read(low, high - low))))
            else:
                # What was moved once may be moved again.
                from_ = (what - _COPIES) * PAGE + low - at
                parts.append(self._remembered(from_, b"".join(self._base.read(from_, high - low))))
            i += count
        return parts

    def _told_of(self, first: int, end: int) -> list[int]:
        """What is told of the pages from `first` to `end`."""
        found: list[int] = []
        while first < end:
            group, at = divmod(first, GROUP)
            count = min(GROUP - at, end - first)
            known = self._told.get(group)
            found += [_AS_IT_WAS] * count if known is None else known[at : at + count]
            first += count
        return found

    def _tell(self, number: int, what: int) -> None:
        group, at = divmod(number, GROUP)
        if group not in self._told:
            self._told[group] = array("Q", bytes(GROUP * _WORD))
        self._told[group][at] = what

    def _alike(self, told: list[int], i: int) -> int:
        """How many pages from here on can be had at once."""
        what, count = told[i], 1
        if what == _KEPT:
            return 1
        step = 1 if what >= _COPIES else 0
        while i + count < len(told) and told[i + count] == what + step * count:
            count += 1
        return count

    def _remembered(self, offset: int, data: bytes) -> bytes:
        """Remember the whole pages that may be moved."""
        first = max(-(-offset // PAGE), self._from)
        found = {}
        for number in range(first, (offset + len(data)) // PAGE):
            at = number * PAGE - offset
            found[digest(data[at : at + PAGE])] = number
        if found:
            with self._lock:
                self._known |= found
                if len(self._known) > _MOST_KNOWN // 2:
                    self._known, self._older = {}, self._known
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Keep what is written.

        Raises OSError (ENOSPC) past the end or once too much is kept, and what `base` raises.
        """
        try:
            self._write(offset, data)
        except BaseException:
            # Of an error in what the kernel writes later the tool may never hear.
            self.trouble = self.trouble or Trouble.FAILED
            raise

    def _write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > self.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for number in range(offset // PAGE, -(-end // PAGE)):
            at = number * PAGE
            low, high = max(at, offset), min(at + PAGE, end)
            piece = data[low - offset : high - offset]
            if len(piece) == PAGE:
                self._write_page(number, piece)
            else:
                self._write_part(number, low - at, piece)

    def _write_page(self, number: int, data: bytes) -> None:
        copied = None if data == _NOTHING else self._copied(digest(data))
        with self._lock:
            if data == _NOTHING or copied is not None:
                self._pages.pop(number, None)
                self._tell(number, _ZEROS if copied is None else copied + _COPIES)
            else:
                self._keep(number, bytearray(data))

    def _copied(self, name: bytes) -> int | None:
        with self._lock:
            found = self._known.get(name)
            return self._older.get(name) if found is None else found

    def _write_part(self, number: int, at: int, data: bytes) -> None:
        known = self._page(number)
        with self._lock:
            page = self._pages.get(number) or bytearray(known)
            page[at : at + len(data)] = data
            self._keep(number, page)

    def _page(self, number: int) -> bytes:
        """What a page holds now; zeros follow its end."""
        at = number * PAGE
        return b"".join(self.read(at, min(PAGE, self.size - at))).ljust(PAGE, b"\0")

    def _keep(self, number: int, page: bytearray) -> None:
        if number not in self._pages and self.written >= self._most:
            self.trouble = Trouble.FULL
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._pages[number] = page
        self._tell(number, _KEPT)

    def changed(self, first: int, end: int) -> bytes:
        """For each of these pages a byte that is not zero where it was written to."""
        with self._lock:
            return bytes(what != _AS_IT_WAS for what in self._told_of(first, end))

    def in_groups(self, groups: int) -> bytes:
        """The same for each of the first groups of pages."""
        with self._lock:
            return bytes(group in self._told for group in range(groups))


class Changes:
    """Which pages up to the new end were written to, as a file: a byte for each, zero where nothing was.

    Behind these is a byte for each GROUP of pages, so that not all have to be read, and at last one that is not zero
    where something was not kept because it was too much.
    """

    def __init__(self, view: Relocating, new_size: int) -> None:
        """Take the view, and where the file system is to end."""
        self._view, self.pages = view, -(-new_size // PAGE)
        self.groups = -(-self.pages // GROUP)
        self.size = self.pages + self.groups + 1

    def read(self, offset: int, size: int) -> Reply:
        """As they are now: whoever has read them once may be given the same again."""
        end = min(offset + size, self.pages)
        parts = [self._view.changed(offset, end)] if offset < end else []
        if offset + size > self.pages:
            rest = self._view.in_groups(self.groups) + bytes([self._view.trouble])
            parts.append(rest[max(0, offset - self.pages) : offset + size - self.pages])
        return parts
