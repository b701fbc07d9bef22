"""What a system is known by beside its disks, made anew in one that is mounted: machine id, ssh host keys, its name.

Whatever a system makes for itself when it starts is taken away; what nothing would make again is made here, so that no
machine is ever without the keys by which others log in to it.

Sources: machine-id(5), sshd_config(5), systemd-random-seed.service(8), NetworkManager(8), iscsi-iname(8), nvme-cli.
"""

import os
import re
import secrets
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from imaging import identities, systemroot, tree
from imaging.durable import write_all
from imaging.errors import BadImageError, IoError
from imaging.keptfiles import SSH_FOLDER, SSH_PREFIX
from imaging.systemroot import SystemRoot

MACHINE_ID = "etc/machine-id"
_ID = re.compile(rb"[0-9A-Fa-f]{32}\s*")
_DROPBEAR = ("etc/dropbear", "etc/dropbear/initramfs", "etc/dropbear-initramfs")
_DROPBEAR_KEY = re.compile(rb"dropbear_\w+_host_key")
_AWAY = (
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
    "var/lib/NetworkManager/secret_key",
    "var/lib/NetworkManager/seen-bssids",
    "var/lib/dhcpcd/duid",
    "var/lib/dhcpcd/secret",
    "etc/dhcpcd.duid",
    "etc/dhcpcd.secret",
)
"""What each start, or the service it belongs to, makes anew where it is not there."""
_LEASES = ("var/lib/dhcp", "var/lib/NetworkManager", "var/lib/dhcpcd")
_LEASE = re.compile(rb".*\.leases?(?:6)?|dhcp6\.duid")
_INITIATOR = "etc/iscsi/initiatorname.iscsi"
_NAME = re.compile(rb"(?m)^(InitiatorName=iqn\.[^\s:]+:(?:[^\s:]+:)*)([0-9a-f]{6,32})[ \t]*$")
_NVME_ID, _NVME_NAME = "etc/nvme/hostid", "etc/nvme/hostnqn"
_NVME_PREFIX = "nqn.2014-08.org.nvmexpress:uuid:"
_HOST_NAME, _HOSTS = "etc/hostname", "etc/hosts"
_VAR = "var/"
_RSA_BITS, _RSA_EXPONENT = 3072, 65537
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_KEYS: dict[bytes, Callable[[], _Private]] = {
    b"ssh_host_ed25519_key": ed25519.Ed25519PrivateKey.generate,
    b"ssh_host_ecdsa_key": lambda: ec.generate_private_key(ec.SECP256R1()),
    b"ssh_host_rsa_key": lambda: rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS),
}


def make_anew(root: SystemRoot, host_name: str) -> tuple[list[str], list[str]]:
    """Make it anew: the files that were changed, and in words what is still the original's.

    Raises IoError where any of it cannot be.
    """
    work = _Anew(root.mount, root.path)
    with _told():
        work.machine_id()
        work.forget_what_starts_make()
        work.ssh_keys()
        work.initiators()
        if host_name:
            work.host_name(host_name)
    keys = [f"{path} is still the key of the original" for path in work.others()]
    return work.changed, [*keys, *work.not_done]


def make_var_anew(mount: int, base: Sequence[bytes]) -> list[str]:
    """The same where a system's /var is `base` of a file system of its own; raises IoError."""
    work = _Anew(mount, base, below=_VAR)
    with _told():
        work.forget_what_starts_make()
    return work.changed


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IoError(
            f"the restored system cannot be given an identity of its own: {error.strerror}", code="not-renewed"
        ) from error


class _Anew:
    """At work on the folder `base` of a mounted file system, which is that folder `below` of the system's root."""

    def __init__(self, mount: int, base: Sequence[bytes], *, below: str = "") -> None:
        self._mount, self._base, self._below = mount, base, below
        self.changed: list[str] = []
        self.not_done: list[str] = []

    def _path(self, path: str) -> tuple[bytes, ...]:
        return (*self._base, *tree.parts(path.removeprefix(self._below)))

    def _text(self, path: str) -> bytes | None:
        return systemroot.text_of(self._mount, self._path(path))

    def forget_what_starts_make(self) -> None:
        """Take away what the next start makes anew."""
        for path in _AWAY:
            if path.startswith(self._below):
                self.take_away(path)
        for folder in _LEASES:
            self.take_leases(folder)

    def _is_file(self, path: str) -> bool:
        status = self._status(path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def _status(self, path: str) -> os.stat_result | None:
        where = self._path(path)
        try:
            with tree.folder(self._mount, where[:-1]) as folder:
                return os.stat(where[-1], dir_fd=folder, follow_symlinks=False)
        except (BadImageError, FileNotFoundError):
            return None

    def _write(self, path: str, data: bytes) -> None:
        """Replace what a regular file holds; its owner, rights and labels stay."""
        where = self._path(path)
        with tree.folder(self._mount, where[:-1]) as folder:
            fd = os.open(where[-1], os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
        self.changed.append(f"/{path}")

    def _make(self, path: str) -> None:
        """An empty file that all may read, where there is none."""
        where = self._path(path)
        with tree.folder(self._mount, where[:-1]) as folder:
            os.close(os.open(where[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder))

    def machine_id(self) -> None:
        """Another id, for an initramfs may be made with it; one that is empty is filled by the next start."""
        if _ID.fullmatch(self._text(MACHINE_ID) or b""):
            self._write(MACHINE_ID, uuid.uuid4().hex.encode() + b"\n")

    def take_away(self, path: str) -> None:
        """Remove a regular file; a link, such as that to /etc/machine-id, stays."""
        if self._is_file(path):
            where = self._path(path)
            with tree.folder(self._mount, where[:-1]) as folder:
                os.unlink(where[-1], dir_fd=folder)
            self.changed.append(f"/{path}")

    def take_leases(self, path: str) -> None:
        """Addresses that the original was lent, and what it was known by to whoever lent them."""
        with suppress(BadImageError), tree.folder(self._mount, self._path(path)) as folder:
            for name in tree.names_in(folder, self._path(path)):
                if _LEASE.fullmatch(name):
                    self.take_away(f"{path}/{os.fsdecode(name)}")

    def ssh_keys(self) -> None:
        """Keys of the kinds that are there; one of a kind that is not made any more goes without another."""
        names: Sequence[bytes] = ()
        with suppress(BadImageError), tree.folder(self._mount, self._path(SSH_FOLDER)) as folder:
            names = [n for n in tree.names_in(folder, ()) if n.startswith(SSH_PREFIX.encode())]
        for name in names:
            public = name + b".pub"
            path = f"{SSH_FOLDER}/{os.fsdecode(name)}"
            if not self._is_file(path) or not name.endswith(b"_key"):
                continue
            if name not in _KEYS:
                self.take_away(path)
                self.take_away(f"{path}.pub")
                continue
            key = _KEYS[name]()
            self._write(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            if public in names:
                self._write(
                    f"{path}.pub", key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"
                )

    def others(self) -> list[str]:
        """Keys that only a program of the system itself could make."""
        found = []
        for path in _DROPBEAR:
            with suppress(BadImageError), tree.folder(self._mount, self._path(path)) as folder:
                names = tree.names_in(folder, self._path(path))
                found += [f"/{path}/{os.fsdecode(name)}" for name in names if _DROPBEAR_KEY.fullmatch(name)]
        return found

    def initiators(self) -> None:
        """What the machine is called by the disks that it has over a network."""
        text = self._text(_INITIATOR)
        if text is not None:
            new = _NAME.sub(lambda found: found[1] + secrets.token_hex(len(found[2]))[: len(found[2])].encode(), text)
            if new != text:
                self._write(_INITIATOR, new)
        own = str(uuid.uuid4())
        for path, words in ((_NVME_ID, own), (_NVME_NAME, _NVME_PREFIX + own)):
            if self._is_file(path):
                self._write(path, words.encode() + b"\n")

    def host_name(self, name: str) -> None:
        """The name, and where this computer's own address is named."""
        old = identities.host_name_in((self._text(_HOST_NAME) or b"").decode(errors="replace"))
        if self._status(_HOST_NAME) is None:
            self._make(_HOST_NAME)
        if self._is_file(_HOST_NAME):
            self._write(_HOST_NAME, name.encode() + b"\n")
        else:
            self.not_done.append(f"the computer is not called {name}: /{_HOST_NAME} is no regular file")
        hosts = self._text(_HOSTS)
        if hosts is not None:
            new = identities.hosts_with(hosts.decode(errors="surrogateescape"), old, name)
            if new.encode(errors="surrogateescape") != hosts:
                self._write(_HOSTS, new.encode(errors="surrogateescape"))
