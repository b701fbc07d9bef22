"""What the QEMU tests boot: a sample machine, a stick that carries its image. Built once, kept in the build's cache."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from livebuild.sampleroots import Root

from .machine import CHECKOUT

LABEL = "Factory image"

# What must be on PATH to build and boot; live-image/setup installs all of it.
TOOLS = (
    "qemu-system-x86_64",
    "mmdebstrap",
    "mksquashfs",
    "xorriso",
    "mcopy",
    "mkfs.vfat",
    "sfdisk",
    "mke2fs",
    "depmod",
    "zstd",
)
OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")

# Without root, a Debian tree is built inside a user namespace.
NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The sample machine's disk and the mark inside it."""

    disk: Path
    marker: str


def run(*argv: str | Path) -> None:
    """Run a command of the project; what it says is shown when it fails."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{argv[0]} failed with status {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def live_image() -> Path:
    """The folder that builds; skips, saying why, where this machine cannot build or boot."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if not OVMF.exists():
        missing.append(str(OVMF))
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; run live-image/setup")
    if os.geteuid() != 0 and int(NAMESPACES.read_text()) == 0:
        pytest.skip("building a Debian tree needs root or user namespaces, and this machine grants neither")
    return CHECKOUT / "live-image"


@pytest.fixture(scope="session")
def sample(live_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A small Debian on a disk of its own."""
    return made(live_image, tmp_path_factory.mktemp("sample"))


def made(live_image: Path, folder: Path, *words: str) -> Sample:
    """A sample machine's disk, made with these options in a folder."""
    disk = folder / "sample.img"
    run(live_image / "sample-machine", "--output", disk, *words)
    marker = disk.with_name(disk.name + ".marker").read_text().strip()
    assert marker
    return Sample(disk=disk, marker=marker)


@pytest.fixture(scope="session")
def sample_with(live_image: Path, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Root], Sample]:
    """The sample machine with another root file system; that needs root."""

    @cache
    def with_root(root: Root) -> Sample:
        if root is Root.EXT4:
            return sample
        return made(live_image, tmp_path_factory.mktemp(f"sample-{root}"), f"--root={root}")

    return with_root


@pytest.fixture(scope="session")
def stick(live_image: Path, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stick, with an image of the sample machine in its library."""
    folder = tmp_path_factory.mktemp("stick")
    library = folder / "library"
    run(CHECKOUT / ".venv/bin/rescue", "capture", sample.disk, "--library", library, "--label", LABEL)
    run(live_image / "build", "--output", folder / "stick.img", "--library", library)
    shutil.rmtree(library)
    return folder / "stick.img"
