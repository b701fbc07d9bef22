"""Windows is restored over another, and the folders of its people are carried over as they were."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from tests.disks import MIB, digest, run
from tests.faults.killing import finish, kill_after, moments, seconds_of
from tests.faults.killing import start as begin
from tests.faults.world import until
from tests.matrix import windows
from tests.matrix.tools import Place, attached, mounted, require, said
from tests.matrix.windows import account, listed, opened, people, person, put, use, written

pytestmark = pytest.mark.root
_KILLS = 1
_OLD, _NEW = 1000, 5000
"""What tells the two systems' accounts apart."""
PEOPLE = ("anna", "Bob Ümläut", "Public")
Change = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Used:
    """A library with a factory image, and a disk that was used since; `place` is its C:."""

    library: Path
    image: str
    disk: Path
    place: Place

    def restore(self, *words: object, status: int = 0) -> str:
        confirmed = ("--erase", self.disk.name)
        done = run_rescue(
            "restore", self.image, self.disk, "--library", self.library, *confirmed, *words, status=status
        )
        return done.out + done.err


def used_by_two(top: Path) -> None:
    """What Windows and two people make of C:."""
    windows.windows(top, b"used")
    for number, name in enumerate(PEOPLE[:2]):
        home = person(top / "Users", name, account(_OLD, 1001 + number))
        use(home, account(_OLD, 1001 + number))
    written(top / "Users/Public/Documents/shared.txt", b"for all")
    written(top / "Program Files/program.exe", b"program" * 100_000)
    for name in PEOPLE:
        windows.date(top / "Users" / name)


@pytest.fixture
def make_used(tmp_path: Path) -> Iterator[Callable[..., Used]]:
    require()

    def make(table: str = windows.GPT, prepare: Change | None = None, change: Change | None = None) -> Used:
        """`prepare` changes the system that is the image's, `change` that which was used."""
        factory, disk, library = tmp_path / "factory.img", tmp_path / "used.img", tmp_path / "library"
        place = windows.disk(factory, table)
        with opened(place, writable=True) as top:
            windows.windows(top, b"factory")
            if prepare:
                prepare(top)
        captured = run_rescue("capture", factory, "--library", library, "--label", "factory", "--json")
        factory.rename(disk)
        with attached(place.on(disk)) as loop:
            said("mkntfs", "-Q", "-q", "-F", "-L", "Windows", loop)
        with opened(place.on(disk), writable=True) as top:
            used_by_two(top)
            if change:
                change(top)
        return Used(library=library, image=captured.events[-1]["result"]["image"], disk=disk, place=place.on(disk))

    yield make
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def used(make_used: Callable[..., Used]) -> Used:
    return make_used()


def everything(place: Place) -> dict[str, tuple[Any, ...]]:
    with opened(place) as top:
        return listed(top)


@pytest.mark.parametrize("table", [windows.GPT, windows.MBR], ids=["gpt", "mbr"])
def test_people_s_folders_are_as_they_were_and_the_rest_is_the_factory_s(
    make_used: Callable[..., Used], table: str
) -> None:
    used = make_used(table)
    before = people(used.place, PEOPLE)
    said_ = used.restore("--keep-files")
    assert "KEPT: " in said_
    assert "/Users/anna" in said_
    assert all(float(told) <= 100 for told in re.findall(r"(\d+) %  ", said_)), said_
    assert "2 files are encrypted by Windows (EFS)" in said_
    assert "accounts are those of the image" in said_
    after = people(used.place, PEOPLE)
    for name in PEOPLE:
        assert after[name] == before[name]
    with opened(used.place) as top:
        assert (top / "Windows/System32/ntoskrnl.exe").read_bytes().startswith(b"factory")
        assert not (top / "Program Files").exists()
        assert (top / "Users/Default/NTUSER.DAT").read_bytes() == b"new factory"
        assert (top / "Users/desktop.ini").read_bytes() == b"[factory]"
        assert (top / "Users/anna/sparse").stat().st_blocks * 512 < MIB
        assert (top / "Users/anna/packed/text").stat().st_blocks * 512 < MIB < len(b"again and again ") * 200_000
        assert windows.told(top / "Users/All Users", "reparse_data") == windows.junction("C:\\ProgramData")
    with attached(used.place, read_only=True) as loop:
        said("ntfsfix", "-n", loop)


def test_undo_brings_everything_back(used: Used) -> None:
    before = everything(used.place)
    used.restore("--keep-files")
    run_rescue("undo", "--library", used.library, "--to", f"used.img={used.disk}", "--erase", used.disk.name)
    assert everything(used.place) == before


def test_who_has_an_account_in_the_image_keeps_its_settings_and_may_open_what_is_kept(
    make_used: Callable[..., Used],
) -> None:
    new, old = account(_NEW, 1003), account(_OLD, 1001)

    def prepare(top: Path) -> None:
        written(person(top / "Users", "Anna", new) / "Documents/of the factory", b"x")
        person(top / "Users", "Bob Ümläut", account(_NEW, 1004))
        (top / "Users/Strasse").mkdir()

    def change(top: Path) -> None:
        """One name to some, two to Windows; and settings that were moved to another disk."""
        written(top / "Users/Straße/of one", b"1")
        written(top / "Users/strasse/of another", b"2")
        shutil.rmtree(top / "Users/Bob Ümläut/AppData")
        (top / "Users/Bob Ümläut/AppData").mkdir()
        put(top / "Users/Bob Ümläut/AppData", "reparse_data", windows.junction("D:\\AppData"))

    used = make_used(prepare=prepare, change=change)
    before = people(used.place, ("anna",))["anna"]
    said_ = used.restore("--keep-files")
    assert "accounts there already: Bob Ümläut, anna; their settings are those of the image" in said_
    assert "/Users/Bob Ümläut/AppData: links in place of the restored system's folders of settings" in said_
    after = people(used.place, ("anna",))["anna"]
    settings = {"NTUSER.DAT", "ntuser.dat.LOG1", "AppData/Local/Microsoft/Windows/UsrClass.dat"}
    for name in settings:
        assert before.pop(name)[-1].endswith(b" of anna")
        assert after.pop(name)[-1].endswith(b" of Anna")
    hers = (windows.descriptor(old), windows.descriptor(old, account(7, 1234)))
    mapped = {rights: rights.replace(windows.sid(old), windows.sid(new)) for rights in hers}
    assert sum(one[1] in mapped for one in before.values()) == 3, "her folder, and a letter of two names"
    assert after == {name: (one[0], mapped.get(one[1], one[1]), *one[2:]) for name, one in before.items()}
    with opened(used.place) as top:
        assert sorted(path.name.lower() for path in (top / "Users").iterdir()).count("anna") == 1
        assert (top / "Users/Straße/of one").read_bytes() == b"1"
        assert (top / "Users/strasse/of another").read_bytes() == b"2"
        assert (top / "Users/Bob Ümläut/AppData/Local/Microsoft/Windows/UsrClass.dat").is_file()
        assert (top / "Users/Bob Ümläut/Videos/film.mp4").stat().st_size == 9 * MIB


def test_what_is_in_the_cloud_is_kept_where_it_is_here_and_told_where_it_is_not(
    make_used: Callable[..., Used],
) -> None:
    used = make_used(change=lambda top: windows.cloud(top / "Users/anna"))
    before = digest(used.disk)
    said_ = used.restore("--keep-files", "--plan")
    assert "NOT KEPT of them: 2" in said_
    assert "/Users/anna/OneDrive/Pictures/away.jpg: files that are only in the cloud" in said_
    assert "/Users/anna/program.exe: files that Windows alone can read" in said_
    assert digest(used.disk) == before
    said_ = used.restore("--keep-files")
    assert "Not kept of them: files that are only in the cloud (1)" in said_
    with opened(used.place) as top:
        home = top / "Users/anna"
        assert [path.name for path in (home / "OneDrive/Pictures").iterdir()] == ["here.jpg"]
        assert (home / "OneDrive/Pictures/here.jpg").read_bytes() == b"it is here" * 1000
        assert not windows.told(home / "OneDrive", "reparse_data")
        assert not (home / "program.exe").exists()


def test_what_cannot_be_kept_is_refused_before_anything(used: Used) -> None:
    def refused(*rules: str) -> str:
        before = digest(used.disk)
        said_ = used.restore("--keep-files", *rules, status=ExitStatus.REFUSED)
        assert digest(used.disk) == before
        assert len(run_rescue("images", "--library", used.library, "--json").json["images"]) == 1
        return said_

    def change(of_it: Change) -> None:
        with opened(used.place, writable=True) as top:
            of_it(top)

    names = ("Straße", "strasse", "STRASSE")

    def twins(top: Path) -> None:
        for name in names:
            (top / "Users" / name).mkdir()

    def no_twins(top: Path) -> None:
        for name in names:
            (top / "Users" / name).rmdir()

    def away(top: Path) -> None:
        (top / "Users/carla").mkdir()
        put(top / "Users/carla", "reparse_data", windows.junction("D:\\carla"))

    assert "accounts cannot be kept of Windows" in refused("accounts")
    change(twins)
    assert "/Users/STRASSE and /Users/strasse are one name to Windows" in refused()
    change(no_twins)
    change(away)
    assert "/Users/carla is a link to" in refused()
    change(lambda top: (top / "Users/carla").unlink())
    change(lambda top: written(top / "hiberfil.sys", b"HIBR" + bytes(4096)))
    assert "Windows was hibernated, or shut down with fast start-up" in refused()
    with attached(used.place) as loop, mounted(("ntfs-3g", "-o", "remove_hiberfile"), loop):
        pass
    change(lambda top: written(top / "Users/anna/large", b"x" * (100 * MIB)))
    assert "and the restored system has" in refused()
    with attached(used.place) as loop:
        said("ntfsfix", loop)  # has Windows check the volume
    assert "Windows has scheduled it for a check" in refused()
    with attached(used.place) as loop:
        said("ntfsfix", "-d", loop)
    change(lambda top: (top / "Windows/System32/ntoskrnl.exe").unlink())
    assert "no Windows whose files could be kept" in refused()


def plan_of(used: Used) -> RestorePlan:
    """The plan anew, as a person would make it after a power cut."""
    library = Library.open(used.library)
    image = library.image(used.image)
    plan = plan_restore(used.library, image, {image.disks[0].name: inventory.look(str(used.disk), [used.library])})
    return with_kept_files(plan, [KeepRule.HOMES], used.library)


def _looped(disk: Path) -> list[str]:
    """Loop devices over a disk file."""
    return run("losetup", "--noheadings", "--output=NAME", "--associated", disk).split()


def test_killed_at_any_moment_no_file_is_lost(used: Used) -> None:
    torn, whole = used.disk.with_name("torn.img"), used.disk.with_name("before.img")
    run("cp", "--sparse=always", used.disk, whole)
    before, kept = everything(used.place), people(used.place, PEOPLE)
    longest = seconds_of(finish(begin(plan_of(used))))
    assert people(used.place, PEOPLE) == kept
    saved = ""
    for number, seconds in enumerate(moments(_KILLS, longest, seed=11)):
        run("cp", "--sparse=always", whole, used.disk)
        job = begin(plan_of(used))
        kill_after(job, seconds)
        until(lambda: not _looped(used.disk), what="the end of what the worker has started")
        with used.disk.open("rb") as file:
            saved = unfinished.parse_saved(file.read(unfinished.SIZE)) or saved
        run("cp", "--sparse=always", used.disk, torn)
        done = finish(begin(plan_of(used)))
        assert done.state is JobState.DONE, done.events()[-1]
        assert people(used.place, PEOPLE) == kept, f"kill {number} after {seconds:.2f} s, completed"
    assert saved, "a kill met it at work"
    torn.replace(used.disk)
    run_rescue("restore", saved, used.disk, "--library", used.library, "--erase", used.disk.name)
    assert everything(used.place) == before
    assert not _looped(used.disk)
