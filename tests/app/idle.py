"""Waiting until an application has nothing left to do, by asking its event loop instead of the clock.

Textual's own way takes a process that gets no processor for a moment for one that is idle, and pauses for 20 ms each
time: on a busy machine a test would read the screen too early, on an idle one it would wait for nothing.
"""

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

SOON = 1 / 50
"""Seconds: a timer that is due within that time is waited for, as what it does belongs to what was asked for."""

TICKS = 200
"""So many such timers are waited for; one that never stops, such as that of an application that has ended, is not."""

FRAME = 1 / 1000
"""Seconds until what has changed is drawn; to an eye it could be sixteen times as long."""

PATIENCE = 180.0
"""Seconds after which what is waited for will not come."""


class Watch:
    """In the place of the `select` of a loop's selector, which is asked to wait only where nothing is ready to run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        selector = vars(loop)["_selector"]
        self._select = selector.select
        self._waiting: list[asyncio.Future[None]] = []
        self._ticks = 0
        selector.select = self.select

    def rest(self) -> asyncio.Future[None]:
        """Done as soon as the loop has nothing to do."""
        self._ticks = TICKS
        self._waiting.append(asyncio.get_running_loop().create_future())
        return self._waiting[-1]

    def select(self, timeout: float | None = None) -> Any:
        """As a selector's own, but tells those who wait for it that there is nothing to do."""
        if not self._waiting or timeout == 0:
            return self._select(timeout)
        if timeout is not None and timeout <= SOON and self._ticks:
            self._ticks -= 1
            return self._select(timeout)
        if not (events := self._select(0)):
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()
        return events


@lru_cache(maxsize=1)
def watch(loop: asyncio.AbstractEventLoop) -> Watch:
    """The one of this loop."""
    return Watch(loop)


async def idle(_least: float = 0, _most: float = 1) -> None:
    """Until nothing of this loop can run before something comes from outside, or a timer that is not near."""
    async with asyncio.timeout(PATIENCE):
        await watch(asyncio.get_running_loop()).rest()


async def until(seen: Callable[[], bool], what: Callable[[], object]) -> None:
    """Until it is so, by what threads do; fails with `what` was there instead."""
    last = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < last, what()
        await asyncio.sleep(0.005)
        await idle()
