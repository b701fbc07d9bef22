"""Capture and restore a populated ext4 disk, ours and partclone with zstd, printed as ratios of medians.

    sudo .venv/bin/python -m tests.bench [--rounds N] [--tree DIR] [--work DIR]

Everything lies on a tmpfs, so that what is measured is the program and not a disk. The peers' figures are of whole
processes; ours are given both ways: the whole command, and the job alone as it reports itself.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import run_rescue
from tests.disks import MIB, blank, looped, partition, run

DISK = 4096 * MIB
FIRST = 1 * MIB
ROOM = DISK - 2 * MIB
USED = 2304 * MIB
"""Bytes of files on the disk."""


@dataclass(slots=True)
class Timing:
    """Seconds of each round: the whole process, and for ours the job alone."""

    whole: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.whole)

    @property
    def job_median(self) -> float:
        return statistics.median(self.job)


@contextmanager
def mounted(path: Path, where: Path) -> Iterator[Path]:
    """The disk's one partition, mounted for filling it."""
    where.mkdir(exist_ok=True)
    with looped(path, FIRST, ROOM) as loop:
        run("mount", loop, where)
        try:
            yield where
        finally:
            run("umount", where)


def build_disk(path: Path, tree: Path) -> int:
    """A disk with one ext4 partition that holds a copy of `tree`; returns the bytes of files on it."""
    blank(path, DISK)
    partition(path, f"label: gpt\nstart={FIRST // 512}, size={ROOM // 512}\n")
    with looped(path, FIRST, ROOM) as loop:
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", loop)
    with mounted(path, path.with_suffix(".mnt")) as where:
        copied = 0
        while copied < USED:  # a small tree is copied more than once
            copied += copy_tree(tree, where / f"copy{copied}", USED - copied)
        return shutil.disk_usage(where).used


def copy_tree(tree: Path, to: Path, budget: int) -> int:
    """Copy regular files of a tree until `budget` bytes are copied; returns how many were."""
    copied = 0
    for folder, _, names in os.walk(tree):
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            target = to / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            copied += path.stat().st_size
            if copied >= budget:
                return copied
    return copied


def clock(timing: Timing, work: Callable[[], float | None]) -> None:
    """Time one round; `work` may return what the job itself measured."""
    os.sync()
    began = time.perf_counter()
    job = work()
    timing.whole.append(time.perf_counter() - began)
    if job is not None:
        timing.job.append(job)


def shell(command: str) -> None:
    """A pipeline of the peers', as their users type it."""
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stderr=subprocess.DEVNULL)


def ours(*words: object) -> float:
    """One of our commands; returns the seconds that the job itself reports."""
    seconds: float = run_rescue(*words, "--json").events[-1]["result"]["seconds"]
    return seconds


class Bench:
    """All rounds of all measurements."""

    def __init__(self, work: Path, tree: Path) -> None:
        self.disk, self.tree, self.work = work / "disk.img", tree, work
        self.library, self.target, self.peer = work / "library", work / "target.img", work / "peer.zst"
        self.timings = {name: Timing() for name in ("peer c", "our c", "peer r", "our r", "our r nb", "our again")}
        self.used = build_disk(self.disk, tree)

    def round(self) -> None:
        """Measure everything once."""
        with looped(self.disk, FIRST, ROOM) as loop:
            clock(
                self.timings["peer c"],
                lambda: shell(f"partclone.ext4 -c -s {loop} -o - -L /dev/null | zstd -q -T0 -3 -f -o {self.peer}"),
            )
        shutil.rmtree(self.library, ignore_errors=True)
        clock(self.timings["our c"], lambda: ours("capture", self.disk, "--library", self.library))
        image = next((self.library / "images").iterdir()).name
        blank(self.target, DISK)
        with looped(self.target, FIRST, ROOM) as loop:
            clock(
                self.timings["peer r"],
                lambda: shell(f"zstd -q -dc {self.peer} | partclone.ext4 -r -s - -o {loop} -L /dev/null"),
            )
        words = ("restore", image, self.target, "--library", self.library, "--erase", self.target.name)
        blank(self.target, DISK)
        clock(self.timings["our r nb"], lambda: ours(*words, "--no-read-back"))
        blank(self.target, DISK)
        clock(self.timings["our r"], lambda: ours(*words))
        clock(self.timings["our again"], lambda: ours(*words))
        run_rescue("verify", image, "--against", self.target, "--library", self.library)

    def report(self) -> str:
        """The table, in Markdown."""
        t = self.timings
        size = sum(f.stat().st_size for f in self.library.rglob("*") if f.is_file())
        rows = [
            ("first capture", t["our c"], "partclone -c, zstd -T0 -3", t["peer c"]),
            ("restore to an empty disk", t["our r nb"], "zstd -dc, partclone -r", t["peer r"]),
            ("restore, read back and compared", t["our r"], "zstd -dc, partclone -r", t["peer r"]),
            ("restore again, nothing differs", t["our again"], "our restore to an empty disk", t["our r nb"]),
        ]
        lines = [
            f"{platform.machine()}, {os.cpu_count()} cores, tmpfs; ext4 with {self.used / 1e9:.2f} GB used, "
            f"from {self.tree}; medians of {len(t['our c'].whole)} rounds",
            "",
            "| job | ours, whole (job alone) | against | theirs | times as fast, whole (job alone) |",
            "|---|---|---|---|---|",
        ]
        for name, mine, other, theirs in rows:
            lines.append(
                f"| {name} | {mine.median:.2f} s ({mine.job_median:.2f} s) | {other} | {theirs.median:.2f} s "
                f"| {theirs.median / mine.median:.2f} ({theirs.median / mine.job_median:.2f}) |"
            )
        ratio = size / self.peer.stat().st_size
        logs = (self.work / "state" / "jobs").glob("*/log")
        peak = max(int(found[1]) for log in logs if (found := re.search(r"peak memory (\d+) KiB", log.read_text())))
        lines += ["", f"Image size against the peer's: {ratio:.3f}. The worker took {peak / 1024:.0f} MiB at most."]
        return "\n".join(lines)


def main() -> int:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tree", type=Path, default=Path("/usr"), help="what the disk is filled with")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="a tmpfs with 14 GiB free")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the benchmark needs root: it mounts the disk that it fills", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=options.work, prefix="rescue-bench-") as folder:
        os.environ["RESCUE_STATE"] = f"{folder}/state"
        bench = Bench(Path(folder), options.tree)
        for _ in range(options.rounds):
            bench.round()
        print(bench.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
