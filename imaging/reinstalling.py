"""A system's boot loader, put back by its own grub-install, which runs with that system as its root.

Source: grub-install(8), grub-mkconfig(8); unshare(1).
"""

import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imaging import bootplaces, chrooted
from imaging.check import tail
from imaging.disk import Disk
from imaging.errors import IoError, RefusedError
from imaging.pipeline import Reporter
from imaging.repairplans import RepairedSystem, RepairPlan
from imaging.run import find_tool, run_cancellable
from imaging.startable import NAMES, Firmware

_ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--net", "--uts")
_PATIENCE = 900.0
"""Seconds for one program; on a slow stick and in an emulated machine grub-install took some forty."""
_MAKE_MENU = "/usr/sbin/grub-mkconfig"
_MENU = "/boot/grub/grub.cfg"
_OPTIONS = {"xfs": "nouuid"}


def commands(plan: RepairPlan) -> Sequence[tuple[str, tuple[str, ...]]]:
    """What is run, in its order, each with what it is for, in words."""
    found: list[tuple[str, tuple[str, ...]]] = []
    system = plan.system
    if system is None:
        return found
    for firmware in plan.loaders:
        name = NAMES[firmware]
        if firmware is Firmware.BIOS:
            found.append((name, (system.program, "--target=i386-pc", plan.target.path)))
            continue
        efi = (system.program, "--target=x86_64-efi", f"--efi-directory={system.efi}", "--no-nvram")
        found.append((name, efi))
        if plan.removable:
            found.append((name, (*efi, "--removable")))
    if plan.menu:
        found.append(("menu", (_MAKE_MENU, "-o", _MENU)))
    return found


def reinstall(plan: RepairPlan, disk: Disk, report: Reporter) -> None:
    """Run them; `disk` is the one of the plan as it is now, which nobody holds. Raises IoError, RefusedError.

    Before anything is written it is proved that the system's programs can run here. None is stopped in the middle.
    """
    system = plan.system
    if system is None:
        return
    if find_tool(_ALONE[0]) is None:
        raise RefusedError("unshare is not installed: nothing of a system is run without it", code="no-tool")
    _run(disk, system, (system.program, "--version"), writable=False)
    for what, command in commands(plan):
        report.step(f"Putting the boot loader back: {what}")
        said = _run(disk, system, command, writable=True)
        report.log(f"{' '.join(command)}: {said or 'done'}")


def _run(disk: Disk, system: RepairedSystem, command: Sequence[str], *, writable: bool) -> str:
    with _devices(disk, system, writable=writable) as mounts, tempfile.TemporaryDirectory(prefix="rescue-") as at:
        devices = sorted({*_nodes(disk), *(device for device, *_ in mounts)})
        given = {"at": at, "writable": writable, "mounts": mounts, "devices": devices, "command": list(command)}
        argv = [*_ALONE, sys.executable, "-I", "-S", chrooted.__file__, json.dumps(given)]
        done = run_cancellable(argv, threading.Event(), timeout=_PATIENCE)
        if done.status:
            print(done.stdout, file=sys.stderr)  # the job's log
            raise IoError(
                f"{command[0]} of {system.name} ended with status {done.status}: {tail(done.stdout)}",
                code="tool-failed",
                hint="the log has all that it said; is its package whole, and is there room on its file systems?",
            )
    return tail(done.stdout)


def _nodes(disk: Disk) -> list[str]:
    """The devices of a disk and its partitions; none of a disk file."""
    nodes = [disk.path, *(f"/dev/{disk.partition_name(part.number)}" for part in disk.table.partitions)]
    return [] if disk.regular_file else [node for node in nodes if Path(node).exists()]


@contextmanager
def _devices(disk: Disk, system: RepairedSystem, *, writable: bool) -> Iterator[list[tuple[str, str, str, str]]]:
    """Device, kind, options and folder of each file system, the root's first."""
    parts = {part.number: part for part in disk.table.partitions}
    found = []
    with ExitStack() as held:
        for number, where in ((system.number, "/"), *system.mounts):
            if number not in parts:
                raise IoError(f"{disk.name} has no partition {number} any more", code="disk-changed")
            kind = parts[number].content.kind
            device = held.enter_context(bootplaces.device_of(disk, parts[number], writable=writable))
            options = [_OPTIONS[kind]] if kind in _OPTIONS else []
            if where == "/" and system.subvolume:
                options.append(f"subvol={system.subvolume}")
            if not writable and kind.startswith("ext"):
                options.append("noload")
            elif not writable and kind == "xfs":
                options.append("norecovery")
            found.append((device, kind, ",".join(options), where))
        yield found
    if writable:
        _settle(disk)


def _settle(disk: Disk) -> None:
    """All that was written is on the medium."""
    fd = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise IoError(f"what was written to {disk.name} is not on the medium", code="write-failed") from error
    finally:
        os.close(fd)
