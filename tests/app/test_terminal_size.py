"""How large a terminal is that does not tell, and how quick its line."""

import os
import pty
import termios
from collections.abc import Iterator
from threading import Thread

import pytest

from rescue.console import size
from rescue.console.line import Kind, TerminalLine, bytes_per_second, kind
from rescue.console.pacer import Pacer


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal: the person's, and ours."""
    theirs, ours = pty.openpty()
    yield theirs, ours
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize(
    ("heard", "answer", "keys"),
    [
        (b"\x1b[1;2R\x1b[50;132R", size.Answer(size=(132, 50), utf8=True), b""),
        (b"\x1b[1;3R\x1b[24;80R", size.Answer(size=(80, 24)), b""),
        (b"x\x1b[24;80Ry", size.Answer(size=(80, 24)), b"xy"),
        (b"\x1b[1;2R", size.Answer(), b""),
        (b"\x1b[3;80R", size.Answer(), b""),
        (b"\x1b[24;99999R", size.Answer(), b""),
        (b"", size.Answer(), b""),
    ],
)
def test_answers_of_a_terminal_are_told_from_keys_and_noise(heard: bytes, answer: size.Answer, keys: bytes) -> None:
    assert size.understand(heard) == (answer, keys)


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        ("quiet rescue.console=ttyS0,132x50 console=ttyS0,9600", (132, 50)),
        ("rescue.console=/dev/ttyS0,80x24", (80, 24)),
        ("rescue.console=ttyS0,57600,80x24", (80, 24)),
        ("rescue.console=ttyS0,57600", None),
        ("rescue.console=ttyS1,132x50", None),
        ("rescue.console=ttyS0,80x3", None),
        ("rescue.console=ttyS0", None),
        ("quiet", None),
    ],
)
def test_the_kernels_command_line_gives_a_size(command_line: str, expected: tuple[int, int] | None) -> None:
    assert size.ordered(command_line, "ttyS0") == expected


def test_a_line_without_a_size_gets_that_of_its_terminal(ends: tuple[int, int]) -> None:
    theirs, ours = ends

    def answer() -> None:
        heard = b""
        while heard.count(b"\x1b[6n") < 2:
            heard += os.read(theirs, 100)
        os.write(theirs, b"\x1b[1;2R\x1b[43;132R")

    terminal = Thread(target=answer)
    terminal.start()
    assert size.settle(ours)
    terminal.join()
    assert size.told(ours) == (132, 43)


def test_a_mute_terminal_has_80_columns_and_24_rows(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size.ask, "__defaults__", (0.01,))
    assert not size.settle(ends[1])
    assert size.told(ends[1]) == (80, 24)


def test_a_size_that_the_line_knows_stays(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size.ask, "__defaults__", (0.01,))
    size.tell(ends[1], (100, 30))
    size.settle(ends[1])
    assert size.told(ends[1]) == (100, 30)


def test_a_pseudo_terminal_has_no_speed(ends: tuple[int, int]) -> None:
    assert kind(ends[1]) is Kind.PTY
    assert bytes_per_second(ends[1]) is None


def test_writing_to_a_line_that_nobody_reads_never_waits(ends: tuple[int, int]) -> None:
    line = TerminalLine(ends[1])
    written = 0
    while count := line.write(b"x" * 4096):
        written += count
    assert written > 0
    line.discard()
    assert line.write(b"last words") == len(b"last words")
    line.close()


def test_writing_to_a_line_that_was_stopped_with_ctrl_s_never_waits(ends: tuple[int, int]) -> None:
    attributes = termios.tcgetattr(ends[1])
    attributes[0] |= termios.IXON
    termios.tcsetattr(ends[1], termios.TCSANOW, attributes)
    line = TerminalLine(ends[1])
    termios.tcflow(ends[1], termios.TCOOFF)
    assert line.write(b"x") == 0
    termios.tcflow(ends[1], termios.TCOON)
    assert line.write(b"x") == 1
    line.close()


def test_a_burst_is_a_tenth_of_a_second_of_the_line() -> None:
    pacer = Pacer(960.0)
    assert pacer.burst == 96
    assert pacer.wait(10.0, 0) == 0
    pacer.sent(10.0, 96)
    assert 0.05 < pacer.wait(10.0, 96) < 0.1
    assert pacer.wait(10.08, 0) == 0
    assert pacer.wait(10.08, 100) > 0, "what the kernel still holds counts, too"
    assert Pacer(None).burst is None
    assert Pacer(None).wait(0.0, 10**6) == 0
