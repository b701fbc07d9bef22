"""The firmware's boot entries through efibootmgr: one is added, first or behind all others, and taken away again.

Source: efibootmgr(8); its output is read as versions 17 and 18 print it.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import IoError
from imaging.run import find_tool, run

_TIMEOUT = 60.0
_VARIABLES = Path("/sys/firmware/efi/efivars")
_BITS = Path("/sys/firmware/efi/fw_platform_size")
_ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})(\*?) (.*?)(?:\t(.*))?$")
_PARTITION = re.compile(r"HD\(\d+,GPT,([0-9a-fA-F-]{36}),", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One boot entry; `partition` is the GUID of the partition that it boots from, in lower case, empty where none."""

    number: str
    label: str
    partition: str
    path: str
    """All that efibootmgr says of the device and the file."""
    active: bool = True
    """Whether the firmware tries it by itself."""

    def starts(self, loader: str, partition: str) -> bool:
        """Whether it starts this boot loader from this partition."""
        return self.partition == partition.lower() and loader.lower() in self.path.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What the firmware has, in which order it tries them, and by which this computer was started."""

    entries: tuple[Entry, ...]
    order: tuple[str, ...]
    current: str = ""

    @property
    def tried(self) -> tuple[Entry, ...]:
        """Those that the firmware tries by itself: active ones, in the order, or all of them where there is none."""
        return tuple(one for one in self.entries if one.active and (not self.order or one.number in self.order))


def can_be_changed() -> bool:
    """Whether this computer was started by UEFI of 64 bits, as the boot loader is, and its entries can be reached."""
    try:
        return _BITS.read_text().strip() == "64" and any(_VARIABLES.iterdir()) and find_tool("efibootmgr") is not None
    except OSError:
        return False


def parse(output: str) -> Entries:
    """Parse what `efibootmgr --verbose` prints."""
    entries: list[Entry] = []
    order: tuple[str, ...] = ()
    current = ""
    for line in output.splitlines():
        if line.startswith("BootCurrent:"):
            current = line.partition(":")[2].strip().upper()
        if line.startswith("BootOrder:"):
            order = tuple(word.strip().upper() for word in line.partition(":")[2].split(",") if word.strip())
        found = _ENTRY.match(line)
        if found:
            path = found[4] or ""
            place = _PARTITION.search(path)
            guid = place[1].lower() if place else ""
            number, active = found[1].upper(), bool(found[2])
            entries.append(Entry(number=number, label=found[3].strip(), partition=guid, path=path, active=active))
    return Entries(entries=tuple(entries), order=order, current=current)


def read() -> Entries:
    """The present entries; raises IoError."""
    return parse(run(["efibootmgr", "--verbose"], timeout=_TIMEOUT).stdout)


def add(*, disk: str, number: int, partition: str, label: str, loader: str, first: bool = False) -> str:
    """Add an entry for a loader on partition `number` of `disk`, whose GUID is `partition`, behind all others.

    With `first` it comes before them, but for the one that this computer was started by, where that is the first: who
    has it start from the network or a stick goes on to. Returns its number; where there is such an entry already, that
    one's, which then keeps its place. Raises IoError, and takes a new entry away again where its order is refused.
    """
    before = read()
    known = next((entry for entry in before.entries if entry.starts(loader, partition)), None)
    made = known is None
    if known is None:
        words = ["--create-only", "--disk", disk, "--part", str(number), "--label", label, "--loader", loader]
        run(["efibootmgr", *words], timeout=_TIMEOUT)
        known = next((entry for entry in read().entries if entry.starts(loader, partition)), None)
        if known is None:
            raise IoError(
                "the firmware did not keep the boot entry",
                code="no-boot-entry",
                hint="its memory for boot entries may be full: delete some in its settings",
            )
    try:
        if not known.active:
            run(["efibootmgr", "--bootnum", known.number, "--active"], timeout=_TIMEOUT)
        order = _ordered(before, known.number, first=first)
        if order != before.order:
            run(["efibootmgr", "--bootorder", ",".join(order)], timeout=_TIMEOUT)
    except IoError:
        if made:
            with suppress(IoError):
                run(["efibootmgr", "--bootnum", known.number, "--delete-bootnum"], timeout=_TIMEOUT)
        raise
    return known.number


def _ordered(before: Entries, number: str, *, first: bool) -> tuple[str, ...]:
    """The order with an entry in its place. A firmware without one gets all of its entries, as they are numbered.

    Numbers that no entry has are left out: efibootmgr takes none, and some firmware leaves them there.
    """
    there = {entry.number for entry in before.entries}
    if number in before.order and number in there:
        return before.order
    others = [one for one in before.order or sorted(there) if one in there and one != number]
    at = len(others) if not first else int(others[:1] == [before.current])
    return (*others[:at], number, *others[at:])


def remove(*, partition: str, loader: str) -> Sequence[str]:
    """Take away the entries that start a loader from a partition; returns their numbers. Raises IoError."""
    numbers = [entry.number for entry in read().entries if entry.starts(loader, partition)]
    for number in numbers:
        # It goes from the order, too: efibootmgr(8), --delete-bootnum.
        run(["efibootmgr", "--bootnum", number, "--delete-bootnum"], timeout=_TIMEOUT)
    return numbers
