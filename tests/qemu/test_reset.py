"""A used computer is put back, whatever its root is: with its files, and undone; or with nothing left that was there.

All of a case happens in one start of the stick, for that takes longest; what is started then are copies of the disks as
they were in between. A pair's second machine is only reset with its files kept, and started; RESCUE_ALL=1 does all with
both, and tries each pair with each firmware.
"""

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from livebuild.sampleroots import Root
from tests import limits
from tests.command import run_rescue
from tests.disks import MIB, blank, run
from tests.matrix.keptsystems import listed
from tests.matrix.tools import require

from .conftest import Sample
from .machine import JOB, SERIAL_NUMBER, Machine, started
from .terminal import ENTER
from .test_end_to_end import read_the_marker
from .used import ANNA, PACKAGE, is_the_factory_s, occurrences, partitions, power_off, root_of, shell_with, use

pytestmark = [pytest.mark.qemu, pytest.mark.root]
ROOM = 3072 * MIB
LARGER = 16 * MIB
"""Bytes that the disk which is to be emptied has more than the image's."""
# A machine says: has it the package, whose is a file in the home folder, and who is that.
ASKED = f"dpkg -s {PACKAGE} > /dev/null 2>&1; echo $?:$(stat -c %U:%g /home/anna/film 2> /dev/null):"
KEPT, AS_IT_WAS, NOTHING = f"1:anna:{ANNA}:", f"0:anna:{ANNA}:", "1::"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A firmware, two machines, and in which way each is emptied; what discards is a drive that forgets nothing."""

    firmware: str
    bus: str
    roots: tuple[Root, Root]
    wipes: tuple[str, str] = ("overwrite", "discard")

    def __str__(self) -> str:
        return "-".join((self.firmware, *self.roots))


_PAIRS = (Root.EXT4, Root.XFS), (Root.BTRFS, Root.LVM)
_CASES = [
    Case(firmware="bios", bus="sata", roots=_PAIRS[0]),
    Case(firmware="uefi", bus="virtio", roots=_PAIRS[1], wipes=("discard", "overwrite")),
    Case(firmware="uefi", bus="sata", roots=_PAIRS[0]),
    Case(firmware="bios", bus="virtio", roots=_PAIRS[1]),
]
_PARAMETERS = [_CASES[0], *(pytest.param(case, marks=pytest.mark.thorough) for case in _CASES[1:])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A machine's image, its disk as it was used, and another such disk on which marks are."""

    root: Root
    sample: Sample
    image: str
    disk: Path
    reset: Path
    """What its disk held when it was reset, and before that was undone."""
    marked: Path
    mark: bytes
    deleted: bytes
    """What stands in a file that is not there any more."""

    @property
    def library(self) -> str:
        """As the stick's shell calls it."""
        return f"--library /w/library-{self.root}"


def used(root: Root, sample: Sample, libraries: Path, folder: Path, *, whole: bool) -> Used:
    """Capture a machine, and use it; the other disk, on which marks are, is made where the machine is emptied, too."""
    library = libraries / f"library-{root}"
    captured = run_rescue("capture", sample.disk, "--library", library, "--json")
    disk, marked = folder / f"{root}.img", folder / f"{root}-marked.img"
    run("cp", "--sparse=always", sample.disk, disk)
    use(disk, root)
    found = Used(
        root=root,
        sample=sample,
        image=str(captured.events[-1]["result"]["image"]),
        disk=disk,
        reset=folder / f"{root}-reset.img",
        marked=marked,
        mark=uuid.uuid4().hex.encode(),
        deleted=uuid.uuid4().hex.encode(),
    )
    if whole:
        run("cp", "--sparse=always", disk, marked)
        mark_files(found)
        mark_elsewhere(found)
    return found


def mark_files(one: Used) -> None:
    """A file of marks, one that bears it as its name and as an attribute, and one that is deleted again."""
    with root_of(one.marked, one.root, writable=True) as top:
        home = top / "home/anna"
        (home / "secret").write_bytes((one.mark + b"\n") * 100_000)
        (home / one.mark.decode()).touch()
        os.setxattr(home / one.mark.decode(), "user.mark", one.mark)
        (home / "deleted").write_bytes((one.deleted + b"\n") * 100_000)
    with root_of(one.marked, one.root, writable=True) as top:
        (top / "home/anna/deleted").unlink()
    assert occurrences(one.marked, one.mark) > 100_000
    assert occurrences(one.marked, one.deleted) > 10_000


def mark_elsewhere(one: Used) -> None:
    """Marks before the first partition, behind the files of others, in a gap, in one more partition, and at the end."""
    disk = one.marked
    os.truncate(disk, disk.stat().st_size + LARGER)
    run("sfdisk", "--quiet", "--relocate", "gpt-bak-std", disk)
    there = partitions(disk)
    end = max(place.start + place.size for place in there.values())
    more = f"start={(end + 4 * MIB) // 512}, size={4 * MIB // 512}, name=more\n"
    run("sfdisk", "--quiet", "--append", disk, text=more)
    places = [64 << 10, end + MIB, end + 5 * MIB, end + 10 * MIB, disk.stat().st_size - MIB]
    places += [place.start + place.size - 64 * 1024 for place in there.values()]
    before = occurrences(disk, one.mark)
    with disk.open("r+b") as file:
        for at in places:
            file.seek(at)
            file.write(one.mark)
    assert occurrences(disk, one.mark) == before + len(places)


def job(machine: Machine, command: str, *words: str) -> None:
    """Run one in the stick's shell; it ends well, and says these words, and not that something will not start."""
    terminal = machine.terminal
    # What the one before has said stands there until the screen is cleared.
    end = uuid.uuid4().hex[:8]
    told = f"(set -o pipefail; {command} | tail -n 18) && echo EN''DED {end} well || echo EN''DED {end} badly"
    terminal.press(f"clear; {told}", ENTER)
    ended = terminal.wait_for(f"ENDED {end} well", f"ENDED {end} badly", timeout=JOB)
    assert ended.endswith("well"), terminal.text
    for word in words:
        assert word in terminal.flow, terminal.text
    assert "will not start" not in terminal.flow, terminal.text


@pytest.mark.parametrize("case", _PARAMETERS, ids=str)
def test_a_used_computer_is_put_back_with_its_files_or_without_a_trace(
    case: Case, stick: Path, sample_with: Callable[[Root], Sample], tmp_path: Path
) -> None:
    require(("mkfs.xfs", "mkfs.btrfs", "vgcreate"))
    libraries, work = tmp_path / "libraries", tmp_path / "work.img"
    first, second = case.roots
    machines = [
        used(first, sample_with(first), libraries, tmp_path, whole=True),
        used(second, sample_with(second), libraries, tmp_path, whole=limits.THOROUGH),
    ]
    run("mkfs.ext4", "-q", "-d", libraries, blank(work, ROOM))
    homes, everything = {}, {}
    for one in machines:
        with root_of(one.disk, one.root) as top:
            homes[one.root], everything[one.root] = listed(top / "home"), listed(top)

    whole = machines if limits.THOROUGH else machines[:1]
    disks = [one.disk for one in machines] + [one.marked for one in whole]
    with shell_with(stick, disks, work, tmp_path / "stick", case.firmware, bus=case.bus) as machine:
        for number, one in enumerate(machines, start=1):
            erase = f"$(disk {number}) --erase {SERIAL_NUMBER}-{number} {one.library}"
            job(machine, f"rescue restore {one.image} {erase} --keep-files accounts", "Accounts kept: anna")
            job(machine, "sync")
            run("cp", "--sparse=always", one.disk, one.reset)
            if one not in whole:
                continue
            undo = f"rescue undo {one.library} --erase {SERIAL_NUMBER}-{number}"
            job(machine, undo, "was restored, read back and verified")
        ways = case.wipes[: len(whole)]
        for number, (one, way) in enumerate(zip(whole, ways, strict=True), start=len(machines) + 1):
            erase = f"$(disk {number}) --erase {SERIAL_NUMBER}-{number} {one.library}"
            job(machine, f"rescue restore {one.image} {erase} --wipe {way}", "overwritten with zeros")
        power_off(machine)

    for one in machines:
        with root_of(one.reset, one.root) as top:
            assert listed(top / "home") == homes[one.root]
            assert is_the_factory_s(top)
            assert f"anna:x:{ANNA}:{ANNA}:" in (top / "etc/passwd").read_text()
    for one in whole:
        with root_of(one.disk, one.root) as top:
            assert listed(top) == everything[one.root]
        assert occurrences(one.marked, one.mark) == 0
        assert occurrences(one.marked, one.deleted) == 0
    for one in machines:
        start(one, one.reset, case, tmp_path / f"{one.root}-reset", KEPT)
    for one in whole:
        start(one, one.disk, case, tmp_path / f"{one.root}-undone", AS_IT_WAS)
        start(one, one.marked, case, tmp_path / f"{one.root}-emptied", NOTHING)


def start(one: Used, disk: Path, case: Case, folder: Path, answer: str) -> None:
    """The machine starts from the disk, nothing in it fails, and it says what is there."""
    with started(folder, firmware=case.firmware, disk=disk, bus=case.bus, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, one.sample.marker, also=(ASKED, answer))
