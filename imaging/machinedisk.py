"""Disks of virtual machines (qcow2, VMDK, VDI, VHD, VHDX) as foreign disks, read by QEMU's own tools, read-only.

Such a file can name others: one that it stands on, or one that holds its data. Whoever made it may mean this machine's
own disks by that, so a file is looked into before QEMU opens it, and QEMU is told the format. Sources: QEMU
docs/interop/qcow2.rst and block/vmdk.c, vpc.c, vdi.c.
"""

import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from imaging import gpt
from imaging.blockdev import opened, read, size_of
from imaging.decodable import decodable
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.extents import Extents
from imaging.foreign import PIECE, ForeignImage
from imaging.nbd import CONNECTIONS, NbdDisk, connected, listens
from imaging.run import Filter, filtered, find_tool, heard, run_cancellable

_SECTOR = 512
_HEAD = 8 << 10
_DESCRIPTOR = b"# Disk DescriptorFile"
_MOST_DESCRIPTOR = 1 << 20
"""Bytes that QEMU reads of a list of parts."""
_EXTENT = re.compile(r'^(?:RW|RDONLY)\s+(\d+)\s+(FLAT|SPARSE|VMFS|VMFSSPARSE)\s+"([^"/\\:\0]+)"(?:\s+(\d+))?\s*$')
_OTHER_EXTENT = re.compile(r"^\s*(?:RW|RDONLY|NOACCESS)\b")
_QCOW2_EXTERNAL = 1 << 2
_DIFFERENCING = 4
_CHECKED = (0, 3, 63)
"""How qemu-img check ends where all is well, where room is lost, and where it does not know the format's rules."""
_CHECKING = 3600.0
_STARTING = 30.0
"""Seconds that the check may take, and that a server may take to begin."""
_MOST_TOLD = 200
"""Characters of what the check says that are shown."""
_MEMORY = 2 << 30
"""Bytes of memory that qemu-img may take to say what a file is: a small one can name tables of any size."""
_MOST_INFO = 4 << 20
_MOST_LINE = 64 << 10
"""Bytes that it may say of a file, and of one piece of it."""
_VHD_ENDS = (512, 511)
"""Bytes of what ends a VHD; before 2004 it was one less."""
_TOOLS = ("qemu-img", "qemu-nbd")


class Format(StrEnum):
    """A format; the values are QEMU's names."""

    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VDI = "vdi"
    VHD = "vpc"
    VHDX = "vhdx"


_NAMES = {
    Format.QCOW2: "qcow2 disk",
    Format.VMDK: "VMware disk",
    Format.VDI: "VirtualBox disk",
    Format.VHD: "VHD disk",
    Format.VHDX: "VHDX disk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDisk:
    """A virtual machine's disk."""

    path: Path
    name: str
    format: Format
    size: int
    sector: int
    used: Extents | None = None
    left_out: frozenset[int] = frozenset()

    def pieces(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """As ForeignDisk, from `start` on; what is zero is passed over, with an empty piece."""
        zeros = bytes(PIECE)
        with self.served() as disk:
            for at in range(start, self.size, PIECE):
                data = b"".join(disk.read(at, PIECE))
                empty = data == zeros[: len(data)]
                yield (at + len(data), b"") if empty else (at, data)

    @contextmanager
    def served(self) -> Iterator[NbdDisk]:
        """The disk, to be read at any place. Raises BadImageError, IoError."""
        with _served(self.path, self.format) as disk:
            yield disk


def format_of(path: Path) -> Format | None:
    """Which format a file has, by what stands in it; None where that is none of these."""
    with opened(str(path)) as fd:
        size = size_of(fd)
        head = read(fd, min(_HEAD, size), 0)
        foot = read(fd, min(_SECTOR, size), max(0, size - _SECTOR))
    if head.startswith(b"QFI\xfb"):
        return Format.QCOW2
    if head.startswith((b"KDMV", b"COWD", _DESCRIPTOR)):
        return Format.VMDK
    if head[0x40:0x44] == b"\x7f\x10\xda\xbe":
        return Format.VDI
    if head.startswith(b"vhdxfile"):
        return Format.VHDX
    return Format.VHD if b"conectix" in (head[:8], foot[:8]) else None


def parts_of(path: Path) -> tuple[Path, ...]:
    """The files beside a VMware descriptor that it names, and that are there; none of any other. Raises IoError."""
    with opened(str(path)) as fd:
        text = _descriptor(fd)
    named = (found[3] for line in text.splitlines() if (found := _EXTENT.match(line)))
    return tuple(part for name in dict.fromkeys(named) if os.path.lexists(part := path.parent / name))


def _descriptor(fd: int) -> str:
    """The text of a VMware descriptor that is a file of its own; empty where it is none."""
    size = size_of(fd)
    if read(fd, min(len(_DESCRIPTOR), size), 0) != _DESCRIPTOR:
        return ""
    return read(fd, min(_MOST_DESCRIPTOR, size), 0).split(b"\0", 1)[0].decode(errors="replace")


def open_machine(path: Path, kind: Format, cancel: threading.Event) -> ForeignImage:
    """The disk of a virtual machine.

    Raises RefusedError where it needs another file or a key, BadImageError where it is damaged or cut short, IoError,
    CancelledError.
    """
    for tool in _TOOLS:
        if find_tool(tool) is None:
            raise IoError(f"{tool} is not installed", code="no-tool", hint="install the package qemu-utils")
    names = _refuse_others(path, kind)
    try:
        _refuse_unless_alone(path, kind, names, cancel)
        _refuse_damage(path, kind, cancel)
        _refuse_cut(path, kind, cancel)
        with _served(path, kind) as disk:
            size, head = disk.size, b"".join(disk.read(0, _HEAD))
    except IoError as error:
        raise _damaged(path, error.message) from error
    made = MachineDisk(path=path, name=_name(path), format=kind, size=size, sector=gpt.sector_size(head))
    return ForeignImage(kind=_NAMES[kind], disks=(made,))


def _name(path: Path) -> str:
    ends = (".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx", ".vpc")
    return path.stem if path.suffix.lower() in ends and path.stem else path.name


def _damaged(path: Path, why: str) -> BadImageError:
    return BadImageError(f"{path.name} cannot be read: {why}", code="bad-stream")


def _needs_more(path: Path, what: str) -> RefusedError:
    return RefusedError(
        f"{path.name} is no whole disk: {what}",
        code="needs-more",
        hint="make one file of it where it came from: qemu-img convert, or the virtual machine's own program",
    )


def _refuse_others(path: Path, kind: Format) -> frozenset[str]:
    """The names of what QEMU may open because of a file: raise RefusedError where it lies not beside it."""
    with opened(str(path)) as fd:
        size = size_of(fd)
        head = read(fd, min(_HEAD, size), 0).ljust(_HEAD, b"\0")
        foot = read(fd, min(_SECTOR, size), max(0, size - _SECTOR))
        text = _descriptor(fd)
    match kind:
        case Format.QCOW2:
            _refuse_qcow2(path, head)
        case Format.VMDK if text:
            return _refuse_extents(path, text)
        case Format.VMDK if head.startswith(b"KDMV") and not any(head[12:20]):
            raise _needs_more(path, "it holds a list of other files")
        case Format.VDI:
            start, block, allocated = (int.from_bytes(head[at : at + 4], "little") for at in (0x158, 0x178, 0x184))
            needed = start + block * allocated
            if needed > size:
                raise _damaged(path, f"it is cut short: {size} bytes of {needed}")
        case Format.VHD:
            kinds = [int.from_bytes(part[60:64], "big") for part in (head, foot) if part.startswith(b"conectix")]
            if _DIFFERENCING in kinds:
                raise _needs_more(path, "it stands on another disk")
    return frozenset({path.name})


def _refuse_qcow2(path: Path, head: bytes) -> None:
    version = int.from_bytes(head[4:8], "big")
    if any(head[8:16]):
        raise _needs_more(path, "it stands on another disk")
    if any(head[32:36]):
        raise RefusedError(f"{path.name} is encrypted", code="encrypted", hint="decrypt it first: qemu-img convert")
    if version >= 3 and int.from_bytes(head[72:80], "big") & _QCOW2_EXTERNAL:
        raise _needs_more(path, "its data lies in another file")


def _refuse_extents(path: Path, text: str) -> frozenset[str]:
    """The parts of a VMware disk have to lie beside its descriptor, be as long as that says, and list no parts."""
    names: set[str] = set()
    for line in text.splitlines():
        found = _EXTENT.match(line)
        if found is None:
            if _OTHER_EXTENT.match(line):
                raise _needs_more(path, "it names parts that do not lie beside it")
            continue
        sectors, kind, name, offset = found.groups()
        part = path.parent / name
        if name in (".", "..") or part.is_symlink() or not part.is_file():
            raise _needs_more(path, f"its part {name} does not lie beside it")
        if kind in ("FLAT", "VMFS") and part.stat().st_size < (int(offset or 0) + int(sectors)) * _SECTOR:
            raise _damaged(path, f"its part {name} is cut short")
        if kind in ("SPARSE", "VMFSSPARSE") and _lists_others(part):
            raise _needs_more(path, f"its part {name} holds a list of other files")
        names.add(name)
    return frozenset(names)


def _lists_others(part: Path) -> bool:
    """Whether QEMU would read the names of further files in a part: a descriptor, or sparse and without sectors."""
    with opened(str(part)) as fd:
        head = read(fd, min(_SECTOR, size_of(fd)), 0)
    return head.startswith(_DESCRIPTOR) or (head.startswith(b"KDMV") and not any(head[12:20]))


def _spec(path: Path, kind: Format) -> str:
    """The file for QEMU: nothing is probed, no name is taken for an address, nothing stands beneath it."""
    alone = {"backing": None} if kind in (Format.QCOW2, Format.VMDK) else {}
    file = {"driver": "file", "filename": str(path)}
    return "json:" + json.dumps({"driver": kind.value, "file": file, **alone})


def _refuse_unless_alone(path: Path, kind: Format, names: frozenset[str], cancel: threading.Event) -> None:
    """What QEMU itself says of other files that are needed: none but regular ones of these names beside it."""
    said = b""
    argv = ["qemu-img", "info", "--output=json", "-f", kind.value, path]
    for part in heard(argv, cancel, timeout=_STARTING, memory=_MEMORY):
        said += part
        if len(said) > _MOST_INFO:
            raise IoError("what qemu-img says of it does not end", code="tool-failed")
    try:
        info: Any = msgspec.json.decode(said)
        special: Any = info.get("format-specific", {}).get("data", {})
        backing, data = info.get("backing-filename"), special.get("data-file")
        parts = [Path(part["filename"]) for part in special.get("extents", ())]
        encrypted = bool(info.get("encrypted"))
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:
        raise IoError(f"what qemu-img says of it is not understood: {error}", code="tool-failed") from error
    if backing:
        raise _needs_more(path, "it stands on another disk")
    if data or any(
        part.parent != path.parent or part.name not in names or part.is_symlink() or not part.is_file()
        for part in parts
    ):
        raise _needs_more(path, "its data lies in another file")
    if encrypted:
        raise RefusedError(f"{path.name} is encrypted", code="encrypted", hint="decrypt it first: qemu-img convert")


def _refuse_damage(path: Path, kind: Format, cancel: threading.Event) -> None:
    """QEMU gives zeros for what a file that is cut short does not have: its own check finds that.

    It says a line of every block that is wrong: a small file can make it talk without end.
    """
    done = run_cancellable(["qemu-img", "check", _spec(path, kind)], cancel, timeout=_CHECKING)
    if done.status not in _CHECKED:
        message = done.stdout.strip().partition("\n")[0][:_MOST_TOLD]
        raise BadImageError(
            f"{path.name} is cut short or damaged: {message}",
            code="bad-stream",
            hint="copy it once more from where it came from",
        )


@decodable
class _Piece(msgspec.Struct):
    """What qemu-img says of a piece of a disk; `offset` is where its data lie in the file, in bytes."""

    length: int
    data: bool
    offset: int | None = None


def _refuse_cut(path: Path, kind: Format, cancel: threading.Event) -> None:
    """What the check does not see: that a part is missing of the last block of data, or that a VHD has no end."""
    with opened(str(path)) as fd:
        size = size_of(fd)
        head = read(fd, min(_SECTOR, size), 0)
        ends = [read(fd, 8, max(0, size - end)) for end in _VHD_ENDS]
    if kind is Format.VHD and b"conectix" not in ends:
        raise _damaged(path, "it is cut short: its end is missing")
    if kind is Format.QCOW2 or (kind is Format.VMDK and not head.startswith(_DESCRIPTOR)):
        needed = max(
            (p.offset + p.length for p in _mapped(path, kind, cancel) if p.data and p.offset is not None), default=0
        )
        if needed > size:
            raise _damaged(path, f"it is cut short: {size} bytes of {needed}")


def _mapped(path: Path, kind: Format, cancel: threading.Event) -> Iterator[_Piece]:
    """The pieces of a disk, of which qemu-img says a line each: there can be more than memory holds."""
    rest = b""
    for part in heard(["qemu-img", "map", "--output=json", _spec(path, kind)], cancel, timeout=_CHECKING):
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > _MOST_LINE:
            raise IoError("what qemu-img says of it does not end", code="tool-failed")
        for line in lines:
            words = line.strip(b"[], \t\r")
            if words:
                yield _piece(words)
    if words := rest.strip(b"[], \t\r"):
        yield _piece(words)


def _piece(words: bytes) -> _Piece:
    try:
        return msgspec.json.decode(words, type=_Piece)
    except msgspec.DecodeError as error:
        raise IoError(f"what qemu-img says of it is not understood: {error}", code="tool-failed") from error


@contextmanager
def _served(path: Path, kind: Format) -> Iterator[NbdDisk]:
    """The disk, offered by a process of QEMU that lives as long as the context."""
    with tempfile.TemporaryDirectory(prefix="rescue-disk-") as folder:
        at = Path(folder) / "socket"
        argv = [
            "qemu-nbd",
            "--read-only",
            "--persistent",
            f"--shared={CONNECTIONS}",
            f"--socket={at}",
            _spec(path, kind),
        ]
        with filtered(None, argv) as server:
            _wait(server, at)
            with connected(at, path.name) as disk:
                yield disk


def _wait(server: Filter, socket: Path) -> None:
    """Until the server listens; raises IoError where it does not come to that."""
    end = time.monotonic() + _STARTING
    while not listens(socket):
        server.refuse_if_ended()
        if time.monotonic() > end:
            raise IoError(f"qemu-nbd did not begin within {_STARTING:.0f} s", code="tool-hung")
        time.sleep(0.01)
