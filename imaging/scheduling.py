"""Installing the schedule on a Linux with systemd, and taking it away: its document, its units. Needs root."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from imaging import scheduleunits
from imaging.durable import write_file, written
from imaging.errors import IoError, RefusedError, UsageError
from imaging.run import find_tool, run
from imaging.schedules import Schedule, render
from imaging.schedulestate import configuration

UNITS = Path("/etc/systemd/system")
_RUNNING = Path("/run/systemd/system")
_INHERITED = ("RESCUE_STATE", "RESCUE_CONFIG")
_TIMEOUT = 90.0


def refuse_unless_possible() -> None:
    """Raise RefusedError where there is no systemd, or no right to give it units."""
    if not _RUNNING.is_dir() or find_tool("systemctl") is None:
        raise RefusedError(
            "this system is not run by systemd, whose timers are what starts the captures",
            code="no-systemd",
            hint="have `rescue capture --running` started by what this system has in its place",
        )
    if os.geteuid() != 0:
        raise RefusedError("setting a schedule needs root", code="no-permission", hint="run as root")


def refuse_bad_calendar(every: str) -> None:
    """Raise UsageError where systemd does not understand a calendar event; it is believed where it cannot be asked."""
    if find_tool("systemd-analyze") is None:
        return
    done = run(["systemd-analyze", "calendar", every], accept=range(256), timeout=_TIMEOUT)
    if done.status:
        raise UsageError(
            f"{every!r} is not a calendar event of systemd",
            code="bad-schedule",
            hint="daily, weekly, monthly, or such as 'Mon..Fri 12:30': see systemd.time(7)",
        )


def install(schedule: Schedule) -> None:
    """Write the document and the units, and start the timer. What was there before is replaced.

    Raises UsageError, IoError where systemd finds fault with a unit: then the timer that was there goes on.
    """
    units = scheduleunits.render(schedule, program(), environment())
    _verify(units)
    document = configuration()
    with written(document):
        document.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_file(document, render(schedule).encode())
    with written(document):
        document.chmod(0o644)  # it holds no secret, and `rescue status` may be anybody's
    for name, text in units.items():
        write_file(UNITS / name, text.encode())
        with written(UNITS / name):
            (UNITS / name).chmod(0o644)
    if scheduleunits.BACK not in units:
        _disable(scheduleunits.BACK)
    run(["systemctl", "daemon-reload"], timeout=_TIMEOUT)
    enabled = [name for name in units if name != scheduleunits.SERVICE]
    run(["systemctl", "enable", *enabled], timeout=_TIMEOUT)
    # One that runs already has to learn of a new time.
    run(["systemctl", "restart", scheduleunits.TIMER], timeout=_TIMEOUT)


def uninstall() -> None:
    """Stop the timer, and take the units and the document away; nothing where there are none. Raises IoError."""
    for name in (scheduleunits.TIMER, scheduleunits.BACK, scheduleunits.SERVICE):
        _disable(name)
    run(["systemctl", "daemon-reload"], timeout=_TIMEOUT)
    with written(configuration()):
        configuration().unlink(missing_ok=True)


def next_run() -> str:
    """When systemd will start the next capture, as it says it; empty where it does not."""
    if find_tool("systemctl") is None or not _RUNNING.is_dir():
        return ""
    argv = ["systemctl", "show", "--property=NextElapseUSecRealtime", "--value", scheduleunits.TIMER]
    return run(argv, accept=range(256), timeout=_TIMEOUT).stdout.strip()


def _disable(name: str) -> None:
    if not (UNITS / name).exists():
        return
    if name != scheduleunits.SERVICE:
        run(["systemctl", "disable", "--now", name], timeout=_TIMEOUT)
    with written(UNITS / name):
        (UNITS / name).unlink(missing_ok=True)


def _verify(units: Mapping[str, str]) -> None:
    """Have systemd look at the units before they replace others; one that it only warns of is taken."""
    if find_tool("systemd-analyze") is None:
        return
    with tempfile.TemporaryDirectory(prefix="rescue-units-") as folder:
        paths = []
        for name, text in units.items():
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        done = run(["systemd-analyze", "verify", *paths], accept=range(256), timeout=_TIMEOUT)
    if done.status:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise IoError(
            f"systemd finds fault with the units of the schedule: {said[-1] if said else done.status}",
            code="bad-unit",
        )


def program() -> list[str]:
    """The command that units start: this very program."""
    return [sys.executable, "-m", "rescue"]


def environment() -> dict[str, str]:
    """What it needs to be found, and to find its files where they were moved."""
    here = str(Path(__file__).parent.parent)
    return {"PYTHONPATH": here, **{name: os.environ[name] for name in _INHERITED if os.environ.get(name)}}
