"""The part of the engine that plans captures and restores."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from imaging import (
    cloning,
    forecast,
    growth,
    inventory,
    keeping,
    partitions,
    planner,
    remote,
    resectored,
    resuming,
    safetyplan,
    sizing,
    smaller,
    vouching,
)
from imaging.bootentry import with_boot_entry
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, Partition
from imaging.errors import RescueError
from imaging.forecast import Forecast
from imaging.imageplans import CapturePlan
from imaging.keptfiles import KeepRule
from imaging.levels import LEVELS
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk, Volume
from imaging.plan import Plan
from imaging.restoreplans import RestorePlan
from imaging.resuming import CutOff
from imaging.sizing import Limits
from rescue.disks_engine import DisksEngine


class RestoreEngine(DisksEngine):
    """Plans what disks and images are captured to and restored from."""

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
        """Raises RefusedError; `check`: the new image's file systems, too; `only` these partitions of a disk's path."""
        return planner.plan_capture(disks, library, label, level, check=check, only=only)

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:
        """What the capture would store and take, at each level that has a name; takes seconds, or until `cancel`."""
        return forecast.forecast(plan, sorted(LEVELS.values()), cancel)

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """Empty where the disk can be chosen."""
        return planner.why_not_source(disk, library)

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """A partition becomes smaller on a disk that is too small; takes up to minutes then. Raises RefusedError."""
        plan = planner.plan_restore(library, image, targets, shrink=growth.LAST)
        smaller.refuse_unless_fits(plan)
        resectored.refuse_unless_possible(plan)
        return vouching.of_restore(with_boot_entry(plan))

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where the disk can be chosen."""
        smaller_fits = planner.can_shrink(disk, source)
        return planner.why_not_target(disk, source, any_size=smaller_fits, any_sectors=True)

    def grown(self, plan: RestorePlan) -> RestorePlan:
        """The plan, with the last partition taking the room of a larger disk; raises RefusedError, UsageError."""
        return growth.with_growth(plan)

    def sizes(self, plan: RestorePlan) -> Sequence[Limits]:
        """What sizes the partitions of the one disk that is restored can have; none of other plans."""
        return sizing.limits(plan)

    def refuse_unless_sizes_fit(self, plan: RestorePlan) -> None:
        """Raise RefusedError where a file system cannot be as small or large as planned; takes up to minutes."""
        smaller.refuse_unless_fits(plan)
        for pair in plan.targets:
            if pair.growth is not None:
                growth.refuse_unless_able(pair.growth)

    def with_new_identity(self, plan: RestorePlan) -> RestorePlan | None:
        """The plan, with new ids, where that is to be offered; takes up to seconds. Raises BadImageError, IoError."""
        if plan.foreign is not None:
            return None
        made_on = Library.open(Path(plan.library)).image(plan.image).machine
        return cloning.offered(plan, made_on, self.machine(), inventory.scan())

    def with_sanitizers(self, plan: RestorePlan) -> RestorePlan:
        """The plan, with how each of its drives erases itself, where it is to; takes up to half a minute."""
        return resuming.with_erasing(plan, self.libraries)

    def plan_beside_homes(self, plan: RestorePlan) -> RestorePlan | None:
        """The plan that leaves /home's own partitions as they are; None where it has none. Seconds; RefusedError."""
        found = keeping.beside_homes(plan)
        return vouching.of_restore(with_boot_entry(found)) if found is not None else None

    def keep_files(self, plan: RestorePlan, rules: Sequence[KeepRule], library: Path) -> RestorePlan:
        """The plan, with files of the system that is there; takes up to minutes. Raises RefusedError, IoError."""
        return keeping.with_kept_files(plan, rules, library, self.libraries())

    def plan_safety(self, plan: RestorePlan) -> Sequence[CapturePlan]:
        """Nothing of one on a target, or that cannot be written to."""
        own = [] if plan.foreign is not None else [Path(plan.library)]
        found = []
        for path in dict.fromkeys([*own, *self.libraries()]):
            with suppress(RescueError):
                if not remote.is_read_only(path):
                    found.append(safetyplan.plan_safety(plan, path))
        return found

    def plan_restore_partition(
        self, library: Path, image: Image, name: str, target: Disk, chosen: tuple[int, int]
    ) -> RestorePlan:
        """Raises RefusedError."""
        plan = partitions.plan_restore_partitions(library, image, name, target, dict([chosen]))
        return vouching.of_restore(plan)

    def why_not_disk(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where a partition of the disk may be chosen."""
        return partitions.why_not_disk(disk, source)

    def why_not_partition(self, disk: Disk, part: Partition, source: ImagedDisk, volume: Volume) -> str:
        """Empty where the partition can be chosen."""
        return partitions.why_not_partition(disk, part, source, volume)

    def cut_off(self) -> Sequence[CutOff]:
        """The restores that were cut off: the target of one that is at work bears its mark, too."""
        taken = self._taken()
        return [] if taken is None else resuming.cut_off(disk for disk in self.disks() if disk.path not in taken)

    def plan_completion(self, cut: CutOff) -> RestorePlan:
        """Go on with one, but for files that it was to keep; takes up to minutes. Raises RefusedError."""
        return resuming.plan_completion(cut, self.libraries())

    def plan_undoing(self, cut: CutOff) -> RestorePlan:
        """Bring back what was there before it; raises RefusedError, BadImageError."""
        return resuming.plan_undoing(cut, self.libraries())

    def plan_undo(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """What was there before, on whole disks again or in the partitions that were saved; raises RefusedError."""
        (name, disk), *_others = targets.items()
        if not partitions.of_some(image, disk):
            return self.plan_restore(library, image, targets)
        numbers = partitions.put_back(image.disks[0], disk)
        plan = partitions.plan_restore_partitions(library, image, name, disk, numbers)
        return vouching.of_restore(with_boot_entry(plan))

    def confirms(self, answer: str, target: Disk, partition: int | None = None) -> bool:
        """Whether what was typed names the target."""
        return planner.confirms(answer, target, partition)

    def seconds_expected(self, plan: Plan) -> float:
        """A rough forecast."""
        return planner.seconds_expected(plan)
