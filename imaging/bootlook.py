"""What a start needs of a disk, read-only: its bytes, its file systems' files, and the devices that it names.

File systems that Linux mounts are looked into as imaging.systems does it, in processes of their own and within a time
limit; an EFI system partition's FAT is read here. Needs root for the former.
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imaging import peek
from imaging.blockdev import read
from imaging.bounded import Bounded
from imaging.disk import Disk, Partition, PartitionRole, TableKind
from imaging.efiloaders import EfiFiles
from imaging.errors import IoError, RescueError
from imaging.mounttabs import Device, mapped
from imaging.run import heard
from imaging.systems import Place, places, reached

_CLOSED = {
    "crypto_LUKS": "it is encrypted (LUKS)",
    "BitLocker": "it is encrypted (BitLocker)",
    "LVM2_member": "it is LVM that cannot be read alone",
    "linux_raid_member": "it is part of a RAID",
    "zfs_member": "it is part of a ZFS pool",
    "bcache": "it is part of a bcache",
}
_IN_PIECES, _NO_FILES = "it is in several pieces", "it holds no file system that is known here"
_LINKS = Path("/dev/disk")
_ODD = re.compile(r"[^0-9A-Za-z#+\-.:=@_\u0080-\U0010ffff]")
_FOLDERS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel"}
_PHYSICAL = "lvm-pv-uuid-"
"""How udev's names of LVM's physical volumes begin, in 60-persistent-storage.rules and 69-dm-lvm.rules."""
_MOST_PLACES = 64
_MOST_MEMORY = 512 << 20
"""Bytes for the process that looks into a file system."""
_Key = tuple[str, int, str]


_ASKED_ANYWAY = tuple(f"text:/etc/{name}" for name in ("fstab", "crypttab", "initramfs-tools/conf.d/resume"))
"""Each look into a file system starts a process: what is wanted of most is taken along at once."""


def unread(name: str, why: str) -> IoError:
    """What says that a file system was not looked into: nothing follows from that."""
    return IoError(f"{name} cannot be examined: {why}", code="not-readable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file system of one of the disks, and what it is called: `sda2`, or `group/volume` on LVM."""

    disk: Disk
    place: Place
    name: str

    @property
    def key(self) -> "_Key":
        """What no other has; two disks can bear one name."""
        return self.disk.path, self.place.start, self.place.volume

    @property
    def closed(self) -> str:
        """Why it cannot be examined, in words; empty where that can be tried."""
        in_pieces = self.place.volume and not self.place.content.kind
        why = _IN_PIECES if in_pieces else _CLOSED.get(self.place.content.kind, "")
        return unread(self.name, why).message if why else ""

    @property
    def linux(self) -> bool:
        """Whether the kernel can be asked to mount it."""
        return self.place.content.kind in peek.OPTIONS


def _linked(value: str) -> str:
    r"""As udev names its links: what is neither a letter, a digit nor one of a few signs is `\x20`, and so on.

    Source: systemd's src/shared/device-nodes.c.
    """
    return _ODD.sub(lambda found: rf"\x{ord(found[0]):02x}", value)


class Looking:
    """A look at a disk, and at others that it was restored with."""

    def __init__(
        self, disks: Sequence[tuple[Disk, int]], patience: float, cancel: threading.Event | None = None
    ) -> None:
        """Each disk is open at its descriptor, the one that counts comes first; `patience` is seconds in all."""
        self._cancel = cancel or threading.Event()
        self.disk = disks[0][0]
        self._end = time.monotonic() + patience
        self._fds = {disk.path: fd for disk, fd in disks}
        self.volumes = [volume for disk, fd in disks for volume in _on(disk, fd)]
        self._known = {device for disk, _ in disks for device in _devices(disk)} | set(_named(self.volumes))
        self._told: dict[tuple[_Key, str], object] = {}
        self._asked: set[tuple[_Key, str]] = set()
        self._seen: set[_Key] = set()

    def part(self, number: int) -> Partition | None:
        """A partition of the disk."""
        return next((part for part in self.disk.table.partitions if part.number == number), None)

    def volume(self, number: int) -> Volume | None:
        """What stands on a partition of the disk."""
        return next((v for v in self.volumes if v.disk is self.disk and v.place.number == number), None)

    def with_uuid(self, uuid: str) -> Volume | None:
        """The file system of that UUID; of clones the one on this disk."""
        return next((v for v in self.volumes if uuid and v.place.content.uuid.lower() == uuid.lower()), None)

    def named(self, device: Device) -> Volume | None:
        """The file system on a device."""
        return next((v for v in self.volumes if _key(device) in set(_names(v))), None)

    def exists(self, device: Device) -> bool:
        """Whether the device is on the disks that are looked at, or, for a real disk, on another that is attached."""
        if _key(device) in self._known:
            return True
        folder = _FOLDERS.get(device.tag)
        if self.disk.regular_file or folder is None or device.value in (".", ".."):
            return False
        with suppress(OSError):  # longer than a name can be
            return any((_LINKS / folder / _linked(value)).exists() for value in {device.value, _key(device).value})
        return False

    def may_be_elsewhere(self, device: Device) -> bool:
        """Whether a logical volume may lie on another attached disk: what LVM there holds is not looked up."""
        if self.disk.regular_file or device.tag != "MAPPER":
            return False
        ours = re.compile(rf"(?:{'|'.join(map(re.escape, self._fds))})(?:p?\d+)?")
        return any(not ours.fullmatch(os.path.realpath(link)) for link in (_LINKS / "by-id").glob(f"{_PHYSICAL}*"))

    @property
    def closed(self) -> list[str]:
        """What cannot be examined, in words."""
        return [volume.closed for volume in self.volumes if volume.closed]

    def bytes_of(self, start: int, size: int) -> Bounded:
        """A range of the disk."""
        return self._bounded(self.disk, start, size)

    def files_of(self, volume: Volume) -> EfiFiles:
        """The files of a FAT volume. Raises IoError (code "bad-map") where it is none, or damaged."""
        return EfiFiles(self._bounded(volume.disk, volume.place.start, volume.place.size))

    def _bounded(self, disk: Disk, start: int, size: int) -> Bounded:
        fd = self._fds[disk.path]

        def bytes_at(at: int, count: int) -> bytes:
            self._refuse_if_late(disk.name)
            return read(fd, count, start + at)

        return Bounded(read=bytes_at, size=max(0, min(size, disk.size - start)))

    def _refuse_if_late(self, name: str) -> None:
        """Structures that lead in circles, or to very many others, end here."""
        if time.monotonic() >= self._end or self._cancel.is_set():
            raise unread(name, "it takes too long")

    def ask(self, volume: Volume, words: Iterable[str]) -> None:
        """Look up several paths of a file system at once, as peek's `many` names them. Raises IoError."""
        new = [word for word in dict.fromkeys(words) if (volume.key, word) not in self._asked]
        if not new:
            return
        if volume.key not in self._seen:
            self._seen.add(volume.key)
            new = list(dict.fromkeys([*new, *_ASKED_ANYWAY]))
        if volume.place.content.kind == "vfat":
            found = self._in_fat(volume, new)
        elif volume.linux:
            found = self._peeked(volume, new)
        else:
            raise unread(volume.name, _CLOSED.get(volume.place.content.kind, _NO_FILES))
        self._told |= {(volume.key, word): value for word, value in found.items()}
        self._asked |= {(volume.key, word) for word in new}

    def _in_fat(self, volume: Volume, words: Sequence[str]) -> dict[str, object]:
        try:
            files = self.files_of(volume)
            found: dict[str, object] = {}
            for word in words:
                what, _, path = word.partition(":")
                size = files.size(path)
                if size is not None:
                    found[word] = files.read(path).decode(errors="replace") if what == "text" else size
        except IoError as error:
            raise unread(volume.name, error.message) from error
        return found

    def _peeked(self, volume: Volume, words: Sequence[str]) -> dict[str, object]:
        if os.geteuid() != 0:
            raise unread(volume.name, "that needs root")
        self._refuse_if_late(volume.name)
        left = self._end - time.monotonic()
        try:
            with reached(volume.disk, volume.place) as (kind, where):
                argv = [sys.executable, "-I", "-S", peek.__file__, kind, where, peek.MANY, *words]
                answer = json.loads(b"".join(heard(argv, self._cancel, timeout=left, memory=_MOST_MEMORY)))
        except (RescueError, OSError, ValueError) as error:  # OSError: more than one command line can hold
            self._refuse_if_late(volume.name)
            raise unread(volume.name, str(error)) from error
        return answer if isinstance(answer, dict) else {}

    def text(self, volume: Volume, path: str) -> str | None:
        """The text of a file; None where there is none. Raises IoError where the file system cannot be examined."""
        self.ask(volume, [f"text:{path}"])
        found = self._told.get((volume.key, f"text:{path}"))
        return found if isinstance(found, str) else None

    def size(self, volume: Volume, path: str) -> int | None:
        """Bytes of a file; None where there is none. Raises IoError."""
        self.ask(volume, [f"size:{path}"])
        found = self._told.get((volume.key, f"size:{path}"))
        return found if isinstance(found, int) else None

    def names(self, volume: Volume, path: str) -> list[str]:
        """The names in a folder, none where there is none. Raises IoError."""
        self.ask(volume, [f"names:{path}"])
        found = self._told.get((volume.key, f"names:{path}"))
        return [str(name) for name in found] if isinstance(found, list) else []


def _on(disk: Disk, fd: int) -> list[Volume]:
    found = []
    for place, _ in zip(places(disk, fd), range(_MOST_PLACES), strict=False):
        name = place.volume or (disk.partition_name(place.number) if place.number else disk.name)
        found.append(Volume(disk=disk, place=place, name=name))
    return found


def _key(device: Device) -> Device:
    """UUIDs are compared whatever their case."""
    return Device(tag=device.tag, value=device.value.lower()) if device.tag.endswith("UUID") else device


def _devices(disk: Disk) -> Iterable[Device]:
    """All names by which the partitions of a disk, and what stands on them, can be asked for."""
    for part in disk.table.partitions:
        if part.role is not PartitionRole.EXTENDED:
            yield from _of_partition(disk, part)


def _of_partition(disk: Disk, part: Partition) -> Iterable[Device]:
    uuid = part.uuid
    if disk.table.kind is TableKind.MBR:
        uuid = f"{disk.table.table_id.removeprefix('0x')}-{part.number:02x}"
    for tag, value in (("PARTUUID", uuid), ("PARTLABEL", part.name), *_tags(part.content.uuid, part.content.label)):
        if value:
            yield _key(Device(tag=tag, value=value))


def _tags(uuid: str, label: str) -> tuple[tuple[str, str], ...]:
    return ("UUID", uuid), ("LABEL", label)


def _names(volume: Volume) -> Iterable[Device]:
    content, disk = volume.place.content, volume.disk
    for tag, value in _tags(content.uuid, content.label):
        if value:
            yield _key(Device(tag=tag, value=value))
    if volume.place.volume:
        group, _, name = volume.place.volume.partition("/")
        yield Device(tag="MAPPER", value=mapped(group, name))
        return
    for part in disk.table.partitions:
        if part.number == volume.place.number:
            yield from _of_partition(disk, part)


def _named(volumes: Iterable[Volume]) -> Iterable[Device]:
    return (device for volume in volumes for device in _names(volume))
