"""The terminal is given back as it was, however the application ends, and whatever its line does."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rescue.console import size
from tests.app.judge import Terminal

ROOT = Path(__file__).parents[2]
LONG = 180.0


class Session:
    """The application in a process, at the end of a pseudo-terminal."""

    def __init__(self, *words: str, term: str = "vt220", size_: tuple[int, int] = (80, 24)) -> None:
        self.theirs, ours = pty.openpty()
        size.tell(ours, size_)
        self.before = termios.tcgetattr(ours)
        self.ours = ours
        self.screen = Terminal(*size_)
        self.heard = b""
        environ = {**os.environ, "TERM": term, "RESCUE_STATE": "/nonexistent"}
        # A busy machine may take a while between two bytes of a sequence.
        environ["ESCDELAY"] = "2000"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.app.played", *words],
            cwd=ROOT,
            stdin=ours,
            stdout=ours,
            stderr=ours,
            env=environ,
            start_new_session=True,
        )

    def look(self, seconds: float = 0.1) -> None:
        """Take what comes, and answer no question."""
        if select.select([self.theirs], [], [], seconds)[0]:
            try:
                data = os.read(self.theirs, 65536)
            except OSError:
                return
            self.heard += data
            self.screen.feed(data)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Look until it holds."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.screen.screen.display)
            self.look()

    def wait_for(self, words: str) -> None:
        """Look until these words are on the screen."""
        self.wait(lambda: words in "\n".join(self.screen.screen.display))

    def press(self, keys: bytes) -> None:
        """Keys."""
        os.write(self.theirs, keys)

    def ended(self) -> bool:
        """Whether the process has."""
        return self.process.poll() is not None

    def clean(self) -> bool:
        """Whether the terminal is as it was: its settings, the pen, the cursor, the screen."""
        said = self.heard[-60:]
        return (
            termios.tcgetattr(self.ours) == self.before
            and all(word in said for word in (b"\x1b[m", b"\x1b(B\x0f", b"\x1b[?7h", b"\x1b[?25h"))
            and not "".join(self.screen.screen.display).strip()
        )

    def close(self) -> None:
        """Leave nothing behind."""
        if not self.ended():
            self.process.kill()
        self.process.wait()
        for fd in (self.theirs, self.ours):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def session() -> Iterator[Session]:
    """The menu on a serial line's terminal."""
    here = Session()
    here.wait_for("Restore an image")
    yield here
    here.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(session: Session, number: signal.Signals) -> None:
    session.process.send_signal(number)
    session.wait(session.ended)
    assert session.process.returncode == 128 + number
    session.wait(session.clean)


def test_leaving_gives_the_terminal_back(session: Session) -> None:
    session.press(b"q")
    session.wait_for("Leave Rescue?")
    session.press(b"y")
    session.wait(session.ended)
    assert session.process.returncode == 0
    session.wait(session.clean)


def test_a_line_that_hangs_up_ends_the_screen(session: Session) -> None:
    os.close(session.theirs)
    session.theirs = -1
    session.process.wait(LONG)
    assert session.process.returncode == 128 + signal.SIGHUP


def test_a_line_that_takes_nothing_keeps_nobody_from_ending(session: Session) -> None:
    # Nobody reads any more, and what is drawn again and again fills every queue.
    session.press(b"\x0c" * 200)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and not select.select([], [session.theirs], [], 0.1)[1]:
        pass
    session.process.send_signal(signal.SIGTERM)
    session.process.wait(LONG)
    assert session.process.returncode == 128 + signal.SIGTERM
    assert termios.tcgetattr(session.ours) == session.before


def test_noise_on_the_line_is_no_reason_to_end(session: Session) -> None:
    session.press(b"\xff\xfe\x80\xc3\x28")
    session.press(b"9")
    session.wait_for("Restart the computer?")
    assert not session.ended()


def test_after_the_shell_all_is_drawn_again(session: Session) -> None:
    session.press(b"s")
    session.wait(lambda: b"in the shell" in session.heard)
    session.wait_for("Restore an image")
    session.press(b"9")
    session.wait_for("Restart the computer?")


@pytest.mark.parametrize("what", ["screen", "output", "input"])
def test_an_error_in_the_program_gives_the_terminal_back_without_a_traceback(what: str) -> None:
    here = Session(f"--{what}-fails")
    try:
        here.wait_for("Restore an image")
        here.press(b"9")
        here.wait_for("Restart the computer?")
        here.press(b"y")
        if what == "input":
            here.wait(lambda: "Restart the computer?" not in "\n".join(here.screen.screen.display))
            here.press(b" ")
        here.wait(here.ended)
        assert here.process.returncode == 1
        assert b"Traceback" not in here.heard
        assert b"ValueError" not in here.heard
        here.wait(here.clean)
    finally:
        here.close()


def test_a_terminals_answers_are_no_keys_and_a_late_one_gives_the_size(session: Session) -> None:
    # Garbage, and answers to questions that nobody asked: as keys, they would open something.
    session.press(b"\x1b[;R\x1b[?1;2c\x1b[0;0R\x1b[99999;99999R\x1b[3R\x1b[?25;1$y\x1b[>0;276;0c")
    session.press(b"\x1b[50;132R")
    asked = session.heard.count(b"\x1b[6n")
    session.press(b"\x0c")
    session.wait(lambda: session.heard.count(b"\x1b[6n") > asked)
    assert size.told(session.ours) == (80, 24)
    # The answer comes later than PATIENCE, byte by byte, among keys.
    until = time.monotonic() + 2 * size.PATIENCE
    session.wait(lambda: time.monotonic() > until)
    session.screen.resize(100, 30)
    for byte in b"\x1b[B\x1b[30;100R\x1b[A":
        session.press(bytes([byte]))
    session.wait(lambda: size.told(session.ours) == (100, 30))
    session.wait(lambda: "Esc" in session.screen.screen.display[-1] or "help" in session.screen.screen.display[-1])
    session.press(b"\x0c")
    session.wait(lambda: session.heard.count(b"\x1b[6n") > asked + 1)
    session.screen.resize(70, 21)
    session.press(b"\x1b[21;70R")
    session.wait(lambda: size.told(session.ours) == (70, 21))
    session.wait(lambda: "help" in session.screen.screen.display[20])
    session.wait_for("Restore an image")
    assert not session.ended()


def test_the_screen_lives_on_after_floods_of_keys_and_a_stopped_line(session: Session) -> None:
    session.press(b"\x13")
    session.press(bytes(range(0x80, 0x100)) * 8 + b"\x1b[B\x1b[A\x1b" * 300)
    for number in range(30):
        size.tell(session.ours, (60 + number, 20 + number % 9))
    size.tell(session.ours, (80, 24))
    session.press(b"\x11\x1b")
    session.wait_for("Restore an image")
    session.press(b"\x0c9")
    session.wait_for("Restart the computer?")


def ended(words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    """A process of these words, with a standard output that takes nothing."""
    with Path("/dev/full").open("w") as full:
        return subprocess.run(
            [sys.executable, "-c", f"from rescue import app\n{words}"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "", **changes},
            text=True,
            check=False,
        )


def test_output_that_nobody_takes_does_not_change_the_status() -> None:
    assert ended("print('words')\napp.leave(129)").returncode == 129


def test_what_is_to_be_done_at_the_end_is_done(tmp_path: Path) -> None:
    made = tmp_path / "made"
    at_end = f"import atexit, pathlib\natexit.register(pathlib.Path({str(made)!r}).touch)\napp.leave(0)"
    assert ended(at_end).returncode == 0
    assert made.exists()


def test_a_thread_that_waits_for_a_disk_keeps_nobody_from_ending() -> None:
    waits = "import threading\nthreading.Thread(target=threading.Event().wait).start()\napp.leave(7)"
    assert ended(waits).returncode == 7


def test_a_crash_of_python_itself_is_written_where_errors_of_the_screens_are(tmp_path: Path) -> None:
    crash = "import os, signal\napp.have_crashes_written()\nos.kill(os.getpid(), signal.SIGSEGV)"
    assert ended(crash, RESCUE_STATE=str(tmp_path)).returncode == -signal.SIGSEGV
    assert "Segmentation fault" in (tmp_path / "screen.log").read_text()
    assert not ended("app.have_crashes_written()\napp.leave(0)", RESCUE_STATE=str(tmp_path / "none")).stderr
