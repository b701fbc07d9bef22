"""A disk that only this process can read, shown to everything that looks at disks: as a device, read-only."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from imaging import inventory, virtual
from imaging.blockdev import loop_over
from imaging.disk import Disk, DiskId
from imaging.errors import IoError
from imaging.fuse import Reply, VirtualFile

MODEL = "imported disk"


class _Whole:
    """A file whose last sector is whole: behind the file's end it holds zeros."""

    def __init__(self, file: VirtualFile, sector: int) -> None:
        self._file = file
        self.size = -(-file.size // sector) * sector

    def read(self, offset: int, size: int) -> Reply:
        """As VirtualFile."""
        parts = self._file.read(offset, size)
        missing = min(size, self.size - offset) - sum(len(part) for part in parts)
        return [*parts, memoryview(bytes(missing))] if missing > 0 else parts


@contextmanager
def presented(file: VirtualFile, name: str, sector: int) -> Iterator[Disk]:
    """The disk that `file` holds, as the inventory finds it; needs root. Its path is good until the end of the context.

    `name` is what the disk is called, `sector` its sector size in bytes. Raises RefusedError without root, IoError.
    """
    whole = _Whole(file, sector)
    with (
        tempfile.TemporaryDirectory(prefix="rescue-import-") as folder,
        virtual.opened({"disk": whole}) as files,
        loop_over(files["disk"], offset=0, size=whole.size, sector=sector) as loop,
    ):
        found = inventory.look(loop)
        if found.problem:
            raise IoError(f"{name} cannot be looked at: {found.problem}", code="read-failed")
        path = Path(folder) / name
        path.symlink_to(loop)
        yield replace(
            found,
            path=str(path),
            # Whose image it is decides which ones a rule deletes: no two disks may be taken for one.
            id=DiskId(size=file.size, model=MODEL, serial=f"{name} {found.table.table_id}".strip()),
            transport="file",
            regular_file=True,
            holders=(),
        )
