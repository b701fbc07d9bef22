"""The backend that is real: this machine, through imaging."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imaging import forecast, inventory, jobs, library, media, partitions, planner, run
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, Partition
from imaging.forecast import Forecast
from imaging.levels import LEVELS
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.plan import CapturePlan, Plan, RestorePlan, disks_used
from rescue.backend import LIVE_STATES, Backend, Job, Listing


class Engine:
    """Asks imaging; called from several threads at once."""

    def __init__(self) -> None:
        self._mounting = threading.Lock()

    def machine(self) -> Machine:
        """This computer."""
        return inventory.machine()

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """All disks; takes up to seconds."""
        return inventory.scan(libraries)

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:
        """A regular file that stands in a disk's place, or a disk by its path."""
        return inventory.look(path, libraries)

    def libraries(self) -> Sequence[Path]:
        """Libraries on attached media, which the live system has to mount first."""
        if media.on_live_system():
            with self._mounting:
                self._attach_media()
        return library.discover()

    def _attach_media(self) -> None:
        """Mount what may hold images, but for disks that a job is at work on: a mount would take them from it.

        Which disks these are is not known of a job whose plan cannot be read; then nothing is mounted.
        """
        plans = [job.known_plan for job in jobs.jobs() if job.state in LIVE_STATES]
        known = [plan for plan in plans if plan is not None]
        if len(known) < len(plans):
            return
        taken = {path for plan in known for _, path, _ in disks_used(plan)}
        media.attach([disk for disk in inventory.scan() if disk.path not in taken])

    def candidates(self) -> Sequence[Path]:
        """Folders in which a library could be made."""
        return library.candidates()

    def images(self, library_path: Path) -> Listing:
        """What a library holds."""
        return library.Library.open(library_path).images()

    def plan_capture(self, disks: Sequence[Disk], library: Path, label: str, level: int = DEFAULT_LEVEL) -> CapturePlan:
        """Raises RefusedError."""
        return planner.plan_capture(disks, library, label, level)

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:
        """What the capture would store and take, at each level that has a name; takes seconds, or until `cancel`."""
        return forecast.forecast(plan, sorted(LEVELS.values()), cancel)

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """Raises RefusedError."""
        return planner.plan_restore(library, image, targets)

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where the disk can be chosen."""
        return planner.why_not_target(disk, source)

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """Empty where the disk can be chosen."""
        return planner.why_not_source(disk, library)

    def plan_restore_partition(
        self, library: Path, image: Image, name: str, target: Disk, chosen: tuple[int, int]
    ) -> RestorePlan:
        """Raises RefusedError."""
        return partitions.plan_restore_partitions(library, image, name, target, dict([chosen]))

    def why_not_disk(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where a partition of the disk may be chosen."""
        return partitions.why_not_disk(disk, source)

    def why_not_partition(self, disk: Disk, part: Partition, source: ImagedDisk, volume: Volume) -> str:
        """Empty where the partition can be chosen."""
        return partitions.why_not_partition(disk, part, source, volume)

    def confirms(self, answer: str, target: Disk, partition: int | None = None) -> bool:
        """Whether what was typed names the target."""
        return planner.confirms(answer, target, partition)

    def seconds_expected(self, plan: Plan) -> float:
        """A rough forecast."""
        return planner.seconds_expected(plan)

    def submit(self, plan: Plan) -> Job:
        """Start a job; takes up to seconds."""
        return jobs.submit(plan)

    def jobs(self) -> Sequence[Job]:
        """Newest first."""
        return jobs.jobs()

    def state_folder(self) -> Path:
        """Where jobs lie, and where a report of an error in the screens can be written."""
        return jobs.state_folder()

    def shell(self) -> None:
        """A root shell on this terminal; comes back when it ends."""
        print("\nType exit to come back to Rescue.\n")
        run.shell()

    def reboot(self) -> None:
        """Restart the computer."""
        run.reboot()

    def power_off(self) -> None:
        """Switch the computer off."""
        run.power_off()


def engine() -> Backend:
    """The real backend, as the interface that the screens know."""
    return Engine()
