"""A job's progress as a bar on a terminal."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from imaging.events import AnyEvent, Finished, Log, Progress, Started, Step
from rescue import outcome, report
from rescue.language import _
from rescue.telling import told


class ProgressBar:
    """One bar for the present step, log lines above it."""

    def __init__(self) -> None:
        """Nothing is drawn before it is entered."""
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(highlight=False),
            refresh_per_second=4,
        )
        self._task = self._bars.add_task(_("Starting"), total=None)

    def __enter__(self) -> "ProgressBar":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, event: AnyEvent) -> None:
        """Take in the next event of the job."""
        match event:
            case Step():
                # In this order: a Ctrl+C can come between any two of these.
                before, self._task = (
                    self._task,
                    self._bars.add_task(report.clean(told(event.name)), total=event.total or None),
                )
                self._bars.remove_task(before)
            case Progress():
                self._bars.update(self._task, completed=event.done)
            case Log() | Started():
                self._bars.console.print(outcome.event_line(event), markup=False)
            case Finished():
                self._bars.remove_task(self._task)
