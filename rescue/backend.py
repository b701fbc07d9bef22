"""What the screens ask of the machine: an interface, so that they can be driven without one.

The real thing is rescue.engine. Everything may raise RescueError; what is slow says so.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, Partition
from imaging.events import AnyEvent, Finished
from imaging.forecast import Forecast
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.plan import CapturePlan, Plan, RestorePlan
from rescue.report import Damaged

LIVE_STATES = frozenset({"starting", "running"})
"""States of a job that still goes on."""

DIED = "died"
"""The state of a job whose worker is gone without having reported an end."""


class Listing(Protocol):
    """What a library holds."""

    @property
    def images(self) -> Sequence[Image]:
        """Newest first."""

    @property
    def damaged(self) -> Sequence[Damaged]:
        """Images that cannot be used."""


class Job(Protocol):
    """One job, whoever started it."""

    @property
    def id(self) -> str:
        """Its folder's name."""

    @property
    def known_plan(self) -> Plan | None:
        """What it does; None where that cannot be read."""

    @property
    def title(self) -> str:
        """What it does, in one line."""

    @property
    def state(self) -> str:
        """starting, running, done, failed, cancelled or died."""

    @property
    def started(self) -> float:
        """Seconds since the epoch."""

    @property
    def finished(self) -> Finished | None:
        """How it ended, if it said so."""

    def died(self) -> Finished:
        """The end to show where its worker is gone without having reported one."""

    def cancel(self) -> None:
        """Ask it to stop between two chunks."""

    def read(self, offset: int) -> tuple[list[AnyEvent], int]:
        """Events since a byte offset, and the offset to go on from."""


class Backend(Protocol):
    """The machine, its disks, its libraries and its jobs."""

    def machine(self) -> Machine:
        """This computer."""

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """All disks; takes up to seconds."""

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:
        """A regular file that stands in a disk's place, or a disk by its path; raises UsageError, RefusedError."""

    def libraries(self) -> Sequence[Path]:
        """Libraries on attached media."""

    def candidates(self) -> Sequence[Path]:
        """Folders in which a library could be made."""

    def images(self, library_path: Path) -> Listing:
        """What a library holds."""

    def plan_capture(self, disks: Sequence[Disk], library: Path, label: str, level: int = DEFAULT_LEVEL) -> CapturePlan:
        """Raises RefusedError."""

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:
        """What the capture would store and take, at each level that has a name; takes seconds, or until `cancel`."""

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """Raises RefusedError; `targets` by the names of the image's disks."""

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where the disk can be chosen."""

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """Empty where the disk can be chosen."""

    def plan_restore_partition(
        self, library: Path, image: Image, name: str, target: Disk, chosen: tuple[int, int]
    ) -> RestorePlan:
        """Raises RefusedError; `chosen` is a partition of the image's disk `name`, and one of the target."""

    def why_not_disk(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where a partition of the disk may be chosen."""

    def why_not_partition(self, disk: Disk, part: Partition, source: ImagedDisk, volume: Volume) -> str:
        """Empty where the partition can be chosen."""

    def confirms(self, answer: str, target: Disk, partition: int | None = None) -> bool:
        """Whether what was typed names the target, or its partition."""

    def seconds_expected(self, plan: Plan) -> float:
        """A rough forecast."""

    def submit(self, plan: Plan) -> Job:
        """Start a job."""

    def jobs(self) -> Sequence[Job]:
        """Newest first."""

    def state_folder(self) -> Path:
        """Where jobs lie, and where a report of an error in the screens can be written."""

    def shell(self) -> None:
        """A root shell on this terminal; comes back when it ends."""

    def reboot(self) -> None:
        """Restart the computer."""

    def power_off(self) -> None:
        """Switch the computer off."""
