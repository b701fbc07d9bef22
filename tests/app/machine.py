"""A computer that exists only in memory: disks, images and jobs for the tests of the screens."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from msgspec import structs

from imaging import bootcheck, growth, imagevolumes, mediaplan, partitions, planner, resuming, shrinking, sizing
from imaging.address import ObjectAddress
from imaging.bootcheck import BootState
from imaging.chunk import DEFAULT_LEVEL
from imaging.credentials import Keys
from imaging.disk import Content, Disk, DiskId, Mount, Partition, PartitionTable, Role, TableKind
from imaging.elsewhere import Attached
from imaging.errors import BadImageError, IoError, RefusedError, RescueError, UsageError
from imaging.estimate import Estimate
from imaging.events import (
    AnyEvent,
    CaptureResult,
    Finished,
    Log,
    MediaResult,
    Progress,
    RepairResult,
    RestoreResult,
    Started,
    Step,
    VerifyResult,
)
from imaging.exportplan import SingleFile
from imaging.fileplan import Place as FilePlace
from imaging.forecast import DiskForecast, Forecast
from imaging.freeing import Freed
from imaging.health import Condition, Health
from imaging.identify import Attachment
from imaging.identities import NewIdentity
from imaging.imageplans import CapturePlan, DeletePlan, ExportFormat, ExportPlan, FilesPlan, VerifyPlan, VerifySetPlan
from imaging.imagevolumes import OpenVolume
from imaging.keptfiles import KeepRule, KeptFiles, KeptPath, LeftPath, RootPlace
from imaging.keyboard import Keyboard
from imaging.logs import Place
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.mediasource import Weight
from imaging.medium import About, Medium, Part
from imaging.mediumcheck import Advance, Examined
from imaging.network import How, Interface, Network, Static
from imaging.notes import Notes
from imaging.orderboard import STOPPED, Phase, State
from imaging.places import Remembered
from imaging.plan import Plan
from imaging.recoveryplans import MediaGrowPlan, MediaImage, MediaPlan, MediaSystem
from imaging.repairplans import FileSystemCheck, RepairedSystem, RepairPlan, RepairWishes, TableRepair
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.resuming import CutOff
from imaging.sanitize import Obstacle, Sanitizer
from imaging.shares import Address, Kind, Login
from imaging.signatures import UNSIGNED, Standing, why_not_used
from imaging.signingkeys import PublicKey
from imaging.sizing import Limits
from imaging.ssh import Password, Ssh
from imaging.sshkeys import parse_key
from imaging.sshshares import HostKey
from imaging.startable import Answer, Firmware, Starts, Way
from rescue.backend import Job
from rescue.pages import Page
from tests.app.imagefiles import FakeFiles

GB = 1000**3
LIBRARY = Path("/media/stick/library")
MIRROR = Path("/run/rescue/remote/https/cloud/images/.mirror")
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

BUILT = "2026-11-20T08:00:00Z"
LIVE_SYSTEM = MediaSystem(
    path=STICK.path, build="0123456789abcdef", version="0.1.0", built=BUILT, size=200 << 20, booted=True
)
"""The system that a recovery drive gets."""
WHOLE = BootState(state=bootcheck.State.GOOD, done=200 << 20, total=200 << 20, built=BUILT)
EFI_PART = Part(number=2, start=190 << 20, end=200 << 20, name="EFI")


def make_medium(path: str, *, size: int = 32 * GB, images: int = 0, built: str = "2025-10-01T08:00:00Z") -> Medium:
    """A recovery drive, with a partition for images where they have bytes."""
    part = Part(number=3, start=384 << 20, end=(384 << 20) + images, name="RESCUE-IMAGES") if images else None
    about = About(format=1, version="0.0.9", build="fedcba9876543210", built=built, flavour="generic")
    return Medium(path=path, size=size, about=about, needed=200 << 20, system=200 << 20, efi=EFI_PART, images=part)


def drive_table(images: int = 0) -> PartitionTable:
    """The table of a recovery drive."""
    parts = [
        Partition(number=1, start=64 << 10, size=189 << 20, type=LINUX_TYPE, content=Content(kind="iso9660")),
        Partition(number=2, start=190 << 20, size=10 << 20, type=EFI_TYPE, content=Content(kind="vfat")),
    ]
    if images:
        content = Content(kind="ext4", usage="filesystem", label="RESCUE-IMAGES")
        parts.append(Partition(number=3, start=384 << 20, size=images, type=LINUX_TYPE, content=content))
    return PartitionTable(kind=TableKind.GPT, table_id="22222222-2222-3333-4444-555555555555", partitions=tuple(parts))


BLANK_STICK = make_disk("sde", size=64 * GB, model="Cruzer", serial="4C99", transport="usb", table=EMPTY)
OLD_DRIVE = make_disk(
    "sdf", size=32 * GB, model="DataTraveler", serial="E0D5", transport="usb", table=drive_table(30 * GB)
)
TINY = make_disk("sdg", size=128 << 20, model="Mini", serial="77", transport="usb", table=EMPTY)

ATTACHED = (
    Attached(disk=BUSY, number=2, size=499 * GB, content=Content(kind="ext4", label="data"), mounted_at="/srv/data"),
    Attached(disk=SDA, number=2, size=499 * GB, content=Content(kind="ext4", label="debian")),
    Attached(disk=SDB, number=1, size=2000 * GB, content=Content(kind="crypto_LUKS"), why_not="it is encrypted"),
)


NO_HEALTH = Health(condition=Condition.UNKNOWN, reasons=("it keeps no health log",))
GOOD_HEALTH = Health(condition=Condition.GOOD, temperature=31, power_on_hours=8734, rotation=0)
FAILING_HEALTH = Health(
    condition=Condition.FAILING,
    reasons=("sectors that cannot be read: 312", "bad sectors that it replaced by spare ones: 1,432"),
    temperature=38,
    power_on_hours=44801,
    power_cycles=2210,
    reallocated=1432,
    pending=312,
    uncorrectable=256,
    rotation=5400,
    firmware="80.00A80",
)


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


def make_locked_image() -> Image:
    """An image of a disk whose second partition LUKS encrypts."""
    disk = make_imaged_disk()
    locked = replace(disk.volumes[-1], content=Content(kind="crypto_LUKS", usage="crypto"))
    return replace(make_image(), disks=(replace(disk, volumes=(*disk.volumes[:-1], locked)),))


def make_inside(name: str, content: Content, problem: str = "") -> OpenVolume:
    """What is in that partition."""
    size = 20 * GB
    return OpenVolume(
        name=name, disk="sda2-open", size=size, content=content, sector=512, pieces=((0, size),), problem=problem
    )


def locked_with(*inside: OpenVolume) -> "FakeBackend":
    """A library whose one image has an encrypted volume, and what is in that."""
    return FakeBackend(listing=FakeListing(images=(make_locked_image(),)), inside={"sda2": inside})


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
    notes: Mapping[str, Notes] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


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


STARTS = Starts(
    disk="sda",
    ways=(
        Way(firmware=Firmware.BIOS, answer=Answer.STARTS),
        Way(firmware=Firmware.UEFI, answer=Answer.FAILS, reasons=("it has no EFI system partition",)),
    ),
    firmware="bios",
)


def repair_plan(disk: Disk, wishes: RepairWishes) -> RepairPlan:
    """A disk whose table is destroyed at its start, with the boot loader."""
    way = Way(firmware=Firmware.BIOS, answer=Answer.FAILS, reasons=("its boot sector holds no boot code",))
    parts = [part for part in disk.table.partitions if part.content.kind == "ext4"]
    checks = [
        FileSystemCheck(number=part.number, start=part.start, size=part.size, kind="ext4", only_looks=False)
        for part in parts
    ]
    return RepairPlan(
        target=disk,
        wishes=wishes,
        layout=disk.table,
        before=structs.replace(STARTS, disk=disk.name, ways=(way, STARTS.ways[1])),
        table=TableRepair(kept="end", writes=((1024, bytes(512)), (512, bytes(512)))),
        checks=tuple(checks) if wishes.check_all else (),
        system=RepairedSystem(number=2, name="Debian GNU/Linux 13 (trixie)", program="/usr/sbin/grub-install"),
        loaders=(Firmware.BIOS,),
        notes=("the boot loader is not put back: the disk has no EFI system partition",),
    )


REPAIRED = Finished(
    time=1300.0,
    status=8,
    message="sda was only partly repaired.",
    code="partly-repaired",
    hint="the log says why; save what is on the disk before anything else is tried",
    result=RepairResult(
        target="sda",
        starts=STARTS,
        seconds=42.0,
        table=True,
        loaders=("BIOS",),
        saved="/run/rescue/jobs/20261124-101500-abcd/kept",
        failed=("sda2 (ext4): e2fsck: the volume: UNEXPECTED INCONSISTENCY",),
    ),
)
RESTORED = Finished(
    time=1300.0,
    status=0,
    message="clean install was restored to sda",
    state="sda holds the whole image",
    result=RestoreResult(
        image="i",
        compared=6000,
        skipped=5000,
        written=1000,
        written_bytes=4 * GB,
        read_back=True,
        seconds=300.0,
        starts=(STARTS,),
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
MADE = Finished(
    time=1300.0,
    status=0,
    message="The recovery medium sde was made, read back and checked.",
    result=MediaResult(
        target="sde",
        build="0123456789abcdef",
        system=200 << 20,
        images=("i",),
        chunks=10_000,
        new=10_000,
        copied=9 * GB,
        room=50 * GB,
        seconds=500.0,
    ),
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

CABLED = Interface(
    name="eno1",
    hardware="52:54:00:12:34:56",
    cable=True,
    addresses=("192.168.1.23/24",),
    gateway="192.168.1.1",
    how=How.DHCP,
)
UNPLUGGED = Interface(name="enp3s0", hardware="52:54:00:12:34:57", cable=False, how=How.DHCP)
KEYBOARD = Keyboard(keymaps=frozenset({"us", "de-latin1-nodeadkeys", "fr-latin9"}))
FINGERPRINT = "SHA256:3kRS9MeI7K8LLxPciwkuX8XZyFz5GuW5rSW9wjuMO8g"
NETWORK = Network(interfaces=(CABLED, UNPLUGGED), name_servers=("192.168.1.1",))


@dataclass
class FakeBackend:
    """The computer; what is done to it is noted in `submitted` and `calls`."""

    found_disks: Sequence[Disk] = (STICK, BUSY, SDA, SDB)
    found_libraries: Sequence[Path] = (LIBRARY,)
    found_candidates: Sequence[Path] = (Path("/media/usbdisk"),)
    listing: FakeListing = field(default_factory=lambda: FakeListing(images=(make_image(),)))
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """What the signatures of images say, by id."""
    strict: bool = False
    """Whether keys are trusted here."""
    trusted_by_media: tuple[PublicKey, ...] = ()
    """Those that a recovery drive trusts once it is made."""
    found_health: Mapping[str, Health] = field(default_factory=dict)
    """By path, as `Backend.health` has it."""
    found_systems: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By path, as `Backend.systems` has it."""
    blinking: threading.Event | None = None
    """What stops the light that blinks."""
    known_jobs: list[FakeJob] = field(default_factory=list)
    submitted: list[Plan] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refusal: RescueError | None = None
    state: Path = Path("/nonexistent")
    room: int | None = 200 * GB
    freed: Freed = field(default_factory=lambda: Freed(chunks=2000, bytes=6 * GB, shared=1000))
    found_network: Network = NETWORK
    found_ssh: Ssh = Ssh()  # noqa: RUF009
    found_keyboard: Keyboard = KEYBOARD
    found_identity: NewIdentity | None = None
    """New ids that a restore is offered."""
    found_order: State | None = None
    order_left: int | None = None
    """Seconds until the order's countdown ends; None where none runs."""
    files: FakeFiles = field(default_factory=FakeFiles)
    inside: Mapping[str, Sequence[OpenVolume]] = field(default_factory=dict)
    """What encrypted volumes hold, by their names."""
    found_file_places: Sequence[FilePlace] = (
        FilePlace(path=Path("/run/rescue/media/sde1/rescue-files"), free=30 * GB, kind="vfat"),
        FilePlace(path=Path("/run/rescue/images/rescue-files"), free=2 * GB, kind="ext4"),
    )
    places: Sequence[Place] = (
        Place(path=Path("/run/rescue/images"), free=2 * GB, stick=True),
        Place(path=Path("/media/usbdisk"), free=50 * GB),
    )
    found_attached: Sequence[Attached] = ATTACHED
    hidden: Sequence[Path] = ()
    """Libraries that are found only where somebody looks."""
    servers: dict[str, Path | RescueError] = field(default_factory=dict)
    """Shares and buckets by their address, and where each is mounted."""
    drive_remembers: bool = False
    """Whether the recovery drive can remember places."""
    remembered: list[Remembered] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    """Servers of ssh whose keys were confirmed."""
    fetched_from: str = ""
    """The address, where the recovery system was started over the network."""
    passphrase: str = ""
    sealed: bool = False
    """Whether the libraries that are open are encrypted."""
    """What opens the library, where it is encrypted."""
    safety: tuple[Path, ...] = ()
    """The libraries in which a safety image can be kept."""
    sanitizer: Sanitizer = field(default_factory=lambda: Sanitizer(obstacle=Obstacle.UNABLE))
    """How the disks erase themselves."""
    kept: tuple[KeptPath, ...] | RescueError = (KeptPath(path="/home/anna", size=4_000_000_000, files=1200),)
    """What of a system can be kept, or why nothing can."""
    left: tuple[LeftPath, ...] = ()
    """What of that cannot be kept, where the system is Windows."""
    factory: str = ""
    """The id of the library's factory image."""
    copied: bool = False
    """Whether the system runs from memory."""
    medium_state: BootState = WHOLE
    system: MediaSystem | None = LIVE_SYSTEM
    found_media: Mapping[str, Medium] = field(default_factory=dict)
    """The recovery drives, by path."""
    growth: MediaGrowPlan | None = None
    least_size: int = 0
    """What a file system needs, by its tool."""
    sound: bool = False
    """Whether nothing of any disk can be repaired."""
    examined: Examined | RescueError | None = None
    """What a check that is asked for finds."""

    def machine(self) -> Machine:
        """This computer."""
        return HERE

    def medium(self) -> Disk | None:
        """The stick, if it is still plugged in."""
        return next((disk for disk in self.found_disks if Role.BOOT_MEDIUM in disk.roles), None)

    def network_boot(self) -> str:
        """The web server, where it came from one."""
        return self.fetched_from

    def in_memory(self) -> bool:
        """As the test wants it."""
        return self.copied

    def boot_state(self) -> BootState:
        """As the test wants it."""
        return self.medium_state

    def check_medium(self, advance: Advance, cancel: threading.Event) -> Examined:  # noqa: ARG002
        """What the test wants to be found."""
        self.calls.append("check medium")
        advance(50 << 20, 200 << 20)
        if isinstance(self.examined, RescueError):
            raise self.examined
        return self.examined or Examined(
            path=STICK.path, about=make_medium(STICK.path).about, findings=(), bytes=200 << 20
        )

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

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:  # noqa: ARG002
        """All disks."""
        return self.found_disks

    def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
        """What the test wants; of other disks nothing is known."""
        return {disk.path: self.found_health.get(disk.path, NO_HEALTH) for disk in disks}

    def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
        """What the test wants."""
        return {disk.path: self.found_systems.get(disk.path, {}) for disk in disks}

    def attachment(self, disk: Disk) -> Attachment:
        """All in the first port of the common controller."""
        return Attachment(port="pci-0000:00:17.0-ata-1", rotational=disk.name == "sdb")

    def blink(self, disk: Disk, stop: threading.Event) -> None:
        """Noted, with what stops it."""
        self.calls.append(f"blink {disk.name}")
        self.blinking = stop

    def starts(self, disk: Disk) -> Starts:
        """As a disk for a BIOS alone."""
        self.calls.append(f"starts {disk.name}")
        return structs.replace(STARTS, disk=disk.name)

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> RepairPlan:
        """The table and the loader; file systems where that is asked for."""
        self.calls.append(f"plan_repair {disk.name}")
        if self.sound:
            starts = structs.replace(STARTS, disk=disk.name)
            return RepairPlan(target=disk, wishes=wishes, layout=disk.table, before=starts)
        return repair_plan(disk, wishes)

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
        if self.passphrase:
            raise RefusedError(f"{library_path} is encrypted", code="passphrase-needed")
        return self.listing

    def is_locked(self, library: Path) -> bool:
        """As the test wants it."""
        return bool(self.passphrase) and library == LIBRARY

    def unlock(self, library: Path, words: str) -> None:
        """Open it for good."""
        if words != self.passphrase:
            raise RefusedError(
                f"this does not open {library}: the passphrase is wrong", code="wrong-passphrase", hint="check it"
            )
        self.passphrase = ""

    def factory_image(self, library: Path) -> str:  # noqa: ARG002
        """The same everywhere."""
        return self.factory

    def free_room(self, library: Path) -> int | None:  # noqa: ARG002
        """The same everywhere."""
        return self.room

    def size_of(self, library: Path, cancel: threading.Event) -> int:  # noqa: ARG002
        """The same everywhere."""
        return 30 * GB

    def rename(self, library: Path, image_id: str, label: str) -> None:  # noqa: ARG002
        """In memory."""
        if self.refusal:
            raise self.refusal
        images = tuple(replace(i, label=label) if i.id == image_id else i for i in self.listing.images)
        self.listing = replace(self.listing, images=images)

    def note(self, library: Path, image_id: str, text: str) -> None:  # noqa: ARG002
        """In memory."""
        if self.refusal:
            raise self.refusal
        noted = replace(self.listing.notes.get(image_id, Notes()), text=text)
        self.listing = replace(self.listing, notes={**self.listing.notes, image_id: noted})

    def pin(self, library: Path, image_id: str, *, pinned: bool) -> None:  # noqa: ARG002
        """In memory."""
        if self.refusal:
            raise self.refusal
        noted = replace(self.listing.notes.get(image_id, Notes()), pinned=pinned)
        self.listing = replace(self.listing, notes={**self.listing.notes, image_id: noted})

    def plan_delete(self, library: Path, image_id: str) -> DeletePlan:
        """Of what the listing shows."""
        known = {image.id: image for image in self.listing.images}
        image = known.get(image_id)
        created, label = (image.created, image.label) if image else ("", "")
        return DeletePlan(library=str(library), image=image_id, created=created, label=label)

    def freed_by(self, plan: DeletePlan, cancel: threading.Event) -> Freed:  # noqa: ARG002
        """What the test wants."""
        return self.freed

    def volumes(self, image: Image) -> Sequence[OpenVolume]:
        """Those of the image."""
        return imagevolumes.volumes(image)

    def unlock_volume(
        self, _library: Path, _image_id: str, volume: str, words: str, unlocked: Sequence[str]
    ) -> Sequence[OpenVolume]:
        """What the test has put into it; any passphrase but one is wrong."""
        self.note_call(" ".join(["unlock", volume, *unlocked]))
        if words != "pa,ss":
            raise RefusedError(f"{volume}: that is not its passphrase", code="wrong-passphrase")
        return self.inside[volume]

    def open_files(self, _library: Path, _image_id: str, volume: str, unlocked: Sequence[str] = ()) -> FakeFiles:
        """The same of all images, or the refusal that the test wants."""
        self.note_call(" ".join(["open", volume, *unlocked]))
        return self.files

    def file_places(self) -> Sequence[FilePlace]:
        """As the test wants it."""
        return self.found_file_places

    def file_place(self, folder: Path) -> FilePlace:
        """One of those, or a folder of the computer itself."""
        known = {place.path: place for place in self.found_file_places}
        return known.get(folder, FilePlace(path=folder, free=self.room, kind="ext4"))

    def plan_files(
        self,
        library: Path,
        image: Image,
        volume: OpenVolume,
        paths: Sequence[Sequence[bytes]],
        target: Path,
        unlocked: Sequence[str] = (),
    ) -> FilesPlan:
        """Into any folder, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        return FilesPlan(
            library=str(library),
            image=image.id,
            volume=volume.name,
            unlock=tuple(unlocked),
            paths=tuple(b"/".join(path).decode(errors="replace") for path in paths),
            target=str(target),
            create=True,
            label=image.label,
        )

    def single_file_places(self) -> Sequence[FilePlace]:
        """The disks of those for files."""
        return [replace(place, path=place.path.parent) for place in self.found_file_places]

    def plan_single_file(self, library: Path, image: Image, where: Path) -> SingleFile:
        """Of 9 GB, in pieces on FAT, or the refusal that the test wants."""
        self.note_call(f"plan single file {where}")
        known = {place.path: place for place in self.single_file_places()}
        place = known.get(where, FilePlace(path=where, free=self.room, kind="ext4"))
        target = where if where.suffix == ".rescue" else where / "clean-install.rescue"
        plan = ExportPlan(
            library=str(library),
            image=image.id,
            target=str(target),
            format=ExportFormat.RESCUE,
            label=image.label,
        )
        pieces = 3 if place.kind == "vfat" else 1
        return SingleFile(plan=plan, place=place, size=9 * GB, pieces=pieces, encrypted=self.sealed)

    def attached(self) -> Sequence[Attached]:
        """The file systems of the disks that are no library, all of which can be looked into but for the encrypted."""
        return [place for place in self.found_attached if place.disk in self.found_disks]

    def look_on(self, place: Attached) -> Sequence[Path]:
        """Those of `hidden` whose path bears the name."""
        return self.look_in(Path("/run/rescue/media", place.name))

    def look_in(self, folder: Path) -> Sequence[Path]:
        """Those of `hidden` that lie there; they are found from now on."""
        found = [path for path in self.hidden if path.is_relative_to(folder)]
        if not found:
            raise BadImageError(f"no image library was found in {folder}", code="not-a-library")
        self.found_libraries = (*self.found_libraries, *(path for path in found if path not in self.found_libraries))
        return found

    def connect(self, address: Address, login: Login, *, writable: bool = False) -> Path:
        """The answers of `servers`: an error, or where it is mounted; a user other than anna is refused."""
        self.calls.append(f"connect {address.source} {login.user} {login.domain} {'rw' if writable else 'ro'}")
        answer = self.servers.get(address.source, IoError(f"{address.server} does not answer", code="no-server"))
        if isinstance(answer, RescueError):
            raise answer
        if address.kind is not Kind.NFS and (login.user or address.user, login.password) != ("anna", "pa,ss"):
            raise RefusedError(f"{address.server} does not let this user at {address.source}", code="login")
        if writable:
            self.found_candidates = (*self.found_candidates, answer / "rescue-library")
        return answer

    def can_remember(self) -> bool:
        """As it is."""
        return self.drive_remembers

    def remembered_places(self) -> Sequence[Remembered]:
        """All of them."""
        return tuple(self.remembered)

    def remember_place(self, place: Remembered) -> None:
        """One more."""
        self.remembered.append(place)

    def forget_place(self, place: Remembered) -> None:
        """One less."""
        self.remembered.remove(place)

    def host_key(self, address: Address) -> HostKey | None:
        """One for each server, until it was confirmed."""
        self.calls.append(f"host_key {address.server}")
        if address.server in self.trusted:
            return None
        blob = "AAAAC3NzaC1lZDI1NTE5AAAAIEdt+o2tU4n3PNHHMq4zZe3Pj9ITSgk3LbRQNb1Ws8Bk"
        return HostKey(name=address.server, key=parse_key(f"ssh-ed25519 {blob}"))

    def trust(self, key: HostKey) -> None:
        """It is asked for no more."""
        self.trusted.append(key.name)

    def trust_certificate(self, path: Path) -> None:
        """From then on the servers that nobody vouched for are known."""
        self.calls.append(f"trust {path}")
        self.servers |= {name: MIRROR for name, answer in self.servers.items() if not isinstance(answer, Path)}

    def keys_known(self, address: ObjectAddress) -> bool:
        """Of web servers alone."""
        return address.read_only

    def reach(self, address: ObjectAddress, keys: Keys | None, *, writable: bool = False) -> Path:
        """The answers of `servers`, by address; any secret but one is refused."""
        self.calls.append(f"reach {address.url} {keys.rate if keys else '-'} {'rw' if writable else 'ro'}")
        answer = self.servers.get(address.url, IoError(f"{address.host} does not answer", code="network"))
        if isinstance(answer, RescueError):
            raise answer
        if keys is not None and keys.values.get("secret_access_key") != "pa,ss":
            raise RefusedError(f"{address.url}: the server does not let these credentials in", code="denied")
        return answer

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

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:  # noqa: ARG002
        """A tenth of each disk is used, in a library with room for most."""
        return make_forecast(plan.disks, room=self.room)

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """The real planner, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        plan = planner.plan_restore(library, image, targets)
        standing = self.standings.get(image.id, UNSIGNED)
        return structs.replace(plan, standing=standing, doubt=why_not_used(standing, strict=self.strict))

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

    def _again(self, cut: CutOff, wanted: str, targets: Callable[[CutOff, Image], Mapping[str, Disk]]) -> RestorePlan:
        image = next((image for image in self.listing.images if image.id == wanted), None)
        if image is None:
            raise RefusedError(f"image {wanted} is in none of the libraries here", code="no-such-image")
        return self.plan_restore(LIBRARY, image, targets(cut, image))

    def plan_safety(self, plan: RestorePlan) -> Sequence[CapturePlan]:
        """The libraries that the test has for it, as far as the real planner takes them."""
        disks = [pair.target for pair in plan.targets]
        return [planner.plan_capture(disks, library, f"before {plan.label}") for library in self.safety]

    def with_sanitizers(self, plan: RestorePlan) -> RestorePlan:
        """The plan with what the test's drives can do."""
        return structs.replace(
            plan, targets=tuple(structs.replace(pair, sanitizer=self.sanitizer) for pair in plan.targets)
        )

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

    def signatures(self, library: Path, images: Sequence[str]) -> Mapping[str, Standing]:
        """As the test has it, for whatever library."""
        return {image: self.standings[image] for image in images if library and image in self.standings}

    def plan_verify(self, library_path: Path, image_id: str) -> VerifyPlan:
        """Any image can be verified."""
        return VerifyPlan(library=str(library_path), image=image_id)

    def plan_verify_set(self, library: Path) -> VerifySetPlan:
        """All sound images."""
        return VerifySetPlan(library=str(library), images=tuple(image.id for image in self.listing.images))

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """The real planner."""
        return planner.why_not_target(disk, source)

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """The real planner."""
        return planner.why_not_source(disk, library)

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

    def order(self) -> State | None:
        """As the test wants it, its countdown never nearer to its end than that."""
        order, left = self.found_order, self.order_left
        if order is None or order.phase not in (Phase.COUNTING, Phase.ENDED, Phase.REFUSED) or left is None:
            return order
        return structs.replace(order, ends_at=time.monotonic() + left)

    def stop_order(self) -> bool:
        """As a board does it."""
        self.note_call("stop order")
        running, self.order_left = self.order_left is not None, None
        if self.found_order is None or self.found_order.phase not in (Phase.LOOKING, Phase.COUNTING):
            return running
        self.found_order = structs.replace(self.found_order, phase=Phase.STOPPED, message=STOPPED)
        return True

    def watch_order(self) -> None:
        """Noted."""
        self.note_call("watch order")

    def state_folder(self) -> Path:
        """Where a crash would be written."""
        return self.state

    def log_page(self, what: str) -> Page:
        """Forty lines."""
        return Page(title=f"Log of {what}", lines=tuple(f"{what} line {number}" for number in range(40)))

    def log_places(self) -> Sequence[Place]:
        """The stick and a disk."""
        return self.places

    def save_log(self, folder: Path) -> Path:
        """Noted, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        self.calls.append(f"save log to {folder}")
        return folder / "rescue-log-20261125-2141-ABC1234.tar.gz"

    def network(self) -> Network:
        """As the test wants it."""
        return self.found_network

    def network_dhcp(self, card: str) -> None:
        """Noted, or the refusal that the test wants."""
        self.note_call(f"dhcp {card}")

    def network_static(self, card: str, static: Static) -> None:
        """Noted, or the refusal that the test wants."""
        self.note_call(f"static {card} {static.address} {static.gateway} {','.join(static.name_servers)}")

    def network_off(self, card: str) -> None:
        """Noted, or the refusal that the test wants."""
        self.note_call(f"off {card}")

    def ssh(self) -> Ssh:
        """As the test wants it, or as it was switched."""
        return self.found_ssh

    def ssh_allow_password(self) -> Password:
        """One password after the other."""
        self.note_call("ssh with a password")
        number = str(int(self.found_ssh.password or 0) + 1)
        self.found_ssh = replace(self.found_ssh, on=True, password=number, fingerprint=FINGERPRINT)
        return Password(words=f"abcde-fghjk-mnpq{number}", number=number)

    def ssh_switch_off(self) -> None:
        """Nobody comes in."""
        self.note_call("ssh off")
        self.found_ssh = Ssh()

    def note_call(self, call: str) -> None:
        """Note it, unless it is refused."""
        if self.refusal:
            raise self.refusal
        self.calls.append(call)

    def keyboard(self) -> Keyboard:
        """As the test wants it."""
        return self.found_keyboard

    def load_keymap(self, keymap: str) -> None:
        """Loaded, or the refusal that the test wants."""
        self.note_call(f"keymap {keymap}")
        self.found_keyboard = replace(self.found_keyboard, loaded=keymap)

    def remember_language(self, code: str) -> None:
        """Noted."""
        self.note_call(f"language {code}")

    def shell(self) -> None:
        """Noted."""
        self.calls.append("shell")

    def reboot(self) -> None:
        """Noted."""
        self.calls.append("reboot")

    def power_off(self) -> None:
        """Noted."""
        self.calls.append("power off")
