"""The backend that is real: this machine, through imaging."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from imaging import (
    access,
    backlog,
    bootcheck,
    care,
    certificates,
    checkboot,
    cloning,
    credentials,
    elsewhere,
    exportplan,
    factory,
    fileclient,
    fileplan,
    forecast,
    freeing,
    growth,
    identify,
    imagevolumes,
    inventory,
    jobs,
    keeping,
    keyboard,
    keyring,
    library,
    logs,
    media,
    mediaplan,
    mediasource,
    mediavouching,
    medium,
    network,
    partitions,
    places,
    planner,
    remote,
    repairlook,
    resectored,
    resuming,
    run,
    safetyplan,
    sanitizers,
    sizing,
    smaller,
    smart,
    ssh,
    sshshares,
    state,
    systems,
    vouching,
)
from imaging.address import ObjectAddress
from imaging.bootcheck import BootState
from imaging.bootentry import with_boot_entry
from imaging.chunk import DEFAULT_LEVEL
from imaging.credentials import Keys
from imaging.disk import Disk, Partition
from imaging.elsewhere import Attached
from imaging.errors import RefusedError, RescueError
from imaging.exportplan import SingleFile
from imaging.fileplan import Place as FilePlace
from imaging.forecast import Forecast
from imaging.freeing import Freed
from imaging.health import Health
from imaging.identify import Attachment
from imaging.imageplans import CapturePlan, DeletePlan, FilesPlan, VerifyPlan, VerifySetPlan
from imaging.imagevolumes import OpenVolume
from imaging.keptfiles import KeepRule
from imaging.keyboard import Keyboard
from imaging.levels import LEVELS
from imaging.library import Library
from imaging.logs import Place
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.mediasource import Weight
from imaging.medium import Medium
from imaging.mediumcheck import Advance, Examined
from imaging.mounts import kind_at
from imaging.network import Network, Static
from imaging.orderboard import Board, State
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
from imaging.touched import disks_used
from rescue import logbook, presets
from rescue.backend import LIVE_STATES, Backend, Files, Job, Listing
from rescue.language import _
from rescue.pages import Page


class Engine:
    """Asks imaging; called from several threads at once."""

    def __init__(self) -> None:
        self._mounting = threading.Lock()
        self._elsewhere: list[Path] = []

    def machine(self) -> Machine:
        """This computer."""
        return inventory.machine()

    def medium(self) -> Disk | None:
        """The disk that this recovery system was started from."""
        return inventory.medium()

    def network_boot(self) -> str:
        """The address that this recovery system was fetched from."""
        return inventory.network_boot()

    def in_memory(self) -> bool:
        """Whether the system was copied to memory, so that its medium is not needed any more."""
        return media.on_live_system() and kind_at(inventory.MEDIUM) == "tmpfs"

    def boot_state(self) -> BootState:
        """Whether the running medium is whole, as far as that is known; at once, and never raises."""
        return bootcheck.boot_state()

    def check_medium(self, advance: Advance, cancel: threading.Event) -> Examined:
        """Check the running medium, which takes minutes; raises BadImageError, IoError, CancelledError."""
        return bootcheck.check_running(advance, cancel)

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """All disks; takes up to seconds."""
        return inventory.scan(libraries)

    def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
        """How disks are doing, by path."""
        return smart.healths(disks)

    def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
        """The operating systems on disks, by path and partition."""
        return systems.all_systems(disks)

    def attachment(self, disk: Disk) -> Attachment:
        """Where a disk is plugged in."""
        return identify.attachment(disk)

    def blink(self, disk: Disk, stop: threading.Event) -> None:
        """Let a disk's light blink, until `stop` is set."""
        identify.blink(disk, stop)

    def starts(self, disk: Disk) -> Starts:
        """Whether a computer can start from a disk."""
        (found,) = checkboot.check_paths([disk.path])
        return found

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> RepairPlan:
        """What can be repaired of a disk."""
        return repairlook.plan_repair(inventory.look(disk.path, self.libraries()), wishes)

    def disk_file(self, path: str, libraries: Iterable[Path] = ()) -> Disk:
        """A regular file that stands in a disk's place, or a disk by its path."""
        return inventory.look(path, libraries)

    def libraries(self) -> Sequence[Path]:
        """Libraries on attached media, which the live system has to mount first, and those found elsewhere."""
        if media.on_live_system():
            with self._mounting:
                self._attach_media()
        others = [path for path in self._elsewhere if elsewhere.is_library(path)]
        return tuple(dict.fromkeys([*library.discover(), *library.single_files(), *others]))

    def _attach_media(self) -> None:
        """Mount what may hold images, but for disks that a job is at work on: a mount would take them from it."""
        taken = self._taken()
        if taken is not None:
            media.attach([disk for disk in inventory.scan() if disk.path not in taken])

    def _taken(self) -> set[str] | None:
        """The disks that jobs are at work on; None where that is not known, as a job's plan cannot be read."""
        plans = [job.known_plan for job in jobs.jobs() if job.state in LIVE_STATES]
        known = [plan for plan in plans if plan is not None]
        if len(known) < len(plans):
            return None
        return {path for plan in known for _, path, _ in disks_used(plan)}

    def candidates(self) -> Sequence[Path]:
        """Folders in which a library could be made."""
        return library.candidates()

    def volumes(self, image: Image) -> Sequence[OpenVolume]:
        """The volumes of an image, and why those cannot be looked into that cannot."""
        return imagevolumes.volumes(image)

    def unlock_volume(
        self, library: Path, image_id: str, volume: str, words: str, unlocked: Sequence[str]
    ) -> Sequence[OpenVolume]:
        """What an encrypted volume holds, opened with its passphrase; the key is known from then on."""
        return fileclient.unlock(library, image_id, volume, words, unlocked)

    def open_files(self, library: Path, image_id: str, volume: str, unlocked: Sequence[str] = ()) -> Files:
        """Mount a volume of an image, read-only, in a process beside this one."""
        return fileclient.open_files(library, image_id, volume, unlocked)

    def file_places(self) -> Sequence[FilePlace]:
        """Folders on attached disks, sticks and shares that files can be copied into."""
        self.libraries()
        return fileplan.places()

    def file_place(self, folder: Path) -> FilePlace:
        """What there is to know of a folder, there or not."""
        return fileplan.place(folder)

    def plan_files(
        self,
        library: Path,
        image: Image,
        volume: OpenVolume,
        paths: Sequence[Sequence[bytes]],
        target: Path,
        unlocked: Sequence[str] = (),
    ) -> FilesPlan:
        """Copy files into a folder, which is made where need be."""
        return fileplan.plan_files(library, image, volume, paths, target, unlocked)

    def single_file_places(self) -> Sequence[FilePlace]:
        """The top of attached disks, sticks and shares that can be written to."""
        self.libraries()
        return exportplan.places()

    def plan_single_file(self, library: Path, image: Image, where: Path) -> SingleFile:
        """Save an image as a single file, and what it takes there."""
        return exportplan.plan_single_file(library, image, where)

    def attached(self) -> Sequence[Attached]:
        """File systems of attached disks in which images can be looked for; takes up to seconds."""
        disks, taken = inventory.scan(), self._taken()
        return elsewhere.attached(disks, [disk.path for disk in disks] if taken is None else taken)

    def look_on(self, place: Attached) -> Sequence[Path]:
        """The libraries on a file system, which `libraries` names from now on; takes seconds, raises BadImageError."""
        with self._mounting:
            return self._remembered(elsewhere.libraries_on(place))

    def look_in(self, folder: Path) -> Sequence[Path]:
        """The same for those in a folder or somewhere below it."""
        return self._remembered(elsewhere.libraries_in(folder))

    def _remembered(self, found: Sequence[Path]) -> Sequence[Path]:
        self._elsewhere += [path for path in found if path not in self._elsewhere]
        return found

    def connect(self, address: Address, login: Login, *, writable: bool = False) -> Path:
        """Mount a network share; takes up to a minute. Raises RefusedError (code "login") and IoError."""
        return access.connect(address, login, writable=writable)

    def host_key(self, address: Address) -> HostKey | None:
        """The key that a server of ssh shows; None where it was confirmed before. Takes seconds; raises IoError."""
        return sshshares.host_key(address)

    def can_remember(self) -> bool:
        """Whether this system was started from a recovery drive that can remember places."""
        return media.on_live_system() and media.IMAGES.is_mount()

    def remembered_places(self) -> Sequence[Remembered]:
        """The places on the network that the drive remembers; raises IoError."""
        return places.read(media.IMAGES) if self.can_remember() else ()

    def remember_place(self, place: Remembered) -> None:
        """Have the drive remember a place. Raises RefusedError while a job reads from it, UsageError, IoError."""
        with access.writable(media.IMAGES):
            places.remember(media.IMAGES, place)

    def forget_place(self, place: Remembered) -> None:
        """Have the drive forget a place; raises as `remember_place` does."""
        with access.writable(media.IMAGES):
            places.forget(media.IMAGES, place)

    def trust(self, key: HostKey) -> None:
        """A person has confirmed a server's key; raises IoError."""
        sshshares.pin(key)

    def trust_certificate(self, path: Path) -> None:
        """Believe who a PEM file names when they vouch for a server; raises UsageError, IoError."""
        certificates.trust(path)

    def keys_known(self, address: ObjectAddress) -> bool:
        """Whether an address needs no keys, or they are known already."""
        return credentials.are_known(address)

    def reach(self, address: ObjectAddress, keys: Keys | None, *, writable: bool = False) -> Path:
        """The folder that stands for an address; takes seconds. Raises RefusedError (code "denied"), IoError."""
        found = remote.reach(address, keys, writable=writable)
        self._remembered([found])
        return found

    def images(self, library_path: Path) -> Listing:
        """What a library holds."""
        return library.Library.open(library_path).images()

    def signatures(self, library_path: Path, images: Sequence[str]) -> Mapping[str, Standing]:
        """What the signatures of images say, by id; raises where whom to trust is not known."""
        return vouching.of_images(library.Library.open(library_path), images)

    def is_locked(self, library_path: Path) -> bool:
        """Whether a library is encrypted and was not opened yet; at once, and never raises."""
        try:
            return keyring.is_locked(library.Library.look(library_path))
        except RescueError:
            return False

    def unlock(self, library_path: Path, words: str) -> None:
        """Open an encrypted library; takes a second. Raises RefusedError (code "wrong-passphrase"), BadImageError."""
        keyring.unlock(library.Library.look(library_path), words, str(library_path))

    def factory_image(self, library: Path) -> str:
        """The id of the library's factory image, empty where none is marked; raises BadImageError, IoError."""
        return factory.factory_image(library)

    def free_room(self, library: Path) -> int | None:
        """Free bytes on a library's medium; None where that cannot be told."""
        return forecast.free_room(library)

    def size_of(self, library: Path, cancel: threading.Event) -> int:
        """Bytes that a library's chunks take; takes seconds, or until `cancel`."""
        return freeing.size_of(library, cancel)

    def rename(self, library: Path, image_id: str, label: str) -> None:
        """Give an image another label; raises UsageError where it cannot be one, IoError."""
        care.rename(library, image_id, label)

    def note(self, library: Path, image_id: str, text: str) -> None:
        """Replace an image's notes; raises UsageError where they are too long, IoError."""
        care.note(library, image_id, text)

    def pin(self, library: Path, image_id: str, *, pinned: bool) -> None:
        """Keep an image from being deleted, or allow it again."""
        care.pin(library, image_id, pinned=pinned)

    def plan_delete(self, library: Path, image_id: str) -> DeletePlan:
        """Delete an image, damaged or not; raises BadImageError where it is gone."""
        return freeing.plan_delete(library, image_id)

    def freed_by(self, plan: DeletePlan, cancel: threading.Event) -> Freed:
        """What a deletion will free; takes seconds, or until `cancel`."""
        return freeing.freed_by(plan, cancel)

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

    def plan_restore(self, library: Path, image: Image, targets: Mapping[str, Disk]) -> RestorePlan:
        """A partition becomes smaller on a disk that is too small; takes up to minutes then. Raises RefusedError."""
        plan = planner.plan_restore(library, image, targets, shrink=growth.LAST)
        smaller.refuse_unless_fits(plan)
        resectored.refuse_unless_possible(plan)
        return vouching.of_restore(with_boot_entry(plan))

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

    def plan_safety(self, plan: RestorePlan) -> Sequence[CapturePlan]:
        """Nothing of one on a target, or that cannot be written to."""
        own = [] if plan.foreign is not None else [Path(plan.library)]
        found = []
        for path in dict.fromkeys([*own, *self.libraries()]):
            with suppress(RescueError):
                if not remote.is_read_only(path):
                    found.append(safetyplan.plan_safety(plan, path))
        return found

    def with_sanitizers(self, plan: RestorePlan) -> RestorePlan:
        """The plan, with how each of its drives erases itself, where it is to; takes up to half a minute."""
        return sanitizers.with_sanitizers(plan)

    def keep_files(self, plan: RestorePlan, rules: Sequence[KeepRule], library: Path) -> RestorePlan:
        """The plan, with files of the system that is there; takes up to minutes. Raises RefusedError, IoError."""
        return keeping.with_kept_files(plan, rules, library, self.libraries())

    def plan_verify(self, library_path: Path, image_id: str) -> VerifyPlan:
        """Check every chunk of an image; raises BadImageError where there is no such image."""
        return partitions.plan_verify(library_path, library.Library.open(library_path).image(image_id), chosen={})

    def plan_verify_set(self, library_path: Path) -> VerifySetPlan:
        """Check every chunk of all images of a library; takes seconds. Raises BadImageError, IoError."""
        return backlog.plan_verify_set(library.Library.open(library_path), datetime.now(UTC))

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

    def why_not_target(self, disk: Disk, source: ImagedDisk) -> str:
        """Empty where the disk can be chosen."""
        smaller_fits = planner.can_shrink(disk, source)
        return planner.why_not_target(disk, source, any_size=smaller_fits, any_sectors=True)

    def why_not_source(self, disk: Disk, library: Path | None = None) -> str:
        """Empty where the disk can be chosen."""
        return planner.why_not_source(disk, library)

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

    def order(self) -> State | None:
        """How far unattended work is; None where there is none. Raises IoError."""
        return Board().read()

    def stop_order(self) -> bool:
        """Stop the order before it begins, or what would come after its end; False where it is too late."""
        return Board().stop()

    def watch_order(self) -> None:
        """Say that a console shows the order, so that its countdown can begin; raises IoError."""
        Board().note_watcher()

    def state_folder(self) -> Path:
        """Where jobs lie, and where a report of an error in the screens can be written."""
        return state.state_folder()

    def log_page(self, what: str) -> Page:
        """A log: `screens`, `kernel`, `order`, or a job's by its id; raises UsageError where there is no such job."""
        match what:
            case "screens":
                return logbook.screens_page()
            case "kernel":
                return logbook.kernel_page()
            case "order" if pages := logbook.order_pages():
                return pages[0]
            case _:
                return logbook.job_page(jobs.find(what))

    def log_places(self) -> Sequence[Place]:
        """Where the logs can be saved, the stick first."""
        self.libraries()
        return logs.places()

    def save_log(self, folder: Path) -> Path:
        """All logs in one file in that folder; takes seconds. Raises UsageError, IoError."""
        return logbook.save(folder, self.machine(), jobs.jobs())

    def network(self) -> Network:
        """Cards, addresses and name servers; raises IoError."""
        return network.network()

    def network_dhcp(self, card: str) -> None:
        """Have the network give a card its address; raises RefusedError, IoError."""
        network.use_dhcp(card)

    def network_static(self, card: str, static: Static) -> None:
        """Give a card an address; raises RefusedError, IoError."""
        network.use_static(card, static)

    def network_off(self, card: str) -> None:
        """Switch a card off; raises RefusedError, IoError."""
        network.switch_off(card)

    def ssh(self) -> Ssh:
        """Whether and how somebody may come in from another computer; raises IoError."""
        return ssh.ssh()

    def ssh_allow_password(self) -> Password:
        """Let in whoever types a password that is made now; takes a second. Raises RefusedError, IoError."""
        return ssh.allow_password()

    def ssh_switch_off(self) -> None:
        """Let nobody in any more, and end all connections; raises RefusedError, IoError."""
        ssh.switch_off()

    def keyboard(self) -> Keyboard:
        """The layouts that can be loaded, and the one that is."""
        return keyboard.keyboard()

    def load_keymap(self, keymap: str) -> None:
        """Load a layout for the computer's own keyboard; raises RefusedError, UsageError, IoError."""
        keyboard.load(keymap)

    def remember_language(self, code: str) -> None:
        """Screens that are started later begin with it; raises IoError."""
        presets.remember_language(state.state_folder(), code)

    def shell(self) -> None:
        """A root shell on this terminal; comes back when it ends."""
        print(f"\n{_('Type exit to come back to Rescue.')}\n")
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
