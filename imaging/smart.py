"""Ask disks how they are doing, through smartctl: side by side, within a time limit, and without waking or writing.

Source: smartctl(8); smartmontools reads NVMe's log, too.
"""

import threading
import time
from collections.abc import Iterable

from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.health import Condition, Health, needs_type, parse, unknown, with_failure
from imaging.run import Completed, run

PATIENCE = 10.0
"""Seconds that a disk has to answer; one that works needs less than one."""
_NO_LOG = {
    "file": "it is a file",
    "virtio": "it is a virtual disk, which keeps no health log",
    "mmc": "memory cards keep no health log that can be read",
}
"""Transports of disks that need not be asked."""


def healths(disks: Iterable[Disk], patience: float = PATIENCE) -> dict[str, Health]:
    """The health of each disk by its path; takes at most `patience` seconds, however many there are.

    A disk that hangs is left to itself: neither a kill nor a wait would end before the kernel lets go of it.
    """
    asked = list(disks)
    answers: dict[str, Health] = {}

    def ask(disk: Disk) -> None:
        answers[disk.path] = health(disk, patience)

    threads = [threading.Thread(target=ask, args=(disk,), daemon=True) for disk in asked]
    end = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    known = dict(answers)
    silent = unknown(f"it did not answer within {patience:.0f} s")
    return {disk.path: known.get(disk.path) or _with_what_was_seen(disk, silent) for disk in asked}


def health(disk: Disk, patience: float = PATIENCE) -> Health:
    """The health of one disk; whatever goes wrong, it is only unknown, and says why."""
    if disk.transport in _NO_LOG:
        return _with_what_was_seen(disk, unknown(_NO_LOG[disk.transport]))
    try:
        found = _ask(disk.path, patience)
    except RescueError as error:
        found = unknown(error.message)
    return _with_what_was_seen(disk, found)


def _with_what_was_seen(disk: Disk, found: Health) -> Health:
    """A disk that could not be read just now is failing, whatever it says of itself."""
    return with_failure(found, disk.failing) if disk.failing else found


def _ask(path: str, patience: float) -> Health:
    done = _smartctl(path, patience)
    if needs_type(done.stdout):
        behind = _behind_adapter(path, patience)
        if behind is not None:
            return behind
    return parse(done.stdout, done.status)


def _behind_adapter(path: str, patience: float) -> Health | None:
    """The health of a SATA disk behind an adapter that smartctl does not know; None where it does not speak so.

    A stick that knows no ATA commands at all is then said to sleep, of all things; one that sleeps is in standby.
    """
    try:
        done = _smartctl(path, patience, "--device=sat")
        found = parse(done.stdout, done.status)
    except RescueError:
        return None
    return found if found.condition is not Condition.UNKNOWN or "STANDBY" in done.stdout else None


def _smartctl(path: str, patience: float, *more: str) -> Completed:
    argv = ["smartctl", "--json", "--all", "--nocheck=standby", *more, path]
    return run(argv, accept=range(256), timeout=patience)
