"""Mounting network shares: Windows shares through mount.cifs, NFS through mount.nfs, ssh through sshfs.

A password goes through a pipe, never through arguments, files or the environment.
Sources: mount.cifs(8), the kernel's errno.h for what fails.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from imaging import newmounts, nfsshares, sshshares
from imaging.disk import Mount
from imaging.errors import IoError, RefusedError, RescueError, UsageError
from imaging.mounts import options_at, read_mounts
from imaging.run import Completed, run
from imaging.shares import GUEST, Address, Kind, Login

ROOT = Path("/run/rescue/shares")
"""Where shares are mounted, a folder for each."""
_TIMEOUT = 60.0
"""Seconds: a server that is switched off answers nothing at all."""
_SAFE = "nosuid,nodev,noexec"


def attach(
    address: Address,
    login: Login = GUEST,
    *,
    writable: bool = False,
    in_use: Callable[[Path], bool] = lambda _: False,
) -> Path:
    """Mount a share, read-only unless `writable`, and return its folder; one that is mounted already is used.

    It is not where another user, domain or port was asked for: what that may do is not what this one may.
    Where it is mounted for writing, one that was mounted read-only goes, unless it is `in_use`: a job that reads from
    it need not have a file open at any moment, and the kernel would let it go.
    Takes up to a minute. Raises UsageError for a user's name that cannot be one, RefusedError where the server or
    this system refuses, IoError where nothing answers. Codes: "login", "no-share", "no-server", "no-tool".
    """
    address = _as_asked(address, login)
    for mount in mounted():
        newmounts.clear(Path(mount.where))  # of ssh, whose process may be gone
    here = [mount for mount in mounted() if mount.source == _given_to_mount(address) and _suits(mount, address, login)]
    for mount in here:
        if not writable or is_writable(mount):
            return Path(mount.where)
    where = _folder(address)
    try:
        mount_at(where, address, login, writable=writable)
    except RescueError:
        with suppress(OSError):
            where.rmdir()
        raise
    for mount in here:
        if not in_use(Path(mount.where)):
            with suppress(IoError):
                detach(Path(mount.where))
    return where


def mount_at(where: Path, address: Address, login: Login = GUEST, *, writable: bool = False) -> None:
    """Mount a share in a folder, as `attach` does in one of its own."""
    options = [_SAFE, "rw" if writable else "ro", *([f"port={address.port}"] if address.port else [])]
    try:
        match address.kind:
            case Kind.SMB:
                done = _mount_smb(address, login, where, options)
            case Kind.NFS:
                done = nfsshares.mount(address, where, options, writable=writable, timeout=_TIMEOUT)
            case Kind.SSH:
                done = sshshares.mount(_as_asked(address, login), login, where, writable=writable, safe=_SAFE)
    except IoError as error:
        if error.code == "no-tool":
            raise _no_tool(address, error) from error
        if error.code == "tool-hung":
            raise _no_server(address) from error
        raise
    if done.status != 0:
        raise _refusal(address, done.stderr or done.stdout)


def _as_asked(address: Address, login: Login) -> Address:
    """An address of ssh with whoever asks: no other user's folder is taken for it."""
    if address.kind is not Kind.SSH:
        return address
    user = login.user or address.user or "root"
    if user.startswith("-") or any(char in ",@:" or not char.isprintable() for char in user):
        raise UsageError("a user's name cannot begin with a hyphen or hold any of , @ :", code="login")
    return replace(address, user=user)


def _given_to_mount(address: Address) -> str:
    """The share as mount takes it, and as the kernel tells it later; mount.cifs takes an address of IPv6 bare."""
    return address.source.replace("[", "").replace("]", "") if address.kind is Kind.SMB else address.source


def _suits(mount: Mount, address: Address, login: Login) -> bool:
    """Whether a share was mounted for the same user, as the kernel tells it: cifs_show_options, nfs_show_options."""
    if address.kind is Kind.SSH:
        return True  # its source names user and port
    options = options_at(mount.where)
    if (options.get("port", "0") or "0") != str(address.port):
        return False
    if address.kind is Kind.NFS:
        return True
    user, domain = _who(address, login)
    known = options.get("domain", "")
    # Where no domain was asked for, the server has told its own.
    return options.get("username", "") == user and (not domain or domain.casefold() == known.casefold())


def _who(address: Address, login: Login) -> tuple[str, str]:
    """User and domain; no user is a guest."""
    return login.user or address.user, login.domain or address.domain


def mounted() -> tuple[Mount, ...]:
    """The shares that were mounted here."""
    return tuple(mount for _, mount in read_mounts() if Path(mount.where).parent == ROOT)


def is_writable(mount: Mount) -> bool:
    """Whether a share was mounted for writing.

    Of one mounted read-only, the kernel calls the mount so and the file system writable, which `Mount` takes for
    writable; so the kernel is asked what it lets us do.
    """
    return not mount.read_only and os.access(mount.where, os.W_OK)


def detach(where: Path, *, keep_folder: bool = False) -> None:
    """Let go of a share, and of the folder where it was mounted; raises IoError where it is in use."""
    run(["umount", where], timeout=_TIMEOUT)
    if not keep_folder:
        with suppress(OSError):
            where.rmdir()


def _folder(address: Address) -> Path:
    """An empty folder of the share's name."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", f"{address.server}-{address.path}").strip("-.")[:60] or "share"
    try:
        ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        for number in range(1, 100):
            where = ROOT / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                where.mkdir()
                return where
            if not where.is_mount() and not any(where.iterdir()):
                return where
    except OSError as error:
        raise RefusedError(
            f"a share cannot be mounted here: {error.strerror}",
            code="not-allowed",
            hint="only the administrator can mount shares: have it mounted, then name its folder",
        ) from error
    raise RefusedError(f"{address.source} is mounted too often", code="busy", hint="restart the computer")


def _mount_smb(address: Address, login: Login, where: Path, options: list[str]) -> Completed:
    user, domain = _who(address, login)
    if any("," in word or not word.isprintable() for word in (user, domain)):
        raise UsageError("a user's name cannot hold commas or control characters", code="login")
    who = [f"username={user}", *([f"domain={domain}"] if domain else [])] if user else ["guest"]
    every = [*options, "soft", "iocharset=utf8", "file_mode=0600", "dir_mode=0700", *who]
    source = _given_to_mount(address)
    # A line's end would become a part of the password; without a descriptor mount.cifs asks on the terminal.
    return _mount(["mount.cifs", source, where, "-o", ",".join(every)], login.password)


def _mount(argv: list[str | Path], secret: str = "") -> Completed:
    return run(argv, accept=range(256), timeout=_TIMEOUT, secret=secret, environment={"PASSWD_FD": "0"})


def _no_tool(address: Address, error: IoError) -> RefusedError:
    package = {Kind.SMB: "cifs-utils", Kind.NFS: "nfs-common", Kind.SSH: "sshfs"}[address.kind]
    tool = error.message.partition(" ")[0]
    return RefusedError(
        f"this system cannot mount such a share: {tool} is not installed",
        code="no-tool",
        hint=f"install {package}, or start the computer from the recovery stick",
    )


_LOGIN = frozenset({13, 126, 127, 128, 129})
_NO_SHARE = frozenset({2, 6, 20, 53})
_NO_SERVER = frozenset({101, 103, 104, 107, 110, 111, 112, 113, 115})
"""Linux' numbers of errors as mount.cifs prints them."""
_REFUSALS = (
    (re.compile(r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED"), "host-key"),
    (re.compile(r"subsystem request failed|exec request failed"), "no-sftp"),
    (re.compile(r"Connection closed by"), "closed"),
    (re.compile(r"resolve|Name or service|not known"), "no-name"),
    (re.compile(r"not supported by the system|No such device|unknown filesystem"), "no-module"),
    (re.compile(r"access denied|Permission denied"), "login"),
    (re.compile(r"No such file|does not exist|not a directory"), "no-share"),
    (re.compile(r"setuid|superuser|Operation not permitted|fuse: device not found"), "not-allowed"),
    (re.compile(r"refused|timed out|unreachable|No route|could not connect|Host is down|giving up"), "no-server"),
    (re.compile(r"[Pp]rotocol|not supported"), "too-old"),
)


def _refusal(address: Address, said: str) -> RefusedError | IoError:
    """Why a share could not be mounted, from what mount printed."""
    match _why(said):
        case "login" if address.kind is Kind.SMB:
            return RefusedError(
                f"{address.server} does not let this user at {address.source}",
                code="login",
                hint="check user, password and domain, and that this user may use the share",
            )
        case "login" if address.kind is Kind.SSH:
            return RefusedError(
                f"{address.server} does not let this user at {address.source}",
                code="login",
                hint="check the user, and the password or the key, and that this user may read the folder",
            )
        case "host-key":
            return RefusedError(
                f"{address.server} shows another key than the one that was confirmed",
                code="host-key",
                hint="somebody may stand in between, or the server was set up anew: ask whoever runs it; "
                "a restart of this computer forgets the key",
            )
        case "no-sftp":
            return RefusedError(
                f"{address.server} lets nobody at its files by ssh",
                code="no-sftp",
                hint="switch sftp on there, and let this user use it",
            )
        case "closed":
            # OpenSSH from 9.8 on does so for a while where logins from an address have failed; any, where it finds a
            # fault with the user's folder (sshd_config(5): PerSourcePenalties, ChrootDirectory).
            return RefusedError(
                f"{address.server} closed the connection",
                code="closed",
                hint="after logins that failed it may let nobody in from here: wait some minutes; "
                "or else switch sftp on there, and let this user use it",
            )
        case "login":
            return RefusedError(
                f"{address.server} does not let this computer at {address.path}",
                code="login",
                hint="allow this computer's address in the server's list of exports",
            )
        case "no-share":
            return RefusedError(
                f"there is no {address.source}", code="no-share", hint="check how the share and the folder are spelled"
            )
        case "no-name":
            return IoError(
                f"no computer called {address.server} is known here",
                code="no-server",
                hint="check the name and the network, or type the server's number, such as 192.168.1.10",
            )
        case "no-server" if "mount error(112)" in said:
            return IoError(
                f"{address.server} does not answer, or speaks nothing newer than SMB 1",
                code="no-server",
                hint="check that it is switched on, and allow SMB 2.1 or newer in its settings",
            )
        case "no-server":
            return _no_server(address)
        case "no-module" | "not-allowed":
            return RefusedError(
                "this system cannot mount such a share",
                code="not-allowed",
                hint="start the computer from the recovery stick, or mount it yourself and name its folder",
            )
        case "too-old":
            return RefusedError(
                f"{address.server} speaks a version of the protocol that this system does not",
                code="too-old",
                hint="allow SMB 2.1 or newer, or NFS 3 or newer, on the server",
            )
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("Refer to")]
    return IoError(f"{address.source} could not be mounted: {lines[-1] if lines else 'no reason was given'}")


def _why(said: str) -> str:
    number = re.search(r"mount error\((\d+)\)", said)
    if number:
        for numbers, why in ((_LOGIN, "login"), (_NO_SHARE, "no-share"), (_NO_SERVER, "no-server")):
            if int(number[1]) in numbers:
                return why
    return next((why for pattern, why in _REFUSALS if pattern.search(said)), "")


def _no_server(address: Address) -> IoError:
    return IoError(
        f"{address.server} does not answer",
        code="no-server",
        hint="check that it is switched on, the cable, and the network (Network in the main menu)",
    )
