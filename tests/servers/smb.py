"""A real server of Windows shares: Samba's, with a user of its own that the rest of this system does not know."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.s3 import free_ports, wait_for_port

USER, PASSWORD, UID = "anna", "never-to-be-seen", 54321
SHARE, FOLDER = "backup", "/srv"
"""The share, and its folder as the server has it: what else is above it here, nobody else may enter."""
# All that Samba would keep in folders of the system's lies in the test's own.
_FOLDERS = ("private", "lock", "state", "cache", "pid", "ncalrpc")
_SETTINGS = """\
[global]
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
load printers = no
printing = bsd
disable spoolss = yes
log file = {folder}/log
passdb backend = tdbsam:{folder}/private/passdb.tdb
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
[{share}]
path = {shared}
read only = no
"""
_IN_A_PLACE_OF_ITS_OWN = f"""\
mount --bind passwd /etc/passwd && mount --bind home {FOLDER} &&
printf '%s\\n%s\\n' "$PASSWORD" "$PASSWORD" | smbpasswd -c smb.conf -s -a "$NAME" &&
exec /usr/sbin/smbd --foreground --no-process-group --log-basename=. --configfile=smb.conf
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smb:
    """A server that runs."""

    port: int
    home: Path
    """What the share holds."""

    def address(self, host: str) -> str:
        """The share as a person types it, where this computer has that name."""
        return f"smb://{host}:{self.port}/{SHARE}"


@contextmanager
def serving(folder: Path) -> Iterator[Smb]:
    """A server until the end of the context; root alone can start it."""
    home = folder / "home"
    for path in (home, *(folder / name for name in _FOLDERS)):
        path.mkdir(parents=True)
    os.chown(home, UID, UID)
    (port,) = free_ports(1)
    (folder / "smb.conf").write_text(_SETTINGS.format(port=port, folder=folder, share=SHARE, shared=FOLDER))
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + f"{USER}:x:{UID}:{UID}::{FOLDER}:/bin/sh\n")
    with (folder / "output").open("ab") as output:
        argv = ["unshare", "--mount", "sh", "-c", _IN_A_PLACE_OF_ITS_OWN]
        environ = {**os.environ, "NAME": USER, "PASSWORD": PASSWORD}
        # When it ends it ends all of its process group, which must not be ours.
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for_port(port, process)
        yield Smb(port=port, home=home)
    finally:
        process.terminate()
        process.wait(20)
