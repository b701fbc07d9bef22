"""python -I insideroot.py JOB: run one program of a system with that system for its root; JOB is JSON, see `Job`.

A process of its own, to be started by unshare(1) in namespaces of its own (mounts, processes, network, and others).
What runs here came with an image: it sees none of this computer's disks, devices, files, processes or networks, and
gets no right with which it could reach them. All that it can change is the file systems that it stands on.

Sources: mount(2), chroot(2), prctl(2), capabilities(7).
"""

import ctypes
import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import TypedDict

_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS, _BIND = 1, 2, 4, 8, 4096
_CAPBSET_DROP, _NO_NEW_PRIVILEGES = 24, 38
_KEPT = (0, 1, 3, 4, 5, 6, 7, 27, 31)
"""chown, dac_override, fowner, fsetid, kill, setgid, setuid, mknod, setfcap: what making an initramfs takes.

No device can be opened but those of `_NODES`, as no file system here has any.
"""
_MOST_CAPABILITIES = 64
_NODES = ("null", "zero", "full", "random", "urandom")
_FOR_FIRMWARE = ("/boot/efi", "/efi")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
CANNOT_RUN = 126
"""The status where the program could not be started; the last line of what is said tells why."""
_KILLED = 128
"""Added to the number of the signal that ended the program, as a shell does."""

_libc = ctypes.CDLL(None, use_errno=True)


class Job(TypedDict):
    """What is to be run: `mounts` are (device, kind, options, folder), the root first, all below `base`."""

    base: str
    mounts: list[tuple[str, str, str, str]]
    options: str
    """What stands in /proc/cmdline: whoever writes an entry of a boot loader would take this computer's own from it."""
    links: dict[str, str]
    """Names below /dev/disk, such as by-uuid/.., and the device that each leads to."""
    argv: list[str]


def _mount(source: str, where: Path, kind: str | None, flags: int, options: str = "") -> None:
    data = options.encode() or None
    if _libc.mount(source.encode(), os.fsencode(where), kind.encode() if kind else None, flags, data):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(where))


def _folder(base: Path, path: str) -> Path:
    """A folder of the system, which no link in it leads away from; raises OSError where there is none."""
    at = base
    for name in filter(None, path.split("/")):
        at = at / name
        if not stat.S_ISDIR(at.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(at))
    return at


def _devices(dev: Path, job: Job) -> None:
    """A /dev with what programs need, and the devices that the system itself stands on."""
    _mount("dev", dev, "tmpfs", _NO_SUID | _NO_DEVICES | _NO_PROGRAMS, "mode=755,size=1m")
    own = {Path(device).name for device in (*(mount[0] for mount in job["mounts"]), *job["links"].values())}
    for name in (*_NODES, *sorted(own)):
        (dev / name).touch(0o600)
        _mount(f"/dev/{name}", dev / name, None, _BIND)
    for name, target in _LINKS.items():
        (dev / name).symlink_to(target)
    for name, device in job["links"].items():
        link = dev / "disk" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(device)


def _prepare(job: Job) -> None:
    """Mount it all. Raises OSError."""
    base = Path(job["base"])
    for device, kind, options, where in job["mounts"]:
        try:
            _mount(device, _folder(base, where), kind, _NO_SUID | _NO_DEVICES, options)
        except OSError as error:
            # What firmware reads is written to by others, where this kernel does not know FAT.
            if error.errno != errno.ENODEV or where not in _FOR_FIRMWARE:
                raise
    _mount("proc", _folder(base, "proc"), "proc", _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_PROGRAMS)
    _mount("sysfs", _folder(base, "sys"), "sysfs", _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_PROGRAMS)
    _mount("run", _folder(base, "run"), "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=64m")
    _devices(_folder(base, "dev"), job)
    words = base / "run" / "cmdline"
    words.write_text(f"{job['options']}\n")
    _mount(str(words), base / "proc" / "cmdline", None, _BIND)
    words.unlink()


def _let_go() -> None:
    """Give up every right but those that are needed, for good. Raises OSError."""
    for number in range(_MOST_CAPABILITIES):
        if number not in _KEPT and _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0) and number < 32:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _become(argv: list[str]) -> int:
    """Turn into the program; returns only where that cannot be."""
    try:
        _let_go()
        os.execvpe(argv[0], argv, _ENVIRONMENT)
    except OSError as error:
        _say(error)
    return CANNOT_RUN


def _say(error: OSError) -> None:
    print(f"{error.filename}: {error.strerror}" if error.filename else error.strerror, flush=True)


def _wait(program: int) -> int:
    """The status of the program; whatever else ends meanwhile is taken note of, too."""
    while True:
        ended, how = os.wait()
        if ended == program:
            status = os.waitstatus_to_exitcode(how)
            return status if status >= 0 else _KILLED - status


def main(words: str) -> int:
    """Run the program; the status with which it ends.

    This process is the first one here and stays in front of it: with it all end that the program has left running,
    and the program, which has fewer rights, can neither end it, look into it nor change what ends it.
    """
    job: Job = json.loads(words)
    try:
        _prepare(job)
        os.chroot(job["base"])
        os.chdir("/")
    except OSError as error:
        _say(error)
        return CANNOT_RUN
    program = os.fork()
    if not program:
        os._exit(_become(job["argv"]))
    return _wait(program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
