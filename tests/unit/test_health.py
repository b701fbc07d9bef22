"""Health from what smartctl says.

The answers in smartctl/ follow smartmontools 7.3 and 7.4; nvme-qemu-critical, usb-stick-sat and virtio were captured.
"""

import json
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import smart
from imaging.errors import IoError
from imaging.health import Condition, Health, parse
from tests.unit.builders import a_disk

ANSWERS = Path(__file__).with_name("smartctl")


def answer(name: str) -> str:
    """What smartctl printed."""
    return (ANSWERS / f"{name}.json").read_text()


def health(name: str) -> Health:
    """As parsed, with the exit status that the answer has in it."""
    text = answer(name)
    return parse(text, msgspec.json.decode(text)["smartctl"]["exit_status"])


@pytest.mark.parametrize(
    ("name", "condition", "reasons"),
    [
        ("sata-good", Condition.GOOD, ()),
        ("usb-sat", Condition.GOOD, ()),
        ("nvme-good", Condition.GOOD, ()),
        ("sata-worn", Condition.WORN, ("bad sectors that it replaced by spare ones: 8",)),
        (
            "sata-failing",
            Condition.FAILING,
            (
                "sectors that cannot be read: 312",
                "its own assessment says that it is about to fail",
                "one of its figures is below the limit that its maker set for failure",
                "bad sectors that it replaced by spare ones: 1,432",
                "a self-test of it has found errors",
            ),
        ),
        (
            "nvme-worn",
            Condition.WORN,
            (
                "times that it could not read or write data: 2",
                "104 % of the life that its maker expects are used",
            ),
        ),
        (
            "nvme-failing",
            Condition.FAILING,
            (
                "its spare blocks are used up",
                "it says that it is not reliable any more",
                "it has gone read-only",
                "times that it could not read or write data: 913",
                "131 % of the life that its maker expects are used",
            ),
        ),
        (
            "nvme-hot",
            Condition.WORN,
            ("it is too hot, or too cold: let it cool, and see that air gets to it", "it is hot: 84 degrees Celsius"),
        ),
        (
            "sas-worn",
            Condition.WORN,
            ("bad sectors that it replaced by spare ones: 3", "times that it could not read or write data: 1"),
        ),
        (
            "nvme-qemu-critical",
            Condition.FAILING,
            ("its spare blocks are used up", "it says that it is not reliable any more", "it has gone read-only"),
        ),
        ("virtio", Condition.UNKNOWN, ("it keeps no health log that can be read",)),
        ("qemu-scsi", Condition.UNKNOWN, ("it keeps no health log",)),
        ("usb-unknown-bridge", Condition.UNKNOWN, ("its USB adapter does not let a health log through",)),
        ("standby", Condition.UNKNOWN, ("it is asleep, and was not woken for this",)),
        ("no-permission", Condition.UNKNOWN, ("asking it needs root",)),
    ],
)
def test_the_verdict_and_its_reasons(name: str, condition: Condition, reasons: tuple[str, ...]) -> None:
    found = health(name)
    assert (found.condition, found.reasons) == (condition, reasons)


def test_the_figures_of_a_spinning_disk() -> None:
    found = health("sata-failing")
    assert (found.reallocated, found.pending, found.uncorrectable) == (1432, 312, 256)
    assert (found.temperature, found.power_on_hours, found.power_cycles, found.rotation) == (38, 44801, 2210, 5400)
    assert found.firmware == "80.00A80"


def test_the_figures_of_an_nvme_disk() -> None:
    found = health("nvme-worn")
    assert (found.percentage_used, found.spare, found.media_errors, found.rotation) == (104, 87, 2, 0)
    assert found.written == 45678901 * 512_000


def test_each_critical_warning_of_nvme_but_heat_and_memory_regions_means_failing() -> None:
    document = msgspec.json.decode(answer("nvme-good"))
    conditions = []
    for bit in range(6):
        document["nvme_smart_health_information_log"]["critical_warning"] = 1 << bit
        document["smart_status"]["passed"] = False
        conditions.append(parse(msgspec.json.encode(document).decode(), 8).condition)
    failing, worn = Condition.FAILING, Condition.WORN
    assert conditions == [failing, worn, failing, failing, failing, failing]


def test_the_exit_status_counts_though_the_answer_cannot_be_understood() -> None:
    assert parse("{", 8).condition is Condition.FAILING
    assert parse('{"smartctl": 7}', 16).condition is Condition.FAILING
    assert parse("", 128).condition is Condition.WORN


@pytest.mark.parametrize("status", [0, 1, 2, 3, 9])
def test_an_answer_that_cannot_be_understood_is_an_error(status: int) -> None:
    with pytest.raises(IoError, match="cannot be understood") as caught:
        parse('{"smartctl": {"exit_status": "none"}}', status)
    assert caught.value.code == "bad-answer"


def test_the_error_names_the_key() -> None:
    with pytest.raises(IoError, match=r"temperature\.current"):
        parse('{"smartctl": {}, "temperature": {"current": "hot"}}', 0)


def test_a_silent_disk_is_not_called_good() -> None:
    assert parse('{"smartctl": {"exit_status": 0}}', 0).condition is Condition.UNKNOWN


ODD: tuple[Any, ...] = (None, True, -1, 2**70, 1.5, "", "NaN", [], {}, [[]], {"value": -1})
"""Values that stand where others are expected."""


def places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The ways to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, each in inner for place in places(each, (*at, key)))]


@given(data=st.data(), name=st.sampled_from(sorted(path.stem for path in ANSWERS.iterdir())))
def test_an_answer_with_anything_odd_in_it_gives_a_health_or_an_error_of_ours(data: st.DataObject, name: str) -> None:
    document: Any = {"whole": msgspec.json.decode(answer(name))}
    *way, last = data.draw(st.sampled_from(places(document)[1:]))
    holder = document
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(st.sampled_from(ODD))
    text = json.dumps(document["whole"])
    try:
        found = parse(text, data.draw(st.integers(0, 255)))
    except IoError as error:
        assert error.code == "bad-answer"
        return
    assert (found.condition is Condition.GOOD) == (not found.reasons)


@given(text=st.text(), status=st.integers(0, 255))
def test_any_text_gives_a_health_or_an_error_of_ours(text: str, status: int) -> None:
    try:
        parse(text, status)
    except IoError as error:
        assert error.code == "bad-answer"


@pytest.fixture
def smartctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place where tools are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("imaging.run._SBIN", ())
    return tmp_path / "smartctl"


def script(path: Path, *lines: str) -> None:
    """Make a shell script of it."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_disk_is_asked_without_being_woken(smartctl: Path) -> None:
    script(smartctl, f'echo "$@" > {smartctl.parent}/said', f"/bin/cat {ANSWERS}/sata-good.json")
    assert smart.health(a_disk()).condition is Condition.GOOD
    assert (smartctl.parent / "said").read_text().split() == ["--json", "--all", "--nocheck=standby", "/dev/sda"]


def test_a_disk_behind_an_unknown_usb_adapter_is_asked_as_a_sata_disk(smartctl: Path) -> None:
    script(
        smartctl,
        f'case "$*" in *--device=sat*) /bin/cat {ANSWERS}/usb-sat.json; exit 0;; esac',
        f"/bin/cat {ANSWERS}/usb-unknown-bridge.json; exit 1",
    )
    assert smart.health(a_disk()).condition is Condition.GOOD


@pytest.mark.parametrize("said", [f"/bin/cat {ANSWERS}/usb-stick-sat.json; exit 2", "exit 4", "echo {}; exit 2"])
def test_a_usb_stick_that_knows_no_ata_commands_is_not_said_to_be_asleep(smartctl: Path, said: str) -> None:
    script(
        smartctl,
        f'case "$*" in *--device=sat*) {said};; esac',
        f"/bin/cat {ANSWERS}/usb-unknown-bridge.json; exit 1",
    )
    assert smart.health(a_disk()).reasons == ("its USB adapter does not let a health log through",)


def test_a_disk_that_sleeps_behind_an_adapter_is_said_to(smartctl: Path) -> None:
    script(
        smartctl,
        f'case "$*" in *--device=sat*) /bin/cat {ANSWERS}/standby.json; exit 2;; esac',
        f"/bin/cat {ANSWERS}/usb-unknown-bridge.json; exit 1",
    )
    assert smart.health(a_disk()).reasons == ("it is asleep, and was not woken for this",)


def test_without_smartctl_health_is_unknown(smartctl: Path) -> None:
    assert not smartctl.exists()
    found = smart.health(a_disk())
    assert (found.condition, found.reasons) == (Condition.UNKNOWN, ("smartctl is not installed",))


@pytest.mark.parametrize("transport", ["file", "virtio", "mmc"])
def test_what_keeps_no_log_is_not_asked(smartctl: Path, transport: str) -> None:
    script(smartctl, f"echo asked > {smartctl.parent}/said")
    assert smart.health(a_disk(transport=transport)).condition is Condition.UNKNOWN
    assert not (smartctl.parent / "said").exists()


def test_a_disk_that_hangs_does_not_keep_the_others_from_answering(smartctl: Path) -> None:
    script(smartctl, 'case "$*" in *sdb*) exec /bin/sleep 600;; esac', f"exec /bin/cat {ANSWERS}/nvme-good.json")
    began = time.monotonic()
    found = smart.healths([a_disk(), a_disk(path="/dev/sdb")], patience=3.0)
    assert time.monotonic() - began < 60
    assert found["/dev/sda"].condition is Condition.GOOD
    assert found["/dev/sdb"].condition is Condition.UNKNOWN
    assert "3 s" in found["/dev/sdb"].reasons[0]


def test_a_disk_that_could_not_be_read_is_failing_whatever_it_says_of_itself(smartctl: Path) -> None:
    script(smartctl, f"exec /bin/cat {ANSWERS}/sata-worn.json")
    found = smart.health(a_disk(failing="reading at byte 0 failed"))
    assert found.condition is Condition.FAILING
    assert found.reasons == ("reading at byte 0 failed", "bad sectors that it replaced by spare ones: 8")
    assert smart.health(a_disk(failing="x", transport="virtio")).reasons == ("x",)


def test_the_samples_are_all_used() -> None:
    used = Path(__file__).read_text()
    assert all(f'"{path.stem}"' in used or f"/{path.name}" in used for path in ANSWERS.iterdir())
