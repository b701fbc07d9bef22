"""What a computer that exists only in memory was asked for, or why it refuses."""

from dataclasses import dataclass, field

from imaging.errors import RescueError


@dataclass
class NotedCalls:
    """What was done to it is noted in `calls`."""

    calls: list[str] = field(default_factory=list)
    refusal: RescueError | None = None

    def note_call(self, call: str) -> None:
        """Note it, unless it is refused."""
        if self.refusal:
            raise self.refusal
        self.calls.append(call)
