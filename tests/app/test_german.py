"""The screens in German: nothing is left in English, nothing is cut that English has whole."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.widgets import Static

from imaging.events import AnyEvent, Finished, Log, Progress, RestoreResult, Result, Started, Step, VerifyResult
from imaging.imageplans import CapturePlan
from imaging.notes import Notes, Verification
from imaging.plan import Plan
from rescue import language
from rescue.screens.base import RescueScreen
from tests.app.conftest import Person, Sit
from tests.app.disks import FAILING_HEALTH, GB, GOOD_HEALTH, SDA, SDB
from tests.app.images import LIBRARY, FakeDamaged, FakeListing, make_image, restore_plan
from tests.app.jobs import CAPTURED, FakeJob
from tests.app.machine import FakeBackend
from tests.app.scenes import checking, damaged, for_this_disk, made, with_sticks
from tests.catalogue.extract import CHECKOUT

ENGLISH = frozenset((CHECKOUT / "tests/catalogue/english-words.txt").read_text().split())
"""Words that no German sentence holds."""
NAMED = re.compile(
    r"clean install|old one|/[\w./-]+|Text(?:ual)?|name=|\bone\b(?= \()|rescue\.\w+=\w+|//\S+|server:\S+|"
    r"(?:kernel|screens|1) line \d+|Log of \w+|RESCUE-IMAGES"
)
"""What is called so in every language, and what the made-up computer says."""
OURS = "20260101-000000-0000aaaa"
STUCK = (
    "sda is only partly restored and does not start a computer. "
    "Restore the image again: only what is missing will be written."
)


def computer(*jobs: FakeJob) -> FakeBackend:
    """With images of all kinds, a disk that fails, and these jobs."""
    old = make_image("20250101-000000-0000bbbb", created="2025-01-01T00:00:00Z", label="old one")
    right = Verification(when="2026-11-25T10:00:00Z", chunks=6000, bad=0)
    broken = FakeDamaged(id="2024", problem="2024/manifest.json is damaged: two disks bear one name")
    notes = {OURS: Notes(text="Vor dem Umbau", verified=right), old.id: Notes(verified=replace(right, bad=3))}
    return FakeBackend(
        listing=FakeListing(images=(make_image(OURS), old), damaged=(broken,), notes=notes),
        found_health={SDA.path: GOOD_HEALTH, SDB.path: FAILING_HEALTH},
        found_systems={SDA.path: {2: "Debian GNU/Linux 13 (trixie)"}},
        known_jobs=list(jobs),
    )


def job(id: str, *events: AnyEvent, plan: Plan | None = None, state: str = "running") -> FakeJob:
    """A job a quarter through, and what it said then."""
    plan = plan or restore_plan()
    made = FakeJob(known_plan=plan, id=id, state=state)
    kind = "capture" if isinstance(plan, CapturePlan) else "restore"
    made.say(
        Started(time=1000.0, job=id, kind=kind, title=plan.title),
        Log(
            time=1000.0,
            level="warning",
            message="Partition 2 of sda counts as wholly used: it was not unmounted cleanly, and it has no journal",
        ),
        Step(time=1000.0, name="Capturing sda" if kind == "capture" else "Restoring sda", total=100 * GB),
        *(Progress(time=1000.0 + second, done=second * GB, total=100 * GB, moved=GB) for second in range(26)),
        *events,
    )
    return made


def ended(status: int, message: str, **more: str) -> Finished:
    """An end with a result, if there was one."""
    result = RestoreResult(
        image=OURS, compared=6000, skipped=5000, written=1000, written_bytes=4 * GB, read_back=True, seconds=300.0
    )
    bad = VerifyResult(image=OURS, chunks=100, bytes=GB, bad=tuple("abcdefghij"), differing=0, seconds=3.0)
    results: dict[int, Result] = {0: result, 4: bad}
    return Finished(time=1300.0, status=status, message=message, result=results.get(status), **more)


CAPTURE = CapturePlan(library=str(LIBRARY), disks=(SDA,), label="")
DONE = ended(0, f"Image {OURS} was restored, read back and verified.", state="Everything was written to sda.")
FAILED = ended(5, "/dev/sda cannot be written: Input/output error", state=STUCK, hint="close it")
BAD = ended(4, "10 of 100 chunks are corrupt or missing.")
MADE = Finished(time=1300.0, status=0, message=f"Image {OURS} was captured.", result=CAPTURED.result)

WALKS: dict[str, tuple[Callable[[], FakeBackend], str]] = {
    "restore": (
        computer,
        "f1 escape 1 f1 escape slash x escape escape 1 enter f1 escape enter f1 escape o escape "
        "enter f1 escape x enter",
    ),
    "elsewhere": (computer, "1 o f1 escape enter f1 escape x enter escape down enter f1 escape"),
    "login": (computer, "1 o enter slash slash n a s slash b enter f1"),
    "partition": (computer, "1 p f1 escape enter f1 escape enter f1 escape enter"),
    "backup": (computer, "2 f1 escape p f1 escape escape enter f1 escape enter f1 escape escape end enter"),
    "images": (computer, "3 f1 escape p enter f1 escape escape r escape n escape d f1 escape x enter escape end enter"),
    "single-file": (computer, "3 x f1 escape enter f1 escape escape end enter f1"),
    "files": (
        computer,
        "3 o f1 escape down enter f1 escape c escape o o o down enter enter space down down space enter escape space "
        "slash f1 escape a enter space escape c f1 escape end enter escape up up up enter f1 escape escape escape "
        "escape escape escape escape",
    ),
    "disks": (computer, "4 f1 escape end enter pagedown f1 escape i"),
    "jobs": (
        lambda: computer(job("1"), job("2", FAILED, state="failed"), job("3", DONE, state="done")),
        "5 f1 escape enter f1 escape c escape escape 5 down enter f1 escape escape 5 down down enter",
    ),
    "more jobs": (
        lambda: computer(job("1", MADE, plan=CAPTURE, state="done"), job("2", BAD, state="failed"), job("3")),
        "r escape 5 enter escape 5 down enter escape 0 escape",
    ),
    "reset": (for_this_disk, "f f1 escape enter f1 escape 1 f1 escape escape 3 tab"),
    "network": (computer, "6 f1 escape enter f1 escape 2 f1 escape x enter enter enter"),
    "ssh": (computer, "6 end enter f1 escape 2 3 2 1"),
    "drive": (
        with_sticks,
        "c f1 escape enter f1 escape down f slash x escape enter f1 escape down enter f1 escape enter f1 escape "
        "x enter escape up enter",
    ),
    "this drive": (with_sticks, "c down enter f1 escape escape down enter f1 escape c"),
    "damaged": (damaged, "c enter escape escape 1 enter enter enter"),
    "checking": (checking, "c down down enter escape escape 1 enter enter enter"),
    "made": (made, "5 enter"),
    "language": (computer, "7 f1"),
    "log": (computer, "8 f1 escape s f1 escape o escape enter"),
    "leave": (computer, "9 escape 0 escape q"),
}
"""A computer each, and the keys that are pressed; the screen after each of them is looked at."""


async def seen(sit_down: Sit, name: str, spoken: str) -> list[tuple[str, str, list[str]]]:
    """For each key of a walk: the keys so far, the screen, and what of it is wider than its place."""
    make, keys = WALKS[name]
    language.use(spoken)
    found = []
    async with sit_down(make()) as person:
        pressed: list[str] = []
        for key in ["", *keys.split()]:
            pressed.append(key)
            screen = await person.press(key) if key else person.screen
            found.append((" ".join(pressed).strip(), screen, cut(person)))
    return found


def cut(person: Person) -> list[str]:
    """Lines that are wider than the one line that they have."""
    return [
        str(words.content)
        for words in person.app.screen.query(Static)
        if words.region.height == 1 and cell_len(str(words.content).rstrip()) > words.region.width > 0
    ]


def left_in_english(screen: str) -> set[str]:
    """English words on a screen."""
    words = re.findall(r"[A-Za-z]+(?:-[a-z]+)*", NAMED.sub(" ", screen))
    return {word for word in words if word.lower() in ENGLISH}


@pytest.mark.parametrize("name", WALKS)
async def test_each_screen_is_german_and_as_whole_as_in_english(sit_down: Sit, name: str) -> None:
    german, english = [await seen(sit_down, name, spoken) for spoken in ("de", "en")]
    for (keys, screen, wide), (_keys, before, wide_before) in zip(german, english, strict=True):
        assert left_in_english(screen) == set(), f"{keys}\n{screen}"
        assert len(wide) <= len(wide_before), f"{keys}: {wide}\n{screen}"
        assert len(re.findall(r"\S\.\.", screen)) <= len(re.findall(r"\S\.\.", before)), f"{keys}\n{screen}"


def every(screens: Sequence[type[RescueScreen]]) -> list[type[RescueScreen]]:
    """Those and all that are made of them."""
    return [found for screen in screens for found in (screen, *every(screen.__subclasses__()))]


@pytest.mark.parametrize(("spoken", "only_ascii"), [("en", False), ("de", False), ("de", True)])
@pytest.mark.parametrize("screen", every([RescueScreen]), ids=lambda screen: screen.__name__)
def test_keys_titles_and_help_have_room(screen: type[RescueScreen], spoken: str, only_ascii: bool) -> None:
    language.use(spoken)
    language.spell_out(only_ascii)
    assert cell_len(language._(screen.HEADING)) <= 78
    assert cell_len(language._(screen.KEYS)) <= 78
    lines = language._(screen.ABOUT).splitlines()
    assert [line for line in lines if line.startswith(" ") and cell_len(line) > 70] == []
