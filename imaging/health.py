"""How a disk is doing by its own account: what smartctl's JSON says of SMART, NVMe and SCSI health logs. Pure.

Sources: smartctl(8), "EXIT STATUS", and its JSON format 1.0; NVM Express base specification, "SMART / Health
Information".
"""

from dataclasses import dataclass, replace
from enum import IntFlag, StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from imaging.decodable import decodable
from imaging.errors import IoError

_Count = Annotated[int, Meta(ge=0)]
_ONE_PHYSICAL_SECTOR = 8
"""Of 4096 bytes, which most disks count as so many of 512."""
_WORN_PERCENT = 90
_WORN_REST = 10
"""Per cent of its life that a SATA SSD says are left."""
_HOT_DISK, _HOT_SSD = 60, 75
"""Degrees Celsius above which makers do not warrant for disks that spin, and for those that do not."""
_BYTES_PER_UNIT = 512_000
"""Bytes in one of NVMe's data units."""


class Condition(StrEnum):
    """What to think of a disk."""

    GOOD = "good"
    WORN = "worn"
    """It works, and gives reason to keep a second copy of what is on it."""
    FAILING = "failing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a disk says of itself; figures that it does not give are None."""

    condition: Condition
    reasons: tuple[str, ...] = ()
    """Why, in plain words, the worst first; of a disk of unknown health, why it is unknown."""
    temperature: int | None = None
    """Degrees Celsius."""
    power_on_hours: int | None = None
    power_cycles: int | None = None
    reallocated: int | None = None
    """Sectors that wore out and were replaced by spare ones."""
    pending: int | None = None
    """Sectors that cannot be read at present."""
    uncorrectable: int | None = None
    """Sectors, or times, that could not be read at all."""
    media_errors: int | None = None
    percentage_used: int | None = None
    """Of the life that the maker expects; may exceed 100."""
    spare: int | None = None
    """Per cent of the spare blocks of an SSD that are left."""
    written: int | None = None
    """Bytes in all its life."""
    rotation: int | None = None
    """Turns a minute; 0 of a disk without moving parts."""
    firmware: str = ""


def unknown(reason: str) -> Health:
    """Nothing is known, and why."""
    return Health(condition=Condition.UNKNOWN, reasons=(reason,))


def with_failure(health: Health, reason: str) -> Health:
    """The same disk, of which something else has shown that it is failing."""
    known = health.reasons if health.condition is not Condition.UNKNOWN else ()
    return replace(health, condition=Condition.FAILING, reasons=(reason, *known))


class Exit(IntFlag):
    """Bits of smartctl's exit status. Source: smartctl(8)."""

    COMMAND = 1 << 0
    OPEN = 1 << 1
    SOME_COMMAND = 1 << 2
    FAILING = 1 << 3
    BELOW_THRESHOLD = 1 << 4
    BELOW_THRESHOLD_ONCE = 1 << 5
    LOGGED_ERRORS = 1 << 6
    SELF_TESTS = 1 << 7


class Critical(IntFlag):
    """Bits of an NVMe disk's critical warning. Source: NVM Express base specification."""

    SPARE = 1 << 0
    TEMPERATURE = 1 << 1
    RELIABILITY = 1 << 2
    READ_ONLY = 1 << 3
    BACKUP_POWER = 1 << 4
    MEMORY_REGION = 1 << 5


class _Message(Struct):
    string: str = ""
    severity: str = ""


class _Smartctl(Struct):
    exit_status: _Count = 0
    messages: list[_Message] = []


class _Device(Struct):
    type: str = ""
    protocol: str = ""


class _Support(Struct):
    available: bool = True
    enabled: bool = True


class _Status(Struct):
    passed: bool | None = None


class _Temperature(Struct):
    current: int | None = None


class _Hours(Struct):
    hours: _Count | None = None


class _Raw(Struct):
    value: _Count = 0


class _Flags(Struct):
    prefailure: bool = False


class _Attribute(Struct):
    id: _Count
    name: str = ""
    value: _Count = 0
    when_failed: str = ""
    flags: _Flags = field(default_factory=_Flags)
    raw: _Raw = field(default_factory=_Raw)


class _Attributes(Struct):
    table: list[_Attribute] = []


class _Nvme(Struct):
    critical_warning: _Count = 0
    temperature: int | None = None
    available_spare: _Count | None = None
    available_spare_threshold: _Count = 0
    percentage_used: _Count | None = None
    data_units_written: _Count | None = None
    power_cycles: _Count | None = None
    power_on_hours: _Count | None = None
    media_errors: _Count | None = None


class _Counter(Struct):
    total_uncorrected_errors: _Count = 0


class _Counters(Struct):
    read: _Counter = field(default_factory=_Counter)
    write: _Counter = field(default_factory=_Counter)
    verify: _Counter = field(default_factory=_Counter)


@decodable
class _Answer(Struct):
    """What is read of smartctl's answer; all else in it is passed over."""

    smartctl: _Smartctl
    device: _Device = field(default_factory=_Device)
    firmware_version: str = ""
    rotation_rate: _Count | None = None
    smart_support: _Support = field(default_factory=_Support)
    smart_status: _Status = field(default_factory=_Status)
    temperature: _Temperature = field(default_factory=_Temperature)
    power_on_time: _Hours = field(default_factory=_Hours)
    power_cycle_count: _Count | None = None
    ata_smart_attributes: _Attributes | None = None
    nvme_smart_health_information_log: _Nvme | None = None
    scsi_grown_defect_list: _Count | None = None
    scsi_error_counter_log: _Counters | None = None
    scsi_percentage_used_endurance_indicator: _Count | None = None


def needs_type(text: str) -> bool:
    """Whether smartctl did not know the USB adapter that a disk hangs on, so that it has to be told what is behind."""
    return "Unknown USB bridge" in text


def parse(text: str, status: int) -> Health:
    """Health from smartctl's JSON and its exit status; raises IoError (code "bad-answer") where neither says anything.

    What the exit status says counts whatever the JSON looks like.
    """
    bits = Exit(status & 0xFF)
    try:
        document: Any = msgspec.json.decode(text)
        answer = msgspec.convert(document, _Answer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        worse = _of_exit(bits)
        if worse and not bits & (Exit.COMMAND | Exit.OPEN):
            return _judged(Health(condition=Condition.GOOD), worse)
        raise IoError(f"smartctl's answer cannot be understood: {error}", code="bad-answer") from error
    return _of_answer(answer, bits)


_Finding = tuple[Condition, str]


def _of_answer(answer: _Answer, bits: Exit) -> Health:
    figures = _figures(answer)
    asked = not bits & (Exit.COMMAND | Exit.OPEN)
    nvme, ata = answer.nvme_smart_health_information_log, answer.ata_smart_attributes
    findings = [*_of_nvme(nvme), *_of_figures(figures), *(_of_exit(bits, nvme=nvme is not None) if asked else ())]
    if ata is not None:
        findings += _of_attributes(ata.table)
    if answer.smart_status.passed is False and not any(worst is Condition.FAILING for worst, _ in findings):
        # An NVMe disk that is only too hot does not pass its own assessment, either.
        hot = nvme is not None and nvme.critical_warning == Critical.TEMPERATURE
        findings += [] if hot else [(Condition.FAILING, ASSESSMENT)]
    if not findings and (not asked or answer.smart_status.passed is None):
        return replace(figures, condition=Condition.UNKNOWN, reasons=(_why_unknown(answer, bits),))
    return _judged(figures, findings)


def _judged(figures: Health, findings: list[_Finding]) -> Health:
    worst = sorted(dict.fromkeys(findings), key=lambda found: found[0] is not Condition.FAILING)
    condition = worst[0][0] if worst else Condition.GOOD
    return replace(figures, condition=condition, reasons=tuple(why for _, why in worst))


ASSESSMENT = "its own assessment says that it is about to fail"


def _of_exit(bits: Exit, *, nvme: bool = False) -> list[_Finding]:
    found = []
    if bits & Exit.FAILING and not nvme:  # of NVMe the bits of its critical warning say more
        found.append((Condition.FAILING, ASSESSMENT))
    if bits & Exit.BELOW_THRESHOLD:
        found.append((Condition.FAILING, "one of its figures is below the limit that its maker set for failure"))
    if bits & Exit.BELOW_THRESHOLD_ONCE:
        found.append((Condition.WORN, "one of its figures is, or once was, below the limit that its maker set"))
    if bits & Exit.SELF_TESTS:
        found.append((Condition.WORN, "a self-test of it has found errors"))
    return found


_WARNINGS = {
    Critical.SPARE: (Condition.FAILING, "its spare blocks are used up"),
    Critical.RELIABILITY: (Condition.FAILING, "it says that it is not reliable any more"),
    Critical.READ_ONLY: (Condition.FAILING, "it has gone read-only"),
    Critical.BACKUP_POWER: (Condition.FAILING, "what keeps its data when the power fails has failed"),
    Critical.MEMORY_REGION: (Condition.WORN, "its persistent memory has gone read-only"),
    Critical.TEMPERATURE: (Condition.WORN, "it is too hot, or too cold: let it cool, and see that air gets to it"),
}


def _of_nvme(log: _Nvme | None) -> list[_Finding]:
    if log is None:
        return []
    found = [finding for bit, finding in _WARNINGS.items() if log.critical_warning & bit]
    if log.available_spare is not None and log.available_spare < log.available_spare_threshold:
        found.append(_WARNINGS[Critical.SPARE])
    return found


def _of_attributes(table: list[_Attribute]) -> list[_Finding]:
    """What a SATA SSD says is left of its life; by name, for makers use the numbers as they like."""
    left = [entry.value for entry in table if entry.name in _LIFE_LEFT and entry.value]
    if left and min(left) <= _WORN_REST:
        return [(Condition.WORN, f"of the life that its maker expects, {min(left)} % are left")]
    return []


_LIFE_LEFT = (
    "Media_Wearout_Indicator",
    "Percent_Lifetime_Remain",
    "Perc_Rated_Life_Remain",
    "Remaining_Lifetime_Perc",
    "SSD_Life_Left",
    "Wear_Leveling_Count",
)


def _of_figures(health: Health) -> list[_Finding]:
    found: list[_Finding] = []
    unreadable = max(health.pending or 0, health.uncorrectable or 0)
    if unreadable:
        grave = Condition.FAILING if unreadable > _ONE_PHYSICAL_SECTOR else Condition.WORN
        found.append((grave, f"sectors that cannot be read: {unreadable:,}"))
    if health.reallocated:
        found.append((Condition.WORN, f"bad sectors that it replaced by spare ones: {health.reallocated:,}"))
    if health.media_errors:
        found.append((Condition.WORN, f"times that it could not read or write data: {health.media_errors:,}"))
    if health.percentage_used is not None and health.percentage_used >= _WORN_PERCENT:
        found.append((Condition.WORN, f"{health.percentage_used} % of the life that its maker expects are used"))
    hot = _HOT_SSD if health.rotation == 0 else _HOT_DISK
    if health.rotation is not None and health.temperature is not None and health.temperature >= hot:
        found.append((Condition.WORN, f"it is hot: {health.temperature} degrees Celsius"))
    return found


def _figures(answer: _Answer) -> Health:
    """What is measured, not yet judged."""
    log, ata = answer.nvme_smart_health_information_log, answer.ata_smart_attributes
    raw = {entry.id: entry.raw.value for entry in ata.table} if ata is not None else {}
    hours, cycles, temperature = answer.power_on_time.hours, answer.power_cycle_count, answer.temperature.current
    health = Health(
        condition=Condition.GOOD,
        temperature=temperature,
        power_on_hours=hours,
        power_cycles=cycles,
        reallocated=raw.get(5),
        pending=raw.get(197),
        uncorrectable=raw.get(198),
        rotation=answer.rotation_rate,
        firmware=answer.firmware_version,
        percentage_used=answer.scsi_percentage_used_endurance_indicator,
    )
    if log is not None:
        units = log.data_units_written
        health = replace(
            health,
            temperature=log.temperature if temperature is None else temperature,
            power_on_hours=log.power_on_hours if hours is None else hours,
            power_cycles=log.power_cycles if cycles is None else cycles,
            media_errors=log.media_errors,
            percentage_used=log.percentage_used,
            spare=log.available_spare,
            written=None if units is None else units * _BYTES_PER_UNIT,
            rotation=0,
        )
    if answer.scsi_grown_defect_list is not None:
        health = replace(health, reallocated=answer.scsi_grown_defect_list)
    if answer.scsi_error_counter_log is not None:
        counters = answer.scsi_error_counter_log
        lost = sum(each.total_uncorrected_errors for each in (counters.read, counters.write, counters.verify))
        health = replace(health, media_errors=lost)
    return health


def _why_unknown(answer: _Answer, bits: Exit) -> str:
    said = " ".join(message.string for message in answer.smartctl.messages)
    if "Permission denied" in said or "Operation not permitted" in said:
        return "asking it needs root"
    if "STANDBY" in said or "SLEEP" in said:
        return "it is asleep, and was not woken for this"
    if needs_type(said):
        return "its USB adapter does not let a health log through"
    if not answer.smart_support.available:
        return "it keeps no health log"
    if not answer.smart_support.enabled:
        return "its health log is switched off"
    if "Unable to detect device type" in said:
        return "it keeps no health log that can be read"
    if bits & Exit.OPEN:
        return "it could not be asked" + (f": {said}" if said else "")
    return "it does not say"
