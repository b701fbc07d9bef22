"""Forecasts from samples whose truth is known."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.estimate import Estimate, Fit, Population, Probe, Trial, estimate, fit, spread, total
from tests.unit.builders import MIB

SIZE = 4 * MIB


def probes_of(shares: Sequence[float], numbers: Sequence[int]) -> list[Probe]:
    """Probes of full chunks, each compressed to its share of a chunk in a second, read in a tenth of one."""
    return [
        Probe(
            number=number,
            size=SIZE,
            used=SIZE,
            base=round(SIZE * shares[number]),
            other_seconds=0.1,
            base_seconds=1.0,
        )
        for number in numbers
    ]


def everything(count: int, threads: int = 1) -> Population:
    return Population(chunks=count, used=count * SIZE, threads=threads)


@given(st.integers(0, 3000), st.integers(0, 64), st.integers(0, 99))
def test_a_spread_takes_one_of_each_part(count: int, wanted: int, seed: int) -> None:
    taken = spread(count, wanted, seed)
    assert len(taken) == len(set(taken)) == min(count, wanted)
    parts = sorted(number * len(taken) // count for number in taken)
    assert all(abs(part - place) <= 1 for place, part in enumerate(parts))
    assert taken == spread(count, wanted, seed)


def test_the_beginning_of_a_spread_is_spread_itself() -> None:
    first = sorted(spread(4800, 48, 1)[:6])
    assert [number // 800 for number in first] != [0] * 6
    assert max(b - a for a, b in zip([0, *first], [*first, 4800], strict=True)) < 4800 // 3


def test_a_sample_of_all_chunks_is_no_guess() -> None:
    shares = [0.2, 0.9, 0.5]
    found = estimate(3, 3, everything(3), probes_of(shares, [2, 0, 1]))
    assert found.stored == found.least == found.most == sum(round(SIZE * share) for share in shares)
    assert found.seconds == pytest.approx(3.3)


def test_a_disk_whose_second_half_is_encrypted_is_forecast_closely() -> None:
    shares = [0.3] * 600 + [1.0] * 600
    truth = sum(shares) * SIZE
    found = estimate(3, 3, everything(1200), probes_of(shares, spread(1200, 48, 1)))
    assert abs(found.stored - truth) < 0.03 * truth
    assert found.least <= truth <= found.most
    assert found.most - found.least < 0.25 * truth


def test_the_range_holds_the_truth_nearly_always() -> None:
    held = 0
    for seed in range(200):
        source = random.Random(seed)
        shares = [source.choice((0.1, 0.4, 1.0)) for _ in range(1000)]
        found = estimate(3, 3, everything(1000), probes_of(shares, spread(1000, 48, seed)))
        held += found.least <= sum(shares) * SIZE <= found.most
    assert held >= 180


def test_bytes_that_are_not_used_weigh_nothing() -> None:
    half = Probe(number=0, size=SIZE, used=MIB, base=MIB // 2)
    full = Probe(number=5, size=SIZE, used=SIZE, base=SIZE // 2)
    found = estimate(3, 3, Population(chunks=10, used=10 * MIB, threads=1), [half, full])
    assert found.stored == 5 * MIB


def test_a_slower_level_is_forecast_from_the_few_probes_it_was_tried_on() -> None:
    shares = [0.5] * 100
    taken = probes_of(shares, spread(100, 20, 1))
    trial = Trial(level=9, plain=SIZE, base=SIZE // 2, stored=SIZE // 4, seconds=8.0)
    tried = [
        Probe(number=p.number, size=SIZE, used=SIZE, base=p.base, other_seconds=0.1, base_seconds=1.0, trials=(trial,))
        for p in taken[:3]
    ]
    found = estimate(9, 1, everything(100, threads=2), [*tried, *taken[3:]])
    assert found.stored == 25 * SIZE
    assert found.least < found.stored < found.most
    assert found.seconds == pytest.approx(100 * 8.1 / 2)


def test_what_the_library_has_costs_nothing_but_what_may_have_changed_is_said() -> None:
    known = [Probe(number=n, size=SIZE, used=SIZE, known=True, other_seconds=0.1) for n in spread(1000, 50, 1)]
    found = estimate(3, 3, everything(1000), known)
    assert (found.stored, found.least) == (0, 0)
    assert found.most == 60 * SIZE
    assert found.seconds == pytest.approx(100)


def test_a_library_that_has_every_chunk_is_told_without_doubt() -> None:
    known = [Probe(number=n, size=SIZE, used=SIZE, known=True) for n in range(10)]
    assert estimate(9, 1, everything(10), known).most == 0


def test_chunks_that_repeat_others_cost_nothing_but_their_reading() -> None:
    zeros = [Probe(number=n, size=SIZE, used=SIZE, repeated=True, other_seconds=0.1) for n in range(0, 100, 2)]
    found = estimate(3, 3, everything(100), [*zeros[1:], replace(zeros[0], repeated=False, base=SIZE, base_seconds=1)])
    assert found.stored == 2 * SIZE
    assert found.seconds == pytest.approx(100 * 0.1 + 2 * 1.0)


def test_a_disk_of_which_nothing_could_be_read_promises_nothing() -> None:
    found = estimate(3, 3, everything(10), [])
    assert (found.stored, found.most) == (0, 10 * SIZE)


def test_the_doubts_of_several_disks_partly_cancel() -> None:
    one = Estimate(level=3, stored=100, least=70, most=130, seconds=5.0)
    both = total([one, Estimate(level=3, stored=100, least=60, most=140, seconds=6.0)])
    assert both == Estimate(level=3, stored=200, least=150, most=250, seconds=11.0)


@pytest.mark.parametrize(
    ("room", "verdict"), [(None, Fit.FITS), (140, Fit.FITS), (139, Fit.TIGHT), (110, Fit.TIGHT), (109, Fit.TOO_LARGE)]
)
def test_the_room_is_compared_with_what_is_expected_and_with_the_worst(room: int | None, verdict: Fit) -> None:
    assert fit(Estimate(level=3, stored=100, least=70, most=130, seconds=5.0), 10, room) is verdict
