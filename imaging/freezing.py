"""Holding file systems still for some seconds, by a process beside this one: imaging.freezer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from imaging import freezer
from imaging.errors import IoError, RefusedError, RescueError
from imaging.freezer import HELD, IN_TIME, Asked, Place
from imaging.run import start_beside

SECONDS = 60.0
"""Nothing is held for longer: whoever writes there waits."""


@contextmanager
def held_still(places: Sequence[Place], seconds: float = SECONDS) -> Iterator[None]:
    """While this lasts nothing changes in these file systems; they are as if unmounted, as far as their kind goes.

    Raises RefusedError (code "not-still") where one cannot be held, and, at the end, where the time was over before.
    """
    if not places:
        yield
        return
    beside = start_beside("imaging.freezer")
    try:
        beside.told.write(msgspec.json.encode(Asked(places=tuple(places), seconds=seconds)) + b"\n")
        beside.told.flush()
        said = _line(beside.said.readline())
        if said != HELD:
            raise RefusedError(
                f"a file system cannot be held still: {said or 'the process that does it ended'}",
                code="not-still",
                hint="end what writes to it, or have the next start capture it: rescue schedule set --next-boot",
            )
        yield
    finally:
        with suppress(OSError):
            beside.told.close()
        ended = _line(beside.said.readline())
        beside.said.close()
        if not ended:
            # It was killed, and the kernel lets go of nothing by itself. All of these could be written to before.
            for place in places:
                let_go(place)
    if ended != IN_TIME:
        raise IoError(
            f"what is mounted at {places[0].where} could not be copied within {seconds:.0f} s",
            code="not-still",
            hint="have the next start capture it: rescue schedule set --next-boot",
        )


def let_go(place: Place) -> bool:
    """Let go of a file system that another process has left held; False where nobody holds it, or it is in use so."""
    try:
        freezer.let_go(place)
    except (OSError, RescueError):
        return False
    return True


def _line(data: bytes) -> str:
    return data.decode(errors="replace").strip()
