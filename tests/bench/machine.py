"""The line that describes the machine, for the head of the table."""

import os
import platform
from pathlib import Path

from tests.bench.peers import version


def describe(work: Path) -> str:
    """CPU, cores, memory, file system of the work folder, kernel, and versions of the tools."""
    tools = {
        "partclone": version("partclone.ext4 --version"),
        "zstd": version("zstd --version"),
        "casync": version("casync --version"),
        "Python": platform.python_version(),
    }
    told = ", ".join(f"{name} {number}" for name, number in tools.items())
    return (
        f"{_field('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores, "
        f"{_memory_gib():.0f} GiB of memory, {_file_system(work)}, Linux {platform.release()}; {told}"
    )


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
