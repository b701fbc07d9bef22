"""Whether a computer can start from a disk: what its firmware would load is looked up, piece by piece; read-only.

Nothing is written, and nothing is mounted where another process sees it, or through a way that writes. What cannot be
looked into (encrypted, in pieces, too slow) makes the answer "not known", never "it cannot".
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack

from imaging import bootbios, bootuefi, inventory
from imaging.blockdev import opened
from imaging.bootlook import Looking
from imaging.bootsystem import Case, with_menu
from imaging.disk import Disk
from imaging.errors import IoError
from imaging.startable import Answer, Firmware, Starts, Way

PATIENCE = 30.0
"""Seconds for the file systems of a disk together; one takes a tenth of one, unless its medium hangs."""
_MOST, _LONGEST = 20, 300
"""Reasons, and characters of each, that are told."""
_DISC, _DISC_AT = b"CD001", 0x8001
"""What makes a disk a disc, too (ISO 9660), as sticks with live systems are."""


def check(
    disk: Disk,
    others: Sequence[Disk] = (),
    patience: float = PATIENCE,
    cancel: threading.Event | None = None,
) -> Starts:
    """Look at a disk as the inventory finds it; `others` are disks that belong to the same system.

    What is not looked at yet once `cancel` is set is not known. Raises IoError where the disk cannot be opened. What
    file systems hold is known to root alone.
    """
    if disk.unfinished:
        return _neither(disk, Answer.FAILS, "a restore onto it was begun and never completed")
    if disk.problem:
        return _neither(disk, Answer.UNKNOWN, disk.problem)
    with ExitStack() as held:
        readable = [disk, *(other for other in others if not other.problem)]
        look = Looking([(one, held.enter_context(opened(one.path))) for one in readable], patience, cancel)
        if _is_disc(look):
            return _neither(disk, Answer.UNKNOWN, "it is made like a disc, whose start is not examined here")
        entries = None if disk.regular_file else bootuefi.entries()
        ways = {Firmware.BIOS: bootbios.check(look), Firmware.UEFI: bootuefi.check(look, entries)}
        entry = ways[Firmware.UEFI].entry
        system = bootbios.is_meant(look) or bool(bootuefi.system_partitions(look)) or _has_menu(look)
    return Starts(
        disk=disk.name,
        ways=tuple(_way(firmware, case) for firmware, case in ways.items()),
        system=system,
        firmware="" if disk.regular_file else inventory.machine().firmware,
        entry=entry,
        notes=_brief(tuple(dict.fromkeys(note for case in ways.values() for note in case.notes))),
    )


def _is_disc(look: Looking) -> bool:
    try:
        return look.bytes_of(_DISC_AT, len(_DISC))(0, len(_DISC)) == _DISC
    except IoError:
        return False


def _has_menu(look: Looking) -> bool:
    try:
        return with_menu(look) is not None
    except IoError:
        return False


def _way(firmware: Firmware, case: Case) -> Way:
    return Way(firmware=firmware, answer=case.answer, reasons=_brief(case.reasons))


def _brief(reasons: Sequence[str]) -> tuple[str, ...]:
    """What a hostile disk has its menus and tables say fills no log, and no screen."""
    return tuple(words if len(words) <= _LONGEST else f"{words[:_LONGEST]}.." for words in reasons[:_MOST])


def _neither(disk: Disk, answer: Answer, why: str) -> Starts:
    return Starts(disk=disk.name, ways=tuple(Way(firmware=one, answer=answer, reasons=(why,)) for one in Firmware))


def check_paths(
    paths: Sequence[str], patience: float = PATIENCE, cancel: threading.Event | None = None
) -> tuple[Starts, ...]:
    """Look at disks that belong together, by their paths. Raises as inventory.look, and IoError."""
    disks = [inventory.look(path) for path in paths]
    return tuple(check(disk, [other for other in disks if other is not disk], patience, cancel) for disk in disks)


def answer(found: Sequence[Starts]) -> Answer:
    """Of disks that belong together: one that starts is enough."""
    answers = [one.answer for one in found]
    return next((one for one in (Answer.STARTS, Answer.UNKNOWN) if one in answers), Answer.FAILS)
