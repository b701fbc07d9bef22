"""Passphrases on the command line: taken from a file, or typed at the terminal without being shown."""

import getpass
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from imaging import keyring, keyslots
from imaging.errors import RefusedError, RescueError, UsageError
from imaging.library import Library
from imaging.plan import Plan
from imaging.touched import libraries_used
from rescue.formats import clean
from rescue.language import _


def add_options(parser: ArgumentParser) -> None:
    """The option of all commands that open libraries."""
    words = _("a file each line of which is a passphrase of an encrypted library (else: $RESCUE_PASSPHRASE_FILE)")
    parser.add_argument("--passphrase-file", metavar="FILE", help=words)


def prepare(options: Namespace) -> None:
    """Have the passphrase at hand that an encrypted library will need. Raises IoError, UsageError."""
    if getattr(options, "passphrase_file", None):
        keyring.use_file(options.passphrase_file)
    keyring.ask_with(_of_library if sys.stdin.isatty() else None)


def unlock(plan: Plan) -> None:
    """Open the encrypted libraries that a plan needs, so that its worker can. Raises RefusedError, BadImageError."""
    for path in dict.fromkeys(Path(use.library) for use in libraries_used(plan)):
        encrypted = False
        with suppress(RescueError):  # the job says what is wrong with it, or makes it
            encrypted = Library.look(path).encryption is not None
        if encrypted:
            Library.open(path)


def refuse_plain(library: Path, options: Namespace) -> None:
    """Raise RefusedError where a passphrase was given for a library that will not need it: somebody relies on it.

    The environment's may be that of the key which signs.
    """
    signs = getattr(options, "sign", None)
    if not options.passphrase_file and (signs or not keyring.given()):
        return
    try:
        encrypted = Library.look(library).encryption is not None
    except RescueError as error:
        if error.code != "not-a-library":
            raise
        encrypted = False
    if not encrypted:
        raise RefusedError(
            f"{library} is not an encrypted library, and a passphrase was given",
            code="not-encrypted",
            hint="make one with: rescue library init --encrypt DIR",
        )


def known(question: str) -> str:
    """A passphrase that there is: the first of the file that was given, else typed. Raises RefusedError without."""
    given = keyring.given()
    return given[0] if given else typed(question)


def new(file: str | None) -> str:
    """A new passphrase: the first line of a file, else typed twice. Raises UsageError where it cannot be one."""
    if file is not None:
        words = keyring.lines_of(file)[0]
        keyslots.refuse_unless_good(words)
        return words
    words = typed(_("New passphrase: "))
    keyslots.refuse_unless_good(words)
    if typed(_("Once more: ")) != words:
        raise UsageError("the two passphrases are not the same", code="bad-passphrase")
    return words


def _of_library(where: str, wrong: bool) -> str:
    if wrong:
        print(_("That passphrase is wrong."), file=sys.stderr)
    return typed(_("Passphrase or recovery key of {library}: ").format(library=clean(where)))


def typed(question: str) -> str:
    """What a person types without its being shown; raises RefusedError where there is no terminal."""
    if not sys.stdin.isatty():
        raise RefusedError(
            "a passphrase is needed, and there is no terminal to ask for it",
            code="passphrase-needed",
            hint="give a file that holds it with --passphrase-file, or in RESCUE_PASSPHRASE_FILE",
        )
    return getpass.getpass(question, stream=sys.stderr)
