"""python -I -S chrooted.py JSON: run one program of a system that stands on a disk, with that system as its root.

A process of its own, in a name space of mounts of its own (unshare(1)), which end with it: nobody else ever sees them.
JSON has `at`, an empty folder; `writable`; `mounts`, the root's first: device, kind, options, folder; and `command`.
Of this computer the program sees the devices, and of its environment nothing.

Sources: mount(2), chroot(2).
"""

import ctypes
import json
import os
import stat
import sys

_READ_ONLY, _BIND, _RECURSIVE = 1, 4096, 16384
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


def main(given: str) -> int:
    """Mount, change the root, and become the program; returns only where that fails."""
    what = json.loads(given)
    flags = 0 if what["writable"] else _READ_ONLY
    (device, kind, options, _), *others = what["mounts"]
    try:
        _mount(device, what["at"], kind, flags, options)
        for name in ("dev", "proc", "sys"):
            _folder(f"{what['at']}/{name}")
        _mount("/dev", f"{what['at']}/dev", "none", _BIND | _RECURSIVE)
        os.chroot(what["at"])
        os.chdir("/")
        _mount("proc", "/proc", "proc")
        _mount("sysfs", "/sys", "sysfs")
        for device, kind, options, where in others:
            _mount(device, where, kind, flags, options)
        os.execve(what["command"][0], what["command"], _ENVIRONMENT)
    except OSError as error:
        print(f"{error.filename or what['command'][0]}: {error.strerror or error}", file=sys.stderr)
    return CANNOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
