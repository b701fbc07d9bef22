"""What the screens ask of the machine: an interface, so that they can be driven without one.

The real thing is rescue.engine. Everything may raise RescueError; what is slow says so.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from imaging.address import ObjectAddress
from imaging.bootcheck import BootState
from imaging.chunk import DEFAULT_LEVEL
from imaging.credentials import Keys
from imaging.disk import Disk, Partition
from imaging.elsewhere import Attached
from imaging.events import AnyEvent, Finished
from imaging.exportplan import SingleFile
from imaging.fileplan import Place as FilePlace
from imaging.fileview import Hits, Order, Tally
from imaging.fileview import Page as FolderPage
from imaging.forecast import Forecast
from imaging.freeing import Freed
from imaging.health import Health
from imaging.identify import Attachment
from imaging.imageplans import CapturePlan, DeletePlan, FilesPlan, VerifyPlan, VerifySetPlan
from imaging.imagevolumes import OpenVolume
from imaging.keptfiles import KeepRule
from imaging.keyboard import Keyboard
from imaging.logs import Place
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.mediasource import Weight
from imaging.medium import Medium
from imaging.mediumcheck import Advance, Examined
from imaging.network import Network, Static
from imaging.notes import Notes
from imaging.orderboard import State
from imaging.places import Remembered
from imaging.plan import Plan
from imaging.recoveryplans import MediaGrowPlan, MediaPlan, MediaSystem
from imaging.repairplans import RepairPlan, RepairWishes
from imaging.restoreplans import RestorePlan
from imaging.resuming import CutOff
from imaging.shares import Address, Login
from imaging.signatures import Standing
from imaging.sizing import Limits
from imaging.ssh import Password, Ssh
from imaging.sshshares import HostKey
from imaging.startable import Starts
from rescue.pages import Page
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

    @property
    def notes(self) -> Mapping[str, Notes]:
        """What is noted of each image (its notes, when it was verified last), by its id."""

    @property
    def ignored(self) -> Sequence[str]:
        """Notes that cannot be used, and why, in words."""


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


class Files(Protocol):
    """The files of one volume of an image, open to be looked at, until `close`. All may take seconds, and raise."""

    def page(self, path: Sequence[bytes], order: Order, start: int, count: int, at: bytes = b"") -> FolderPage:
        """`count` entries of a folder from `start` on, or, with `at`, the page on which that one stands."""

    def search(self, words: str, found: Callable[[Hits], None], cancel: threading.Event) -> None:
        """Hand over what has `words` in its name as it is found; raises CancelledError once `cancel` is set."""

    def tally(self, path: Sequence[bytes], cancel: threading.Event) -> Tally:
        """How much is at a path and below it; raises CancelledError once `cancel` is set."""

    def close(self) -> None:
        """Let go of them; at once."""


class Backend(Protocol):
    """The machine, its disks, its libraries and its jobs."""

    def machine(self) -> Machine:
        """This computer."""

    def medium(self) -> Disk | None:
        """The disk that this recovery system was started from; None where there is none. Takes up to a second."""

    def network_boot(self) -> str:
        """The address that this recovery system was fetched from; empty where it was started from a medium."""

    def in_memory(self) -> bool:
        """Whether the system was copied to memory, so that its medium is not needed any more."""

    def boot_state(self) -> BootState:
        """Whether the running medium is whole, as far as that is known; at once, and never raises."""

    def check_medium(self, advance: Advance, cancel: threading.Event) -> Examined:
        """Check the running medium, which takes minutes; raises BadImageError, IoError, CancelledError."""

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """All disks; takes up to seconds."""

    def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
        """How disks are doing, by path; never raises, and takes at most some seconds."""

    def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
        """The operating systems on disks, by path and partition (0: the bare disk); takes seconds, never raises."""

    def attachment(self, disk: Disk) -> Attachment:
        """Where a disk is plugged in; at once, and never raises."""

    def blink(self, disk: Disk, stop: threading.Event) -> None:
        """Let a disk's light blink by reading from it, until `stop` is set; raises IoError, RefusedError."""

    def starts(self, disk: Disk) -> Starts:
        """Whether a computer can start from a disk, which is looked at anew; some seconds, raises as `disk_file`."""

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> RepairPlan:
        """What can be repaired of a disk, which is looked at anew; some seconds. Raises RefusedError, IoError."""

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:
        """A regular file that stands in a disk's place, or a disk by its path; raises UsageError, RefusedError."""

    def libraries(self) -> Sequence[Path]:
        """Libraries on attached media."""

    def candidates(self) -> Sequence[Path]:
        """Folders in which a library could be made."""

    def images(self, library_path: Path) -> Listing:
        """What a library holds."""

    def signatures(self, library: Path, images: Sequence[str]) -> Mapping[str, Standing]:
        """What the signatures of images say, by id; raises RefusedError, BadImageError, IoError: whom to trust is not
        known."""

    def is_locked(self, library: Path) -> bool:
        """Whether a library is encrypted and was not opened yet; at once, and never raises."""

    def unlock(self, library: Path, words: str) -> None:
        """Open an encrypted library; takes a second. Raises RefusedError (code "wrong-passphrase"), BadImageError."""

    def factory_image(self, library: Path) -> str:
        """The id of the library's factory image, empty where none is marked; raises BadImageError, IoError."""

    def free_room(self, library: Path) -> int | None:
        """Free bytes on a library's medium; None where that cannot be told."""

    def size_of(self, library: Path, cancel: threading.Event) -> int:
        """Bytes that a library's chunks take; takes seconds, or until `cancel`."""

    def rename(self, library: Path, image_id: str, label: str) -> None:
        """Give an image another label; raises UsageError where it cannot be one, IoError."""

    def note(self, library: Path, image_id: str, text: str) -> None:
        """Replace an image's notes; raises UsageError where they are too long, IoError."""

    def pin(self, library: Path, image_id: str, *, pinned: bool) -> None:
        """Keep an image from being deleted, or allow it again; raises BadImageError, IoError."""

    def plan_delete(self, library: Path, image_id: str) -> DeletePlan:
        """Delete an image, damaged or not; raises BadImageError where it is gone."""

    def freed_by(self, plan: DeletePlan, cancel: threading.Event) -> Freed:
        """What a deletion will free; takes seconds, or until `cancel`."""

    def volumes(self, image: Image) -> Sequence[OpenVolume]:
        """The volumes of an image, and why those cannot be looked into that cannot; at once."""

    def unlock_volume(
        self, library: Path, image_id: str, volume: str, words: str, unlocked: Sequence[str]
    ) -> Sequence[OpenVolume]:
        """What an encrypted volume holds, opened with its passphrase; takes seconds, and as much memory as it asks for.

        `unlocked` are those that were opened before, in that order. Raises RefusedError (code "wrong-passphrase"),
        BadImageError, IoError.
        """

    def open_files(self, library: Path, image_id: str, volume: str, unlocked: Sequence[str] = ()) -> Files:
        """Mount a volume of an image, read-only; takes seconds. Raises BadImageError, RefusedError, IoError."""

    def file_places(self) -> Sequence[FilePlace]:
        """Folders on attached disks, sticks and shares that files can be copied into; takes up to seconds."""

    def file_place(self, folder: Path) -> FilePlace:
        """What there is to know of a folder, there or not; raises IoError."""

    def plan_files(
        self,
        library: Path,
        image: Image,
        volume: OpenVolume,
        paths: Sequence[Sequence[bytes]],
        target: Path,
        unlocked: Sequence[str] = (),
    ) -> FilesPlan:
        """Copy files into a folder, which is made where need be; raises BadImageError, RefusedError."""

    def single_file_places(self) -> Sequence[FilePlace]:
        """The top of attached disks, sticks and shares that can be written to; takes up to seconds."""

    def plan_single_file(self, library: Path, image: Image, where: Path) -> SingleFile:
        """Save an image as a single file in a folder, or as the file of that name, and what it takes there.

        Takes seconds. Raises RefusedError where it cannot be or has no room, BadImageError, IoError.
        """

    def attached(self) -> Sequence[Attached]:
        """File systems of attached disks in which images can be looked for; takes up to seconds."""

    def look_on(self, place: Attached) -> Sequence[Path]:
        """The libraries on a file system, which `libraries` names from now on; takes seconds, raises BadImageError."""

    def look_in(self, folder: Path) -> Sequence[Path]:
        """The same for those in a folder or somewhere below it."""

    def connect(self, address: Address, login: Login, *, writable: bool = False) -> Path:
        """Mount a network share; takes up to a minute. Raises RefusedError (code "login") and IoError."""

    def host_key(self, address: Address) -> HostKey | None:
        """The key that a server of ssh shows; None where it was confirmed before. Takes seconds; raises IoError."""

    def can_remember(self) -> bool:
        """Whether this system was started from a recovery drive that can remember places."""

    def remembered_places(self) -> Sequence[Remembered]:
        """The places on the network that the drive remembers; raises IoError."""

    def remember_place(self, place: Remembered) -> None:
        """Have the drive remember a place. Raises RefusedError while a job reads from it, UsageError, IoError."""

    def forget_place(self, place: Remembered) -> None:
        """Have the drive forget a place; raises as `remember_place` does."""

    def trust(self, key: HostKey) -> None:
        """A person has confirmed a server's key; raises IoError."""

    def trust_certificate(self, path: Path) -> None:
        """Believe who a PEM file names when they vouch for a server; raises UsageError, IoError."""

    def keys_known(self, address: ObjectAddress) -> bool:
        """Whether an address needs no keys, or they are known already."""

    def reach(self, address: ObjectAddress, keys: Keys | None, *, writable: bool = False) -> Path:
        """The folder that stands for an address; takes seconds. Raises RefusedError (code "denied"), IoError."""

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

    def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:
        """What the capture would store and take, at each level that has a name; takes seconds, or until `cancel`."""

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """`targets` by the names of the image's disks; on one that is too small a partition becomes smaller, which its
        tool is asked for: up to minutes then. Raises RefusedError."""

    def cut_off(self) -> Sequence[CutOff]:
        """The restores that were cut off, but for what a job is at work on; takes up to seconds. Raises IoError."""

    def plan_completion(self, cut: CutOff) -> RestorePlan:
        """Go on with one, but for files that it was to keep; takes up to minutes. Raises RefusedError."""

    def plan_undoing(self, cut: CutOff) -> RestorePlan:
        """Bring back what was there before it; raises RefusedError, BadImageError."""

    def plan_undo(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """Bring back a safety image, as `plan_restore` does a whole disk, or the partitions alone that it has."""

    def plan_safety(self, plan: RestorePlan) -> Sequence[CapturePlan]:
        """In which libraries what a restore's targets hold can be saved first, its own one before others."""

    def with_sanitizers(self, plan: RestorePlan) -> RestorePlan:
        """The plan, with how each of its drives erases itself, where it is to; takes up to half a minute."""

    def plan_beside_homes(self, plan: RestorePlan) -> RestorePlan | None:
        """The plan that leaves /home's own partitions as they are; None where it has none. Seconds; RefusedError."""

    def keep_files(self, plan: RestorePlan, rules: Sequence[KeepRule], library: Path) -> RestorePlan:
        """The plan, with files of the system that is there; takes up to minutes. Raises RefusedError, IoError."""

    def plan_verify(self, library_path: Path, image_id: str) -> VerifyPlan:
        """Check every chunk of an image; raises BadImageError where there is no such image."""

    def plan_verify_set(self, library: Path) -> VerifySetPlan:
        """Check every chunk of all images of a library; takes seconds. Raises BadImageError, IoError."""

    def media_system(self) -> MediaSystem:
        """The system that a recovery drive gets; takes up to seconds. Raises RefusedError where there is none."""

    def media_on(self, disks: Iterable[Disk]) -> Mapping[str, Medium]:
        """The disks that are recovery drives, by path; takes up to seconds, never raises."""

    def weigh(self, images: Iterable[tuple[Path, str]]) -> Weight:
        """What images take, each by its library and its id; takes seconds. Raises BadImageError, IoError."""

    def why_not_medium(self, disk: Disk, least: int) -> str:
        """Empty where the disk can become a recovery drive that needs `least` bytes."""

    def plan_media(self, system: MediaSystem, disk: Disk, weight: Weight, factory: str) -> MediaPlan:
        """Make a disk a recovery drive; `factory` is the id of one of the images, or empty. Raises RefusedError."""

    def plan_update(
        self, system: MediaSystem, disk: Disk, medium: Medium | None, weight: Weight, factory: str
    ) -> MediaPlan:
        """Replace the system of a recovery drive, and keep its images; raises RefusedError."""

    def vouched(self, plan: MediaPlan) -> MediaPlan:
        """The plan, with the keys that the medium trusts from then on, and what speaks against its images; takes up to
        seconds, raises BadImageError, IoError."""

    def plan_grow(self) -> MediaGrowPlan:
        """Let the running medium's partition for images take all of it; takes up to seconds. Raises RefusedError."""

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where the disk can be chosen."""

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """Empty where the disk can be chosen."""

    def grown(self, plan: RestorePlan) -> RestorePlan:
        """The plan, with the last partition taking the room of a larger disk; raises RefusedError, UsageError."""

    def sizes(self, plan: RestorePlan) -> Sequence[Limits]:
        """What sizes the partitions of the one disk that is restored can have; none of other plans."""

    def refuse_unless_sizes_fit(self, plan: RestorePlan) -> None:
        """Raise RefusedError where a file system cannot be as small or large as planned; takes up to minutes."""

    def with_new_identity(self, plan: RestorePlan) -> RestorePlan | None:
        """The plan, with new ids of its disk, where that is to be offered; takes up to seconds, raises RescueError."""

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

    def order(self) -> State | None:
        """How far unattended work is; None where there is none. Raises IoError."""

    def stop_order(self) -> bool:
        """Stop the order before it begins, or what would come after its end; False where it is too late."""

    def watch_order(self) -> None:
        """Say that a console shows the order, so that its countdown can begin; raises IoError."""

    def state_folder(self) -> Path:
        """Where jobs lie, and where a report of an error in the screens can be written."""

    def log_page(self, what: str) -> Page:
        """A log: `screens`, `kernel`, `order`, or a job's by its id; raises UsageError where there is no such job."""

    def log_places(self) -> Sequence[Place]:
        """Where the logs can be saved, the stick first."""

    def save_log(self, folder: Path) -> Path:
        """All logs in one file in that folder; takes seconds. Raises UsageError, IoError."""

    def network(self) -> Network:
        """Cards, addresses and name servers; raises IoError."""

    def network_dhcp(self, card: str) -> None:
        """Have the network give a card its address; raises RefusedError, IoError."""

    def network_static(self, card: str, static: Static) -> None:
        """Give a card an address; raises RefusedError, IoError."""

    def network_off(self, card: str) -> None:
        """Switch a card off; raises RefusedError, IoError."""

    def ssh(self) -> Ssh:
        """Whether and how somebody may come in from another computer; raises IoError."""

    def ssh_allow_password(self) -> Password:
        """Let in whoever types a password that is made now; takes a second. Raises RefusedError, IoError."""

    def ssh_switch_off(self) -> None:
        """Let nobody in any more, and end all connections; raises RefusedError, IoError."""

    def keyboard(self) -> Keyboard:
        """The layouts that can be loaded, and the one that is."""

    def load_keymap(self, keymap: str) -> None:
        """Load a layout for the computer's own keyboard; raises RefusedError, UsageError, IoError."""

    def remember_language(self, code: str) -> None:
        """Screens that are started later begin with it; raises IoError."""

    def shell(self) -> None:
        """A root shell on this terminal; comes back when it ends."""

    def reboot(self) -> None:
        """Restart the computer."""

    def power_off(self) -> None:
        """Switch the computer off."""
