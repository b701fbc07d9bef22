"""Folders of this system that last as long as what uses them, or the process."""

import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from imaging.durable import written


def lent(below: Path) -> Path:
    """An empty folder below another, for `kept_by`; what dead processes have left there is removed. Raises IoError."""
    with written(below):
        below.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in below.iterdir():
            if _is_dead(left.name):
                shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f"{_boot()}-{os.getpid()}-", dir=below))


def kept_by(owner: object, folder: Path) -> None:
    """Have a folder removed once its owner is gone, or this process ends; a copy of the process removes nothing."""
    weakref.finalize(owner, _remove, folder, os.getpid())


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _boot() -> str:
    """What this start of the machine is called in names of folders."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]


def _is_dead(name: str) -> bool:
    boot, _, rest = name.partition("-")
    process = rest.partition("-")[0]
    with suppress(OSError):
        return boot != _boot() or not Path(f"/proc/{process}").exists()
    return False
