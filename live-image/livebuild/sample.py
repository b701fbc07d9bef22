"""The sample machine: a small Debian on a disk of its own, to be captured, restored and booted.

GPT: 1 BIOS boot, 2 EFI system partition, 3 root, 4 swap; the last two are in one partition, 3, where they are in LVM.
It boots under BIOS and UEFI; root's password is "rescue"; /etc/rescue-marker holds a random UUID.
"""

import secrets
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from .bootparts import BootParts
from .cache import Cache, digest_of
from .debian import BUILD_FOLDER, SUITE, files_tar, make_tree
from .filesystems import make_fat
from .lists import LIVE_IMAGE, read_list
from .partitions import MIB, Partition, PartitionType, create_disk, place, write_bios_boot, write_contents
from .process import run, step
from .sampleroots import ROOT_LABEL, Identities, Root, partitions, words, write_volumes

SOURCES = LIVE_IMAGE / "sample"
EFI_SIZE = 64 * MIB
_MADE_BY = ("sample.py", "sampleroots.py", "lvm.py", "debian.py", "partitions.py", "filesystems.py")
_GRUB_MODULES = {Root.EXT4: (), Root.BTRFS: ("btrfs",), Root.XFS: ("xfs",), Root.LVM: ("lvm",)}
"""What GRUB's core needs to reach its folder, beside what it always has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A folder that holds the finished disk."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def marker(self) -> Path:
        return self.folder / "marker"


def sample_machine(cache: Cache, parts: BootParts, *, root: Root = Root.EXT4, again: bool = False) -> Sample:
    """The sample machine from the cache, built when it has none; with another root than ext4 that needs root."""
    packages = read_list(SOURCES / "packages.txt")
    if root is not Root.EXT4:
        packages += read_list(SOURCES / "other-roots-packages.txt")
    inputs: list[str | Path] = [
        SUITE,
        " ".join(packages),
        SOURCES,
        *(LIVE_IMAGE / "livebuild" / name for name in _MADE_BY),
    ]
    kind = "sample" if root is Root.EXT4 else f"{root}-sample"
    key = digest_of(*inputs, parts.for_disks, root.value)
    shared: Path | None = None
    if root is not Root.EXT4 and (again or cache.find(kind, key) is None):
        # One tree for all of these. That of ext4, which is what most builds want, stays smaller, and is not kept.
        made = cache.entry(
            "tree-of-samples", digest_of(*inputs), lambda folder: _make_tree(folder / "tree.tar", packages), again=again
        )
        shared = made / "tree.tar"

    def make(folder: Path) -> None:
        tree = shared or folder / "tree.tar"
        if shared is None:
            _make_tree(tree, packages)
        _make(folder, tree, parts, root)
        (folder / "tree.tar").unlink(missing_ok=True)

    return Sample(cache.entry(kind, key, make, again=again))


def _make_tree(tar: Path, packages: list[str]) -> None:
    """The Debian of all of these machines, without what tells one from another."""
    with step("installing Debian packages"):
        make_tree(
            tar,
            packages,
            files={
                f"{BUILD_FOLDER}/customize": SOURCES / "customize",
                # The initramfs takes the tool along that checks the root which is named here.
                "etc/fstab": f"LABEL={ROOT_LABEL} / ext4 defaults 0 1\n".encode(),
            },
            customize=f"/{BUILD_FOLDER}/customize",
        )


def _make(folder: Path, tree: Path, parts: BootParts, root: Root) -> None:
    ids = Identities()
    efi_id = secrets.token_hex(4).upper()
    names = {**words(root, ids), "EFI": f"{efi_id[:4]}-{efi_id[4:]}"}
    marker = f"{uuid.uuid4()}\n"
    (folder / "marker").write_text(marker)
    rendered = {}
    for name in ("grub.cfg", "efi-grub.cfg", "fstab"):
        text = (SOURCES / name).read_text()
        for word, value in names.items():
            text = text.replace(f"@{word}@", value)
        rendered[name] = text.encode()
    own: dict[str, Path | bytes] = {
        "etc/rescue-marker": marker.encode(),
        "etc/fstab": rendered["fstab"],
        "boot/grub/grub.cfg": rendered["grub.cfg"],
    }
    overlay = folder / "overlay.tar"
    overlay.write_bytes(files_tar(own))
    with step("writing the sample disk"):
        efi = folder / "efi.img"
        _make_efi(efi, parts, names["EFI"], rendered["efi-grub.cfg"])
        placed = place(
            [
                Partition(kind=PartitionType.BIOS_BOOT, name="BIOS-BOOT", size=MIB),
                Partition(kind=PartitionType.EFI_SYSTEM, name="EFI", size=EFI_SIZE),
                *partitions(root),
            ]
        )
        disk = folder / "disk.img"
        create_disk(disk, placed, disk_id=str(uuid.uuid4()))
        write_contents(disk, placed[1], efi)
        efi.unlink()
        device = write_volumes(disk, placed[2:], root, ids, (tree, overlay)) or ",gpt3"
        prefix = f"({device}){names['FOLDER']}/boot/grub"
        modules = _GRUB_MODULES[root]
        boot = parts.bios_boot(prefix=prefix, partition_start=placed[0].start_sector, modules=modules)
        write_bios_boot(disk, placed[0], boot)
    overlay.unlink()


def _make_efi(image: Path, parts: BootParts, volume_id: str, menu: bytes) -> None:
    tree = image.with_name("efi")
    (tree / "EFI/BOOT").mkdir(parents=True)
    (tree / "EFI/debian").mkdir(parents=True)
    shutil.copy(parts.shim, tree / "EFI/BOOT/BOOTX64.EFI")
    shutil.copy(parts.mok_manager, tree / "EFI/BOOT/mmx64.efi")
    shutil.copy(parts.grub_for_disks, tree / "EFI/BOOT/grubx64.efi")
    (tree / "EFI/debian/grub.cfg").write_bytes(menu)
    make_fat(image, bits=32, size=EFI_SIZE, label="EFI", volume_id=volume_id.replace("-", ""), folder=tree)
    shutil.rmtree(tree)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy an image file, holes staying holes; it appears under its name only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    run(["cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode,ownership", source, partial])
    partial.replace(target)
