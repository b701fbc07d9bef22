"""`rescue check-boot TARGET`: whether a computer can start from a disk, and what is missing where it cannot."""

from argparse import Namespace

from msgspec import to_builtins

from imaging import checkboot
from imaging.errors import ExitStatus
from imaging.startable import Answer
from rescue.commands import print_json, print_lines
from rescue.starting import start_lines
from rescue.targeting import device_of

_STATUSES = {
    Answer.STARTS: ExitStatus.DONE,
    Answer.FAILS: ExitStatus.CANNOT_START,
    Answer.UNKNOWN: ExitStatus.START_UNKNOWN,
}


def check_boot(options: Namespace) -> int:
    """Several disks are those of one computer: it starts where it does from one of them."""
    found = checkboot.check_paths([device_of(target) for target in options.targets])
    if options.json:
        print_json({"answer": checkboot.answer(found), "disks": [to_builtins(one) for one in found]})
    else:
        print_lines([line for one in found for line in start_lines(one)])
    return _STATUSES[checkboot.answer(found)]
