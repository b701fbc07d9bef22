"""The partition table of a recovery medium, as sfdisk makes it for a medium of that size, and how it is written.

sfdisk writes to a sparse file of the medium's size, not to the medium: there the copy at the end has to be in place
before the table, and the first sector comes last of all.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from imaging import unfinished
from imaging.gpt import Entry
from imaging.medium import IMAGES_LABEL, SECTOR
from imaging.run import run

LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
_WINDOWS_DATA = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"
"""What Windows gives a letter to: an images partition with exFAT."""
HEAD = 34 * SECTOR
"""Bytes of MBR, header and 128 entries."""
_TAIL = 33 * SECTOR
_FIRST = 64
"""The sector of the first partition: the ISO begins there, right behind the table."""
_MBR_CODE = 440
_ACTIVE = slice(462, 478)
"""An entry of type 0 that says "active": some BIOSes start from nothing else. sfdisk's own MBR has neither."""
_ENTRIES = slice(446, 510)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table's bytes: the MBR, what follows it, and the copy at the end with its place. All is written in that order
    from the last to the first."""

    mbr: bytes
    primary: bytes
    copy: bytes
    copy_at: int

    @property
    def pieces(self) -> tuple[tuple[int, bytes], ...]:
        """What is written where, in order; each is to be on the medium before the next."""
        return (self.copy_at, self.copy), (SECTOR, self.primary), (0, self.mbr)


def images_entry(start: int, size: int, filesystem: str, uuid: str = "") -> Entry:
    """The entry of the images partition, with its place in bytes; it gets a new id where none is given."""
    return Entry(
        number=3,
        type=_WINDOWS_DATA if filesystem == "exfat" else LINUX,
        first=start // SECTOR,
        last=(start + size) // SECTOR - 1,
        name=IMAGES_LABEL,
        uuid=uuid,
    )


def render(entries: Sequence[Entry], size: int, code: bytes | None, disk_id: str = "") -> Table:
    """The table of a medium of `size` bytes with these partitions.

    `code` is the first sector of the system whose boot code it gets; None for a medium that is being made, which no
    BIOS starts from. Raises IoError where sfdisk refuses.
    """
    script = ["label: gpt", *([f"label-id: {disk_id}"] if disk_id else []), f"first-lba: {_FIRST}", "unit: sectors"]
    script += [
        f"{one.number} : start={one.first}, size={one.last - one.first + 1}, type={one.type}, "
        f"{f'uuid={one.uuid}, ' if one.uuid else ''}name={_quoted(one.name)}"
        for one in entries
    ]
    with tempfile.TemporaryFile(prefix="rescue-table-") as file:
        file.truncate(size)
        fd = file.fileno()
        run(["sfdisk", "--quiet", f"/proc/self/fd/{fd}"], secret="\n".join([*script, ""]), keep=(fd,))
        file.seek(0)
        head = file.read(HEAD)
        copy_at = size // SECTOR * SECTOR - _TAIL
        file.seek(copy_at)
        copy = file.read(_TAIL)
    mbr = bytearray(head[:SECTOR])
    if code is None:
        entries_of_mbr = mbr[_ENTRIES]
        mbr = bytearray(unfinished.render(unfinished.MEDIUM))
        mbr[_ENTRIES] = entries_of_mbr
    else:
        mbr[:_MBR_CODE] = code[:_MBR_CODE]
        mbr[_ACTIVE] = code[_ACTIVE]
    return Table(mbr=bytes(mbr), primary=head[SECTOR:], copy=copy, copy_at=copy_at)


def _quoted(name: str) -> str:
    """A name for sfdisk's script, whose words have no way to hold a quotation mark."""
    return '"' + "".join(char for char in name if char.isalnum() or char in " -_.") + '"'
