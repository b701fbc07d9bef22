"""Home folders on partitions of their own: which partitions stay as they are when a disk is put back, and when not."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from imaging import inventory, keeping, planner
from imaging.errors import RefusedError
from imaging.library import Library
from imaging.systemroot import HOME_TYPE
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.matrix.tools import require

pytestmark = pytest.mark.root
PARTS = {1: (1, 16), 2: (17, 8), 3: (25, 8), 4: (33, 4)}
"""The root, home folders, data, swap: from where, and how large, in MiB."""
LATER = (37, 2)
SYSTEM = {"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "usr/lib/os-release": "ID=sample\n"}
HOMES, DATA = "LABEL=homes /home ext4 defaults 0 2\n", "LABEL=data /data ext4 defaults 0 2\n"


def made(folder: Path, fstab: str, *, typed: int = 0, third: Mapping[str, str] | None = None) -> Path:
    """A disk with a system whose fstab says so; `typed` is the partition that systemd would take for /home."""
    table = "".join(f"start={start}MiB, size={size}MiB\n" for start, size in PARTS.values())
    disk = partition(blank(folder / "disk.img", 48 * MIB), f"label: gpt\n{table}")
    file_system(disk, 1, "root", SYSTEM | {"etc/fstab": fstab})
    file_system(disk, 2, "homes", {"anna/letter": "dear bob\n"})
    file_system(disk, 3, "data", third or {"film": "film\n"})
    start, size = PARTS[4]
    swap = blank(folder / "swap", size * MIB)
    run("mkswap", "-q", swap)
    with disk.open("r+b") as file:
        file.seek(start * MIB)
        file.write(swap.read_bytes())
    if typed:
        run("sfdisk", "--part-type", disk, typed, HOME_TYPE)
    return disk


def file_system(disk: Path, number: int, label: str, files: Mapping[str, str]) -> None:
    """Ext4 with these files."""
    start, size = PARTS[number]
    for name, text in files.items():
        path = disk.with_name(label) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = ["-q", "-F", "-t", "ext4", "-L", label, "-d", disk.with_name(label), "-E", f"offset={start * MIB}"]
    run("mke2fs", *words, disk, f"{size << 10}k")


def written(disk: Path, *, later: bool = False) -> list[int] | None:
    """The partitions that the plan beside home folders writes to; `later`: the image was captured before one more."""
    require()
    library = disk.with_name("library")
    captured = run_rescue("capture", disk, "--library", library, "--json").events[-1]["result"]["image"]
    if later:
        start, size = LATER
        run("sfdisk", "--append", disk, text=f"start={start}MiB, size={size}MiB\n")
        run("mke2fs", "-q", "-F", "-E", f"offset={start * MIB}", disk, f"{size << 10}k")
    image = Library.open(library).image(captured)
    target = inventory.look(str(disk), [library])
    plan = keeping.beside_homes(planner.plan_restore(library, image, {image.disks[0].name: target}))
    return None if plan is None else [part.partition for part in plan.targets[0].partitions]


def test_what_fstab_mounts_as_home_or_for_data_stays_and_what_is_the_system_s_does_not(tmp_path: Path) -> None:
    assert written(made(tmp_path, HOMES + DATA)) == [1, 4]


def test_a_part_of_the_system_on_a_partition_of_its_own_is_written(tmp_path: Path) -> None:
    assert written(made(tmp_path, HOMES + DATA.replace("/data", "/var"))) == [1, 3, 4]


def test_what_the_image_does_not_know_stays(tmp_path: Path) -> None:
    assert written(made(tmp_path, HOMES + DATA), later=True) == [1, 4]


def test_the_one_that_systemd_takes_for_home_by_itself_stays(tmp_path: Path) -> None:
    assert written(made(tmp_path, DATA, typed=2)) == [1, 4]


def test_where_files_may_be_elsewhere_as_well_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nobody can tell whether files of people are on it"):
        written(made(tmp_path, HOMES))


def test_what_nothing_is_known_of_may_hold_files_unless_it_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = made(tmp_path, HOMES)
    start, size = PARTS[3]
    with disk.open("r+b") as file:
        file.seek(start * MIB)
        file.write(bytes(size * MIB))
    assert written(disk) == [1, 3, 4]
    shutil.rmtree(tmp_path / "library")
    monkeypatch.setattr(keeping, "_MOST_BOOT_CODE", size * MIB - 1)
    with pytest.raises(RefusedError, match="nothing known"):
        written(disk)


@pytest.mark.parametrize(
    "more", [DATA + DATA.replace("/data", "/var/cache"), DATA + HOMES.replace("homes /home", "root /srv")]
)
def test_where_a_file_system_is_mounted_in_several_places_each_counts(tmp_path: Path, more: str) -> None:
    """As of btrfs, with subvolumes; the root's own is the system's all the same."""
    assert written(made(tmp_path, HOMES + more)) == [1, 4]


def test_one_that_systemd_would_not_take_for_home_is_not_taken_for_it(tmp_path: Path) -> None:
    disk = made(tmp_path, DATA, typed=2)
    file_system(disk, 1, "root", SYSTEM | {"etc/fstab": DATA, "home/bob/x": "bob\n"})
    assert written(disk) is None


@pytest.mark.parametrize(
    ("fstab", "typed"),
    [
        (DATA, 0),
        (HOMES + DATA, 3),
        (HOMES + "/dev/mapper/group-x /home/anna ext4 defaults 0 2\n" + DATA, 0),
        (HOMES.replace("homes", "root") + DATA, 0),
    ],
    ids=["in the root", "two say otherwise", "a part elsewhere", "the root's own"],
)
def test_where_home_is_not_known_to_be_on_such_there_is_no_plan(tmp_path: Path, fstab: str, typed: int) -> None:
    assert written(made(tmp_path, fstab, typed=typed)) is None


def test_of_two_systems_there_is_no_plan(tmp_path: Path) -> None:
    assert written(made(tmp_path, HOMES, third=SYSTEM | {"home/bob/x": "bob\n"})) is None
