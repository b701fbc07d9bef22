"""The line that describes the machine, for the head of the table."""

import os
import platform
from contextlib import suppress
from pathlib import Path

from tests.bench.peers import version

_LEFT_ALONE = 1 << 30
"""Bytes of memory that stay free, so that nothing is pushed out."""


def describe(work: Path) -> str:
    """CPU, cores, memory, file system of the work folder, kernel, and versions of the tools."""
    tools = {
        "partclone": version("partclone.ext4 --version"),
        "zstd": version("zstd --version"),
        "casync": version("casync --version"),
        "nbdkit": version("nbdkit --version"),
        "qemu-nbd": version("qemu-nbd --version"),
        "Python": platform.python_version(),
    }
    told = ", ".join(f"{name} {number}" for name, number in tools.items())
    return (
        f"{_field('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores, "
        f"{_memory_gib():.0f} GiB of memory, {_file_system(work)}, Linux {platform.release()}; {told}"
    )


def memory_of_files() -> int:
    """Bytes that files in memory take, and names of files."""
    return sum(int(_field("/proc/meminfo", name).split()[0]) for name in ("Shmem", "Slab")) << 10


def touch_memory(work: Path, most: int | None = None) -> None:
    """Use all memory of the machine once, or so many bytes of it, through a file that is removed at once.

    A virtual machine's host hands memory over page by page when it is first written to, which costs several times as
    much as writing to it: without this the first to write, and whoever writes most, would pay for that. What lies free
    for long, the host may have taken back.
    """
    block = bytes(64 << 20)
    fd = os.open(work / "memory", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with suppress(OSError):  # the tmpfs is full: it is smaller than the memory that is free
            while most is None or most > os.fstat(fd).st_size:
                if int(_field("/proc/meminfo", "MemFree").split()[0]) << 10 <= _LEFT_ALONE:
                    break
                os.write(fd, block)
    finally:
        os.close(fd)
        (work / "memory").unlink()


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _memory_gib() -> float:
    return int(_field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)


def _file_system(work: Path) -> str:
    """The kind of the file system that holds a folder: that of the longest mount point above it."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, where, what, *_ = line.split(" ")
        if work.resolve().is_relative_to(where) and len(where) >= len(best):
            best, kind = where, what
    return kind
