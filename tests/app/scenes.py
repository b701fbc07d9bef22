"""Every screen of the application in a state worth looking at: which keys lead there, from which computer.

Snapshots (test_snapshots.py) and pictures (python -m tests.pictures) are taken of all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec.structs import replace as replace_state

from imaging import bootcheck
from imaging.bootcheck import BootState
from imaging.disk import Content
from imaging.errors import RefusedError
from imaging.events import Started
from imaging.manifest import Image, Machine
from imaging.notes import FactoryState, Notes, Verification
from imaging.orderboard import Phase, State
from imaging.orders import After, DiskMatch, Match
from imaging.places import Remembered
from imaging.recoveryplans import MediaGrowPlan
from imaging.repairplans import RepairWishes
from imaging.signatures import Signer, Standing
from imaging.signatures import State as SignatureState
from imaging.ssh import Ssh
from imaging.unfinished import Manner
from tests.app.disks import BUSY, FAILING_HEALTH, GB, GOOD_HEALTH, HERE, SDA, SDB, STICK
from tests.app.drives import BLANK_STICK, BUILT, LIVE_SYSTEM, OLD_DRIVE, TINY, drive_table, make_medium
from tests.app.imagefiles import FakeFiles, a_file
from tests.app.images import LIBRARY, FakeDamaged, FakeListing, make_image, make_imaged_disk, make_inside, restore_plan
from tests.app.jobs import CAPTURED, DIED, FAILED, MADE, REPAIRED, RESTORED, FakeJob, running_job
from tests.app.machine import CABLED, FINGERPRINT, NETWORK, FakeBackend, locked_with
from tests.app.repairs import repair_plan

LAB = Machine(vendor="LENOVO", model="ThinkCentre M720q", serial="PC0XYZ", firmware="uefi", hostname="lab")
SYSTEM = "Debian GNU/Linux 13 (trixie)"
SYSTEMS = {SDA.path: {2: SYSTEM}}
"""What stands on the first disk."""


def with_system(image: Image) -> Image:
    """The image, with a system on the last partition of its first disk."""
    first, *others = image.disks
    volumes = (*first.volumes[:-1], replace(first.volumes[-1], system=SYSTEM))
    return replace(image, disks=(replace(first, volumes=volumes), *others))


def calm() -> FakeBackend:
    """A computer with four disks and one system, a library with one image, and no job."""
    listing = FakeListing(images=(with_system(make_image()),))
    return FakeBackend(listing=listing, found_health={SDA.path: GOOD_HEALTH}, found_systems=SYSTEMS)


def busy() -> FakeBackend:
    """A restore runs, another one failed, a backup was done."""
    failed, captured = running_job(), running_job()
    failed.id, captured.id = "2", "3"
    failed.end(FAILED, "failed")
    captured.end(CAPTURED)
    return FakeBackend(known_jobs=[running_job(), failed, captured])


def ordered(phase: Phase, *, left: int | None = None) -> Callable[[], FakeBackend]:
    """An order that is so far."""
    state = State(phase=phase, name="Classroom PCs", plan=restore_plan(), then=After.POWER_OFF)
    match phase:
        case Phase.LOOKING:
            state = replace_state(state, message="looking for its image and its disks")
        case Phase.REFUSED:
            state = replace_state(
                state,
                message="several internal disks were found: sda (Samsung SSD 870; S5Y1NX0R; 500.0 GB), "
                "sdb (WDC WD20EZRZ; WD-77; 2.0 TB)",
                hint="name the disk by its serial number or WWN in the order, or unplug the other",
                problems=("the result could not be sent: https://deploy.example/results answers with status 503",),
            )
        case Phase.ENDED:
            state = replace_state(state, job="1", result="done", message="clean install was restored to sda")

    def made() -> FakeBackend:
        return FakeBackend(found_order=state, order_left=left)

    return made


def untrusted() -> FakeBackend:
    """Keys are trusted here, and none of them has signed the image."""
    backend = calm()
    backend.strict = True
    return backend


def signed() -> FakeBackend:
    """A trusted key has signed the image."""
    backend = untrusted()
    signer = Signer(key="5613-26f1-feab-da38-6477-5bdb", name="Anna Example, backups", trusted=True)
    backend.standings = {backend.listing.images[0].id: Standing(state=SignatureState.TRUSTED, signers=(signer,))}
    return backend


def encrypted() -> FakeBackend:
    """A library that nobody has opened yet."""
    return FakeBackend(passphrase="correct horse")


def locked_files() -> FakeBackend:
    """An image with an encrypted volume, in which there are logical ones."""
    return locked_with(
        make_inside(
            "sda2-open",
            Content(kind="LVM2_member", usage="raid"),
            "it holds logical volumes, which are shown beside it",
        ),
        make_inside("office-root", Content(kind="ext4", usage="filesystem", label="root")),
        make_inside("office-home", Content(kind="xfs", usage="filesystem", label="home")),
        make_inside("office-swap", Content(kind="swap", usage="other"), "it is swap space, which holds no files"),
    )


def sealed() -> FakeBackend:
    """An encrypted library that somebody has opened."""
    return replace(calm(), sealed=True)


def bare() -> FakeBackend:
    """No library, no disk, no medium."""
    return FakeBackend(found_disks=(), found_libraries=(), found_candidates=())


def crowded() -> FakeBackend:
    """More images than fit, long names, several disks in one, one that is damaged."""
    images = [make_image(f"2026{n:02}01T101500-office", created=f"2026-{n:02}-01T10:15:00Z") for n in range(12, 0, -1)]
    long = make_image(
        "20260830T081200-a-very-long-host-name",
        created="2026-08-30T08:12:00Z",
        label="before the big update of everything in the accounting office",
        machine=HERE,
        disks=(make_imaged_disk("nvme0n1"), make_imaged_disk("sda", size=4000 * 1000**3)),
    )
    other = make_image("20260715T090000-lab", created="2026-07-15T09:00:00Z", label="lab PC", machine=LAB)
    images.insert(5, replace(with_system(other), machine=LAB))
    damaged = FakeDamaged(id="20260101T000000-office", problem="the manifest is cut short")
    return FakeBackend(listing=FakeListing(images=(*images[:4], long, *images[4:]), damaged=(damaged,)))


def crowded_files() -> FakeBackend:
    """A folder with more than a screen holds, and names that nobody likes."""
    backend = calm()
    names = [b"022 caf\xe9", b"023 \x1b[31mred\nline", "024 \u202etxt.exe".encode(), b"025 " + b"n" * 251]
    files = [a_file(f"{number:03} of many.txt", 1000**3 * number) for number in range(1, 100)]
    backend.files = FakeFiles(tree={(): [*files[:20], *map(a_file, names), *files[20:]]})
    return backend


def factory_made() -> FakeBackend:
    """Two factory images, one of them for other computers, beside an image that is none."""
    ours = FactoryState(name="Office workplace", edition="2026-10", match=Match(vendor="Dell*", product="OptiPlex*"))
    others = FactoryState(name="Notebooks", match=Match(product=("Book 7", "Book 8")), description="With the camera")
    images = (make_image(), make_image("ours", label="office"), make_image("others", label="notebooks"))
    noted = {"ours": Notes(factory=ours), "others": Notes(factory=others)}
    return FakeBackend(listing=FakeListing(images=images, notes=noted))


def for_this_disk() -> FakeBackend:
    """A factory image whose own rule means the first disk, and a library that can take what is there."""
    state = FactoryState(name="Office workplace", disk=DiskMatch(serial=SDA.id.serial))
    listing = FakeListing(images=(make_image("ours", label="office"),), notes={"ours": Notes(factory=state)})
    return FakeBackend(listing=listing, safety=(LIBRARY,))


def without_room() -> FakeBackend:
    """As above, and no library can take it."""
    backend = for_this_disk()
    backend.room = 1
    return backend


def not_to_be_kept() -> FakeBackend:
    """A reset that was cut off, and what it was to keep cannot be read."""
    backend = interrupted()
    backend.kept = RefusedError("image saved is damaged", code="bad-image")
    return backend


def savable() -> FakeBackend:
    """What is on the disks can be saved before they are erased."""
    return FakeBackend(safety=(LIBRARY,))


def undoable() -> FakeBackend:
    """The last restore can be undone."""
    backend = factory_made()
    used = replace(make_imaged_disk(), index_digest="1" * 64)
    saved = make_image("20261121T080000-before", label="before office", disks=(used,))
    noted = {**backend.listing.notes, saved.id: Notes(before="20261120T101500-office")}
    backend.listing = FakeListing(images=(saved, *backend.listing.images), notes=noted)
    return backend


def interrupted() -> FakeBackend:
    """A reset that keeps files was cut off."""
    backend = undoable()
    manner = Manner(version=1, disk="sda")
    begun = replace(
        SDA, unfinished="20261120T101500-office", saved="20261121T080000-before", keeps=("homes",), manner=manner
    )
    backend.found_disks = (STICK, BUSY, begun, SDB)
    return backend


def noted() -> FakeBackend:
    """The image has a note and was verified."""
    backend = calm()
    (image,) = backend.listing.images
    notes = Notes(
        text="as it was when it was new; Anna has the key",
        verified=Verification(when="2026-11-21T08:00:00Z", chunks=6000, bad=0),
    )
    backend.listing = FakeListing(images=(image,), notes={image.id: notes})
    return backend


def with_sticks() -> FakeBackend:
    """Sticks of all kinds: blank, one that is a recovery drive, one that is too small; this one has room left."""
    backend = calm()
    backend.found_disks = (STICK, SDA, TINY, BLANK_STICK, OLD_DRIVE, BUSY)
    backend.found_media = {OLD_DRIVE.path: make_medium(OLD_DRIVE.path, images=30 * GB)}
    stick = replace(STICK, table=drive_table(2 * GB))
    backend.growth = MediaGrowPlan(target=stick, start=384 << 20, old_size=2 * GB, size=31 * GB)
    return backend


def damaged() -> FakeBackend:
    """The recovery drive that this was started from is damaged."""
    backend = with_sticks()
    problem = "rescue/root.squashfs is damaged: it is not what it was when the medium was made"
    backend.medium_state = BootState(state=bootcheck.State.DAMAGED, problems=(problem,), built=BUILT)
    return backend


def checking() -> FakeBackend:
    """It is still being checked."""
    backend = with_sticks()
    backend.medium_state = BootState(state=bootcheck.State.CHECKING, done=90 << 20, total=200 << 20, built=BUILT)
    return backend


def aged() -> FakeBackend:
    """It is over a year old."""
    backend = with_sticks()
    state = BootState(
        state=bootcheck.State.GOOD, done=200 << 20, total=200 << 20, built="2025-01-02T00:00:00Z", old=True
    )
    backend.medium_state = state
    return backend


def from_memory() -> FakeBackend:
    """The system was copied to memory, and the stick was pulled out."""
    backend = calm()
    backend.found_disks, backend.copied = (SDA, SDB), True
    return backend


def made() -> FakeBackend:
    """A recovery drive was made."""
    backend = with_sticks()
    plan = backend.plan_media(LIVE_SYSTEM, BLANK_STICK, backend.weigh([(LIBRARY, make_image().id)]), "")
    job = FakeJob(known_plan=plan)
    job.say(Started(time=1000.0, job="1", kind="media", title=plan.title))
    job.end(MADE)
    backend.known_jobs = [job]
    return backend


def ended() -> FakeBackend:
    """A restore went well."""
    job = running_job()
    job.end(RESTORED)
    return FakeBackend(known_jobs=[job])


def failed() -> FakeBackend:
    """A restore failed."""
    job = running_job()
    job.end(FAILED, "failed")
    return FakeBackend(known_jobs=[job])


def died() -> FakeBackend:
    """The process that restored was killed."""
    job = running_job()
    job.state = "died"
    job.end(DIED, "died")
    return FakeBackend(known_jobs=[job])


def sound() -> FakeBackend:
    """A computer on whose disks there is nothing to repair."""
    backend = calm()
    backend.sound = True
    return backend


def partly_repaired() -> FakeBackend:
    """A repair has ended, and a file system has errors that its tool did not decide on."""
    backend = calm()
    plan = repair_plan(SDA, RepairWishes())
    job = FakeJob(known_plan=plan)
    job.say(Started(time=1000.0, job="1", kind="repair", title=plan.title))
    job.end(REPAIRED)
    backend.known_jobs = [job]
    return backend


def failing() -> FakeBackend:
    """A computer whose first disk is about to fail."""
    backend = calm()
    backend.found_health = {SDA.path: FAILING_HEALTH}
    return backend


def crowded_ssh() -> FakeBackend:
    """ssh is on with keys, not all of which could be used; many addresses."""
    backend = calm()
    many = ("192.168.1.23/24", "10.0.0.5/8", "2001:db8:1234:5678:9abc:def0:1234:5678/64", "fd00::1/64", "fd00::2/64")
    backend.found_network = replace(NETWORK, interfaces=(replace(CABLED, addresses=many),))
    backend.found_ssh = Ssh(
        on=True,
        connections=2,
        keys=("anna@laptop", "backup server"),
        fingerprint=FINGERPRINT,
        problems=(
            "the key of rescue.ssh does not let in: that is no public key of ssh: the key is cut off, or has too much",
        ),
    )
    return backend


def without_disks() -> FakeBackend:
    """Images, but no disk to restore to."""
    return FakeBackend(found_disks=())


def remembering() -> FakeBackend:
    """Started from a drive that remembers a share and a bucket."""
    places = [
        Remembered(address="//nas/backup", user="anna"),
        Remembered(address="s3://office/images?endpoint=https://nas:9000"),
    ]
    return FakeBackend(drive_remembers=True, remembered=places)


def on_a_share() -> FakeBackend:
    """No library but on a Windows share that wants a password."""
    return FakeBackend(found_libraries=(), servers={"//nas/backup": Path("/run/rescue/shares/nas-backup")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A screen, by the name of its class, and the way there from the main menu."""

    name: str
    screen: str
    keys: str = ""
    """Separated by spaces, as Textual names them; a word in quotation marks is typed, `_` as a space."""
    backend: Callable[[], FakeBackend] = calm

    @property
    def presses(self) -> list[str]:
        """One key each."""
        return [
            key
            for word in self.keys.split()
            for key in (word.strip('"').replace("_", " ") if word.startswith('"') else (word,))
        ]

    def __str__(self) -> str:
        return self.name


SCENES = [
    Scene(name="menu", screen="MenuScreen"),
    Scene(name="menu-busy", screen="MenuScreen", backend=busy),
    Scene(name="menu-bare", screen="MenuScreen", backend=bare),
    Scene(name="menu-ssh", screen="MenuScreen", backend=crowded_ssh),
    Scene(name="menu-leave", screen="Question", keys="q"),
    Scene(name="menu-power-off-busy", screen="Question", keys="0", backend=busy),
    Scene(name="help", screen="Help", keys="f1"),
    Scene(name="images", screen="ImagesScreen", keys="1"),
    Scene(name="images-crowded", screen="ImagesScreen", keys="1 down down down down", backend=crowded),
    Scene(name="factory", screen="FactoryScreen", keys="f", backend=factory_made),
    Scene(name="factory-others", screen="Question", keys="f down enter", backend=factory_made),
    Scene(name="factory-undo", screen="FactoryScreen", keys="f", backend=undoable),
    Scene(name="menu-cut-off", screen="MenuScreen", backend=interrupted),
    Scene(name="restore-plan-unkept", screen="RestorePlanScreen", keys="f enter enter", backend=not_to_be_kept),
    Scene(name="reset-unkept", screen="ResetPlanScreen", keys="f enter 1 enter", backend=without_room),
    Scene(name="undo-targets", screen="UndoTargetScreen", keys="f end enter", backend=undoable),
    Scene(name="factory-cut-off", screen="FactoryScreen", keys="f", backend=interrupted),
    Scene(name="plan-saving", screen="RestorePlanScreen", keys="1 enter enter enter tab space", backend=savable),
    Scene(name="reset-targets", screen="ResetTargetScreen", keys="f enter", backend=factory_made),
    Scene(name="reset", screen="ResetScreen", keys="f enter", backend=for_this_disk),
    Scene(name="reset-keep", screen="ResetPlanScreen", keys="f enter 1", backend=for_this_disk),
    Scene(name="reset-erase", screen="ResetPlanScreen", keys="f enter 3", backend=for_this_disk),
    Scene(name="factory-none", screen="FactoryScreen", keys="f"),
    Scene(name="images-none", screen="ImagesScreen", keys="1", backend=bare),
    Scene(name="images-encrypted", screen="AskLibraryPassphrase", keys="1", backend=encrypted),
    Scene(name="images-closed", screen="ImagesScreen", keys="1 escape", backend=encrypted),
    Scene(name="elsewhere", screen="ElsewhereScreen", keys="1 o"),
    Scene(name="elsewhere-remembered", screen="ElsewhereScreen", keys="1 o", backend=remembering),
    Scene(name="elsewhere-remember", screen="AskWhere", keys="1 o down down enter", backend=remembering),
    Scene(
        name="elsewhere-keep",
        screen="AskLogin",
        keys='1 o down down enter "//nas/new" tab space tab enter',
        backend=remembering,
    ),
    Scene(name="elsewhere-share", screen="AskWhere", keys="1 o enter"),
    Scene(name="elsewhere-keys", screen="AskKeys", keys='1 o enter "s3://bucket/images" enter'),
    Scene(name="elsewhere-login", screen="AskLogin", keys='1 o enter "//nas/backup" enter', backend=on_a_share),
    Scene(name="scope", screen="ScopeScreen", keys="1 enter"),
    Scene(name="scope-many", screen="ScopeScreen", keys="1 down down down down enter", backend=crowded),
    Scene(name="targets", screen="TargetScreen", keys="1 enter enter"),
    Scene(name="targets-failing", screen="TargetScreen", keys="1 enter enter", backend=failing),
    Scene(name="targets-none", screen="TargetScreen", keys="1 enter enter", backend=without_disks),
    Scene(name="targets-file", screen="AskText", keys="1 enter enter o"),
    Scene(name="restore-plan", screen="RestorePlanScreen", keys="1 enter enter enter"),
    Scene(name="restore-plan-failing", screen="RestorePlanScreen", keys="1 enter enter enter", backend=failing),
    Scene(name="restore-plan-wrong", screen="RestorePlanScreen", keys='1 enter enter enter "sdx" enter'),
    Scene(name="restore-plan-confirmed", screen="RestorePlanScreen", keys='1 enter enter enter "sda" enter'),
    Scene(name="restore-sizes", screen="SizesScreen", keys="1 enter enter enter f4"),
    Scene(name="restore-sizes-smaller", screen="SizesScreen", keys="1 enter enter enter f4 minus minus minus"),
    Scene(name="restore-sizes-typed", screen="AskText", keys="1 enter enter enter f4 enter"),
    Scene(name="restore-plan-unsigned", screen="RestorePlanScreen", keys="1 enter enter enter", backend=untrusted),
    Scene(name="images-signed", screen="ImagesScreen", keys="1", backend=signed),
    Scene(name="volumes", screen="VolumesScreen", keys="1 enter down enter"),
    Scene(name="into-disk", screen="IntoDiskScreen", keys="1 enter down enter enter"),
    Scene(name="into-partition", screen="PartitionScreen", keys="1 enter down enter down enter enter"),
    Scene(name="sources", screen="SourcesScreen", keys="2"),
    Scene(name="destination", screen="DestinationScreen", keys="2 enter"),
    Scene(name="portion", screen="PortionScreen", keys="2 p"),
    Scene(name="sources-failing", screen="SourcesScreen", keys="2", backend=failing),
    Scene(name="backup-plan", screen="BackupPlanScreen", keys="2 enter enter"),
    Scene(name="library", screen="LibraryScreen", keys="3"),
    Scene(name="library-crowded", screen="LibraryScreen", keys="3 down down down down", backend=crowded),
    Scene(name="library-none", screen="LibraryScreen", keys="3", backend=bare),
    Scene(name="library-image", screen="ImageScreen", keys="3 enter", backend=noted),
    Scene(name="single-file-where", screen="SingleFilePlaceScreen", keys="3 enter x"),
    Scene(name="single-file-plan", screen="SingleFilePlanScreen", keys="3 enter x enter", backend=sealed),
    Scene(name="files-volumes", screen="FileVolumesScreen", keys="3 o"),
    Scene(name="files-locked", screen="FileVolumesScreen", keys="3 o", backend=locked_files),
    Scene(name="files-passphrase", screen="AskVolumePassphrase", keys="3 o down enter", backend=locked_files),
    Scene(
        name="files-passphrase-wrong",
        screen="AskVolumePassphrase",
        keys='3 o down enter "wrong" enter',
        backend=locked_files,
    ),
    Scene(name="files-unlocked", screen="FileVolumesScreen", keys='3 o down enter "pa,ss" enter', backend=locked_files),
    Scene(name="files", screen="FilesScreen", keys="3 o down enter down enter enter"),
    Scene(name="files-marked", screen="FilesScreen", keys="3 o down enter down enter enter space down down space"),
    Scene(name="files-crowded", screen="FilesScreen", keys="3 o enter pagedown", backend=crowded_files),
    Scene(name="files-search", screen="FileSearchScreen", keys='3 o enter slash "an" enter space'),
    Scene(name="files-where", screen="FileTargetScreen", keys="3 o enter end space c"),
    Scene(name="files-plan", screen="FilesPlanScreen", keys="3 o enter down space c enter"),
    Scene(name="library-rename", screen="EditText", keys="3 r"),
    Scene(name="library-delete", screen="DeleteScreen", keys="3 d"),
    Scene(name="library-delete-confirmed", screen="DeleteScreen", keys='3 d "clean_install" enter'),
    Scene(name="menu-damaged", screen="MenuScreen", backend=damaged),
    Scene(name="menu-old", screen="MenuScreen", backend=aged),
    Scene(name="menu-memory", screen="MenuScreen", backend=from_memory),
    Scene(name="restore-plan-checking", screen="RestorePlanScreen", keys="1 enter enter enter", backend=checking),
    Scene(name="restore-plan-damaged", screen="RestorePlanScreen", keys="1 enter enter enter", backend=damaged),
    Scene(name="destination-growth", screen="DestinationScreen", keys="2 enter", backend=with_sticks),
    Scene(name="drive", screen="DriveScreen", keys="c", backend=with_sticks),
    Scene(name="drive-damaged", screen="DriveScreen", keys="c", backend=damaged),
    Scene(name="drive-images", screen="DriveImagesScreen", keys="c enter down f", backend=with_sticks),
    Scene(name="drive-targets", screen="DriveTargetScreen", keys="c enter enter", backend=with_sticks),
    Scene(name="drive-way", screen="AskWay", keys="c enter enter down enter", backend=with_sticks),
    Scene(name="drive-plan", screen="DrivePlanScreen", keys="c enter down f enter enter", backend=with_sticks),
    Scene(
        name="drive-plan-confirmed",
        screen="DrivePlanScreen",
        keys='c enter enter enter "sde" enter',
        backend=with_sticks,
    ),
    Scene(name="drive-update", screen="DrivePlanScreen", keys="c enter enter down enter enter", backend=with_sticks),
    Scene(name="drive-growth", screen="GrowthScreen", keys="c down enter", backend=with_sticks),
    Scene(name="drive-check", screen="MediumScreen", keys="c down down enter", backend=with_sticks),
    Scene(name="drive-check-damaged", screen="MediumScreen", keys="c enter", backend=damaged),
    Scene(name="drive-made", screen="ResultScreen", keys="5 enter", backend=made),
    Scene(name="disks", screen="DisksScreen", keys="4"),
    Scene(name="disks-failing", screen="DisksScreen", keys="4", backend=failing),
    Scene(name="disk", screen="DiskScreen", keys="4 down down enter"),
    Scene(name="disk-starts", screen="DiskScreen", keys="4 down down enter b"),
    Scene(name="repair-plan", screen="RepairPlanScreen", keys="4 down down enter r"),
    Scene(name="repair-plan-checks", screen="RepairPlanScreen", keys="4 down down enter r tab space"),
    Scene(name="repair-nothing", screen="RepairPlanScreen", keys="4 down down enter r", backend=sound),
    Scene(name="repair-partly", screen="ResultScreen", keys="5 enter", backend=partly_repaired),
    Scene(name="disk-failing", screen="DiskScreen", keys="4 down down enter", backend=failing),
    Scene(name="disk-blinks", screen="Identify", keys="4 i"),
    Scene(name="jobs", screen="JobsScreen", keys="5", backend=busy),
    Scene(name="jobs-none", screen="JobsScreen", keys="5"),
    Scene(name="progress", screen="ProgressScreen", keys="r", backend=busy),
    Scene(name="progress-cancel", screen="Question", keys="r c", backend=busy),
    Scene(name="result-done", screen="ResultScreen", keys="5 enter", backend=ended),
    Scene(name="result-failed", screen="ResultScreen", keys="5 enter", backend=failed),
    Scene(name="result-died", screen="ResultScreen", keys="5 enter", backend=died),
    Scene(name="network", screen="NetworkScreen", keys="6"),
    Scene(name="network-card", screen="CardScreen", keys="6 enter"),
    Scene(name="network-typed", screen="StaticScreen", keys="6 enter 2"),
    Scene(name="ssh-off", screen="SshScreen", keys="6 end enter"),
    Scene(name="ssh-on", screen="SshScreen", keys="6 end enter 2"),
    Scene(name="ssh-crowded", screen="SshScreen", keys="6 end enter 2", backend=crowded_ssh),
    Scene(name="language", screen="LanguageScreen", keys="7"),
    Scene(name="log", screen="LogScreen", keys="8", backend=busy),
    Scene(name="log-save", screen="SavePlaceScreen", keys="8 s"),
    Scene(name="log-saved", screen="Notice", keys="8 s enter"),
    Scene(name="order-looking", screen="OrderScreen", keys="", backend=ordered(Phase.LOOKING)),
    Scene(name="order-counting", screen="OrderScreen", keys="", backend=ordered(Phase.COUNTING, left=28)),
    Scene(name="order-stopped", screen="OrderScreen", keys="escape", backend=ordered(Phase.COUNTING, left=28)),
    Scene(name="order-refused", screen="OrderScreen", keys="", backend=ordered(Phase.REFUSED)),
    Scene(name="order-ended", screen="OrderScreen", keys="", backend=ordered(Phase.ENDED, left=9)),
    Scene(name="notice", screen="Notice", keys="f2"),
]
