"""Starts `rescue` and its workers by forking a process that has imported them: Python takes longer than most of them.

What runs is the command, in a process of its own with its own environment, folder and files; only its command line, as
other processes see it, is not its own.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from imaging import jobs, worker
from imaging.run import spawn_worker
from rescue.cli import main

ROOT = Path(__file__).parent.parent

Files = tuple[IO[bytes], IO[bytes], IO[bytes]]

_WORDS = 1 << 20
"""Bytes of an order at most: words, environment and folder."""


class Starter:
    """The process that forks, and the line to it."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WORDS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.starter", str(theirs.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def close(self) -> None:
        """It ends with the line to it."""
        self._line.close()
        self._process.wait()

    def begin(self, order: dict[str, object], files: Files) -> int:
        """Have a process begin with this environment, in this folder, and these files as 0, 1 and 2; its process id."""
        mask = os.umask(0)
        os.umask(mask)
        whole = {"folder": str(Path.cwd()), "environ": dict(os.environ), "umask": mask, **order}
        socket.send_fds(self._line, [json.dumps(whole).encode()], [file.fileno() for file in files])
        return int(self._line.recv(32))

    def wait(self, timeout: float | None = None) -> int:
        """The exit status of what has begun; TimeoutError where it takes longer."""
        self._line.settimeout(timeout)
        try:
            return int(self._line.recv(32))
        finally:
            self._line.settimeout(None)


_free: list[Starter] = []


def run(words: list[str], files: Files, timeout: float) -> int:
    """Run `rescue` with these words, its standard input, output and error in files; its exit status."""
    starter = _free.pop() if _free else Starter()
    try:
        pid = starter.begin({"words": words}, files)
        try:
            return starter.wait(timeout)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            starter.wait()
            raise subprocess.TimeoutExpired(["rescue", *words], timeout) from None
    finally:
        _free.append(starter)


def begin_worker(job: Path, log: Path) -> None:
    """Begin a worker as imaging.run does, for a job that a test submits by itself."""
    starter = _free.pop() if _free else Starter()
    with Path(os.devnull).open("rb") as nothing, log.open("ab") as out:
        starter.begin({"job": str(job), "folder": "/"}, (nothing, out, out))

    def reap() -> None:
        starter.wait()
        _free.append(starter)

    threading.Thread(target=reap, daemon=True).start()


@atexit.register
def close() -> None:
    """None outlives the tests."""
    for starter in _free:
        starter.close()


def serve(line: socket.socket) -> dict[str, Any]:
    """Fork for each order that comes; returns it in the child, ready to carry it out, or ends with the line."""
    gc.freeze()  # or each child would visit, and so copy, all that was imported when it ends
    while True:
        order, files, _, _ = socket.recv_fds(line, _WORDS, 3)
        if not order:
            sys.exit()
        if not (pid := os.fork()):
            line.close()
            what: dict[str, Any] = json.loads(order)
            _become(what, files)
            return what
        for file in files:
            os.close(file)
        line.send(b"%d" % pid)
        line.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _become(order: dict[str, Any], files: list[int]) -> None:
    """Take on the surroundings that were ordered."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["folder"])
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()


def _rescue(words: list[str]) -> int:
    sys.argv = ["rescue", *words]
    jobs.spawn_worker = _fork_worker  # type: ignore[attr-defined]
    return main()


def _work(job: str) -> int:
    Path("/proc/self/comm").write_text("imaging.worker")  # which a command line would have
    return worker.main(["worker", job])


def _fork_worker(job: Path, log: Path) -> None:
    """As imaging.run has it, but forked; not beside threads of a library, which a fork would leave behind."""
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        spawn_worker(job, log)
    elif pid := os.fork():
        threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()
    else:
        status = 1
        try:
            _leave_all_behind(log)
            status = _work(str(job))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _leave_all_behind(log: Path) -> None:
    """Of the process that was forked, neither files nor locks; what follows is said in the log."""
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for file in {int(link.name) for link in Path("/proc/self/fd").iterdir()} - {nothing}:
        with suppress(OSError):  # the list's own
            os.fstat(file)
            os.dup2(nothing, file)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(out, 1)
    os.dup2(out, 2)


if __name__ == "__main__":
    order = serve(socket.socket(fileno=int(sys.argv[1])))
    if "job" in order:
        os.setsid()
        sys.exit(_work(order["job"]))
    sys.exit(_rescue(order["words"]))
