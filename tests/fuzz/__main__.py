"""`python -m tests.fuzz TARGET [--seconds N]`: fuzz one parser, or all of them one after the other (`all`).

Needs `pip install atheris` (libFuzzer is in its wheel), which nothing else here needs. Each input may take 10 s and the
process 1 GiB; whatever makes a parser fail otherwise than documented ends the run with status 1 and is kept in
`--findings`, to be tried again with `python -m tests.fuzz TARGET --input FILE`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import real
from tests.fuzz.targets import TARGETS

_MEMORY = 1024
"""MiB that the process may take: atheris and the imports have 150 of them."""
_PATIENCE = 10
"""Seconds that one input may take."""
_TOLD = ("Done", "SUMMARY", "artifact_prefix", " === Uncaught", "Traceback", "  File", "ERROR", "stat::peak")


def fuzz(name: str, seconds: int, seeds: list[bytes], findings: Path) -> int:
    """Fuzz one target; returns libFuzzer's exit status."""
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rescue-fuzz-") as corpus:
        for i, data in enumerate(seeds):
            (Path(corpus) / f"seed{i}").write_bytes(data)
        longest = max(TARGETS[name].longest, *map(len, seeds))
        limits = [f"-rss_limit_mb={_MEMORY}", f"-timeout={_PATIENCE}", f"-max_total_time={seconds}"]
        more = [f"-max_len={longest}", f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1", corpus]
        argv = [sys.executable, "-m", "tests.fuzz.engine", name, *limits, *more]
        done = subprocess.run(argv, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, errors="replace")
    said = done.stdout.splitlines()
    told = [line for line in said if line.startswith(_TOLD) or "\tDONE" in line or "Error" in line]
    print(f"{name}: status {done.returncode}", *(f"    {line}" for line in told[-30:]), sep="\n", flush=True)
    return done.returncode


def main() -> int:
    """Parse the command line and fuzz; 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=120, help="how long each target runs (default: 120)")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "rescue-fuzz-findings")
    parser.add_argument("--input", type=Path, help="try this one input instead, without atheris")
    asked = parser.parse_args()
    if asked.input:
        print("taken" if TARGETS[asked.target].try_one(asked.input.read_bytes()) else "refused as documented")
        return 0
    found = real.seeds()
    names = list(TARGETS) if asked.target == "all" else [asked.target]
    statuses = [fuzz(n, asked.seconds, [*TARGETS[n].seeds, *found.get(n, [])], asked.findings) for n in names]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
