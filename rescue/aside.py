"""Asking something slow in a thread that nobody has to wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def aside(ask: Callable[[], T]) -> T:
    """What `ask` answers, in a thread of its own, or the error that it raises.

    Not asyncio.to_thread: a disk that hangs would keep its few threads from other questions, and the program, which
    waits for them, from ending. This thread is left to itself once nobody awaits it. What may not be cut off when the
    program ends does not belong here.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[T] = loop.create_future()

    def give(answer: T) -> None:
        if not answered.done():
            answered.set_result(answer)

    def fail(error: BaseException) -> None:
        if not answered.done():
            answered.set_exception(error)

    def work() -> None:
        # A loop that has ended takes no answer any more.
        try:
            answer = ask()
        except BaseException as error:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(fail, error)
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(give, answer)

    threading.Thread(target=work, daemon=True).start()
    return await answered
