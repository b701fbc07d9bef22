"""`rescue log`: the logs of all jobs on standard output, or everything in one file."""

import sys
from argparse import Namespace

import msgspec

from imaging import inventory
from imaging.errors import ExitStatus
from imaging.jobs import jobs
from rescue import logbook


def log(options: Namespace) -> int:
    """`rescue log`, the newest job last, where a terminal leaves off; `--save` writes one file and says its path."""
    if options.save is not None:
        path = str(logbook.save(options.save, inventory.machine(), jobs()))
        print(msgspec.json.encode({"saved": path}).decode() if options.json else path)
        return ExitStatus.DONE
    pages = [*map(logbook.job_page, reversed(jobs())), *logbook.order_pages(), logbook.screens_page()]
    if options.kernel:
        pages.insert(0, logbook.kernel_page())
    if options.json:
        found = [{"title": page.title, "lines": page.lines} for page in pages]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode({"logs": found}), indent=2).decode() + "\n")
    else:
        for line in logbook.page_lines(pages):
            print(line)
    return ExitStatus.DONE
