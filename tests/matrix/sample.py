"""Files to fill a file system with, and what tells whether they are all there."""

import hashlib
import random
from pathlib import Path

from tests.disks import MIB

_SEED = 20240229


def build(root: Path) -> Path:
    """Make `stale` (to be copied first and deleted), `keep` and `links` (where a file system has them) below `root`."""
    chance = random.Random(_SEED)
    stale, keep, links = (root / name for name in ("stale", "keep", "links"))
    for folder in (stale, keep / "many", keep / "deep/er/and deeper still", keep / "nothing in here", links):
        folder.mkdir(parents=True)
    for i in range(30):
        (stale / f"{i}.old").write_bytes(chance.randbytes(chance.randrange(1, 400_000)))
    for i in range(120):
        (keep / "many" / f"file {i:03}.txt").write_bytes(chance.randbytes(chance.randrange(0, 6000)))
    (keep / "empty").touch()
    (keep / "one byte").write_bytes(b"1")
    (keep / "random.bin").write_bytes(chance.randbytes(4 * MIB + 4097))
    (keep / "text that compresses.log").write_bytes(b"the same line again and again\n" * 150_000)
    (keep / "Grüße – 文件 и файл.txt").write_text("Unicode in the name, and inside: ✓ é 漢字\n", encoding="utf-8")
    (keep / "deep/er/and deeper still/last").write_bytes(chance.randbytes(100_001))
    with (keep / "sparse.img").open("wb") as file:
        file.write(b"head" * 1000)
        file.seek(6 * MIB)
        file.write(b"tail" * 1000)
    with (keep / "zeros").open("wb") as file:
        file.write(bytes(MIB))
    (links / "to a file").symlink_to("../keep/one byte")
    (links / "to nowhere").symlink_to("/no/such/place")
    return root


def fingerprint(folder: Path) -> dict[str, str]:
    """What every entry below a folder is: a file by its SHA-256, a symbolic link by its text, a folder as such."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/")[0] in ("lost+found", "System Volume Information"):
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
