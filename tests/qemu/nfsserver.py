"""A real server of NFS: Linux' own (nfsd), in a small machine in QEMU, since this computer's kernel may have none.

Its kernel is the sample machine's, its programs are those of Debian's nfs-kernel-server. It serves NFS 4 alone, which
needs one port; its words on the serial port say how far it is.
"""

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect

from livebuild import initramfs
from livebuild.cache import digest_of, open_cache
from livebuild.debian import SUITE, extract_packages
from livebuild.initramfs import CONSOLE_DEVICE, Node, copy_modules, module_nodes, render_archive
from tests.disks import MIB, blank, run
from tests.servers.s3 import free_ports

from .conftest import Sample
from .machine import BOOT, JOB, STEP
from .test_orders import place_of

FOLDER = "/srv"
"""What is exported."""
_PACKAGES = ["nfs-kernel-server", "busybox-static"]
_PROGRAMS = ("exportfs", "rpc.mountd", "rpc.nfsd")
_SETTINGS = ("netconfig", "protocols", "services")
_MODULES = ["virtio_net", "virtio_blk", "nfsd"]
_APPLETS = ("ip", "ls", "modprobe", "mount", "poweroff", "sh", "sleep", "umount")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "ld-linux-x86-64.so.2"
_PORT = 2049
_BYTES_A_SECOND = 2 * MIB
"""Of what it writes: a backup has to last, or it could not be interrupted."""

# Requests come through QEMU, which has no privileged port to ask from ("insecure"). A server that starts anew lets
# nobody open a file before the clients that it had could come back: 90 seconds, unless told otherwise.
_INIT = f"""\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
modprobe virtio_net
modprobe virtio_blk
modprobe nfsd
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
mount -t ext4 /dev/vda {FOLDER}
mount -t nfsd nfsd /proc/fs/nfsd
echo '{FOLDER} *(rw,insecure,no_root_squash,no_subtree_check)' > /etc/exports
exportfs -r
rpc.mountd --no-nfs-version 3
serve() {{
    rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10 4
}}
serve && echo "server: up"
library={FOLDER}/rescue-library
while read word; do
    case $word in
    interrupt)
        until ls $library/chunks/*/* > /dev/null 2>&1; do sleep 0.1; done
        rpc.nfsd 0
        ls $library/images/*/manifest.json > /dev/null 2>&1 && echo "server: the image was whole already"
        sleep 3
        serve && echo "server: up again"
        ;;
    end)
        rpc.nfsd 0
        umount {FOLDER} && echo "server: down"
        poweroff -f
        ;;
    esac
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nfs:
    """A server that runs."""

    port: int
    disk: Path
    """What holds the exported folder, an ext4 without a table: to be read here once the server has ended."""
    process: "pexpect.spawn[bytes]"

    def address(self, host: str) -> str:
        """The export as a person types it, where this computer has that name."""
        return f"nfs://{host}:{self.port}{FOLDER}"

    def wait_until_up(self) -> None:
        """Wait until it serves."""
        self.process.expect_exact("server: up", timeout=BOOT)

    def interrupt(self) -> None:
        """Have it stop when the first chunk comes to the library there, and start anew 3 seconds later."""
        self.process.sendline("interrupt")

    def wait_until_interrupted(self) -> None:
        """Wait for the end of that; the image must not have been whole before."""
        said = self.process.expect_exact(["server: the image was whole already", "server: up again"], timeout=JOB)
        assert said == 1, "the server stopped when the backup was over"

    def end(self) -> None:
        """Switch it off in good order."""
        self.process.sendline("end")
        self.process.expect_exact("server: down", timeout=STEP)
        self.process.expect(pexpect.EOF, timeout=STEP)


@contextmanager
def serving(sample: Sample, folder: Path, size: int) -> Iterator[Nfs]:
    """A server with a disk of so many bytes for its export, until the end of the context."""
    folder.mkdir()
    parts, disk, (port,) = _parts(sample), blank(folder / "disk.img", size), free_ports(1)
    run("mkfs.ext4", "-q", disk)
    argv = ["-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]
    argv += ["-kernel", f"{parts / 'vmlinuz'}", "-initrd", f"{parts / 'initrd.img'}"]
    argv += ["-append", "console=ttyS0 quiet panic=-1", "-serial", "stdio", "-device", "virtio-rng-pci"]
    drive = f"if=none,id=disk,format=raw,file={disk},throttling.bps-write={_BYTES_A_SECOND}"
    argv += ["-drive", drive, "-device", "virtio-blk-pci,drive=disk"]
    argv += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{_PORT}", "-device", "virtio-net-pci,netdev=net"]
    with (folder / "log").open("wb") as log:
        process: pexpect.spawn[bytes] = pexpect.spawn("qemu-system-x86_64", argv, logfile=log)
        try:
            yield Nfs(port=port, disk=disk, process=process)
        finally:
            process.close(force=True)


def _parts(sample: Sample) -> Path:
    """A folder with kernel and initramfs, from the build's cache or made now."""
    with open_cache() as cache:
        key = digest_of(SUITE, " ".join(_PACKAGES), sample.marker, Path(__file__), Path(initramfs.__file__))
        return cache.entry("nfs-server", key, lambda folder: _make(folder, sample))


def _make(folder: Path, sample: Sample) -> None:
    tar, tree, kernels = folder / "packages.tar", folder / "tree", folder / "kernels"
    for path in (tree, kernels):
        path.mkdir()
    extract_packages(tar, _PACKAGES)
    run("tar", "-x", "-f", tar, "-C", tree, "--no-same-owner", "--no-same-permissions", "./usr", "./etc")
    run("debugfs", "-R", f"rdump /usr/lib/modules {kernels}", place_of(sample.disk, 3))
    (modules,) = (kernels / "modules").iterdir()
    run("debugfs", "-R", f"dump /boot/vmlinuz-{modules.name} {folder / 'vmlinuz'}", place_of(sample.disk, 3))
    copy_modules(folder / "modules", modules, _MODULES)
    archive = folder / "initramfs.cpio"
    archive.write_bytes(render_archive([*_own_nodes(), *_program_nodes(tree), *module_nodes(folder / "modules")]))
    run("zstd", "-q", "-f", "--rm", archive, "-o", folder / "initrd.img")
    tar.unlink()
    for path in (tree, kernels, folder / "modules"):
        shutil.rmtree(path)


def _own_nodes() -> list[Node]:
    """What is there before the first program is."""
    folders = ["bin", "dev", "etc", "proc", "run", "sbin", "srv", "sys", "tmp", "lib64"]
    folders += ["lib", "lib/modules", "lib/x86_64-linux-gnu"]
    folders += ["var", "var/lib", "var/lib/nfs", "var/lib/nfs/v4recovery"]
    return [
        *(Node(name=name, mode=stat.S_IFDIR | 0o755) for name in folders),
        Node(name="dev/console", mode=stat.S_IFCHR | 0o600, device=CONSOLE_DEVICE),
        Node(name="init", mode=stat.S_IFREG | 0o755, data=_INIT.encode()),
        *(Node(name=f"bin/{name}", mode=stat.S_IFLNK | 0o777, data=b"busybox") for name in _APPLETS),
    ]


def _program_nodes(tree: Path) -> list[Node]:
    """The programs out of their packages, with the libraries that their own loader finds for them there."""
    libraries = tree / _LIBRARIES
    wanted = {"bin/busybox": tree / "usr/bin/busybox", f"lib64/{_LOADER}": libraries / _LOADER}
    wanted |= {f"etc/{name}": tree / "etc" / name for name in _SETTINGS}
    for name in _PROGRAMS:
        program = tree / "usr/sbin" / name
        wanted[f"sbin/{name}"] = program
        listed = run(libraries / _LOADER, "--library-path", libraries, "--list", program)
        found = [Path(line.split()[2]) for line in listed.splitlines() if " => " in line]
        wanted |= {f"lib/x86_64-linux-gnu/{path.name}": path for path in found}
    return [
        Node(name=name, mode=stat.S_IFREG | stat.S_IMODE(path.stat().st_mode), data=path.read_bytes())
        for name, path in sorted(wanted.items())
    ]
