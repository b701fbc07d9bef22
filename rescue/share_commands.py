"""`rescue mount-share` and `rescue unmount-share`: network shares as folders, without the menu."""

import getpass
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from imaging import mounts, sharemounts, shares, sshshares
from imaging.address import is_address
from imaging.blockdev import real_path
from imaging.errors import ExitStatus, IoError, RefusedError, UsageError
from imaging.regular import read_regular
from imaging.shares import Address, Kind, Login
from rescue.commands import ask, print_json
from rescue.formats import clean
from rescue.language import _

_MOST_PASSWORD = 4096
_KINDS = ("cifs", "smb3", "nfs", "nfs4", "fuse.sshfs")


def add(mount: ArgumentParser, unmount: ArgumentParser) -> None:
    """The words of both commands."""
    words = _("//server/share (Windows, a NAS), server:/folder (NFS) or user@server:/folder (ssh)")
    mount.add_argument("address", metavar="ADDRESS", help=words)
    mount.add_argument("folder", metavar="FOLDER", help=_("an empty folder"))
    mount.add_argument("--user", default="", metavar="NAME", help=_("who asks (default: a guest; for ssh, root)"))
    mount.add_argument("--domain", default="", metavar="NAME", help=_("the user's domain, for Windows shares"))
    password = mount.add_mutually_exclusive_group()
    words = _("a file that holds the password, which others may not read")
    password.add_argument("--password-file", type=Path, metavar="FILE", help=words)
    password.add_argument("--password-stdin", action="store_true", help=_("take the password from standard input"))
    words = _("the file of a private key, for ssh (default: the user's own)")
    mount.add_argument("--key", type=Path, metavar="FILE", help=words)
    words = _("confirms the server's key, for ssh, in place of being asked")
    mount.add_argument("--host-key", default="", metavar="SHA256:...", help=words)
    mount.add_argument("--write", action="store_true", help=_("mount it for writing, too (default: read-only)"))
    mount.set_defaults(run=mount_share)
    unmount.add_argument("folder", metavar="FOLDER")
    unmount.set_defaults(run=unmount_share)


def mount_share(options: Namespace) -> int:
    """`rescue mount-share ADDRESS FOLDER`."""
    if is_address(options.address):
        raise UsageError(
            f"{options.address} is not mounted", code="bad-address", hint="give it as a library: --library ADDRESS"
        )
    address, where = shares.parse(options.address), real_path(options.folder)
    if not where.is_dir() or where.is_mount() or any(where.iterdir()):
        raise RefusedError(f"{where} is no empty folder", code="not-a-folder", hint="make one, and name it")
    if address.kind is Kind.SSH:
        _confirm(address, options.host_key)
    login = Login(user=options.user, domain=options.domain, key=options.key, password=_password(address, options))
    sharemounts.mount_at(where, address, login, writable=options.write)
    if options.json:
        print_json({"address": address.source, "folder": str(where)})
    else:
        print(_("{share} is mounted at {folder}.").format(share=clean(address.source), folder=clean(str(where))))
    return ExitStatus.DONE


def _confirm(address: Address, fingerprint: str) -> None:
    """Have the server's key confirmed, where that was not done before."""
    key = sshshares.host_key(address)
    if key is None:
        return
    if not fingerprint and sys.stdin.isatty() and sys.stdout.isatty():
        print(_("{server} shows this key for the first time:").format(server=clean(address.server)))
        print(f"  {key.key.kind} {key.fingerprint}")
        fingerprint = key.fingerprint if ask(_("Type yes if it is the server's: ")).strip() == _("yes") else "no"
    if fingerprint != key.fingerprint:
        raise RefusedError(
            f"the key of {address.server} was not confirmed: it is {key.fingerprint}",
            code="host-key",
            hint="compare it with what the server's owner says, and confirm it with --host-key",
        )
    sshshares.pin(key)


def _password(address: Address, options: Namespace) -> str:
    """What was given, else what is typed, where somebody can be asked and it is needed."""
    if options.password_stdin:
        return sys.stdin.readline(_MOST_PASSWORD).rstrip("\n")
    if options.password_file is not None:
        return _of_file(options.password_file)
    named = options.user or address.user
    if not named or address.kind is Kind.NFS or options.key or not sys.stdin.isatty():
        return ""
    return getpass.getpass(_("Password of {user}: ").format(user=clean(named)))


def _of_file(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise RefusedError(
                f"{path} can be read by others: it holds secrets", code="unsafe-file", hint=f"chmod 600 {path}"
            )
        return read_regular(path, _MOST_PASSWORD).decode(errors="surrogateescape").partition("\n")[0]
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error


def unmount_share(options: Namespace) -> int:
    """`rescue unmount-share FOLDER`."""
    where = real_path(options.folder)
    if mounts.kind_at(str(where)) not in _KINDS:
        raise RefusedError(f"no share is mounted at {where}", code="not-mounted")
    sharemounts.detach(where, keep_folder=True)
    if options.json:
        print_json({"folder": str(where)})
    else:
        print(_("Nothing is mounted at {folder} any more.").format(folder=clean(str(where))))
    return ExitStatus.DONE
