"""f2fs, which is filled and read by its own tools: not every kernel mounts it."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from tests.disks import MIB, blank, looped, partition, run
from tests.matrix import images
from tests.matrix.tools import said

pytestmark = pytest.mark.root

SIZE = 128 * MIB


def _hashes(disk: Path, names: set[str], folder: Path) -> dict[str, str]:
    """The SHA-256 of files of a file system that passes its check, read by its own tool."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with looped(disk, MIB, SIZE) as loop:
        tree = said("fsck.f2fs", "--dry-run", "-t", loop)
        for name, number in re.findall(r"-- (.+) <ino = (0x[0-9a-f]+)>", tree):
            if name in names:
                # It writes into the folder where it stands, and asks first.
                run("sh", "-c", 'cd "$1" && echo y | dump.f2fs -i "$2" "$3"', "sh", folder, number, loop)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "lost_found").iterdir()}


def test_an_f2fs_comes_back(files: Path, room: Path) -> None:
    source = partition(blank(room / "source.img", SIZE + 3 * MIB), f"label: gpt\nstart=1MiB, size={SIZE // MIB}MiB\n")
    with looped(source, MIB, SIZE) as loop:
        run("mkfs.f2fs", "-q", "-l", "MATRIX", loop)
        said("sload.f2fs", "-f", files / "keep", loop)
    captured = images.capture(source, room / "library")
    (volume,) = captured.manifest["volumes"]
    assert (volume["content"]["kind"], volume["map_origin"], volume["note"]) == ("f2fs", "partclone", "")
    assert volume["used"] < SIZE // 2
    target = blank(room / "target.img", source.stat().st_size, fill=0xAA)
    images.restore(captured, target)
    names = ["random.bin", "text that compresses.log", "last", "sparse.img", "zeros", "one byte"]
    names += [f"file {i:03}.txt" for i in range(1, 120, 7)]
    wanted = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (files / "keep").rglob("*") if p.is_file()}
    expected = {name: wanted[name] for name in names}
    for path in (target, images.extract(captured, room / "extracted.img")):
        assert images.differing(source, path, captured.used) == []
        assert _hashes(path, set(names), room / "files") == expected
    assert images.restore(captured, target)["written"] == 0
