"""Virtual environments that servers of the tests live in: made once, and kept with the build's cache."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from livebuild.cache import cache_folder


def _nothing(_: Path) -> None:
    """No more than what pip installs."""


def made(name: str, *locks: Path, finish: Callable[[Path], None] = _nothing) -> Path:
    """The environment of the packages in the first of `locks`; made where there is none for what all of them say.

    `finish` installs what pip does not.
    """
    key = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks) + sys.version.encode()).hexdigest()[:20]
    folder = cache_folder() / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*pip, "--require-hashes", "--requirement", str(locks[0])], check=True)
            finish(folder)
            (folder / "made").touch()
    return folder
