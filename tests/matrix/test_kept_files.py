"""A system is restored over another, whose home folders and settings are carried over as they were."""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imaging import circumstances, inventory, keeping, orders, planner, tree
from imaging.errors import ExitStatus
from imaging.jobs import JobState
from imaging.library import Library
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, run
from tests.faults.killing import finish
from tests.faults.killing import start as begin
from tests.matrix.keptsystems import (
    BTRFS_ROOT,
    EXT4_ROOT,
    LAYOUTS,
    NEW,
    OLD,
    SIZE,
    START,
    UUID,
    XFS_ROOT,
    Layout,
    Used,
    acl,
    built,
    homes,
    listed,
    there,
    used_in,
)
from tests.matrix.tools import Place, attached, mounted, require, said

pytestmark = pytest.mark.root


@pytest.fixture
def make_used(tmp_path: Path) -> Iterator[Callable[..., Used]]:
    require()
    yield partial(used_in, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def used(make_used: Callable[..., Used]) -> Used:
    return make_used(LAYOUTS[0])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_homes_are_as_they_were_and_the_rest_is_the_factory_s(make_used: Callable[..., Used], layout: Layout) -> None:
    used = make_used(layout)
    before = homes(used)
    said_ = used.restore("--keep-files", "accounts,network,ssh-host-keys,host-name")
    assert "Kept: " in said_
    after = homes(used)
    # anna's id belongs to somebody else in the new system: hers is one that nobody had.
    moved = {name: (mode, 1002, 1002, *rest) for name, (mode, _, _, *rest) in before["anna"].items()}
    moved["Letters/one.txt"] = after["anna"]["Letters/one.txt"]
    moved["same.txt"] = after["anna"]["same.txt"]
    assert after["anna"] == moved
    assert after["bob"] == before["bob"]
    one, old = after["anna"]["Letters/one.txt"], before["anna"]["Letters/one.txt"]
    assert one[1:3] == (1002, 1002)
    assert one[3:6] == old[3:6]
    assert one[7] == old[7]
    assert dict(one[6]) == dict(old[6]) | {"system.posix_acl_access": acl(1002, 1001)}
    with used.root() as top:
        text = {name: there(top, layout, name).read_text() for name in ("etc/passwd", "etc/shadow", "etc/group")}
        assert text["etc/passwd"] == (
            NEW["etc/passwd"] + "anna:x:1002:1002:Anna:/home/anna:/bin/zsh\nbob:x:1001:1001::/home/bob:/bin/sh\n"
        )
        assert text["etc/shadow"] == NEW["etc/shadow"] + "anna:$y$anna:1::::::\nbob:$y$bob:1::::::\n"
        assert text["etc/group"] == "root:x:0:\nsudo:x:27:anna\nuser:x:1000:\nanna:x:1002:\nbob:x:1001:anna\n"
        assert stat.S_IMODE(there(top, layout, "etc/shadow").stat().st_mode) == 0o600
        assert there(top, layout, "etc/hostname").read_text() == OLD["etc/hostname"]
        hosts = NEW["etc/hosts"].replace("factory", "annas-computer")
        assert there(top, layout, "etc/hosts").read_text() == hosts
        assert there(top, layout, "etc/ssh/ssh_host_ed25519_key").read_text() == "old key\n"
        wifi = "etc/NetworkManager/system-connections/wlan.nmconnection"
        assert there(top, layout, wifi).read_text() == OLD[wifi]
        assert there(top, layout, "home/user/.bashrc").read_text() == "skeleton\n"
        assert there(top, layout, "usr/bin/program").read_text() == NEW["usr/bin/program"]
        assert not there(top, layout, "usr/bin/other").exists()
    with attached(used.place, read_only=True) as loop:
        said(*layout.kind.check, loop)


def test_only_homes_are_kept_where_nothing_else_is_named(used: Used) -> None:
    assert "no account in the image" not in used.restore("--keep-files", "accounts", "--plan")
    said_ = used.restore("--keep-files")
    assert "no account in the image: anna, bob; without one" in said_
    assert "to keep their accounts, too: --keep-files accounts, or the box" in said_
    with used.root() as top:
        assert (top / "etc/passwd").read_text() == NEW["etc/passwd"]
        assert (top / "etc/hostname").read_text() == NEW["etc/hostname"]
        assert (top / "etc/hosts").read_text() == NEW["etc/hosts"]
        assert (top / "home/bob/x").read_text() == "bob\n"
        assert (top / "home/bob/x").stat().st_uid == 1001


def test_nobody_logs_in_with_a_shell_that_the_restored_system_lacks(make_used: Callable[..., Used]) -> None:
    def prepare(top: Path) -> None:
        (top / "bin").symlink_to("usr/bin")
        for name in ("bash", "dash"):
            (top / "usr/bin" / name).write_text("shell")
        (top / "usr/bin/sh").symlink_to("dash")

    def use(top: Path) -> None:
        passwd = top / "etc/passwd"
        passwd.write_text(f"{passwd.read_text()}git:x:1010:1010::/srv:/usr/bin/git-shell\n")

    used = make_used(EXT4_ROOT, prepare=prepare, use=use)
    said_ = used.restore("--keep-files", "accounts")
    assert "no /bin/zsh: whoever logged in with that does so with /bin/bash" in said_
    assert "no /bin/sh" not in said_
    assert "git-shell" not in said_
    with used.root() as top:
        lines = (top / "etc/passwd").read_text().splitlines()
    assert [line.rpartition(":")[2] for line in lines[-3:]] == ["/bin/bash", "/bin/sh", "/usr/bin/git-shell"]


def test_undo_brings_everything_back(used: Used) -> None:
    with used.root() as top:
        before = listed(top)
    used.restore("--keep-files")
    run_rescue("undo", "--library", used.library, "--to", f"used.img={used.disk}", "--erase", used.disk.name)
    with used.root() as top:
        assert listed(top) == before


def test_a_home_of_the_image_gives_way_to_the_one_that_is_kept(make_used: Callable[..., Used]) -> None:
    used = make_used(LAYOUTS[0], new=NEW | {"home/anna/Letters/one.txt": "factory\n", "home/anna/extra/deep": "x"})
    before = homes(used)["anna"]
    used.restore("--keep-files")
    after = homes(used)["anna"]
    assert {name: (one[3:6], one[7]) for name, one in after.items()} == {
        n: (one[3:6], one[7]) for n, one in before.items()
    }


def test_a_journal_that_was_not_replayed_is(used: Used) -> None:
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        for number in range(40):
            path = top / f"home/bob/late-{number}"
            path.write_text(f"late {number}")
            with path.open() as file:
                os.fsync(file.fileno())
        torn = used.disk.with_name("torn.img")
        run("cp", "--sparse=always", used.disk, torn)
    assert "needs_recovery" in said("dumpe2fs", "-h", f"{torn}?offset={START}")
    torn.rename(used.disk)
    used.restore("--keep-files")
    with used.root() as top:
        assert [(top / f"home/bob/late-{number}").read_text() for number in range(40)] == [
            f"late {number}" for number in range(40)
        ]


@pytest.mark.parametrize(
    ("fstab", "words"),
    [
        ("UUID=abc / ext4 defaults 0 1\nUUID=def /home ext4 defaults 0 2\n", "file system of its own (UUID=def)"),
        ("/dev/sdb1 /home/anna ext4 defaults 0 2\n", "/home/anna of used.img lies on a file system of its own"),
    ],
)
def test_a_home_that_lies_elsewhere_is_refused(make_used: Callable[..., Used], fstab: str, words: str) -> None:
    used = make_used(LAYOUTS[0], fstab=fstab)
    before = digest(used.disk)
    assert words in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before
    assert len(run_rescue("images", "--library", used.library, "--json").json["images"]) == 1


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("LABEL=homes", "restore with --keep 1: then that stays as it is"),
        ("/dev/sda1", "copy the files out of that"),
        ("LABEL=elsewhere", "copy the files out of that"),
        ("/dev/group/home", "copy the files out of that"),
    ],
)
def test_a_partition_is_to_be_kept_where_home_is_known_to_be_on_it(
    make_used: Callable[..., Used], device: str, hint: str
) -> None:
    used = make_used(LAYOUTS[0], fstab=f"{device} /home ext4 defaults 0 2\n")
    run("mke2fs", "-q", "-t", "ext4", "-L", "homes", "-E", f"offset={MIB}", used.disk, "4m")
    said = used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert hint in said
    assert ("--keep " in said) is (device == "LABEL=homes")

    captured = run_rescue("capture", used.disk, "--library", used.library, "--json").events[-1]["result"]["image"]
    image = Library.open(used.library).image(captured)
    target = inventory.look(str(used.disk), [used.library])
    plan = keeping.beside_homes(planner.plan_restore(used.library, image, {image.disks[0].name: target}))
    written = [] if plan is None else [part.partition for part in plan.targets[0].partitions]
    others = [part.number for part in target.table.partitions if part.number != 1]
    assert written == (others if device == "LABEL=homes" else [])


@pytest.mark.parametrize(
    "lines",
    [
        f"UUID={UUID} /home btrfs subvol=/@nowhere 0 0\n",
        "LABEL=homes /home/anna ext4 defaults 0 2\n",
        f"LABEL=homes /home ext4 defaults 0 2\nUUID={UUID} /home/anna btrfs subvol=/@home 0 0\n",
    ],
)
def test_the_partition_of_the_root_is_never_the_one_to_be_kept(make_used: Callable[..., Used], lines: str) -> None:
    """The old system would stay with it, and the reset report success."""
    used = make_used(BTRFS_ROOT, fstab=lines)
    run("mke2fs", "-q", "-t", "ext4", "-L", "homes", "-E", f"offset={MIB}", used.disk, "4m")
    said = used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert "copy the files out of that" in said
    assert "--keep " not in said


def changed(used: Used, change: Callable[[Path], object]) -> str:
    """Change the disk that was used; its digest afterwards."""
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        change(top)
    return digest(used.disk)


def test_a_home_that_is_a_link_is_refused(used: Used) -> None:
    before = changed(used, lambda top: (top / "home/carla").symlink_to("/srv/carla"))
    assert "/home/carla is a link to /srv/carla" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def test_home_itself_is_no_link(used: Used) -> None:
    def move(top: Path) -> None:
        (top / "home").rename(top / "data")
        (top / "home").symlink_to("data")

    before = changed(used, move)
    assert "/home of used.img is no folder" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def test_homes_elsewhere_are_told(used: Used) -> None:
    def move(top: Path) -> None:
        (top / "home/bob").rename(top / "srv")
        passwd = top / "etc/passwd"
        passwd.write_text(passwd.read_text().replace("/home/bob", "/srv"))

    changed(used, move)
    assert "NOT KEPT, for it lies elsewhere: /srv" in used.restore("--keep-files")
    assert is_pinned(used)


def test_what_has_no_room_is_refused(used: Used) -> None:
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        (top / "home/bob/large").write_bytes(os.urandom(300 * MIB))
    before = digest(used.disk)
    assert "free" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def test_a_file_of_many_names_takes_room_once(used: Used) -> None:
    """As of backups that are made of links."""
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        first = top / "home/bob/day-0"
        first.write_bytes(os.urandom(40 * MIB))
        for number in range(1, 20):
            os.link(first, top / f"home/{'anna' if number > 10 else 'bob'}/day-{number}")
    used.restore("--keep-files")
    with used.root() as top:
        assert (top / "home/bob/day-0").stat().st_nlink == 20
        assert (top / "home/bob/day-0").samefile(top / "home/anna/day-19")


def test_a_disk_without_a_system_is_refused(used: Used) -> None:
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        (top / "etc/passwd").unlink()
    before = digest(used.disk)
    assert "no system on Linux" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def is_pinned(used: Used) -> bool:
    """Whether what was saved first is kept from being deleted."""
    listing = Library.open(used.library).images()
    (saved,) = (image.id for image in listing.images if image.id != used.image)
    return listing.notes[saved].pinned


def test_an_order_keeps_files_too(used: Used) -> None:
    text = f"""version = 1
[restore]
image = "{used.image}"
library = "{used.library}"
keep_files = ["homes", "host-name"]
[[restore.disk]]
file = "{used.disk}"
"""
    order = orders.parse(text.encode(), "order.toml")
    plan = circumstances.plan_order(order, circumstances.look(order, inventory.machine()))
    assert isinstance(plan, RestorePlan)
    assert finish(begin(plan)).state is JobState.DONE
    with used.root() as top:
        assert (top / "home/bob/x").read_text() == "bob\n"
        assert (top / "etc/hostname").read_text() == OLD["etc/hostname"]


def test_what_is_no_rule_is_refused(used: Used) -> None:
    assert "no such rule" in used.restore("--keep-files", "everything", status=ExitStatus.USAGE)


def test_files_of_one_number_in_two_subvolumes_stay_two_and_snapshots_stay_away(make_used: Callable[..., Used]) -> None:
    def use(top: Path) -> None:
        home = top / "home/anna"
        for name in ("one", "two"):
            said("btrfs", "subvolume", "create", home / name)
            (home / name / "file").write_text(f"I am {name}")
            os.link(home / name / "file", home / name / "link")
        said("btrfs", "subvolume", "snapshot", "-r", home / "one", home / "snapshot")
        said("btrfs", "subvolume", "snapshot", "-r", home / "two", top / "home/carla")

    used = make_used(EXT4_ROOT, new=NEW | {"home/carla/file": "factory\n"}, used_as=BTRFS_ROOT, use=use)
    said_ = used.restore("--keep-files")
    plan, _, _ = said_.partition("ERASED")
    assert "NOT KEPT of them: 2\n" in plan
    for path in ("/home/anna/snapshot", "/home/carla"):
        assert f"{path}: snapshots that cannot be written to" in plan
    assert "Not kept of them: snapshots that cannot be written to (2)" in said_
    assert "stays pinned" in said_
    assert is_pinned(used), "the snapshots are in the safety image alone"
    with used.root() as top:
        home = top / "home/anna"
        assert [(home / name / "link").read_text() for name in ("one", "two")] == ["I am one", "I am two"]
        assert not (home / "snapshot").exists()
        assert (top / "home/carla/file").read_text() == "factory\n"


def test_a_file_system_on_several_devices_is_refused_and_none_of_them_is_written_to(
    make_used: Callable[..., Used], tmp_path: Path
) -> None:
    second = blank(tmp_path / "second.img", 200 * MIB)

    def use(top: Path) -> None:
        (loop,) = (
            line.split()[0] for line in run("losetup", "--noheadings", "--output=NAME", "-j", second).splitlines()
        )
        said("btrfs", "device", "add", "-f", loop, top)

    with attached(Place(path=second, start=0, size=0)):
        used = make_used(BTRFS_ROOT, use=use)
        before = digest(used.disk), digest(second)
        assert "several devices" in used.restore("--keep-files", "--plan", status=ExitStatus.REFUSED)
        assert (digest(used.disk), digest(second)) == before


def test_sockets_are_told_and_stay_away(make_used: Callable[..., Used]) -> None:
    def use(top: Path) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(top / "home/bob/agent"))

    used = make_used(EXT4_ROOT, use=use)
    assert "/home/bob/agent: devices and sockets" in used.restore("--keep-files", "--plan")
    assert "Not kept of them: devices and sockets (1)" in used.restore("--keep-files")
    assert not is_pinned(used)
    with used.root() as top:
        assert sorted(path.name for path in (top / "home/bob").iterdir()) == ["x"]


def test_what_the_image_has_fixed_gives_way(make_used: Callable[..., Used]) -> None:
    used = make_used(EXT4_ROOT, prepare=lambda top: run("chattr", "+i", top / "etc/hostname"))
    used.restore("--keep-files", "host-name")
    with used.root() as top:
        assert (top / "etc/hostname").read_text() == OLD["etc/hostname"]


def test_an_attribute_that_is_too_large_is_told_and_the_file_is_kept(make_used: Callable[..., Used]) -> None:
    def use(top: Path) -> None:
        os.setxattr(top / "home/bob/x", "user.big", os.urandom(20_000))

    used = make_used(EXT4_ROOT, used_as=XFS_ROOT, use=use)
    said_ = used.restore("--keep-files", status=ExitStatus.DAMAGED)
    assert "Not kept of them: extended attributes (1)" in said_
    assert "but not with all that belonged to them" in said_
    with used.root() as top:
        assert (top / "home/bob/x").read_text() == "bob\n"


def test_how_btrfs_kept_a_file_is_nothing_that_another_file_system_loses(make_used: Callable[..., Used]) -> None:
    def use(top: Path) -> None:
        for name in ("home/bob", "home/bob/x"):
            os.setxattr(top / name, "btrfs.compression", b"zstd")
            os.setxattr(top / name, "user.note", b"kept")

    used = make_used(EXT4_ROOT, used_as=BTRFS_ROOT, use=use)
    assert "Not kept" not in used.restore("--keep-files")
    with used.root() as top:
        assert os.listxattr(top / "home/bob") == os.listxattr(top / "home/bob/x") == ["user.note"]


def test_how_btrfs_kept_a_file_stays_on_btrfs(make_used: Callable[..., Used]) -> None:
    used = make_used(BTRFS_ROOT, use=lambda top: os.setxattr(top / "home/bob/x", "btrfs.compression", b"zstd"))
    used.restore("--keep-files")
    with used.root() as top:
        assert os.getxattr(top / "home/bob/x", "btrfs.compression") == b"zstd"


def test_homes_inherit_no_access_list(make_used: Callable[..., Used]) -> None:
    used = make_used(EXT4_ROOT, prepare=lambda top: os.setxattr(top / "home", "system.posix_acl_default", acl(1000)))
    before = homes(used)["bob"]
    used.restore("--keep-files")
    assert homes(used)["bob"] == before
    with used.root() as top:
        assert not os.listxattr(top / "home/bob")


def test_a_disk_with_what_cannot_be_looked_into_is_refused(used: Used) -> None:
    with used.disk.open("r+b") as file:
        file.seek(START + 2048)
        file.write(b"\xff" * 2048)  # the descriptors of its groups
    before = digest(used.disk)
    assert "cannot be looked into" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def test_a_large_hole_takes_no_time(make_used: Callable[..., Used]) -> None:
    used = make_used(EXT4_ROOT, use=lambda top: os.truncate(top / "home/bob/x", 1 << 40))
    used.restore("--keep-files")
    with used.root() as top:
        assert (top / "home/bob/x").stat().st_size == 1 << 40


@pytest.mark.parametrize("rule", ["/dev/sdb1 /root ext4 defaults 0 2\n", "LABEL=roots\t/root\txfs\tdefaults\n"])
def test_what_lies_on_another_file_system_is_told(make_used: Callable[..., Used], rule: str) -> None:
    used = make_used(EXT4_ROOT, fstab=rule, use=lambda top: (top / "root").mkdir())
    said_ = used.restore("--keep-files", "root-home,host-name", "--plan")
    assert "NOT KEPT, for it lies elsewhere: /root" in said_
    assert "/etc/hostname" in said_


def folders(top: Path, count: int) -> Path:
    """Folders in bob's home so that so many lie in each other, and a file in the last."""
    last = top.joinpath("home", "bob", *["d"] * (count - 2))
    said("mkdir", "-p", last)
    (last / "file").write_text("deep")
    return last


def test_folders_are_kept_as_deep_as_the_plan_takes_them_and_those_of_the_image_give_way_however_deep(
    make_used: Callable[..., Used],
) -> None:
    used = make_used(
        EXT4_ROOT, use=lambda top: folders(top, tree.DEEPEST), prepare=lambda top: folders(top, 4 * tree.DEEPEST)
    )
    used.restore("--keep-files")
    with used.root() as top:
        last = top.joinpath("home", "bob", *["d"] * (tree.DEEPEST - 2))
        assert [path.name for path in last.iterdir()] == ["file"]
        assert (last / "file").read_text() == "deep"
        assert (top / "home/bob/d").stat().st_mode == (top / "home/bob/d/d").stat().st_mode


def test_folders_that_lie_deeper_are_refused(make_used: Callable[..., Used]) -> None:
    used = make_used(EXT4_ROOT, use=lambda top: folders(top, tree.DEEPEST + 1))
    before = digest(used.disk)
    assert "lies in too many folders" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def test_home_folders_are_kept_on_a_disk_that_the_image_has_to_become_smaller_for(used: Used, tmp_path: Path) -> None:
    less = 150 * MIB
    small = replace(used, disk=tmp_path / "small.img", place=built(tmp_path / "small.img", EXT4_ROOT, OLD, less=less))

    def contents() -> list[tuple[Any, ...]]:
        """Whom they belong to is for the other tests."""
        return [(name, path, *one[3:6], one[7]) for name, home in homes(small).items() for path, one in home.items()]

    before = contents()
    small.restore("--shrink", "--keep-files", "accounts")
    end = (SIZE - less - MIB) // MIB * MIB
    small = replace(small, place=replace(small.place, size=end - START))
    assert contents() == before
    said("e2fsck", "-fn", f"{small.disk}?offset={START}")
    with small.root() as top:
        assert (top / "etc/hostname").read_text() == "factory\n"
