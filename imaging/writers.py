"""The marks that captures at work leave in a library.

A crash can leave chunks that have their name and not their data, and folders of images that never came to be. The mark
of a writer that died tells the next one since when to look twice, and what to clear away.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging.durable import reading, write_file, written
from imaging.errors import BadImageError, IoError
from imaging.library import Library, read_regular

_DEAD_AFTER = 24 * 3600.0
"""Seconds without a heartbeat after which a writer that cannot be asked is taken for dead."""
_BEAT = 60.0
_MOST_MARK = 64 << 10
_SLACK = 60.0
"""Seconds by which a file's time may be early: FAT counts in twos, and a share has a clock of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Other:
    """The mark of another writer that is not known to be alive."""

    path: Path
    began: float
    dead: bool


class Writer:
    """The mark of this capture; use it until `end`."""

    def __init__(self, library: Library, image_id: str) -> None:
        """Leave the mark, and remove what writers that are dead for certain had begun. Raises IoError."""
        self._path = library.path / "writers" / f"{image_id}.json"
        with written(self._path):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._others = list(_others(self._path.parent))
        self._beaten = time.monotonic()
        mark = {"image": image_id, "began": time.time(), "boot": _boot_id(), "pid": os.getpid()}
        write_file(self._path, json.dumps(mark).encode())
        for other in self._others:
            if other.dead:
                library.discard(other.path.stem)

    @property
    def distrust_since(self) -> float | None:
        """Since when chunks may be broken because a writer may have died that cannot be asked. None without one."""
        return min((other.began for other in self._others if not other.dead), default=None)

    @property
    def died_since(self) -> float | None:
        """Since when chunks may be broken because a writer has died for certain. None without one."""
        return min((other.began for other in self._others if other.dead), default=None)

    def beat(self) -> None:
        """Show that this writer lives; called often, does something once a minute."""
        if time.monotonic() - self._beaten > _BEAT:
            self._beaten = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def settle(self) -> None:
        """All that was stored since `died_since` is whole and on the medium: the marks of the dead can go."""
        for other in self._others:
            if other.dead:
                with contextlib.suppress(OSError):
                    other.path.unlink(missing_ok=True)

    def end(self) -> None:
        """Remove this writer's mark: its chunks are on the medium, or it failed in an orderly way and synced them."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _boot_id() -> str:
    """Where process ids mean the same: this start of the machine, and this container on it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _lives(pid: int) -> bool:
    """Whether a process is at work; one that was killed keeps its place until its parent has asked how it ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def _others(folder: Path) -> Iterator[_Other]:
    with reading(folder):
        marks = list(folder.glob("*.json"))
    for path in marks:
        try:
            beat = path.stat().st_mtime
            silent = time.time() - beat > _DEAD_AFTER
            mark: Any = json.loads(read_regular(path, _MOST_MARK))
            began, boot, pid = float(mark["began"]) - _SLACK, str(mark["boot"]), int(mark["pid"])
        except FileNotFoundError:
            continue  # that writer has just ended
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
        except (BadImageError, ValueError, KeyError, TypeError, RecursionError):
            yield _Other(path=path, began=beat - _BEAT - _SLACK, dead=silent)
            continue
        if boot != _boot_id():
            yield _Other(path=path, began=began, dead=silent)
        elif not _lives(pid):
            yield _Other(path=path, began=began, dead=True)
