"""The logs as pages to read, for the command line and the screen, and all of them in one file."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imaging import __version__, inventory, logs, smart
from imaging.disk import Disk
from imaging.errors import IoError, RescueError
from imaging.events import Progress
from imaging.health import Health
from imaging.jobs import Job
from imaging.manifest import Machine
from imaging.orderboard import Board
from rescue.formats import clean, joined
from rescue.health import figure_rows, health_line, reason_lines
from rescue.language import _
from rescue.outcome import event_line
from rescue.pages import Page
from rescue.report import disks_table, machine_line
from rescue.telling import told


def job_page(job: Job) -> Page:
    """What a job has said, each line with its time; progress is left out."""
    lines = []
    events, _offset = job.read(0)
    for event in events:
        if not isinstance(event, Progress):
            lines.append(f"{time.strftime('%H:%M:%S', time.localtime(event.time))}  {event_line(event)}")
    own = logs.worker_words(job).splitlines()
    if own:
        lines += ["", _("The process that did the work wrote:"), *map(clean, own)]
    return Page(title=clean(told(job.title)), lines=tuple(lines))


def screens_page() -> Page:
    """Errors of the screens themselves."""
    lines = logs.screen_errors().splitlines() or [_("The screens had no error.")]
    return Page(title=_("Errors of the screens"), lines=tuple(clean(line) for line in lines))


def order_pages() -> tuple[Page, ...]:
    """What was done about an order for unattended work; none where there was none."""
    lines = Board().lines()
    title = _("Unattended work")
    return (Page(title=title, lines=tuple(clean(line) for line in lines)),) if lines else ()


def kernel_page() -> Page:
    """What the kernel has said: of disks that fail, above all."""
    try:
        lines = logs.kernel_messages().splitlines()
    except IoError as error:
        lines = [told(error.message)]
    return Page(title=_("Messages of the kernel"), lines=tuple(clean(line) for line in lines))


def page_lines(pages: Iterable[Page]) -> list[str]:
    """Pages below each other, for a printer or a pipe."""
    return [line for page in pages for line in (page.title, len(page.title) * "-", *page.lines, "")]


def save(folder: Path, machine: Machine, jobs: Sequence[Job]) -> Path:
    """All logs and what there is to know of this computer as one file in `folder`; returns its path. Takes seconds."""
    now = time.time()
    summary = [
        f"Rescue {__version__}, {time.strftime('%Y-%m-%d %H:%M:%S %Z', time.localtime(now))}",
        machine_line(machine),
        _("firmware {firmware}, host name {name}").format(firmware=machine.firmware, name=machine.hostname),
    ]
    try:
        found = inventory.scan()
        healths = smart.healths(found)
        disks = [*disks_table(found, healths), "", *_health_lines(found, healths)]
    except RescueError as error:
        disks = [told(error.message)]
    pages = {
        "summary.txt": _joined([*summary, "", *disks]),
        "jobs.txt": _joined(page_lines([*map(job_page, jobs), *order_pages(), screens_page()])),
    }
    return logs.save(folder, logs.file_name(machine, now), pages)


def _health_lines(disks: Iterable[Disk], healths: Mapping[str, Health]) -> list[str]:
    """Of each disk that tells: how it is doing, all reasons for that, and what it measures of itself."""
    lines = []
    for disk in disks:
        health = healths.get(disk.path)
        if health is not None:
            lines.append(joined(f"{clean(disk.name)}:", health_line(health), by=" "))
            lines += [f"  {reason}" for reason in reason_lines(health)[1:]]
            lines += [f"  {name:<28}{value}" for name, value in figure_rows(health)]
    return lines


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
