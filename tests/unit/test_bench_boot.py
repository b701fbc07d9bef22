"""The table of a boot's times: what comes over the line is found by its time, and rounds by their medians."""

from collections.abc import Iterator

import pytest

from tests.bench import boot


class Pieces:
    """A line on which these pieces come."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    def send(self, s: str) -> int:
        return len(s)

    def read_nonblocking(self, size: int, timeout: float) -> bytes:
        assert size and timeout
        return next(self._pieces)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second passes between any two looks at the clock."""
    ticks = iter(range(1, 100))
    monkeypatch.setattr("tests.bench.boot.time.monotonic", lambda: float(next(ticks)))
    yield


@pytest.mark.usefixtures("clock")
def test_words_are_found_where_their_last_piece_came() -> None:
    line = boot.TimedLine(Pieces(b"GNU", b" GR", b"UB", b"GNU GRUB"))
    for _ in range(4):
        line.read_nonblocking(10, timeout=1)
    assert line.first(b"GNU GRUB") == 3.0
    assert line.first(b"GNU GRUB", after=3.0) == 4.0
    with pytest.raises(LookupError, match="Textual"):
        line.first(b"Textual")


def test_the_table_tells_the_median_of_the_rounds_and_its_share() -> None:
    rounds = [
        boot.Boot(stages={"kernel": kernel, "all": 10.0}, units=[f"{kernel} s x.service"], imports=[])
        for kernel in (4.0, 2.0, 3.0)
    ]
    table = boot.render(rounds)
    assert "| kernel | 3.0 | 30 % |" in table
    assert "3.0 s x.service" in table and "Imports" not in table
