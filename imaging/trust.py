"""Which keys are trusted on this system: where there is one, only images that it has signed are restored.

Two lists count. That of the medium that this system was started from lies in its system part, beneath the medium's own
digests: it is written when the medium is made, and no library beside it, on the same stick or elsewhere, can change it.
That of this computer lies in /etc/rescue (`$RESCUE_CONFIG`). Users have none of their own: root restores, and would not
know of it.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from imaging.durable import write_file, written
from imaging.errors import BadImageError, IoError, RefusedError, UsageError
from imaging.regular import open_regular
from imaging.signingkeys import MOST_KEYS, MOST_LIST, PublicKey, parse_list, render_list

NAME = "trusted-keys.pem"
MEDIUM_LIST = Path("/run/rescue/medium/rescue") / NAME
"""The list of the medium that this system was started from, as the initramfs mounts it."""
SYSTEM = Path("/etc/rescue")


def config_folder() -> Path:
    """Where the list of this computer lies, which counts for everybody."""
    return Path(os.environ.get("RESCUE_CONFIG") or SYSTEM)


def trusted() -> tuple[PublicKey, ...]:
    """All keys that are trusted here, each once; none where nobody has chosen any.

    Raises RefusedError where others can write to a list, BadImageError where one is damaged, IoError: a list that
    cannot be used must not count as none.
    """
    return _each_once([*on_medium(), *of_config()])


def on_medium() -> tuple[PublicKey, ...]:
    """Those that the medium brings from which this system was started. Raises as `trusted` does."""
    return _read(MEDIUM_LIST)


def of_config() -> tuple[PublicKey, ...]:
    """Those of the list that `trust` and `untrust` change."""
    return _read(config_folder() / NAME)


def trust(key: PublicKey) -> None:
    """Trust a key from now on, under its name. Raises RefusedError where the list is full, or for a user, IoError."""
    _refuse_users()
    others = [one for one in of_config() if one.raw != key.raw]
    if len(others) >= MOST_KEYS:
        raise RefusedError(f"a list has at most {MOST_KEYS} keys", code="full", hint="rescue key untrust KEY")
    _write([*others, key])


def untrust(words: str) -> PublicKey:
    """Trust a key of this computer's list no more; it. Raises UsageError where none is meant, or several, IoError.

    Raises RefusedError where the key is trusted by the medium, or for a user.
    """
    _refuse_users()
    keys = of_config()
    meant = find(trusted(), words)
    rest = [one for one in keys if one.raw != meant.raw]
    if len(rest) == len(keys):
        raise RefusedError(
            f"the key {meant.id} is trusted by the medium that this system was started from",
            code="not-yours",
            hint="make the medium anew without it: rescue media create",
        )
    _write(rest)
    return meant


def find(keys: Sequence[PublicKey], words: str) -> PublicKey:
    """The key whose id begins so, or whose name that is; raises UsageError unless there is exactly one."""
    wanted = words.strip()
    digits = wanted.replace("-", "").replace(" ", "").lower()
    found = [
        key for key in keys if key.name == wanted or (len(digits) > 3 and key.id.replace("-", "").startswith(digits))
    ]
    if len(found) != 1:
        what = "no key" if not found else f"{len(found)} keys"
        raise UsageError(f"there is {what} {wanted!r} here", code="no-such-key", hint="`rescue key list` lists them")
    return found[0]


def _refuse_users() -> None:
    """A list that root does not read would promise what does not hold: restoring to a disk needs root."""
    if os.geteuid() != 0 and not os.environ.get("RESCUE_CONFIG"):
        raise RefusedError("whose images are trusted here is for root to say", code="needs-root", hint="run as root")


def _each_once(keys: Sequence[PublicKey]) -> tuple[PublicKey, ...]:
    return tuple({key.raw: key for key in reversed(keys)}.values())[::-1]


def _write(keys: Sequence[PublicKey]) -> None:
    path = config_folder() / NAME
    with written(path):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_file(path, render_list(keys))
    with written(path), suppress(PermissionError):
        path.chmod(0o644)


def _read(path: Path) -> tuple[PublicKey, ...]:
    try:
        fd = open_regular(path, MOST_LIST, "bad-key")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
    with os.fdopen(fd, "rb") as file:
        _refuse_others(path, os.fstat(fd))
        try:
            data = file.read(MOST_LIST)
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
    try:
        return parse_list(data, str(path))
    except BadImageError as error:
        raise BadImageError(error.message, code="bad-key", hint=f"mend or remove {path}") from error


def _refuse_others(path: Path, found: os.stat_result) -> None:
    """A list that somebody else can write to is theirs; the medium's lies in a file system that nobody can."""
    if path != MEDIUM_LIST and (found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022):
        raise RefusedError(
            f"{path} can be changed by other users: it says nothing of whom to trust",
            code="unsafe-file",
            hint=f"chmod go-w {path}, and give it to root",
        )
