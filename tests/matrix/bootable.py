"""Disks that start a computer, made with GRUB's own tools: one for a BIOS, one for UEFI and a BIOS."""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.disks import MIB, blank, partition, run

ROOT, HOME, EFI = str(uuid.UUID(int=0x1111 << 64)), str(uuid.UUID(int=0x2222 << 64)), "ABCD-1234"
KERNEL, INITRD = "boot/vmlinuz-6.1", "boot/initrd.img-6.1"
SECTOR = 512
_GRUB = Path("/usr/lib/grub")
_ROOT_SIZE, _EFI_SIZE = 24 * MIB, 36 * MIB
_BIOS_MODULES = ("biosdisk", "part_gpt", "part_msdos", "ext2", "search_fs_uuid")

MENU = f"""\
set default="0"
if [ x$feature_default_font_path = xy ] ; then
  font=unicode
fi
menuentry 'Debian GNU/Linux' --class debian {{
\tinsmod ext2
\tsearch --no-floppy --fs-uuid --set=root {ROOT}
\tlinux\t/{KERNEL} root=UUID={ROOT} ro quiet
\tinitrd\t/{INITRD}
}}
"""
FSTAB = f"""\
# <file system> <mount point> <type> <options> <dump> <pass>
UUID={ROOT} / ext4 errors=remount-ro 0 1
tmpfs /tmp tmpfs defaults 0 0
"""


def missing() -> list[str]:
    """Packages of GRUB that this machine lacks."""
    wanted = {"grub-pc-bin": _GRUB / "i386-pc/boot.img", "grub-efi-amd64-bin": _GRUB / "x86_64-efi/normal.mod"}
    return [name for name, path in wanted.items() if not path.exists()]


def system() -> dict[str, bytes]:
    """The files of a small system's root, by path."""
    return {
        KERNEL: b"kernel" * 500,
        INITRD: b"initrd" * 500,
        "boot/grub/grub.cfg": MENU.encode(),
        "boot/grub/i386-pc/normal.mod": b"module",
        "etc/fstab": FSTAB.encode(),
    }


def ext4(disk: Path, start: int, files: dict[str, bytes]) -> None:
    """An ext4 of a system's root in a disk file from byte `start` on, with these files in it."""
    ext4_of(disk, start, _ROOT_SIZE, files)


def ext4_of(disk: Path, start: int, size: int, files: dict[str, bytes]) -> None:
    """The same of another size in bytes."""
    with TemporaryDirectory() as name:
        fill(Path(name), files)
        argv = ["-q", "-F", "-t", "ext4", "-U", ROOT, "-d", name, "-E", f"offset={start}"]
        run("mke2fs", *argv, disk, f"{size >> 10}k")


def fill(folder: Path, files: dict[str, bytes]) -> None:
    """Write files below a folder."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def core(prefix: str, sector: int, config: str = "") -> bytes:
    """GRUB's core for a BIOS, made to lie from a sector of the disk on."""
    with TemporaryDirectory() as name:
        out, given = Path(name, "core.img"), Path(name, "config")
        given.write_text(config)
        more = ["--config", given] if config else []
        run("grub-mkimage", "--format=i386-pc", f"--prefix={prefix}", f"--output={out}", *more, *_BIOS_MODULES)
        image = bytearray(out.read_bytes())
    image += bytes(-len(image) % SECTOR)
    struct.pack_into("<Q", image, 0x1F4, sector + 1)
    return bytes(image)


def boot_sector(disk: Path, sector: int, at: int = 0) -> None:
    """GRUB's boot sector, which loads that sector; the table beside it stays."""
    boot = bytearray((_GRUB / "i386-pc/boot.img").read_bytes()[:440])
    struct.pack_into("<Q", boot, 0x5C, sector)
    write(disk, at, bytes(boot))


def write(disk: Path, at: int, data: bytes) -> None:
    """Bytes into a disk file."""
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(data)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A disk file, where its root's file system begins, and where GRUB's core does; bytes."""

    path: Path
    root: int
    core: int
    efi: int = 0


def for_bios(path: Path, files: dict[str, bytes] | None = None) -> Made:
    """An MBR, GRUB behind it, one ext4."""
    blank(path, _ROOT_SIZE + 2 * MIB)
    partition(path, f"label: dos\nlabel-id: 0x12345678\nstart=2048, size={_ROOT_SIZE // SECTOR}, type=83\n")
    ext4(path, MIB, system() if files is None else files)
    boot_sector(path, 1)
    write(path, SECTOR, core("(,msdos1)/boot/grub", 1))
    return Made(path=path, root=MIB, core=SECTOR)


def loader(config: str = "", prefix: str = "/EFI/debian", also: Sequence[str] = ()) -> bytes:
    """GRUB for 64-bit UEFI, with more modules than it needs to find its menu, where they are named."""
    with TemporaryDirectory() as name:
        out, given = Path(name, "grub.efi"), Path(name, "config")
        given.write_text(config)
        more = ["--config", given] if config else []
        modules = ("part_gpt", "fat", "ext2", "search_fs_uuid", "configfile", "normal")
        run("grub-mkimage", "--format=x86_64-efi", f"--prefix={prefix}", f"--output={out}", *more, *modules, *also)
        return out.read_bytes()


def small_menu(root: str = ROOT) -> str:
    """What leads GRUB from the EFI system partition to its menu, as Debian writes it."""
    return f"search.fs_uuid {root} root \nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"


def efi_system() -> dict[str, bytes]:
    """The files of an EFI system partition, by path."""
    return {"EFI/BOOT/BOOTX64.EFI": loader(), "EFI/debian/grub.cfg": small_menu().encode()}


def for_uefi(path: Path, files: dict[str, bytes] | None = None, efi: dict[str, bytes] | None = None) -> Made:
    """A GPT: BIOS boot partition with GRUB, EFI system partition, ext4."""
    blank(path, _ROOT_SIZE + _EFI_SIZE + 4 * MIB)
    rows = [
        f"size={MIB // SECTOR}, type=21686148-6449-6E6F-744E-656564454649",
        f"size={_EFI_SIZE // SECTOR}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        f"size={_ROOT_SIZE // SECTOR}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    ]
    partition(path, "label: gpt\nfirst-lba: 2048\n" + "\n".join(rows) + "\n")
    fat(path, 2 * MIB, efi_system() if efi is None else efi)
    ext4(path, 2 * MIB + _EFI_SIZE, system() if files is None else files)
    boot_sector(path, 2048)
    write(path, MIB, core("(,gpt3)/boot/grub", 2048))
    return Made(path=path, root=2 * MIB + _EFI_SIZE, core=MIB, efi=2 * MIB)


def fat(disk: Path, start: int, files: dict[str, bytes]) -> None:
    """A FAT32 in a disk file from byte `start` on, with these files in it."""
    with TemporaryDirectory() as name:
        image, tree = Path(name, "efi.img"), Path(name, "tree")
        tree.mkdir()
        blank(image, _EFI_SIZE)
        run("mkfs.vfat", "-F", "32", "-i", EFI.replace("-", ""), image)
        fill(tree, files)
        if files:
            run("mcopy", "-s", "-i", image, *sorted(tree.iterdir()), "::")
        with image.open("rb") as data, disk.open("r+b") as file:
            file.seek(start)
            file.write(data.read())
