"""A small recovery system, and media that are made from it, for the tests of what may happen to them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imaging import inventory, mediaplan, mediasource, peek
from imaging.blockdev import loop_over
from imaging.library import FOLDER, Library
from imaging.mediaplan import blocks
from imaging.mediumcheck import Examined, check
from imaging.recoveryplans import MediaGrowPlan, MediaPlan
from tests import small_medium
from tests.disks import MIB, blank, digest
from tests.faults.killing import kill_after, start
from tests.faults.world import Sample, until

STICK = 340 * MIB
NEXT = "fedcba9876543210"
"""The build of the system that media are updated to."""


def systems(folder: Path) -> tuple[Path, Path]:
    """A system's image file, and a later one's that is larger."""
    folder.mkdir(parents=True, exist_ok=True)
    later = small_medium.make(folder / "later.img", build=NEXT, version="0.1.1", larger_by=2 * MIB)
    return small_medium.make(folder / "system.img"), later


def plan_create(
    system: Path, stick: Path | str, samples: Sequence[Sample] = (), *, filesystem: str = "ext4"
) -> MediaPlan:
    """Make a stick a medium with the images of samples, the first of them the factory image."""
    chosen = [(Library.open(sample.library), sample.image) for sample in samples]
    weight = mediasource.weigh(chosen, blocks(filesystem))
    return mediaplan.plan_media(
        mediasource.find_system(system),
        inventory.look(str(stick), [sample.library for sample in samples]),
        weight.images,
        weight.content,
        factory=samples[0].image_id if samples else "",
        filesystem=filesystem,
    )


def plan_update(system: Path, stick: Path | str, samples: Sequence[Sample] = ()) -> MediaPlan:
    """Replace the system of a medium, and add the images of samples."""
    disk = inventory.look(str(stick))
    weight = mediasource.weigh([(Library.open(s.library), s.image) for s in samples], blocks("ext4"))
    return mediaplan.plan_update(
        mediasource.find_system(system), disk, mediasource.medium_on(disk), weight.images, weight.content
    )


def kill_job(plan: MediaPlan | MediaGrowPlan, moment: float, stick: Path) -> None:
    """Kill the worker of a plan so long after it began, and wait until the tools that it had started are gone, too."""
    kill_after(start(plan), moment)
    until(lambda: not inventory.look(str(stick)).holders, what="the end of the worker's tools")


def examined(stick: Path | str) -> Examined:
    """The check of a medium, against no installed version and no clock."""
    return check(str(stick), installed="", now=None)


@contextmanager
def library_on(stick: Path) -> Iterator[Path]:
    """The library on a medium, mounted read-only."""
    part = next(p for p in inventory.look(str(stick)).table.partitions if p.number == 3)
    fd = os.open(stick, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with loop_over(fd, offset=part.start, size=part.size) as loop:
            root = peek.mounted("ext4", loop)
            try:
                yield Path(f"/proc/self/fd/{root}") / FOLDER
            finally:
                os.close(root)
    finally:
        os.close(fd)


def images_digest(stick: Path) -> str:
    """What stands in the images partition, as a digest."""
    part = next(p for p in inventory.look(str(stick)).table.partitions if p.number == 3)
    return digest(stick, part.start, part.size)


def a_stick(folder: Path, size: int = STICK) -> Path:
    """An empty stick."""
    return blank(folder / "stick.img", size)
