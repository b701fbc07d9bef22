"""A computer that exists only in memory: disks, images and jobs for the tests of the screens."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging import partitions, planner
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Content, Disk, DiskId, Mount, Partition, PartitionTable, Role, TableKind
from imaging.errors import BadImageError, RescueError, UsageError
from imaging.estimate import Estimate
from imaging.events import (
    AnyEvent,
    CaptureResult,
    Finished,
    Log,
    Progress,
    RestoreResult,
    Started,
    Step,
    VerifyResult,
)
from imaging.forecast import DiskForecast, Forecast
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.plan import CapturePlan, Plan, RestorePlan, RestoreTarget
from rescue.backend import Job

GB = 1000**3
LIBRARY = Path("/media/stick/library")
EFI_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
HERE = Machine(vendor="Dell Inc.", model="OptiPlex 7050", serial="ABC1234", firmware="uefi", hostname="office")


def make_table(size: int = 500 * GB) -> PartitionTable:
    """An EFI system partition and an ext4 root."""
    return PartitionTable(
        kind=TableKind.GPT,
        table_id="11111111-2222-3333-4444-555555555555",
        partitions=(
            Partition(
                number=1,
                start=1 << 20,
                size=512 << 20,
                type=EFI_TYPE,
                name="EFI",
                content=Content(kind="vfat", usage="filesystem", label="EFI"),
            ),
            Partition(
                number=2,
                start=513 << 20,
                size=size - (514 << 20),
                type=LINUX_TYPE,
                name="root",
                content=Content(kind="ext4", usage="filesystem", label="debian"),
            ),
        ),
    )


def make_disk(
    name: str = "sda",
    *,
    size: int = 500 * GB,
    model: str = "Samsung SSD 870",
    serial: str = "S5Y1NX0R",
    table: PartitionTable | None = None,
    mounts: tuple[Mount, ...] = (),
    roles: tuple[Role, ...] = (),
    transport: str = "sata",
    fingerprint: str = "00ff",
    unfinished: str = "",
    problem: str = "",
    regular_file: bool = False,
) -> Disk:
    """A disk with the common table, unless told otherwise."""
    return Disk(
        path=f"/dev/{name}",
        id=DiskId(size=size, model=model, serial=serial),
        table=make_table(size) if table is None else table,
        mounts=mounts,
        roles=roles,
        transport=transport,
        fingerprint=fingerprint,
        unfinished=unfinished,
        problem=problem,
        regular_file=regular_file,
    )


EMPTY = PartitionTable(kind=TableKind.NONE)
SDA = make_disk()
SDB = make_disk("sdb", size=2000 * GB, model="WDC WD20EZRZ", serial="WD-77", table=EMPTY)
STICK = make_disk(
    "sdc", size=32 * GB, model="Ultra Fit", serial="4C53", transport="usb", roles=(Role.BOOT_MEDIUM, Role.LIBRARY)
)
BUSY = make_disk("sdd", serial="B1", mounts=(Mount(source="/dev/sdd2", where="/srv/data"),))


def make_imaged_disk(name: str = "sda", *, size: int = 256 * GB, model: str = "CT256M550") -> ImagedDisk:
    """What an image says of one disk."""
    table = make_table(size)
    volumes = tuple(
        Volume(
            number=partition.number,
            start=partition.start,
            size=partition.size,
            used=partition.size // 10,
            map_origin="partclone",
            content=partition.content,
        )
        for partition in table.partitions
    )
    return ImagedDisk(
        name=name,
        id=DiskId(size=size, model=model, serial=f"SN-{name}"),
        logical_sector=512,
        physical_sector=4096,
        table=table,
        volumes=volumes,
        table_extents=((0, 17408),),
        used=sum(volume.used for volume in volumes),
        chunks=6000,
        index_digest="0" * 64,
        used_digest="0" * 64,
        blake3_digest="0" * 64,
    )


def make_image(
    id: str = "20261120T101500-office",
    *,
    created: str = "2026-11-20T10:15:00Z",
    label: str = "clean install",
    machine: Machine = HERE,
    disks: tuple[ImagedDisk, ...] = (),
) -> Image:
    """An image of one disk, unless told otherwise."""
    return Image(
        id=id,
        created=created,
        label=label,
        machine=machine,
        disks=disks or (make_imaged_disk(),),
        tool="rescue 0.1.0",
        stored=9 * GB,
    )


def restore_plan(target: Disk = SDA) -> RestorePlan:
    """Restore the common image."""
    image = make_image()
    pair = RestoreTarget(source=image.disks[0], target=target)
    return RestorePlan(library=str(LIBRARY), image=image.id, label=image.label, targets=(pair,))


def make_forecast(disks: Sequence[Disk], *, room: int | None = 200 * GB, known: int = 0) -> Forecast:
    """A tenth of each disk is used; the last volume is stored whole; `known` of 48 probes are in the library."""
    found = []
    for disk in disks:
        volumes = make_imaged_disk(disk.name, size=disk.size).volumes
        whole = replace(volumes[-1], map_origin="whole", used=volumes[-1].size // 10, note="it is encrypted")
        volumes = (*volumes[:-1], whole)
        used = sum(volume.used for volume in volumes)
        found.append(DiskForecast(name=disk.name, volumes=volumes, used=used, chunks=5000, sampled=48, known=known))
    used = sum(disk.used for disk in found)
    estimates = tuple(
        Estimate(
            level=level, stored=used // part, least=used // (part + 1), most=used // (part - 1), seconds=60.0 * time
        )
        for level, part, time in ((1, 2, 4), (3, 3, 6), (9, 4, 20))
    )
    return Forecast(disks=tuple(found), estimates=estimates, overhead=10**6, room=room)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDamaged:
    """An image that cannot be used."""

    id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeListing:
    """What a library holds."""

    images: tuple[Image, ...] = ()
    damaged: tuple[FakeDamaged, ...] = ()


@dataclass
class FakeJob:
    """A job whose worker is the test: it says what `events` hold."""

    known_plan: Plan | None
    id: str = "1"
    state: str = "running"
    started: float = 1000.0
    events: list[AnyEvent] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """As the plan has it."""
        return self.known_plan.title if self.known_plan else "a job whose plan cannot be read"

    @property
    def finished(self) -> Finished | None:
        """The last event, if it is an end."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    def died(self) -> Finished:
        """What the job's folder tells."""
        return DIED

    def cancel(self) -> None:
        """Only noted."""
        self.calls.append("cancel")

    def read(self, offset: int) -> tuple[list[AnyEvent], int]:
        """The offset counts events."""
        return self.events[offset:], len(self.events)

    def say(self, *events: AnyEvent) -> None:
        """The worker says something."""
        self.events += events

    def end(self, finished: Finished, state: str = "done") -> None:
        """The worker ends."""
        self.events.append(finished)
        self.state = state


def running_job(plan: Plan | None = None) -> FakeJob:
    """A job that is a quarter through its step."""
    plan = plan or restore_plan()
    job = FakeJob(known_plan=plan)
    job.say(
        Started(time=1000.0, job="1", kind="restore", title=plan.title),
        Log(time=1000.0, message="the target's table was cleared"),
        Step(time=1000.0, name="Restoring sda", total=100 * GB),
        *(Progress(time=1000.0 + second, done=second * GB, total=100 * GB, moved=GB) for second in range(26)),
    )
    return job


RESTORED = Finished(
    time=1300.0,
    status=0,
    message="clean install was restored to sda",
    state="sda holds the whole image",
    result=RestoreResult(
        image="i", compared=6000, skipped=5000, written=1000, written_bytes=4 * GB, read_back=True, seconds=300.0
    ),
)
FAILED = Finished(
    time=1300.0,
    status=5,
    code="io",
    message="writing to sda failed at 12.0 GB: Input/output error",
    state="sda holds half a system",
    hint="check the cable, or replace the disk",
)
DIED = Finished(
    time=1300.0,
    status=5,
    code="worker-died",
    message="the process that did the work ended without a word",
    state="sda may be only partly restored",
    hint="restore the image again: only what is missing will be written",
)
CAPTURED = Finished(
    time=1300.0,
    status=0,
    message="sda was captured",
    result=CaptureResult(image="i", used=40 * GB, chunks=10_000, new=4_000, stored=9 * GB, seconds=400.0),
)
VERIFIED_BAD = Finished(
    time=1300.0,
    status=4,
    message="the image is damaged",
    result=VerifyResult(image="i", chunks=100, bytes=GB, bad=tuple("abcdefghij"), differing=0, seconds=3.0),
)


@dataclass
class FakeBackend:
    """The computer; what is done to it is noted in `submitted` and `calls`."""

    found_disks: Sequence[Disk] = (STICK, BUSY, SDA, SDB)
    found_libraries: Sequence[Path] = (LIBRARY,)
    found_candidates: Sequence[Path] = (Path("/media/usbdisk"),)
    listing: FakeListing = field(default_factory=lambda: FakeListing(images=(make_image(),)))
    known_jobs: list[FakeJob] = field(default_factory=list)
    submitted: list[Plan] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refusal: RescueError | None = None
    state: Path = Path("/nonexistent")
    room: int = 200 * GB

    def machine(self) -> Machine:
        """This computer."""
        return HERE

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:  # noqa: ARG002
        """All disks."""
        return self.found_disks

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:  # noqa: ARG002
        """Every path that ends in .img is a disk file."""
        if not path.endswith(".img"):
            raise UsageError(f"{path}: there is no such disk or file")
        return replace(make_disk("disk.img", model="", serial=path, regular_file=True), path=path)

    def libraries(self) -> Sequence[Path]:
        """Libraries."""
        return self.found_libraries

    def candidates(self) -> Sequence[Path]:
        """Folders."""
        return self.found_candidates

    def images(self, library_path: Path) -> FakeListing:
        """Only the one library exists."""
        if library_path != LIBRARY:
            raise BadImageError(f"{library_path} is not an image library")
        return self.listing

    def plan_capture(self, disks: Sequence[Disk], library: Path, label: str, level: int = DEFAULT_LEVEL) -> CapturePlan:
        """The real planner, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        return planner.plan_capture(disks, library, label, level)

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:  # noqa: ARG002
        """A tenth of each disk is used, in a library with room for most."""
        return make_forecast(plan.disks, room=self.room)

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """The real planner, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        return planner.plan_restore(library, image, targets)

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """The real planner."""
        return planner.why_not_target(disk, source)

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """The real planner."""
        return planner.why_not_source(disk, library)

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

    def confirms(self, answer: str, target: Disk, partition: int | None = None) -> bool:
        """The real planner."""
        return planner.confirms(answer, target, partition)

    def seconds_expected(self, plan: Plan) -> float:  # noqa: ARG002
        """Four minutes."""
        return 240.0

    def submit(self, plan: Plan) -> Job:
        """A job that has just started."""
        self.submitted.append(plan)
        job = FakeJob(known_plan=plan, id=str(len(self.known_jobs) + 1), state="starting")
        self.known_jobs.insert(0, job)
        return job

    def jobs(self) -> Sequence[Job]:
        """Newest first."""
        return self.known_jobs

    def state_folder(self) -> Path:
        """Where a crash would be written."""
        return self.state

    def shell(self) -> None:
        """Noted."""
        self.calls.append("shell")

    def reboot(self) -> None:
        """Noted."""
        self.calls.append("reboot")

    def power_off(self) -> None:
        """Noted."""
        self.calls.append("power off")
