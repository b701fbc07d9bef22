"""Makes file systems in plain files and fills them, without mounting anything."""

from pathlib import Path

from .epoch import dated
from .process import run

# GRUB 2.12 does not read ext4 with these two newer features.
EXT4_FEATURES = "^metadata_csum_seed,^orphan_file"


def make_fat(image: Path, *, bits: int, size: int, label: str, volume_id: str, folder: Path, cluster: int = 1) -> None:
    """A FAT file system of `size` bytes that holds the folder's contents; `bits` is 16 or 32, a cluster in sectors."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    # --invariant dates the label; it also chooses an id, so ours comes after it.
    names = ["--invariant", "-n", label, "-i", volume_id]
    run(["mkfs.vfat", "-F", str(bits), "-s", str(cluster), *names, image], env=dated())
    children = sorted(folder.iterdir())
    # mtools would ask on the terminal about a disk geometry that only floppies have.
    # Without -m all dates are the build's.
    run(["mcopy", "-s", "-Q", "-i", image, *children, "::/"], env={"MTOOLS_SKIP_CHECK": "1"} | dated())


def make_ext4(
    image: Path,
    *,
    size: int,
    label: str,
    folder: Path | None = None,
    uuid: str | None = None,
) -> None:
    """An ext4 file system of `size` bytes, filled from the folder with its owners.

    Where the `uuid` is given, an empty one is the same bytes each time.
    """
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-m", "0", "-O", EXT4_FEATURES]
    # All inode tables at once: a lazily initialised file system is written to when first mounted.
    extended = "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    if uuid:
        argv += ["-U", uuid]
        extended += f",hash_seed={uuid}"
    argv += ["-E", extended]
    if folder:
        argv += ["-d", str(folder)]
    run([*argv, image], env=dated())


def make_swap(image: Path, *, size: int, uuid: str) -> None:
    """A swap area of `size` bytes."""
    with image.open("wb") as file:
        file.truncate(size)
    image.chmod(0o600)
    run(["mkswap", "--uuid", uuid, image])
