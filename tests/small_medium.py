"""A recovery medium of a few MiB in the layout of the real one, whose system is made of random bytes."""

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path

BUILT = "2026-11-01T00:00:00Z"
BUILD = "0123456789abcdef"
_EFI = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_FILES = {
    "rescue/vmlinuz": 300_000,
    "rescue/initrd.img": 200_000,
    "rescue/root.squashfs": 3_000_000,
    "rescue/app.squashfs": 500_000,
    "rescue/packages": 5_000,
    "boot/grub/grub.cfg": 2_000,
    "boot/grub/bios.img": 40_000,
    "EFI/BOOT/BOOTX64.EFI": 90_000,
    "EFI/BOOT/grubx64.efi": 60_000,
    "EFI/BOOT/mmx64.efi": 70_000,
    "EFI/BOOT/grub.cfg": 300,
}


def make(
    output: Path,
    *,
    build: str = BUILD,
    built: str = BUILT,
    version: str = "0.1.0",
    larger_by: int = 0,
    room_for_keys: bool = True,
) -> Path:
    """Write the image file; the same arguments give the same files in it."""
    work = output.with_name(f"{output.name}.work")
    tree = work / "tree"
    chance = random.Random(build)
    for name, size in _FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(chance.randbytes(size + (larger_by if name == "rescue/root.squashfs" else 0)))
    (tree / "rescue/id").write_text(build + "\n")
    (tree / "rescue" / build).write_text("")
    if room_for_keys:
        (tree / "rescue/trusted-keys.pem").write_text("\n" * (16 << 10))
    (tree / "boot/grub/mbr.img").write_bytes(chance.randbytes(440) + bytes(70) + b"\x55\xaa")
    (tree / "eltorito").mkdir()
    shutil.copyfile(tree / "boot/grub/bios.img", tree / "eltorito/bios.img")
    (tree / ".disk").mkdir()
    (tree / ".disk/info").write_text(f"Rescue {version}\n")
    efi = work / "efi.img"
    _run("mformat", "-i", efi, "-C", "-T", "4096", "-h", "16", "-s", "32", "-v", "RESCUE-EFI", "::")
    _run("mcopy", "-s", "-Q", "-i", efi, tree / "EFI", "::/")
    _seal(tree, build, built, version, None)
    options = [
        *("-quiet", "-iso-level", "3", "-rational-rock", "-volid", "RESCUE", "-no-pad", "-partition_offset", "16"),
        *("--grub2-mbr", tree / "boot/grub/mbr.img", "--mbr-force-bootable"),
        *("-c", "eltorito/boot.cat", "-b", "eltorito/bios.img", "-no-emul-boot", "-boot-load-size", "4"),
        *("-boot-info-table", "--grub2-boot-info"),
        *("-append_partition", "2", _EFI, efi, "-appended_part_as_gpt"),
        *("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"),
    ]
    blocks = int(_run("xorriso", "-as", "mkisofs", "-print-size", *options, tree).split()[-1])
    _seal(tree, build, built, version, blocks * 2048 - 64 * 512)
    output.unlink(missing_ok=True)
    _run("xorriso", "-as", "mkisofs", *options, "-o", output, tree)
    shutil.rmtree(work)
    return output


def _seal(tree: Path, build: str, built: str, version: str, system_bytes: int | None) -> None:
    about = {"format": 1, "version": version, "build": build, "built": built, "flavour": "generic"}
    (tree / "rescue/media.json").write_text(json.dumps({**about, "system_bytes": system_bytes}))
    names = sorted(p for f in ("EFI", "boot", "rescue") for p in (tree / f).rglob("*") if p.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"
        for path in names
        if path.name != "SHA256SUMS"
    ]
    (tree / "rescue/SHA256SUMS").write_text("".join(lines))


def _run(*argv: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"
    return done.stdout
