"""Restore one partition: image, partition, disk, its partition, plan, the partition's name typed."""

from dataclasses import replace

import pytest

from imaging.restoreplans import RestorePlan
from tests.app.conftest import Sit
from tests.app.images import FakeListing, make_image, make_imaged_disk
from tests.app.machine import FakeBackend


async def test_one_partition_goes_into_one_that_is_named(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("1", "p")
        assert "Which partition shall be restored?" in screen
        assert 'ext4 "debian"' in screen
        screen = await person.press("down", "enter")
        assert 'In it: disk sda, partition 2, ext4 "debian", 255.5 GB' in screen
        assert "cannot be chosen: this computer was started from it" in screen
        assert "Into which partition shall it go?" in await person.press("enter")


@pytest.mark.parametrize("answer", ["sda2", "S5Y1NX0R:2"])
async def test_the_name_of_the_partition_starts_the_restore_and_that_of_the_disk_does_not(
    sit_down: Sit, answer: str
) -> None:
    backend = FakeBackend()
    backend.found_disks = [disk for disk in backend.found_disks if disk.name == "sda"]
    async with sit_down(backend) as person:
        screen = await person.press("1", "p", "down", "enter", "enter")
        assert "sda1" in screen
        assert "cannot be chosen: it is too small: 255.5 GB" in person.words
        screen = await person.press("enter")
        assert "ERASED : sda2, this one partition of sda Samsung SSD 870" in person.words
        assert "KEPT: the partition table and 1 other partition" in screen
        assert "To erase it, type sda2 or S5Y1NX0R:2: [" in screen
        await person.type("sda")
        screen = await person.press("enter")
        assert "That is not the name of this partition. Nothing was written." in screen
        assert backend.submitted == []
        await person.press("backspace", "backspace", "backspace")
        await person.type(answer)
        await person.press("enter", "enter")
        (plan,) = backend.submitted
        assert isinstance(plan, RestorePlan)
        (pair,) = plan.targets
        assert [(spot.volume, spot.partition) for spot in pair.partitions] == [(2, 2)]
        assert plan.title == "Restore clean install to sda2"


async def test_what_was_left_out_of_an_image_is_shown_and_cannot_be_chosen(sit_down: Sit) -> None:
    disk = make_imaged_disk()
    image = make_image(disks=(replace(disk, volumes=disk.volumes[:1]),))
    async with sit_down(FakeBackend(listing=FakeListing(images=(image,)))) as person:
        screen = await person.press("1", "p")
        assert "cannot be chosen: it was left out when the image was captured" in screen
        assert "choose the disk" in await person.press("down", "enter")


async def test_a_disk_without_partitions_cannot_be_chosen(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("1", "p", "enter")
        assert "cannot be chosen: it has no partitions" in person.words


async def test_the_plan_of_an_image_with_partitions_left_out_says_what_becomes_of_them(sit_down: Sit) -> None:
    disk = make_imaged_disk()
    image = make_image(disks=(replace(disk, volumes=disk.volumes[:1]),))
    async with sit_down(FakeBackend(listing=FakeListing(images=(image,)))) as person:
        screen = await person.press("1", "enter", "enter", "enter")
        assert "WARNING: partition 2 will hold nothing that can be used: not in the image" in screen
