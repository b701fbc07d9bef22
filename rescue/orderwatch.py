"""Looks for unattended work, and brings it before whoever is at this console, whatever stands there."""

from imaging.errors import RescueError
from imaging.orderboard import Phase, State
from rescue.screens.base import Host
from rescue.screens.order import OrderScreen, worth_showing

EVERY = 1.0
"""Seconds between two looks: a tick of the countdown, which costs a few bytes on a line."""


class OrderWatch:
    """What this console has shown of the order already."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.screen: OrderScreen | None = None
        self.seen: Phase | None = None
        self.followed = ""
        """The id of the job that was brought up."""

    def look(self) -> None:
        """Show how far the order is. One whose state cannot be read keeps nobody from the menu."""
        try:
            state = self.host.backend.order()
        except RescueError:
            return
        if self.screen is not None:
            self.seen = self.screen.state.phase
            if self.screen not in self.host.screen_stack:
                self.screen = None
        if state is None:
            return
        if state.phase is Phase.RUNNING and state.job and state.job != self.followed:
            self.follow(state)
        elif self.screen is not None:
            self.screen.show(state)
        elif state.phase is not self.seen and worth_showing(state):
            self.screen = OrderScreen(state)
            self.host.push_screen(self.screen)
        self.seen = state.phase

    def follow(self, state: State) -> None:
        """The job has begun: it is shown as any other."""
        try:
            job = next((job for job in self.host.backend.jobs() if job.id == state.job), None)
        except RescueError:
            return
        if job is not None:
            self.followed = state.job
            self.host.started(job)
