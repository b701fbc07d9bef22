"""Follow a job on the command line: a progress bar on a terminal, plain lines in a pipe, JSON lines for scripts."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imaging.errors import ExitStatus
from imaging.events import AnyEvent, Finished, Progress, encode
from imaging.jobs import Job, JobState
from rescue import outcome
from rescue.language import _

_POLL = 0.03
_LINE_EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""

Show = Callable[[AnyEvent], None]


def stream(job: Job) -> Iterator[AnyEvent]:
    """The job's events as they come, up to its end; the death of its worker is told as a Finished event, too."""
    offset = 0
    while True:
        ended = job.state not in (JobState.RUNNING, JobState.STARTING)
        found, offset = job.read(offset)
        for event in found:
            yield event
            if isinstance(event, Finished):
                return
        if ended:
            yield job.died()
            return
        time.sleep(_POLL)


def wait(job: Job) -> Finished:
    """Wait for the job's end, without a word."""
    for event in stream(job):
        if isinstance(event, Finished):
            return event
    return job.died()


def follow(job: Job, *, json: bool, interrupt_cancels: bool) -> int:
    """Show a job up to its end and return its exit status.

    Ctrl+C asks the job to stop where `interrupt_cancels`, else lets it run on and ends here with status 0.
    """
    with _shown(json=json) as show:
        finished = _follow(job, show, interrupt_cancels=interrupt_cancels)
    if finished is None:
        print(_("The job goes on: {command}").format(command=f"rescue watch {job.id}"), file=sys.stderr)
        return ExitStatus.DONE
    if not json:
        out = sys.stdout if finished.status == ExitStatus.DONE else sys.stderr
        for line in outcome.result_lines(finished):
            print(line, file=out)
    return finished.status


def _follow(job: Job, show: Show, *, interrupt_cancels: bool) -> Finished | None:
    events = stream(job)
    while True:
        try:
            for event in events:
                show(event)
                if isinstance(event, Finished):
                    return event
            return job.died()
        except KeyboardInterrupt:
            if not interrupt_cancels:
                return None
            job.cancel()
            events = _rest(job)


def _rest(job: Job) -> Iterator[AnyEvent]:
    """After an interrupt: the end alone, since a generator does not go on where it was interrupted."""
    yield wait(job)


@contextmanager
def _shown(*, json: bool) -> Iterator[Show]:
    if json:
        yield _show_json
    elif sys.stdout.isatty():
        # Loading rich takes as long as all of ours, and scripts have no use for it.
        from rescue.progressbar import ProgressBar

        with ProgressBar() as bar:
            yield bar.show
    else:
        yield _Lines().show


def _show_json(event: AnyEvent) -> None:
    sys.stdout.write(encode(event).decode())
    sys.stdout.flush()


class _Lines:
    """Plain lines, with progress now and then."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def show(self, event: AnyEvent) -> None:
        if isinstance(event, Finished):
            return
        if isinstance(event, Progress):
            if time.monotonic() - self._told < _LINE_EVERY:
                return
            self._told = time.monotonic()
        print(outcome.event_line(event), flush=True)
