"""Write-behind: ranges reach the medium in order, and every one is told of once, also where one fails."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import behind
from imaging.behind import WriteBehind
from imaging.chunk import chunk_id, compress, decompress
from imaging.pipeline import run_all
from imaging.probing import Probing
from imaging.stores import LocalStore
from imaging.writer import opened


def test_a_range_is_told_of_once_more_than_depth_follow_it(tmp_path: Path) -> None:
    told: list[int] = []
    queue = WriteBehind(2)
    with (tmp_path / "disk").open("wb") as file:
        file.write(bytes(5 * 4096))
        file.flush()
        for i in range(5):
            queue.wrote(file.fileno(), i * 4096, 4096, lambda _, i=i: told.append(i))  # type: ignore[misc]
        assert told == [0, 1, 2]
        queue.drain()
    assert told == [0, 1, 2, 3, 4]


def test_what_cannot_bring_down_a_part_is_no_failure() -> None:
    reading, writing = os.pipe()
    told: list[str] = []
    queue = WriteBehind(1)
    try:
        queue.wrote(writing, 0, 1, lambda _: told.append("done"))
        queue.drain()
    finally:
        os.close(reading)
        os.close(writing)
    assert told == ["done"]


def test_a_failure_is_raised_after_every_range_was_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[int] = []
    queue = WriteBehind(9)
    real = behind._sync

    def sync(fd: int, start: int, size: int, how: int) -> None:
        if start == 4096 and how != 2:
            raise OSError(errno.EIO, "Input/output error")
        real(fd, start, size, how)

    monkeypatch.setattr(behind, "_sync", sync)
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(3 * 4096)
        for i in range(3):
            queue.wrote(file.fileno(), i * 4096, 4096, lambda _, i=i: told.append(i))  # type: ignore[misc]
        with pytest.raises(OSError, match="Input/output error"):
            queue.drain()
    assert told == [0, 1, 2]


def test_a_few_chunks_that_differ_keep_every_chunk_compared() -> None:
    probing = Probing()
    for i in range(1000):
        assert probing.worth_it()
        probing.saw(differs=i % 10 < 7)


def test_on_another_disk_ever_fewer_chunks_are_compared_until_one_holds_the_right_bytes() -> None:
    probing = Probing()
    compared = 0
    for _ in range(1000):
        if probing.worth_it():
            compared += 1
            probing.saw(differs=True)
    assert compared < 60
    while not probing.worth_it():
        pass
    probing.saw(differs=False)
    assert all(probing.worth_it() for _ in range(10))


def test_a_hole_stays_known_for_what_was_not_written_in_it(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.write(b"data" * 1024)
        file.truncate(1 << 20)
    with opened(str(path), regular_file=True) as target:
        assert not target.is_hole(0, 4096)
        assert target.is_hole(64 << 10, 1 << 20)
        target.write(b"x" * 4096, 128 << 10)
        assert target.is_hole(64 << 10, 1 << 20)  # nobody asks of what was written already
        buffer = bytearray(4096)
        target.read(memoryview(buffer), 512 << 10)
        assert buffer == bytes(4096)


def test_every_item_is_announced_before_its_turn_but_the_first() -> None:
    announced: list[int] = []
    worked: list[int] = []
    items = range(100, 200)
    run_all(items, lambda: worked.append, threading.Event(), announced.append)
    assert sorted(worked) == list(items)
    assert announced
    assert sorted(announced) == list(items)[100 - len(announced) :]


def test_threads_that_read_small_chunks_at_once_each_get_their_own(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    data = {chunk_id(bytes([i]) * 1000): bytes([i]) * 1000 for i in range(8)}
    for name, plain in data.items():
        store.put(name, compress(plain))
    store.sync()
    names = list(data) * 300

    def make_worker() -> Callable[[int], None]:
        def work(i: int) -> None:
            frame = store.get(names[i], 1000)
            time.sleep(0)  # let another thread read meanwhile
            assert decompress(frame, 1000, "x") == data[names[i]]

        return work

    run_all(range(len(names)), make_worker, threading.Event())
