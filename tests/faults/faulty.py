"""A pass-through file system that fails on purpose: `python -m tests.faults.faulty BACK WHERE`.

It shows the folder BACK at WHERE. Each line on its input says which operations are to fail from now on; each answer
tells what was asked for, and what was made to fail, since the line before. Nothing is cached: every read, write, look
and rename of the program is an operation here. syncfs(2) alone never gets here: the kernel keeps it from FUSE.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn

import mfusepy
import msgspec
import pytest

from tests.disks import run

_ALL = 1 << 62
_ATTRIBUTES = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_blksize")
_ROOM = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_flag", "f_frsize")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What fails: the `nth` operation of a kind on paths that match, and `times` - 1 after it; 0 is all after it.

    `low` and `high` narrow reads and writes to those that touch any of these bytes of the file.
    """

    kind: str
    nth: int = 1
    times: int = 1
    path: str = "*"
    error: int = errno.EIO
    """An errno; 0 lets a read or a write do half of what was asked, which is no error."""
    low: int = 0
    high: int = _ALL
    kill: bool = False
    """Kill the worker that asks, itself or through a tool that it runs, before anything is done."""

    def matches(self, kind: str, path: str, low: int, high: int) -> bool:
        """Whether an operation is one of those that are counted."""
        return kind == self.kind and fnmatch(path, self.path) and low < self.high and high > self.low


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What happened: how many operations of each kind, "write library", and those that were made to fail."""

    counts: dict[str, int]
    hit: list[str]


class _Plan:
    """The faults to come, and what was seen of them; asked by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._seen: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()
        self._hit: list[str] = []

    def replace(self, faults: list[Fault]) -> Told:
        """Take other faults, and tell what happened so far."""
        with self._lock:
            told = Told(counts=dict(self._counts), hit=self._hit)
            self._faults, self._hit = faults, []
            self._seen.clear()
            self._counts.clear()
        return told

    def meets(self, kind: str, path: str, low: int = 0, high: int = _ALL) -> Fault | None:
        """Count an operation; the fault that it meets, if it meets one."""
        with self._lock:
            self._counts[f"{kind} {path.split('/')[1]}"] += 1
            for i, fault in enumerate(self._faults):
                if not fault.matches(kind, path, low, high):
                    continue
                self._seen[i] += 1
                if self._seen[i] >= fault.nth and (not fault.times or self._seen[i] < fault.nth + fault.times):
                    self._hit.append(f"{kind} {path} at {low}")
                    return fault
        return None


def _kill_worker(pid: int) -> None:
    """Kill the outermost worker above a process; one that it forks bears its name until it becomes a tool."""
    worker = 0
    while pid > 1:
        names = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "comm")]
        if any(b"imaging.worker" in name for name in names):
            worker = pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    if worker:
        os.kill(worker, signal.SIGKILL)


# mfusepy has no types, and FUSE's paths are texts that are only handed on: pathlib would normalise them.
class _Through(mfusepy.Operations):  # type: ignore[misc]
    """The operations on BACK, each after a look at the plan."""

    use_ns = True

    def __init__(self, back: str, plan: _Plan) -> None:
        self._back, self._plan = back, plan

    def _on(self, kind: str, path: str, low: int = 0, high: int = _ALL) -> bool:
        """Fail where the plan says so; whether half is to be done."""
        fault = self._plan.meets(kind, path, low, high)
        if fault is None:
            return False
        if fault.kill:
            _kill_worker(mfusepy.fuse_get_context()[2])
            raise OSError(errno.EIO, "killed")
        if fault.error:
            raise OSError(fault.error, os.strerror(fault.error))
        return True

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        self._on("getattr", path)
        found = os.fstat(fh) if fh is not None else os.lstat(self._back + path)
        times = {f"st_{name}time": getattr(found, f"st_{name}time_ns") for name in "amc"}
        return {name: getattr(found, name) for name in _ATTRIBUTES} | times

    def readdir(self, path: str, _: int) -> list[tuple[str, dict[str, int], int]]:
        self._on("readdir", path)
        names = [".", "..", *os.listdir(self._back + path)]  # noqa: PTH208
        return [(name, {"st_ino": os.lstat(f"{self._back}{path}/{name}").st_ino}, 0) for name in names]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._back + path)
        return {name: getattr(found, name) for name in _ROOM}

    def open(self, path: str, flags: int) -> int:
        self._on("open", path)
        return os.open(self._back + path, flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, _: object = None) -> int:
        self._on("create", path)
        return os.open(self._back + path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        half = self._on("read", path, offset, offset + size)
        return os.pread(fh, max(1, size // 2) if half else size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        half = self._on("write", path, offset, offset + len(data))
        return os.pwrite(fh, data[: max(1, len(data) // 2)] if half else data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self._on("truncate", path)
        os.truncate(self._back + path if fh is None else fh, length)

    def fsync(self, path: str, _: int, fh: int) -> None:
        self._on("fsync", path)
        os.fsync(fh)

    def fsyncdir(self, path: str, _datasync: int, _fh: int) -> None:
        self._on("fsyncdir", path)

    def flush(self, path: str | None, _: int) -> None:
        if path is not None:  # it has none any more where it was removed while it was open
            self._on("flush", path)

    def release(self, _: str, fh: int) -> None:
        os.close(fh)

    def mkdir(self, path: str, mode: int) -> None:
        self._on("mkdir", path)
        os.mkdir(self._back + path, mode)  # noqa: PTH102

    def rmdir(self, path: str) -> None:
        self._on("rmdir", path)
        os.rmdir(self._back + path)  # noqa: PTH106

    def unlink(self, path: str) -> None:
        self._on("unlink", path)
        os.unlink(self._back + path)  # noqa: PTH108

    def rename(self, old: str, new: str) -> None:
        self._on("rename", new)
        os.rename(self._back + old, self._back + new)  # noqa: PTH104

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._back + path, mode)  # noqa: PTH101

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        os.utime(self._back + path, ns=times) if times else os.utime(self._back + path)


def _obey(plan: _Plan, where: str) -> NoReturn:
    for line in sys.stdin.buffer:
        told = plan.replace(msgspec.json.decode(line, type=list[Fault]))
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()
    subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)
    os._exit(0)


class Faulty:
    """The file system, served by a process of its own."""

    def __init__(self, back: Path, where: Path, process: "subprocess.Popen[bytes]") -> None:
        """Use `faulty`."""
        self.back, self.where, self._process = back, where, process

    def plan(self, *faults: Fault) -> Told:
        """Let these operations fail from now on, and no others; what happened until now."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(list(faults)) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Told)


@contextmanager
def faulty(back: Path, where: Path) -> Iterator[Faulty]:
    """Show `back` at `where`, until the end of the block; needs root and FUSE."""
    if not Path("/dev/fuse").exists():
        pytest.skip("needs FUSE: /dev/fuse is missing")
    where.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.faulty", str(back), str(where)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        found = Faulty(back, where, process)
        found.plan()
        _until_mounted(where, process)
        found.plan()
        yield found
    finally:
        with suppress(AssertionError):
            run("umount", "--lazy", where)
        process.stdin.close()
        process.wait(180)
        process.stdout.close()


def _until_mounted(where: Path, process: "subprocess.Popen[bytes]") -> None:
    while not where.is_mount():
        if process.poll() is not None:
            raise AssertionError("the faulty file system could not be mounted")


def main() -> None:
    """Serve until the input ends."""
    back, where = sys.argv[1:]
    plan = _Plan()
    threading.Thread(target=_obey, args=(plan, where), daemon=True).start()
    mfusepy.FUSE(
        _Through(back, plan),
        where,
        foreground=True,
        direct_io=True,
        use_ino=True,
        hard_remove=True,
        big_writes=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )
    os._exit(0)  # the thread that waits for input would be waited for


if __name__ == "__main__":
    main()
