"""Files of one system that is mounted, brought into another one: with their owners, rights, times and attributes."""

import errno
import os
import re
import secrets
import stat
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import ioctl

from imaging import accounts, filedata, identities, keptpaths, rootlinks, systemroot, tree
from imaging.accounts import Owners
from imaging.durable import write_all
from imaging.errors import BadImageError, CancelledError, IoError
from imaging.pipeline import Reporter
from imaging.systemroot import SystemRoot
from imaging.tree import Entry, EntryKind

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_MOST_TOLD = 20
_ROOM = 1 << 20
"""Bytes with which a file system is not full: an attribute that it takes no more is too large for it."""
CODE = "not-carried"
HINT = "restore without keeping files, and copy them out of the safety image; or restore that, which undoes all"
_ONE_WORD = re.compile(r"[^\s\\#\x00-\x1f\x7f]{1,64}")
"""What /etc/hosts can have as a name, of the length that Linux allows."""
_SHELLS = ("/bin/bash", "/bin/sh")
"""What people log in with where there is not what they had: the first that is there."""
_SET_FLAGS, _FIXED = 0x40086602, 0x10 | 0x20
"""FS_IOC_SETFLAGS, FS_IMMUTABLE_FL and FS_APPEND_FL. Source: linux/fs.h."""
_OF_BTRFS = "btrfs."
"""Properties of a file on btrfs, such as its compression, which it shows as attributes. Source: btrfs-property(8)."""
_SAVED_TWICE = ("trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")
"""How XFS shows access lists to root beside their own names: with the old system's ids."""
Look = Callable[[int, bytes], Entry]
"""Looks at an entry of an open folder."""


def stop_if_asked(cancel: threading.Event) -> None:
    """Raise CancelledError where somebody has asked for that."""
    if cancel.is_set():
        raise CancelledError("stopped because somebody asked")


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Whatever goes wrong in here is an error of ours that names it."""
    try:
        yield
    except filedata.SourceError as error:
        raise IoError(f"{what} cannot be read at byte {error.at} of its safety image", code=CODE) from error
    except OSError as error:
        why = error.strerror or error
        raise IoError(f"{what} could not be carried over: {why}", code=CODE, hint=HINT) from error
    except BadImageError as error:
        raise IoError(f"{what} could not be carried over: {error.message}", code=CODE, hint=HINT) from error


class Bringing:
    """A carrying over that is under way."""

    def __init__(self, old: SystemRoot, new: SystemRoot, report: Reporter, cancel: threading.Event) -> None:
        self._old, self._new, self._report, self._cancel = old, new, report, cancel
        self._accounts = keptpaths.accounts_of(old), keptpaths.accounts_of(new)
        self._owners = Owners(*self._accounts)
        self._host_name = _host_name(new)
        self._first: dict[tuple[int, int], tuple[bytes, ...]] = {}
        """Where a file with several names was brought to, by its device (a subvolume has its own) and inode."""
        self._told = 0
        self.files = self.bytes = 0
        self.left = 0
        """How many of those that are not kept the plan has told."""
        self.not_kept: dict[str, int] = {}

    def bring(self, path: Sequence[bytes]) -> None:
        """Bring one file or folder, in place of what is there."""
        where = keptpaths.placed(path, self._old, self._new)
        with telling(keptpaths.shown(self._old, path)):
            if self._is_left_out(path):
                return
            self._make(path[:-1], where[:-1])
            with tree.folder(self._new.mount, where[:-1]) as target:
                remove(target, where[-1])
            self._all(path, where)

    def _all(self, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        """Bring a file, or a folder with all that is in it: however deep that is, few descriptors are open."""
        name, path, where = path[-1], tuple(path[:-1]), tuple(where[:-1])
        with tree.standing(self._old.mount, path) as source, tree.standing(self._new.mount, where) as target:
            levels = [self._entries(source.fd, target.fd, path, where, [name])]
            while levels:
                if levels[-1]:
                    name = levels[-1].pop()
                    path, where = (*path, name), (*where, name)
                    with telling(keptpaths.shown(self._old, path)):
                        source.enter(name)
                        target.enter(name)
                        levels.append(self._entries(source.fd, target.fd, path, where, tree.names_in(source.fd, path)))
                    continue
                levels.pop()
                if levels:
                    with telling(keptpaths.shown(self._old, path)):
                        source.leave()
                        target.leave()
                        self._leave(source.fd, target.fd, path, where)
                    path, where = path[:-1], where[:-1]

    def _entries(
        self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes], names: Sequence[bytes]
    ) -> list[bytes]:
        """Bring these of an open folder to another; the folders among them, the last first, are made, and empty yet."""
        inner = []
        for name in names:
            with telling(keptpaths.shown(self._old, (*path, name))):
                if self._one(source, target, (*path, name), (*where, name)):
                    inner.append(name)
        return inner[::-1]

    def _make(self, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        """Make the folder `where`, as `path` is in the old system, and those above it, as far as they are not there."""
        try:
            with tree.folder(self._new.mount, where):
                return
        except BadImageError:
            if not where or not path:
                raise
        self._make(path[:-1], where[:-1])
        with tree.folder(self._old.mount, path[:-1]) as source, tree.folder(self._new.mount, where[:-1]) as above:
            os.mkdir(where[-1], 0o755, dir_fd=above)
            with tree.inside(path[-1], source) as old, tree.inside(where[-1], above) as new:
                self._keep(old, new, path)

    def _one(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> bool:
        """Bring an entry of an open folder to another; whether it is a folder, which is made, and empty yet."""
        stop_if_asked(self._cancel)
        entry = self._look(source, path)
        if self._leave_out(source, path, entry):
            return False
        match entry.kind:
            case EntryKind.FOLDER:
                self._refuse_too_deep(path)
                os.mkdir(where[-1], 0o700, dir_fd=target)
                return True
            case EntryKind.FILE:
                self._file(source, target, path, where)
            case EntryKind.LINK:
                os.symlink(entry.target, where[-1], dir_fd=target)
                self._own_unfollowed(source, target, path, where)
                self.files += 1
            case EntryKind.OTHER:
                self._pipe(source, target, path, where)
        return False

    def _look(self, source: int, path: Sequence[bytes]) -> Entry:
        entry = keptpaths.look(self._old, source, path[-1])
        if entry.problem:
            raise IoError(f"{keptpaths.shown(self._old, path)} cannot be read: {entry.problem}", code=CODE)
        return entry

    def _leave_out(self, source: int, path: Sequence[bytes], entry: Entry) -> bool:
        """Whether an entry of an open folder is one that is not kept, which is told."""
        why = keptpaths.why_left(self._old, source, path, entry)
        if why:
            self.left += 1
            self._not_kept(why, path)
        return bool(why)

    def _is_left_out(self, path: Sequence[bytes]) -> bool:
        """The same by a path that the rules keep: what the restored system has there stays then."""
        with tree.folder(self._old.mount, path[:-1]) as source:
            return self._leave_out(source, path, self._look(source, path))

    def _refuse_too_deep(self, path: Sequence[bytes]) -> None:
        if len(path) > tree.DEEPEST:
            raise IoError(f"{keptpaths.shown(self._old, path)} lies in too many folders", code=CODE)

    def _leave(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        """Keep of a folder what is beside that which is in it, now that all of this is there."""
        with tree.inside(path[-1], source) as old, tree.inside(where[-1], target) as new:
            self._keep(old, new, path)

    def _file(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        fd = os.open(path[-1], READ, dir_fd=source)
        try:
            status = os.fstat(fd)
            key = status.st_dev, status.st_ino
            if status.st_nlink > 1 and key in self._first:
                first = self._first[key]
                with tree.folder(self._new.mount, first[:-1]) as folder:
                    os.link(first[-1], where[-1], src_dir_fd=folder, dst_dir_fd=target, follow_symlinks=False)
            else:
                self._copy(fd, (source, target), path, where)
                if status.st_nlink > 1:
                    self._first[key] = tuple(where)
            self.files += 1
        finally:
            os.close(fd)

    def _copy(self, fd: int, folders: tuple[int, int], path: Sequence[bytes], where: Sequence[bytes]) -> None:
        """Make a new file of an open one; `folders` are those that the two are in."""
        out = os.open(where[-1], WRITE, 0o600, dir_fd=folders[1])
        try:
            self.bytes += filedata.copy(fd, out, self._passed)
            self._keep(fd, out, path)
        finally:
            os.close(out)

    def _passed(self, size: int, moved: int) -> None:
        stop_if_asked(self._cancel)
        self._report.advance(size, moved)

    def _pipe(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        status = os.stat(path[-1], dir_fd=source, follow_symlinks=False)
        os.mkfifo(where[-1], 0o600, dir_fd=target)
        self.files += 1
        self._own_unfollowed(source, target, path, where)
        os.chmod(where[-1], stat.S_IMODE(status.st_mode), dir_fd=target)

    def _own_unfollowed(self, source: int, target: int, path: Sequence[bytes], where: Sequence[bytes]) -> None:
        status = os.stat(path[-1], dir_fd=source, follow_symlinks=False)
        user, group = self._owners.user(status.st_uid), self._owners.group(status.st_gid)
        os.chown(where[-1], user, group, dir_fd=target, follow_symlinks=False)
        os.utime(where[-1], ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _keep(self, source: int, out: int, path: Sequence[bytes]) -> None:
        """Owner, attributes, rights and times, in the order in which none undoes another."""
        status = os.fstat(source)
        os.fchown(out, self._owners.user(status.st_uid), self._owners.group(status.st_gid))
        names = [name for name in _attributes(source) if name not in _SAVED_TWICE]
        for name in _ACLS:
            # The folder that it lies in may have left it some.
            if name in _attributes(out) and name not in names:
                os.removexattr(out, name)
        for name in names:
            value = os.getxattr(source, name)
            try:
                os.setxattr(out, name, self._owners.acl(value) if name in _ACLS else value)
            except OSError as error:
                state = os.fstatvfs(out)
                if error.errno in (errno.ENOSPC, errno.EDQUOT) and state.f_bavail * state.f_frsize < _ROOM:
                    raise
                # Such as what only the other kind of file system knows, or holds in this size.
                if not name.startswith(_OF_BTRFS):
                    self._not_kept("extended attributes", path)
        os.fchmod(out, stat.S_IMODE(status.st_mode))
        os.utime(out, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _not_kept(self, what: str, path: Sequence[bytes]) -> None:
        self.not_kept[what] = self.not_kept.get(what, 0) + 1
        self._told += 1
        if self._told <= _MOST_TOLD:
            self._report.log(f"Not kept: {what} of {keptpaths.shown(self._old, path)}", "warning")

    def tell_rest(self) -> None:
        """Tell how many warnings were not told."""
        if self._told > _MOST_TOLD:
            self._report.log(f"And {self._told - _MOST_TOLD:,} more like these", "warning")

    def take_over_accounts(self) -> None:
        """Put people's accounts into the new system's files, each of which is replaced whole."""
        for name, text in accounts.taken_over(*self._accounts, self._owners, self._shells()).items():
            where = (*self._new.path, b"etc", name.encode())
            with telling(f"/etc/{name}"), tree.folder(self._new.mount, where[:-1]) as folder:
                _replace(folder, where[-1], text.encode(errors="surrogateescape"))

    def _shells(self) -> dict[str, str]:
        """What people get in place of login shells that the new system does not have, which is told."""
        old, new = self._accounts
        come = set(old.people) - new.ids("passwd").keys()
        instead = next((shell for shell in _SHELLS if rootlinks.may_be_there(self._new, shell)), "")
        shells = old.shells_of(come) if instead else ()
        lacking = [shell for shell in shells if not rootlinks.may_be_there(self._new, shell)]
        for shell in lacking:
            words = f"The restored system has no {shell}: whoever logged in with that does so with {instead}"
            self._report.log(words, "warning")
        return dict.fromkeys(lacking, instead)

    def take_over_host_name(self) -> None:
        """Call this computer in /etc/hosts what it is called now that /etc/hostname is the old system's."""
        where, name = (*self._new.path, b"etc", b"hosts"), _host_name(self._new)
        hosts = systemroot.text_of(self._new.mount, where)
        if hosts is None or not name:
            return
        text = hosts.decode(errors="surrogateescape")
        renamed = identities.hosts_with(text, self._host_name, name)
        if renamed != text:
            with telling("/etc/hosts"), tree.folder(self._new.mount, where[:-1]) as folder:
                _replace(folder, where[-1], renamed.encode(errors="surrogateescape"))


def _host_name(root: SystemRoot) -> str:
    """What a system calls its computer; empty where it has no file that says so, or what it says is no name."""
    text = systemroot.text_of(root.mount, (*root.path, b"etc", b"hostname")) or b""
    name = identities.host_name_in(text.decode(errors="surrogateescape"))
    return name if _ONE_WORD.fullmatch(name) else ""


def _replace(folder: int, name: bytes, data: bytes) -> None:
    """Give a file that is there new contents, its owner, rights and labels as they were."""
    made = b".%s.%s" % (secrets.token_hex(4).encode(), name)
    old = os.open(name, READ, dir_fd=folder)
    try:
        status = os.fstat(old)
        out = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            write_all(out, data)
            os.fchown(out, status.st_uid, status.st_gid)
            for attribute in _attributes(old):
                with suppress(OSError):
                    os.setxattr(out, attribute, os.getxattr(old, attribute))
            os.fchmod(out, stat.S_IMODE(status.st_mode))
            os.fsync(out)
        finally:
            os.close(out)
    finally:
        os.close(old)
    os.rename(made, name, src_dir_fd=folder, dst_dir_fd=folder)


def _attributes(fd: int) -> list[str]:
    """The names of a file's extended attributes; none where its file system has no such thing."""
    try:
        return os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise


def _loosen(folder: int, name: bytes) -> None:
    """Take the flags from a file or a folder that keep everybody from changing it, where it has any."""
    fd = os.open(name, READ, dir_fd=folder)
    try:
        found = keptpaths.flags_of(fd)
        if found & _FIXED:
            ioctl(fd, _SET_FLAGS, bytearray(struct.pack("=II", found & ~_FIXED, 0)))
    except OSError:
        return  # removing it will tell
    finally:
        os.close(fd)


def remove(folder: int, name: bytes, look: Look = tree.look) -> None:
    """Take away a file, or a folder with all that is in it, however deep; nothing where there is none."""
    with tree.standing(folder, ()) as at, suppress(FileNotFoundError):
        levels = [[name]] if _unlink(at.fd, name, look) else []
        entered: list[bytes] = []
        while levels:
            if levels[-1]:
                entered.append(levels[-1].pop())
                at.enter(entered[-1])
                names = tree.names_in(at.fd, entered)
                levels.append([one for one in names if _unlink(at.fd, one, look)])
                continue
            levels.pop()
            if levels:
                at.leave()
                os.rmdir(entered.pop(), dir_fd=at.fd)


def _unlink(folder: int, name: bytes, look: Look) -> bool:
    """Take away an entry of an open folder, unless it is a folder itself: whether it is."""
    entry = look(folder, name)
    if entry.kind in (EntryKind.FOLDER, EntryKind.FILE) and not entry.problem:
        _loosen(folder, name)
    if entry.kind is EntryKind.FOLDER and not entry.problem:
        return True
    os.unlink(name, dir_fd=folder)
    return False
