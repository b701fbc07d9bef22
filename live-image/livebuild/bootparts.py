"""The parts of a boot from Debian's packages: shim, signed GRUB, GRUB for BIOS, a static busybox."""

import struct
from dataclasses import dataclass
from pathlib import Path

from .cache import Cache, digest_of
from .debian import SUITE, extract_packages
from .process import BuildError, run

PACKAGES = ["grub-pc-bin", "grub-common", "grub-efi-amd64-signed", "shim-signed", "busybox-static"]

# What a BIOS boot needs inside GRUB's core, since it must find its folder and speak on both consoles without it.
BIOS_MODULES = (
    *("biosdisk", "part_gpt", "part_msdos", "fat", "ext2"),
    *("normal", "configfile", "linux", "search", "search_fs_uuid", "search_fs_file", "search_label"),
    *("serial", "terminal", "echo", "test", "sleep", "boot", "reboot", "halt", "chain", "minicmd", "ls", "cat"),
)

SECTOR = 512
# Offsets in GRUB's i386-pc images: include/grub/i386/pc/boot.h and grub-core/boot/i386/pc/diskboot.S.
BOOT_KERNEL_SECTOR = 0x5C
BOOT_DRIVE_CHECK = 0x66
DISKBOOT_BLOCKLIST = 0x1F4
MBR_CODE_SIZE = 440


@dataclass(frozen=True, slots=True, kw_only=True)
class BiosBoot:
    """GRUB for BIOS: code for the MBR, and the core for a BIOS boot partition."""

    mbr_code: bytes
    core: bytes


@dataclass(frozen=True, slots=True)
class BootParts:
    """A folder that holds the unpacked packages."""

    folder: Path

    @property
    def shim(self) -> Path:
        return self.folder / "usr/lib/shim/shimx64.efi.signed"

    @property
    def mok_manager(self) -> Path:
        return self.folder / "usr/lib/shim/mmx64.efi.signed"

    @property
    def grub_for_media(self) -> Path:
        """Signed GRUB that reads grub.cfg beside itself or /boot/grub/grub.cfg of its own medium."""
        return self.folder / "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"

    @property
    def grub_for_disks(self) -> Path:
        """Signed GRUB that reads /EFI/debian/grub.cfg."""
        return self.folder / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"

    @property
    def busybox(self) -> Path:
        return self.folder / "usr/bin/busybox"

    @property
    def packages(self) -> str:
        """Versions of the packages, one a line."""
        return (self.folder / "packages").read_text()

    def bios_boot(self, *, prefix: str, partition_start: int) -> BiosBoot:
        """GRUB for a BIOS boot partition at this sector; `prefix` is where its core finds grub.cfg."""
        modules = self.folder / "usr/lib/grub/i386-pc"
        libraries = self.folder / "usr/lib/x86_64-linux-gnu"
        core_file = self.folder / f"core-{digest_of(prefix)}.img"
        # The packages' own loader and libraries: the host may be another release or distribution.
        run(
            [
                libraries / "ld-linux-x86-64.so.2",
                "--library-path",
                libraries,
                self.folder / "usr/bin/grub-mkimage",
                "--format=i386-pc",
                f"--directory={modules}",
                f"--prefix={prefix}",
                f"--output={core_file}",
                *BIOS_MODULES,
            ]
        )
        core = bytearray(core_file.read_bytes())
        core_file.unlink()
        core += bytes(-len(core) % SECTOR)
        # The first sector loads the others: tell it where they are.
        length, segment = struct.unpack_from("<HH", core, DISKBOOT_BLOCKLIST + 8)
        if length != len(core) // SECTOR - 1:
            raise BuildError(f"GRUB's core has {len(core) // SECTOR} sectors but its block list names {length}")
        struct.pack_into("<QHH", core, DISKBOOT_BLOCKLIST, partition_start + 1, length, segment)
        boot = bytearray((modules / "boot.img").read_bytes())
        struct.pack_into("<Q", boot, BOOT_KERNEL_SECTOR, partition_start)
        # As grub-install does for hard disks: some BIOSes pass no usable boot drive.
        boot[BOOT_DRIVE_CHECK : BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
        return BiosBoot(mbr_code=bytes(boot[:MBR_CODE_SIZE]), core=bytes(core))


def boot_parts(cache: Cache, *, again: bool = False) -> BootParts:
    """Debian's boot parts from the cache, fetched when it has none."""

    def make(folder: Path) -> None:
        tar = folder / "packages.tar"
        extract_packages(tar, PACKAGES)
        wanted = ["./packages", "./usr/bin/busybox", "./usr/bin/grub-mkimage", "./usr/lib"]
        # Device nodes and owners are of no interest here, and would need root.
        run(["tar", "-x", "-f", tar, "-C", folder, "--no-same-owner", "--no-same-permissions", *wanted])
        tar.unlink()

    return BootParts(cache.entry("boot", digest_of(SUITE, " ".join(PACKAGES)), make, again=again))
