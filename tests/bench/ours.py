"""Our own commands, as a person runs them, with what the job reports of itself."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging.jobs import JobState, jobs
from tests.command import run_rescue

_TIMEOUT = 3600.0
_PATIENCE = 300.0
"""Seconds in which a cancelled job has to end; one that waits for partclone to read a map needs some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One command that ended well: when the process began and ended (seconds since the epoch), and its events."""

    began: float
    ended: float
    events: Sequence[dict[str, Any]]

    @property
    def result(self) -> dict[str, Any]:
        """What the job did, as its last event says."""
        found: dict[str, Any] = self.events[-1]["result"]
        return found

    @property
    def seconds(self) -> float:
        """The job alone."""
        return float(self.result["seconds"])


def command(*words: object) -> Done:
    """Run `rescue` with these words and `--json`."""
    began = time.time()
    outcome = run_rescue(*words, "--json", timeout=_TIMEOUT)
    return Done(began=began, ended=time.time(), events=outcome.events)


def stop_all() -> None:
    """End what still works, where a measurement was broken off: workers outlive the command that started them."""
    until = time.monotonic() + _PATIENCE
    for job in jobs():
        if job.state in (JobState.STARTING, JobState.RUNNING):
            job.cancel()
            while job.state in (JobState.STARTING, JobState.RUNNING) and time.monotonic() < until:
                time.sleep(0.1)


def peak_memory() -> int:
    """The most that any worker took, in bytes, as their logs tell; 0 where none has run."""
    logs = (Path(os.environ["RESCUE_STATE"]) / "jobs").glob("*/log")
    found = (re.search(r"peak memory (\d+) KiB", log.read_text(encoding="utf-8")) for log in logs)
    return max((int(match[1]) << 10 for match in found if match), default=0)


def library_size(library: Path) -> int:
    """Bytes of all files of a library."""
    return sum(path.stat().st_size for path in library.rglob("*") if path.is_file())
