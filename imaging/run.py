"""The only module that starts processes: argument lists, no shell, closed input, the C locale."""

import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import CancelledError, IoError

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where disk tools live on Debian; not on an ordinary user's PATH."""

_MOST_SAID = 32 << 10
"""Bytes that are kept of the beginning, and as many of the end, of what a tool says."""
_LOOK_EVERY = 100
"""Milliseconds between two looks whether a tool is still wanted."""
_INHERITED = ("RESCUE_STATE", "RESCUE_LIVE")
"""What a worker has to know of its caller's environment; a transient unit inherits none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a tool ended."""

    status: int
    stdout: str
    stderr: str


def find_tool(name: str) -> str | None:
    """The path of a tool, looked for on PATH and in the system folders; None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SBIN))


def run(argv: Sequence[str | Path], *, accept: Sequence[int] = (0,), timeout: float | None = None) -> Completed:
    """Run a tool to its end and return what it printed.

    Raises IoError where it is not installed (code "no-tool"), ends with a status that is not in `accept`
    ("tool-failed") or takes longer than `timeout` seconds ("tool-hung").
    """
    name = str(argv[0])
    path = find_tool(name)
    if path is None:
        raise IoError(f"{name} is not installed", code="no-tool", hint=f"install the package that provides {name}")
    try:
        done = subprocess.run(
            [path, *map(str, argv[1:])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"},
            timeout=timeout,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise IoError(f"{name} did not end within {timeout:.0f} s", code="tool-hung") from error
    if done.returncode not in accept:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise IoError(
            f"{name} ended with status {done.returncode}" + (f": {said[-1]}" if said else ""), code="tool-failed"
        )
    return Completed(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


def run_cancellable(argv: Sequence[str | Path], cancel: threading.Event) -> Completed:
    """Run a tool that may take hours and say very much: what it printed is one text, its middle left out if need be.

    It is killed once `cancel` is set, and dies with this process. Raises CancelledError,
    or IoError where it is not installed (code "no-tool").
    """
    name = str(argv[0])
    path, guard = find_tool(name), find_tool("setpriv")
    if path is None:
        raise IoError(f"{name} is not installed", code="no-tool", hint=f"install the package that provides {name}")
    tool = subprocess.Popen(
        [*([guard, "--pdeathsig", "KILL"] if guard else []), path, *map(str, argv[1:])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"},
    )
    with tool:
        try:
            said = _listen(tool, cancel)
        except BaseException:
            tool.kill()
            raise
    return Completed(status=tool.returncode, stdout=said.decode(errors="replace"), stderr="")


def _listen(tool: "subprocess.Popen[bytes]", cancel: threading.Event) -> bytes:
    """The first and the last of what a tool says, up to its end; raises CancelledError once `cancel` is set."""
    assert tool.stdout is not None
    fd, poll = tool.stdout.fileno(), select.poll()
    poll.register(fd, select.POLLIN)
    head, tail = b"", b""
    while True:
        if cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        if not poll.poll(_LOOK_EVERY):
            continue
        data = os.read(fd, _MOST_SAID)
        if not data:
            return head + tail
        room = _MOST_SAID - len(head)
        head += data[:room]
        tail = (tail + data[room:])[-_MOST_SAID:]


def spawn_worker(job: Path, log: Path) -> None:
    """Start the worker of a job in a session of its own, so that it outlives the screen that asked for it.

    Under systemd, as root, in a transient unit, because the end of a service would take its other processes along.
    """
    argv = [sys.executable, "-m", "imaging.worker", str(job)]
    if os.geteuid() == 0 and Path("/run/systemd/system").is_dir() and find_tool("systemd-run"):
        # Relative to the present folder where the program runs from a checkout.
        path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        unit = ["systemd-run", "--quiet", "--collect", f"--unit=rescue-job-{job.name}", f"--setenv=PYTHONPATH={path}"]
        kept = [f"--setenv={name}={os.environ[name]}" for name in _INHERITED if os.environ.get(name)]
        run([*unit, *kept, f"--property=StandardError=append:{log}", "--", *argv])
        return
    with log.open("ab") as out:
        worker = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join([p or str(Path.cwd()) for p in sys.path])},
            start_new_session=True,
        )
    # Nobody else waits for it, and a process that ended but was not waited for looks alive to others.
    threading.Thread(target=worker.wait, daemon=True).start()


def shell() -> None:
    """Run an interactive shell on this terminal and wait for its end."""
    subprocess.run([os.environ.get("SHELL") or "/bin/bash", "-l"], check=False)


def reboot() -> None:
    """Restart this computer."""
    run(["systemctl", "reboot"])


def power_off() -> None:
    """Switch this computer off."""
    run(["systemctl", "poweroff"])
