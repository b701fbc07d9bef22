"""The application over the tests' computer, on this terminal: python -m tests.app.played [--works].

With --works, a job goes on; with --screen-fails, --output-fails or --input-fails, that has an error after a restart.
"""

import os
import sys
import time
from typing import Any

from imaging.events import AnyEvent, Progress
from rescue.console import line, size, terminal
from rescue.console.dialect import Mode


def main() -> int:
    """As rescue.app.run does, but for the computer."""
    kind = line.kind(0)
    mode = terminal.mode(os.environ, kind)
    utf8 = mode is Mode.SERIAL and size.settle(0)
    from rescue.application import RescueApp
    from tests.app.disks import GB
    from tests.app.jobs import FakeJob, running_job
    from tests.app.machine import FakeBackend

    class Work(FakeJob):
        """A job that goes on while somebody looks, once a second."""

        def read(self, offset: int) -> tuple[list[AnyEvent], int]:
            """With what has been done meanwhile."""
            seconds = int(time.monotonic() - began)
            while "--works" in sys.argv and len(self.events) < 29 + seconds:
                done = len(self.events) * 3 * GB // 4
                self.say(Progress(time=1000.0 + len(self.events), done=done, total=100 * GB, moved=done))
            return super().read(offset)

    def broken(*_: object) -> str:
        """An error in the program."""
        raise ValueError

    began = time.monotonic()
    job = running_job()
    work = Work(known_plan=job.known_plan, events=job.events)

    class Computer(FakeBackend):
        """With a shell that is seen."""

        def shell(self) -> None:
            """Says something, and ends."""
            print("in the shell", flush=True)

        def reboot(self) -> None:
            """Breaks what is to fail."""
            driver: Any = app._driver
            if "--output-fails" in sys.argv:
                driver._sender._painter.burst = broken
            if "--input-fails" in sys.argv:
                driver.process_message = broken
            if "--screen-fails" in sys.argv:
                broken()

    app = RescueApp(Computer(known_jobs=[work]), terminal.terminal(os.environ, kind, utf8=utf8))
    status = app.run(mouse=mode is Mode.FULL)
    return status or app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
