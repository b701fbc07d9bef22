"""The pure parts of the benchmark: what is judged by which figure, what is changed, where a job's time goes."""

import threading
from pathlib import Path

import pytest

from imaging.chunk import CHUNK_SIZE
from imaging.library import Library
from imaging.structure import check
from tests.bench import many
from tests.bench.large import phases
from tests.bench.source import choose
from tests.bench.table import ROWS, Extra, Timing, chosen, is_met, ratios, render

ROW = {row.name: row for row in ROWS}


def test_a_row_against_a_peer_is_judged_by_the_whole_process() -> None:
    timings = {"restore": Timing(whole=[5.1], job=[1.0]), "peer restore": Timing(whole=[20.0])}
    assert not is_met(ROW["restore"], timings)
    timings["restore"].whole = [5.0]
    assert is_met(ROW["restore"], timings)


def test_a_row_against_a_limit_is_judged_by_the_job_alone() -> None:
    timings = {"restore": Timing(whole=[5.0], job=[1.25]), "limit restore": Timing(whole=[1.0])}
    assert ratios(ROW["restore-limit"], timings) == (0.2, 0.8)
    assert is_met(ROW["restore-limit"], timings)


def test_reading_back_is_judged_by_what_it_adds() -> None:
    timings = {"restore read back": Timing(whole=[3.0], job=[4.1]), "restore": Timing(whole=[3.0], job=[3.0])}
    assert not is_met(ROW["read-back"], timings)
    timings["restore read back"].job = [3.9]
    assert is_met(ROW["read-back"], timings)


def test_figures_are_medians_of_the_rounds() -> None:
    timings = {"verify": Timing(whole=[1.0, 9.0, 2.0], job=[1.0, 1.0, 8.0]), "peer verify": Timing(whole=[6.0, 1, 7])}
    assert ratios(ROW["verify"], timings) == (3.0, 6.0)


def test_the_table_has_a_line_for_each_row_that_was_measured() -> None:
    timings = {"verify": Timing(whole=[2.0], job=[1.0]), "peer verify": Timing(whole=[5.0])}
    extra = Extra(job="memory", mine="300 MiB", reached="300 MiB", reach="under 250 MiB", met=False)
    lines = render(ROWS, timings, [extra]).splitlines()
    assert lines[2:] == [
        "| verify an image | 2.00 s (1.00 s) | `zstd -dc \\| partclone.chkimg` | 5.00 s | **2.50** (5.00) | at least 3 "
        "| **no** |",
        "| memory | 300 MiB |  |  | **300 MiB** | under 250 MiB | **no** |",
    ]
    assert {line.replace("\\|", "").count("|") for line in lines} == {8}


def test_rows_are_chosen_by_number_or_name() -> None:
    assert chosen("") == ROWS
    assert [row.name for row in chosen("3,read-back,restore-limit")] == ["restore-limit", "read-back"]
    assert {row.number for row in chosen("9")} == {9}
    with pytest.raises(ValueError, match="no row 'quick'"):
        chosen("1,quick")


def test_two_percent_of_the_chunks_are_chosen_one_block_in_each() -> None:
    data = range(0, 200 * 100, 10)
    found = choose(data, lambda at: at // 100, busy=200, seed=7)
    assert len(found) == len({at // 100 for at in found}) == 4
    assert set(found) <= set(data)
    assert found == choose(data, lambda at: at // 100, busy=200, seed=7) != choose(data, lambda at: at // 100, 200, 8)


def test_too_few_chunks_with_data_are_told() -> None:
    with pytest.raises(ValueError, match="2 are to be changed"):
        choose([0, 1], lambda _: 0, busy=100, seed=1)


def test_a_job_is_cut_into_what_moves_data_and_what_does_not() -> None:
    events = [
        {"event": "started", "time": 11.0},
        {"event": "step", "time": 11.5, "name": "Reading what is used"},
        {"event": "step", "time": 13.5, "name": "Capturing"},
        {"event": "progress", "time": 14.0},
        {"event": "log", "time": 15.0},
        {"event": "progress", "time": 20.0},
        {"event": "step", "time": 21.0, "name": "Finishing the image"},
        {"event": "finished", "time": 21.25},
    ]
    found = [(part.name, part.seconds, part.moving) for part in phases(events, began=10.0, ended=21.5)]
    assert found == [
        ("starting, looking at the disks", 1.0, False),
        ("beginning the job", 0.5, False),
        ("Reading what is used", 2.0, False),
        ("Capturing: before the first chunk", 0.5, False),
        ("Capturing", 6.0, True),
        ("Capturing: after the last chunk", 1.0, False),
        ("Finishing the image", 0.25, False),
        ("ending", 0.25, False),
    ]


def test_a_library_of_many_images_is_a_whole_one(tmp_path: Path) -> None:
    ids = many.build(tmp_path / "library", images=3, chunks=30)
    library = Library.open(tmp_path / "library")
    listing = library.images()
    assert [image.id for image in listing.images] == ids[::-1]
    assert {image.size for image in listing.images} == {10 * CHUNK_SIZE}
    found = check(library, lambda *_: None, threading.Event())
    assert found.whole
    assert (found.images, found.named, found.stock and found.stock.chunks) == (3, 30, 30)


def test_the_table_of_many_images_judges_by_the_median() -> None:
    rows = [many.Command(name="list", words=(), most=2.0), many.Command(name="count", words=())]
    taken = {
        "list": many.Taken(seconds=[1.9, 9.0, 1.0], processor=[1.0], memory=10 << 20),
        "count": many.Taken(seconds=[7.0], processor=[6.0], memory=20 << 20),
    }
    lines = many.render(rows, taken).splitlines()
    assert lines[2:] == [
        "| list | 1.90 s | 1.00 s | 10 MiB | under 2 s | yes |",
        "| count | 7.00 s | 6.00 s | 20 MiB |  |  |",
    ]
    taken["list"].seconds = [2.0]
    assert "| **no** |" in many.render(rows, taken)
