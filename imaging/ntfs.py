"""Whether an NTFS volume's log was closed: where it was not, newer allocations may wait in it.

Windows leaves it open after a crash, in hibernation, and with its default fast start-up. Sources: the layouts that
Linux documents in fs/ntfs3/ntfs.h and fs/ntfs3/fslog.c, and ntfs-3g in libntfs-3g/logfile.c.
"""

import struct

from imaging import mft
from imaging.bounded import Read
from imaging.errors import IoError

_LOG_FILE_RECORD = 2
_END = 0xFFFFFFFF
_NO_CLIENT = 0xFFFF
_VOLUME_IS_CLEAN = 0x0002
_PAGE = 4096


def log_is_closed(read: Read) -> bool:
    """Whether nothing waits in $LogFile; raises IoError where the volume's structures make no sense."""
    try:
        return _is_closed(read, _log_start(read))
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise IoError(f"its log cannot be found: {error}", code="bad-file-system") from error


def _log_start(read: Read) -> int:
    shape = mft.geometry(read(0, 512))
    record = read(shape.table + _LOG_FILE_RECORD * shape.record, shape.record)
    return _first_cluster(mft.mended(record)) * shape.cluster


def _first_cluster(record: bytes) -> int:
    """The cluster where the record's data begins: the first run of its mapping pairs."""
    at = struct.unpack_from("<H", record, 0x14)[0]
    while True:
        kind, length = struct.unpack_from("<II", record, at)
        if kind == _END or length == 0:
            raise ValueError("its record names no data")
        if kind == mft.DATA:
            break
        at += length
    if not record[at + 8]:
        raise ValueError("its data lie inside its record")
    at += struct.unpack_from("<H", record, at + 0x20)[0]
    lengths, offsets = record[at] & 0xF, record[at] >> 4
    first = int.from_bytes(record[at + 1 + lengths : at + 1 + lengths + offsets], "little", signed=True)
    if first <= 0:
        raise ValueError(f"its data begin at cluster {first}")
    return first


def _is_closed(read: Read, start: int) -> bool:
    """By the newer of the two restart pages; a log filled with 0xFF was emptied by a program that closed it."""
    first = read(start, _PAGE)
    if first == b"\xff" * _PAGE:
        return True
    size = struct.unpack_from("<I", first, 0x10)[0] if first[:4] in (b"RSTR", b"CHKD") else _PAGE
    second = read(start + size, _PAGE) if _PAGE <= size <= 1 << 16 else b""
    areas = [area for page in (first, second) if (area := _restart_area(page)) is not None]
    if not areas:
        return False
    _, in_use, flags = max(areas)
    return in_use == _NO_CLIENT or bool(flags & _VOLUME_IS_CLEAN)


def _restart_area(page: bytes) -> tuple[int, int, int] | None:
    """Sequence number, first client in use, and flags, of a restart page; None of anything else."""
    if page[:4] not in (b"RSTR", b"CHKD"):
        return None
    at = struct.unpack_from("<H", page, 0x18)[0]
    number, _, _, in_use, flags = struct.unpack_from("<QHHHH", page, at)
    return number, in_use, flags
