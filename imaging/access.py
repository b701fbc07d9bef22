"""Writing to media and shares that were mounted read-only here, without taking them from a job that reads from them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import jobs, media, sharemounts
from imaging.disk import Mount
from imaging.errors import IoError, RefusedError, of_system
from imaging.jobs import Job, JobState
from imaging.shares import GUEST, Address, Login
from imaging.touched import files_read, files_written, libraries_used

_LIVE = (JobState.STARTING, JobState.RUNNING)


def make_writable(path: Path) -> None:
    """Let this process write to the medium that holds `path`, where this live system mounted it read-only.

    Raises RefusedError while another job uses that medium, IoError where it cannot be made writable.
    """
    mount = media.read_only_mount(path)
    if mount is None:
        return
    refuse_while_read(mount)
    media.make_writable(mount)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """As `make_writable`, and read-only again at the end, so that the medium can be pulled out.

    Not where another job is at work on it by then.
    """
    mount = media.read_only_mount(path)
    make_writable(path)
    try:
        yield
    finally:
        if mount is not None and job_at_work_on(Path(mount.where)) is None:
            with suppress(IoError):  # all of it is on the medium already
                media.make_read_only(mount)


def refuse_while_read(mount: Mount) -> None:
    """Raise RefusedError while another job uses a medium that is to be away for a moment."""
    for job in _at_work_on(Path(mount.where)):
        raise RefusedError(
            f"nothing can be written to {mount.where} now: a job reads from it: {job.title}",
            code="library-busy",
            hint="wait for its end, or cancel it",
        )


def refuse_in_library(target: Path, library: Path) -> None:
    """Raise RefusedError where a folder is an image library, or lies in it, by whatever path."""
    try:
        kept, real = library.stat(), Path(os.path.realpath(target))
        for folder in (real, *real.parents):
            if folder.exists() and os.path.samestat(folder.stat(), kept):
                raise RefusedError(
                    f"{target} lies in the image library {library}",
                    code="in-library",
                    hint="choose a folder outside of it",
                )
    except OSError as error:
        raise of_system(error) from error


def connect(address: Address, login: Login = GUEST, *, writable: bool = False) -> Path:
    """Mount a share as sharemounts.attach does; what another job reads from stays as it is mounted."""
    return sharemounts.attach(address, login, writable=writable, in_use=lambda where: any(_at_work_on(where)))


def job_at_work_on(where: Path) -> Job | None:
    """A job of another process that reads or writes below a folder; None where there is none."""
    return next(_at_work_on(where), None)


def _at_work_on(where: Path) -> Iterator[Job]:
    """The jobs of other processes that read or write below a folder."""
    return (job for job in jobs.jobs() if job.state in _LIVE and not _is_mine(job) and _uses(job, where))


def _is_mine(job: Job) -> bool:
    """Whether this process carries the job out."""
    try:
        return (job.folder / "lock").read_text(encoding="ascii").strip() == str(os.getpid())
    except OSError:
        return False


def _uses(job: Job, where: Path) -> bool:
    """Whether a job's library, or what it reads or writes, lies on a medium; where its plan cannot be read it may."""
    plan = job.known_plan
    if plan is None:
        return True
    paths = (*(use.library for use in libraries_used(plan)), *files_written(plan), *files_read(plan))
    return any(Path(os.path.realpath(path)).is_relative_to(where) for path in paths)
