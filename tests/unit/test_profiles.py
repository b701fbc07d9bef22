"""Which entries of C:\\Users are people's, what of them is of the registry, and whose rights a descriptor speaks of."""

import struct

import pytest

from imaging import profiles, sids
from tests.matrix.windows import account, descriptor

ANNA, BOB, NEW = account(1000, 1001), account(1000, 1002), account(5000, 1001)


@pytest.mark.parametrize("name", ["Default", "DEFAULT USER", "All Users", "desktop.ini", "defaultuser0"])
def test_what_is_windows_own_is_nobody_s(name: str) -> None:
    assert profiles.is_system(name.encode())


@pytest.mark.parametrize("name", ["Public", "anna", "Default.anna", "Administrator"])
def test_other_folders_are_people_s(name: str) -> None:
    assert not profiles.is_system(name.encode())


@pytest.mark.parametrize(
    ("path", "is_settings"),
    [
        ("anna/NTUSER.DAT", True),
        ("anna/ntuser.dat.LOG1", True),
        ("anna/NTUSER.DAT{53b39e88}.TM.blf", True),
        ("anna/appdata/LOCAL/Microsoft/Windows/UsrClass.dat.LOG2", True),
        ("anna/Documents/NTUSER.DAT", False),
        ("anna/ntuser.saved by me.zip", False),
        ("anna/AppData/Local/UsrClass.dat", False),
        ("anna", False),
    ],
)
def test_a_person_s_part_of_the_registry_is_known(path: str, is_settings: bool) -> None:
    assert profiles.is_settings(path.encode().split(b"/")) is is_settings


@pytest.mark.parametrize(
    ("one", "other", "same"), [("Anna", "aNNA", True), ("Ümit", "üMIT", True), ("Straße", "Strasse", False)]
)
def test_names_are_compared_as_windows_does(one: str, other: str, same: bool) -> None:
    assert (profiles.folded(one.encode()) == profiles.folded(other.encode())) is same


def test_only_the_folders_above_it_lead_there() -> None:
    for path in ("anna", "anna/AppData", "anna/appdata/local/Microsoft/Windows"):
        assert profiles.leads_to_settings(path.encode().split(b"/"))
    for path in ("anna/Documents", "anna/AppData/Roaming", "anna/AppData/Local/Microsoft/Windows/History"):
        assert not profiles.leads_to_settings(path.encode().split(b"/"))


@pytest.mark.parametrize("tag", [0x9000001A, 0x9000101A, 0x9000F01A])
def test_tags_of_the_cloud_are_known(tag: int) -> None:
    assert profiles.is_cloud(tag)
    assert not profiles.is_cloud(tag ^ 1)


def test_the_one_account_of_a_profile_is_found() -> None:
    assert sids.account(descriptor(ANNA)) == descriptor(ANNA)[-56:-28]
    assert sids.account(descriptor(ANNA, BOB)) is None
    assert sids.account(b"") is None


def test_an_account_is_put_in_another_s_place_wherever_it_is_named() -> None:
    before, after = sids.account(descriptor(ANNA)), sids.account(descriptor(NEW))
    assert before
    assert after
    replaced = sids.mapped(descriptor(ANNA, BOB), {before: after})
    assert before not in replaced
    assert replaced.count(after) == 2
    assert sids.mapped(descriptor(BOB), {before: after}) == descriptor(BOB)
    assert sids.mapped(descriptor(ANNA), {before: after[:-4]}) == descriptor(ANNA), "of another length"


def test_damaged_descriptors_are_left_as_they_are() -> None:
    before = sids.account(descriptor(ANNA)) or b""
    whole = descriptor(ANNA)
    for end in range(len(whole)):
        sids.account(whole[:end])
        assert len(sids.mapped(whole[:end], {before: bytes(len(before))})) == end
    for at in range(0, len(whole) - 4, 2):
        broken = whole[:at] + struct.pack("<I", 0xFFFFFFFF) + whole[at + 4 :]
        assert len(sids.mapped(broken, {before: bytes(len(before))})) == len(whole)
