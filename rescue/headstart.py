"""The menu's head start on the live system: it is painted before all else that a boot does, and then a process as any.

rescue-tui@.service starts it with a high priority, since udev and the drivers of a machine's hardware keep all
processors busy meanwhile. Once it is painted nothing it does, or starts, may be preferred to a job.
"""

import os
from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")
"""On Linux a priority belongs to a thread: setpriority(2)."""


def give_up() -> None:
    """Give all threads of this process the usual priority; elsewhere than on the live system nothing changes."""
    if not os.environ.get("RESCUE_LIVE"):
        return
    for task in _TASKS.iterdir():
        # A thread may have ended meanwhile.
        with suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, int(task.name)) < 0:
                os.setpriority(os.PRIO_PROCESS, int(task.name), 0)
