"""The mark at the end of a recovery partition on a computer's own disk: how it is known that it is ours to change.

It stands in the partition's last MiB, behind the file system, and is written before the partition table names the
partition: so one that was begun and never completed is known, too. Whoever formats the partition for something else
leaves the mark but not the file system that it names.
"""

import uuid
import zlib

from imaging.disk import Partition, PartitionTable, TableKind

SIZE = 512
ROOM = 1 << 20
"""Bytes at the end of the partition that the file system leaves to the mark."""
NAME = "RESCUE"
"""The partition's name in a GPT, and the label of its file system."""
FILE_SYSTEM = "ext4"
_MAGIC = b"RESCUE RECOVERY PARTITION 1\n"
_NAMESPACE = uuid.UUID("0b6c5f0e-52f5-4a41-9a2c-6d3d6f4c1f5b")


def identity(table_id: str, start: int, size: int) -> str:
    """The UUID of the partition, and of its file system: the same each time a job begins with the same place."""
    return str(uuid.uuid5(_NAMESPACE, f"{table_id.lower()} {start} {size}"))


def place(size: int) -> int:
    """Where the mark stands in a partition of `size` bytes."""
    return size - ROOM


def render(identity: str, size: int) -> bytes:
    """The mark of a partition of `size` bytes."""
    body = _MAGIC + f"{identity} {size}\n".encode()
    return body + f"{zlib.crc32(body):08x}\n".encode().ljust(SIZE - len(body), b"\0")


def parse(sector: bytes, size: int) -> str:
    """The UUID that a mark names; empty where there is none, or it is that of a partition of another size."""
    if not sector.startswith(_MAGIC):
        return ""
    end = sector.find(b"\n", len(_MAGIC)) + 1
    if f"{zlib.crc32(sector[:end]):08x}".encode() != sector[end : end + 8]:
        return ""
    words = sector[len(_MAGIC) : end].decode("ascii", "replace").split()
    return words[0] if len(words) == 2 and words[1] == str(size) else ""


def may_be_one(table: PartitionTable, part: Partition) -> bool:
    """Whether it is worth to look for the mark: what stands on the partition may be the recovery system, or nothing."""
    named = part.name == NAME if table.kind is TableKind.GPT else part.type == "83"
    return named and part.size > ROOM and part.content.kind in ("", FILE_SYSTEM)


def is_ours(part: Partition, marked: str) -> bool:
    """Whether a partition that bears the mark of this UUID holds what we put there, or nothing yet."""
    if not marked:
        return False
    return not part.content.kind or (part.content.label == NAME and part.content.uuid == marked)
