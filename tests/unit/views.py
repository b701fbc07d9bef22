"""What the tests of copy-on-write views stand on."""

from collections.abc import Sequence

from imaging.fuse import VirtualFile


class Base:
    """A file in memory that can only be read, or fails."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self.data, self.size, self._error = data, len(data), error

    def read(self, offset: int, size: int) -> Sequence[bytes]:
        """In two parts."""
        if self._error is not None:
            raise self._error
        assert 0 <= offset <= offset + size <= self.size
        return [self.data[offset : offset + size // 2], self.data[offset + size // 2 : offset + size]]


def read(view: VirtualFile, offset: int, size: int) -> bytes:
    """What a view shows."""
    return b"".join(bytes(part) for part in view.read(offset, size))
