"""The tools that are measured against, as their users type them: partclone with zstd, casync, desync."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.source import FIRST, Source
from tests.disks import looped


def shell(command: str) -> None:
    """A pipeline; raises AssertionError with what it said where any part of it fails."""
    words = ["bash", "-o", "pipefail", "-c", command]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            _, told = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise AssertionError(f"{command}: status {process.returncode}\n{told.decode(errors='replace')[-2000:]}")


def capture(loop: str, image: Path, *, checked: bool = True) -> None:
    """`partclone -c | zstd` of the volume behind a loop device; not `checked`: without its CRC32."""
    mode = "" if checked else "-a0"
    shell(f"partclone.ext4 -c {mode} -s {loop} -o - -L /dev/null | zstd -q -T0 -3 -f -o {image}")


@contextmanager
def volume(source: Source) -> Iterator[str]:
    """The source's partition as a device, as partclone wants it."""
    with looped(source.path, FIRST, source.volume_size) as loop:
        yield loop


def restore(image: Path, target: Path) -> None:
    """`zstd -dc | partclone -r` to the partition's place in a disk file.

    A plain file, as for ours: a loop device would cost partclone as much again as all it does.
    """
    shell(f"zstd -q -dc {image} | partclone.ext4 -r -s - -W -E {FIRST} -O {target} -L /dev/null")


def verify(image: Path) -> None:
    """`zstd -dc | partclone.chkimg`."""
    shell(f"zstd -q -dc {image} | partclone.chkimg -s - -L /dev/null")


def casync_extract(library: Path, index: Path, to: Path) -> None:
    """Rebuild a disk of ours with casync."""
    shell(f"casync extract --store={library / 'chunks'} {index} {to}")


def desync_verify(index: Path, disk: Path) -> None:
    """Compare a disk with its index, with desync."""
    shell(f"desync verify-index {index} {disk}")


def pack_for_nbdkit(disk: Path, to: Path) -> None:
    """A whole disk as one file that nbdkit reads at any place, in blocks that are as large as our chunks."""
    shell(f"xz -q -T0 -1 --block-size=4MiB -c {disk} > {to}")


def read_from_nbdkit(packed: Path) -> None:
    """Read that disk from end to end, as many requests at once as nbdcopy makes."""
    shell(f"nbdcopy -- [ nbdkit -r --filter=xz file {packed} ] null:")


def pack_for_qemu(disk: Path, to: Path) -> None:
    """A whole disk as a compressed qcow2, with the compressor that we use."""
    shell(f"qemu-img convert -q -c -O qcow2 -o compression_type=zstd,cluster_size=2M {disk} {to}")


def read_from_qemu(packed: Path) -> None:
    """Read that disk; nbdcopy does not ask for what the qcow2 says is empty."""
    shell(f"nbdcopy -- [ qemu-nbd -r -f qcow2 {packed} ] null:")


def missing() -> set[str]:
    """The peers' measurements that cannot be had for want of a tool; live-image/setup installs none of these."""
    tools = {"desync verify": ("desync",), "nbdkit": ("nbdcopy", "nbdkit"), "qemu-nbd": ("nbdcopy", "qemu-nbd")}
    return {name for name, needed in tools.items() if not all(map(shutil.which, needed))}


def version(command: str) -> str:
    """The first line that says a version, or "none"."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    words = (done.stdout + done.stderr).replace(",", " ").split()
    numbers = (word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit())
    return next(numbers, "none")
