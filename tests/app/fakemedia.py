"""The part of a computer in memory that plans recovery drives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from imaging import mediaplan
from imaging.disk import Disk
from imaging.errors import RefusedError
from imaging.mediasource import Weight
from imaging.medium import Medium
from imaging.recoveryplans import MediaGrowPlan, MediaImage, MediaPlan, MediaSystem
from imaging.signatures import UNSIGNED, why_not_used
from imaging.signingkeys import PublicKey
from tests.app.drives import LIVE_SYSTEM
from tests.app.fakeimages import FakeImages


@dataclass
class FakeMedia(FakeImages):
    """The recovery drives, and the system that they get."""

    system: MediaSystem | None = LIVE_SYSTEM
    found_media: Mapping[str, Medium] = field(default_factory=dict)
    """The recovery drives, by path."""
    growth: MediaGrowPlan | None = None
    trusted_by_media: tuple[PublicKey, ...] = ()
    """Those that a recovery drive trusts once it is made."""

    def media_system(self) -> MediaSystem:
        """That of the stick, where it has one."""
        if self.system is None:
            raise RefusedError("there is no recovery system", code="no-system", hint="start from a recovery drive")
        return self.system

    def media_on(self, disks: Iterable[Disk]) -> Mapping[str, Medium]:
        """As the test wants it."""
        return {disk.path: self.found_media[disk.path] for disk in disks if disk.path in self.found_media}

    def weigh(self, images: Iterable[tuple[Path, str]]) -> Weight:
        """Nine GB each."""
        known = {image.id: image for image in self.listing.images}
        chosen = [(library, known[image_id]) for library, image_id in images]
        found = tuple(
            MediaImage(library=str(library), image=one.id, created=one.created, label=one.label, size=one.stored)
            for library, one in chosen
        )
        return Weight(images=found, content=sum(image.size for image in found))

    def why_not_medium(self, disk: Disk, least: int) -> str:
        """The real planner."""
        return mediaplan.why_not_medium(disk, least)

    def plan_media(self, system: MediaSystem, disk: Disk, weight: Weight, factory: str) -> MediaPlan:
        """The real planner."""
        return mediaplan.plan_media(system, disk, weight.images, weight.content, factory=factory)

    def plan_update(
        self, system: MediaSystem, disk: Disk, medium: Medium | None, weight: Weight, factory: str
    ) -> MediaPlan:
        """The real planner."""
        return mediaplan.plan_update(system, disk, medium, weight.images, weight.content, factory=factory)

    def vouched(self, plan: MediaPlan) -> MediaPlan:
        """As the test has it."""
        standings = [self.standings.get(one.image, UNSIGNED) for one in plan.images]
        doubts = [why_not_used(standing, strict=self.strict) for standing in standings]
        return structs.replace(plan, trusted=self.trusted_by_media, doubt=next(filter(None, doubts), ""))

    def plan_grow(self) -> MediaGrowPlan:
        """As the test wants it."""
        if self.growth is None:
            raise RefusedError("there is nothing to gain", code="nothing-to-grow")
        return self.growth
