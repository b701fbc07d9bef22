"""The demo's pieces: a library with the sample machine's image, a stick that carries it, a blank disk."""

import os
import subprocess
from pathlib import Path

from .application import PACKAGES, application_layer
from .bootparts import boot_parts
from .cache import Cache, cache_folder, digest_of, open_cache
from .initramfs import live_initramfs
from .lists import CHECKOUT
from .partitions import MIB
from .process import BuildError, step, tool_environment
from .qemu import Accelerator, Bus, Disk, Firmware, Machine, command_for
from .root import Choice, live_root
from .sample import Sample, sample_machine
from .stick import StickParts, build_stick

LABEL = "Factory image (sample)"
# A little larger than the sample's disk, as a replacement disk would be.
SPARE_SIZE = 256 * MIB
SERIAL = "DEMO-0001"
MODEL = "Demo Disk"


def demo_folder() -> Path:
    """Where the demo's stick and disk are kept."""
    return cache_folder() / "demo"


def stick_path() -> Path:
    """The demo's stick."""
    return demo_folder() / "stick.img"


def disk_path() -> Path:
    """The disk that the demo restores to."""
    return demo_folder() / "disk.img"


def sample_library(cache: Cache, sample: Sample) -> Path:
    """A library that holds the sample machine; captured again when the program or the sample changed."""
    # The sample's marker is new each time it is built, so it stands for the disk.
    key = digest_of(sample.marker, *(CHECKOUT / package for package in PACKAGES))

    def make(folder: Path) -> None:
        # The image is shown under the disk file's name.
        disk = folder / "sample-machine.img"
        os.link(sample.disk, disk)
        rescue = CHECKOUT / ".venv/bin/rescue"
        command = [str(rescue), "capture", str(disk), "--library", str(folder / "library"), "--label", LABEL]
        try:
            # The program's own progress goes to the terminal.
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=tool_environment())
        except FileNotFoundError as missing:
            raise BuildError("the program is not installed in .venv", hint="run live-image/setup") from missing
        except subprocess.CalledProcessError as failed:
            raise BuildError(f"capturing the sample machine failed with status {failed.returncode}") from failed
        disk.unlink()

    return cache.entry("library", key, make) / "library"


def prepare(*, fresh: bool) -> None:
    """Everything up to a stick with the sample's image, and a disk to restore to."""
    with step("preparing the demo"), open_cache() as cache:
        demo_folder().mkdir(exist_ok=True)
        boot = boot_parts(cache)
        sample = sample_machine(cache, boot)
        library = sample_library(cache, sample)
        root = live_root(cache, Choice())
        parts = StickParts(
            root=root,
            application=application_layer(cache, root),
            initramfs=live_initramfs(cache, root, boot, Choice()),
            boot=boot,
            library=library,
            images_size=None,
        )
        build_stick(stick_path(), parts)
        if fresh or not disk_path().exists():
            make_blank(disk_path(), sample.disk.stat().st_size + SPARE_SIZE)


def make_blank(disk: Path, size: int) -> None:
    """A new, empty disk file."""
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(size)


def run_machine(firmware: Firmware, accelerator: Accelerator, *, with_stick: bool, screen: bool) -> None:
    """Run the demo's machine on this terminal until it is switched off."""
    command, descriptors = command_for(
        Machine(
            firmware=firmware,
            stick=stick_path() if with_stick else None,
            disks=(Disk(path=disk_path(), serial=SERIAL, model=MODEL, bus=Bus.SATA),),
            accelerator=accelerator,
            screen=screen,
        )
    )
    status = subprocess.run(command, pass_fds=descriptors, check=False).returncode
    if status != 0:
        raise BuildError(f"QEMU ended with status {status}")
