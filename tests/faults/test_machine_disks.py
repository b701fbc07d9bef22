"""Disks of virtual machines: imported as what their machine sees, and never a way to this machine's own files."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from imaging.errors import CancelledError, RescueError
from imaging.foreign import ForeignDisk
from imaging.foreignfiles import open_foreign
from imaging.imageplans import ExportFormat, ExportPlan, ImportPlan
from imaging.library import Library
from tests.disks import MIB, run
from tests.faults.test_imports import import_here, only_image, parts
from tests.faults.world import Sample, carry_out_here, told_of_processes, until

pytestmark = pytest.mark.root

WAYS = {
    "qcow2": ("qcow2", ()),
    "compressed.qcow2": ("qcow2", ("-c",)),
    "vmdk": ("vmdk", ()),
    "stream.vmdk": ("vmdk", ("-o", "subformat=streamOptimized")),
    "flat.vmdk": ("vmdk", ("-o", "subformat=monolithicFlat")),
    "split.vmdk": ("vmdk", ("-o", "subformat=twoGbMaxExtentSparse")),
    "vdi": ("vdi", ()),
    "static.vdi": ("vdi", ("-o", "static=on")),
    "vhd": ("vpc", ("-o", "force_size=on")),
    "fixed.vhd": ("vpc", ("-o", "subformat=fixed,force_size=on")),
    "vhdx": ("vhdx", ()),
}


WRITABLE = ("qcow2", "vmdk", "vdi", "vhd", "vhdx")


@pytest.fixture(scope="module")
def disk(quick: Path) -> Path:
    """A small disk: data at both ends, and zeros and data between."""
    path = quick / "small.img"
    with path.open("wb") as file:
        for at in (0, 3, 4, 7):
            file.seek(at * MIB)
            file.write(os.urandom(MIB))
    return path


def made(disk: Path, folder: Path, way: str) -> Path:
    kind, words = WAYS[way]
    target = folder / f"pc.{way}"
    run("qemu-img", "convert", "-f", "raw", "-O", kind, *words, disk, target)
    return target


def joined(disk: ForeignDisk) -> bytes:
    data = bytearray(disk.size or 0)
    for at, piece in disk.pieces():
        data[at : at + len(piece)] = piece
    return bytes(data)


@pytest.mark.parametrize("way", WAYS)
def test_a_machines_disk_holds_what_the_machine_sees(disk: Path, tmp_path: Path, way: str) -> None:
    (found,) = open_foreign(made(disk, tmp_path, way), Event()).disks
    assert found.size == disk.stat().st_size
    assert joined(found) == disk.read_bytes()


@pytest.mark.parametrize("kind", [ExportFormat.QCOW2, ExportFormat.VHDX])
def test_what_was_exported_comes_back(captured: Sample, tmp_path: Path, kind: ExportFormat) -> None:
    target = tmp_path / f"{captured.disk.stem}.{kind}"
    plan = ExportPlan(library=str(captured.library), image=captured.image_id, target=str(target), format=kind)
    assert carry_out_here(plan, tmp_path / "export").status == 0
    result = import_here(target, tmp_path / "library", tmp_path / "job")
    image = only_image(tmp_path / "library")
    assert parts(tmp_path / "library", image) == parts(captured.library, captured.image)
    assert image.disks[0].name == captured.disk.stem
    assert image.disks[0].volumes == captured.imaged.volumes
    assert result.used == captured.imaged.used


def refusal(path: Path) -> RescueError:
    with pytest.raises(RescueError) as caught:
        joined(open_foreign(path, Event()).disks[0])
    return caught.value


@pytest.mark.parametrize("way", [way for way in WAYS if way != "fixed.vhd"])
def test_one_that_is_cut_short_is_an_error(disk: Path, tmp_path: Path, way: str) -> None:
    path = made(disk, tmp_path, way)
    part = {"flat.vmdk": tmp_path / "pc.flat-flat.vmdk", "split.vmdk": tmp_path / "pc.split-s001.vmdk"}.get(way, path)
    os.truncate(part, part.stat().st_size * 2 // 3)
    assert refusal(path).code == "bad-stream"


@pytest.mark.parametrize("way", ["qcow2", "vmdk", "vdi", "vhd"])
@pytest.mark.parametrize("missing", [512, 4096, 0x8000])
def test_one_that_lacks_less_than_a_block_is_an_error(disk: Path, tmp_path: Path, way: str, missing: int) -> None:
    path = made(disk, tmp_path, way)
    os.truncate(path, path.stat().st_size - missing)
    assert refusal(path).code == "bad-stream"


@pytest.mark.parametrize("way", WAYS)
def test_one_that_ends_within_a_block_or_was_written_to_here_and_there_is_whole(tmp_path: Path, way: str) -> None:
    odd = tmp_path / "odd.img"
    odd.write_bytes(os.urandom(MIB + 3 * 512))
    if way in WRITABLE:
        os.truncate(odd, 48 * MIB)
    path = made(odd, tmp_path, way)
    if way in WRITABLE:
        # The last of what is written is the first part of a block.
        run("qemu-io", "-f", WAYS[way][0], "-c", "write -q -P 7 40M 4k", "-c", "write -q -P 9 9M 512", path)
    (found,) = open_foreign(path, Event()).disks
    assert joined(found)[: MIB + 3 * 512] == odd.read_bytes()[: MIB + 3 * 512]


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, info: str) -> None:
    """A qemu-img that does this when it is asked what a file is."""
    folder.mkdir()
    (folder / "qemu-img").write_text(f'#!/bin/sh\nif [ "$1" = info ]; then {info}; fi\nexec /usr/bin/qemu-img "$@"\n')
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_what_qemu_says_of_a_file_is_bounded_in_length_and_memory_and_can_be_stopped(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(disk, tmp_path, "qcow2")
    with monkeypatch.context() as patch:
        tool(tmp_path / "endless", patch, "exec yes")
        assert "does not end" in refusal(path).message
    with monkeypatch.context() as patch:
        tool(tmp_path / "limited", patch, "ulimit -v >&2; exit 1")
        assert str(2 << 20) in refusal(path).message
    with monkeypatch.context() as patch:
        tool(tmp_path / "asleep", patch, f"touch {tmp_path}/begun; exec sleep 1000")
        asked = Event()

        def stop() -> None:
            until((tmp_path / "begun").exists)
            asked.set()

        stopper = Thread(target=stop)
        stopper.start()
        with pytest.raises(CancelledError):
            open_foreign(path, asked)
        stopper.join()


def test_what_cannot_be_read_within_is_an_end_of_the_import(disk: Path, tmp_path: Path) -> None:
    path = made(disk, tmp_path, "stream.vmdk")
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(os.urandom(4096))
    library = tmp_path / "library"
    done = carry_out_here(ImportPlan(library=str(library), source=str(path)), tmp_path / "job")
    assert (done.status, done.code) == (4, "bad-stream"), done
    assert "is damaged" in done.message
    assert not Library.open(library).images().images


def test_a_check_that_says_very_much_is_cut_off_and_can_be_stopped(disk: Path, tmp_path: Path) -> None:
    path = made(disk, tmp_path, "qcow2")
    data = bytearray(path.read_bytes())
    table = int.from_bytes(data[40:48], "big")
    # Every block of the disk is said to lie at the same odd place, of which the check says a line each.
    second = int.from_bytes(data[table : table + 8], "big") & ~(1 << 63)
    data[second : second + 0x10000] = (1 << 63 | 0x123400).to_bytes(8, "big") * 0x2000
    path.write_bytes(data)
    error = refusal(path)
    assert error.code == "bad-stream"
    assert len(error.message) < 400
    asked = Event()
    asked.set()
    with pytest.raises(CancelledError):
        open_foreign(path, asked)


def test_one_of_more_bytes_than_memory_can_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", path, "65T")
    assert refusal(path).code == "too-large"


def secret_in(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    secret = folder / "secret"
    secret.write_bytes(b"secret" * 100_000)
    return secret


def standing_on(tmp_path: Path, secret: Path) -> Path:
    path = tmp_path / "hostile"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, path)
    return path


def standing_on_vmdk(tmp_path: Path, secret: Path) -> Path:
    base, path = secret.with_name("base"), tmp_path / "hostile"
    run("qemu-img", "create", "-q", "-f", "vmdk", base, "1M")
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, path)
    return path


def data_elsewhere(tmp_path: Path, secret: Path) -> Path:
    path = tmp_path / "hostile"
    words = f"data_file={secret},data_file_raw=on"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", words, path, "64k")
    return path


def differencing(tmp_path: Path, _secret: Path) -> Path:
    path = tmp_path / "hostile"
    run("qemu-img", "create", "-q", "-f", "vpc", path, "1M")
    data = bytearray(path.read_bytes())
    for at in (0, len(data) - 512):
        data[at + 60 : at + 64] = (4).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def descriptor(*extents: str) -> str:
    lines = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", 'createType="monolithicFlat"']
    return "\n".join([*lines, *extents, 'ddb.adapterType = "ide"', ""])


def listing(line: str) -> Callable[[Path, Path], Path]:
    def make(tmp_path: Path, secret: Path) -> Path:
        (tmp_path / "link").symlink_to(secret)
        path = tmp_path / "hostile"
        path.write_text(descriptor(line.format(secret=secret)))
        return path

    return make


def listing_within(tmp_path: Path, secret: Path) -> Path:
    return sparse_list(tmp_path / "hostile", f'RW 1000 FLAT "{secret}" 0')


def sparse_list(path: Path, line: str) -> Path:
    """A sparse VMware disk without sectors of its own, whose descriptor lists another file."""
    run("qemu-img", "create", "-q", "-f", "vmdk", path, "1M")
    data = bytearray(path.read_bytes())
    data[12:20] = bytes(8)
    text = descriptor(line).encode()
    data[512 : 512 + len(text)] = text
    path.write_bytes(data)
    return path


def listing_within_a_part(tmp_path: Path, secret: Path) -> Path:
    """A list of one sparse part, which holds a list of its own."""
    (tmp_path / "link").symlink_to(secret)
    part = sparse_list(tmp_path / "part", 'RW 1000 FLAT "link" 0')
    path = tmp_path / "hostile"
    path.write_text(descriptor(f'RW 1000 SPARSE "{part.name}"'))
    return path


HOSTILE: dict[str, Callable[[Path, Path], Path]] = {
    "qcow2 backing": standing_on,
    "qcow2 data file": data_elsewhere,
    "vmdk parent": standing_on_vmdk,
    "vmdk absolute": listing('RW 1000 FLAT "{secret}" 0'),
    "vmdk above": listing('RW 1000 FLAT "../elsewhere/secret" 0'),
    "vmdk link": listing('RW 1000 FLAT "link" 0'),
    "vmdk address": listing('RW 1000 FLAT "nbd:localhost:10809" 0'),
    "vmdk json": listing('RW 1000 FLAT "json:{{}}" 0'),
    "vmdk odd spacing": listing(' RW\t1000 FLAT "{secret}" 0'),
    "vmdk several lines": listing('RW\n1000\nFLAT "{secret}" 0'),
    "vmdk far behind": listing("#" * 200_000 + '\nRW 1000 FLAT "{secret}" 0'),
    "vmdk within": listing_within,
    "vmdk within a part": listing_within_a_part,
    "vhd differencing": differencing,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_other_file_is_opened_because_a_disk_names_it(tmp_path: Path, kind: str) -> None:
    secret = secret_in(tmp_path)
    path = HOSTILE[kind](tmp_path, secret)
    os.utime(secret, (0, 0))
    error = refusal(path)
    assert error.code == "needs-more", error
    assert secret.stat().st_atime == 0, "QEMU has read it"


def test_a_part_is_never_taken_for_another_format(tmp_path: Path) -> None:
    secret = secret_in(tmp_path)
    inner = tmp_path / "part"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, inner)
    path = tmp_path / "disk.vmdk"
    path.write_text(descriptor(f'RW {inner.stat().st_size // 512} FLAT "part" 0'))
    (found,) = open_foreign(path, Event()).disks
    data = joined(found)
    assert data == inner.read_bytes()[: len(data)]
    assert data.startswith(b"QFI")


def test_an_encrypted_one_is_refused(disk: Path, tmp_path: Path) -> None:
    path = made(disk, tmp_path, "qcow2")
    with path.open("r+b") as file:
        file.seek(32)
        file.write((2).to_bytes(4, "big"))
    assert refusal(path).code == "encrypted"


def test_without_the_tools_the_package_is_named(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(disk, tmp_path, "qcow2")
    monkeypatch.setattr("imaging.machinedisk.find_tool", lambda name: None if name == "qemu-nbd" else name)
    error = refusal(path)
    assert (error.code, error.hint) == ("no-tool", "install the package qemu-utils")


def test_no_process_stays_behind(disk: Path, tmp_path: Path) -> None:
    path = made(disk, tmp_path, "qcow2")
    pieces = open_foreign(path, Event()).disks[0].pieces()
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert str(path).encode() not in b"".join(told_of_processes().values())
