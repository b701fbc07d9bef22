"""A computer whose answers fail, come late or change meanwhile, and a person whose keys come twice."""

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from textual import events

from imaging import jobs
from imaging.disk import Disk
from imaging.errors import IoError, RefusedError
from imaging.events import Progress, Started, Step
from imaging.health import Health
from imaging.network import Network
from imaging.plan import Plan
from imaging.restoreplans import RestorePlan, RestoreTarget
from rescue.aside import aside
from rescue.backend import Job
from rescue.feed import Feed
from rescue.formats import columns, shortened
from rescue.screens import network
from rescue.widgets.confirm import offered
from tests.app.conftest import Person, Sit
from tests.app.disks import FAILING_HEALTH, GB, GOOD_HEALTH, SDA, SDB, make_disk
from tests.app.idle import PATIENCE
from tests.app.images import LIBRARY, FakeListing, make_image, make_imaged_disk, restore_plan
from tests.app.jobs import FakeJob
from tests.app.machine import FakeBackend

OTHER = make_disk(serial="OTHER", model="Another disk", fingerprint="11")
"""It came to the place of sda."""


@dataclass
class Slow(FakeBackend):
    """Answers to what is `held` come only when the test lets go."""

    held: str = ""
    go: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def wait(self, what: str) -> None:
        """Until it may go on."""
        self.asked.append(what)
        if what == self.held:
            self.go.wait(PATIENCE)

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        self.wait("disks")
        return super().disks(libraries)

    def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
        self.wait("systems")
        return super().systems(disks)

    def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
        self.wait("health")
        return super().health(disks)

    def libraries(self) -> Sequence[Path]:
        self.wait("libraries")
        return super().libraries()

    def size_of(self, library: Path, cancel: threading.Event) -> int:
        self.wait("size")
        return super().size_of(library, cancel)

    def network(self) -> Network:
        self.wait("network")
        return super().network()

    def network_dhcp(self, card: str) -> None:  # noqa: ARG002
        self.wait("dhcp")

    def submit(self, plan: Plan) -> Job:
        self.wait("submit")
        return super().submit(plan)


async def at_once(person: Person, *keys: str) -> None:
    """Keys that come together, as they do over a slow line."""
    for key in keys:
        person.app.post_message(events.Key(key, "\r" if key == "enter" else None))
    await person.pilot.pause()
    await person.settle()


def stack(person: Person) -> list[str]:
    """The screens, the topmost last."""
    return [type(screen).__name__ for screen in person.app.screen_stack]


def test_the_program_ends_while_a_disk_hangs() -> None:
    hangs = threading.Event()

    async def ask_and_leave() -> None:
        asyncio.create_task(aside(hangs.wait)).add_done_callback(lambda _task: None)
        await asyncio.sleep(0)

    asyncio.run(ask_and_leave())
    assert not hangs.is_set()
    hangs.set()


async def test_enter_twice_closes_the_notice_and_not_what_is_below(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("4", "o")
        await person.type("/x")
        assert "there is no such disk or file" in await person.press("enter")
        await at_once(person, "enter", "enter")
        assert stack(person)[-1] == "DisksScreen"


@pytest.mark.parametrize(
    ("way", "key", "opened"),
    [
        ("1", "enter", "ScopeScreen"),
        ("1", "p", "VolumesScreen"),
        ("1", "o", "ElsewhereScreen"),
        ("1 enter", "enter", "TargetScreen"),
        ("1 enter enter", "enter", "RestorePlanScreen"),
        ("1 enter down enter", "enter", "IntoDiskScreen"),
        ("1 enter down enter down enter", "enter", "PartitionScreen"),
        ("2", "enter", "DestinationScreen"),
        ("2", "p", "PortionScreen"),
        ("2 enter", "enter", "BackupPlanScreen"),
        ("3", "enter", "ImageScreen"),
        ("4 down down", "enter", "DiskScreen"),
        ("4", "i", "Identify"),
        ("5", "enter", "ProgressScreen"),
        ("6", "enter", "CardScreen"),
        ("", "r", "ProgressScreen"),
        ("", "c", "DriveScreen"),
        ("c", "enter", "DriveImagesScreen"),
        ("c enter", "enter", "DriveTargetScreen"),
        ("c enter enter", "enter", "DrivePlanScreen"),
        ("c down", "enter", "MediumScreen"),
        ("r", "c", "Question"),
        ("5", "c", "Question"),
    ],
)
async def test_a_key_that_comes_twice_opens_the_next_screen_once(
    sit_down: Sit, way: str, key: str, opened: str
) -> None:
    job = FakeJob(known_plan=restore_plan())
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press(*way.split())
        before = stack(person)
        await at_once(person, key, key)
        assert stack(person) == [*before, opened]


async def test_what_is_done_late_closes_its_own_screen_and_not_the_help_over_it(sit_down: Sit) -> None:
    backend = Slow(held="dhcp")
    async with sit_down(backend) as person:
        await person.press("6", "enter")
        await person.pilot.press("1")
        await person.until(lambda: "dhcp" in backend.asked)
        await person.pilot.press("f1")
        backend.go.set()
        await person.settle()
        assert stack(person)[-1] == "Help"
        await person.press("escape")
        assert stack(person)[-1] == "NetworkScreen"


async def test_a_computer_that_answers_nothing_leaves_the_menu_usable(sit_down: Sit) -> None:
    class Dead(FakeBackend):
        """Its disks do not answer."""

        def libraries(self) -> Sequence[Path]:
            raise IoError("lsblk did not answer")

        def jobs(self) -> Sequence[Job]:
            raise RefusedError("jobs cannot lie there")

    async with sit_down(Dead()) as person:
        assert "Images        lsblk did not answer" in person.screen
        assert "Jobs          jobs cannot lie there" in person.screen
        await person.press("5")
        assert "jobs cannot lie there" in person.screen
        assert stack(person)[-1] == "JobsScreen"
        await person.press("escape", "f1", "escape", "8")
        assert stack(person)[1:3] == ["MenuScreen", "LogScreen"]


async def test_the_menu_asks_again_only_after_an_answer(sit_down: Sit) -> None:
    backend = Slow()
    async with sit_down(backend) as person:
        backend.held = "libraries"
        asked = backend.asked.count("libraries")
        for _ in range(3):
            await person.pilot.press("f1")
            await person.pilot.press("escape")
        await person.until(lambda: backend.asked.count("libraries") > asked)
        assert backend.asked.count("libraries") == asked + 1
        backend.go.set()
        await person.settle()


async def test_a_network_that_cannot_be_asked_is_told_on_its_screen(sit_down: Sit) -> None:
    class Dumb(FakeBackend):
        """It has no ip."""

        def network(self) -> Network:
            raise IoError("ip did not answer")

    async with sit_down(Dumb()) as person:
        assert "ip did not answer" in await person.press("6")
        await person.press("escape")
        assert stack(person)[-1] == "MenuScreen"


async def test_a_network_that_is_slow_to_tell_is_shown(sit_down: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "EVERY", 3600.0)
    backend = Slow(held="network")
    async with sit_down(backend) as person:
        await person.pilot.press("6")
        await person.until(lambda: "network" in backend.asked)
        screen = person.app.screen
        assert isinstance(screen, network.NetworkScreen)
        for _ in range(5):
            screen.again()
            await person.pilot.pause()
        assert backend.asked.count("network") == 1
        backend.go.set()
        await person.until(lambda: "192.168.1.23" in person.screen)


async def test_disks_whose_health_cannot_be_asked_for_are_shown_all_the_same(sit_down: Sit) -> None:
    class Mute(FakeBackend):
        """It has no smartctl."""

        def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:  # noqa: ARG002
            raise IoError("smartctl cannot be run")

    async with sit_down(Mute()) as person:
        assert "Samsung SSD 870" in await person.press("4")


async def test_disks_that_cannot_be_listed_are_not_looked_at_for_ever(sit_down: Sit) -> None:
    class Blind(FakeBackend):
        """It has no lsblk."""

        def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:  # noqa: ARG002
            raise IoError("lsblk cannot be run")

    async with sit_down(Blind()) as person:
        for key in "24":
            await person.press(key, "escape")
            assert "Looking" not in person.screen
            assert "lsblk cannot be run" in person.screen
            await person.press("escape")


async def test_a_disk_in_another_ones_place_has_none_of_its_systems(sit_down: Sit) -> None:
    backend = Slow(found_systems={"/dev/sda": {2: "Windows 11"}})
    async with sit_down(backend) as person:
        assert "Windows 11" in await person.press("1", "enter", "enter")
        backend.held, backend.found_disks = "systems", (OTHER,)
        await person.pilot.press("l")
        await person.until(lambda: "Another disk" in person.screen)
        assert "Windows 11" not in person.screen
        await person.pilot.press("enter")
        await person.until(lambda: "ERASED" in person.screen)
        assert "Windows 11" not in person.screen
        backend.go.set()
        await person.settle()


async def test_a_failing_disk_in_another_ones_place_is_warned_of(sit_down: Sit) -> None:
    backend = Slow(found_health={"/dev/sda": GOOD_HEALTH})
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter")
        backend.held, backend.found_disks = "health", (OTHER,)
        backend.found_health = {"/dev/sda": FAILING_HEALTH}
        await person.pilot.press("l")
        await person.until(lambda: "Another disk" in person.screen)
        await person.pilot.press("enter")
        await person.until(lambda: "ERASED" in person.screen)
        backend.go.set()
        await person.settle()
        assert "WARNING: sda is FAILING" in person.screen


async def test_partitions_are_chosen_of_a_disk_that_is_gone_meanwhile(sit_down: Sit) -> None:
    backend = Slow()
    async with sit_down(backend) as person:
        await person.press("2")
        backend.held = "disks"
        await person.pilot.press("l", "p")
        await person.until(lambda: "choose the partitions" in person.screen)
        backend.found_disks = (SDB,)
        backend.go.set()
        await person.settle()
        screen = await person.press("down", "space", "enter")
        assert "WD-77" in screen
        assert "only partition" not in screen


async def test_partitions_and_marks_do_not_pass_to_another_disk(sit_down: Sit) -> None:
    backend = FakeBackend(found_disks=(SDA, SDB))
    async with sit_down(backend) as person:
        await person.press("2", "p", "down", "space", "enter")
        assert "only partition 1" in person.screen
        assert "[x] sda" in person.screen
        backend.found_disks = (OTHER, SDB)
        screen = await person.press("l")
        assert "[ ] sda  Another disk" in screen
        assert "only partition" not in screen


async def test_the_cursor_stays_on_its_image_when_others_come(sit_down: Sit) -> None:
    old = make_image("old", created="2026-01-01T00:00:00Z", label="old one")
    backend = FakeBackend(listing=FakeListing(images=(make_image(), old)))
    async with sit_down(backend) as person:
        await person.press("1", "down")
        new = make_image("new", created="2026-11-25T00:00:00Z", label="new one")
        backend.listing = FakeListing(images=(new, make_image(), old))
        assert "Image: old one" in await person.press("l", "enter")


async def test_a_library_that_is_measured_late_tells_what_is_in_it_now(sit_down: Sit) -> None:
    backend = Slow(held="size", listing=FakeListing(images=(make_image("a"), make_image("b", label="other"))))
    async with sit_down(backend) as person:
        await person.pilot.press("3")
        await person.until(lambda: "2 images" in person.screen)
        backend.held, backend.listing = "", FakeListing(images=(make_image("a"),))
        await person.pilot.press("l")
        await person.until(lambda: "1 image," in person.screen)
        backend.go.set()
        await person.settle()
        assert "1 image, 30.0 GB" in person.screen


async def test_a_restore_that_is_being_started_says_so_and_is_shown_whatever_is_pressed(sit_down: Sit) -> None:
    backend = Slow(held="submit")
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        await person.type("sda")
        await person.press("enter")
        await person.pilot.press("enter")
        await person.until(lambda: "submit" in backend.asked)
        assert "Starting .." in person.screen
        await person.pilot.press("escape", "enter")
        backend.go.set()
        await person.settle()
        assert stack(person)[1:] == ["MenuScreen", "ProgressScreen"]
        assert len(backend.submitted) == 1


async def test_a_folder_without_images_leaves_the_disks_to_be_chosen(sit_down: Sit) -> None:
    class Late(Slow):
        """Its disks are listed late."""

        def attached(self) -> Sequence[object]:  # type: ignore[override]
            self.wait("attached")
            return super().attached()

    backend = Late(held="attached")
    async with sit_down(backend) as person:
        await person.press("1")
        await person.pilot.press("o")
        await person.until(lambda: "A folder" in person.screen)
        await person.pilot.press("down", "enter", *"/srv", "enter")
        await person.until(lambda: "no image library was found" in person.screen)
        backend.go.set()
        await person.settle()
        assert "sda2" in await person.press("enter")


def test_progress_is_the_same_for_whoever_comes_later() -> None:
    disks = tuple(make_imaged_disk(name) for name in ("sda", "sdb"))
    image = make_image(disks=disks)
    targets = (RestoreTarget(source=disks[0], target=SDA), RestoreTarget(source=disks[1], target=SDB))
    job = FakeJob(known_plan=RestorePlan(library=str(LIBRARY), image=image.id, label="", targets=targets))
    first = Feed(job)
    for event in (
        Started(time=1.0, job="1", kind="restore", title="x"),
        Step(time=1.0, name="Restoring sda", total=100 * GB),
        Progress(time=9.0, done=99 * GB, total=100 * GB, moved=0),
        Step(time=9.0, name="Restoring sdb", total=900 * GB),
        Progress(time=10.0, done=GB, total=900 * GB, moved=0),
    ):
        job.say(event)
        first.poll()
        seen = first.whole
    late = Feed(job)
    late.poll()
    assert late.whole == seen


def test_a_job_whose_folder_is_gone_has_died(tmp_path: Path) -> None:
    job = jobs.Job(tmp_path / "gone")
    assert job.state is jobs.JobState.DIED
    assert job.title == "a job whose plan cannot be read"


def test_wide_characters_keep_columns_straight() -> None:
    assert shortened("日本語日本語", 8) == "日本語.."
    assert columns([["日本", "x"], ["abcdef", "y"]]) == ["日本    x", "abcdef  y"]


@pytest.mark.parametrize("width", [60, 80])
def test_names_to_type_leave_room_for_the_field(width: int) -> None:
    assert offered(["sda", "S5Y1NX0R"], width) == "sda or S5Y1NX0R"
    words = offered(["a" * 200, "b" * 12], width)
    assert len(words) <= width - 36
    assert "b" * 12 in words
