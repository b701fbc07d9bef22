"""Images that no trusted key has signed, on the command line: accepted with an option alone."""

import argparse
import sys

from rescue.language import _
from rescue.signed import doubt_words


def add_accept(command: argparse.ArgumentParser) -> None:
    """The option that takes an image which no trusted key has signed."""
    words = _("take an image that no trusted key has signed, or whose signature does not match, all the same")
    command.add_argument("--accept-unsigned", action="store_true", help=words)


def warn_of_doubt(doubt: str) -> None:
    """Say on standard error why images would not be used, had nobody accepted them."""
    for line in doubt_words(doubt).split("\n") if doubt else ():
        print(f"rescue: {_('warning: {problem}').format(problem=line)}", file=sys.stderr)
