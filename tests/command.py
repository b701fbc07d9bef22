"""The `rescue` command as a person runs it, for tests."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def run_rescue(*words: object, status: int | None = 0, typed: str | None = None, timeout: float = 300) -> Outcome:
    """Run `rescue` with these words; fails unless it ends with `status` (None: any)."""
    done = subprocess.run(
        [sys.executable, "-m", "rescue", *map(str, words)],
        input=typed or "",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    if status is not None and outcome.status != status:
        raise AssertionError(f"status {outcome.status}, not {status}\n{outcome.out}\n{outcome.err}")
    return outcome
