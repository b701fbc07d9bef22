"""Starts the tools of the build, and says in one line what went wrong with one."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

_OWN = ("SOURCE_DATE_EPOCH", "PYTHON", "TAR_OPTIONS", "GZIP", "XZ_", "ZSTD_")
"""How names begin of what would change the bytes that tools write: packages of Python compile themselves, for one."""


class BuildError(Exception):
    """A build that cannot go on; the hint says what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ToolError(BuildError):
    """A tool that failed, with all that it said."""

    def __init__(self, message: str, *, said: str) -> None:
        super().__init__(message)
        self.said = said


def die(error: BuildError) -> NoReturn:
    """Report at the top: message, hint, exit status 1."""
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    raise SystemExit(1)


def say(text: str) -> None:
    """One line about what the build is doing; standard output is left to results."""
    print(f"==> {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Name a step and how long it took: the build's own profile."""
    say(f"{name} ...")
    began = time.monotonic()
    yield
    say(f"{name}: {time.monotonic() - began:.1f} s")


def tool_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of every tool: C locale, no questions, the folders of system tools on PATH.

    A date for what the tool writes comes from epoch.dated() alone: layers carry another than the user may have set.
    Nor do settings of the user's own for what the tools run reach them.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    environment = inherited | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"} | (extra or {})
    environment["PATH"] = environment.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return environment


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a tool in the C locale and return its standard output; BuildError carries what it said."""
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            env=tool_environment(env),
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as missing:
        raise BuildError(f"{command[0]} is not installed", hint="run live-image/setup") from missing
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()
        last = said.splitlines()[-25:] or ["(it said nothing)"]
        raise ToolError(f"{command[0]} failed with status {done.returncode}:\n  " + "\n  ".join(last), said=said)
    return done.stdout.decode(errors="replace")


@contextmanager
def start(argv: Sequence[str], *, env: dict[str, str] | None = None) -> Iterator[IO[bytes]]:
    """Run a tool that is fed through standard input while the block runs; BuildError when it fails."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=said, stderr=said, env=tool_environment(env))
        except FileNotFoundError as missing:
            raise BuildError(f"{argv[0]} is not installed", hint="run live-image/setup") from missing
        # A tool that ended early breaks the pipe; its status and words, below, say more than that.
        with suppress(BrokenPipeError), process:
            if process.stdin is not None:
                yield process.stdin
        if process.wait() != 0:
            said.seek(0)
            words = said.read().decode(errors="replace")
            raise BuildError(f"{argv[0]} failed with status {process.returncode}:\n  {words}")
