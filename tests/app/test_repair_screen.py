"""Repair startup, from a disk's page: what would be done is shown, consent is ticked, the name typed."""

from typing import NoReturn

import pytest

from imaging.disk import Disk
from imaging.errors import RefusedError
from imaging.repairplans import RepairPlan, RepairWishes
from rescue.screens.disks import DiskScreen
from rescue.screens.progress import ProgressScreen
from rescue.screens.repair import RepairPlanScreen
from rescue.widgets.act import Act
from tests.app.conftest import Sit
from tests.app.disks import SDA
from tests.app.machine import FakeBackend


async def test_it_is_shown_and_begun_once_the_disk_is_named(sit_down: Sit) -> None:
    machine = FakeBackend(found_disks=(SDA,))
    async with sit_down(machine) as person:
        page = await person.press("4", "enter", "r")
        assert isinstance(person.app.screen, RepairPlanScreen)
        assert "sda will not start on BIOS: its boot sector holds no boot code." in page
        assert "PARTITION TABLE: what stands at the start is destroyed" in page
        assert "To repair it, type sda or S5Y1NX0R" in page
        await person.press(*"sdb", "enter")
        assert "That is not the name of this disk. Nothing was written." in person.words
        assert machine.submitted == []
        await person.press(*["backspace"] * 3, *"sda", "enter", "enter")
        assert isinstance(person.app.screen, ProgressScreen)
    (plan,) = machine.submitted
    assert isinstance(plan, RepairPlan)
    assert plan.checks == ()
    assert not plan.wishes.check_all


async def test_file_systems_are_checked_where_that_is_ticked_alone(sit_down: Sit) -> None:
    machine = FakeBackend(found_disks=(SDA,))
    async with sit_down(machine) as person:
        await person.press("4", "enter", "r", "tab", "space")
        assert "CHECKED: the file system of sda2 (ext4)" in person.words
        await person.press("space")
        assert "CHECKED" not in person.words
        await person.press("space", "shift+tab", *"sda", "enter", "enter")
    (plan,) = machine.submitted
    assert isinstance(plan, RepairPlan)
    assert [one.number for one in plan.checks] == [2]


async def test_where_nothing_can_be_repaired_nothing_can_be_begun(sit_down: Sit) -> None:
    machine = FakeBackend(found_disks=(SDA,), sound=True)
    async with sit_down(machine) as person:
        page = await person.press("4", "enter", "r")
        assert "There is nothing that could be repaired." in page
        await person.press(*"sda", "enter", "enter")
        assert person.app.screen.query_one("#repair", Act).disabled
    assert machine.submitted == []


class Refusing(FakeBackend):
    """Its disks are not repaired."""

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> NoReturn:  # noqa: ARG002
        raise RefusedError(f"{disk.name} is not repaired: it is in use by md0")


async def test_a_refusal_is_told_and_leads_back_to_the_disk(sit_down: Sit) -> None:
    async with sit_down(Refusing(found_disks=(SDA,))) as person:
        assert "sda is not repaired: it is in use by md0" in await person.press("4", "enter", "r")
        page = await person.press("enter")
        assert isinstance(person.app.screen, DiskScreen)
        assert "Looking what can be repaired" not in page


class Once(FakeBackend):
    """A plan with checks cannot be made any more."""

    def plan_repair(self, disk: Disk, wishes: RepairWishes) -> RepairPlan:
        if wishes.check_all:
            raise RefusedError("the disk is gone")
        return super().plan_repair(disk, wishes)


@pytest.mark.parametrize("key", ["space", "enter"])
async def test_a_plan_that_cannot_be_made_anew_leaves_the_one_before(sit_down: Sit, key: str) -> None:
    async with sit_down(Once(found_disks=(SDA,))) as person:
        assert "the disk is gone" in await person.press("4", "enter", "r", "tab", key)
        page = await person.press("enter")
        assert "[ ] Check the file systems, too" in page
        assert "CHECKED" not in page
