"""The lower layer of the live system: Debian and its kernel. Rebuilt rarely: this file is among its inputs."""

import fnmatch
import os
import shutil
import tarfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .cache import Cache, digest_of
from .debian import ARCHITECTURE, BUILD_FOLDER, SUITE, TREE_DATE, make_tree
from .epoch import dated
from .lists import LIVE_IMAGE, read_list
from .process import BuildError, run, start, step
from .recorded import Recorded, check_same

SOURCES = LIVE_IMAGE / "root"
LISTS = (
    "customize",
    "dropped-modules.txt",
    "dropped-paths.txt",
)
VM_LISTS = ("vm-modules.txt",)
FIRMWARE_COMPONENTS = ("main", "non-free-firmware")

# Level 15 is a minute quicker on two cores than 19, for 2 % more bytes; 128 KiB blocks keep random reads cheap.
COMPRESSION = ["-comp", "zstd", "-Xcompression-level", "15", "-b", "128K"]

# How the tree's own Python is kept beside the layer: the application is byte-compiled with it.
PYTHON_PATHS = ["./usr/bin/python3*", "./usr/lib/python3*", "./usr/lib/x86_64-linux-gnu/*.so*", "./usr/lib64"]

# Chunks of an image library are named by this digest; an OpenSSL without it could not read any.
NEEDED_DIGEST = "sha512_256"


class Flavour(StrEnum):
    """For whom a live system is: its drivers differ, its tools do not."""

    GENERIC = "generic"
    VM = "vm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is asked of a root."""

    flavour: Flavour = Flavour.GENERIC
    firmware: bool = False
    recorded: Recorded | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that holds the finished layer and what goes with it."""

    folder: Path

    @property
    def layer(self) -> Path:
        return self.folder / "root.squashfs"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def packages(self) -> str:
        """Versions of the packages, one a line."""
        return (self.folder / "packages").read_text()

    @property
    def firmware(self) -> Path:
        """The firmware files, laid out as the kernel looks for them; an empty folder where none was asked for."""
        return self.folder / "firmware"

    @property
    def licences(self) -> Path:
        """The packages' copyright files, laid out as below /usr/share: doc, common-licenses."""
        return self.folder / "licences"

    @property
    def package_sizes(self) -> list[tuple[int, str]]:
        """Bytes and name of each package as installed, before anything was dropped; the largest first."""
        lines = (line.split() for line in (self.folder / "sizes").read_text().splitlines())
        return [(int(size) << 10, name) for size, name in lines]

    def python(self, *arguments: str | Path) -> str:
        """Run the live system's Python here, on its own loader and libraries, and return what it printed."""
        tree = self.folder / "python"
        libraries = tree / "usr/lib/x86_64-linux-gnu"
        interpreter = next(path for path in sorted((tree / "usr/bin").glob("python3.*")) if path.is_file())
        return run(
            [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries, interpreter, *arguments],
            env={"PYTHONHOME": str(tree / "usr"), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    @property
    def python_version(self) -> str:
        """As "3.13"."""
        interpreter = next(path for path in (self.folder / "python/usr/bin").glob("python3.*"))
        return interpreter.name.removeprefix("python")


def live_root(cache: Cache, choice: Choice, *, again: bool = False) -> Root:
    """The root layer from the cache, built when it has none."""
    packages = read_list(SOURCES / "packages.txt")
    if choice.firmware:
        packages += read_list(SOURCES / "firmware-packages.txt")
    inputs: tuple[str | Path, ...] = (
        SUITE,
        ARCHITECTURE,
        " ".join(packages),
        " ".join(COMPRESSION),
        choice.flavour,
        *(SOURCES / name for name in _lists(choice.flavour)),
        # How the tree is made counts as well.
        *(LIVE_IMAGE / "livebuild" / name for name in ("root.py", "debian.py")),
    )
    recorded = choice.recorded.live if choice.recorded else ()
    if recorded:
        # Made without the list, or with another: the same packages make the same root.
        known = cache.find("root", digest_of(*inputs))
        if not again and known and Root(known).packages.splitlines() == list(recorded):
            return Root(known)
        inputs += recorded

    def make(folder: Path) -> None:
        _make(folder, packages, choice)
        if recorded:
            check_same(recorded, Root(folder).packages.splitlines())

    return Root(cache.entry("root", digest_of(*inputs), make, again=again))


def _lists(flavour: Flavour) -> tuple[str, ...]:
    return LISTS + (VM_LISTS if flavour is Flavour.VM else ())


def _make(folder: Path, packages: list[str], choice: Choice) -> None:
    tar = folder / "root.tar"
    options = f"flavour={choice.flavour}\nfirmware={'yes' if choice.firmware else 'no'}\n"
    files: dict[str, Path | bytes] = {f"{BUILD_FOLDER}/{name}": SOURCES / name for name in _lists(choice.flavour)}
    files[f"{BUILD_FOLDER}/options"] = options.encode()
    with step("installing Debian packages"):
        make_tree(
            tar,
            packages,
            files=files,
            customize=f"/{BUILD_FOLDER}/customize",
            components=FIRMWARE_COMPONENTS if choice.firmware else ("main",),
            recorded=choice.recorded.live if choice.recorded else (),
        )
    _extract(tar, folder, firmware=choice.firmware)
    with step("compressing the root layer"):
        _compress(tar, folder / "root.squashfs", read_list(SOURCES / "dropped-paths.txt"))
    tar.unlink()
    check_digests(Root(folder))


def _extract(tar: Path, folder: Path, *, firmware: bool) -> None:
    """Take out of the tree what the later steps need: kernel, modules, Python, firmware, licences, the packages."""
    python = folder / "python"
    python.mkdir()
    plain = ["--no-same-owner", "--no-same-permissions", "--wildcards"]
    run(["tar", "-x", "-f", tar, "-C", python, *plain, *PYTHON_PATHS])
    # Only libraries are needed from the library folder's top; plug-ins of other programs are not.
    build = [f"./{BUILD_FOLDER}/{name}" for name in ("vmlinuz", "sizes")]
    shared = [f"./usr/share/{name}" for name in ("rescue/packages", "doc", "common-licenses")]
    blobs = ["./usr/lib/firmware"] if firmware else []
    run(["tar", "-x", "-f", tar, "-C", folder, *plain, "./usr/lib/modules", *blobs, *build, *shared])
    for name in ("vmlinuz", "sizes"):
        (folder / BUILD_FOLDER / name).rename(folder / name)
    (folder / "usr/share/rescue/packages").rename(folder / "packages")
    (folder / "licences").mkdir()
    for name in ("doc", "common-licenses"):
        (folder / "usr/share" / name).rename(folder / "licences" / name)
    (kernel,) = (folder / "usr/lib/modules").iterdir()
    (folder / "modules").mkdir()
    kernel.rename(folder / "modules" / kernel.name)
    if firmware:
        (folder / "usr/lib/firmware").rename(folder / "firmware")
    else:
        (folder / "firmware").mkdir()
    shutil.rmtree(folder / "usr")
    shutil.rmtree(folder / BUILD_FOLDER)


def _compress(tar: Path, layer: Path, dropped: list[str]) -> None:
    """The tar as a squashfs, without the dropped paths; neither needs root, as unpacking the tar would."""
    # The topmost folder is not taken from the tar: it belongs to whoever runs mksquashfs, whatever -root-uid says.
    faked = [] if os.geteuid() == 0 else ["fakeroot"]
    quiet = ["-quiet", "-no-progress", "-root-mode", "755"]
    command = [*faked, "mksquashfs", "-", str(layer), "-tar", *quiet, *COMPRESSION]
    with (
        start(command, env=dated(TREE_DATE)) as stream,
        tarfile.open(tar) as source,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in source:
            path = member.name.removeprefix("./")
            if any(_covers(pattern, path) for pattern in dropped):
                continue
            member.mtime = min(int(member.mtime), TREE_DATE)
            member.pax_headers = {name: text for name, text in member.pax_headers.items() if not name.endswith("time")}
            target.addfile(member, source.extractfile(member) if member.isreg() else None)


def _covers(pattern: str, path: str) -> bool:
    """Does the pattern name this path or a folder above it?"""
    parts = pattern.split("/")
    head = path.split("/")[: len(parts)]
    return len(head) == len(parts) and all(map(fnmatch.fnmatchcase, head, parts))


def check_digests(root: Root) -> None:
    """Refuse a root whose Python cannot compute the digest that names chunks."""
    try:
        root.python("-c", f"import hashlib; hashlib.new({NEEDED_DIGEST!r}, b'')")
    except BuildError as error:
        raise BuildError(f"the live system's OpenSSL lacks {NEEDED_DIGEST}: {error}") from error
