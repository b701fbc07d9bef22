"""Which chunks only one image names, told apart in parts of any number."""

import os
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from imaging import index, naming
from imaging.errors import BadImageError
from imaging.naming import IndexFile, bytes_to_read, named_only_by


def _index(path: Path, names: Sequence[bytes], *, digest: bool = True) -> IndexFile:
    made = index.blank(range(1000, 1000 * (len(names) + 1), 1000))
    for i, name in enumerate(names):
        made.name(i, name)
    path.write_bytes(made.encoded)
    return IndexFile(path=path, digest=blake3(made.encoded).hexdigest() if digest else "")


def _names(count: int, seed: int) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(32) for _ in range(count)]


@pytest.mark.parametrize(("batch", "block"), [(1 << 19, 1 << 16), (100, 7), (1, 1000)])
def test_what_only_the_doomed_name_is_found_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, block: int
) -> None:
    monkeypatch.setattr(naming, "_BATCH", batch)
    monkeypatch.setattr(naming, "_BLOCK", block)
    pool = _names(300, seed=1)
    doomed = [_index(tmp_path / "a", pool[:120] + pool[:30]), _index(tmp_path / "b", pool[100:150], digest=False)]
    others = [_index(tmp_path / "c", pool[140:250]), _index(tmp_path / "d", [*pool[50:80], pool[299]])]
    told: list[int] = []
    batches = list(named_only_by(doomed, others, told.append))
    alone = [name for one in batches for name in one.alone]
    assert sorted(alone) == sorted(pool[:50] + pool[80:140])
    assert sum(one.named for one in batches) == 150
    assert sum(told) == bytes_to_read(doomed, others)


def test_names_that_are_alike_in_their_first_bytes_are_both_kept(tmp_path: Path) -> None:
    one, other = bytes(32), bytes(31) + b"x"
    (found,) = named_only_by([_index(tmp_path / "a", [one])], [_index(tmp_path / "b", [other])], lambda _: None)
    assert found.alone == []


def test_an_index_without_chunks_names_none(tmp_path: Path) -> None:
    (found,) = named_only_by([_index(tmp_path / "a", [])], [_index(tmp_path / "b", [])], lambda _: None)
    assert (found.named, found.alone) == (0, [])


@pytest.mark.parametrize("at", [0, 3, 20, 64, 75, -1, -20])
def test_an_index_with_a_changed_byte_is_not_believed(tmp_path: Path, at: int) -> None:
    file = _index(tmp_path / "a", _names(5, seed=2))
    data = bytearray(file.path.read_bytes())
    data[at] ^= 1
    file.path.write_bytes(data)
    doomed = _index(tmp_path / "b", _names(5, seed=3))
    with pytest.raises(BadImageError):
        list(named_only_by([doomed], [file], lambda _: None))


@pytest.mark.parametrize("change", [-1, -40, -150, 1, 40])
def test_an_index_of_another_length_is_not_believed(tmp_path: Path, change: int) -> None:
    file = _index(tmp_path / "a", _names(5, seed=2), digest=False)
    os.truncate(file.path, file.path.stat().st_size + change)
    with pytest.raises(BadImageError):
        list(named_only_by([file], [], lambda _: None))


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_BATCH", 1000)
    monkeypatch.setattr(naming, "_BLOCK", 500)
    doomed = [_index(tmp_path / "a", _names(3000, seed=4))]
    other = _index(tmp_path / "b", _names(3000, seed=5))
    peaks = []
    for many in (5, 50):
        tracemalloc.start()
        for _ in named_only_by(doomed, [other] * many, lambda _: None):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
