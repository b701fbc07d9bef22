"""Network shares: the addresses that a person types, and who asks for them.

Sources: mount.cifs(8), nfs(5), sshfs(1), RFC 2224 for nfs://.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

from imaging.errors import UsageError

_EXAMPLES = "write it as //server/share (Windows, NAS), server:/folder (NFS) or user@server:/folder (ssh)"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)")
_NFS = re.compile(rf"({_SERVER.pattern}):(/.*)", re.DOTALL)
_SSH = re.compile(rf"([^/@\s]+)@({_SERVER.pattern}):(.*)", re.DOTALL)
_MEANT_FOR_SSH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*:(?!/).*", re.DOTALL)
_CANNOT = ("rsync", "ftp", "ftps", "dav", "davs", "webdav")


class Kind(StrEnum):
    """How a server shares its folders."""

    SMB = "smb"
    NFS = "nfs"
    SSH = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a share is; `path` is `share/folder` of SMB, and begins with a slash of NFS.

    Of ssh it may begin with none: then it is in the user's own folder there.
    """

    kind: Kind
    server: str
    path: str
    user: str = ""
    domain: str = ""
    port: int = 0

    @property
    def source(self) -> str:
        """As mount takes it and a person reads it."""
        match self.kind:
            case Kind.SMB:
                return f"//{self.server}/{self.path}"
            case Kind.NFS:
                return f"{self.server}:{self.path}"
            case Kind.SSH:
                user = f"{self.user}@" if self.user else ""
                port = f":{self.port}" if self.port else ""
                return f"ssh://{user}{self.server}{port}{self.path if self.path.startswith('/') else f'/~/{self.path}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who asks: without a user a Windows share is asked as a guest, and ssh as root."""

    user: str = ""
    password: str = field(default="", repr=False)
    domain: str = ""
    key: Path | None = None
    """The file of a private key, for ssh alone."""


GUEST = Login()


def is_address(words: str) -> bool:
    """Whether a person means something on the network, and not a folder."""
    words = words.strip()
    if words.startswith(("//", "\\\\")) or _URL.fullmatch(words):
        return True
    return not words.startswith(("/", ".", "~")) and any(form.fullmatch(words) for form in (_NFS, _SSH, _MEANT_FOR_SSH))


def parse(words: str) -> Address:
    """`//server/share`, `smb://[[domain;]user@]server/share`, `server:/path`, `nfs://server/path`, `user@server:/path`.

    Or `ssh://[user@]server[:port]/path`.

    Raises UsageError; its message never repeats what might hold a password.
    """
    words = words.strip()
    url = _URL.fullmatch(words)
    if url:
        scheme = url[1].lower()
        if scheme in _CANNOT:
            raise _bad(f"This version cannot read images from {scheme}://", _other_ways())
        if scheme in ("smb", "cifs"):
            return _smb(unquote(url[2]))
        if scheme in ("ssh", "sftp"):
            return _ssh_url(unquote(url[2]))
        if scheme == "nfs":
            return _nfs_url(unquote(url[2]))
        raise _bad(f"{scheme}:// is not an address that this version knows", _EXAMPLES)
    if words.startswith(("//", "\\\\")):
        return _smb(words.replace("\\", "/")[2:])
    nfs = _NFS.fullmatch(words)
    if nfs:
        return _checked(Address(kind=Kind.NFS, server=nfs[1], path=_tidy_nfs(nfs[2])))
    ssh = _SSH.fullmatch(words)
    if ssh:
        return _ssh(ssh[1], ssh[2], ssh[3])
    if _MEANT_FOR_SSH.fullmatch(words):
        raise _bad("This looks like an address for ssh, and names no user", "write it as user@server:/folder")
    raise _bad("This is not the address of a share", _EXAMPLES)


def _bad(message: str, hint: str) -> UsageError:
    return UsageError(message, code="bad-address", hint=hint)


def _other_ways() -> str:
    return f"copy the library to a disk, or share its folder on the network; then {_EXAMPLES}"


def _smb(rest: str) -> Address:
    first, _, path = rest.partition("/")
    before, _, host = first.rpartition("@")
    domain, semicolon, user = before.rpartition(";")
    # A share's name may hold an @. After a colon, it is the end of a password that holds a slash: no server's port
    # is worth telling the one from the other by what a password looks like.
    if ":" in user or ("@" in path and ":" in host and not host.startswith("[")):
        raise _holds_password()
    server, port = _with_port(host)
    share = "/".join(part for part in path.split("/") if part)
    if not share:
        raise _bad(f"The address names no share on {server}", "add its name: //server/share")
    return _checked(
        Address(kind=Kind.SMB, server=server, path=share, user=user, domain=domain if semicolon else "", port=port)
    )


def _nfs_url(rest: str) -> Address:
    host, _, path = rest.partition("/")
    server, port = _with_port(host)
    return _checked(Address(kind=Kind.NFS, server=server, path=_tidy_nfs("/" + path), port=port))


def _ssh(user: str, server: str, path: str, port: int = 0) -> Address:
    if ":" in user:
        raise _holds_password()
    if user.startswith("-"):
        raise _bad("A user's name cannot begin with a hyphen", _EXAMPLES)
    tidy = path.rstrip("/") or ("/" if path.startswith("/") else "")
    return _checked(Address(kind=Kind.SSH, server=server, path=tidy, user=user, port=port))


def _ssh_url(rest: str) -> Address:
    first, _, path = rest.partition("/")
    user, _, host = first.rpartition("@")
    if "@" in path and ":" in host:
        raise _holds_password()
    server, port = _with_port(host)
    return _ssh(user, server, path.removeprefix("~/") if path.startswith("~/") else f"/{path}", port)


def _holds_password() -> UsageError:
    return _bad("The address holds a password", "leave it out: the password is asked for")


def _tidy_nfs(path: str) -> str:
    return "/" + path.strip("/")


def _with_port(host: str) -> tuple[str, int]:
    found = re.fullmatch(rf"({_SERVER.pattern})(?::([0-9]{{1,5}}))?", host)
    if found is None or int(found[2] or 0) > 0xFFFF:
        raise _bad("The address names no server", _EXAMPLES)
    return found[1], int(found[2] or 0)


def _checked(address: Address) -> Address:
    """Neither control characters nor what mount takes for the end of an option; no way out of the share."""
    words = (address.server, address.path, address.user, address.domain)
    if any("," in word or not word.isprintable() for word in words):
        raise _bad("An address cannot hold commas or control characters", _EXAMPLES)
    if ".." in address.path.split("/"):
        raise _bad("An address cannot hold '..'", _EXAMPLES)
    return address
