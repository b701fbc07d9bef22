"""What a front end hands to the worker of a job, and nobody else may see: through a pipe in the job's folder.

The system may start the worker, which then has none of this process's environment and takes no input. What passes
through a pipe is in no file, argument or environment.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imaging.durable import written

_MOST = 64 << 10
"""Bytes that a pipe takes at once."""


@contextmanager
def handed_over(folder: Path, name: str, document: dict[str, Any]) -> Iterator[None]:
    """While this lasts, the worker of the job in a folder can take a document; nothing where it is empty. IoError."""
    if not document:
        yield
        return
    pipe = folder / name
    with written(pipe):
        os.mkfifo(pipe, 0o600)
        fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with written(pipe):
            os.write(fd, json.dumps(document).encode())
        yield
    finally:
        os.close(fd)
        pipe.unlink(missing_ok=True)


def taken(folder: Path, name: str) -> dict[str, Any]:
    """What is handed over by that name, once; empty where there is nothing."""
    pipe = folder / name
    with suppress(OSError, ValueError):
        fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found: Any = json.loads(os.read(fd, _MOST))
        finally:
            os.close(fd)
        pipe.unlink(missing_ok=True)
        return found if isinstance(found, dict) else {}
    return {}
