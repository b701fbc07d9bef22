"""Files in volumes that LUKS encrypts: listed, searched, shown to a screen and copied, and the passphrase nowhere."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import fileclient, fileplan, jobs, keyring
from imaging.errors import RefusedError
from imaging.fileview import Order
from imaging.imagevolumes import find_volume
from imaging.library import Library
from imaging.state import state_folder
from tests.command import run_rescue
from tests.disks import MIB
from tests.faults.world import carry_out_here, file_servers, told_of_processes, until
from tests.matrix import images
from tests.matrix.encrypted import HEADER, WORDS, encrypted, ext4_on, two_of_one_name
from tests.matrix.images import Captured
from tests.matrix.sample import fingerprint
from tests.matrix.tools import require

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """No test knows the keys of another."""
    yield
    keyring.forget_all()


@pytest.fixture(scope="module")
def filled(files: Path, shared_room: Path) -> tuple[Captured, dict[str, str]]:
    """The image of a disk that is encrypted as a whole, with one ext4 in it, and what is in that."""
    require(("cryptsetup",))
    folder = shared_room / "luks-files"
    folder.mkdir()
    before = ext4_on(folder / "pc.img", 64 * MIB, files, HEADER)
    return images.capture(encrypted(folder / "pc.img"), folder / "library"), before


@pytest.fixture
def captured(filled: tuple[Captured, dict[str, str]]) -> Captured:
    return filled[0]


@pytest.fixture
def options(captured: Captured, room: Path) -> list[object]:
    """What opens it on the command line."""
    (room / "words").write_text(f"{WORDS}\nnot this one\n")
    return ["--library", captured.library, "--unlock", "pc.img", "--unlock-file", room / "words"]


def test_the_commands_list_search_and_copy(
    filled: tuple[Captured, dict[str, str]], options: list[object], room: Path
) -> None:
    captured, before = filled
    listed = run_rescue("files", captured.image, "--json", *options).json
    assert listed["volume"] == "pc.img-open"
    assert {entry["name"] for entry in listed["files"]} == {name.split("/")[0] for name in before} | {"lost+found"}
    found = run_rescue("files", f"{captured.image}:pc.img-open", "--find", "One BYTE", "--json", *options).json
    assert [entry["name"] for entry in found["files"]] == ["/keep/one byte"]
    target = room / "out"
    target.mkdir()
    run_rescue("copy", f"{captured.image}:pc.img-open/keep", target, *options)
    kept = {name: what for name, what in before.items() if name.split("/")[0] == "keep"}
    assert len(kept) > 100
    assert fingerprint(target) == kept
    (told,) = {path for path in state_folder().rglob("plan.json") if str(target) in path.read_text()}
    assert WORDS not in "".join(path.read_text() for path in told.parent.iterdir() if path.is_file())


def test_what_is_locked_says_how_to_open_it_and_a_wrong_passphrase_copies_nothing(
    captured: Captured, options: list[object], room: Path
) -> None:
    library = ["--library", captured.library]
    assert "To look into pc.img, too: --unlock pc.img" in run_rescue("files", captured.image, *library).out
    refused = run_rescue("files", f"{captured.image}:pc.img", "/", *library, status=3)
    assert "it is encrypted" in refused.err
    assert "--unlock pc.img" in refused.err
    (room / "words").write_text("wrong")
    (room / "out").mkdir()
    for words in (["files", captured.image], ["copy", f"{captured.image}:pc.img-open/keep", room / "out"]):
        assert "pc.img: that is not its passphrase" in run_rescue(*words, *options, status=3).err
    assert list((room / "out").iterdir()) == []
    other = run_rescue("files", captured.image, "--unlock", "sda9", *library, *options[4:], status=4)
    assert "no volume 'sda9' that LUKS encrypts" in other.err
    assert "--unlock-file" in run_rescue("files", captured.image, *options[:4], status=3).err


def test_a_screen_opens_it_and_the_passphrase_is_in_no_list_of_processes(captured: Captured) -> None:
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(line for name in ("cmdline", "environ") for line in told_of_processes(name).values())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(RefusedError, match="not its passphrase") as refused:
            fileclient.unlock(captured.library, captured.image, "pc.img", "wrong")
        assert refused.value.code == "wrong-passphrase"
        with pytest.raises(RefusedError, match="passphrase was not given"):
            fileclient.open_files(captured.library, captured.image, "pc.img-open", ["pc.img"])
        (inside,) = fileclient.unlock(captured.library, captured.image, "pc.img", WORDS)
        assert (inside.name, inside.content.kind, inside.problem) == ("pc.img-open", "ext4", "")
        shown = fileclient.open_files(captured.library, captured.image, "pc.img-open", ["pc.img"])
        try:
            assert "keep" in [entry.text for entry in shown.page((), Order.NAME, 0, 10).entries]
        finally:
            shown.close()
    finally:
        done.set()
        watcher.join()
    assert any(b"imaging.fileserver" in line for line in seen)
    assert any(b"cryptsetup" in line for line in seen)
    key = keyring.volume_key(captured.image, "pc.img")
    assert not any(secret in line for line in seen for secret in (os.fsencode(WORDS), key, key.hex().encode()))
    until(lambda: not file_servers(), what="its end")


def test_what_is_in_the_second_of_two_is_shown_and_copied_by_a_job_that_gets_both_keys(files: Path, room: Path) -> None:
    disks, before, made = two_of_one_name(files, room)
    first, second = (disk.name for disk in disks)
    library = room / "library"
    assert [one.name for one in fileclient.unlock(library, made, first, WORDS)] == [f"{first}-open", "group-root"]
    found = fileclient.unlock(library, made, second, WORDS, [first])
    assert [one.name for one in found] == [f"{second}-open", "group-root-2"]
    pipe = room / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(WORDS,))
    writer.start()
    both = ["--unlock", first, "--unlock", second, "--unlock-file", pipe]
    listed = run_rescue("files", f"{made}:group-root-2", "--json", "--library", library, *both).json
    writer.join()
    assert "keep" in {entry["name"] for entry in listed["files"]}
    image = Library.open(library).image(made)
    volume = find_volume(image, "group-root-2", found)
    plan = fileplan.plan_files(library, image, volume, [()], room / "out", [first, first, second])
    assert plan.unlock == (first, second)
    job = jobs.submit(plan)
    until(lambda: job.finished is not None, what="the end of the job")
    assert job.state is jobs.JobState.DONE, job.finished
    assert fingerprint(room / "out") == before[1]
    keys = [keyring.volume_key(made, name) for name in (first, second)]
    told = b"".join(path.read_bytes() for path in job.folder.iterdir() if path.is_file())
    assert not any(secret in told for key in keys for secret in (key, key.hex().encode(), WORDS.encode()))
    keyring.forget_all()
    done = carry_out_here(plan, room / "job")
    assert (done.status, done.code) == (3, "passphrase-needed")
