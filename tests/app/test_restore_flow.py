"""Restore: image, target, plan, the name typed, progress and result."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from imaging.disk import Content, Disk, PartitionTable, TableKind
from imaging.errors import RefusedError
from imaging.health import Health
from imaging.identities import NewIdentity, Renamed
from imaging.imageplans import CapturePlan
from imaging.restoreplans import RestorePlan
from imaging.signatures import Signer, Standing, State
from rescue.screens.menu import MenuScreen
from rescue.screens.restore import RestorePlanScreen
from tests.app.conftest import Sit
from tests.app.disks import FAILING_HEALTH, GB, SDA, SDB, make_disk
from tests.app.idle import until
from tests.app.images import LIBRARY, FakeDamaged, FakeListing, make_image, make_imaged_disk
from tests.app.jobs import DIED, FAILED, RESTORED, FakeJob, running_job
from tests.app.machine import FakeBackend


def submitted(backend: FakeBackend) -> RestorePlan:
    """The only plan that was submitted."""
    (plan,) = backend.submitted
    assert isinstance(plan, RestorePlan)
    return plan


async def test_images_stand_newest_first_with_details_of_the_one_under_the_cursor(sit_down: Sit) -> None:
    old = make_image("old", created="2024-01-01T00:00:00Z", label="old one")
    backend = FakeBackend(listing=FakeListing(images=(old, make_image())))
    async with sit_down(backend) as person:
        screen = await person.press("1")
        assert screen.index("clean install") < screen.index("old one")
        assert "2026-11-20 10:15 clean install this computer 256.0 GB" in person.words
        assert "256.0 GB, of which 25.6 GB hold data" in screen
        assert "Image       20261120T101500-office" in screen
        assert "Label       old one" in await person.press("down")


async def test_a_damaged_image_is_shown_with_its_problem_and_cannot_be_chosen(sit_down: Sit) -> None:
    listing = FakeListing(damaged=(FakeDamaged(id="bad-1", problem="the manifest is cut short"),))
    async with sit_down(FakeBackend(listing=listing)) as person:
        await person.press("1")
        assert "DAMAGED bad-1 cannot be chosen: the manifest is cut short" in person.words
        await person.press("down", "enter")
        assert "choose an image" in person.screen


async def test_without_a_library_the_screen_says_what_to_do(sit_down: Sit) -> None:
    backend = FakeBackend(found_libraries=())
    async with sit_down(backend) as person:
        assert "No image library was found." in await person.press("1")
        backend.found_libraries = (LIBRARY,)
        assert "clean install" in await person.press("l")


async def test_disks_that_cannot_be_chosen_come_last_with_the_reason(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await person.press("1", "enter", "enter")
        assert "sda  Samsung SSD 870  serial S5Y1NX0R  500.0 GB  sata" in screen
        assert 'ext4 "debian"' in screen
        assert screen.index("WD-77") < screen.index("4C53")
        assert "cannot be chosen: this computer was started from it" in screen
        assert "cannot be chosen: it is in use: /dev/sdd2 is mounted at /srv/data" in screen


async def test_the_cursor_never_reaches_a_disk_that_cannot_be_chosen(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("1", "enter", "enter", "end", "enter")
        assert "ERASED : sdb" in person.screen


async def test_a_file_that_stands_for_a_disk_can_be_named(sit_down: Sit) -> None:
    backend = FakeBackend(found_disks=())
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "o")
        await person.type("/vm/disk.img")
        await person.press("enter", "enter")
        assert "To erase it, type disk.img: [" in person.screen
        await person.type("disk.img")
        await person.press("enter", "enter")
        assert submitted(backend).targets[0].target.path == "/vm/disk.img"


async def test_a_file_that_is_not_there_is_told_and_forgotten(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("1", "enter", "enter", "o")
        await person.type("/vm/none")
        await person.press("enter")
        assert "/vm/none: there is no such disk or file" in person.words
        await person.press("enter")
        assert "S5Y1NX0R" in await person.press("l")


async def test_where_no_disk_fits_the_screen_says_so(sit_down: Sit) -> None:
    small = make_disk("sde", size=8 * GB)
    async with sit_down(FakeBackend(found_disks=(small,))) as person:
        screen = await person.press("1", "enter", "enter")
        assert "There is no disk that this can be restored to." in screen
        assert "too small" in screen
        assert "choose the disk" in await person.press("enter")


async def test_the_plan_shows_what_is_erased_and_the_focus_is_in_the_empty_field(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("1", "enter", "enter", "enter")
        assert "ERASED : sda  Samsung SSD 870  serial S5Y1NX0R  500.0 GB  sata" in screen
        assert 'ext4 "debian"  (root)' in screen
        assert "WRITTEN: disk sda of the image" in screen
        assert "Time: about 4 min" in screen
        assert "To erase it, type sda or S5Y1NX0R" in screen
        await person.press("enter", "enter", "tab", "enter")
        assert backend.submitted == []


async def test_a_wrong_name_erases_nothing(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        await person.type("sdb")
        screen = await person.press("enter")
        assert "That is not the name of this disk. Nothing was written." in screen
        assert "[ Restore ]" not in screen
        await person.press("enter", "enter")
        assert backend.submitted == []


@pytest.mark.parametrize("answer", ["sda", "S5Y1NX0R"])
async def test_the_name_or_the_serial_number_starts_the_restore(sit_down: Sit, answer: str) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        screen = await person.type(answer)
        assert "[ Restore ]" in screen
        assert backend.submitted == []
        await person.press("enter")
        assert person.focus == "restore"
        assert backend.submitted == []
        screen = await person.press("enter")
        plan = submitted(backend)
        assert plan.library == str(LIBRARY)
        assert plan.image == "20261120T101500-office"
        assert [(pair.source.name, pair.target) for pair in plan.targets] == [("sda", SDA)]
        assert "Restore clean install to sda" in screen
        assert person.focus == "leave"


async def test_a_name_that_is_changed_again_takes_the_button_away(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("1", "enter", "enter", "enter")
        await person.type("sda")
        assert "[ Restore ]" not in await person.press("backspace")


async def test_an_image_of_two_disks_asks_for_two_targets_and_two_names(sit_down: Sit) -> None:
    image = make_image(disks=(make_imaged_disk("sda"), make_imaged_disk("nvme0n1", size=400 * GB)))
    backend = FakeBackend(listing=FakeListing(images=(image,)))
    async with sit_down(backend) as person:
        screen = await person.press("1", "enter", "enter")
        assert "sda 256.0 GB, CT256M550, disk 1 of 2" in screen
        screen = await person.press("enter")
        assert "nvme0n1 400.0 GB, CT256M550, disk 2 of 2" in screen
        assert "already chosen for disk sda of the image" in screen
        screen = await person.press("enter")
        assert screen.count("To erase it, type") == 2
        await person.type("sda")
        await person.press("enter")
        assert backend.submitted == []
        assert person.app.screen.query_one("#restore").disabled
        await person.type("WD-77")
        await person.press("enter", "enter")
        pairs = submitted(backend).targets
        assert [(pair.source.name, pair.target) for pair in pairs] == [("sda", SDA), ("nvme0n1", SDB)]


async def test_a_refusal_is_shown_with_its_hint(sit_down: Sit) -> None:
    backend = FakeBackend(refusal=RefusedError("sda is in use", hint="unmount it"))
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        assert "sda is in use What to do: unmount it" in person.words
        assert "choose the disk" in await person.press("escape")


async def test_a_job_that_cannot_be_started_is_told_and_the_plan_stays(sit_down: Sit) -> None:
    class Busy(FakeBackend):
        def submit(self, plan: object) -> FakeJob:  # noqa: ARG002
            raise RefusedError("job 7 is at work on /dev/sda", hint="wait for its end, or cancel it")

    async with sit_down(Busy()) as person:
        await person.press("1", "enter", "enter", "enter")
        await person.type("sda")
        await person.press("enter", "enter")
        assert "job 7 is at work on /dev/sda What to do: wait for its end" in person.words
        assert "read this before you go on" in await person.press("enter")


async def test_progress_goes_on_to_the_result_with_the_next_step(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        screen = await person.press("r")
        assert "Now       Restoring sda" in screen
        assert "Left      about 1 min" in screen
        assert "█" in screen
        job.end(RESTORED)
        person.app.screen.poll()  # type: ignore[attr-defined]
        await person.settle()
        for words in (
            "DONE",
            "5,000 held the right bytes already",
            "read back and is right",
            "Next: remove the stick and restart the computer.",
            "[ Restart ]",
        ):
            assert words in person.screen
        assert person.focus == "home"
        await person.press("right", "enter")
        assert "Restart the computer?" in person.words


async def test_esc_from_progress_leaves_the_job_running(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r", "escape")
        assert isinstance(person.app.screen, MenuScreen)
        assert "Press r to watch it" in person.screen
        assert job.calls == []


async def test_cancel_asks_first_and_says_what_it_leaves_behind(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r", "c")
        assert "sda holds half a system and cannot be used until a restore has run to its end" in person.words
        assert person.focus == "no"
        await person.press("enter")
        assert job.calls == []
        await person.press("c", "right", "enter")
        assert job.calls == ["cancel"]
        assert "stopping .." in person.screen


async def test_a_job_that_ends_while_cancel_is_asked_shows_its_result(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r")
        progress = person.app.screen
        await person.press("c")
        job.end(RESTORED)
        progress.poll()  # type: ignore[attr-defined]
        await person.settle()
        progress.poll()  # type: ignore[attr-defined]
        await person.settle()
        assert "DONE" in person.screen
        assert job.calls == []


async def test_a_failure_shows_what_happened_the_state_and_what_to_do(sit_down: Sit) -> None:
    job = running_job()
    job.end(FAILED, "failed")
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        screen = await person.press("5", "enter")
        for line in ("FAILED", FAILED.message, f"State: {FAILED.state}", f"What to do: {FAILED.hint}"):
            assert line in screen
        assert "[ Restart ]" not in screen


async def test_a_worker_that_died_is_shown_as_failed_with_the_state_of_the_disk(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r")
        job.state = "died"
        person.app.screen.poll()  # type: ignore[attr-defined]
        await person.settle()
        assert "FAILED" in person.screen
        assert f"State: {DIED.state}" in person.screen
        assert "restore the image again" in person.screen


async def test_a_label_with_markup_and_escapes_is_shown_as_it_is(sit_down: Sit) -> None:
    image = make_image(label="[red]x[/] \x1b[2J")
    async with sit_down(FakeBackend(listing=FakeListing(images=(image,)))) as person:
        screen = await person.press("1")
        assert "[red]x[/] ?[2J" in screen
        assert "[red]x[/] ?[2J" in await person.press("enter", "enter")


SYSTEMS = {"/dev/sda": {2: "Windows 11"}, "/dev/sdb": {0: "FreeBSD"}}


async def test_disks_are_drawn_with_their_partitions_and_systems(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_systems=SYSTEMS)) as person:
        screen = await person.press("1", "enter", "enter")
        assert "│1 EFI│2 Windows 11 499.5 GB" in screen
        assert "│FreeBSD 2.0 TB" in screen


async def test_a_failing_disk_says_so_where_it_can_be_chosen_and_before_it_is_written_to(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_health={"/dev/sda": FAILING_HEALTH})) as person:
        screen = await person.press("1", "enter", "enter")
        assert screen.count("Health: FAILING (sectors that cannot be read: 312)") == 1
        screen = await person.press("enter")
        assert "WARNING: sda is FAILING: sectors that cannot be read: 312" in screen
        assert "Better restore to another disk." in screen
        await person.press("escape", "down", "enter")
        assert "FAILING" not in person.screen


@pytest.mark.parametrize("width", [60, 80, 100])
async def test_the_plan_draws_the_disk_before_and_after_and_names_the_system_that_is_lost(
    sit_down: Sit, width: int
) -> None:
    async with sit_down(FakeBackend(found_systems=SYSTEMS)) as person:
        await person.pilot.resize_terminal(width, 24)
        screen = await person.press("1", "enter", "enter", "enter")
        now, after = (line for line in screen.splitlines() if line.count("│") >= 3)
        assert now.strip().startswith("Now   │1 EFI│2 Windows 11")
        assert after.strip().startswith("After │1 EFI│2 ext4")
        assert "│free 244.0 GB ░" in after
        assert len(now.rstrip()) == len(after.rstrip()) < width
        assert "LOST with all that is on it: Windows 11" in screen


async def test_what_is_not_known_yet_of_the_disk_comes_to_the_plan_when_it_is(sit_down: Sit) -> None:
    known = threading.Event()

    class Slow(FakeBackend):
        def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
            known.wait(60)
            return super().systems(disks)

        def health(self, disks: Iterable[Disk]) -> Mapping[str, Health]:
            known.wait(60)
            return super().health(disks)

    backend = Slow(found_systems=SYSTEMS, found_health={"/dev/sda": FAILING_HEALTH})
    async with sit_down(backend) as person:
        await person.press("1", "enter")
        await person.pilot.press("enter")
        await person.until(lambda: "S5Y1NX0R" in person.screen)
        await person.pilot.press("enter")
        await person.until(lambda: "ERASED : sda" in person.screen)
        assert "Windows 11" not in person.screen
        known.set()
        await person.settle()
        assert "LOST with all that is on it: Windows 11" in person.screen
        assert "WARNING: sda is FAILING" in person.screen


async def test_on_the_smallest_screen_the_field_and_the_buttons_stay(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_systems=SYSTEMS, found_health={"/dev/sda": FAILING_HEALTH})) as person:
        await person.pilot.resize_terminal(60, 20)
        screen = await person.press("1", "enter", "enter", "enter")
        for words in ("WARNING: sda is FAILING", "ERASED : sda", "To erase it, type sda or S5Y1NX0R: [", "[ Back ]"):
            assert words in screen


async def test_a_system_in_a_partition_that_stays_is_not_called_lost(sit_down: Sit) -> None:
    both = {"/dev/sda": {1: "Windows 11", 2: "Debian GNU/Linux 13"}}
    async with sit_down(FakeBackend(found_disks=(SDA,), found_systems=both)) as person:
        screen = await person.press("1", "p", "down", "enter", "enter", "enter")
        assert "LOST with all that is on it: Debian GNU/Linux 13" in screen
        now, after = (line for line in screen.splitlines() if line.count("│") >= 3)
        assert "Debian GNU/Linux 13" in now
        assert 'ext4 "debian"' in after
        assert "▒" in now and "▒" in after


def unsigned() -> FakeBackend:
    """A computer that trusts a key, and an image that nobody has signed."""
    return FakeBackend(strict=True)


async def test_an_image_that_nobody_trusted_has_signed_is_named_and_accepted_by_a_word(sit_down: Sit) -> None:
    backend = unsigned()
    async with sit_down(backend) as person:
        screen = await person.press("1", "enter", "enter", "enter")
        assert "NOT TRUSTED: it is not signed" in screen
        assert "To use it all the same, type accept: [" in screen
        await person.press("tab")
        await person.type("sda")
        await person.press("enter", "enter")
        assert backend.submitted == []
        screen = await person.type("yes")
        assert "[ Restore ]" not in screen
        assert "That is another word" in await person.press("enter")
        await person.press("backspace", "backspace", "backspace")
        assert "[ Restore ]" in await person.type("accept")
        await person.press("enter", "enter")
    assert submitted(backend).accept_unsigned


async def test_an_image_that_is_trusted_asks_for_no_word_more(sit_down: Sit) -> None:
    image = make_image()
    signer = Signer(key="5613-26f1-feab-da38-6477-5bdb", name="Anna, backups", trusted=True)
    backend = FakeBackend(strict=True, standings={image.id: Standing(state=State.TRUSTED, signers=(signer,))})
    async with sit_down(backend) as person:
        words = "signed by Anna, backups (5613-26f1-feab-da38-6477-5bdb)"
        assert f"Signature   {words}" in await person.press("1")
        screen = await person.press("enter", "enter", "enter")
        assert words in screen
        assert "accept" not in screen
        await person.type("sda")
        await person.press("enter", "enter")
    assert not submitted(backend).accept_unsigned


async def test_a_signature_that_does_not_match_is_told_where_no_key_is_trusted_either(sit_down: Sit) -> None:
    image = make_image()
    wrong = Standing(state=State.WRONG, problem="the signature by 5613-26f1-feab-da38-6477-5bdb does not match")
    async with sit_down(FakeBackend(standings={image.id: wrong})) as person:
        assert "SIGNATURE DOES NOT MATCH: do not trust it" in await person.press("1")
        assert "NOT TRUSTED" in await person.press("enter", "enter", "enter")


async def test_the_last_partition_takes_the_room_of_a_larger_disk_where_that_is_ticked(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        shown = await person.press("1", "enter", "enter", "enter")
        assert "[ ] Enlarge partition 2 from 255.5 GB to 499.5 GB" in shown
        assert "free 244.0 GB" in shown
        shown = await person.press(*"sda", "tab", "space")
        assert "[x] Enlarge partition 2" in shown
        assert "free" not in shown
        await person.press("pagedown")
        assert "ENLARGED: partition 2 (ext4" in person.words
        assert "from 255.5 GB to 499.5 GB" in person.words
        await person.press("shift+tab", "enter", "enter")
    growth = submitted(backend).targets[0].growth
    assert growth is not None
    assert (growth.partition, growth.filesystem) == (2, True)


async def test_a_growth_that_is_ticked_off_again_is_none(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        assert "[ ] Enlarge" in await person.press(*"sda", "tab", "space", "space")
        await person.press("shift+tab", "enter", "enter")
    assert submitted(backend).targets[0].growth is None


@pytest.mark.parametrize("kind", ["swap", "vfat", ""])
async def test_growth_is_not_offered_where_the_last_partition_cannot_grow(sit_down: Sit, kind: str) -> None:
    disk = make_imaged_disk()
    volumes = (disk.volumes[0], replace(disk.volumes[1], content=Content(kind=kind)))
    image = make_image(disks=(replace(disk, volumes=volumes),))
    backend = FakeBackend(listing=FakeListing(images=(image,)))
    async with sit_down(backend) as person:
        assert "Enlarge" not in await person.press("1", "enter", "enter", "enter")
        await person.press(*"sda", "enter", "enter")
    assert submitted(backend).targets[0].growth is None


async def test_growth_is_not_offered_for_next_to_nothing(sit_down: Sit) -> None:
    image = make_image(disks=(make_imaged_disk(size=496 * GB),))
    backend = FakeBackend(listing=FakeListing(images=(image,)))
    async with sit_down(backend) as person:
        assert "Enlarge" not in await person.press("1", "enter", "enter", "enter")


async def test_an_answer_that_comes_while_its_screen_is_taken_down_is_dropped(
    sit_down: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, wanted = threading.Event(), threading.Event()

    class Slow(FakeBackend):
        """It takes a while to say where a safety image could go."""

        def plan_safety(self, plan: RestorePlan) -> Sequence[CapturePlan]:
            asked.set()
            wanted.wait(60)
            return super().plan_safety(plan)

    async with sit_down(Slow()) as person:
        workers = person.app.workers

        async def taken_down(_: RestorePlanScreen) -> None:
            """Its widgets are gone by now, and Textual has not stopped its workers yet."""
            wanted.set()
            await until(lambda: all(worker.is_finished for worker in workers), lambda: list(workers))

        monkeypatch.setattr(RestorePlanScreen, "on_unmount", taken_down)
        await person.press("1", "enter", "enter")
        await person.pilot.press("enter")
        await person.until(asked.is_set)
        await person.pilot.press("escape")
        await person.until(wanted.is_set)
        await person.settle()
        assert "choose the disk to write to" in person.screen


_TO_THE_PLAN = ("1", "enter", "enter", "enter")


async def test_the_sizes_are_listed_with_their_limits_and_a_typed_one_is_had(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        assert "[ Sizes (F4) ]" in await person.press(*_TO_THE_PLAN)
        shown = await person.press("f4")
        assert "Restore - the sizes of the partitions" in shown
        assert "to 499.5 GB)" in shown
        assert "All have the sizes that they have in the image." in shown
        assert "Size of partition 2," in await person.press("enter")
        shown = await person.press(*"300G", "enter")
        assert "ENLARGED: partition 2" in shown
        assert "from 255.5 GB to 322.1 GB" in shown
        shown = await person.press("tab", "right", "enter")
        assert "Restore - read this before you go on" in shown
        assert "Enlarge partition 2" not in shown
        await person.press("pagedown")
        assert "from 255.5 GB to 322.1 GB" in person.words
        await person.press(*"sda", "enter", "enter")
    growth = submitted(backend).targets[0].growth
    assert growth is not None
    assert 300 << 30 >= growth.size > (300 << 30) - (1 << 20)


async def test_plus_and_minus_change_a_size_and_what_its_tool_refuses_is_told(sit_down: Sit) -> None:
    backend = FakeBackend(least_size=200 * GB)
    async with sit_down(backend) as person:
        await person.press(*_TO_THE_PLAN, "f4")
        assert "ENLARGED: partition 2" in await person.press("plus")
        assert "All have the sizes" in await person.press("minus")
        assert "MADE SMALLER: partition 2" in await person.press("minus", "minus", "minus", "minus")
        shown = await person.press("tab", "right", "enter")
        assert "partition 2 cannot have 157.5 GB" in shown
        assert "system needs 200.0 GB (200,000,000,000 bytes) at least" in shown
        shown = await person.press("enter")
        assert "MADE SMALLER: partition 2" in shown
        shown = await person.press("shift+tab", "shift+tab", "plus", "plus", "tab", "right", "enter")
        assert "Enlarge partition" not in shown
        await person.press(*"sda", "enter", "enter")
    shrinkage = submitted(backend).targets[0].shrinkage
    assert shrinkage is not None
    assert 200 * GB <= shrinkage.size < shrinkage.old_size


async def test_what_is_no_size_or_beyond_the_limits_is_told_and_nothing_changes(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press(*_TO_THE_PLAN, "f4", "enter")
        assert "That is no size: 512M or 20G would be one." in await person.press(*"much", "enter")
        await person.press("enter", "enter")
        assert "cannot grow to 4.4 TB" in await person.press(*"4T", "enter")
        assert "All have the sizes" in await person.press("enter")
        assert "read this before you go on" in await person.press("escape")
        await person.press(*"sda", "enter", "enter")
    (pair,) = submitted(backend).targets
    assert (pair.growth, pair.shrinkage) == (None, None)


async def test_sizes_are_not_offered_where_none_can_be_another(sit_down: Sit) -> None:
    disk = make_imaged_disk()
    volumes = tuple(replace(volume, content=Content(kind="vfat")) for volume in disk.volumes)
    backend = FakeBackend(listing=FakeListing(images=(make_image(disks=(replace(disk, volumes=volumes),)),)))
    async with sit_down(backend) as person:
        assert "Sizes" not in await person.press(*_TO_THE_PLAN)
        assert "read this before you go on" in await person.press("f4")


_OWN = NewIdentity(
    old_table="0x1",
    new_table="0x2",
    partitions=(Renamed(number=1, kind="partition", old="00000001-01", new="00000002-01"),),
    volumes=(Renamed(number=1, kind="vfat", old="ABCD-1234", new="1234-ABCD"),),
)


async def test_a_disk_beside_its_original_gets_new_ids_where_that_is_ticked(sit_down: Sit) -> None:
    backend = FakeBackend(found_identity=_OWN)
    async with sit_down(backend) as person:
        shown = await person.press("1", "enter", "enter", "enter")
        assert "[ ] An identity of its own" in shown
        assert "NEW IDENTITY" not in person.words
        assert "[x] An identity of its own" in await person.press(*"sda", "tab", "tab", "space")
        await person.press("pagedown")
        assert "NEW IDENTITY: this disk can stand beside its original" in person.words
        assert "RUN: the restored system's own program" in person.words
        await person.press("shift+tab", "shift+tab", "enter", "enter")
    assert submitted(backend).identity == _OWN


async def test_new_ids_that_are_ticked_off_again_are_none(sit_down: Sit) -> None:
    backend = FakeBackend(found_identity=_OWN)
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        await person.press(*"sda", "tab", "tab", "space", "space")
        await person.press("shift+tab", "shift+tab", "enter", "enter")
    assert submitted(backend).identity is None


async def test_new_ids_are_not_offered_where_nothing_asks_for_them(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "An identity of its own" not in await person.press("1", "enter", "enter", "enter")


async def test_a_long_line_of_a_plan_goes_on_below_further_in(sit_down: Sit) -> None:
    """It would look like the next line of the plan."""
    backend = FakeBackend(safety=(LIBRARY / "of/somebody/in/a/folder/below",))
    async with sit_down(backend) as person:
        shown = await person.press("1", "enter", "enter", "enter", "tab", "space")
        lines = shown.splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith(" SAVED FIRST:"))
        assert lines[first + 1].startswith("     /")


async def test_home_folders_are_not_offered_of_a_disk_without_anything_on_it(sit_down: Sit) -> None:
    empty = make_disk("sde", size=500 * GB, table=PartitionTable(kind=TableKind.NONE))
    backend = FakeBackend(found_disks=(empty,), safety=(LIBRARY,))
    async with sit_down(backend) as person:
        shown = await person.press("1", "enter", "enter", "enter")
        assert "Save what is there first" in shown
        assert "Keep the home folders" not in shown


async def test_a_disk_with_an_identity_of_its_own_can_have_a_name_of_its_own(sit_down: Sit) -> None:
    backend = FakeBackend(found_identity=_OWN)
    async with sit_down(backend) as person:
        assert "The computer's name" not in await person.press("1", "enter", "enter", "enter")
        shown = await person.press(*"sda", "tab", "tab", "space", "tab")
        assert "The computer's name (empty: as in the image): [" in shown
        assert person.focus == "name"
        assert all(len(line) > 76 and line[76] == " " for line in shown.splitlines()[2:5])
        await person.type("pc 7")
        assert "pc 7 cannot be a computer's name" in person.words
        assert backend.submitted == []
        await person.press("backspace", "backspace", *"-7")
        assert "cannot be a computer's name" not in person.screen
        await person.press("enter")
        assert person.focus == "restore"
        await person.press("enter")
    assert submitted(backend).identity == structs.replace(_OWN, host_name="pc-7")


async def test_a_plan_says_that_a_disk_beside_its_original_bears_its_computers_name(sit_down: Sit) -> None:
    backend = FakeBackend(found_identity=_OWN)
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter", *"sda", "tab", "tab", "space", "pagedown")
        assert "the computer is called as in the image, and so may the original be" in person.words
        await person.press("tab", *"pc-7")
        assert "the computer is called pc-7 from then on" in person.words
        await person.press("shift+tab", "space", "pageup")
        assert "NEW IDENTITY" not in person.words
        assert "The computer's name" not in person.words
