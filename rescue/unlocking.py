"""The private key that somebody signs with: its file, and its passphrase, which is asked for where it has one."""

import sys
from contextlib import suppress

from imaging import keyfiles, keyring
from imaging.blockdev import real_path
from imaging.errors import RefusedError
from imaging.signingkeys import PrivateKey
from rescue import passphrases
from rescue.formats import clean
from rescue.language import _


def unlock(name: str) -> PrivateKey:
    """The key in a file; its passphrase is one of those that came from a file, else it is typed.

    Raises UsageError where there is no such file, BadImageError where it is no key, RefusedError for a wrong passphrase
    or where there is no terminal to ask for one.
    """
    path = real_path(name)
    if keyfiles.is_open_to_others(path):
        words = _("warning: other users of this computer can read {path}").format(path=clean(str(path)))
        print(f"rescue: {words}", file=sys.stderr)
    try:
        return keyfiles.read_private(path)
    except RefusedError as error:
        if error.code != "passphrase":
            raise
    for words in keyring.given():
        with suppress(RefusedError):
            return keyfiles.read_private(path, words.encode())
    question = _("Passphrase of {path}: ").format(path=clean(str(path)))
    return keyfiles.read_private(path, passphrases.typed(question).encode())
