"""The part of a computer in memory that plans captures and restores."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from msgspec import structs

from imaging import growth, partitions, planner, resuming, shrinking, sizing
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, Partition
from imaging.errors import RefusedError, RescueError, UsageError
from imaging.forecast import Forecast
from imaging.identities import NewIdentity
from imaging.imageplans import CapturePlan
from imaging.keptfiles import KeepRule, KeptFiles, KeptPath, LeftPath, RootPlace
from imaging.manifest import Image, ImagedDisk, Volume
from imaging.plan import Plan
from imaging.restoreplans import RestorePlan, Wipe
from imaging.resuming import CutOff
from imaging.sanitize import Obstacle, Sanitizer
from imaging.signatures import UNSIGNED, why_not_used
from imaging.sizing import Limits
from tests.app.fakedisks import FakeDisks
from tests.app.fakeimages import FakeImages
from tests.app.images import LIBRARY, make_forecast


@dataclass
class FakeRestores(FakeDisks, FakeImages):
    """Plans as the real planner does, as far as that asks no disk."""

    safety: tuple[Path, ...] = ()
    """The libraries in which a safety image can be kept."""
    sanitizer: Sanitizer = field(default_factory=lambda: Sanitizer(obstacle=Obstacle.UNABLE))
    """How the disks erase themselves."""
    kept: tuple[KeptPath, ...] | RescueError = (KeptPath(path="/home/anna", size=4_000_000_000, files=1200),)
    """What of a system can be kept, or why nothing can."""
    left: tuple[LeftPath, ...] = ()
    """What of that cannot be kept, where the system is Windows."""
    found_identity: NewIdentity | None = None
    homes_on: tuple[int, ...] = ()
    """The partitions on which all of /home is."""
    """New ids that a restore is offered."""
    least_size: int = 0
    """What a file system needs, by its tool."""

    def plan_capture(
        self,
        disks: Sequence[Disk],
        library: Path,
        label: str,
        level: int = DEFAULT_LEVEL,
        *,
        check: bool = False,
        only: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ) -> CapturePlan:
        """The real planner, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        return planner.plan_capture(disks, library, label, level, check=check, only=only)

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:
        """A tenth of each disk is used, in a library with room for most."""
        return make_forecast(plan.disks, room=self.room)

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """The real planner."""
        return planner.why_not_source(disk, library)

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """The real planner, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        plan = planner.plan_restore(library, image, targets)
        standing = self.standings.get(image.id, UNSIGNED)
        return structs.replace(plan, standing=standing, doubt=why_not_used(standing, strict=self.strict))

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """The real planner."""
        return planner.why_not_target(disk, source)

    def grown(self, plan: RestorePlan) -> RestorePlan:
        """The real planner, on a computer that has every tool."""
        (pair,) = plan.targets if len(plan.targets) == 1 else (None,)
        if pair is None or pair.partitions:
            raise UsageError("a partition grows where one whole disk is restored, and no other")
        if pair.shrinkage is not None:
            raise RefusedError("another partition becomes smaller")
        found = growth.plan_growth(pair.source, pair.target.size)
        return structs.replace(plan, targets=(structs.replace(pair, growth=found),))

    def sizes(self, plan: RestorePlan) -> Sequence[Limits]:
        """The real limits."""
        return sizing.limits(plan)

    def refuse_unless_sizes_fit(self, plan: RestorePlan) -> None:
        """As small as this computer was told that a file system can be."""
        for pair in plan.targets:
            if pair.shrinkage is not None and pair.shrinkage.size < self.least_size:
                raise shrinking.not_small_enough(pair.shrinkage, self.least_size)

    def with_new_identity(self, plan: RestorePlan) -> RestorePlan | None:
        """Offered where the test says so."""
        return structs.replace(plan, identity=self.found_identity) if self.found_identity is not None else None

    def with_sanitizers(self, plan: RestorePlan) -> RestorePlan:
        """The plan with what the test's drives can do."""
        return structs.replace(
            plan, targets=tuple(structs.replace(pair, sanitizer=self.sanitizer) for pair in plan.targets)
        )

    def plan_beside_homes(self, plan: RestorePlan) -> RestorePlan | None:
        """The real planner, where the test has /home on partitions of its own."""
        (pair,) = plan.targets
        image = next(image for image in self.listing.images if image.id == plan.image)
        if not self.homes_on:
            return None
        return partitions.plan_restore_but(Path(plan.library), image, pair.source.name, pair.target, self.homes_on)

    def keep_files(self, plan: RestorePlan, rules: Sequence[KeepRule], library: Path) -> RestorePlan:
        """The home folder of one person, or the reason that the test wants why it cannot be kept."""
        if isinstance(self.kept, RescueError):
            raise self.kept
        place = RootPlace(number=2, start=1 << 30, size=20 << 30, kind="ntfs" if self.left else "ext4")
        image = plan.targets[0].target.saved
        kept = KeptFiles(
            rules=tuple(rules),
            library=str(library),
            old=place,
            new=place,
            paths=self.kept,
            accounts=("anna",) if KeepRule.ACCOUNTS in rules else (),
            disk=plan.targets[0].target.name,
            image=image,
            left=self.left,
            left_out=len(self.left),
            encrypted=len(self.left),
        )
        return structs.replace(plan, keep=kept, safety="" if image else str(library))

    def plan_safety(self, plan: RestorePlan) -> Sequence[CapturePlan]:
        """The libraries that the test has for it, as far as the real planner takes them."""
        disks = [pair.target for pair in plan.targets]
        return [planner.plan_capture(disks, library, f"before {plan.label}") for library in self.safety]

    def plan_restore_partition(
        self, library: Path, image: Image, name: str, target: Disk, chosen: tuple[int, int]
    ) -> RestorePlan:
        """The real planner."""
        return partitions.plan_restore_partitions(library, image, name, target, dict([chosen]))

    def why_not_disk(self, disk: Disk, source: ImagedDisk) -> str:
        """The real planner."""
        return partitions.why_not_disk(disk, source)

    def why_not_partition(self, disk: Disk, part: Partition, source: ImagedDisk, volume: Volume) -> str:
        """The real planner."""
        return partitions.why_not_partition(disk, part, source, volume)

    def cut_off(self) -> Sequence[CutOff]:
        """What the marks of its disks say."""
        return resuming.cut_off(self.found_disks)

    def plan_completion(self, cut: CutOff) -> RestorePlan:
        """Of whole disks alone, from its one library."""
        plan = self._again(cut, cut.image, resuming.targets_of)
        if cut.manner.disks > len(plan.targets):
            raise RefusedError("other disks belong to it", code=resuming.SEVERAL)
        return planner.with_wipe(plan, Wipe(cut.manner.wipe))

    def plan_undoing(self, cut: CutOff) -> RestorePlan:
        """Onto the one disk."""
        return self._again(cut, cut.saved, lambda cut, image: {image.disks[0].name: cut.disks[0]})

    def plan_undo(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """The real planner."""
        (name, disk), *_others = targets.items()
        if not partitions.of_some(image, disk):
            return self.plan_restore(library, image, targets)
        numbers = partitions.put_back(image.disks[0], disk)
        return partitions.plan_restore_partitions(library, image, name, disk, numbers)

    def _again(self, cut: CutOff, wanted: str, targets: Callable[[CutOff, Image], Mapping[str, Disk]]) -> RestorePlan:
        image = next((image for image in self.listing.images if image.id == wanted), None)
        if image is None:
            raise RefusedError(f"image {wanted} is in none of the libraries here", code="no-such-image")
        return self.plan_restore(LIBRARY, image, targets(cut, image))

    def confirms(self, answer: str, target: Disk, partition: int | None = None) -> bool:
        """The real planner."""
        return planner.confirms(answer, target, partition)

    def seconds_expected(self, plan: Plan) -> float:
        """Four minutes."""
        return 240.0
