"""How a restore that was cut off was to be done, in its mark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from imaging import unfinished
from imaging.unfinished import Manner

FULL = Manner(
    disk="nvme0n1",
    disks=2,
    partitions=((1, 1), (2, 5)),
    grow=3,
    shrink=4,
    size=20 << 30,
    new_identity=True,
    host_name="pc-7",
    wipe="overwrite",
    boot_entry=True,
    read_back=False,
    straight=True,
    library="l",
    safety="s",
)
RULES = ("homes", "accounts", "network", "ssh-host-keys", "host-name", "root-home")
ID = "20261127-073415-9b5ad7ba"


def test_the_mark_says_how_the_restore_was_to_be_done() -> None:
    sector = unfinished.render(ID, ID, RULES, FULL)
    assert unfinished.parse_manner(sector) == replace(FULL, version=1)
    assert (unfinished.parse(sector), unfinished.parse_saved(sector), unfinished.parse_keeps(sector)) == (ID, ID, RULES)
    assert b"restore it again.\r\n\0" in sector, "what a BIOS shows is whole"
    assert sector[446:510] == bytes(64)


def test_places_are_cut_at_their_beginning_where_there_is_no_room() -> None:
    manner = Manner(disk="sda", library="1a2b3c4d /" + "far/" * 40 + "images", safety="/ä" * 50)
    found = unfinished.parse_manner(unfinished.render(ID, ID, RULES, manner))
    assert found.known
    assert found.disk == "sda"
    assert found.library.startswith("..")
    assert found.library.endswith("far/images")
    assert found.safety.endswith("/ä/ä")


def test_what_has_no_room_at_all_is_known_to_be_unknown() -> None:
    manner = Manner(disk="sda", partitions=tuple((n, n) for n in range(60)))
    found = unfinished.parse_manner(unfinished.render(ID, manner=manner))
    assert found.noted
    assert not found.known


def test_a_mark_of_an_older_program_says_nothing_of_how() -> None:
    """As commit 2e51d8c wrote them: zeros stand between the text and the name."""
    sector = bytearray(unfinished.render(ID, ID, RULES, FULL))
    sector[0xA0:0x100] = bytes(0x60)
    assert unfinished.parse_manner(bytes(sector)) == unfinished.NOTHING
    assert unfinished.parse_keeps(bytes(sector)) == RULES


@pytest.mark.parametrize(("at", "value"), [(0xA3, 2), (0xA3, 0), (0xA4, 255), (0xA5, 0xC1)])
def test_how_a_newer_program_or_nobody_knows_it_is_known_to_be_unknown(at: int, value: int) -> None:
    sector = bytearray(unfinished.render(ID, ID, RULES, FULL))
    sector[at] = value
    found = unfinished.parse_manner(bytes(sector))
    assert found.noted
    assert not found.known
    assert unfinished.parse(bytes(sector)) == ID


@given(st.integers(0xA0, 0xFF), st.binary(min_size=1, max_size=90))
def test_no_damage_to_the_manner_makes_its_parser_fail(at: int, data: bytes) -> None:
    sector = bytearray(unfinished.render(ID, ID, RULES, FULL))
    sector[at : at + len(data)] = data[: 0x100 - at]
    unfinished.parse_manner(bytes(sector[:512]).ljust(512, b"\0"))
