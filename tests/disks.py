"""Builders of disk files: tables of any kind, file systems with real files in them, without the kernel's partitions."""

import errno
import hashlib
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

MIB = 1 << 20
_PATIENCE = 60.0
"""Seconds that a loop device is waited for which somebody else has open."""


def run(*argv: object, text: str | None = None) -> str:
    """Run a tool; its output, or an AssertionError with all it said."""
    words = [str(word) for word in argv]
    path = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(words, input=text, capture_output=True, text=True, env=path, check=False)
    if done.returncode:
        raise AssertionError(f"{words}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def lines_of(path: Path) -> list[str]:
    """The lines of a file in /proc with names in it, which are any bytes: another test's, too."""
    return [line for line in os.fsdecode(path.read_bytes()).split("\n") if line]


def blank(path: Path, size: int, fill: int = 0) -> Path:
    """A disk file of `size` bytes: sparse, or filled with one byte value."""
    with path.open("wb") as file:
        if fill:
            block = bytes([fill]) * MIB
            for at in range(0, size, MIB):
                file.write(block[: min(MIB, size - at)])
        file.truncate(size)
    return path


def partition(path: Path, script: str, sector: int = 512) -> Path:
    """Write a table with an sfdisk script; 4096-byte sectors go through a loop device, which needs root."""
    if sector == 512:
        run("sfdisk", "--quiet", path, text=script)
    else:
        with looped(path, sector=sector) as loop:
            run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", loop, text=script)
    return path


@contextmanager
def looped(path: Path, offset: int = 0, size: int = 0, sector: int = 512) -> Iterator[str]:
    """A loop device over a range of a file, for the tests' own writing; needs root."""
    argv = ["losetup", "--find", "--show", f"--offset={offset}", f"--sector-size={sector}"]
    if size:
        argv.append(f"--sizelimit={size}")
    loop = run(*argv, path).strip()
    try:
        yield loop
    finally:
        detach(loop)


def detach(loop: str) -> None:
    """Take a loop device from its file, and wait for that.

    Where another process looks at it just then, it is gone only after that, and its file is in use until then.
    """
    shown = Path("/sys/block", Path(loop).name, "loop/backing_file")
    before = _text_of(shown)
    run("losetup", "--detach", loop)
    last = time.monotonic() + _PATIENCE
    while before and _text_of(shown) == before and time.monotonic() < last:
        time.sleep(0.01)


def _text_of(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:  # it has gone
        return ""


_ZEROS = bytes(MIB)


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack a tar of this repository's own, packed or not; Debian 12's Python, 3.11.2, has no filters yet."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)


def digest(path: Path, start: int = 0, size: int | None = None) -> str:
    """A digest of a range of a file, or of all from `start` on, with BLAKE3: of its length, and what is not zero.

    Most of these disks is holes, which need not be read; read, not mapped: a look at a hole of a mapped file in memory
    would fill it.
    """
    with path.open("rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if size is not None:
            end = min(end, start + size)
        hasher = blake3(b"%d" % (end - start))
        at = start
        while (found := _data_from(file.fileno(), at)) is not None and found < end:
            # Blocks begin at the same places whatever the holes are.
            at = found - (found - start) % MIB
            block = os.pread(file.fileno(), min(MIB, end - at), at)
            assert len(block) == min(MIB, end - at), path
            if block != _ZEROS[: len(block)]:
                hasher.update(b"%d:" % (at - start) + block)
            at += len(block)
    return hasher.hexdigest()


def _data_from(descriptor: int, at: int) -> int | None:
    """Where there is data again, which devices do not tell; None: nowhere."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return at
        if error.errno == errno.ENXIO:
            return None
        raise


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every regular file below a folder, by its path in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
