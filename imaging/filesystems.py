"""What stands on a volume, as blkid's low-level probe sees it, and what else a used map needs to know."""

from imaging import doubts
from imaging.blockdev import read
from imaging.disk import Content
from imaging.doubts import Doubt
from imaging.run import run

_NOTHING_FOUND = 2
_AMBIVALENT = 8


def probe(path: str, offset: int = 0, size: int = 0) -> Content:
    """Probe a range of bytes of a device or file; an empty Content where nothing is recognised.

    `size` 0 means up to the end. Source: blkid(8), low-level probing.
    """
    argv = ["blkid", "--probe", "--output", "export", "--usages", "filesystem,raid,crypto,other", f"--offset={offset}"]
    if size:
        argv.append(f"--size={size}")
    done = run([*argv, path], accept=(0, _NOTHING_FOUND, _AMBIVALENT))
    if done.status == _AMBIVALENT:
        return Content(usage="ambivalent")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return Content(
        kind=found.get("TYPE", ""),
        usage=found.get("USAGE", ""),
        label=_unescape(found.get("LABEL", "")),
        uuid=found.get("UUID", ""),
        block_size=int(found["BLOCK_SIZE"]) if found.get("BLOCK_SIZE", "").isdigit() else 0,
    )


def _unescape(value: str) -> str:
    """Undo the backslashes that blkid's export format puts before special characters."""
    return value.replace("\\", "")


def doubt(fd: int, offset: int, content: Content) -> Doubt | None:
    """What `doubts.doubt` says of the volume at `offset` of an open disk."""
    return doubts.doubt(content.kind, lambda at, size: read(fd, size, offset + at))
