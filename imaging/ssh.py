"""A shell from afar: whether somebody may come in by ssh, with which keys or password, and switching that.

On the live system only, and off unless somebody asks: at boot with `rescue.ssh=` or a file on the stick's images
partition, or on the Network screen, which makes a password. systemd listens (rescue-ssh.socket) and starts a dropbear
for each connection, so that a change ends no session.
Sources: dropbear(8), dropbearkey(1), chpasswd(8), systemd.socket(5).
"""

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imaging import bootline, media
from imaging.durable import reading, write_file, written
from imaging.errors import IoError, RefusedError, RescueError, UsageError
from imaging.run import find_tool, run
from imaging.sshkeys import PublicKey, authorized_keys, make_password, parse_key

WORD = "rescue.ssh"
"""The word on the kernel command line that gives a key; it may stand there several times."""
STICK = media.IMAGES / "rescue-ssh"
"""On the stick: authorized_keys switches ssh on at each boot, host_key keeps this computer's key the same."""
STATE = Path("/run/rescue/ssh")
KERNEL_LOG = Path("/dev/kmsg")

_SOCKET = "rescue-ssh.socket"
_SESSIONS = "rescue-ssh@*.service"
_HOST_KEY = "host_key"
_KEYS = "authorized_keys"
_PASSWORD = "password"
"""There while a password lets in; it holds the password's number, never the password."""
_FINGERPRINT = "fingerprint"
_NAMES = "names"
_PROBLEMS = "problems"
_MOST = 64 << 10
"""Bytes of a file on the stick that are read."""
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How it stands."""

    on: bool = False
    connections: int = 0
    password: str = ""
    """The number of the password that lets in; empty where none does."""
    keys: tuple[str, ...] = ()
    """What the keys that let in are called."""
    fingerprint: str = ""
    """Of this computer's own key, as ssh shows it."""
    problems: tuple[str, ...] = ()
    """What was asked for at boot and could not be done."""
    why_not: str = ""
    """Why it cannot be switched; empty where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """A password and its number, which tells whether it still is the one that lets in."""

    words: str
    number: str


def ssh() -> Ssh:
    """How it stands; raises IoError."""
    reason = why_not()
    if reason or not STATE.exists():
        return Ssh(why_not=reason)
    said = run(["systemctl", "show", "--property=ActiveState,NConnections", _SOCKET], timeout=_TIMEOUT).stdout
    facts = dict(line.partition("=")[::2] for line in said.splitlines())
    if facts.get("ActiveState") != "active":
        return Ssh(problems=_lines(_PROBLEMS))
    connections = facts.get("NConnections", "")
    return Ssh(
        on=True,
        connections=int(connections) if connections.isdecimal() else 0,
        password="".join(_lines(_PASSWORD)),
        keys=_lines(_NAMES),
        fingerprint="".join(_lines(_FINGERPRINT)),
        problems=_lines(_PROBLEMS),
    )


def why_not() -> str:
    """Why it cannot be switched; empty where it can."""
    if not media.on_live_system():
        return "this is not the recovery system: its own settings say who may come in"
    if os.geteuid() != 0:
        return "only root can let somebody in"
    return "" if find_tool("dropbear") else "dropbear is not installed"


def allow_password() -> Password:
    """Let in whoever types a password that is made now, in place of the last one; raises RefusedError, IoError."""
    _refuse()
    password = Password(words=make_password(), number=make_password())
    # On its standard input, where no list of processes shows it. Not by PAM, which may find passwords too weak.
    run(["chpasswd", "--crypt-method", "SHA512"], secret=f"root:{password.words}\n", timeout=_TIMEOUT)
    _put(_PASSWORD, password.number)
    _listen()
    return password


def allow_keys() -> Ssh:
    """Let in whoever has a key that was given at boot; what is wrong with one is kept to be shown. Raises IoError."""
    _refuse()
    keys, problems = given_keys()
    _put(_KEYS, authorized_keys(keys))
    _put(_NAMES, "".join(f"{key.name or key.kind}\n" for key in keys))
    _put(_PROBLEMS, "".join(f"{problem}\n" for problem in problems))
    for problem in problems:
        _log(problem)
    if keys:
        _listen()
    return ssh()


def switch_off() -> None:
    """Let nobody in any more, and end the sessions, last of all: this may be called from one. Raises IoError."""
    _refuse()
    run(["systemctl", "stop", _SOCKET], timeout=_TIMEOUT)
    with written(STATE):
        (STATE / _PASSWORD).unlink(missing_ok=True)
    run(["chpasswd", "--encrypted"], secret="root:*\n", timeout=_TIMEOUT)
    _log("off")
    run(["systemctl", "--no-block", "stop", _SESSIONS], timeout=_TIMEOUT)


def given_keys() -> tuple[tuple[PublicKey, ...], tuple[str, ...]]:
    """The keys of the kernel command line and the stick, and what is wrong with others."""
    keys: list[PublicKey] = []
    problems = []
    given = [(WORD, words) for words in bootline.values(WORD)]
    file = STICK / _KEYS
    if file.exists():
        try:
            given += [(f"{file} line {n}", line) for n, line in enumerate(_stick_file(_KEYS).decode().splitlines(), 1)]
        except UnicodeDecodeError:
            problems.append(f"the keys in {file} cannot be read: it is not text")
        except RescueError as error:
            problems.append(f"the keys in {file} cannot be read: {error.message}")
    for where, words in given:
        if where != WORD and (not words.strip() or words.startswith("#")):
            continue
        try:
            keys.append(parse_key(words))
        except UsageError as error:
            problems.append(f"the key of {where} does not let in: {error.message}")
    return tuple(dict.fromkeys(keys)), tuple(problems)


def _stick_file(name: str) -> bytes:
    """A file of the stick, however large somebody made it."""
    with reading(STICK / name), (STICK / name).open("rb") as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise IoError(f"it has more than {_MOST >> 10} KiB", code="too-large")
    return data


def _listen() -> None:
    """Have systemd listen, once there is a host key."""
    if not (STATE / _HOST_KEY).exists():
        _put(_FINGERPRINT, _make_host_key())
    run(["systemctl", "start", _SOCKET], timeout=_TIMEOUT)
    _log(f"on, host key {''.join(_lines(_FINGERPRINT))}")


def _make_host_key() -> str:
    """The stick's key, or a new one that only memory holds; returns its fingerprint."""
    made = STATE / f"{_HOST_KEY}.new"
    made.unlink(missing_ok=True)
    fingerprint = ""
    if (STICK / _HOST_KEY).exists():
        try:
            fingerprint = _use_host_key(_stick_file(_HOST_KEY), made)
        except RescueError as error:
            _complain(f"{STICK / _HOST_KEY} is no private key of ssh: {error.message}; a new one is used")
    if not fingerprint:
        made.unlink(missing_ok=True)
        run(["dropbearkey", "-t", "ed25519", "-f", made], timeout=_TIMEOUT)
        fingerprint = _fingerprint_of(made)
    made.replace(STATE / _HOST_KEY)
    return fingerprint


def _use_host_key(data: bytes, made: Path) -> str:
    """dropbear's own kind of file as it is, OpenSSH's converted."""
    given = STATE / f"{_HOST_KEY}.given"
    write_file(given, data)
    try:
        if data.startswith(b"-----BEGIN"):
            run(["dropbearconvert", "openssh", "dropbear", given, made], timeout=_TIMEOUT)
        else:
            write_file(made, data)
        return _fingerprint_of(made)
    finally:
        given.unlink(missing_ok=True)


def _fingerprint_of(key: Path) -> str:
    said = run(["dropbearkey", "-y", "-f", key], timeout=_TIMEOUT).stdout
    found = re.search(r"SHA256:\S+", said)
    if found is None:
        raise IoError("dropbearkey did not tell the key's fingerprint", code="tool-failed")
    return found.group()


def _complain(problem: str) -> None:
    _put(_PROBLEMS, "".join(f"{line}\n" for line in (*_lines(_PROBLEMS), problem)))
    _log(problem)


def _refuse() -> None:
    reason = why_not()
    if reason:
        raise RefusedError(f"ssh cannot be switched: {reason}", code="not-live")


def _put(name: str, text: str) -> None:
    with written(STATE):
        STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(STATE / name, text.encode())


def _lines(name: str) -> tuple[str, ...]:
    try:
        return tuple((STATE / name).read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return ()


def _log(words: str) -> None:
    """Into the kernel's log, which every console shows while it starts, and the log's screen and file later."""
    with suppress(OSError), KERNEL_LOG.open("w") as log:
        # Level 5: a thing to note. One line, whatever a file's name holds.
        log.write(f"<5>rescue: ssh: {' '.join(words.split())[:400]}\n")


def main() -> int:
    """For rescue-ssh.service, at boot."""
    try:
        allow_keys()
    except RescueError as error:
        _log(error.message)
        print(f"rescue: ssh: {error.message}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
