"""`rescue disks`, and the warning that other commands give of a disk that is failing."""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence

import msgspec

from imaging import inventory, smart, systems
from imaging.disk import Disk
from imaging.errors import ExitStatus
from imaging.health import Condition, Health
from rescue import report
from rescue.finding import known_libraries
from rescue.formats import clean, joined
from rescue.health import health_line, source_warnings, target_warnings


def disks(options: Namespace) -> int:
    """`rescue disks`."""
    found = inventory.scan(known_libraries(options))
    healths = {} if options.quick else smart.healths(found)
    names = {} if options.quick else systems.all_systems(found)
    if options.json:
        value = {"disks": found, "health": healths, "systems": names}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
        return ExitStatus.DONE
    for line in [*report.disks_table(found, healths, names), *troubled_lines(found, healths)]:
        print(line)
    return ExitStatus.DONE


def troubled_lines(found: Sequence[Disk], healths: Mapping[str, Health]) -> list[str]:
    """Below the table, why disks are not well."""
    lines = []
    for disk in found:
        health = healths.get(disk.path)
        if health is not None and health.condition in (Condition.WORN, Condition.FAILING):
            lines.append(joined(f"{clean(disk.name)}:", health_line(health), by=" "))
    return ["", *lines] if lines else []


def warn_of_sources(found: Sequence[Disk]) -> None:
    """Say on standard error which of the disks to be captured are failing."""
    _warn(source_warnings(found, smart.healths(found)))


def warn_of_targets(found: Sequence[Disk]) -> None:
    """Say on standard error which of the disks to be written to are failing."""
    _warn(target_warnings(found, smart.healths(found)))


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)
