"""Files of the system that was there before, carried over into the one that was restored, out of their safety image.

It happens before the disk has its table: cut off at any moment, the disk is known as unfinished, and whoever completes
it carries all of them over anew. Whatever cannot be carried over in full ends the restore there, as nothing is lost.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from imaging import bringingprofiles, filedata, keptpaths, profiles, systemroot, tree
from imaging.blockdev import loop_over
from imaging.bringing import CODE, HINT, READ, Bringing, stop_if_asked, telling
from imaging.bringingprofiles import BringingProfiles
from imaging.durable import sync_all
from imaging.errors import BadImageError, IoError
from imaging.events import Carried
from imaging.keptfiles import KeepRule, KeptFiles, RootPlace
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.systemroot import SystemRoot


def carry(
    kept: KeptFiles, image: str, file: int, place: RootPlace, sector: int, report: Reporter, cancel: threading.Event
) -> Carried:
    """Bring what is kept, from safety image `image`, to the root file system at `place` of a disk that is open.

    It is on the medium afterwards. Raises IoError where anything could not be carried over, CancelledError.
    """
    with _source(kept, image) as old, _mounted(file, place, sector, writable=True) as mount:
        kind = BringingProfiles if kept.windows else Bringing
        work = kind(old, systemroot.looked_into(place, mount), report, cancel)
        report.step("Bringing back the files that are kept", kept.work)
        for path in keptpaths.found(old, kept.rules, kept.elsewhere):
            work.bring(path)
        if KeepRule.ACCOUNTS in kept.rules:
            work.take_over_accounts()
        if KeepRule.HOST_NAME in kept.rules:
            work.take_over_host_name()
        with telling("the restored file system"):
            root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
            try:
                sync_all(root)
            finally:
                os.close(root)
        report.finish_step()
        work.tell_rest()
        if work.files < kept.files:
            raise IoError(
                f"{work.files:,} of the {kept.files:,} files that were to be kept are there", code=CODE, hint=HINT
            )
        return Carried(
            files=work.files,
            bytes=work.bytes,
            accounts=kept.accounts,
            not_kept=dict(work.not_kept),
            announced=min(work.left, kept.left_out),
        )


def compare(
    kept: KeptFiles, image: str, file: int, place: RootPlace, sector: int, report: Reporter, cancel: threading.Event
) -> None:
    """Read the files that were carried over from the medium, and compare them; raises IoError where one differs."""
    with _source(kept, image) as old, _mounted(file, place, sector, writable=False) as mount:
        new = systemroot.looked_into(place, mount)
        report.step("Reading back the files that are kept", kept.work)

        def passed(size: int) -> None:
            stop_if_asked(cancel)
            report.advance(size)

        for path in keptpaths.found(old, kept.rules, kept.elsewhere):
            for where in keptpaths.regular_files(old, path):
                if not _is_same(old, where, new, passed):
                    raise _differs(old, where)
            if old.windows:
                for where in bringingprofiles.differing(old, path, new):
                    raise _differs(old, where)
        report.finish_step()


def _differs(old: SystemRoot, path: Sequence[bytes]) -> IoError:
    return IoError(
        f"{keptpaths.shown(old, path)} is not on the disk as it was written",
        code="read-back-differs",
        hint="this disk cannot be trusted: replace it",
    )


def _is_same(old: SystemRoot, path: Sequence[bytes], new: SystemRoot, passed: Callable[[int], None]) -> bool:
    """Raises IoError where the safety image cannot be read: that says nothing of the disk."""
    with ExitStack() as stack:
        with telling(keptpaths.shown(old, path)):
            one = stack.enter_context(_open_at(old.mount, path))
        try:
            other = stack.enter_context(_open_at(new.mount, keptpaths.placed(path, old, new)))
            return filedata.same(one, other, passed)
        except filedata.SourceError as error:
            raise IoError(
                f"{keptpaths.shown(old, path)} cannot be read at byte {error.at} of its safety image", code=CODE
            ) from error
        except (OSError, BadImageError):
            return False


@contextmanager
def _open_at(mount: int, path: Sequence[bytes]) -> Iterator[int]:
    with tree.folder(mount, path[:-1]) as parent:
        fd = os.open(path[-1], READ, dir_fd=parent)
        try:
            yield fd
        finally:
            os.close(fd)


@contextmanager
def _source(kept: KeptFiles, image: str) -> Iterator[SystemRoot]:
    library = Library.open(Path(kept.library))
    without = frozenset(profiles.folded(os.fsencode(name)) for name in kept.settings)
    with systemroot.at_place(library, library.image(image), kept.disk, kept.old) as root:
        yield replace(root, without_settings=without)


@contextmanager
def _mounted(file: int, place: RootPlace, sector: int, *, writable: bool) -> Iterator[int]:
    what = "the restored system"
    with loop_over(file, offset=place.start, size=place.size, sector=sector, writable=True) as loop:
        with systemroot.mounted(loop, place.kind, what, writable=writable) as mount:
            yield mount
        fd = os.open(loop, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            raise IoError(
                f"what was carried over is not on the medium: {error.strerror}", code="write-failed"
            ) from error
        finally:
            os.close(fd)
