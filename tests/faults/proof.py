"""Proof that a library holds what its images name, that shares no code with the program."""

import hashlib
import json
import struct
import subprocess
from pathlib import Path

from tests.disks import run


def index_entries(path: Path) -> list[tuple[int, bytes]]:
    """End offset and id of each chunk of an index."""
    table = path.read_bytes()[64:-40]
    return [struct.unpack_from("<Q32s", table, at) for at in range(0, len(table), 40)]


def prove(library: Path) -> int:
    """Recompute the SHA-512/256 of every chunk that any image of a library names; returns how many there are.

    zstd decompresses, as casync would, so that nothing of the program is taken on trust.
    """
    names: dict[bytes, int] = {}
    for manifest in sorted((library / "images").glob("*/manifest.json")):
        assert json.loads(manifest.read_bytes())["image"]["id"] == manifest.parent.name
        for index in manifest.parent.glob("*.caibx"):
            last = 0
            for end, name in index_entries(index):
                names[name] = end - last
                last = end
    for name, size in names.items():
        path = library / "chunks" / name.hex()[:4] / f"{name.hex()}.cacnk"
        plain = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout
        assert len(plain) == size, path
        assert hashlib.new("sha512_256", plain).digest() == name, path
    return len(names)


def extract(library: Path, image: str, disk: str, to: Path) -> Path:
    """Rebuild a disk with casync itself."""
    run("casync", "extract", f"--store={library / 'chunks'}", library / "images" / image / f"{disk}.caibx", to)
    return to
