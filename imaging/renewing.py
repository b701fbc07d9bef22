"""A restored disk with an identity of its own: what stands on it gets new ids, and the systems on it come to know them.

It happens before the disk has its table: cut off at any moment, the disk is known as unfinished, and whoever completes
it writes what the image has anew, and begins here from the start. The ids come first: until then no file system here
could be mounted beside its original.
"""

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from imaging import grubcore, insideroot, machinefiles, mounttabs, namingfiles, renaming, systemroot, tree
from imaging.blockdev import loop_over
from imaging.bounded import Bounded
from imaging.durable import sync_all
from imaging.errors import CancelledError, IoError, RefusedError, RescueError
from imaging.events import Renewed
from imaging.identities import NewIdentity, References
from imaging.keptfiles import RootPlace
from imaging.manifest import ImagedDisk
from imaging.mounttabs import Device
from imaging.namingfiles import Rewritten
from imaging.pipeline import Reporter
from imaging.renaming import ReadRange
from imaging.run import run_cancellable

_FAT = "vfat"
_WHERE = ("/boot", "/boot/efi", "/efi", "/usr", "/var", "/var/tmp", "/tmp", "/opt", "/srv")
"""What of a system's file systems is there when its initramfs is made."""
_PRIVATE = (
    "unshare",
    *("--mount", "--propagation=private", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL"),
)
_DRACUT = ("dracut", "--regenerate-all", "--force", "--no-hostonly")
"""With the drivers for any computer, for it would look for those that it needs in this one. Source: dracut(8)."""
_INITRAMFS = {
    "usr/sbin/update-initramfs": ("update-initramfs", "-u", "-k", "all"),
    "usr/bin/dracut": _DRACUT,
    "usr/sbin/dracut": _DRACUT,
    "usr/bin/mkinitcpio": ("mkinitcpio", "-P"),
}
"""Where the tool is by which a system makes its initramfs, and how that makes all of them."""
_MODULES = ((b"lib", b"modules"), (b"usr", b"lib", b"modules"))
_LONGEST = 1800.0
"""Seconds that a system's own tool may take."""
_LET_GO, _LOOK_EVERY = 60.0, 0.05
"""Seconds that its file systems may take to be unmounted once it has ended, and between two looks."""
_MOST_TOLD = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a volume of the image lies on the target, in bytes; `kind` by blkid's name, `label` of the file system.

    `system` names the one that was found on it when it was captured; `firmware` says that its partition is firmware's.
    """

    number: int
    start: int
    size: int
    kind: str
    label: str = ""
    system: str = ""
    firmware: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _System:
    """A system: where it is, what its root is mounted with, its fstab, and how it makes its initramfs, if it can."""

    spot: Spot
    options: str
    fstab: str
    tool: Sequence[str] | None
    starts_alone: bool
    """Whether it has a kernel of its own, and not only files, as a container has."""


@dataclass(slots=True, kw_only=True)
class _Found:
    """What is at work: the loop device of each spot, and what was done."""

    loops: dict[int, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)
    roots: list[_System] = field(default_factory=list)

    def take(self, rewritten: Rewritten, what: str) -> None:
        """Take note of what was done to the files of one file system, which is called `what`."""
        self.files += rewritten.changed
        self.not_done += [
            f"{path} on {what} is signed, and still names an id of the original" for path in rewritten.signed
        ]
        self.not_done += [
            f"{path} on {what} was not looked into, and may name the original" for path in rewritten.passed_over
        ]
        self.not_done += [
            f"{path} on {what} has {name}, which is the original's while that is attached"
            for path, name in rewritten.shared
        ]


def refuse_doubtful(identity: NewIdentity, source: ImagedDisk, bytes_at: ReadRange) -> None:
    """Raise RefusedError where a volume cannot get another id, or GRUB's core has one that nobody can change in it."""
    starts = {volume.number: volume.start for volume in source.volumes}
    for one in identity.volumes:
        renaming.refuse_doubtful(one, starts[one.number], bytes_at)
    disk = Bounded(read=lambda at, size: bytes_at(at, at + size), size=source.size)
    try:
        sector = grubcore.loaded_sector(disk(0, grubcore.SECTOR))
        core = grubcore.read_core(disk, sector) if sector is not None else None
    except RescueError:
        return  # whether it starts without that is not a matter of ids
    if core is None:
        return
    told = f"{core.config}\n{core.prefix}".encode()
    if References.to(identity.names).replaced(told) != told:
        raise RefusedError(
            f"{source.name} cannot get a new identity: GRUB's packed core names a file system by its id",
            code="cannot-renew",
            hint="restore it without --new-identity, and do not have both disks in one computer",
        )


def renew(
    identity: NewIdentity,
    spots: Sequence[Spot],
    file: int,
    sector: int,
    report: Reporter,
    cancel: threading.Event,
    *,
    without: str = "",
) -> Renewed:
    """Give what lies at `spots` of an open disk its new ids, and tell the systems there; all is on the medium then.

    `without` says in words why no initramfs is made anew. Takes minutes where file systems are large. Raises IoError
    where it is not so in full (code "no-initramfs" where a system's own tool has failed, and may have left anything),
    CancelledError.
    """
    found = _Found(not_done=[without] if without else [])
    with ExitStack() as stack:
        report.step("Giving new ids to what is on the disk")
        renamed = {one.number: one for one in identity.volumes}
        for spot in spots:
            if spot.number in renamed or spot.kind in systemroot.FLAGS:
                over = loop_over(file, offset=spot.start, size=spot.size, sector=sector, writable=True)
                found.loops[spot.number] = stack.enter_context(over)
            if spot.number in renamed:
                _stop(cancel)
                renaming.rename(renamed[spot.number], found.loops[spot.number], cancel)
        report.step("Telling the restored system of its new identity")
        references = References.to(identity.names, (spot.label for spot in spots))
        _tell(found, references, spots, identity.host_name, report, cancel)
        for system in found.roots:
            _tell_apart(found, identity, spots, system, references)
            if system.tool is not None and not without:
                _make_initramfs(found, identity, spots, system, report, cancel)
            elif system.tool is None and system.starts_alone:
                found.not_done.append(
                    f"the system on partition {system.spot.number} has no tool known here that makes its initramfs "
                    "anew, which may name the original"
                )
        for loop in found.loops.values():
            _sync(loop)
    for words in dict.fromkeys(found.not_done):
        report.log(words, "warning")
    return Renewed(
        ids=len(identity.volumes) + len(identity.partitions) + bool(identity.new_table),
        files=tuple(dict.fromkeys(found.files))[:_MOST_TOLD],
        not_done=tuple(dict.fromkeys(found.not_done)),
    )


def confirm(identity: NewIdentity, spots: Sequence[Spot], file: int, sector: int) -> None:
    """Look at what is on the medium; raises IoError where a volume does not bear its new id there."""
    places = {spot.number: spot for spot in spots}
    for one in identity.volumes:
        spot = places[one.number]
        with loop_over(file, offset=spot.start, size=spot.size, sector=sector) as loop:
            renaming.confirm(one, loop)


def _stop(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise CancelledError("stopped because somebody asked")


def _sync(loop: str) -> None:
    fd = os.open(loop, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise IoError(f"the new ids are not on the medium: {error.strerror}", code="write-failed") from error
    finally:
        os.close(fd)


def _tell(
    found: _Found,
    references: References,
    spots: Sequence[Spot],
    host_name: str,
    report: Reporter,
    cancel: threading.Event,
) -> None:
    """Replace ids in all files that name them, and make anew what else a system is known by."""
    for spot in spots:
        _stop(cancel)
        if spot.kind == _FAT and spot.number in found.loops:
            _tell_fat(found, spot, references, report)
        elif spot.kind in systemroot.FLAGS:
            tops = (True, False) if spot.kind == "btrfs" else (True,)
            told = any(_tell_linux(found, spot, references, host_name, top=top) for top in tops)
            if spot.system and not told:
                found.not_done.append(
                    f"the system on partition {spot.number} ({spot.system}) was not found, and names the original"
                )


def _tell_fat(found: _Found, spot: Spot, references: References, report: Reporter) -> None:
    with _opened(found.loops[spot.number]) as fd:
        try:
            found.take(namingfiles.rewrite_fat(fd, spot.size, references), f"partition {spot.number}")
        except IoError as error:
            if error.code != "bad-map":
                raise
            # Such as one with more files than firmware's partition ever has.
            words = f"the files on partition {spot.number} were not looked into: {error.message}"
            if spot.firmware:
                found.not_done.append(words)
            else:
                report.log(words)


@contextmanager
def _opened(loop: str) -> Iterator[int]:
    fd = os.open(loop, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield fd
    except OSError as error:
        raise IoError(f"{loop} cannot be written to: {error.strerror}", code="write-failed") from error
    finally:
        os.close(fd)


def _tell_linux(found: _Found, spot: Spot, references: References, host_name: str, *, top: bool) -> bool:
    """Whether a system is there; of btrfs it can be in the subvolume that is mounted by default, wherever that is."""
    loop, what = found.loops[spot.number], "the restored system"
    with systemroot.mounted(loop, spot.kind, what, writable=True, top=top) as mount:
        found.take(namingfiles.rewrite(mount, (), references), f"partition {spot.number}")
        folder = systemroot.root_folder(mount)
        if folder is not None:
            if folder:
                found.take(namingfiles.rewrite(mount, folder, references), f"partition {spot.number}")
            place = RootPlace(
                number=spot.number,
                start=spot.start,
                size=spot.size,
                kind=spot.kind,
                folder="/".join(map(os.fsdecode, folder)),
            )
            options = "" if spot.kind != "btrfs" or not top else f"subvol=/{place.folder}"
            root = systemroot.looked_into(place, mount)
            changed, not_done = machinefiles.make_anew(root, host_name)
            found.files += changed
            found.not_done += not_done
            fstab = systemroot.text_of(mount, (*folder, b"etc", b"fstab")) or b""
            found.roots.append(
                _System(
                    spot=spot,
                    options=options,
                    fstab=fstab.decode(errors="replace"),
                    tool=_tool_of(mount, folder),
                    starts_alone=root.is_apart("usr")
                    or any(systemroot.is_there(mount, (*folder, *one)) for one in _MODULES),
                )
            )
        _sync_mount(mount)
    return folder is not None


def _sync_mount(mount: int) -> None:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    try:
        sync_all(fd)
    except OSError as error:
        raise IoError(f"the new ids are not on the medium: {error.strerror}", code="write-failed") from error
    finally:
        os.close(fd)


def _tell_apart(
    found: _Found, identity: NewIdentity, spots: Sequence[Spot], system: _System, references: References
) -> None:
    """What a system has of this on other file systems of the disk, or in other subvolumes, than its root."""
    numbers = {loop: number for number, loop in found.loops.items()}
    for loop, kind, options, where in _mounts(found, identity, spots, system):
        if where not in ("/boot", "/var") or kind not in systemroot.FLAGS:
            continue
        base = tree.parts(options.removeprefix("subvol="))
        number = numbers[loop]
        what = f"partition {number}"
        with systemroot.mounted(loop, kind, what, writable=True, top=kind != "btrfs" or bool(options)) as mount:
            if where == "/boot":
                found.take(namingfiles.rewrite(mount, base, references), what)
            else:
                found.files += machinefiles.make_var_anew(mount, base)
            _sync_mount(mount)


def _make_initramfs(
    found: _Found,
    identity: NewIdentity,
    spots: Sequence[Spot],
    system: _System,
    report: Reporter,
    cancel: threading.Event,
) -> None:
    """Have a system make its initramfs anew, which may hold ids of its own: of swap, of what is unlocked early."""
    assert system.tool is not None
    report.step("Having the restored system make its initramfs anew")
    mounts = _mounts(found, identity, spots, system)
    base = mkdtemp(prefix="rescue-root-")
    try:
        job = insideroot.Job(
            base=base,
            mounts=mounts,
            options=_start_options(system),
            links=_links(found, identity),
            argv=list(system.tool),
        )
        words = [sys.executable, "-I", insideroot.__file__, json.dumps(job)]
        done = run_cancellable([*_PRIVATE, *words], cancel, timeout=_LONGEST)
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        why = "" if done.status == 0 else ", ".join((str(done.status), *said[-1:]))
    except IoError as error:
        why = error.message
    finally:
        with suppress(OSError):
            Path(base).rmdir()  # and nothing that could be in it
        _wait_until_free([mount[0] for mount in mounts])
        for spot in spots:
            if spot.number in found.loops:
                systemroot.forget(spot.kind, found.loops[spot.number])
    if why:
        raise IoError(
            f"{system.tool[0]} of the restored system has not made its initramfs anew, "
            f"which may name the original: {why}",
            code="no-initramfs",
        )


def _wait_until_free(loops: Sequence[str]) -> None:
    """Until nothing is mounted from them: whoever is killed writes what it has to write after that. Raises IoError."""
    end = time.monotonic() + _LET_GO
    for loop in loops:
        while not _is_free(loop):
            if time.monotonic() > end:
                raise IoError(f"{loop} is still mounted by the restored system's own program", code="tool-hung")
            time.sleep(_LOOK_EVERY)


def _is_free(loop: str) -> bool:
    try:
        os.close(os.open(loop, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise IoError(f"{loop} cannot be opened: {error.strerror}", code="read-failed") from error
        return False
    return True


def _start_options(system: _System) -> str:
    """What a system is started with at least: a tool that writes this for its loader takes it from /proc/cmdline."""
    root = next((one for one in mounttabs.mounts(system.fstab) if one.where == "/"), None)
    if root is None:
        return ""
    subvolume = root.option("subvol")
    return " ".join(("root=" + root.device, "ro", *(["rootflags=subvol=" + subvolume] if subvolume else [])))


def _tool_of(mount: int, folder: Sequence[bytes]) -> Sequence[str] | None:
    """How the system whose root is that folder makes its initramfs; None where it has no such tool."""
    for path, argv in _INITRAMFS.items():
        if systemroot.is_there(mount, (*folder, *map(os.fsencode, path.split("/")))):
            return argv
    return None


def _mounts(
    found: _Found, identity: NewIdentity, spots: Sequence[Spot], system: _System
) -> list[tuple[str, str, str, str]]:
    """The root, and what its fstab mounts below it that lies on this disk."""
    root = system.spot
    mounts = [(found.loops[root.number], root.kind, system.options, "/")]
    known = _devices(identity, spots)
    for one in sorted(mounttabs.mounts(system.fstab), key=lambda one: one.where):
        device = mounttabs.device(one.device)
        spot = known.get(Device(tag=device.tag, value=device.value.lower())) if device is not None else None
        if spot is None or one.where not in _WHERE or spot.number not in found.loops:
            continue
        subvolume = one.option("subvol")
        options = f"subvol={subvolume}" if spot.kind == "btrfs" and subvolume else ""
        mounts.append((found.loops[spot.number], spot.kind, options, one.where))
    return mounts


def _devices(identity: NewIdentity, spots: Sequence[Spot]) -> Mapping[Device, Spot]:
    places = {spot.number: spot for spot in spots}
    known = {Device(tag="LABEL", value=spot.label.lower()): spot for spot in spots if spot.label}
    known |= {Device(tag="UUID", value=one.new.lower()): places[one.number] for one in identity.volumes}
    parts = (one for one in identity.partitions if one.number in places)
    return known | {Device(tag="PARTUUID", value=one.new.lower()): places[one.number] for one in parts}


def _links(found: _Found, identity: NewIdentity) -> dict[str, str]:
    """What udev will have below /dev/disk, for the devices that are there now."""
    loops = found.loops
    links = {f"by-uuid/{one.new}": loops[one.number] for one in identity.volumes if one.number in loops}
    parts = (one for one in identity.partitions if one.number in loops)
    return links | {f"by-partuuid/{one.new.lower()}": loops[one.number] for one in parts}
