"""The files in which people keep the keys that sign images; what stands in them: imaging.signingkeys."""

import os
import stat
from pathlib import Path

from imaging.durable import create, sync_folder, write_all, written
from imaging.errors import IoError, RefusedError, UsageError
from imaging.regular import read_regular
from imaging.signingkeys import MOST_LIST, MOST_PRIVATE, PrivateKey, PublicKey, parse_private, parse_public

PUBLIC = ".pub"
"""What is behind the name of a private key's file, for that of its public half."""


def make(path: Path, name: str, passphrase: bytes) -> PublicKey:
    """Make a key: `path` is its private half, which its owner alone can read, and the same name with `.pub` the other.

    Raises RefusedError where one of the files is there, IoError.
    """
    key = PrivateKey.new()
    public = PublicKey(raw=key.public.raw, name=name)
    other = path.with_name(path.name + PUBLIC)
    for one in (path, other):
        if os.path.lexists(one):
            raise RefusedError(f"{one} exists", code="exists", hint="give another name: no key is ever overwritten")
    for one, data in ((path, key.pem(passphrase)), (other, public.pem.encode())):
        with written(one):
            fd = create(one)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            sync_folder(one.parent)
    with written(other):
        other.chmod(0o644)
    return public


def read_private(path: Path, passphrase: bytes = b"") -> PrivateKey:
    """Raises as signingkeys.parse_private does, UsageError where there is no such file, IoError."""
    return parse_private(_read(path, MOST_PRIVATE), str(path), passphrase)


def read_public(path: Path) -> PublicKey:
    """Raises as signingkeys.parse_public does, UsageError where there is no such file, IoError."""
    return parse_public(_read(path, MOST_LIST), str(path))


def is_private(path: Path) -> bool:
    """Whether a file says that it holds a private key; raises UsageError where there is no such file, IoError."""
    return b" PRIVATE KEY-----" in b" " + _read(path, max(MOST_LIST, MOST_PRIVATE))


def is_open_to_others(path: Path) -> bool:
    """Whether other users can read a file; a FAT knows no rights, and says so of all of its files."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def _read(path: Path, most: int) -> bytes:
    try:
        return read_regular(path, most, "bad-key")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: there is no such file", code="no-such-file") from error
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
