"""How the errors of a job on one disk tell what state that disk is left in."""

from collections.abc import Callable
from typing import Protocol

from imaging.errors import IoError, RefusedError, RescueError, of_system


class Work(Protocol):
    """A job at work on a disk."""

    @property
    def touched(self) -> bool:
        """Whether it was written to."""

    @property
    def state(self) -> str:
        """What it is left in, in words."""


def as_told(do: Callable[[], None], work: Work) -> None:
    """Have every error tell what the disk is left in; once it was written to, it is not a refusal any more."""
    try:
        do()
    except Exception as error:
        told: Exception = error
        if isinstance(error, RefusedError) and work.touched:
            told = IoError(error.message, code=error.code, hint=error.hint)
        if isinstance(error, OSError):
            told = of_system(error)
        if not isinstance(told, RescueError):
            told = RescueError(f"an error in Rescue itself: {type(error).__name__}: {error}")
        told.state = work.state
        if told is error:
            raise
        raise told from error
