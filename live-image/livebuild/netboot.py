"""Writes the folder that a web server hands out to computers which start over the network.

    boot.ipxe              for iPXE: BIOS, or UEFI without Secure Boot
    bootx64.efi            for UEFI's HTTP boot: shim, which fetches grubx64.efi (or mmx64.efi) from beside itself
    grub/grub.cfg          which GRUB asks the server's own root for
    vmlinuz, initrd.img    the kernel, and the initramfs that has drivers of network cards
    root.squashfs, app.squashfs, media.json    the layers and what build they are: fetched by the initramfs
                           (root/initramfs/network)
    SHA256SUMS             of all but the two boot scripts, which name its own digest; and how large those three are

No address stands in any of them: each is fetched from where the one before came from.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from .bill import write_papers
from .bootparts import BootParts
from .lists import LIVE_IMAGE
from .process import BuildError, step
from .tree import KERNEL_OPTIONS, Contents, project_version, render_media, sha256_of

FETCHED = ("root.squashfs", "app.squashfs", "media.json")
SUMS = "SHA256SUMS"
README = """\
Rescue over the network: hand this folder out with any web server, by plain HTTP; where the folder is does not matter.
iPXE is sent to boot.ipxe. UEFI's HTTP boot is sent to bootx64.efi, and wants a copy of grub/ in the server's root.
Replace the folder as a whole, never single files; sha256sum -c SHA256SUMS checks it. More: live-image/README.md.
"""


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier build's files; raises BuildError."""
    if folder.exists() and not folder.is_dir():
        raise BuildError(f"{folder} is not a folder", hint="--netboot names the folder to write")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "boot.ipxe").is_file():
        raise BuildError(
            f"{folder} holds other files", hint="--netboot writes the folder anew: name one that is empty or not there"
        )


def build_netboot(folder: Path, contents: Contents, boot: BootParts, *, initramfs: Path) -> dict[str, int]:
    """Write the folder, which replaces an earlier one when it is whole; returns the files' sizes by their names.

    `initramfs` is the one for the network; that of `contents` belongs to the stick of the same build.
    """
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        step("writing the folder for network boots"),
        tempfile.TemporaryDirectory(prefix=".netboot-", dir=folder.parent) as name,
    ):
        new = Path(name) / "new"
        new.mkdir()
        _fill(new, contents, boot, initramfs)
        if folder.exists():
            folder.rename(Path(name) / "old")
        new.rename(folder)
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def _fill(folder: Path, contents: Contents, boot: BootParts, initramfs: Path) -> None:
    for source, name in (
        (contents.kernel, "vmlinuz"),
        (initramfs, "initrd.img"),
        (contents.root_layer, "root.squashfs"),
        (contents.application_layer, "app.squashfs"),
        (boot.shim, "bootx64.efi"),
        (boot.mok_manager, "mmx64.efi"),
        (boot.grub_for_networks, "grubx64.efi"),
    ):
        # A copy, never a second name for the cache's file: a web server's administrator may change its mode or owner.
        shutil.copyfile(source, folder / name)
    (folder / "README").write_text(README)
    (folder / "media.json").write_text(render_media(contents, system_bytes=None))
    (folder / "packages").write_text(contents.packages)
    write_papers(
        folder, contents.components, contents.common_licences, version=project_version(), build_id=contents.build_id
    )
    sums = render_sums({path.name: path for path in folder.iterdir()})
    (folder / SUMS).write_text(sums)
    digest = hashlib.sha256(sums.encode()).hexdigest()
    (folder / "boot.ipxe").write_text(render_script("boot.ipxe", digest))
    (folder / "grub").mkdir()
    (folder / "grub/grub.cfg").write_text(render_script("network.cfg", digest))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0o755)


def render_sums(files: dict[str, Path]) -> str:
    """SHA256SUMS as sha256sum reads it, with the sizes in bytes of what the initramfs fetches in its comments."""
    sizes = [f"# size {files[name].stat().st_size} {name}\n" for name in FETCHED]
    return "".join([*sizes, *(f"{sha256_of(path)}  {name}\n" for name, path in sorted(files.items()))])


def render_script(name: str, digest: str) -> str:
    """A boot script of boot/ that is tied to one SHA256SUMS."""
    text = (LIVE_IMAGE / "boot" / name).read_text()
    return text.replace("@OPTIONS@", KERNEL_OPTIONS).replace("@SUMS@", digest)
