"""Who is at work in a library: the marks that captures and deletions leave there, read, judged and taken away."""

import contextlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from imaging import temporary
from imaging.durable import reading, write_file, written
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.library import Library
from imaging.objects import MAY_NOT_DELETE
from imaging.regular import read_regular
from imaging.sharedclock import SharedClock

DEAD_AFTER = 24 * 3600.0
"""Seconds without a heartbeat after which a writer, or a deletion, that cannot be asked is taken for dead.

Whoever it is can have been asleep, or without a network, for that long.
"""
BEAT = 60.0
_MOST_MARK = 64 << 10
STALE = 600.0
"""Seconds after which a deletion stops by itself when it could not renew its mark; it is no longer at work then."""
_SLACK = 60.0
"""Seconds by which a file's time may be early: FAT counts in twos, and a share has a clock of its own."""
SUFFIX = ".json"
DELETION = ".deleting"
TRIED = ".none"
FOLLOWS = ".follows"
"""The end of an empty file's name by which a writer shows, after its mark, that it lives."""
_ENDED = ".ended"
"""The end of an empty file's name that says of a mark which could not be removed that it is of the past."""
_NOT_IN_NAMES = re.compile(r"[^0-9a-f-]+")


class Life(StrEnum):
    """What can be said of whoever left a mark."""

    ALIVE = "alive"
    UNKNOWN = "unknown"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The mark of another capture, or of another deletion."""

    path: Path
    began: float
    life: Life
    elsewhere: bool = False
    """Whether it is of another start of this machine, of another machine or of another container."""
    lately: bool = True
    """Whether somebody may be at work even in a library on a disk of this machine: in a container, or by way of a share
    that this machine offers."""
    owner: str = ""
    """What stands in the names of the temporary files of whoever left it: see imaging.temporary. Empty: not known."""

    @property
    def dead(self) -> bool:
        """For certain."""
        return self.life is Life.DEAD


def share(library: Library, mark: Path) -> None:
    """Let others see a mark, where the library is not in its folder. Raises IoError."""
    if library.mirror is not None:
        library.mirror.push(mark)


def learn(library: Library, mark: Path, clock: SharedClock) -> None:
    """Take the time from one's own mark. Raises IoError."""
    if library.mirror is not None:
        library.mirror.refresh_marks()
    clock.learn(mark)


def take_away(library: Library, mark: Path) -> None:
    """Remove a mark, and what follows it; where that is not allowed, say of it that it is of the past."""
    with contextlib.suppress(OSError, RescueError):
        if not removed(library, mark):
            ended = mark.with_name(f"{mark.name}{_ENDED}")
            write_file(ended, b"")
            share(library, ended)
            return
        for follower in mark.parent.glob(f"{mark.stem}.*{FOLLOWS}"):
            take_away(library, follower)


def removed(library: Library, mark: Path) -> bool:
    """Remove a mark; False where nothing may be removed. Raises OSError, IoError."""
    try:
        mark.unlink(missing_ok=True)
        if library.mirror is not None:
            library.mirror.remove(mark)
    except PermissionError:
        return False
    except RefusedError as error:
        if error.code != MAY_NOT_DELETE:
            raise
        return False
    return True


def clear_ended(library: Library) -> None:
    """Remove the marks that are of the past, and what those have left that never became an image; and files that were
    made to see if they can be removed."""
    if library.mirror is None:
        for tried in (library.root / "writers").glob(f".*{TRIED}"):
            with written(tried):
                tried.unlink(missing_ok=True)
    for ended in marks(library, _ENDED):
        mark = ended.with_name(ended.name.removesuffix(_ENDED))
        library.discard(mark.stem)
        take_away(library, mark)
        take_away(library, ended)


def lives(pid: int) -> bool:
    """Whether a process is at work; one that was killed keeps its place until its parent has asked how it ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def make_folder(mark: Path) -> None:
    """The folder for a mark. Raises RefusedError where it is a link: marks of the dead are removed, and only marks."""
    with reading(mark.parent):
        link = mark.parent.is_symlink()
    if link:
        raise RefusedError(f"{mark.parent} is a link, not a folder of this library", code="refused")
    with written(mark):
        mark.parent.mkdir(mode=0o700, exist_ok=True)


def writers(library: Library, clock: SharedClock) -> Iterator[Mark]:
    """The marks of captures."""
    for path in marks(library, SUFFIX):
        if is_ended(path):
            continue
        try:
            status = path.stat()
            beat, lately = max(status.st_mtime, last_follower(path)), touched_lately(status)
            silent = clock.now() - beat > DEAD_AFTER
            mark: Any = json.loads(read_regular(path, _MOST_MARK))
            began, boot, pid = float(mark["began"]) - _SLACK, str(mark["boot"]), int(mark["pid"])
            if not math.isfinite(began):
                raise OverflowError(began)
            owner = temporary.whose(boot, pid)
        except FileNotFoundError:
            continue  # that writer has just ended
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
        except (BadImageError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            life = Life.DEAD if silent else Life.UNKNOWN
            yield Mark(path=path, began=beat - BEAT - _SLACK, life=life)
            continue
        elsewhere = boot != temporary.boot_id()
        known = Life.ALIVE if lives(pid) else Life.DEAD
        life = known if not elsewhere else Life.DEAD if silent else Life.UNKNOWN
        lately = lately or boot.split()[:1] == temporary.boot_id().split()[:1]
        yield Mark(path=path, began=began, life=life, elsewhere=elsewhere, lately=lately, owner=owner)


def is_ended(mark: Path) -> bool:
    """Whether somebody who could not remove a mark has said that it is of the past."""
    with reading(mark):
        return mark.with_name(f"{mark.name}{_ENDED}").exists()


def another(mark: Path) -> Path:
    """Another name for the mark of an image; no image's id has such."""
    return mark.with_name(f"{mark.stem}~{secrets.token_hex(4)}{SUFFIX}")


def last_follower(mark: Path) -> float:
    """When what follows a mark was written last, in seconds since the epoch; 0 where nothing does."""
    last = 0.0
    for follower in mark.parent.glob(f"{mark.stem}.*{FOLLOWS}"):
        with contextlib.suppress(FileNotFoundError):
            last = max(last, follower.stat().st_mtime)
    return last


def touched_lately(status: os.stat_result) -> bool:
    """Whether a mark on a disk of this machine was renewed since an orderly heartbeat may have been missed.

    The time of change is this machine's, whatever clock whoever renewed it has; FAT knows the other one alone.
    """
    now = time.time()
    return any(abs(now - when) < STALE for when in (status.st_ctime, status.st_mtime))


def marks(library: Library, suffix: str) -> list[Path]:
    folder = library.root / "writers"
    if library.mirror is not None:
        library.mirror.refresh_marks()
    with reading(folder):
        return list(folder.glob(f"*{suffix}"))


def deletions(library: Library, clock: SharedClock) -> Iterator[Mark]:
    """The marks of deletions: all that there is to say of one is in its name, for a full disk has no room for more."""
    alone = is_only_here(library)
    for path in marks(library, DELETION):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise IoError(f"{path} cannot be looked at: {error.strerror}", code="read-failed") from error
        boot, _, pid = path.stem.rpartition(".")
        if boot == boot_name() and pid.isdecimal():
            life = Life.ALIVE if lives(int(pid)) else Life.DEAD
        else:
            silent = clock.now() - status.st_mtime > DEAD_AFTER
            lately = touched_lately(status) or boot.startswith(temporary.boot_id().split()[0])
            life = Life.DEAD if silent or (alone and not lately) else Life.UNKNOWN
        yield Mark(path=path, began=status.st_mtime, life=life, elsewhere=boot != boot_name())


def boot_name() -> str:
    """As `boot_id`, in letters that every file system takes."""
    return _NOT_IN_NAMES.sub("-", temporary.boot_id())


def is_only_here(library: Library) -> bool:
    """Whether the library lies on a disk of this machine: then whoever left a mark elsewhere is hardly at work in it.

    Shares, folders that a virtual machine has of its host, and whatever else stands on no block device have a number
    that begins with 0; so does btrfs, which is then taken for one of them.
    """
    if library.mirror is not None:
        return False
    with reading(library.path):
        return os.major(library.path.stat().st_dev) != 0


def refuse_beside_deletion(library: Library, clock: SharedClock) -> None:
    for mark in deletions(library, clock):
        if mark.dead:
            continue
        if mark.life is Life.ALIVE:
            hint = "wait for its end"
        else:
            hint = f"should no other computer be at work in it, remove {mark.path} and start anew"
        raise RefusedError(
            f"an image is being deleted from {library.path}, or a deletion was cut off a short while ago",
            code="library-busy",
            hint=hint,
        )


def refuse_beside_same(library: Library, path: Path, clock: SharedClock) -> None:
    """Raise RefusedError while somebody else stores the image of this mark: a copy bears the id of the original.

    Of two at once the first to end would take away the other's mark, and with it what keeps deletions off its chunks.
    """
    alone = is_only_here(library)
    for mark in writers(library, clock):
        if mark.path != path or mark.dead or is_mine(path):
            continue
        if mark.elsewhere and (alone or not renewed_lately(path)):
            continue  # it was left by a computer that was switched off
        raise RefusedError(
            f"image {path.stem} is just being stored in {library.path} by somebody else",
            code="library-busy",
            hint=f"should no other computer be at work in it, remove {path} and start anew",
        )


def is_mine(path: Path) -> bool:
    """Whether this very process has left a mark."""
    try:
        mark: Any = json.loads(read_regular(path, _MOST_MARK))
        return (mark["boot"], mark["pid"]) == (temporary.boot_id(), os.getpid())
    except (OSError, BadImageError, ValueError, KeyError, TypeError, RecursionError):
        return False


def renewed_lately(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) < STALE
    except OSError:
        return False
