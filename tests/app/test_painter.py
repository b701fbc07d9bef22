"""What is sent makes the terminal show what the application meant, with pyte as the judge."""

import random
import re

import pytest

from rescue.console.canvas import Canvas
from rescue.console.cells import Frame
from rescue.console.dialect import Dialect, Look, Mode, dialect
from rescue.console.painter import Painter, reset
from tests.app.judge import Terminal

SERIAL = dialect(Mode.SERIAL, "vt220", Look.PLAIN)
DIALECTS = {
    "vt100": dialect(Mode.SERIAL, "vt100", Look.PLAIN),
    "vt220": SERIAL,
    "ansi": dialect(Mode.SERIAL, "ansi", Look.PLAIN),
    "vt100, rich": dialect(Mode.SERIAL, "vt100", Look.RICH),
    "vt220 with UTF-8, rich": dialect(Mode.SERIAL, "vt220", Look.RICH, utf8=True),
    "xterm with UTF-8, rich": dialect(Mode.SERIAL, "xterm-256color", Look.RICH, utf8=True),
    "linux": dialect(Mode.VGA, "linux", Look.PLAIN),
}


def paint(canvas: Canvas, dialect: Dialect) -> Frame:
    """The canvas as a frame of that dialect."""
    rows = tuple(dialect.row(row) for row in canvas.rows)
    return Frame(rows=rows, cursor=(min(canvas.x, canvas.columns - 1), canvas.y))


class Bench:
    """An application's bytes on two terminals: as they are, and through the painter."""

    def __init__(self, dialect: Dialect, columns: int = 80, rows: int = 24, limit: int | None = None) -> None:
        self.dialect = dialect
        self.canvas = Canvas(columns, rows)
        self.painter = Painter(dialect)
        self.stock = Terminal(columns, rows)
        self.ours = Terminal(columns, rows, utf8=dialect.utf8)
        self.limit = limit
        self.stock.feed(b"\x1b[?7l")

    def write(self, data: str) -> None:
        """The application writes."""
        self.canvas.feed(data)
        self.stock.feed(data.encode())

    def burst(self) -> int:
        """One burst; how many bytes it had."""
        said = self.painter.burst(paint(self.canvas, self.dialect), self.limit).encode()
        self.ours.feed(said)
        return len(said)

    def settle(self) -> int:
        """Send until all is shown; how many bytes that took."""
        before = self.ours.bytes
        frame = paint(self.canvas, self.dialect)
        while not self.painter.done(frame):
            assert self.burst()
        return self.ours.bytes - before

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size, and the application draws everything anew."""
        self.canvas.resize(columns, rows)
        self.stock.resize(columns, rows)
        self.ours.resize(columns, rows)

    def check(self) -> None:
        """Both terminals show the same, and the cursor stands in the same place."""
        for y, (expected, seen) in enumerate(
            zip(self.stock.seen(self.dialect), self.ours.seen(self.dialect), strict=True)
        ):
            assert seen == expected, f"row {y}"
        assert self.ours.cursor == self.stock.cursor


class Scribbler:
    """Draws at random, in the ways in which screens change."""

    WORDS = ("Restore", "sda", "sda2", "25 %", "100.0 GB", "   ", " " * 30, "─" * 12, "██▒░", "ä ö ß", "|", "Images")
    STYLES = ("0", "1", "7", "1;7", "4", "31", "31;44", "0;2", "97", "39;49", "30;47", "4;7", "93;101", "1;36")

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def step(self, bench: Bench) -> None:
        """One change of the screen."""
        chance = self.chance
        columns, rows = bench.canvas.columns, len(bench.canvas.rows)
        match chance.choice(("words", "words", "words", "digit", "fill", "box", "screen", "cursor", "resize")):
            case "words":
                for _ in range(chance.randint(1, 6)):
                    self.words(bench)
            case "digit":
                x, y = chance.randrange(columns), chance.randrange(rows)
                bench.write(f"\x1b[{y + 1};{x + 1}H\x1b[0m{chance.randint(0, 9)}")
            case "fill":
                top, bottom = sorted(chance.randrange(rows + 1) for _ in range(2))
                style, letter = chance.choice(self.STYLES), chance.choice("   .x")
                for y in range(top, bottom):
                    bench.write(f"\x1b[{y + 1};1H\x1b[{style}m{letter * columns}\x1b[0m")
            case "box":
                self.box(bench)
            case "screen":
                self.screen(bench)
            case "resize" if chance.random() < 0.2:
                bench.resize(chance.randint(20, 100), chance.randint(5, 40))
                self.screen(bench)
        x, y = chance.randrange(bench.canvas.columns), chance.randrange(len(bench.canvas.rows))
        bench.write(f"\x1b[{y + 1};{x + 1}H")

    def words(self, bench: Bench) -> None:
        """A few words somewhere, cut off where the row ends."""
        chance = self.chance
        x, y = chance.randrange(bench.canvas.columns), chance.randrange(len(bench.canvas.rows))
        words = "".join(chance.choice(self.WORDS) for _ in range(chance.randint(1, 4)))[: bench.canvas.columns - x]
        bench.write(f"\x1b[{y + 1};{x + 1}H\x1b[{chance.choice(self.STYLES)}m{words}\x1b[0m")

    def box(self, bench: Bench) -> None:
        """A dialogue."""
        chance = self.chance
        columns, rows = bench.canvas.columns, len(bench.canvas.rows)
        width, height = chance.randint(2, columns), chance.randint(2, rows)
        x, y = chance.randint(0, columns - width), chance.randint(0, rows - height)
        inner = width - 2
        lines = [f"╔{'═' * inner}╗", *[f"║{' ' * inner}║"] * (height - 2), f"╚{'═' * inner}╝"]
        for line in lines:
            bench.write(f"\x1b[{y + 1};{x + 1}H{line}")
            y += 1

    def screen(self, bench: Bench) -> None:
        """Another screen, every cell of it."""
        chance = self.chance
        columns = bench.canvas.columns
        for y in range(len(bench.canvas.rows)):
            words = "".join(chance.choice(self.WORDS) for _ in range(chance.choice((0, 0, 1, 4, 20))))
            line = words[:columns].ljust(columns)
            bench.write(f"\x1b[{y + 1};1H\x1b[{chance.choice(self.STYLES)}m{line}\x1b[0m")


@pytest.mark.parametrize("name", DIALECTS)
def test_random_screens_look_as_they_would_without_the_driver(name: str) -> None:
    scribbler = Scribbler(seed=len(name))
    for limit in (None, 96):
        bench = Bench(DIALECTS[name], limit=limit)
        for _ in range(100):
            scribbler.step(bench)
            if limit and scribbler.chance.random() < 0.5:
                # This frame is superseded before all of it was sent.
                bench.burst()
                continue
            bench.settle()
            bench.check()


SPOILT = b"\x1b(0\x1b)0\x0e\x1b[7;31m\x1b[5;9r\x1b[4h\x1b[20h\x1b[?7l\x1b[?6h\x1b[?25l\x1b[7;7Hrubbish"
"""What a program that was killed may leave: graphics, a pen, a scrolling region, insert mode and so on."""


@pytest.mark.parametrize("name", ["vt100", "vt220", "vt100, rich", "linux"])
def test_the_first_bytes_undo_what_was_left_behind(name: str) -> None:
    bench = Bench(DIALECTS[name])
    bench.ours.feed(SPOILT)
    bench.write("\x1b[3;4HImages of sda\x1b[12;1H" + "─" * 30 + "\x1b[24;1Hlast\x1b[24;80Hx\x1b[2;2H")
    assert bench.settle() < 250
    bench.check()
    modes = bench.ours.screen.mode
    left = {4, 20, 6 << 5} & modes
    assert (left, bench.ours.screen.margins, bench.ours.screen.cursor.hidden) == (set(), None, name.startswith("vt100"))


KNOWN = {
    "dumb": r"\x1b\[[\d;]*[ABCDHJKm]|\x1b\(B|\x0f|\x1b\[\?[67][hl]|\x1b\[r|\x1b\[4;20l",
    "ansi": r"\x1b\[[\d;]*[ABCDHJKXm]",
    "screen": r"\x1b\[[\d;]*[ABCDHJKm]|\x1b\(B|[\x0e\x0f]|\x1b\)0|\x1b\[\?(?:[67]|25)[hl]|\x1b\[r|\x1b\[4;20l",
}
KNOWN |= {
    "": KNOWN["dumb"],
    "pcansi": KNOWN["ansi"],
    "vt100": KNOWN["screen"].replace("|25", ""),
    "tmux": KNOWN["screen"],
}
"""By infocmp(1); a terminal of which nothing is known is taken for a VT100."""


@pytest.mark.parametrize("look", Look)
@pytest.mark.parametrize("term", KNOWN)
def test_nothing_is_sent_that_the_terminal_does_not_know(term: str, look: Look) -> None:
    here = dialect(Mode.SERIAL, term, look)
    painter, canvas, scribbler = Painter(here), Canvas(80, 24), Scribbler(seed=3)
    bench = Bench(here)
    said = reset(here)
    for _ in range(60):
        scribbler.step(bench)
        said += painter.burst(paint(bench.canvas, here))
    assert canvas.columns == 80
    assert re.sub(KNOWN[term] + r"|[\r\n\b]|[ -~]", "", said) == ""


@pytest.mark.parametrize("name", DIALECTS)
def test_columns_stay_right_beside_wide_and_combining_characters(name: str) -> None:
    bench = Bench(DIALECTS[name])
    # Labels: Chinese, Korean, decomposed and composed umlauts, an emoji with its variant, a cluster, a lone accent.
    for y, label in enumerate(
        ("数据盘", "한글", "u\u0308ber", "äöüß ÄÖÜ", "\u2764\ufe0f", "e\u0301\u0323", "\u0301x"), 2
    ):
        bench.write(f"\x1b[{y};1H{label}\x1b[{y};20H|end")
    bench.settle()
    shown = bench.ours.screen.display
    assert [line.rstrip()[-4:] for line in shown[1:8]] == ["|end"] * 7
    for y in range(1, 8):
        assert bench.ours.screen.buffer[y][19].data == "|"
    umlauts = shown[4].split("|")[0].rstrip()
    assert umlauts == ("äöüß ÄÖÜ" if bench.dialect.utf8 else "aous AOU")
    if not bench.dialect.utf8:
        assert shown[1].startswith("? ? ? ")


async def test_100_kilobytes_at_once_are_taken_and_cost_one_screen() -> None:
    bench = Bench(SERIAL)
    for part in range(1600):
        bench.canvas.feed(f"\x1b[{part % 24 + 1};1H\x1b[3{part % 8}m{part:<60}"[:70])
    assert 0 < bench.settle() < 2400
    bench.canvas.feed("\x1b[H" + "x" * 100_000 + "\x1b[")
    bench.canvas.feed("2J")
    bench.settle()
    assert not "".join(bench.ours.screen.display).strip()
