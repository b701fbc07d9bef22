"""Makes the initramfs: a static busybox, a few kernel modules and one script, as a newc archive.

Written here byte by byte rather than with cpio: /dev/console needs no root this way, and
the archive is the same for the same inputs. Format: the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import fnmatch
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from .bootparts import BootParts
from .cache import Cache, digest_of
from .lists import LIVE_IMAGE, read_list
from .process import BuildError, run
from .root import Choice, Flavour, Root

SOURCES = LIVE_IMAGE / "root/initramfs"

APPLETS = (
    *("sh", "cat", "cmp", "cp", "cut", "dd", "du", "echo", "find", "fold", "grep", "hexdump", "ls"),
    *("mkdir", "mv", "printf", "readlink", "rm", "rmdir", "sed", "sha256sum", "sleep", "sort", "xargs"),
    *("chroot", "mount", "umount", "modprobe", "switch_root"),
    # for a person in the shell that is offered when the medium is not found
    *("blkid", "cttyhack", "dmesg", "reboot", "setsid"),
)
# What network/network.sh needs beside them.
NETWORK_APPLETS = (
    *("ip", "kill", "stat", "udhcpc", "wget"),
    # for a person who looks why
    *("nslookup", "ping", "ps", "vi"),
)
FOLDERS = ("bin", "dev", "proc", "sys", "run", "sysroot", "lib", "lib/modules", "lib/rescue")
CONSOLE_DEVICE = (5, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One member of the archive."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def render_archive(nodes: list[Node]) -> bytes:
    """The nodes as a newc archive."""
    out = bytearray()
    for number, node in enumerate([*nodes, Node(name="TRAILER!!!", mode=0)], start=1):
        name = node.name.encode() + b"\0"
        fields = (number, node.mode, 0, 0, 1, 0, len(node.data), 0, 0, *node.device, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4)
        out += node.data
        out += bytes(-len(out) % 4)
    return bytes(out)


def live_initramfs(cache: Cache, root: Root, parts: BootParts, choice: Choice, *, network: bool = False) -> Path:
    """The initramfs that goes with this root, from the cache or made now; `network`: the one that needs no medium."""
    key = digest_of(
        root.folder.name,
        parts.folder.name,
        # A root made again keeps its name but may hold another kernel.
        root.packages,
        SOURCES,
        LIVE_IMAGE / "livebuild/initramfs.py",
    )

    def make(folder: Path) -> None:
        (modules,) = (root.folder / "modules").iterdir()
        make_initramfs(
            folder / "initrd.img",
            modules=modules,
            firmware=root.firmware,
            busybox=parts.busybox,
            work=folder,
            # The list is that of the generic kernel.
            all_modules=choice.flavour is Flavour.GENERIC,
            network=network,
        )

    return cache.entry("netinitramfs" if network else "initramfs", key, make) / "initrd.img"


def make_initramfs(
    output: Path,
    *,
    modules: Path,
    firmware: Path,
    busybox: Path,
    work: Path,
    all_modules: bool = True,
    network: bool = False,
) -> None:
    """Write the compressed initramfs; `modules` is the kernel's /lib/modules/<version>, `firmware` a folder of blobs.

    Unless `all_modules` must be there, the listed ones that this kernel lacks are left out. With `network` it can start
    without a medium: the stick's own stays small, since a firmware reads it slowly.
    """
    tree = work / "initramfs-modules"
    wanted = read_list(SOURCES / "modules.txt") + (read_list(SOURCES / "network/modules.txt") if network else [])
    copy_modules(tree, modules, wanted, all_modules=all_modules)

    nodes = [Node(name=name, mode=stat.S_IFDIR | 0o755) for name in FOLDERS]
    nodes.append(Node(name="dev/console", mode=stat.S_IFCHR | 0o600, device=CONSOLE_DEVICE))
    nodes.append(Node(name="init", mode=stat.S_IFREG | 0o755, data=(SOURCES / "init").read_bytes()))
    nodes.append(Node(name="bin/busybox", mode=stat.S_IFREG | 0o755, data=busybox.read_bytes()))
    applets = sorted({*APPLETS, *NETWORK_APPLETS}) if network else APPLETS
    nodes += [Node(name=f"bin/{name}", mode=stat.S_IFLNK | 0o777, data=b"busybox") for name in applets]
    if network:
        nodes += _network_nodes()
    nodes += module_nodes(tree)
    nodes += _firmware_nodes(firmware, sorted((tree / "lib/modules").rglob("*.ko")))
    archive = work / "initramfs.cpio"
    archive.write_bytes(render_archive(nodes))
    # With network drivers it is four times as large: level 19 would take 25 s of a processor for the last megabyte.
    run(["zstd", "-q", "-12" if network else "-19", "-f", "--rm", archive, "-o", output])
    shutil.rmtree(tree)


def copy_modules(tree: Path, modules: Path, wanted: list[str], *, all_modules: bool = True) -> None:
    """Put the wanted modules, what they need and their indexes into `tree`, as busybox's modprobe reads them."""
    version = modules.name
    target = tree / "lib/modules" / version
    target.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(modules / name, target / name)
    for module in needed_modules(modules, wanted, all_modules=all_modules):
        copy = target / module
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / module, copy)
    # Uncompressed inside: the whole archive compresses better, and busybox needs no xz.
    compressed = sorted(target.rglob("*.xz"))
    if compressed:
        run(["xz", "-d", *compressed])
    run(["depmod", "-b", tree, version])
    # The textual aliases and dependencies are what busybox reads.
    for index in target.glob("modules.*"):
        if index.name not in {"modules.alias", "modules.dep", "modules.softdep", "modules.builtin"}:
            index.unlink()


def module_nodes(tree: Path) -> list[Node]:
    """The members of the archive for what `copy_modules` has put there."""
    return [
        Node(name=str(path.relative_to(tree)), mode=stat.S_IFDIR | 0o755)
        if path.is_dir()
        else Node(name=str(path.relative_to(tree)), mode=stat.S_IFREG | 0o644, data=path.read_bytes())
        for path in sorted((tree / "lib/modules").rglob("*"))
    ]


def _firmware_nodes(firmware: Path, modules: list[Path]) -> list[Node]:
    """The blobs that these modules name: a driver that starts without its own does not look again."""
    named = run(["modinfo", "-F", "firmware", *modules]).split() if any(firmware.iterdir()) else []
    blobs = sorted({path for name in named for path in firmware.glob(name) if path.is_file()})
    files = {f"lib/firmware/{path.relative_to(firmware)}": path.read_bytes() for path in blobs}
    folders = {str(folder) for name in files for folder in Path(name).parents if folder.name}
    nodes = [Node(name=name, mode=stat.S_IFDIR | 0o755) for name in sorted(folders - set(FOLDERS))]
    return nodes + [Node(name=name, mode=stat.S_IFREG | 0o644, data=data) for name, data in files.items()]


def _network_nodes() -> list[Node]:
    """What init sources, what udhcpc calls; modprobe where the kernel looks, which loads the drivers of PHYs itself."""
    return [
        Node(name="sbin", mode=stat.S_IFDIR | 0o755),
        Node(name="sbin/modprobe", mode=stat.S_IFLNK | 0o777, data=b"../bin/busybox"),
        *(
            Node(name=f"lib/rescue/{name}", mode=stat.S_IFREG | mode, data=(SOURCES / "network" / name).read_bytes())
            for name, mode in (("network.sh", 0o644), ("lease", 0o755))
        ),
    ]


def needed_modules(modules: Path, wanted: list[str], *, all_modules: bool = True) -> list[str]:
    """The wanted modules and their dependencies, as paths; those built into the kernel count as there."""
    depends: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        depends[path] = rest.split()
        by_name[_module_name(path)] = path
    builtin = {_module_name(line) for line in (modules / "modules.builtin").read_text().splitlines()}
    # Soft dependencies are loaded by name at run time; vfat's character sets and crc modules are such.
    found: set[str] = set()
    for pattern in wanted:
        name = pattern.replace("-", "_")
        matches = [path for known, path in by_name.items() if fnmatch.fnmatchcase(known, name)]
        if all_modules and not matches and not fnmatch.filter(builtin, name):
            raise BuildError(f"the kernel has no module {pattern}", hint="see live-image/root/initramfs/modules.txt")
        for path in matches:
            found.add(path)
            found.update(depends[path])
    for name in _soft_dependencies(modules, {_module_name(path) for path in found}):
        if name in by_name:
            found.add(by_name[name])
            found.update(depends[by_name[name]])
    return sorted(found)


def _soft_dependencies(modules: Path, names: set[str]) -> set[str]:
    found: set[str] = set()
    for line in (modules / "modules.softdep").read_text().splitlines():
        words = line.split()
        if len(words) > 2 and words[0] == "softdep" and words[1].replace("-", "_") in names:
            found.update(word.replace("-", "_") for word in words[2:] if not word.endswith(":"))
    return found


def _module_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")
