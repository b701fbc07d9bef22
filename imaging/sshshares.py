"""Folders of other computers over ssh, through sshfs, once a person has seen the key by which the server is known.

A confirmed key is pinned as long as this system runs: ssh then talks to nobody else. A password goes through a pipe.
Sources: sshfs(1), ssh_config(5), ssh-keyscan(1).
"""

import base64
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from imaging.durable import write_file, written
from imaging.errors import IoError, RefusedError, UsageError
from imaging.regular import read_regular
from imaging.run import Completed, run
from imaging.shares import Address, Login
from imaging.sshkeys import PublicKey, parse_key
from imaging.state import state_folder

_PORT = 22
_SCAN = 10
"""Seconds that a server may take to show a key."""
_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Which of a server's keys is shown, the best first."""
_MOST_KEY = 64 << 10
_MOST_PINS = 1 << 20
_CONFIGURATION = """\
UserKnownHostsFile "{pins}"
GlobalKnownHostsFile none
StrictHostKeyChecking yes
UpdateHostKeys no
CheckHostIP no
ConnectTimeout 15
ServerAliveInterval 10
ServerAliveCountMax 3
NumberOfPasswordPrompts 1
"""
"""Nobody else's settings count, and a server that is gone ends in an error instead of a wait without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """The key by which a server is known; `name` is what ssh calls the server."""

    name: str
    key: PublicKey

    @property
    def fingerprint(self) -> str:
        """As ssh shows it to people."""
        digest = hashlib.sha256(base64.b64decode(self.key.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def host_key(address: Address) -> HostKey | None:
    """The key that a server shows; None where one was confirmed already. Takes seconds.

    Raises IoError where nothing answers, and without the tool.
    """
    if _is_pinned(address):
        return None
    argv = ["ssh-keyscan", "-T", str(_SCAN), "-t", "ed25519,ecdsa,rsa", "-p", str(address.port or _PORT)]
    said = run([*argv, _bare(address)], accept=range(256), timeout=6 * _SCAN)
    shown: dict[str, PublicKey] = {}
    for line in said.stdout.splitlines():
        name, _, words = line.partition(" ")
        if name == _name(address):
            key = parse_key(words)
            shown[key.kind] = key
    kind = next((kind for kind in _KINDS if kind in shown), None)
    if kind is None:
        known = "not known" not in said.stderr and "resolve" not in said.stderr
        raise IoError(
            f"{address.server} shows no key of ssh" if known else f"no computer called {address.server} is known here",
            code="no-server",
            hint="check that it is switched on and lets people in by ssh, its name, and the network",
        )
    return HostKey(name=_name(address), key=shown[kind])


def pin(key: HostKey) -> None:
    """A person has confirmed a server's key: it is the server's, as long as this system runs. Raises IoError."""
    path = _pins()
    with written(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [*_pinned(), f"{key.name} {key.key.kind} {key.key.blob}"]
    write_file(path, "".join(f"{line}\n" for line in dict.fromkeys(lines)).encode())


def _pins() -> Path:
    return state_folder() / "ssh-hosts"


def _pinned() -> list[str]:
    try:
        return read_regular(_pins(), _MOST_PINS).decode().splitlines()
    except FileNotFoundError:
        return []


def _is_pinned(address: Address) -> bool:
    return any(line.startswith(f"{_name(address)} ") for line in _pinned())


def _bare(address: Address) -> str:
    return address.server.strip("[]")


def _name(address: Address) -> str:
    """The server as known_hosts names it: sshd(8)."""
    return f"[{_bare(address)}]:{address.port}" if address.port not in (0, _PORT) else _bare(address)


def mount(address: Address, login: Login, where: Path, *, writable: bool, safe: str) -> Completed:
    """Mount a folder; how sshfs ended, with what ssh said as its errors.

    `safe` are options that make it harmless. Raises RefusedError where the server's key was not confirmed (code
    "host-key"), UsageError for a private key that cannot be used (code "login"), IoError.
    """
    if not _is_pinned(address):
        raise RefusedError(
            f"nobody has confirmed the key of {address.server} yet",
            code="host-key",
            hint="compare its fingerprint with what the server's owner says",
        )
    with tempfile.TemporaryDirectory(prefix=".ssh-", dir=state_folder()) as made:
        folder = Path(made)
        settings, log = folder / "config", folder / "log"
        settings.write_text(_CONFIGURATION.format(pins=_pins()) + _way_in(login, folder))
        quoted = str(log).replace("\\", "\\\\").replace(" ", "\\ ").replace(",", "\\,")
        options = [safe, "rw,dir_cache=no" if writable else "ro", f"fsname={address.source}"]
        options += [f"ssh_command=ssh -E {quoted}", *(["password_stdin"] if login.password else [])]
        argv = ["sshfs", "-F", str(settings), "-p", str(address.port or _PORT), "-o", ",".join(options)]
        source = f"{address.user}@{address.server}:{address.path}"
        done = run([*argv, source, where], accept=range(256), timeout=6 * _SCAN, secret=login.password, outlive=True)
        said = log.read_text(errors="replace") if log.exists() else ""
    return Completed(status=done.status, stdout=done.stdout, stderr=said + done.stderr)


def _way_in(login: Login, folder: Path) -> str:
    """How ssh shows who asks: by a key, by a password, or as this user does anyway."""
    if login.key is not None:
        return f'IdentityFile "{_own_copy(login.key, folder)}"\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\n'
    if login.password:
        return "PubkeyAuthentication no\nPreferredAuthentications password,keyboard-interactive\n"
    return "BatchMode yes\n"


def _own_copy(key: Path, folder: Path) -> Path:
    """A private key as ssh takes it: on a FAT stick anybody could read it. It is gone with the folder."""
    try:
        words = read_regular(key, _MOST_KEY)
    except OSError as error:
        raise UsageError(f"the key {key} cannot be read: {error.strerror}", code="login") from error
    copy = folder / "key"
    copy.touch(mode=0o600)
    copy.write_bytes(words)
    if run(["ssh-keygen", "-y", "-P", "", "-f", copy], accept=range(256)).status != 0:
        raise UsageError(
            f"{key} is no private key of ssh, or a passphrase protects it",
            code="login",
            hint="give one without a passphrase, or use a password",
        )
    return copy
