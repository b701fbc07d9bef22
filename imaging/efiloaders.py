"""The boot loaders on an EFI system partition: which there are, whether they are whole, and of which kind. Pure.

Sources: UEFI 2.10, 3.5.1 (boot from removable media) and 13.3 (the FAT file system); Microsoft's PE format; shim's
README.fallback.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from imaging.bounded import Bounded
from imaging.errors import IoError
from imaging.fatfiles import FatFile, FatVolume

FALLBACK = "EFI/BOOT/BOOTX64.EFI"
"""What firmware starts where no entry of its own names anything."""
MICROSOFT, BCD = "EFI/Microsoft/Boot/bootmgfw.efi", "EFI/Microsoft/Boot/BCD"
_BESIDE_SHIM, _AFTER_SHIM, _LISTED = "grubx64.efi", "fbx64.efi", "BOOTX64.CSV"
_MOST_LOADERS = 16
_KNOWN = re.compile(r"/(?:shim|grub|systemd-boot|bootmgfw|boot)[^/]*\.efi$")
_MOST_BYTES = 8 << 20
_MOST_TEXT = 256 << 10
_PE_AT = 0x3C
_X64, _PE32_PLUS, _EFI_APPLICATION = 0x8664, 0x20B, 10
_MOST_SECTIONS = 96


class LoaderKind(StrEnum):
    """What a loader does next, as far as that is known here."""

    SHIM = "shim"
    GRUB = "grub"
    WINDOWS = "windows"
    SYSTEMD = "systemd-boot"
    KERNEL = "kernel"
    OTHER = "other"


_SIGNS = (
    (LoaderKind.WINDOWS, (b"bootmgfw.pdb", "\\BCD".encode("utf-16-le"))),
    (LoaderKind.SYSTEMD, (b"LoaderInfo: systemd-boot",)),
    (LoaderKind.SHIM, (b"UEFI SHIM", "\\grubx64.efi".encode("utf-16-le"))),
    (LoaderKind.GRUB, (b"grub_",)),
    (LoaderKind.KERNEL, (b".linux\0", b".cmdline")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """One `.efi` file; `path` is as it is written there, `fault` says in words why firmware cannot start it."""

    path: str
    kind: LoaderKind
    fault: str = ""
    image: bytes = b""
    """All of it, where that is GRUB."""

    @property
    def folder(self) -> str:
        """The folder that it is in, in lower case."""
        return self.path.rpartition("/")[0].lower()

    @property
    def shown(self) -> str:
        r"""As UEFI writes it: `\EFI\BOOT\BOOTX64.EFI`."""
        return "\\" + self.path.replace("/", "\\")


class EfiFiles:
    """The files of an EFI system partition, found whatever the case of their names."""

    def __init__(self, volume: Bounded) -> None:
        """Raises IoError (code "bad-map") where it is no FAT, or damaged."""
        self._fat = FatVolume(volume)
        self._files: Mapping[str, FatFile] = {path.lower(): file for path, file in self._fat.files().items()}

    def __contains__(self, path: str) -> bool:
        return path.lower() in self._files

    def below(self, folder: str, ending: str) -> list[str]:
        """The paths in a folder and all below it that end so, in lower case."""
        start = f"{folder.lower()}/" if folder else ""
        return sorted(path for path in self._files if path.startswith(start) and path.endswith(ending.lower()))

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        file = self._files.get(path.lower().lstrip("/"))
        return file.size if file else None

    def read(self, path: str, most: int = _MOST_TEXT) -> bytes:
        """The beginning of a file; raises IoError where it cannot be read."""
        file = self._files[path.lower().lstrip("/")]
        found = bytearray()
        for piece in self._fat.pieces(file):
            found += piece[: most - len(found)]
            if len(found) >= most:
                break
        return bytes(found)

    def loader(self, path: str) -> Loader | None:
        """A loader; None where there is no such file."""
        file = self._files.get(path.lower().lstrip("/"))
        if file is None:
            return None
        try:
            image = self.read(path, _MOST_BYTES)
        except IoError:
            return Loader(path=file.path, kind=LoaderKind.OTHER, fault="its file is damaged")
        fault = fault_of(image, file.size)
        kind = LoaderKind.OTHER if fault else kind_of(image)
        if path.lower() == MICROSOFT.lower() and not fault:
            kind = LoaderKind.WINDOWS
        return Loader(path=file.path, kind=kind, fault=fault, image=image if kind is LoaderKind.GRUB else b"")

    def loaders(self) -> tuple[str, ...]:
        """The paths of `.efi` files below EFI, the first ones; those named as systems name their loaders come first."""
        found = self.below("efi", ".efi")
        return tuple(islice(sorted(found, key=lambda path: not _KNOWN.search(path)), _MOST_LOADERS))

    def after_shim(self, shim: Loader) -> str:
        """The path of what shim starts; where that is missing, the path at which it was looked for."""
        if shim.folder == "efi/boot" and f"{shim.folder}/{_AFTER_SHIM}" in self:
            for listing in self.below("efi", f"/{_LISTED}"):
                first = self._text(listing).partition("\n")[0].partition(",")[0].strip("\ufeff \r")
                if first:
                    return f"{listing.rpartition('/')[0]}/{first}"
        return f"{shim.folder}/{_BESIDE_SHIM}"

    def _text(self, path: str) -> str:
        try:
            return self.read(path).decode("utf-16", "replace")
        except IoError:
            return ""


def fault_of(image: bytes, size: int) -> str:
    """Why a file of `size` bytes that begins with `image` is no program for 64-bit UEFI, in words; else empty."""
    if not size:
        return "it is empty"
    try:
        (at,) = struct.unpack_from("<I", image, _PE_AT)
        machine, sections = struct.unpack_from("<HH", image, at + 4)
        (optional,) = struct.unpack_from("<H", image, at + 20)
        (magic,) = struct.unpack_from("<H", image, at + 24)
        (subsystem,) = struct.unpack_from("<H", image, at + 24 + 68)
        ends = [_section_end(image, at + 24 + optional + 40 * i) for i in range(min(sections, _MOST_SECTIONS))]
    except struct.error:
        return "it is not a whole UEFI program"
    if image[:2] != b"MZ" or image[at : at + 4] != b"PE\0\0" or not ends:
        return "it is not a UEFI program"
    if (machine, magic, subsystem) != (_X64, _PE32_PLUS, _EFI_APPLICATION):
        return "it is not a UEFI program for x86-64"
    return "it is cut off" if max(ends) > size else ""


def _section_end(image: bytes, at: int) -> int:
    size, start = struct.unpack_from("<II", image, at + 16)
    return int(start + size) if size else 0


def kind_of(image: bytes) -> LoaderKind:
    """What a loader is, by what it holds."""
    return next((kind for kind, signs in _SIGNS if any(sign in image for sign in signs)), LoaderKind.OTHER)
