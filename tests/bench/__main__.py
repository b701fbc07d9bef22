"""The speed table: ours against the real tools and against the limits, as ratios of medians in one run.

    sudo .venv/bin/python -m tests.bench [--rounds N] [--only ROW,ROW] [--used GIB] [--tree DIR] [--work DIR]
    sudo .venv/bin/python -m tests.bench --large [--used GIB] [--tree DIR] [--work DIR]
    sudo .venv/bin/python -m tests.bench --library [--images N] [--chunks N] [--rounds N] [--work DIR]

Everything lies on a tmpfs, so that what is measured is the program and not a disk. The peers' figures are of whole
processes; ours are given both ways: the whole command, and the job alone as it reports itself. --large captures and
restores a sparse disk file of 8 TiB instead, and tells where the time goes; --library lists and plans in a library of
many images. The output is Markdown.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench import large, machine, many, ours, source
from tests.bench.rounds import Bench
from tests.bench.table import ROWS, Row, chosen

_GIB = 1 << 30


def parse(argv: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    names = ", ".join(f"{row.number} {row.name}" for row in ROWS)
    parser.add_argument("--only", type=rows, default=ROWS, metavar="ROW[,ROW]", help=f"by number or name: {names}")
    parser.add_argument("--used", type=float, default=3.25, metavar="GIB", help="files on the disk (%(default)s)")
    parser.add_argument("--tree", type=Path, default=Path("/usr"), help="what the disk is filled with (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="a tmpfs with 14 GiB free (%(default)s)")
    parser.add_argument("--large", action="store_true", help="the disk of 8 TiB instead of the table")
    parser.add_argument(
        "--usage",
        default="largefile4",
        metavar="TYPE",
        help="mke2fs's usage type of the disk of 8 TiB (%(default)s); big is its own choice for that size",
    )
    parser.add_argument("--library", action="store_true", help="a library of many images instead of the table")
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help="in that library (%(default)s)")
    parser.add_argument(
        "--chunks", type=int, default=10_000_000, metavar="N", help="in that library (%(default)s: 4.5 GB of memory)"
    )
    options = parser.parse_args(argv)
    if not 10 * options.images <= options.chunks or options.images < 2:
        parser.error("there must be at least two images, and ten chunks for each")
    if options.rounds < 1 or options.used <= 0:
        parser.error("there must be a round to measure and something to measure it with")
    return options


def rows(words: str) -> tuple[Row, ...]:
    """What `--only` names, for argparse."""
    try:
        return chosen(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def table(work: Path, used: int, options: argparse.Namespace) -> str:
    """Measure the rows that were asked for; returns the report."""
    machine.touch_memory(work)
    made = source.build(work / "disk.img", options.tree, source.disk_size(used), used)
    bench = Bench(work, made, options.only)
    for _ in range(options.rounds):
        bench.round()
    return bench.report()


def main(argv: list[str]) -> int:
    """Build, measure, print; what was built is removed, after a SIGTERM, too."""
    options = parse(argv)
    if os.geteuid() != 0:
        print("the benchmark needs root: it mounts the disk that it fills", file=sys.stderr)
        return 2
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    # An installed program has been compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(dir=options.work, prefix="rescue-bench-") as folder:
        os.environ["RESCUE_STATE"] = f"{folder}/state"
        work, used = Path(folder), int(options.used * _GIB)
        try:
            if options.library:
                found = many.measure(work, options.images, options.chunks, options.rounds)
            elif options.large:
                found = large.measure(work, options.tree, used, options.usage)
            else:
                found = table(work, used, options)
        finally:
            ours.stop_all()
        filled = "" if options.library else f"; files from {options.tree}"
        print(f"{machine.describe(options.work)}{filled}.\n\n{found}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
