"""A disk drawn as a bar: proportional, readable whatever the table is, and always as wide as asked for."""

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from imaging.disk import Content, Partition, PartitionRole, PartitionTable, TableKind
from rescue.widgets.diskbar import LEAST_WIDTH, DiskBar, bar
from tests.app.disks import EMPTY, GB, SDA, SDB, make_disk
from tests.app.images import make_imaged_disk

GLYPHS = frozenset(string.ascii_letters + string.digits + string.punctuation + " │║░▒")


def part(
    number: int, start: int, size: int, kind: str = "ext4", role: PartitionRole = PartitionRole.PRIMARY, label: str = ""
) -> Partition:
    """A partition, in GB."""
    content = Content(kind=kind, label=label)
    return Partition(number=number, start=start * GB, size=size * GB, type="83", role=role, content=content)


def table(*partitions: Partition, kind: TableKind = TableKind.GPT) -> PartitionTable:
    """A table of these."""
    return PartitionTable(kind=kind, partitions=partitions)


EXTENDED = table(
    part(1, 0, 100, "ntfs", label="Windows"),
    part(2, 100, 300, "", PartitionRole.EXTENDED),
    part(5, 100, 100, role=PartitionRole.LOGICAL, label="root"),
    part(6, 200, 8, "swap", PartitionRole.LOGICAL),
    part(3, 400, 50, label="home"),
    kind=TableKind.MBR,
)


def test_a_usual_disk_shows_its_partitions_with_number_content_and_size() -> None:
    (line,) = bar(SDA, 60)
    assert line.startswith('│1 EFI│2 ext4 "debian" 499.5 GB ')
    assert line.endswith("│")
    assert len(line) == 60


def test_widths_are_proportional_and_small_ones_stay_readable() -> None:
    (line,) = bar(make_disk(table=table(part(1, 0, 1), part(2, 1, 249), part(3, 250, 250))), 78)
    small, middle, large = line.strip("│").split("│")
    assert small == "1 ext4"
    assert abs(len(middle) - len(large)) <= 2


def test_free_space_is_shown_and_gaps_of_alignment_are_not() -> None:
    (line,) = bar(make_disk(table=table(part(1, 1, 249), part(2, 251, 49))), 60)
    assert line.count("│") == 4
    assert "│free 200.0 GB ░" in line


def test_logical_partitions_stand_between_the_double_edges_of_the_extended_one() -> None:
    (line,) = bar(make_disk(table=EXTENDED), 78)
    before, inside, after = line.split("║")
    assert before.startswith("│1 NTFS")
    assert [words.split()[0] for words in inside.split("│")] == ["5", "6", "free"]
    assert after.startswith("3 ext4")
    assert "2" not in [words.split()[0] for words in line.replace("║", "│").strip("│").split("│")]


def test_a_disk_without_a_table_says_what_stands_on_it() -> None:
    assert bar(SDB, 40)[0].startswith("│nothing known on it ░")
    bare = make_disk(table=EMPTY)
    assert bar(replace(bare, content=Content(kind="ext4", label="data")), 40)[0].startswith('│ext4 "data" 500.0 GB ')


def test_a_disk_that_cannot_be_read_says_so() -> None:
    assert bar(make_disk(problem="no medium"), 40)[0].startswith("│cannot be read ")


def test_sixty_partitions_are_drawn_as_ranges_with_every_number_in_one() -> None:
    many = table(*(part(number, 8 * number, 8) for number in range(1, 61)))
    (line,) = bar(make_disk(table=many), 78)
    ranges = [cell.split()[0].rstrip(":") for cell in line.strip("│").split("│") if cell[0].isdigit()]
    covered = [n for low, _, high in (r.partition("-") for r in ranges) for n in range(int(low), int(high or low) + 1)]
    assert covered == list(range(1, 61))
    assert len(line) == 78


def test_partitions_that_overlap_are_named_below_the_bar() -> None:
    over = table(part(1, 0, 200), part(2, 100, 200), part(3, 50, 20), part(4, 400, 10))
    line, note = bar(make_disk(table=over), 78)
    assert note == "Partitions 1, 2, 3 overlap."
    assert len(line) == 78


def test_a_disk_of_an_image_is_drawn_as_it_would_lie_on_a_larger_one() -> None:
    imaged = make_imaged_disk(size=250 * GB)
    assert "free" not in bar(imaged)[0]
    assert "│free 250.0 GB ░" in bar(imaged, size=500 * GB)[0]


def test_partitions_that_an_image_leaves_out_are_said_to_be() -> None:
    imaged = make_imaged_disk()
    assert "│2 left out" in bar(replace(imaged, volumes=imaged.volumes[:1]))[0]


def test_names_replace_the_content_and_marks_fill_the_partition() -> None:
    (line,) = bar(SDA, 78, names={2: "Debian GNU/Linux 13 (trixie)"}, marked={2})
    assert "2 Debian GNU/Linux 13 (trixie) 499.5 GB ▒▒" in line
    assert "2 Debian ▒" in bar(SDA, 24, names={2: "Debian GNU/Linux 13 (trixie)"}, marked={2})[0]


def test_a_label_cannot_draw_borders_or_escape_sequences() -> None:
    hostile = table(part(1, 0, 500, label="│free\x1b[2J░"))
    (line,) = bar(make_disk(table=hostile), 78)
    assert line.count("│") == 2
    assert "\x1b" not in line
    assert "░" not in line


def test_wide_characters_do_not_push_the_edge_away() -> None:
    (line,) = bar(make_disk(table=table(part(1, 0, 500, label="備份磁碟"))), 40)
    assert cell_len(line) == 40


@st.composite
def tables(draw: st.DrawFn) -> PartitionTable:
    """Any table, however wrong."""
    found = [
        Partition(
            number=draw(st.integers(0, 300)),
            start=draw(st.integers(0, 600 * GB)),
            size=draw(st.integers(0, 600 * GB)),
            type=draw(st.sampled_from(["83", "ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "5"])),
            role=draw(st.sampled_from(list(PartitionRole))),
            content=Content(kind=draw(st.sampled_from(["ext4", "", "ntfs", "crypto_LUKS"]))),
        )
        for _ in range(draw(st.integers(0, 40)))
    ]
    return PartitionTable(kind=draw(st.sampled_from(list(TableKind))), partitions=tuple(found))


@settings(max_examples=150, deadline=None)
@given(table=tables(), width=st.integers(1, 200))
def test_every_table_is_drawn_as_wide_as_asked_in_glyphs_that_every_console_has(
    table: PartitionTable, width: int
) -> None:
    line = bar(make_disk(table=table), width)[0]
    assert len(line) == max(width, LEAST_WIDTH)
    assert set(line) <= GLYPHS
    assert line[0] in "│║"
    assert line[-1] in "│║"


@pytest.mark.parametrize("width", [12, 20, 40, 60, 80, 132])
def test_the_usual_disk_is_drawn_at_every_width(width: int) -> None:
    assert len(bar(SDA, width)[0]) == width


class Bars(App[None]):
    """Two bars, one below the other."""

    def compose(self) -> ComposeResult:
        """One that has a note below it."""
        yield DiskBar(SDA, names={2: "Debian"}, id="sda")
        yield DiskBar(make_disk(table=table(part(1, 0, 200), part(2, 100, 200))), id="over")


async def test_the_widget_is_as_wide_as_its_room_and_as_high_as_it_needs() -> None:
    app = Bars()
    async with app.run_test(size=(50, 10)) as pilot:
        await pilot.pause()
        lines = [strip.text for strip in app.screen._compositor.render_strips()]
        assert lines[0] == bar(SDA, 50, names={2: "Debian"})[0]
        assert lines[2] == "Partitions 1, 2 overlap.".ljust(50)
        assert app.query_one("#over").region.y == 1
