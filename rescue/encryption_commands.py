"""`rescue library init --encrypt`, `passphrase` and `recovery-key`, and `rescue unseal`."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from imaging import encryption
from imaging.errors import ExitStatus, UsageError
from imaging.imageplans import CopyImagesPlan
from imaging.keyslots import Slot
from imaging.library import Library
from rescue import passphrases
from rescue.commands import carry_out, print_json, print_lines
from rescue.encryption_words import recovery_lines
from rescue.finding import library_at
from rescue.formats import clean
from rescue.language import _


def add_init(init: ArgumentParser) -> None:
    """The option that makes the new library an encrypted one."""
    words = _("encrypt all that will lie in it; a passphrase opens it, and a recovery key that is shown once")
    init.add_argument("--encrypt", action="store_true", help=words)


def add_passphrases(under: "argparse._SubParsersAction[ArgumentParser]", parents: Sequence[ArgumentParser]) -> None:
    """`rescue library passphrase` and `recovery-key`."""
    top = under.add_parser("passphrase", help=_("add, change or remove a passphrase of an encrypted library"))
    each = top.add_subparsers(metavar="COMMAND", dest="passphrase_command", required=True)

    def command(name: str, words: str, run: Callable[[Namespace], int]) -> ArgumentParser:
        made = each.add_parser(name, parents=list(parents), help=words)
        made.add_argument("library", metavar="DIR")
        made.set_defaults(run=run)
        return made

    new = _("a file that holds the new passphrase, in place of typing it")
    for made in (
        command("add", _("let another passphrase open it, too"), add_passphrase),
        command("change", _("put a passphrase in another's place"), change_passphrase),
    ):
        made.add_argument("--new-passphrase-file", metavar="FILE", help=new)
    remove = command("remove", _("let a passphrase open it no more"), remove_passphrase)
    words = _("the one that `rescue library info` calls so, in place of the one that is typed")
    remove.add_argument("--id", default="", metavar="ID", help=words)
    key = under.add_parser(
        "recovery-key", parents=list(parents), help=_("make another recovery key; the one that there was is void")
    )
    key.add_argument("library", metavar="DIR")
    key.set_defaults(run=new_recovery_key)


def add_unseal(found: "argparse._SubParsersAction[ArgumentParser]", parents: Sequence[ArgumentParser]) -> None:
    """`rescue unseal`."""
    words = _("make a plain library of an encrypted one, which casync can read; run again, it goes on")
    unseal = found.add_parser("unseal", parents=list(parents), help=words)
    unseal.add_argument("library", metavar="LIBRARY", help=_("the encrypted library, which stays as it is"))
    unseal.add_argument("target", metavar="TARGET", help=_("the plain one, which is made where there is none"))
    unseal.set_defaults(run=unseal_library)


def init_encrypted(options: Namespace) -> int:
    """`rescue library init --encrypt DIR`."""
    library, recovery = encryption.init(library_at(options.library), passphrases.new(options.passphrase_file))
    if options.json:
        info = msgspec.to_builtins(library.info)
        print_json({"library": library.where, **info, "recovery_key": recovery})
    else:
        print(_("An empty encrypted library was made: {path}").format(path=clean(library.where)))
        print_lines(recovery_lines(recovery))
    return ExitStatus.DONE


def add_passphrase(options: Namespace) -> int:
    """`rescue library passphrase add DIR`."""
    path = _encrypted(options)
    known = passphrases.known(_("A passphrase that it has, or its recovery key: "))
    slot = encryption.add(path, known, passphrases.new(options.new_passphrase_file))
    return _done(options, slot, _("The passphrase was added. Its id is {id}."))


def change_passphrase(options: Namespace) -> int:
    """`rescue library passphrase change DIR`."""
    path = _encrypted(options)
    known = passphrases.known(_("The passphrase that is to be changed: "))
    slot = encryption.change(path, known, passphrases.new(options.new_passphrase_file))
    return _done(options, slot, _("The passphrase was changed. Its id is {id} now."))


def remove_passphrase(options: Namespace) -> int:
    """`rescue library passphrase remove DIR`."""
    path = _encrypted(options)
    question = _("A passphrase that it has, or its recovery key: ") if options.id else _("The passphrase to remove: ")
    slot = encryption.remove(path, passphrases.known(question), options.id)
    return _done(options, slot, _("The passphrase {id} opens the library no more."))


def new_recovery_key(options: Namespace) -> int:
    """`rescue library recovery-key DIR`."""
    path = _encrypted(options)
    recovery = encryption.new_recovery_key(path, passphrases.known(_("A passphrase that it has: ")))
    if options.json:
        print_json({"library": str(path), "recovery_key": recovery})
    else:
        print_lines(recovery_lines(recovery)[1:])
    return ExitStatus.DONE


def unseal_library(options: Namespace) -> int:
    """`rescue unseal LIBRARY TARGET`: a job."""
    path = _encrypted(options)
    return carry_out(CopyImagesPlan(library=str(path), target=str(library_at(options.target)), unseal=True), options)


def _encrypted(options: Namespace) -> Path:
    where = library_at(options.library)
    if Library.look(where).encryption is None:
        raise UsageError(f"{where} is not encrypted", code="not-encrypted")
    return where


def _done(options: Namespace, slot: Slot, words: str) -> int:
    if options.json:
        print_json({"library": options.library, "id": slot.id})
    else:
        print(words.format(id=slot.id))
    return ExitStatus.DONE
