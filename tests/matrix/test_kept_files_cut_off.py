"""A restore that carries files over is cut off: they wait in what was saved, and none is lost."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import inventory, unfinished
from imaging.errors import ExitStatus
from imaging.jobs import JobState
from imaging.keeping import with_kept_files
from imaging.keptfiles import KeepRule
from imaging.library import Library
from imaging.planner import plan_restore
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import digest, run
from tests.faults.killing import finish, kill, kill_after, moments, seconds_of, wait_for_first_write
from tests.faults.killing import start as begin
from tests.matrix.keptsystems import LAYOUTS, Used, listed, used_in
from tests.matrix.tools import require

pytestmark = pytest.mark.root
_KILLS = 6


@pytest.fixture
def used(tmp_path: Path) -> Iterator[Used]:
    require()
    yield used_in(tmp_path, LAYOUTS[0])
    shutil.rmtree(tmp_path, ignore_errors=True)


def plan_of(used: Used, saving: Path | None = None) -> RestorePlan:
    """The plan anew, as a person would make it after a power cut."""
    library = Library.open(used.library)
    image = library.image(used.image)
    plan = plan_restore(used.library, image, {image.disks[0].name: inventory.look(str(used.disk), [used.library])})
    return with_kept_files(plan, list(KeepRule), saving or used.library)


def test_what_waits_in_another_library_is_found_where_that_is_named(used: Used, tmp_path: Path) -> None:
    other = tmp_path / "other"
    plan = plan_of(used, other)
    job = begin(plan)
    wait_for_first_write(job, used.disk)
    kill(job)
    said_ = used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert "which is in none of the libraries given" in said_
    assert "Kept: " in used.restore("--keep-files", "--save-first", other)
    with used.root() as top:
        assert (top / "home/bob/x").read_text() == "bob\n"


def test_killed_at_any_moment_no_file_is_lost(used: Used) -> None:
    torn, whole = used.disk.with_name("torn.img"), used.disk.with_name("before.img")
    run("cp", "--sparse=always", used.disk, whole)
    with used.root() as top:
        everything = listed(top)
    longest = seconds_of(finish(begin(plan_of(used))))
    with used.root() as top:
        kept = listed(top / "home")
    met = 0
    for number, seconds in enumerate(moments(_KILLS, longest, seed=7)):
        run("cp", "--sparse=always", whole, used.disk)
        job = begin(plan_of(used))
        met += kill_after(job, seconds)
        with used.disk.open("rb") as file:
            mark = file.read(unfinished.SIZE)
        run("cp", "--sparse=always", used.disk, torn)
        if unfinished.parse(mark):
            assert unfinished.parse_saved(mark), "what was there is known"
            assert set(unfinished.parse_keeps(mark)) == set(KeepRule), "and what of it is to be kept"
        if unfinished.parse(mark) and number % 2:
            run_rescue("complete", used.disk, "--library", used.library, "--erase", used.disk.name)
        else:
            done = finish(begin(plan_of(used)))
            assert done.state is JobState.DONE, done.events()[-1]
        with used.root() as top:
            assert listed(top / "home") == kept, f"kill {number} after {seconds:.2f} s, completed"
        saved = unfinished.parse_saved(mark)
        if not saved:
            continue
        torn.replace(used.disk)
        run_rescue("restore", saved, used.disk, "--library", used.library, "--erase", used.disk.name)
        with used.root() as top:
            assert listed(top) == everything, f"kill {number} after {seconds:.2f} s, undone"
    assert met >= _KILLS // 2


def test_a_plan_that_keeps_nothing_says_what_waits(used: Used) -> None:
    job = begin(plan_of(used))
    wait_for_first_write(job, used.disk)
    kill(job)
    with used.disk.open("rb") as file:
        saved = unfinished.parse_saved(file.read(unfinished.SIZE))
    assert saved
    said_ = used.restore("--plan")
    assert f"NOT KEPT: files that an earlier restore of used.img was to keep; they are in image {saved}" in said_
    assert "--keep-files" in said_


def test_the_same_without_keeping_anything_is_refused_unless_that_is_said(used: Used) -> None:
    job = begin(plan_of(used))
    wait_for_first_write(job, used.disk)
    kill(job)
    before = digest(used.disk)
    said_ = used.restore(status=ExitStatus.REFUSED)
    assert "that an earlier restore of used.img was to keep are in image" in said_
    assert digest(used.disk) == before
    saved = inventory.look(str(used.disk), []).saved
    assert (
        "pinned"
        in run_rescue("delete", saved, "--library", used.library, "--delete", saved, status=ExitStatus.REFUSED).err
    )
    used.restore("--no-keep-files")
    with used.root() as top:
        assert not (top / "home/bob").exists()


def test_what_was_saved_can_be_deleted_once_the_files_are_there(used: Used) -> None:
    used.restore("--keep-files")
    images = run_rescue("images", "--library", used.library, "--json").json["images"]
    (saved,) = (image["id"] for image in images if image["id"] != used.image)
    run_rescue("delete", saved, "--library", used.library, "--delete", saved)
