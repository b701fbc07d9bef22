"""A disk of the running system as it is at one moment: put together from snapshots, copies, and what nobody uses.

Shown as a device, so that it is captured as any disk is. Nothing is written to the disk but by LVM, which keeps what
changes meanwhile in free extents of the volume group; its metadata are shown as they were before that.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from imaging import lvm, lvmgroup, remains, snapshots, stillness, uses
from imaging.blockdev import opened, read, size_of
from imaging.composed import Composed, Piece
from imaging.disk import Disk, Partition
from imaging.durable import reading, written
from imaging.errors import IoError, RefusedError, RescueError
from imaging.extents import Extents
from imaging.filesystems import probe
from imaging.freezer import Place
from imaging.lvmgroup import Placed, VolumeGroup
from imaging.lvmmap import to_physical
from imaging.mounts import device_number
from imaging.pipeline import Reporter
from imaging.presented import presented
from imaging.snapshots import Origin, Snapshot
from imaging.stillness import Still, Way
from imaging.untouched import Proof
from imaging.usedmap import HEAD, TAIL, volume_map

MOST_COPIED = 1 << 30
"""Bytes that are copied of file systems that are held still: nobody waits for more than some seconds."""
_MOST_METADATA = 64 << 20
_COPIED_AT_ONCE = 1 << 20
_LOOK_EVERY = 5.0
"""Seconds between two looks whether a snapshot is still whole."""
_COPIES = "/var/tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volume:
    """A logical volume of a physical one: where its bytes lie there, in its own order, and the device that has them."""

    placed: Placed
    way: Way
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Physical:
    """A physical volume in use: its group, its own data as they were before any snapshot, and its volumes."""

    part: Partition
    node: str
    group: VolumeGroup
    own: tuple[tuple[int, bytes], ...]
    volumes: tuple[_Volume, ...]
    sizes: tuple[int, ...]
    """Bytes for the snapshots of those that get one."""

    @property
    def taken(self) -> tuple[_Volume, ...]:
        """Those that get a snapshot."""
        return tuple(volume for volume in self.volumes if volume.way is Way.SNAPSHOTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A disk of the running system, and how each partition of it will be captured."""

    disk: Disk
    ways: tuple[Still, ...]
    physical: tuple[_Physical, ...]


@dataclass(slots=True)
class Held:
    """Disks that are still; `disks` are to be captured in place of those that were asked for."""

    disks: tuple[Disk, ...] = ()
    snapshots: list[Snapshot] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    broken: str = ""

    def prove(self) -> None:
        """Raise IoError unless all that was read was as it had been at the one moment; before an image is listed."""
        names = [one.name for one in self.snapshots]
        self.broken = self.broken or (snapshots.broken(names) if names else "")
        if self.broken:
            raise full(self.broken)
        for proof in self.proofs:
            proof.refuse_if_changed()


def full(name: str) -> IoError:
    """The error of a snapshot that could not hold what has changed."""
    return IoError(
        f"more has changed than the snapshot {name} had room for: what was captured is not used",
        code="snapshot-full",
        hint="leave more of the volume group free, or have it captured at a quieter time",
    )


def look(disk: Disk) -> Look:
    """How a disk can be captured while the running system uses it; nothing is changed. Takes some seconds.

    Raises RefusedError, code "not-still", where it cannot be, IoError.
    """
    if disk.regular_file:
        raise stillness.refused(disk.name, "a file in a disk's place is captured when nobody uses it")
    ways = tuple(stillness.decide(disk, uses.of_disk(disk)))
    parts = {part.number: part for part in disk.table.partitions}
    copied = sum(_refuse_uncounted_or_large(disk, parts[one.number], one) for one in ways)
    physical = tuple(_look_at_physical(disk, parts[one.number], copied) for one in ways if one.way is Way.SNAPSHOTS)
    return Look(disk=disk, ways=ways, physical=physical)


def look_all(disks: Sequence[Disk]) -> None:
    """The same for several disks, once what a capture that was killed has left is away: it would stand in the way.

    Raises as `look`, and RefusedError (code "library-busy") while another process captures the running system.
    """
    remains.tidy_alone(Reporter(len))
    for disk in disks:
        look(disk)


def _refuse_uncounted_or_large(disk: Disk, part: Partition, one: Still) -> int:
    """Bytes of a partition that will be copied, about. Raises RefusedError where that is known to fail."""
    name = disk.partition_name(part.number)
    if one.way is Way.APART and not uses.counted(disk, part.number):
        raise stillness.refused(name, "the kernel does not count what is written to it, which would prove it untouched")
    if one.way is not Way.HELD:
        return 0
    if part.content.kind == "xfs":
        used = part.size  # whose log is not empty while it is mounted: it is stored whole
    else:
        with reading(one.where):
            status = os.statvfs(one.where)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
    if used > MOST_COPIED:
        raise _too_much(name, used)
    return used


def _too_much(name: str, used: int) -> RefusedError:
    why = f"{used:,} bytes of it are used, more than the {MOST_COPIED:,} that anybody should wait for"
    return stillness.refused(name, why)


def _look_at_physical(disk: Disk, part: Partition, copied: int) -> _Physical:
    name, node = disk.partition_name(part.number), uses.node_of(disk, part.number)
    standing = uses.of_device(node).holders
    with opened(node) as fd:
        try:
            own, group, placed = read_physical(partial(_at, fd), size_of(fd))
        except IoError as error:
            raise stillness.refused(name, error.message) from error
    if len(group.physical) != 1:
        raise stillness.refused(name, f"volume group {group.name} spans {len(group.physical)} physical volumes")
    volumes = tuple(_look_at_volume(volume, standing) for volume in placed)
    taken = [volume for volume in volumes if volume.way is Way.SNAPSHOTS]
    # The copies are written once the snapshots are there, which have to keep what was in their place.
    origins = [Origin(size=one.placed.size, more=copied if _holds(one.device, _COPIES) else 0) for one in taken]
    free, extent = snapshots.free_in(group.name) if origins else (0, group.extent)
    room = snapshots.sizes(origins, free, extent)
    if len(room) != len(origins):
        needed = snapshots.least_room(origins, extent)
        raise stillness.refused(
            name, f"volume group {group.name} has {free:,} bytes free, and snapshots of it need {needed:,}"
        )
    return _Physical(part=part, node=node, group=group, own=own, volumes=volumes, sizes=room)


def _holds(device: str, folder: str) -> bool:
    with reading(folder):
        number = Path(folder).stat().st_dev
    return device_number(device) == f"{os.major(number)}:{os.minor(number)}"


def _look_at_volume(volume: Placed, standing: Sequence[str]) -> _Volume:
    if volume.why:
        raise stillness.refused(volume.name, volume.why)
    device = snapshots.device_of(volume.name)
    if not device:
        raise stillness.refused(volume.name, "it is not active, and no snapshot of it can be taken")
    if Path(device).name not in standing:
        raise stillness.refused(volume.name, "another group of that name is active, on another disk")
    way = stillness.decide_volume(volume.name, probe(device).kind, uses.of_device(device))
    return _Volume(placed=volume, way=way, device=device)


def _at(fd: int, offset: int, size: int) -> bytes:
    return read(fd, size, offset)


def read_physical(reader: lvm.Read, size: int) -> tuple[tuple[tuple[int, bytes], ...], VolumeGroup, tuple[Placed, ...]]:
    """LVM's own data on a physical volume of `size` bytes, as `(offset, bytes)`, its group and its logical volumes.

    What was read once is what is understood, whatever LVM writes meanwhile. Raises IoError where it is not whole.
    """
    label = lvm.read_label(reader, size)
    ranges = Extents([(0, label.data_start), *label.metadata, *label.boot]).clipped(0, size)
    if ranges.total > _MOST_METADATA:
        raise IoError(f"LVM has {ranges.total:,} bytes of its own on it", code="bad-lvm")
    own = tuple((start, reader(start, end - start)) for start, end in ranges)
    kept = Composed(size, [_of_bytes(start, data) for start, data in own])

    def from_kept(at: int, count: int) -> bytes:
        return b"".join(kept.read(at, count))

    label = lvm.read_label(from_kept, size)
    group = lvmgroup.parse_group(lvm.committed_text(from_kept, label))
    return own, group, lvmgroup.placed_on(group, lvmgroup.physical_volume(group, label, size))


def _of_bytes(start: int, data: bytes) -> Piece:
    return Piece(start=start, end=start + len(data), read=lambda at, size: data[at : at + size])


def refuse_if_another(shown: Disk, now: Disk) -> None:
    """Raise RefusedError unless `now` is the disk that was shown, laid out as it was; what is on it changes."""
    hint = "look at the disks again and make a new plan"
    if not shown.id.same_disk(now.id):
        raise RefusedError(f"{now.name} is not the disk that was shown", code="disk-changed", hint=hint)
    if (shown.table.kind, shown.table.table_id) != (now.table.kind, now.table.table_id) or [
        (part.number, part.start, part.size) for part in shown.table.partitions
    ] != [(part.number, part.start, part.size) for part in now.table.partitions]:
        raise RefusedError(f"{now.name} was divided anew since the plan was shown", code="disk-changed", hint=hint)


@contextmanager
def held(disks: Sequence[Disk], report: Reporter, cancel: threading.Event) -> Iterator[Held]:
    """Disks of the running system, still for as long as this lasts; needs root, and LVM where that is used.

    Sets `cancel` where a snapshot breaks meanwhile: `Held.prove` says so. Raises RefusedError where one cannot be had
    or another process has some, IoError.
    """
    with remains.alone(), ExitStack() as stack:
        remains.tidy(report)
        looks = [look(disk) for disk in disks]
        found = Held()
        _take(looks, found, report, stack)
        if found.snapshots:
            stack.enter_context(_watched(found, cancel))
        yield found


def _take(looks: Sequence[Look], found: Held, report: Reporter, stack: ExitStack) -> None:
    """Have all of it as it is at one moment, or as near to it as LVM's commands follow one another."""
    places = [Place(where=one.where, how=one.how) for item in looks for one in item.ways if one.way is Way.HELD]
    copies: dict[tuple[str, int], Composed] = {}
    volumes: dict[str, Snapshot] = {}
    report.step("Holding the running system still for a moment")
    with remains.held(places):
        for item in looks:
            for physical in item.physical:
                _snap(physical, found, volumes, report, stack)
        for item in looks:
            parts = {part.number: part for part in item.disk.table.partitions}
            for one in item.ways:
                if one.way is Way.HELD:
                    copies[item.disk.path, one.number] = _copied(item.disk, parts[one.number], stack)
    shown = []
    for item in looks:
        fd = stack.enter_context(opened(item.disk.path))
        apart = [one.number for one in item.ways if one.way is Way.APART]
        found.proofs.append(Proof.of(item.disk, apart, fd))
        devices = {
            volume.placed.name: stack.enter_context(opened(volumes[volume.placed.name].path))
            for physical in item.physical
            for volume in physical.taken
        }
        file = compose(item, fd, devices, {n: copy for (path, n), copy in copies.items() if path == item.disk.path})
        disk = stack.enter_context(presented(file, item.disk.name, item.disk.logical_sector))
        shown.append(replace(disk, id=item.disk.id, physical_sector=item.disk.physical_sector))
    found.disks = tuple(shown)


def _let_go(name: str, report: Reporter) -> None:
    """Remove a snapshot; one that cannot be removed now is, by the next capture, and does not cost this one's image."""
    try:
        snapshots.remove(name)
    except RescueError as error:
        report.log(f"The snapshot {name} could not be removed: {error.message}", "warning")


def _snap(physical: _Physical, found: Held, made: dict[str, Snapshot], report: Reporter, stack: ExitStack) -> None:
    """Take the snapshots of a group's volumes; raises IoError where it is not the group that was looked at any more."""
    group = physical.group
    for volume, size in zip(physical.taken, physical.sizes, strict=True):
        number = len(found.snapshots)
        stack.callback(_let_go, f"{group.name}/{snapshots.name(number)}", report)
        snapshot = snapshots.make(number, volume.placed.name, size)
        found.snapshots.append(snapshot)
        made[volume.placed.name] = snapshot
    with opened(physical.node) as fd:
        try:
            _, after, _ = read_physical(partial(_at, fd), size_of(fd))
        except IoError as error:
            raise _other_group(group, error.message) from error
    if physical.taken and after.seqno <= group.seqno:
        raise _other_group(group, "the disk does not show that any were taken")
    ours = [one.name.rpartition("/")[2] for one in made.values()]
    if not same_but_ours(group, after, ours):
        raise _other_group(group, "volumes were changed meanwhile")


def _other_group(group: VolumeGroup, why: str) -> IoError:
    return IoError(
        f"volume group {group.name} is not what it was before the snapshots were taken: {why}",
        code="source-changed",
        hint="wait until nothing changes its volumes, and start anew",
    )


def same_but_ours(before: VolumeGroup, after: VolumeGroup, ours: Sequence[str]) -> bool:
    """Whether a group is the one that it was before our snapshots, of these names without the group's, were taken."""
    left = [
        volume
        for volume in after.logical
        if volume.name not in ours and not any(segment.names & set(ours) for segment in volume.segments)
    ]
    now = {(volume.name, volume.id, volume.segments) for volume in left}
    then = {(volume.name, volume.id, volume.segments) for volume in before.logical}
    return now == then and (before.id, before.extent, before.physical) == (after.id, after.extent, after.physical)


def _copied(disk: Disk, part: Partition, stack: ExitStack) -> Composed:
    """A copy of what is used of a partition that is held still."""
    node = uses.node_of(disk, part.number)
    with opened(node) as fd:
        used = volume_map(node, fd, 0, part.size, part.content).used
        if used.total > MOST_COPIED:
            raise _too_much(disk.partition_name(part.number), used.total)
        copy = stack.enter_context(_unnamed())
        for start, end in used:
            for at in range(start, end, _COPIED_AT_ONCE):
                with written(_COPIES):
                    os.pwrite(copy, read(fd, min(_COPIED_AT_ONCE, end - at), at), at)
    reader = partial(_at, copy)
    return Composed(part.size, [Piece(start=start, end=end, read=reader, at=start) for start, end in used])


@contextmanager
def _unnamed() -> Iterator[int]:
    """A file that goes with this process, however that ends."""
    with written(_COPIES):
        fd = os.open(_COPIES, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def compose(item: Look, fd: int, devices: dict[str, int], copies: dict[int, Composed]) -> Composed:
    """The disk at one moment: `fd` is the disk, `devices` the snapshots by their origins, `copies` by partition."""
    disk, from_disk = item.disk, partial(_at, fd)
    parts = {part.number: part for part in disk.table.partitions}
    physical = {one.part.number: one for one in item.physical}
    pieces: list[Piece] = []
    inside = Extents((parts[one.number].start, parts[one.number].end) for one in item.ways).clipped(0, disk.size)
    pieces += [Piece(start=a, end=b, read=from_disk, at=a) for a, b in Extents([(0, disk.size)]).minus(inside)]
    for one in item.ways:
        part = parts[one.number]
        match one.way:
            case Way.APART:
                pieces.append(Piece(start=part.start, end=part.end, read=from_disk, at=part.start))
            case Way.SWAP:
                pieces += _ends(part.start, part.size, ((0, part.size),), from_disk)
            case Way.HELD:
                copy = copies[one.number]
                pieces.append(Piece(start=part.start, end=part.end, read=_joined(copy)))
            case Way.SNAPSHOTS:
                pieces += _of_physical(physical[one.number], devices, from_disk)
    return Composed(disk.size, pieces)


def _joined(file: Composed) -> lvm.Read:
    return lambda at, size: b"".join(file.read(at, size))


def _ends(first: int, size: int, pieces: tuple[tuple[int, int], ...], reader: lvm.Read) -> list[Piece]:
    """Both ends of swap space, as they are now, once: `pieces` are its bytes, in its own order, from `first` on."""
    ends = to_physical(Extents([(0, min(size, HEAD)), (max(0, size - TAIL), size)]), pieces).shifted(first)
    return [_of_bytes(start, reader(start, end - start)) for start, end in ends]


def _of_physical(physical: _Physical, devices: dict[str, int], from_disk: lvm.Read) -> list[Piece]:
    first = physical.part.start
    pieces = [_of_bytes(first + start, data) for start, data in physical.own]
    for volume in physical.volumes:
        at = 0
        for start, end in volume.placed.taken:
            if volume.way is Way.SNAPSHOTS:
                reader = partial(_at, devices[volume.placed.name])
                pieces.append(Piece(start=first + start, end=first + end, read=reader, at=at))
            at += end - start
        if volume.way is Way.SWAP:
            pieces += _ends(first, volume.placed.size, volume.placed.taken, from_disk)
    return pieces


@contextmanager
def _watched(found: Held, cancel: threading.Event) -> Iterator[None]:
    """Stop at once where a snapshot breaks, rather than read what cannot be read any more to its end."""
    names, over = [one.name for one in found.snapshots], threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            try:
                found.broken = snapshots.broken(names)
            except RescueError:
                continue  # asked once more at the end
            if found.broken:
                cancel.set()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
