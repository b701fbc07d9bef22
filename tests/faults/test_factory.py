"""Factory images: marked, kept from deletion, offered where they fit, and restored where a serial number says so."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imaging import care, factory, freeing, inventory, notes
from imaging.disk import Disk
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.library import Library
from imaging.manifest import Image, Machine
from imaging.notes import FactoryState
from imaging.orders import DiskMatch, Match
from imaging.retention import Rule, judge
from rescue import factories
from tests.command import Outcome, run_rescue
from tests.disks import blank
from tests.faults.world import Sample

Command = Callable[..., Outcome]
HERE = Machine(vendor="Contoso", model="Book 7", serial="C-1")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This computer is a Contoso Book 7."""
    monkeypatch.setattr(inventory, "machine", lambda: HERE)


def marked(sample: Sample, state: FactoryState | None) -> FactoryState | None:
    care.mark_factory(sample.library, sample.image_id, state)
    return Library.open(sample.library).notes(sample.image_id).factory


def test_a_mark_says_which_computers_it_is_for_and_is_read_again(sample: Sample, command: Command) -> None:
    words = ("--library", sample.library)
    said = command(
        "factory", "set", sample.image_id, "--name", "Office", "--edition", "2", "--description", "With the suite",
        "--vendor", "Contoso*", "--product", "Book 7", "--product", "Book 8", "--only-internal", *words,
    )  # fmt: skip
    assert "for: Contoso*, Book 7 or Book 8" in said.out
    state = Library.open(sample.library).notes(sample.image_id).factory
    assert state == FactoryState(
        name="Office",
        description="With the suite",
        edition="2",
        match=Match(vendor=("Contoso*",), product=("Book 7", "Book 8")),
        disk=DiskMatch(only_internal=True),
    )
    assert "Office, 2, for: Contoso*, Book 7 or Book 8, With the suite" in command("show", sample.image_id, *words).out
    command("factory", "unset", sample.image_id, *words)
    assert Library.open(sample.library).notes(sample.image_id).factory is None


def test_it_is_not_deleted_by_name_nor_by_rule_before_the_mark_is_gone(sample: Sample) -> None:
    marked(sample, FactoryState())
    with pytest.raises(RefusedError, match="is a factory image") as refused:
        freeing.plan_delete(sample.library, sample.image_id)
    assert "rescue factory unset" in (refused.value.hint or "")
    there = Library.open(sample.library)
    (verdict,) = judge(there.images().images, there.notes, Rule(daily=1), datetime.now(UTC))
    assert verdict.reasons == ("factory",)
    marked(sample, None)
    assert freeing.plan_delete(sample.library, sample.image_id).image == sample.image_id


def test_the_mark_of_a_medium_counts_and_is_taken_away_as_well(sample: Sample) -> None:
    factory.mark_factory_image(sample.library, sample.image_id)
    assert Library.open(sample.library).notes(sample.image_id).factory == FactoryState()
    assert Library.open(sample.library).images().notes[sample.image_id].factory == FactoryState()
    assert marked(sample, None) is None
    assert not (sample.library / factory.NAME).exists()


@pytest.mark.parametrize(
    "disk",
    [
        DiskMatch(),
        DiskMatch(min_size="many"),
        DiskMatch(file="/dev/sda"),
        DiskMatch(max_size="1 XB"),
        DiskMatch(source="sda"),
        DiskMatch(size="1 GB", min_size="1 GB"),
    ],
)
def test_a_rule_that_is_none_is_damage_of_the_notes(disk: DiskMatch) -> None:
    noted = notes.encode(notes.Notes(factory=FactoryState(disk=disk)))
    with pytest.raises(BadImageError, match="the notes are not valid"):
        notes.decode(noted, "notes.json")


def test_a_size_that_is_none_is_refused(sample: Sample, command: Command) -> None:
    command("factory", "set", sample.image_id, "--min-size", "huge", "--library", sample.library, status=2)
    with pytest.raises(UsageError):
        notes.factory_state(name="two\nlines")


@pytest.mark.usefixtures("here")
def test_those_made_for_this_computer_come_first(sample: Sample, command: Command) -> None:
    there = Library.open(sample.library)
    image = there.image(sample.image_id)

    def offer(**match: str) -> tuple[Path, Image, FactoryState]:
        return (sample.library, image, FactoryState(name=str(sorted(match)), match=Match(**match)))

    all_ = [offer(vendor="Other"), offer(), offer(vendor="contoso", product="Book ?"), offer(vendor="Contoso")]
    found = factories.offers(all_, HERE)
    assert [(one.fits, one.exactness) for one in found] == [(True, 2), (True, 1), (True, 0), (False, 1)]
    assert factories.only_one(found) == found[0]
    with pytest.raises(RefusedError, match="several factory images"):
        factories.only_one([found[1], found[1]])
    with pytest.raises(RefusedError, match="none of the factory images"):
        factories.only_one(found[3:])
    with pytest.raises(BadImageError, match="no image here is marked"):
        factories.only_one([])
    assert "No image is marked" in command("factory", "list", "--library", sample.library).out
    marked(sample, FactoryState(match=Match(serial="C-1")))
    (value,) = json.loads(command("factory", "list", "--json", "--library", sample.library).out)["factory"]
    assert value["fits"] is True
    assert value["match"] == {"serial": "C-1"}


def test_a_reset_restores_the_image_that_fits_onto_the_named_disk(sample: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", sample.image.disks[0].size)
    words = ("factory", "reset", "--library", sample.library, "--to", target)
    assert "no image here is marked" in run_rescue(*words, status=4).err
    marked(sample, FactoryState(match=Match(vendor="Somebody else")))
    assert "none of the factory images here was made for this computer" in run_rescue(*words, status=3).err
    refused = run_rescue("factory", "reset", sample.image_id, *words[2:], status=3)
    assert "was not made for this computer" in refused.err
    marked(sample, FactoryState())
    assert "was not confirmed" in run_rescue(*words, status=3).err
    refused = run_rescue(*words, "--yes-on", "target.img", status=3)
    assert "--yes-on target.img is the serial number of none of the targets" in refused.err
    assert not target.read_bytes().strip(b"\0")
    run_rescue(*words, "--erase", "target.img")
    assert run_rescue("verify", sample.image_id, "--library", sample.library, "--against", target).status == 0


def test_without_a_rule_or_a_name_no_disk_is_meant(sample: Sample, command: Command) -> None:
    marked(sample, FactoryState())
    said = command("factory", "reset", "--plan", "--library", sample.library, status=2)
    assert "does not say which disk it goes to" in said.err


def test_the_rule_finds_the_one_disk(sample: Sample, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    marked(sample, FactoryState(disk=DiskMatch(only_internal=True)))
    disk = inventory.look(str(sample.disk))
    internal = Disk(path="/dev/sdq", id=disk.id, table=disk.table, transport="sata")
    stick = Disk(path="/dev/sdr", id=disk.id, table=disk.table, transport="usb", removable=True)
    image = Library.open(sample.library).image(sample.image_id)
    state = FactoryState(disk=DiskMatch(only_internal=True))
    offer = factories.Offer(library=sample.library, image=image, state=state, fits=True)
    assert factories.target_by_rule(offer, HERE, [stick, internal]) == internal
    with pytest.raises(RefusedError, match="several internal disks"):
        factories.target_by_rule(offer, HERE, [internal, Disk(path="/dev/sds", id=disk.id, table=disk.table)])
    monkeypatch.setattr(inventory, "scan", lambda _libraries: (stick,))
    assert "no internal disk" in command("factory", "reset", "--library", sample.library, status=3).err


@pytest.mark.parametrize(
    "words",
    [
        ("--product", ""),
        ("--product", "x" * 201),
        ("--disk-model", ""),
        ("--min-size", "100 GB", "--max-size", "50 GB"),
        tuple(word for i in range(500) for word in ("--product", f"{i:0200}")),
    ],
)
def test_a_rule_that_could_not_be_read_again_is_refused_and_what_is_noted_stays(
    sample: Sample, command: Command, words: tuple[str, ...]
) -> None:
    care.pin(sample.library, sample.image_id, pinned=True)
    noted = Library.open(sample.library).notes(sample.image_id)
    command("factory", "set", sample.image_id, *words, "--library", sample.library, status=2)
    assert Library.open(sample.library).notes(sample.image_id) == noted
