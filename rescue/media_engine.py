"""The part of the engine that plans recovery drives."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from imaging import inventory, library, mediaplan, mediasource, mediavouching, medium
from imaging.disk import Disk
from imaging.errors import RefusedError, RescueError
from imaging.mediasource import Weight
from imaging.medium import Medium
from imaging.recoveryplans import MediaGrowPlan, MediaPlan, MediaSystem


class MediaEngine:
    """Knows recovery drives, and the system that they get."""

    def media_system(self) -> MediaSystem:
        """The system that a recovery drive gets; takes up to seconds. Raises RefusedError where there is none."""
        return mediasource.find_system()

    def media_on(self, disks: Iterable[Disk]) -> Mapping[str, Medium]:
        """The disks that are recovery drives, by path; takes up to seconds, never raises."""
        found: dict[str, Medium] = {}
        for disk in disks:
            with suppress(RescueError):
                there = mediasource.medium_on(disk)
                found |= {disk.path: there} if there else {}
        return found

    def weigh(self, images: Iterable[tuple[Path, str]]) -> Weight:
        """What images take, each by its library and its id; takes seconds. Raises BadImageError, IoError."""
        opened = [(library.Library.open(path), image_id) for path, image_id in images]
        chosen = [(one, one.image(image_id)) for one, image_id in opened]
        return mediasource.weigh(chosen, mediaplan.blocks(mediaplan.FILESYSTEMS[0]))

    def why_not_medium(self, disk: Disk, least: int) -> str:
        """Empty where the disk can become a recovery drive that needs `least` bytes."""
        return mediaplan.why_not_medium(disk, least)

    def plan_media(self, system: MediaSystem, disk: Disk, weight: Weight, factory: str) -> MediaPlan:
        """Make a disk a recovery drive; raises RefusedError."""
        return mediaplan.plan_media(system, disk, weight.images, weight.content, factory=factory)

    def plan_update(
        self, system: MediaSystem, disk: Disk, medium: Medium | None, weight: Weight, factory: str
    ) -> MediaPlan:
        """Replace the system of a recovery drive, and keep its images; raises RefusedError."""
        return mediaplan.plan_update(system, disk, medium, weight.images, weight.content, factory=factory)

    def vouched(self, plan: MediaPlan) -> MediaPlan:
        """The plan, with the keys that the medium trusts from then on, and what speaks against its images."""
        return mediavouching.of_plan(plan, trusted=mediavouching.trusted_by(plan))

    def plan_grow(self) -> MediaGrowPlan:
        """Let the running medium's partition for images take all of it; takes up to seconds. Raises RefusedError."""
        disk = inventory.medium()
        if disk is None:
            raise RefusedError("this system was not started from a recovery medium that is attached", code="no-medium")
        return mediaplan.plan_grow(disk, medium.look(disk.path))
