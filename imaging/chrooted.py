"""python -I -S chrooted.py JSON: run one program of a system that stands on a disk, with that system as its root.

A process of its own, in a name space of mounts of its own (unshare(1)), which end with it: nobody else ever sees them.
JSON has `at`, an empty folder; `writable`; `mounts`, the root's first: device, kind, options, folder; `devices`, those
of the one disk; and `command`. The program sees no other disk, and can make itself no node of one; of this process'
environment it gets nothing.

Sources: mount(2), chroot(2), mknod(2), prctl(2), linux/capability.h.
"""

import ctypes
import json
import os
import stat
import sys
from pathlib import Path

_READ_ONLY, _NO_SUID = 1, 2
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_DROP = 24
"""PR_CAPBSET_DROP."""
_DROPPED = (16, 17, 22, 25, 27)
"""CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME, CAP_MKNOD."""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root", "TERM": "dumb"}
CANNOT = 125
"""The status where the program was not even started."""

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, where: str, kind: str, flags: int = 0, options: str = "") -> None:
    words = [os.fsencode(word) for word in (source, where, kind, options)]
    if _libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), where)


def _folder(path: str) -> None:
    """A link would lead out of the system."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise OSError("not a folder")


def _devices(where: str, disk: list[str]) -> None:
    """What a program needs, and the one disk with its partitions."""
    _mount("tmpfs", where, "tmpfs", _NO_SUID, "mode=755,size=1m")
    for path in (*(f"/dev/{name}" for name in _NODES), *disk):
        status = Path(path).stat()
        node = Path(where, Path(path).relative_to("/dev"))
        node.parent.mkdir(exist_ok=True)
        os.mknod(node, stat.S_IFMT(status.st_mode) | 0o660, status.st_rdev)
    for name, target in _LINKS.items():
        Path(where, name).symlink_to(target)


def _drop() -> None:
    """Root without what would lead to other devices, or to the kernel."""
    for capability in _DROPPED:
        if _libc.prctl(_DROP, capability, 0, 0, 0):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def main(given: str) -> int:
    """Mount, change the root, and become the program; returns only where that fails."""
    what = json.loads(given)
    flags = 0 if what["writable"] else _READ_ONLY
    (device, kind, options, _), *others = what["mounts"]
    try:
        _mount(device, what["at"], kind, flags, options)
        for name in ("dev", "proc", "sys"):
            _folder(f"{what['at']}/{name}")
        _devices(f"{what['at']}/dev", what["devices"])
        os.chroot(what["at"])
        os.chdir("/")
        _mount("proc", "/proc", "proc")
        _mount("sysfs", "/sys", "sysfs")
        for device, kind, options, where in others:
            _mount(device, where, kind, flags, options)
        _drop()
        os.execve(what["command"][0], what["command"], _ENVIRONMENT)
    except OSError as error:
        print(f"{error.filename or what['command'][0]}: {error.strerror or error}", file=sys.stderr)
    return CANNOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
