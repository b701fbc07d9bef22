"""The kernel's FUSE messages, answered without a kernel."""

import errno
import os
import stat
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import virtual
from imaging.errors import BadImageError
from imaging.fuse import Folder, Op

DATA = bytes(range(256)) * 40


class Plain:
    """A file in memory, handed out in parts."""

    size = len(DATA)

    def read(self, offset: int, size: int) -> Sequence[bytes]:
        return [DATA[offset : offset + size // 2], DATA[offset + size // 2 : offset + size]]


class Failing:
    """A file that cannot be read: by a damaged image, or by a mistake of ours."""

    size = 1 << 40

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, offset: int, size: int) -> Sequence[bytes]:  # noqa: ARG002
        raise self.error


class Crumbs:
    """A file that comes in more parts than one call can write."""

    size = 5000

    def read(self, offset: int, size: int) -> Sequence[bytes]:  # noqa: ARG002
        return [b"x"] * size


class Sparse(Plain):
    """A file whose middle is a hole."""

    allocated = 512

    def next_data(self, offset: int) -> int:
        return max(offset, 8192) if offset >= 4096 else offset

    def next_hole(self, offset: int) -> int:
        return max(offset, 4096) if offset < 8192 else self.size


class Trailing(Sparse):
    """A file that ends with a hole."""

    def next_data(self, offset: int) -> int:
        return self.size if offset >= 4096 else offset

    def next_hole(self, offset: int) -> int:
        return max(offset, 4096)


FOLDER = Folder({"a.img": Plain(), "b.img": Crumbs(), "bad": Failing(BadImageError("corrupt"))})


def ask(opcode: int, node: int = 1, body: bytes = b"", folder: Folder = FOLDER) -> tuple[int, bytes]:
    """The error and what follows it of one answer, whose head must be right."""
    request = struct.pack("=IIQQIIIHH", 40 + len(body), opcode, 77, node, 0, 0, 1, 0, 0) + body
    parts = folder.answer(request)
    assert len(parts) <= 1024
    reply = b"".join(parts)
    length, error, unique = struct.unpack_from("=IiQ", reply)
    assert (length, unique) == (len(reply), 77)
    return error, reply[16:]


def read(node: int, offset: int, size: int, folder: Folder = FOLDER) -> tuple[int, bytes]:
    return ask(Op.READ, node, struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0), folder)


def test_a_file_is_found_by_its_name_and_can_only_be_read() -> None:
    error, entry = ask(Op.LOOKUP, 1, b"a.img\0")
    node, size = *struct.unpack_from("=Q", entry), *struct.unpack_from("=Q", entry, 48)
    mode = struct.unpack_from("=I", entry, 40 + 60)[0]
    assert (error, node, size) == (0, 2, len(DATA))
    assert (stat.S_ISREG(mode), mode & 0o777) == (True, 0o400)


def test_a_name_that_is_not_there_is_not_found() -> None:
    assert ask(Op.LOOKUP, 1, b"c.img\0") == (-errno.ENOENT, b"")
    assert ask(Op.LOOKUP, 2, b"a.img\0") == (-errno.ENOENT, b"")


def test_reads_end_where_the_file_does() -> None:
    assert read(2, 100, 300) == (0, DATA[100:400])
    assert read(2, len(DATA) - 10, 4096) == (0, DATA[-10:])
    assert read(2, len(DATA), 4096) == (0, b"")
    assert read(2, 1 << 63, 4096) == (0, b"")


def seek(folder: Folder, offset: int, whence: int) -> tuple[int, int]:
    error, found = ask(Op.LSEEK, 2, struct.pack("=QQII", 0, offset, whence, 0), folder)
    return error, struct.unpack("=Q", found)[0] if found else 0


def test_a_file_tells_where_its_holes_are() -> None:
    folder = Folder({"a": Sparse()})
    assert seek(folder, 10, os.SEEK_DATA) == (0, 10)
    assert seek(folder, 10, os.SEEK_HOLE) == (0, 4096)
    assert seek(folder, 5000, os.SEEK_DATA) == (0, 8192)
    assert seek(folder, 5000, os.SEEK_HOLE) == (0, 5000)
    assert seek(folder, 9000, os.SEEK_HOLE) == (0, len(DATA))
    blocks = struct.unpack_from("=Q", ask(Op.LOOKUP, 1, b"a\0", folder)[1], 40 + 16)[0]
    assert blocks == 1


def test_a_file_that_knows_of_no_holes_has_one_behind_its_end() -> None:
    assert seek(FOLDER, 10, os.SEEK_DATA) == (0, 10)
    assert seek(FOLDER, 10, os.SEEK_HOLE) == (0, len(DATA))


def test_behind_the_end_nothing_is_found() -> None:
    for folder, offset, whence in (
        (FOLDER, len(DATA), os.SEEK_DATA),
        (FOLDER, len(DATA), os.SEEK_HOLE),
        (FOLDER, 1 << 63, os.SEEK_HOLE),
        (Folder({"a": Trailing()}), 5000, os.SEEK_DATA),
    ):
        assert seek(folder, offset, whence) == (-errno.ENXIO, 0)
    assert seek(FOLDER, 0, os.SEEK_SET) == (-errno.EINVAL, 0)


def test_many_small_parts_are_one_answer() -> None:
    assert read(3, 0, 5000) == (0, b"x" * 5000)


def test_what_cannot_be_read_is_an_input_output_error() -> None:
    assert read(4, 0, 4096) == (-errno.EIO, b"")
    lost = Folder({"a": Failing(OSError(errno.ENODEV, "gone")), "b": Failing(ZeroDivisionError())})
    assert read(2, 0, 4096, lost) == (-errno.ENODEV, b"")
    assert read(3, 0, 4096, lost) == (-errno.EIO, b"")


def test_the_folder_lists_its_files_over_several_calls() -> None:
    found, offset = [], 0
    while True:
        error, entries = ask(Op.READDIR, 1, struct.pack("=QQIIQII", 0, offset, 64, 0, 0, 0, 0))
        assert error == 0
        if not entries:
            break
        at = 0
        while at < len(entries):
            _, offset, length, _ = struct.unpack_from("=QQII", entries, at)
            found.append(entries[at + 24 : at + 24 + length].decode())
            at += 24 + -(-length // 8) * 8
    assert found == [".", "..", "a.img", "b.img", "bad"]


def test_large_reads_are_agreed_on_and_an_old_kernel_is_refused() -> None:
    error, out = ask(Op.INIT, 0, struct.pack("=IIII", 7, 44, 131072, 0xFFFFFFFF))
    major, _, ahead, flags = struct.unpack_from("=IIII", out)
    assert (error, len(out), major, ahead >= 1 << 20) == (0, 64, 7, True)
    assert flags == 1 << 0 | 1 << 22
    assert ask(Op.INIT, 0, struct.pack("=IIII", 7, 20, 131072, 0)) == (-errno.EPROTO, b"")


class Notepad(Plain):
    """A file that remembers what was written to it."""

    def __init__(self) -> None:
        self.written: list[tuple[int, bytes]] = []

    def write(self, offset: int, data: bytes) -> None:
        if offset + len(data) > self.size:
            raise OSError(errno.ENOSPC, "no room")
        self.written.append((offset, data))


def writing(offset: int, data: bytes) -> bytes:
    return struct.pack("=QQIIQII", 0, offset, len(data), 0, 0, 0, 0) + data


def test_only_a_file_that_can_be_written_to_is() -> None:
    pad = Notepad()
    folder = Folder({"plain": Plain(), "pad": pad})
    assert ask(Op.WRITE, 2, writing(0, b"x"), folder) == (-errno.EROFS, b"")
    assert ask(Op.WRITE, 3, writing(4096, b"words"), folder) == (0, struct.pack("=II", 5, 0))
    assert ask(Op.WRITE, 3, writing(len(DATA), b"x"), folder) == (-errno.ENOSPC, b"")
    assert pad.written == [(4096, b"words")]
    assert ask(Op.WRITE, 1, writing(0, b"x"), folder) == (-errno.EISDIR, b"")
    assert ask(Op.FSYNC, 3, bytes(16), folder) == (0, b"")
    modes = [struct.unpack_from("=I", ask(Op.GETATTR, node, bytes(16), folder)[1], 16 + 60)[0] for node in (2, 3)]
    assert modes == [stat.S_IFREG | 0o400, stat.S_IFREG | 0o600]


def test_what_waits_for_no_answer_gets_none() -> None:
    request = struct.pack("=IIQQIIIHH", 40, Op.FORGET, 1, 2, 0, 0, 1, 0, 0)
    assert FOLDER.answer(request) == ()


@given(st.integers(0, 60), st.integers(0, 10), st.binary(max_size=100))
def test_no_message_makes_it_fail_otherwise(opcode: int, node: int, body: bytes) -> None:
    if opcode in (Op.FORGET, Op.INTERRUPT, Op.BATCH_FORGET):
        return
    error, _ = ask(opcode, node, body)
    assert error == 0 or os.strerror(-error)


@pytest.mark.parametrize("code", [errno.ENODEV, errno.ECONNABORTED])
def test_a_server_ends_when_its_file_system_is_gone(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    device, far_end = os.pipe()
    stop, other_stop = os.pipe()

    def gone(*_: int) -> bytes:
        raise OSError(code, os.strerror(code))

    try:
        os.write(far_end, b"x")
        monkeypatch.setattr(os, "read", gone)
        virtual._serve(device, stop, Folder({}))
    finally:
        for fd in (device, far_end, stop, other_stop):
            os.close(fd)
