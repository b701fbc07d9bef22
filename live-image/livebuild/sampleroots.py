"""The root file systems that a sample machine can have, laid out as installers of distributions do it.

ext4 on a partition is written without root. The others need it: a kernel to mount them, a loop device for LVM's tools.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from .filesystems import EXT4_FEATURES, make_swap
from .lvm import make_group
from .partitions import MIB, Partition, PartitionType, Placed, write_contents
from .process import BuildError, run

ROOT_SIZE = 1024 * MIB
SWAP_SIZE = 64 * MIB
ROOT_LABEL = "sample-root"
GROUP, ROOT_VOLUME, SWAP_VOLUME = "sample-vg", "root", "swap_1"
"""As Debian's installer calls them on a computer called "sample"."""
_GROUP_SPARE = 16 * MIB
"""What LVM's metadata takes, and extents that no volume has."""


class Root(StrEnum):
    """What the root file system is; `lvm` is ext4 on a logical volume."""

    EXT4 = "ext4"
    BTRFS = "btrfs"
    XFS = "xfs"
    LVM = "lvm"


def partitions(root: Root) -> list[Partition]:
    """What the root and the swap area take of a disk."""
    if root is Root.LVM:
        return [Partition(kind=PartitionType.LVM, name="lvm", size=ROOT_SIZE + SWAP_SIZE + _GROUP_SPARE)]
    return [
        Partition(kind=PartitionType.LINUX, name="root", size=ROOT_SIZE),
        Partition(kind=PartitionType.SWAP, name="swap", size=SWAP_SIZE),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """The UUIDs of one machine's root and swap area."""

    root: str = field(default_factory=lambda: str(uuid.uuid4()))
    swap: str = field(default_factory=lambda: str(uuid.uuid4()))


def words(root: Root, ids: Identities) -> dict[str, str]:
    """What the boot menu and fstab say of them."""
    device, swap, folder, flags = f"UUID={ids.root}", f"UUID={ids.swap}", "", ""
    if root is Root.LVM:
        # In these names each dash of a group's or a volume's own is doubled.
        device, swap = (f"/dev/mapper/{GROUP.replace('-', '--')}-{name}" for name in (ROOT_VOLUME, SWAP_VOLUME))
    mounts = f"{device} / ext4 errors=remount-ro 0 1"
    if root is Root.XFS:
        mounts = f"{device} / xfs defaults 0 0"
    elif root is Root.BTRFS:
        folder, flags = "/@", "rootflags=subvol=@ "
        mounts = f"{device} / btrfs defaults,subvol=@ 0 0\n{device} /home btrfs defaults,subvol=@home 0 0"
    return {"ROOT": ids.root, "DEVICE": device, "FOLDER": folder, "FLAGS": flags, "MOUNTS": mounts, "SWAP": swap}


def write_volumes(disk: Path, where: Sequence[Placed], root: Root, ids: Identities, tars: Sequence[Path]) -> str:
    """Write both into their partitions, the root filled from the tars; returns the device that GRUB finds its files on.

    That is the empty text where it is the first of these partitions.
    """
    if root is not Root.EXT4 and os.geteuid() != 0:
        raise BuildError(f"making a sample machine with {root} needs root", hint="run it with sudo")
    device = ""
    if root is Root.LVM:
        device, where = _make_group(disk, where[0])
    root_image, swap_image = disk.with_name("root.img"), disk.with_name("swap.img")
    _make_root(root_image, root, ids, tars)
    make_swap(swap_image, size=SWAP_SIZE, uuid=ids.swap)
    for place, contents in zip(where, (root_image, swap_image), strict=True):
        write_contents(disk, place, contents)
        contents.unlink()
    return device


def _make_group(disk: Path, where: Placed) -> tuple[str, list[Placed]]:
    """The volume group in its partition: GRUB's name of the root's volume, and the places of both."""
    sizes = {ROOT_VOLUME: ROOT_SIZE, SWAP_VOLUME: SWAP_SIZE}
    with _attached(disk, where) as device:
        made = make_group(device, disk.parent, GROUP, sizes)
    kind = PartitionType.LINUX
    places = [
        Placed(partition=Partition(kind=kind, name=name, size=size), start=where.start + made[name][1])
        for name, size in sizes.items()
    ]
    return f"lvmid/{made[ROOT_VOLUME][0]}", places


@contextmanager
def _attached(disk: Path, where: Placed) -> Iterator[str]:
    place = [f"--offset={where.start}", f"--sizelimit={where.partition.size}"]
    device = run(["losetup", "--find", "--show", *place, disk]).strip()
    try:
        yield device
    finally:
        run(["losetup", "--detach", device])


# Unpacking and filling share one environment: without root, fakeroot remembers owners between the two.
_UNPACK = """
set -eu
unpack() {
    tar -x -f "$1" -C "$2" --numeric-owner --exclude='./dev/*' --exclude=./rescue-build
    [ -z "${OVERLAY-}" ] || tar -x -f "$OVERLAY" -C "$2" --numeric-owner
    mkdir -p "$2/boot/efi"
}
mkdir "$2"
"""
FILL_ROOT = f"""{_UNPACK}
unpack "$1" "$2"
shift
tree=$1
shift
mke2fs "$@" -d "$tree" "$IMAGE"
rm -rf "$tree"
"""
"""Fills a new ext4, the file $IMAGE, from the tar $1 by way of the folder $2, which is not there yet."""
_FILL_MOUNTED = f"""{_UNPACK}
mount -o loop "$IMAGE" "$2"
for subvolume in $SUBVOLUMES; do
    btrfs subvolume create "$2/$subvolume"
done
unpack "$1" "$2$FOLDER"
umount "$2"
rmdir "$2"
"""


def _make_root(image: Path, root: Root, ids: Identities, tars: Sequence[Path]) -> None:
    with image.open("wb") as file:
        file.truncate(ROOT_SIZE)
    tree, overlay = tars
    folder = image.with_name("tree")
    env = {"IMAGE": str(image), "OVERLAY": str(overlay)}
    if root in (Root.BTRFS, Root.XFS):
        if root is Root.XFS:
            run(["mkfs.xfs", "-q", "-L", ROOT_LABEL, "-m", f"uuid={ids.root}", image])
        else:
            run(["mkfs.btrfs", "-q", "-L", ROOT_LABEL, "-U", ids.root, image])
        volumes = "@ @home" if root is Root.BTRFS else ""
        env |= {"FOLDER": words(root, ids)["FOLDER"], "SUBVOLUMES": volumes}
        # In a namespace of its own, a mount goes with the shell, whatever happens to that.
        run(["unshare", "--mount", "sh", "-c", _FILL_MOUNTED, "sh", tree, folder], env=env)
        return
    # Everything initialised at once, so that the captured disk does not depend on how long it ran.
    extended = "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    options = ["-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-U", ids.root, "-O", EXT4_FEATURES, "-E", extended]
    faked = [] if os.geteuid() == 0 else ["fakeroot"]
    run([*faked, "sh", "-c", FILL_ROOT, "sh", tree, folder, *options], env=env)
