"""A disk's light blinks while it is read in bursts, and its port is known by udev's name."""

import os
import threading
from pathlib import Path

import pytest

from imaging import identify
from imaging.disk import Disk, DiskId
from imaging.errors import IoError
from imaging.identify import Attachment, attachment, blink
from tests.unit.builders import a_disk


def a_file(path: Path, size: int = 1 << 20) -> Disk:
    """A regular file in a disk's place."""
    path.write_bytes(os.urandom(size))
    return a_disk(path=str(path), id=DiskId(size=size), regular_file=True, transport="file")


def test_reading_goes_on_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, stop, offsets = a_file(tmp_path / "disk.img"), threading.Event(), []

    def preadv(fd: int, buffers: list[bytearray], offset: int) -> int:
        assert os.fstat(fd).st_size == 1 << 20
        offsets.append(offset)
        if len(offsets) > 20:
            stop.set()
        return len(buffers[0])

    monkeypatch.setattr(os, "preadv", preadv)
    before = Path(disk.path).read_bytes()
    blink(disk, stop, burst=0.0001, pause=0.0)
    assert len(offsets) == 21
    assert set(offsets) <= {0, 256 << 10, 512 << 10, 768 << 10}
    assert Path(disk.path).read_bytes() == before


def test_a_place_that_cannot_be_read_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, tries = threading.Event(), []

    def preadv(fd: int, buffers: list[bytearray], offset: int) -> int:
        tries.append((fd, len(buffers), offset))
        if len(tries) == 3:
            stop.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", preadv)
    blink(a_file(tmp_path / "disk.img", 100), stop, burst=0.0001, pause=0.0)
    assert [offset for _, _, offset in tries] == [0, 0, 0]


def test_a_disk_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(IoError, match="cannot be opened"):
        blink(a_disk(path=str(tmp_path / "gone")), threading.Event())


def test_a_disk_is_known_by_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "sda"
    device.touch()
    ports = tmp_path / "by-path"
    ports.mkdir()
    for name in ("pci-0000:00:17.0-ata-1.0", "pci-0000:00:17.0-ata-1"):
        (ports / name).symlink_to("../sda")
    (ports / "pci-0000:00:14.0-usb-0:2").symlink_to("../sdb")
    queue = tmp_path / "block/sda/queue"
    queue.mkdir(parents=True)
    (queue / "rotational").write_text("1\n")
    monkeypatch.setattr(identify, "_BY_PATH", ports)
    monkeypatch.setattr(identify, "_SYS_BLOCK", tmp_path / "block")
    assert attachment(a_disk(path=str(device))) == Attachment(port="pci-0000:00:17.0-ata-1", rotational=True)
    assert attachment(a_disk(path=str(tmp_path / "sdz"))) == Attachment()
    assert attachment(a_disk(path=str(device), regular_file=True)) == Attachment()
