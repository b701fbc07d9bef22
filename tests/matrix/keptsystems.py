"""Systems on Linux that were used, and an image that is restored over them: how they are made and what is in them."""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.matrix.lvm import EXTENT, lvm_on, pieces
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import BTRFS, EXT4, XFS, FileSystem

SIZE = 420 * MIB
START, ROOT_SIZE = 8 * MIB, 400 * MIB
UUID = "11111111-2222-3333-4444-555555555555"
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
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 factory.lan factory\n",
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
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 annas-computer\n10.0.0.7 annas-printer\n",
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


def built(path: Path, layout: Layout, files: dict[str, str], fstab: str = "", less: int = 0, boot: int = 0) -> Place:
    """A disk with a system on it, `less` bytes smaller than usual, with ext4 of `boot` bytes for /boot before it."""
    place = Place(path=path, start=START + boot, size=ROOT_SIZE - less)
    before = f"start={START >> 20}MiB, size={boot >> 20}MiB\n" if boot else ""
    table = f"label: gpt\nstart=1MiB, size=4MiB\n{before}start={place.start >> 20}MiB, size={place.size >> 20}MiB\n"
    partition(blank(path, SIZE - less + boot), table)
    if boot:
        run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={START}", path, f"{boot >> 10}k")
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
        content = digest(path) if regular else str(path.readlink()) if path.is_symlink() else ""
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


def changed_by(place: Place, layout: Layout, change: Callable[[Path], object] | None) -> None:
    if change is not None:
        with attached(place) as loop, mounted(layout.kind.mount, loop) as top:
            change(top)


def homes(used: Used) -> dict[str, dict[str, tuple[Any, ...]]]:
    with used.root() as top:
        return {name: listed(there(top, used.layout, f"home/{name}")) for name in OWNERS}


def used_in(
    folder: Path,
    layout: Layout,
    fstab: str = "",
    new: dict[str, str] = NEW,
    used_as: Layout | None = None,
    use: Callable[[Path], object] | None = None,
    prepare: Callable[[Path], object] | None = None,
) -> Used:
    """`used_as` is how the disk is laid out that was used; `use` and `prepare` change that and the image's."""
    factory, library = folder / "factory.img", folder / "library"
    changed_by(built(factory, layout, new), layout, prepare)
    captured = run_rescue("capture", factory, "--library", library, "--label", "factory", "--json")
    factory.unlink()
    disk = folder / "used.img"
    old = used_as or layout
    place = built(disk, old, OLD, fstab)
    changed_by(place, old, use)
    image = captured.events[-1]["result"]["image"]
    return Used(layout=layout, library=library, image=image, disk=disk, place=place)
