"""The parts of a boot from Debian's packages: shim, signed GRUB, GRUB for BIOS, a static busybox."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cache import Cache, digest_of
from .debian import SUITE, extract_packages
from .process import BuildError, run
from .recorded import check_same

PACKAGES = [
    *("grub-pc-bin", "grub-common", "grub-efi-amd64-signed", "grub-efi-ia32-unsigned", "shim-signed"),
    *("busybox-static", "memtest86+"),
]

# Of these, what is copied to a medium; shim's helper comes with shim-signed.
ON_MEDIUM = frozenset({*PACKAGES, "shim-helpers-amd64-signed"}) - {"grub-common"}

# What a BIOS boot needs inside GRUB's core, since it must find its folder and speak on both consoles without it.
BIOS_MODULES = (
    *("biosdisk", "part_gpt", "part_msdos", "fat", "ext2"),
    *("normal", "configfile", "linux", "search", "search_fs_uuid", "search_fs_file", "search_label"),
    *("serial", "terminal", "echo", "test", "sleep", "boot", "reboot", "halt", "chain", "minicmd", "ls", "cat"),
)
# The same on the recovery medium, which is an ISO 9660, plus what its menu asks: there is no folder of modules.
MEDIUM_MODULES = (*BIOS_MODULES, "iso9660", "linux16", "regexp", "probe", "drivemap")

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
    def grub_for_media_32(self) -> Path:
        """The same for firmware of 32 bits; unsigned."""
        return self.folder / "usr/lib/grub/i386-efi/monolithic/gcdia32.efi"

    @property
    def hybrid_mbr(self) -> Path:
        """The MBR of a disk image that is an ISO 9660 as well."""
        return self._bios_folder / "boot_hybrid.img"

    @property
    def memory_tests(self) -> tuple[Path, Path]:
        """memtest86+ for BIOS and for UEFI; neither is signed."""
        return self.folder / "boot/memtest86+x64.bin", self.folder / "boot/memtest86+x64.efi"

    @property
    def for_disks(self) -> str:
        """A key for all that a disk's boot is made from, whatever else is in the folder."""
        return digest_of(self.shim, self.mok_manager, self.grub_for_disks, self._bios_folder, " ".join(BIOS_MODULES))

    @property
    def _bios_folder(self) -> Path:
        return self.folder / "usr/lib/grub/i386-pc"

    @property
    def grub_for_networks(self) -> Path:
        """Signed GRUB that reads /grub/grub.cfg of the server it came from."""
        return self.folder / "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"

    @property
    def busybox(self) -> Path:
        return self.folder / "usr/bin/busybox"

    @property
    def packages(self) -> str:
        """Versions of the packages, one a line."""
        return (self.folder / "packages").read_text()

    @property
    def licences(self) -> Path:
        """The packages' copyright files, laid out as below /usr/share: doc."""
        return self.folder / "usr/share"

    def bios_boot(self, *, prefix: str, partition_start: int, modules: tuple[str, ...] = ()) -> BiosBoot:
        """GRUB for a BIOS boot partition at this sector; `prefix` is where its core finds grub.cfg.

        `modules` are those that it needs for that beside its usual ones.
        """
        core_file = self.folder / f"core-{digest_of(prefix)}.img"
        self._make_core(core_file, form="i386-pc", prefix=prefix, modules=(*BIOS_MODULES, *modules))
        core = bytearray(core_file.read_bytes())
        core_file.unlink()
        core += bytes(-len(core) % SECTOR)
        # The first sector loads the others: tell it where they are.
        length, segment = struct.unpack_from("<HH", core, DISKBOOT_BLOCKLIST + 8)
        if length != len(core) // SECTOR - 1:
            raise BuildError(f"GRUB's core has {len(core) // SECTOR} sectors but its block list names {length}")
        struct.pack_into("<QHH", core, DISKBOOT_BLOCKLIST, partition_start + 1, length, segment)
        boot = bytearray((self._bios_folder / "boot.img").read_bytes())
        struct.pack_into("<Q", boot, BOOT_KERNEL_SECTOR, partition_start)
        # As grub-install does for hard disks: some BIOSes pass no usable boot drive.
        boot[BOOT_DRIVE_CHECK : BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
        return BiosBoot(mbr_code=bytes(boot[:MBR_CODE_SIZE]), core=bytes(core))

    def write_eltorito_image(self, output: Path, *, prefix: str) -> None:
        """GRUB as a BIOS starts it from a disc; behind the first 2048 bytes, for discs, is what an MBR loads."""
        self._make_core(output, form="i386-pc-eltorito", prefix=prefix, modules=MEDIUM_MODULES)

    def _make_core(self, output: Path, *, form: str, prefix: str, modules: tuple[str, ...]) -> None:
        libraries = self.folder / "usr/lib/x86_64-linux-gnu"
        # The packages' own loader and libraries: the host may be another release or distribution.
        run(
            [
                libraries / "ld-linux-x86-64.so.2",
                "--library-path",
                libraries,
                self.folder / "usr/bin/grub-mkimage",
                f"--format={form}",
                f"--directory={self._bios_folder}",
                f"--prefix={prefix}",
                f"--output={output}",
                *modules,
            ]
        )


def boot_parts(cache: Cache, *, recorded: Sequence[str] = (), again: bool = False) -> BootParts:
    """Debian's boot parts from the cache, fetched when it has none; of the `recorded` versions where there are such."""
    key = digest_of(SUITE, " ".join(PACKAGES), "licences")
    if recorded:
        known = cache.find("boot", key)
        if not again and known and BootParts(known).packages.splitlines() == list(recorded):
            return BootParts(known)
        key = digest_of(key, *recorded)

    def make(folder: Path) -> None:
        tar = folder / "packages.tar"
        extract_packages(tar, PACKAGES, recorded=recorded)
        programs = ["./usr/bin/busybox", "./usr/bin/grub-mkimage"]
        wanted = ["./packages", *programs, "./usr/lib", "./boot", "./usr/share/doc"]
        # Device nodes and owners are of no interest here, and would need root.
        run(["tar", "-x", "-f", tar, "-C", folder, "--no-same-owner", "--no-same-permissions", *wanted])
        tar.unlink()
        if recorded:
            check_same(recorded, BootParts(folder).packages.splitlines())

    return BootParts(cache.entry("boot", key, make, again=again))
