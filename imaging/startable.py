"""Whether a computer can start from a disk: what a look at it came to for each kind of firmware, as it is told."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Firmware(StrEnum):
    """What starts a computer."""

    BIOS = "bios"
    UEFI = "uefi"


NAMES = {Firmware.BIOS: "BIOS", Firmware.UEFI: "UEFI"}


class Answer(StrEnum):
    """STARTS: all that was looked at is there. UNKNOWN: something that counts cannot be looked into."""

    STARTS = "starts"
    FAILS = "does not start"
    UNKNOWN = "not known"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one kind of firmware; `reasons` are in words, and empty where it starts."""

    firmware: Firmware
    answer: Answer
    reasons: tuple[str, ...] = ()


class BootEntry(msgspec.Struct, frozen=True, kw_only=True):
    r"""The entry that firmware needs for a disk on which it finds no loader by itself: UEFI 2.10, 3.1.3.

    `loader` is a path as UEFI writes it (`\EFI\debian\shimx64.efi`) on the partition of that number and GUID.
    """

    partition: int
    uuid: str
    loader: str
    label: str
    sure: bool = True
    """Whether all that was looked at is there; else it is not known whether the loader starts the system."""


class Starts(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a computer can start from a disk, which is called `disk`.

    `system` is False where nothing on it is meant to start one. `firmware` is that of this computer; empty where the
    disk is a file, which no firmware sees. `notes` are in words: what slows a start down, or is missed and not needed.
    `entry` is what this computer's firmware lacks, where it lacks nothing else.
    """

    disk: str
    ways: tuple[Way, ...]
    system: bool = True
    firmware: str = ""
    notes: tuple[str, ...] = ()
    entry: BootEntry | None = None

    @property
    def answer(self) -> Answer:
        """That of the best way; of a disk that this computer can start from, its own firmware is no matter."""
        answers = [way.answer for way in self.ways]
        return next((one for one in (Answer.STARTS, Answer.UNKNOWN) if one in answers), Answer.FAILS)

    @property
    def warned(self) -> tuple[Way, ...]:
        """The ways that a person has to hear of: this computer's firmware does not start it, or of a file none does.

        Where one is not known it is that which counts: a disk for UEFI fails on a BIOS, which is no news.
        """
        asked = tuple(way for way in self.ways if self.firmware in ("", way.firmware))
        if not self.system or any(way.answer is Answer.STARTS for way in asked):
            return ()
        return tuple(way for way in asked if way.answer is Answer.UNKNOWN) or asked


def sentence(disk: str, way: Way) -> str:
    """One way in words."""
    name = NAMES[way.firmware]
    if way.answer is Answer.STARTS:
        return f"{disk} can start on {name}."
    reasons = "; ".join(way.reasons)
    if way.answer is Answer.FAILS:
        return f"{disk} will not start on {name}: {reasons}."
    return f"Whether {disk} starts on {name} is not known: {reasons}."


def warnings(starts: Iterable[Starts]) -> list[str]:
    """What a person has to hear of disks that were restored, in words."""
    return [sentence(one.disk, way) for one in starts for way in one.warned]
