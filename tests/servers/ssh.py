"""A real server of ssh: OpenSSH's, with a user of its own that the rest of this system does not know."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.s3 import free_ports, wait_for_port

USER, PASSWORD, UID = "anna", "never-to-be-seen", 54321
_SETTINGS = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
"""
FOLDER = "/srv"
"""The user's own folder, as the server has it: what else is above it here, nobody else may enter."""
_IN_A_PLACE_OF_ITS_OWN = f"""\
mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && mount --bind home {FOLDER} &&
exec /usr/sbin/sshd -D -e -f settings
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """A server that runs; `key` is the file of a private key that it lets in."""

    port: int
    folder: Path
    key: Path
    home: Path
    """What the user's own folder holds."""

    @property
    def fingerprint(self) -> str:
        """Of its host key, as ssh-keygen tells it."""
        told = subprocess.run(["ssh-keygen", "-lf", self.folder / "host"], check=True, capture_output=True, text=True)
        return told.stdout.split()[1]


def make_key(path: Path, passphrase: str = "") -> Path:
    """A pair of keys; the file of the private one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    return path


def _set(path: Path, settings: str) -> None:
    """Write a server's settings, with penalties switched off where this release of OpenSSH has them (9.8 and newer).

    They close the door for a while to whoever failed to log in, as tests do on purpose; older ones refuse the word.
    """
    path.write_text(f"{settings}PerSourcePenalties no\n")
    if subprocess.run(["/usr/sbin/sshd", "-t", "-f", path], capture_output=True, check=False).returncode != 0:
        path.write_text(settings)


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Ssh]:
    """A server until the end of the context; root alone can start it."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    for name in ("host", "user"):
        make_key(folder / name)
    shutil.copy(folder / "user.pub", home / ".ssh/authorized_keys")
    for path in (home, *home.rglob("*")):
        os.chown(path, UID, UID)
    port = port or free_ports(1)[0]
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + f"{USER}:x:{UID}:{UID}::{FOLDER}:/bin/sh\n")
    (folder / "shadow").write_text(Path("/etc/shadow").read_text() + f"{USER}:{hashed.strip()}:20000::::::\n")
    (folder / "shadow").chmod(0o600)
    Path("/run/sshd").mkdir(exist_ok=True)
    _set(folder / "settings", _SETTINGS.format(port=port, folder=folder))
    with (folder / "log").open("ab") as log:
        argv = ["unshare", "--mount", "sh", "-c", _IN_A_PLACE_OF_ITS_OWN]
        process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for_port(port, process)
        yield Ssh(port=port, folder=folder, key=folder / "user", home=home)
    finally:
        process.terminate()
        process.wait(60)
