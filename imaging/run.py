"""The only module that starts processes: argument lists, no shell, closed input, the C locale."""

import io
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from imaging.errors import CancelledError, IoError

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where disk tools live on Debian; not on an ordinary user's PATH."""

_MOST_SAID = 32 << 10
"""Bytes that are kept of the beginning, and as many of the end, of what a tool says."""
_MOST_TOLD = 4 << 10
"""Bytes of the end of what a filter says that its last line is looked for in."""
_GRACE = 1.0
"""Seconds in which a tool that was killed ends, unless the kernel holds it."""
_LOOK_EVERY = 100
"""Milliseconds between two looks whether a tool is still wanted."""
_INHERITED = ("RESCUE_STATE", "RESCUE_LIVE", "RESCUE_CONFIG")
"""What a worker has to know of its caller's environment; a transient unit inherits none of it."""
_MODEST = ("--nice=19", "--property=CPUSchedulingPolicy=batch", "--property=IOSchedulingPriority=7")
"""What a worker is given that nobody waits for ($RESCUE_MODEST).

Not the idle classes: on a busy computer these wait for ever, while its snapshots fill and its /boot is frozen.
"""
_SCOPE = ("systemd-run", "--scope", "--quiet", "--collect", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a tool ended."""

    status: int
    stdout: str
    stderr: str


def find_tool(name: str) -> str | None:
    """The path of a tool, looked for on PATH and in the system folders; None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SBIN))


def _tool(name: str) -> str:
    """The path of a tool; raises IoError where it is not installed."""
    path = find_tool(name)
    if path is None:
        raise IoError(f"{name} is not installed", code="no-tool", hint=f"install the package that provides {name}")
    return path


def _failed(name: str, status: int, words: str) -> IoError:
    """The error of a tool that did not end well, with the last of what it said: mount's own last line says nothing."""
    said = [line.strip() for line in words.strip().splitlines() if "dmesg(1)" not in line]
    return IoError(f"{name} ended with status {status}" + (f": {said[-1]}" if said else ""), code="tool-failed")


def run(
    argv: Sequence[str | Path],
    *,
    accept: Sequence[int] = (0,),
    timeout: float | None = None,
    secret: str | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    keep: Sequence[int] = (),
    outlive: bool = False,
) -> Completed:
    """Run a tool to its end and return what it printed.

    With `outlive`, what it leaves running does not end with the service that this process belongs to.

    `keep` are descriptors that the tool gets, too: a file without a name is `/proc/self/fd/N` to it.
    `secret` is its standard input, which nobody else can see, unlike arguments. Raises IoError where it is not
    installed (code "no-tool"), ends with a status that is not in `accept` ("tool-failed") or takes longer than
    `timeout` seconds ("tool-hung").
    """
    name = str(argv[0])
    path = _tool(name)
    tool = subprocess.Popen(
        [*(_SCOPE if outlive and _under_systemd() else ()), path, *map(str, argv[1:])],
        stdin=subprocess.DEVNULL if secret is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", **environment},
        pass_fds=keep,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        stdout, stderr = tool.communicate(secret, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _give_up(tool)
        raise IoError(f"{name} did not end within {timeout:.0f} s", code="tool-hung") from error
    except BaseException:
        _give_up(tool)
        raise
    if tool.returncode not in accept:
        raise _failed(name, tool.returncode, stderr or stdout)
    return Completed(status=tool.returncode, stdout=stdout, stderr=stderr)


def _give_up(tool: "subprocess.Popen[str]") -> None:
    """Kill a tool, and wait a moment for its end: one that waits for a device ends only when that answers."""
    tool.kill()
    for end in (tool.stdin, tool.stdout, tool.stderr):
        if end is not None:
            with suppress(OSError):
                end.close()
    try:
        tool.wait(_GRACE)
    except subprocess.TimeoutExpired:
        threading.Thread(target=tool.wait, daemon=True).start()


def run_cancellable(argv: Sequence[str | Path], cancel: threading.Event, *, timeout: float = float("inf")) -> Completed:
    """Run a tool that may take hours and say very much: what it printed is one text, its middle left out if need be.

    It is killed once `cancel` is set, and dies with this process. Raises CancelledError, or IoError where it is not
    installed (code "no-tool") or takes longer than `timeout` seconds ("tool-hung").
    """
    head, tail = b"", b""
    with _guarded(argv, stderr=subprocess.STDOUT) as tool:
        for data, _ in _listen(tool, str(argv[0]), cancel, timeout):
            room = _MOST_SAID - len(head)
            head += data[:room]
            tail = (tail + data[room:])[-_MOST_SAID:]
    return Completed(status=tool.returncode, stdout=(head + tail).decode(errors="replace"), stderr="")


def heard(
    argv: Sequence[str | Path], cancel: threading.Event, *, timeout: float = float("inf"), memory: int = 0
) -> Iterator[bytes]:
    """What a tool prints, as it comes, however much that is; with `memory` it has so many bytes and no more.

    It ends with whoever listens. Raises as `run_cancellable`, and IoError (code "tool-failed") where it does not end
    well.
    """
    name, told = str(argv[0]), b""
    limit = [path, f"--as={memory}"] if memory and (path := find_tool("prlimit")) else []
    with _guarded(argv, stderr=subprocess.PIPE, limit=limit) as tool:
        for data, complains in _listen(tool, name, cancel, timeout):
            if complains:
                told = (told + data)[-_MOST_TOLD:]
            else:
                yield data
    if tool.returncode:
        raise _failed(name, tool.returncode, told.decode(errors="replace"))


@contextmanager
def _guarded(
    argv: Sequence[str | Path], *, stderr: int, limit: Sequence[str] = ()
) -> "Iterator[subprocess.Popen[bytes]]":
    """A tool that is killed where the context does not come to its end, and that dies with this process."""
    path, guard = _tool(str(argv[0])), find_tool("setpriv")
    tool = subprocess.Popen(
        [*([guard, "--pdeathsig", "KILL"] if guard else []), *limit, path, *map(str, argv[1:])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"},
    )
    with tool:
        try:
            yield tool
        except BaseException:
            tool.kill()
            raise


def _listen(
    tool: "subprocess.Popen[bytes]", name: str, cancel: threading.Event, timeout: float
) -> Iterator[tuple[bytes, bool]]:
    """What a tool says up to its end, and whether as a complaint; raises CancelledError, IoError where it is late."""
    open_, poll = {out.fileno(): out is tool.stderr for out in (tool.stdout, tool.stderr) if out}, select.poll()
    for fd in open_:
        poll.register(fd, select.POLLIN)
    end = time.monotonic() + timeout
    while open_:
        if cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        if time.monotonic() > end:
            raise IoError(f"{name} did not end within {timeout:.0f} s", code="tool-hung")
        for fd, _ in poll.poll(_LOOK_EVERY):
            data = os.read(fd, _MOST_SAID)
            if data:
                yield data, open_[fd]
            else:
                poll.unregister(fd)
                del open_[fd]


class Filter:
    """What comes out of tools that read from one another; use `filtered`."""

    def __init__(self, names: Sequence[str], tools: "Sequence[subprocess.Popen[bytes]]", told: IO[bytes]) -> None:
        """Take the running tools, by name, and the file that all of them complain into."""
        self._names, self._tools, self._told = names, tools, told

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end alone. Raises IoError (code "tool-failed") where a tool did not end well."""
        out = self._tools[-1].stdout
        assert out is not None
        data = out.read(size)
        if len(data) < size:
            self._refuse_failure()
        return data

    def refuse_if_ended(self) -> None:
        """Raise IoError where the last tool, which is to serve, does not run any more."""
        if self._tools[-1].poll() is not None:
            self._refuse_failure()
            raise IoError(f"{self._names[-1]} ended too early", code="tool-failed")

    def _refuse_failure(self) -> None:
        """The first in the row knows best: those after it read what was cut short."""
        for name, tool in zip(self._names, self._tools, strict=True):
            if tool.wait():
                self._told.seek(max(0, self._told.seek(0, os.SEEK_END) - _MOST_TOLD))
                raise _failed(name, tool.returncode, self._told.read().decode(errors="replace"))


@contextmanager
def filtered(source: int | None, *commands: Sequence[str | Path]) -> Iterator[Filter]:
    """Run tools, each of which reads what the one before writes, the first from the descriptor `source`.

    They are killed at the end of the context, and die with this process. Raises IoError where one is not installed
    (code "no-tool").
    """
    guard = find_tool("setpriv")
    tools: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        told = stack.enter_context(tempfile.TemporaryFile())
        stack.callback(_end, tools)
        for argv in commands:
            path = _tool(str(argv[0]))
            before = tools[-1].stdout if tools else None
            tool = subprocess.Popen(
                [*([guard, "--pdeathsig", "KILL"] if guard else []), path, *map(str, argv[1:])],
                stdin=before or (subprocess.DEVNULL if source is None else source),
                stdout=subprocess.PIPE,
                stderr=told,
                env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"},
            )
            tools.append(tool)
            if before is not None:
                before.close()  # else the one before would not notice that this one has ended
        yield Filter([str(argv[0]) for argv in commands], tools, told)


def _end(tools: "Sequence[subprocess.Popen[bytes]]") -> None:
    for tool in tools:
        tool.kill()
    for tool in tools:
        if tool.stdout is not None:
            tool.stdout.close()
        tool.wait()


class Server:
    """A tool that serves until it is told to end; use `serving`."""

    def __init__(self, name: str, tool: "subprocess.Popen[bytes]", told: IO[bytes]) -> None:
        """Take the running tool, and the file that it complains into."""
        self._name, self._tool, self._told = name, tool, told
        self.pid = tool.pid

    def refuse_if_ended(self) -> None:
        """Raise IoError (code "tool-failed") where it does not run any more."""
        if self._tool.poll() is not None:
            raise self._failure()

    def end(self) -> None:
        """Ask it to end, and wait until it has, however long that takes; raises IoError where it does not end well."""
        self._tool.terminate()
        if self._tool.wait():
            raise self._failure()

    def _failure(self) -> IoError:
        self._told.seek(max(0, self._told.seek(0, os.SEEK_END) - _MOST_TOLD))
        return _failed(self._name, self._tool.returncode, self._told.read().decode(errors="replace"))


@contextmanager
def serving(argv: Sequence[str | Path], name: str) -> Iterator[Server]:
    """A tool that is asked to end with the context (SIGTERM), and dies with this process; errors call it `name`.

    Raises IoError where it is not installed (code "no-tool") or does not end well ("tool-failed").
    """
    guard = find_tool("setpriv")
    path = _tool(str(argv[0]))
    with tempfile.TemporaryFile() as told:
        tool = subprocess.Popen(
            [*([guard, "--pdeathsig", "KILL"] if guard else []), path, *map(str, argv[1:])],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"},
            start_new_session=True,
        )
        server = Server(name, tool, told)
        try:
            yield server
        except BaseException:
            with suppress(IoError):
                server.end()
            raise
        server.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A process beside this one: what it is told and what it says."""

    told: IO[bytes]
    said: IO[bytes]


def start_beside(module: str, hands: socket.socket | None = None) -> Beside:
    """Start one of imaging's modules as a process that ends when `told` is closed; raises IoError.

    In a session of its own: what ends this process, and all others on its terminal, must not cut it off in the middle.
    With `hands` its output is that socket, over which it can hand descriptors; nothing is `said` then.
    """
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if hands is None else hands.fileno(),
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_own_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise IoError(f"no process can be started: {error.strerror}", code="no-worker") from error
    assert process.stdin is not None
    threading.Thread(target=process.wait, daemon=True).start()
    return Beside(told=process.stdin, said=process.stdout or io.BytesIO())


def _own_environment() -> dict[str, str]:
    """So that a process that does not start in this folder finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([p or str(Path.cwd()) for p in sys.path])}


_UNITS = Path("/sys/fs/cgroup/system.slice")
"""Where the kernel shows systemd's units for as long as they have a process."""


def _unit(job: Path) -> str:
    return f"rescue-job-{job.name}"


def is_spawned(job: Path) -> bool:
    """Whether the worker of a job is there, where it is a unit; a slow machine takes a minute to begin with it."""
    return (_UNITS / f"{_unit(job)}.service").is_dir()


def _under_systemd() -> bool:
    """Whether processes can be given a place of their own."""
    return os.geteuid() == 0 and Path("/run/systemd/system").is_dir() and find_tool("systemd-run") is not None


def spawn_worker(job: Path, log: Path) -> None:
    """Start the worker of a job in a session of its own, so that it outlives the screen that asked for it.

    Under systemd, as root, in a transient unit, because the end of a service would take its other processes along.
    """
    argv = [sys.executable, "-m", "imaging.worker", str(job)]
    if _under_systemd():
        # Relative to the present folder where the program runs from a checkout.
        path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        unit = ["systemd-run", "--quiet", "--collect", f"--unit={_unit(job)}", f"--setenv=PYTHONPATH={path}"]
        kept = [f"--setenv={name}={os.environ[name]}" for name in _INHERITED if os.environ.get(name)]
        modest = _MODEST if os.environ.get("RESCUE_MODEST") else ()
        run([*unit, *kept, *modest, f"--property=StandardError=append:{log}", "--", *argv])
        return
    with log.open("ab") as out:
        worker = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=_own_environment(),
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
