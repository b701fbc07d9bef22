"""A system is restored over another, whose home folders and settings are carried over as they were."""

import hashlib
import os
import shutil
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imaging import circumstances, inventory, orders, unfinished
from imaging.errors import ExitStatus
from imaging.jobs import JobState
from imaging.keeping import with_kept_files
from imaging.keptfiles import KeepRule
from imaging.library import Library
from imaging.planner import plan_restore
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.faults.killing import finish, kill, kill_after, moments, seconds_of, wait_for_first_write
from tests.faults.killing import start as begin
from tests.matrix.lvm import EXTENT, lvm_on, pieces
from tests.matrix.tools import Place, attached, mounted, require, said
from tests.matrix.volumes import BTRFS, EXT4, XFS, FileSystem

pytestmark = pytest.mark.root
SIZE = 420 * MIB
START, ROOT_SIZE = 8 * MIB, 400 * MIB
TABLE = f"label: gpt\nstart=1MiB, size=4MiB\nstart={START >> 20}MiB, size={ROOT_SIZE >> 20}MiB\n"
UUID = "11111111-2222-3333-4444-555555555555"
_KILLS = 6
_NOBODY = 2**32 - 1


def acl(*users: int) -> bytes:
    """An access list that names users, as its extended attribute holds it."""
    entries = [(1, 6, _NOBODY), *((2, 4, user) for user in users), (4, 4, _NOBODY), (16, 4, _NOBODY), (32, 0, _NOBODY)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n"
NEW = {
    "etc/passwd": f"{PASSWD}user:x:1000:1000:User:/home/user:/bin/bash\n",
    "etc/shadow": "root:*:1::::::\nuser:!:1::::::\n",
    "etc/group": "root:x:0:\nsudo:x:27:\nuser:x:1000:\n",
    "etc/hostname": "factory\n",
    "etc/ssh/ssh_host_ed25519_key": "new key\n",
    "usr/lib/os-release": 'PRETTY_NAME="Factory 1"\n',
    "home/user/.bashrc": "skeleton\n",
    "usr/bin/program": "program " * 200_000,
}
OLD = {
    "etc/passwd": f"{PASSWD}anna:x:1000:1000:Anna:/home/anna:/bin/zsh\nbob:x:1001:1001::/home/bob:/bin/sh\n",
    "etc/shadow": "root:*:1::::::\nanna:$y$anna:1::::::\nbob:$y$bob:1::::::\n",
    "etc/group": "root:x:0:\nsudo:x:27:anna\nanna:x:1000:\nbob:x:1001:anna\n",
    "etc/hostname": "annas-computer\n",
    "etc/NetworkManager/system-connections/wlan.nmconnection": "[wifi]\nssid=anna\n",
    "etc/ssh/ssh_host_ed25519_key": "old key\n",
    "usr/lib/os-release": 'PRETTY_NAME="Used 1"\n',
    "usr/bin/other": "other " * 300_000,
    "home/anna/Letters/one.txt": "dear bob\n",
    "home/anna/.config/app": "settings\n" * 10_000,
    "home/bob/x": "bob\n",
}
OWNERS = {"anna": 1000, "bob": 1001}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a disk's root file system is laid out: its kind, the folders of root and home in it, and whether in LVM."""

    kind: FileSystem
    root: str = ""
    home: str = "home"
    lvm: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind.name}{'-lvm' if self.lvm else ''}{'-subvolumes' if self.root else ''}"


EXT4_ROOT, XFS_ROOT, BTRFS_ROOT = (Layout(kind=kind) for kind in (EXT4, XFS, BTRFS))
LAYOUTS = (
    EXT4_ROOT,
    XFS_ROOT,
    BTRFS_ROOT,
    Layout(kind=BTRFS, root="@", home="@home"),
    Layout(kind=EXT4, lvm=True),
)


@dataclass(frozen=True, kw_only=True)
class Used:
    """A library with a factory image, and a disk that was used since."""

    layout: Layout
    library: Path
    image: str
    disk: Path
    place: Place
    """Where the root file system is."""

    def restore(self, *words: object, status: int = 0) -> str:
        confirmed = ("--erase", self.disk.name)
        done = run_rescue(
            "restore", self.image, self.disk, "--library", self.library, *confirmed, *words, status=status
        )
        return done.out + done.err

    @contextmanager
    def root(self) -> Iterator[Path]:
        """The file system's root folder."""
        options = ("ro,nouuid",) if self.layout.kind is XFS else ("ro",)
        with attached(self.place) as loop, mounted(("mount", "-t", self.layout.kind.name, "-o", *options), loop) as top:
            yield top


def built(path: Path, layout: Layout, files: dict[str, str], fstab: str = "") -> Place:
    """A disk with a system on it."""
    partition(blank(path, SIZE), TABLE)
    place = Place(path=path, start=START, size=ROOT_SIZE)
    if layout.lvm:
        with lvm_on(place) as lvm:
            lvm.run("pvcreate", *lvm.devices)
            lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "group", *lvm.devices)
            lvm.create("group", "root", 380 * MIB // EXTENT)
            (place,) = pieces(lvm, place, "group/root")
    with attached(place) as loop:
        said(*layout.kind.make(loop, 512))
        if layout.kind is BTRFS:
            said("btrfstune", "-f", "-U", UUID, loop)
        with mounted(layout.kind.mount, loop) as top:
            for name in filter(None, {layout.root, layout.home if layout.root else ""}):
                said("btrfs", "subvolume", "create", top / name)
            if layout.root:
                fstab = f"UUID={UUID} / btrfs subvol=@ 0 0\nUUID={UUID} /home btrfs subvol=/@home,noatime 0 0\n"
            write(top, layout, files | {"etc/fstab": fstab})
    return place


def write(top: Path, layout: Layout, files: dict[str, str]) -> None:
    """Files with their owners, and what else a home folder can hold."""
    for name, text in files.items():
        path = there(top, layout, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if "home/anna/Letters/one.txt" in files:
        anna = there(top, layout, "home/anna")
        (anna / "link").symlink_to("Letters/one.txt")
        os.link(anna / "Letters/one.txt", anna / "same.txt")
        os.mkfifo(anna / "pipe")
        with (anna / "sparse").open("wb") as file:
            file.truncate(90 * MIB)
            file.seek(50 * MIB)
            file.write(b"in the middle")
        (anna / "tool").write_bytes(b"\x7fELF")
        (anna / "tool").chmod(0o4750)
        os.setxattr(anna / "Letters/one.txt", "user.note", b"kept")
        os.setxattr(anna / "Letters/one.txt", "system.posix_acl_access", acl(1000, 1001))
    for name, id in OWNERS.items():
        home = there(top, layout, f"home/{name}")
        for path in [home, *home.rglob("*")] if home.exists() else []:
            os.chown(path, id, id, follow_symlinks=False)
            os.utime(path, ns=(1_700_000_000_000_000_000 + id,) * 2, follow_symlinks=False)
    for path in (there(top, layout, "etc/shadow"), there(top, layout, "etc/ssh/ssh_host_ed25519_key")):
        path.chmod(0o600)


def there(top: Path, layout: Layout, name: str) -> Path:
    """Where a file of the system is."""
    if layout.root and name.startswith("home/"):
        return top / layout.home / name.removeprefix("home/")
    return top / layout.root / name


def listed(top: Path) -> dict[str, tuple[Any, ...]]:
    """All that is below a folder: kind and rights, owners, size, time, links, attributes and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        attributes = tuple(
            (n, os.getxattr(path, n, follow_symlinks=False))
            for n in os.listxattr(path, follow_symlinks=False)
            if not n.startswith("trusted.SGI_ACL")  # XFS's own name for access lists
        )
        regular = stat.S_ISREG(status.st_mode)
        content = (
            hashlib.sha256(path.read_bytes()).hexdigest()
            if regular
            else str(path.readlink())
            if path.is_symlink()
            else ""
        )
        links = status.st_nlink if regular else 0
        size = status.st_size if regular else 0
        found[str(path.relative_to(top))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            size,
            status.st_mtime_ns,
            links,
            attributes,
            content,
        )
    return found


@pytest.fixture
def make_used(tmp_path: Path) -> Iterator[Callable[[Layout], Used]]:
    require()

    def make(
        layout: Layout,
        fstab: str = "",
        new: dict[str, str] = NEW,
        used_as: Layout | None = None,
        use: Callable[[Path], object] | None = None,
        prepare: Callable[[Path], object] | None = None,
    ) -> Used:
        """`used_as` is how the disk is laid out that was used; `use` and `prepare` change that and the image's."""
        factory, library = tmp_path / "factory.img", tmp_path / "library"
        changed_by(built(factory, layout, new), layout, prepare)
        captured = run_rescue("capture", factory, "--library", library, "--label", "factory", "--json")
        factory.unlink()
        disk = tmp_path / "used.img"
        old = used_as or layout
        place = built(disk, old, OLD, fstab)
        changed_by(place, old, use)
        image = captured.events[-1]["result"]["image"]
        return Used(layout=layout, library=library, image=image, disk=disk, place=place)

    yield make
    shutil.rmtree(tmp_path, ignore_errors=True)


def changed_by(place: Place, layout: Layout, change: Callable[[Path], object] | None) -> None:
    if change is not None:
        with attached(place) as loop, mounted(layout.kind.mount, loop) as top:
            change(top)


@pytest.fixture
def used(make_used: Callable[[Layout], Used]) -> Used:
    return make_used(LAYOUTS[0])


def homes(used: Used) -> dict[str, dict[str, tuple[Any, ...]]]:
    with used.root() as top:
        return {name: listed(there(top, used.layout, f"home/{name}")) for name in OWNERS}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_homes_are_as_they_were_and_the_rest_is_the_factory_s(
    make_used: Callable[[Layout], Used], layout: Layout
) -> None:
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
        assert there(top, layout, "etc/ssh/ssh_host_ed25519_key").read_text() == "old key\n"
        wifi = "etc/NetworkManager/system-connections/wlan.nmconnection"
        assert there(top, layout, wifi).read_text() == OLD[wifi]
        assert there(top, layout, "home/user/.bashrc").read_text() == "skeleton\n"
        assert there(top, layout, "usr/bin/program").read_text() == NEW["usr/bin/program"]
        assert not there(top, layout, "usr/bin/other").exists()
    with attached(used.place, read_only=True) as loop:
        said(*layout.kind.check, loop)


def test_only_homes_are_kept_where_nothing_else_is_named(used: Used) -> None:
    used.restore("--keep-files")
    with used.root() as top:
        assert (top / "etc/passwd").read_text() == NEW["etc/passwd"]
        assert (top / "etc/hostname").read_text() == NEW["etc/hostname"]
        assert (top / "home/bob/x").read_text() == "bob\n"
        assert (top / "home/bob/x").stat().st_uid == 1001


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
    assert "NOT KEPT, for it lies elsewhere: /srv" in used.restore("--keep-files", "--plan")


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


def test_what_has_no_room_is_refused(used: Used) -> None:
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        (top / "home/bob/large").write_bytes(os.urandom(300 * MIB))
    before = digest(used.disk)
    assert "free" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


def test_a_disk_without_a_system_is_refused(used: Used) -> None:
    with attached(used.place) as loop, mounted(("mount", "-t", "ext4"), loop) as top:
        (top / "etc/passwd").unlink()
    before = digest(used.disk)
    assert "no system on Linux" in used.restore("--keep-files", status=ExitStatus.REFUSED)
    assert digest(used.disk) == before


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


def plan_of(used: Used, saving: Path | None = None) -> RestorePlan:
    """The plan anew, as a person would make it after a power cut."""
    library = Library.open(used.library)
    image = library.image(used.image)
    plan = plan_restore(used.library, image, {image.disks[0].name: inventory.look(str(used.disk), [used.library])})
    return with_kept_files(plan, list(KeepRule), saving or used.library)


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


def test_files_of_one_number_in_two_subvolumes_stay_two_and_snapshots_stay_away(make_used: Callable[..., Used]) -> None:
    def use(top: Path) -> None:
        home = top / "home/anna"
        for name in ("one", "two"):
            said("btrfs", "subvolume", "create", home / name)
            (home / name / "file").write_text(f"I am {name}")
            os.link(home / name / "file", home / name / "link")
        said("btrfs", "subvolume", "snapshot", "-r", home / "one", home / "snapshot")

    used = make_used(EXT4_ROOT, used_as=BTRFS_ROOT, use=use)
    assert "snapshots that cannot be written to" in used.restore("--keep-files")
    with used.root() as top:
        home = top / "home/anna"
        assert [(home / name / "link").read_text() for name in ("one", "two")] == ["I am one", "I am two"]
        assert not (home / "snapshot").exists()


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
    assert "Not kept of them: devices and sockets (1)" in used.restore("--keep-files")
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
    assert "Not kept of them: extended attributes (1)" in used.restore("--keep-files")
    with used.root() as top:
        assert (top / "home/bob/x").read_text() == "bob\n"


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


def test_home_folders_are_kept_on_a_disk_that_the_image_has_to_become_smaller_for(
    used: Used, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    less, here = 150 * MIB, sys.modules[__name__]
    table = f"label: gpt\nstart=1MiB, size=4MiB\nstart={START >> 20}MiB, size={ROOT_SIZE - less >> 20}MiB\n"
    with monkeypatch.context() as patch:
        for name, value in (("SIZE", SIZE - less), ("ROOT_SIZE", ROOT_SIZE - less), ("TABLE", table)):
            patch.setattr(here, name, value)
        small = replace(used, disk=tmp_path / "small.img", place=built(tmp_path / "small.img", EXT4_ROOT, OLD))

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
