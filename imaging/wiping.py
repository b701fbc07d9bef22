"""Erasing what a disk holds before something is restored to it, and looking whether any of it is left.

What the drive itself keeps aside, in sectors that it has replaced or cells that it has not cleared yet, nobody can read
or write from outside.
"""

import os
import random
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from imaging.blockdev import sector_sizes, size_of, status_of
from imaging.chunk import digest
from imaging.errors import CancelledError, IoError, RefusedError, RescueError
from imaging.extents import Extents
from imaging.pipeline import Reporter
from imaging.restoreplans import Wipe
from imaging.sanitize import Method
from imaging.sanitizing import erase_itself
from imaging.window import Medium

_BLOCK = 4 << 20
_AT_ONCE = 1 << 30
"""Bytes that are discarded by one call: between two it can be cancelled."""
_SAMPLE = 1 << 20
_SAMPLES = 256
_TELLING = 32
"""Samples that have to hold something before a drive erases itself."""
_ALIGNED = 4096
"""Bytes that a discarded range begins and ends at multiples of: no drive has larger sectors."""


def wipe(target: Medium, kept: Extents, way: Wipe, name: str, report: Reporter, cancel: threading.Event) -> Wipe:
    """Erase all of `target` but the ranges `kept`, so that it reads as zeros; returns the way in which that was done.

    Discarding is followed by overwriting where the medium knows no such call, or what it was told to forget can still
    be read in samples. Raises IoError where it does not read as zeros after that, too, and CancelledError.
    """
    doomed = Extents([(0, target.size)]).minus(kept)
    if way is Wipe.DISCARD:
        report.step(f"Discarding what is on {name}", doomed.total)
        if _discard(target, doomed, report, cancel) and _reads_as_zeros(target, doomed, cancel):
            return way
        report.log(f"{name} does not forget what it is told to: it is overwritten", "warning")
    report.step(f"Overwriting all of {name}", doomed.total)
    _overwrite(target, doomed, report, cancel)
    if not _reads_as_zeros(target, doomed, cancel):
        raise IoError(
            f"{target.path} does not read as zeros after zeros were written to it",
            code="not-erased",
            hint="this disk cannot be trusted: destroy it rather than give it away",
        )
    return Wipe.OVERWRITE


def sanitize(
    target: Medium,
    method: Method,
    mark: Sequence[tuple[int, bytes]],
    name: str,
    report: Reporter,
    cancel: threading.Event,
) -> bool:
    """Have the drive itself erase all, and write `mark`, which stood there, again; whether it has, by samples.

    What a drive has encrypted reads as anything once its key is gone, or not at all, so the samples need not be zeros:
    nothing that is more than one byte over and over may be what it was. Raises IoError where the drive cannot be used
    any more, and CancelledError.
    """
    held = Extents((at, at + len(data)) for at, data in mark)
    doomed = Extents([(0, target.size)]).minus(held)
    before = _telling(target, doomed, cancel)
    shape = _shape(target)
    _refuse_another(target)
    try:
        erased = erase_itself(target.path, target.size, method, name, report)
    except RescueError:
        # What the drive is in says more than that it takes no mark.
        with suppress(RescueError):
            _write(target, mark)
        raise
    if _shape(target) != shape:
        raise IoError(
            f"{name} has another size or other sectors since it erased itself",
            code="disk-changed",
            hint="restore it again: a new plan is made for what it is now",
        )
    try:
        # A drive that was cut off in the middle may have lost the mark, too.
        _write(target, mark)
    except IoError as error:
        if erased:
            raise
        raise IoError(
            f"{name} did not erase itself, and takes nothing else since: {error.message}",
            code="erase-failed",
            hint="switch it off for a moment, and restore it again; if that does not help, destroy it and replace it",
        ) from error
    if not erased:
        return False
    after = _proofs(target, before, cancel)
    if not before:
        report.log(f"{name} cannot show whether it has erased itself: it keeps nothing", "warning")
        return False
    if any(after.get(place) == proof for place, proof in before.items()):
        report.log(f"{name} says that it has erased itself, and still has what it had", "warning")
        return False
    return True


def _refuse_another(target: Medium) -> None:
    """The tools open the drive by its name: that must still lead to what is held."""
    held = status_of(target.fileno())
    try:
        named = Path(target.path).stat()
        same = named.st_rdev == held.st_rdev if stat.S_ISBLK(held.st_mode) else os.path.samestat(named, held)
    except OSError:
        same = False
    if not same:
        raise RefusedError(f"{target.path} is not the disk any more that was shown", code="disk-changed")


def _shape(target: Medium) -> tuple[int, int]:
    fd = target.fileno()
    return size_of(fd), sector_sizes(fd)[0] if stat.S_ISBLK(status_of(fd).st_mode) else 0


def _write(target: Medium, pieces: Sequence[tuple[int, bytes]]) -> None:
    for at, data in pieces:
        target.write(data, at)
    target.sync()


_Place = tuple[int, int]


def _proofs(target: Medium, places: Iterable[_Place], cancel: threading.Event) -> dict[_Place, bytes | None]:
    """The digest of each place that can be read, from the medium; None where it is one byte over and over."""
    target.forget_cached()
    proofs: dict[_Place, bytes | None] = {}
    for at, size in places:
        _stop_if_asked(cancel)
        data = bytearray(size)
        try:
            target.read(memoryview(data), at)
        except IoError:
            # A bad sector; or what a drive that has lost its key cannot make sense of.
            continue
        target.forget(at, size)
        proofs[at, size] = digest(data) if data.count(data[0]) != size else None
    return proofs


def _telling(target: Medium, doomed: Extents, cancel: threading.Event) -> dict[_Place, bytes]:
    """Samples that hold something, by their digests: on a disk that holds little, what is written there for that.

    Else none might show whether the drive has done anything at all.
    """
    found = _proofs(target, _samples(doomed), cancel)
    empty = [place for place, proof in found.items() if proof is None]
    sown = random.sample(empty, min(len(empty), max(_TELLING - (len(found) - len(empty)), 0)))
    for at, size in sown:
        _stop_if_asked(cancel)
        target.write(os.urandom(size), at)
    target.sync()
    found |= _proofs(target, sown, cancel)
    return {place: proof for place, proof in found.items() if proof is not None}


def _stop_if_asked(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise CancelledError("stopped because somebody asked")


def _discard(target: Medium, doomed: Extents, report: Reporter, cancel: threading.Event) -> bool:
    for start, end in doomed:
        low, high = -(-start // _ALIGNED) * _ALIGNED, end // _ALIGNED * _ALIGNED
        if low >= high:
            target.write(bytes(end - start), start)
            continue
        target.write(bytes(low - start), start)
        target.write(bytes(end - high), high)
        for at, size in _pieces([(low, high)], _AT_ONCE, cancel):
            if not target.discard(at, at + size):
                return False
            report.advance(size, size)
    target.sync()
    report.finish_step()
    return True


def _overwrite(target: Medium, doomed: Extents, report: Reporter, cancel: threading.Event) -> None:
    zeros = memoryview(bytes(_BLOCK))

    def tell(size: int, on_medium: bool) -> None:
        if on_medium:
            report.advance(size, size)

    for at, size in _pieces(doomed, _BLOCK, cancel):
        if target.is_hole(at, at + size):
            report.advance(size)
            continue
        target.write(zeros[:size], at)
        target.bring_down(at, size, partial(tell, size))
    target.sync()
    report.finish_step()


def _pieces(ranges: Iterable[tuple[int, int]], most: int, cancel: threading.Event) -> Iterator[tuple[int, int]]:
    for start, end in ranges:
        for at in range(start, end, most):
            _stop_if_asked(cancel)
            yield at, min(most, end - at)


def _reads_as_zeros(target: Medium, doomed: Extents, cancel: threading.Event) -> bool:
    """Look at samples, on a small disk at all of it, from the medium."""
    target.forget_cached()
    buffer, zeros = bytearray(_SAMPLE), bytes(_SAMPLE)
    for at, size in _samples(doomed):
        _stop_if_asked(cancel)
        view = memoryview(buffer)[:size]
        target.read(view, at)
        target.forget(at, size)
        if view != zeros[:size]:
            return False
    return True


def _samples(doomed: Extents) -> Iterator[tuple[int, int]]:
    """Places from all over, the first and the last among them; all of it where that is no more."""
    count = -(-doomed.total // _SAMPLE)
    chosen = range(count) if count <= _SAMPLES else sorted({0, count - 1, *random.sample(range(count), _SAMPLES - 2)})
    numbers, before = iter(chosen), 0
    number = next(numbers, None)
    for start, end in doomed:
        while number is not None and number * _SAMPLE < before + end - start:
            at = start + number * _SAMPLE - before
            yield at, min(_SAMPLE, end - at)
            number = next(numbers, None)
        before += end - start
