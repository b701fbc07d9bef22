"""The lower layer of the live system: Debian, its kernel and its initramfs. Rebuilt rarely."""

import fnmatch
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .bootparts import BootParts
from .cache import Cache, digest_of
from .debian import ARCHITECTURE, BUILD_FOLDER, SUITE, make_tree
from .initramfs import SOURCES as INITRAMFS_SOURCES
from .initramfs import make_initramfs
from .lists import LIVE_IMAGE, read_list
from .process import BuildError, run, start, step

SOURCES = LIVE_IMAGE / "root"
LISTS = (
    "customize",
    "dropped-modules.txt",
    "dropped-paths.txt",
)

# Level 15 is a minute quicker on two cores than 19, for 2 % more bytes; 128 KiB blocks keep random reads cheap.
COMPRESSION = ["-comp", "zstd", "-Xcompression-level", "15", "-b", "128K"]

# How the tree's own Python is kept beside the layer: the application is byte-compiled with it.
PYTHON_PATHS = ["./usr/bin/python3*", "./usr/lib/python3*", "./usr/lib/x86_64-linux-gnu/*.so*", "./usr/lib64"]

# Chunks of an image library are named by this digest; an OpenSSL without it could not read any.
NEEDED_DIGEST = "sha512_256"


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


def live_root(cache: Cache, *, again: bool = False) -> Root:
    """The root layer from the cache, built when it has none."""
    packages = read_list(SOURCES / "packages.txt")
    key = digest_of(
        SUITE,
        ARCHITECTURE,
        " ".join(packages),
        " ".join(COMPRESSION),
        *(SOURCES / name for name in LISTS),
        # How the tree is made counts as well.
        *(LIVE_IMAGE / "livebuild" / name for name in ("root.py", "debian.py")),
    )

    def make(folder: Path) -> None:
        tar = folder / "root.tar"
        files = {BUILD_FOLDER + "/" + name: SOURCES / name for name in LISTS}
        with step("installing Debian packages"):
            make_tree(tar, packages, files=files, customize=f"/{BUILD_FOLDER}/customize")
        _extract(tar, folder)
        with step("compressing the root layer"):
            _compress(tar, folder / "root.squashfs", read_list(SOURCES / "dropped-paths.txt"))
        tar.unlink()
        check_digests(Root(folder))

    return Root(cache.entry("root", key, make, again=again))


def _extract(tar: Path, folder: Path) -> None:
    """Take out of the tree what the later steps need: kernel, modules, Python, the list of packages."""
    python = folder / "python"
    python.mkdir()
    plain = ["--no-same-owner", "--no-same-permissions", "--wildcards"]
    run(["tar", "-x", "-f", tar, "-C", python, *plain, *PYTHON_PATHS])
    # Only libraries are needed from the library folder's top; plug-ins of other programs are not.
    run(["tar", "-x", "-f", tar, "-C", folder, *plain, "./usr/lib/modules"])
    run(["tar", "-x", "-f", tar, "-C", folder, *plain, f"./{BUILD_FOLDER}/vmlinuz", "./usr/share/rescue/packages"])
    (folder / BUILD_FOLDER / "vmlinuz").rename(folder / "vmlinuz")
    (folder / "usr/share/rescue/packages").rename(folder / "packages")
    (kernel,) = (folder / "usr/lib/modules").iterdir()
    (folder / "modules").mkdir()
    kernel.rename(folder / "modules" / kernel.name)
    shutil.rmtree(folder / "usr")
    shutil.rmtree(folder / BUILD_FOLDER)


def _compress(tar: Path, layer: Path, dropped: list[str]) -> None:
    """The tar as a squashfs, without the dropped paths; neither needs root, as unpacking the tar would."""
    command = ["mksquashfs", "-", str(layer), "-tar", "-quiet", "-no-progress", *COMPRESSION]
    with start(command) as stream, tarfile.open(tar) as source, tarfile.open(fileobj=stream, mode="w|") as target:
        for member in source:
            path = member.name.removeprefix("./")
            if not any(_covers(pattern, path) for pattern in dropped):
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


def live_initramfs(cache: Cache, root: Root, parts: BootParts) -> Path:
    """The initramfs that goes with this root, from the cache or made now."""
    key = digest_of(
        root.folder.name,
        parts.folder.name,
        # A root made again keeps its name but may hold another kernel.
        root.packages,
        INITRAMFS_SOURCES,
        LIVE_IMAGE / "livebuild/initramfs.py",
    )

    def make(folder: Path) -> None:
        (modules,) = (root.folder / "modules").iterdir()
        make_initramfs(folder / "initrd.img", modules=modules, busybox=parts.busybox, work=folder)

    return cache.entry("initramfs", key, make) / "initrd.img"
