"""The `rescue` command as a person runs it, for tests."""

import json
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from tests import starter


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
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write((typed or "").encode())
        given.seek(0)
        found = starter.run([str(word) for word in words], (given, out, err), timeout)
        for file in (out, err):
            file.seek(0)
        outcome = Outcome(found, out.read().decode(), err.read().decode())
    if status is not None and outcome.status != status:
        raise AssertionError(f"status {outcome.status}, not {status}\n{outcome.out}\n{outcome.err}")
    return outcome
