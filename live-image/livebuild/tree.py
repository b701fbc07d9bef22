"""The files of the live system's ISO 9660 and of its EFI system partition.

rescue/id             the build's id; the kernel's word rescue.id= names it, and the initramfs looks for it
rescue/<id>           empty: GRUB searches for this name
rescue/vmlinuz, initrd.img, root.squashfs, app.squashfs
rescue/packages       what is in it, as Debian packages
rescue/sbom.spdx.json, licences.tar.zst   all that is on the medium with its licences, and their texts (see bill.py)
rescue/trusted-keys.pem   blank lines: room for the keys that a medium trusts (imaging/mediakeys.py)
rescue/media.json     format, version, build, when, flavour, how many bytes the system takes (see `render_media`)
rescue/SHA256SUMS     of all that stands beneath rescue/, boot/ and EFI/, but for itself
boot/grub/grub.cfg    the boot menu; bios.img and mbr.img beside it are what eltorito/bios.img and the first 440
                      bytes were made from: equal but for the places that the ISO's writer fills in
boot/memtest86+*      the memory test
EFI/BOOT              the same files as on the EFI system partition
eltorito/             what a BIOS starts from a disc: GRUB's core with its place filled in, and the boot catalogue
.disk/info            a line that says what this is
"""

import hashlib
import json
import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .bill import Component, write_papers
from .bootparts import BootParts
from .epoch import source_date_text
from .lists import CHECKOUT, LIVE_IMAGE
from .recorded import render_recorded
from .root import Root

FORMAT = 1
ELTORITO_IMAGE = "eltorito/bios.img"
ELTORITO_CATALOGUE = "eltorito/boot.cat"
# Where GRUB's core for BIOS finds its menu: on whatever disk or disc it was started from.
BIOS_PREFIX = "/boot/grub"
SUMS = "rescue/SHA256SUMS"
TRUSTED_KEYS = "rescue/trusted-keys.pem"
# Bytes: 32 keys with their names. Whoever makes a medium writes them over the blank lines.
ROOM_FOR_KEYS = 16 << 10
MEDIA = "rescue/media.json"
SUMMED_FOLDERS = ("EFI", "boot", "rescue")
# What each start tells the kernel, whatever medium it comes from.
KERNEL_OPTIONS = (
    "noresume raid=noautodetect systemd.gpt_auto=0 systemd.swap=no quiet loglevel=3 usb_storage.delay_use=0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the live system is made of."""

    build_id: str
    flavour: str
    kernel: Path
    initramfs: Path
    root_layer: Path
    application_layer: Path
    packages: str
    components: tuple[Component, ...]
    common_licences: Path


def packages_list(root: Root, boot: BootParts) -> str:
    """The manifest of a build: package, version, architecture, source, its version; boot parts apart."""
    return render_recorded(live=root.packages, boot=boot.packages)


def project_version() -> str:
    """This project's version."""
    version: str = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    return version


def write_efi_tree(tree: Path, contents: Contents, boot: BootParts) -> None:
    """The files that UEFI firmware starts: shim, what it trusts, and GRUB's first file."""
    efi = tree / "EFI/BOOT"
    efi.mkdir(parents=True)
    place_file(boot.shim, efi / "BOOTX64.EFI")
    place_file(boot.mok_manager, efi / "mmx64.efi")
    place_file(boot.grub_for_media, efi / "grubx64.efi")
    # Firmware of 32 bits on a processor of 64 starts this one; nobody signs it.
    place_file(boot.grub_for_media_32, efi / "BOOTIA32.EFI")
    (efi / "grub.cfg").write_text(_config("efi.cfg", contents))


def write_system_tree(tree: Path, contents: Contents, boot: BootParts) -> dict[str, int]:
    """All files of the ISO but `seal`'s; returns the sizes of the large ones by their names."""
    live, grub = tree / "rescue", tree / "boot/grub"
    for folder in (live, grub, tree / "eltorito", tree / ".disk"):
        folder.mkdir(parents=True)
    write_efi_tree(tree, contents, boot)
    place_file(contents.kernel, live / "vmlinuz")
    place_file(contents.initramfs, live / "initrd.img")
    place_file(contents.root_layer, live / "root.squashfs")
    place_file(contents.application_layer, live / "app.squashfs")
    (live / "id").write_text(contents.build_id + "\n")
    (live / contents.build_id).write_text("")
    (live / "packages").write_text(contents.packages)
    (tree / TRUSTED_KEYS).write_text("\n" * ROOM_FOR_KEYS)
    write_papers(
        live, contents.components, contents.common_licences, version=project_version(), build_id=contents.build_id
    )
    (grub / "grub.cfg").write_text(_config("grub.cfg", contents))
    boot.write_eltorito_image(grub / "bios.img", prefix=BIOS_PREFIX)
    # The ISO's writer fills in places in this one, which is why it is not among the sums.
    shutil.copyfile(grub / "bios.img", tree / ELTORITO_IMAGE)
    place_file(boot.hybrid_mbr, grub / "mbr.img")
    for test in boot.memory_tests:
        place_file(test, tree / "boot" / test.name)
    (tree / ".disk/info").write_text(f"Rescue {project_version()}, build {contents.build_id}\n")
    return {path.name: path.stat().st_size for path in sorted(live.iterdir()) if path.stat().st_size > 1 << 17}


def seal(tree: Path, contents: Contents, *, system_bytes: int | None) -> None:
    """Write rescue/media.json and, over all that is there then, rescue/SHA256SUMS."""
    (tree / MEDIA).write_text(render_media(contents, system_bytes=system_bytes))
    lines = []
    for folder in SUMMED_FOLDERS:
        for path in sorted((tree / folder).rglob("*")):
            name = str(path.relative_to(tree))
            if path.is_file() and name != SUMS:
                lines.append(f"{sha256_of(path)}  {name}\n")
    (tree / SUMS).write_text("".join(lines))


def sha256_of(path: Path) -> str:
    """The digest of a file as sha256sum writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def render_media(contents: Contents, *, system_bytes: int | None) -> str:
    """rescue/media.json; `system_bytes` is None where no file holds the system as a whole."""
    described = {
        "format": FORMAT,
        "version": project_version(),
        "build": contents.build_id,
        "built": source_date_text(),
        "flavour": contents.flavour,
        # From the file's start to the end of partition 2.
        "system_bytes": system_bytes,
    }
    return json.dumps(described, indent=2) + "\n"


def _config(name: str, contents: Contents) -> str:
    text = (LIVE_IMAGE / "boot" / name).read_text()
    return text.replace("@ID@", contents.build_id).replace("@OPTIONS@", KERNEL_OPTIONS)


def place_file(source: str | Path, target: str | Path) -> None:
    """A second name for the file where the file system allows it, else a copy."""
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError:
        shutil.copyfile(source, target)
