"""The files of the disk that is saved: other ones in each file system, little of what does not compress."""

import hashlib
from pathlib import Path
from random import Random

VOLUMES = ("fat", "ext4", "ntfs", "btrfs", "xfs", "root", "home-data")


def write_files(folder: Path) -> dict[str, str]:
    """A folder for each volume, and `stale`, what is deleted again; the SHA-256 of each file by `volume/path`."""
    digests = {}
    for volume in VOLUMES:
        for name, data in sorted(_files(volume).items()):
            path = folder / volume / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            digests[f"{volume}/{name}"] = hashlib.sha256(data).hexdigest()
    (folder / "stale").mkdir(exist_ok=True)
    for number in range(12):
        (folder / "stale" / f"{number}.old").write_bytes(b"deleted before it was saved\n" * 700)
    return digests


def _files(volume: str) -> dict[str, bytes]:
    chance = Random(volume)
    files = {
        "empty": b"",
        "one byte": b"1",
        "zeros": bytes(50_000),
        "larger.bin": chance.randbytes(4096 + 97),
        "text that compresses.log": f"{volume}: the same line again and again\n".encode() * 9000,
        "Grüße – 文件 и файл.txt": f"Unicode in the name, and inside: ✓ é 漢字 {volume}\n".encode(),
        "deep/er/and deeper still/last": chance.randbytes(1001),
    }
    for number in range(10):
        files[f"random/{number}.bin"] = chance.randbytes(chance.randrange(40, 500))
        lines = (f"{number},{at},{chance.randrange(100)}\n" for at in range(chance.randrange(900)))
        files[f"tables/table {number:02}.csv"] = "".join(lines).encode()
    return files
