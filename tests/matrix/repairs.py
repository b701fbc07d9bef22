"""Repairs of disks: planned, carried out here, and what they say of themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imaging import inventory, repairlook
from imaging.events import Finished, RepairResult
from imaging.plan import decode, encode
from imaging.repairplans import RepairPlan, RepairWishes
from tests.disks import MIB, blank, looped, partition, run
from tests.faults.world import carry_out_here
from tests.matrix import bootable


def look(path: Path | str, **wishes: Any) -> RepairPlan:
    """Plan the repair of a disk that is looked at now."""
    return repairlook.plan_repair(inventory.look(str(path)), RepairWishes(**wishes))


def done(plan: RepairPlan, folder: Path) -> Finished:
    """Carry a plan out that was written down and read again; how it ended."""
    assert decode(encode(plan)) == plan
    return carry_out_here(plan, folder)


def result(finished: Finished) -> RepairResult:
    """What a repair says that it did."""
    assert isinstance(finished.result, RepairResult), finished
    return finished.result


@contextmanager
def as_disk(path: Path, sector: int = 512) -> Iterator[str]:
    """A disk file as a device of sectors of that size."""
    with looped(path, sector=sector) as loop:
        yield loop


def zero(path: Path, start: int, size: int) -> None:
    """Write zeros."""
    bootable.write(path, start, bytes(size))


def data_alone(path: Path) -> Path:
    """A disk with data alone: GPT, two ext4."""
    partition(blank(path, 40 * MIB), "label: gpt\nstart=2048, size=16MiB\nsize=16MiB, name=more\n")
    for number, start in enumerate((MIB, 17 * MIB), 1):
        run("mke2fs", "-q", "-F", "-t", "ext4", "-L", f"data{number}", "-E", f"offset={start}", path, "16M")
    return path
