"""Jobs: a plan that a process of its own carries out, in a folder that anyone may follow.

`<state>/jobs/<id>/` holds plan.json, events.jsonl, log, and a lock that the worker holds while it lives. The
state folder is `$RESCUE_STATE`, else /run/rescue for root, else the user's runtime folder.
"""

import json
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from pathlib import Path

from imaging import credentials, keyring, locks, mounts, plan, remote, touched
from imaging.address import ObjectAddress
from imaging.disk import DiskId
from imaging.durable import write_file, written
from imaging.errors import ExitStatus, IoError, RefusedError, RescueError, UsageError, WorkerDiedError
from imaging.events import AnyEvent, Finished, decode
from imaging.imageplans import CapturePlan, DeletePlan, FilesPlan, PrunePlan
from imaging.pack import is_pack, library_json
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaPlan, RemovePlan
from imaging.regular import read_regular
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan
from imaging.run import is_spawned, spawn_worker
from imaging.state import state_folder
from imaging.touched import LibraryUse

_MOST_LIBRARY = 64 << 10
"""Bytes of a library.json."""
_LAST_LINE = 64 << 10
"""Bytes at the end of a job's events in which its last one is looked for."""
_START_TIME = 20.0
"""Seconds that a worker may take to begin; a slow stick and a cold cache need some."""
_LATEST_START = 180.0
"""Seconds that what is handed over is kept for a worker that is there and has not begun."""


class JobState(StrEnum):
    """Where a job stands. One that ended with findings has not failed: what it made is kept."""

    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    DAMAGED = "done, with damage"
    DIFFERS = "differs"
    FILE_SYSTEM_ERRORS = "file system errors"
    CANNOT_START = "does not start"
    START_UNKNOWN = "start not known"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DIED = "died"


_ENDS: dict[int, JobState] = {
    ExitStatus.DONE: JobState.DONE,
    ExitStatus.DAMAGED: JobState.DAMAGED,
    ExitStatus.DIFFERS: JobState.DIFFERS,
    ExitStatus.FILE_SYSTEM_ERRORS: JobState.FILE_SYSTEM_ERRORS,
    ExitStatus.REFUSED: JobState.REFUSED,
    ExitStatus.CANNOT_START: JobState.CANNOT_START,
    ExitStatus.START_UNKNOWN: JobState.START_UNKNOWN,
    ExitStatus.CANCELLED: JobState.CANCELLED,
}
"""The state by the exit status; every other one is a failure."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job's folder."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def plan(self) -> Plan:
        """What it is to do; raises UsageError where that cannot be read."""
        return read_plan(self.folder)

    @property
    def known_plan(self) -> Plan | None:
        """The plan; None where it is damaged, or one of another version of this program."""
        try:
            return self.plan
        except UsageError:
            return None

    @property
    def title(self) -> str:
        """The plan in one line, for lists."""
        what = self.known_plan
        return what.title if what else "a job whose plan cannot be read"

    @property
    def started(self) -> float:
        """When it was submitted, in seconds since the epoch; 0 where its folder is gone."""
        try:
            return (self.folder / "plan.json").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def read(self, offset: int = 0) -> tuple[list[AnyEvent], int]:
        """The events from a byte offset on, and the offset to go on from. A line that is not whole yet is left."""
        try:
            with (self.folder / "events.jsonl").open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        whole = data[: data.rfind(b"\n") + 1]
        found = (decode(line) for line in whole.splitlines())
        return [event for event in found if event is not None], offset + len(whole)

    def events(self) -> list[AnyEvent]:
        """All events so far."""
        return self.read()[0]

    @property
    def finished(self) -> Finished | None:
        """The last event, where the job has ended in an orderly way."""
        try:
            with (self.folder / "events.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_LINE))
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return None
        if not lines or not lines[-1].endswith(b"\n"):
            return None
        found = decode(lines[-1])
        if found is None and len(lines) == 1:
            everything = self.events()  # a line longer than what was read: many chunks are named in it
            found = everything[-1] if everything else None
        return found if isinstance(found, Finished) else None

    @property
    def state(self) -> JobState:
        """Where it stands now."""
        # In this order, for a worker may begin or end between two looks: its events come only once it has the lock.
        begun = (self.folder / "events.jsonl").exists()
        alive = self._locked()
        finished = self.finished
        if finished is not None:
            return _ENDS.get(finished.status, JobState.FAILED)
        if alive:
            return JobState.RUNNING
        if not begun and (time.time() - self.started < _START_TIME or is_spawned(self.folder)):
            return JobState.STARTING
        return JobState.DIED

    def _locked(self) -> bool:
        return locks.is_claimed(self.folder / "lock")

    def cancel(self) -> None:
        """Ask the worker to stop between two chunks, also one that has yet to begin; nothing where it has ended."""
        with suppress(OSError):
            (self.folder / "cancel").touch(mode=0o600)
        if self._locked():
            pid = int((self.folder / "lock").read_text(encoding="ascii") or 0)
            if pid > 0:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return (self.folder / "cancel").exists()

    def died(self) -> Finished:
        """The end of a job whose worker is gone without a word, as an event: what to tell a person."""
        error = WorkerDiedError("the process that did the work ended without a word: it was killed, or it crashed")
        state, hint = "", f"the log is {self.folder / 'log'}"
        what = self.known_plan
        if isinstance(what, RestorePlan):
            names = ", ".join(name for t in what.targets for name in t.names)
            so = "cannot be mounted" if any(t.partitions for t in what.targets) else "does not start a computer"
            state = f"{names} may be only partly restored, and then {so}."
            hint = "restore the image again: only what is missing will be written"
        if isinstance(what, MediaPlan):
            state = f"{what.target.name} may be only partly made, and then does not start a computer."
            hint = "make it again" if not what.update else "update it again: its images are kept"
        if isinstance(what, MediaGrowPlan):
            state = f"The images partition of {what.target.name} is there as it was before, or larger."
            hint = "enlarge it again"
        if isinstance(what, InstallPlan):
            name = what.target.partition_name(what.number)
            state = f"The recovery partition {name} may be only begun; all other partitions are as they were."
            hint = "run the same again to complete it, or take it away with: rescue media remove-partition"
        if isinstance(what, RemovePlan):
            name = what.target.partition_name(what.number)
            state = f"The recovery partition {name} may still be there; all other partitions are as they were."
            hint = "remove it again"
        if isinstance(what, RepairPlan):
            state = f"{what.target.name} may be only partly repaired; what was whole before is as it was."
            hint = "repair it again: that completes it"
        if isinstance(what, DeletePlan):
            state = "The image may be gone, with its room not freed yet."
            hint = "look at the images: where it is still there, delete it again; else the next deletion frees the room"
        if isinstance(what, PrunePlan):
            state = "Some of the images may be gone, with their room not freed yet."
            hint = "prune once more: it goes on from there"
        return Finished(
            time=time.time(), status=error.exit_status, message=error.message, code=error.code, hint=hint, state=state
        )


def read_plan(folder: Path) -> Plan:
    """The plan of a job; raises UsageError where there is none or it cannot be understood."""
    try:
        return plan.decode((folder / "plan.json").read_bytes())
    except OSError as error:
        raise UsageError(f"{folder} is not a job: {error.strerror}", code="no-such-job") from error


def jobs() -> tuple[Job, ...]:
    """All jobs of this machine since it was started, the newest first."""
    root = state_folder() / "jobs"
    found = [Job(path.parent) for path in root.glob("*/plan.json")]
    return tuple(sorted(found, key=lambda job: (job.started, job.id), reverse=True))


def find(job_id: str) -> Job:
    """The job of this id; raises UsageError where there is none."""
    found = next((job for job in jobs() if job.id == job_id), None)
    if found is None:
        raise UsageError(f"there is no job {job_id!r}", code="no-such-job", hint="`rescue jobs` lists them")
    return found


def submit(what: Plan) -> Job:
    """Start a worker for a plan, and return once it has begun or is gone.

    Raises RefusedError where another job is at work on one of its disks, IoError where no worker can be started.
    """
    root = state_folder() / "jobs"
    with written(root):
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    # One front end at a time, so that two cannot start conflicting jobs at once.
    with locks.alone(root / ".submit"):
        for other in jobs():
            if other.state in (JobState.RUNNING, JobState.STARTING):
                _refuse_conflict(what, other)
        folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        with written(folder):
            folder.mkdir(mode=0o700)
            (folder / "lock").touch(mode=0o600)
        job = Job(folder)
        try:
            with (
                keyring.handed_over(
                    folder, _keys_needed(what), [Path(u.library) for u in touched.libraries_used(what)]
                ),
                credentials.handed_over(folder, _addresses(what)),
            ):
                with _uninterrupted():
                    _start(job, what)
                deadline = time.monotonic() + _LATEST_START
                while job.state is JobState.STARTING and time.monotonic() < deadline:
                    time.sleep(0.02)
        except KeyboardInterrupt:
            # Ctrl+C must not leave a worker behind that nobody knows of: the caller follows it to its end.
            job.cancel()
    return job


def _addresses(what: Plan) -> list[ObjectAddress]:
    """The addresses of the libraries that are not on a disk."""
    found = (remote.address_of(Path(use.library)) for use in touched.libraries_used(what))
    return [address for address in found if address is not None]


def _keys_needed(what: Plan) -> list[str]:
    """What this process's keyring calls the keys that a worker needs."""
    names = [_library_id(use.library) for use in touched.libraries_used(what)]
    match what:
        case CapturePlan() if what.signer:
            names.append(keyring.name_of_signer(what.signer))
        case FilesPlan():
            names += [keyring.name_of_volume(what.image, volume) for volume in what.unlock]
    return names


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold a Ctrl+C back until the worker is started: interrupted before that, there would be a job without one.

    Until it has a session of its own the terminal tells the worker, too, which holds it back until it can be cancelled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _start(job: Job, what: Plan) -> None:
    """A plan that nobody carries out would keep its disks from others: without a worker no job is left."""
    try:
        write_file(job.folder / "plan.json", plan.encode(what))
        spawn_worker(job.folder, job.folder / "log")
    except OSError as error:
        shutil.rmtree(job.folder, ignore_errors=True)
        raise IoError(f"no worker can be started: {error}", code="no-worker") from error
    except RescueError:
        shutil.rmtree(job.folder, ignore_errors=True)
        raise


def _refuse_conflict(what: Plan, other: Job) -> None:
    known = other.known_plan
    if known is not None:
        refuse_beside(what, known)
    for identity, path, writes in touched.disks_used(what):
        for theirs, their_path, they_write in touched.disks_used(known) if known else ():
            if (writes or they_write) and _same(identity, path, theirs, their_path):
                raise RefusedError(
                    f"job {other.id} is at work on {path}: {other.title}",
                    code="disk-busy",
                    hint="wait for its end, or cancel it",
                )
    if known is not None:
        _refuse_to_erase_library(what, other, known)


def _refuse_to_erase_library(what: Plan, other: Job, known: Plan) -> None:
    """Raise RefusedError where a disk is to be erased that holds the library of a job at work, or files that it reads.

    On the live system their medium is mounted read-only, and would be let go of between two chunks.
    """
    erased = [Path(os.path.realpath(path)) for path in touched.disks_erased(what)]
    if not erased:
        return
    files = touched.files_read(known)
    for place in (*(use.library for use in touched.libraries_used(known)), *files):
        holding = mounts.disks_beneath_path(Path(os.path.realpath(place)))
        for path in erased:
            if path.name in holding:
                raise RefusedError(
                    f"job {other.id} reads from {path}: {other.title}"
                    if place in files
                    else f"job {other.id} uses the image library on {path}: {other.title}",
                    code="disk-busy",
                    hint="wait for its end, or cancel it",
                )


def refuse_beside(new: Plan, known: Plan) -> None:
    """Raise RefusedError where a job at work keeps another of the same library from beginning.

    Nothing is deleted from a library that a job uses. While something is deleted, what is left can be read.
    """
    for mine in touched.libraries_used(new):
        for theirs in touched.libraries_used(known):
            if _are_apart(mine, theirs) or not _same_library(mine.library, theirs.library):
                continue
            raise RefusedError(
                f"a job is at work in the same library: {known.title}",
                code="library-busy",
                hint="wait for its end, or cancel it",
            )


def _are_apart(new: LibraryUse, known: LibraryUse) -> bool:
    """Whether two uses of one library do not disturb each other."""
    if known.deletes:
        return not (new.writes or new.deletes or new.image == known.image)
    return not new.deletes


def _same_library(a: str, b: str) -> bool:
    """Whether two paths lead to one library: a share can be mounted twice, a folder be seen at two places."""
    if os.path.realpath(a) == os.path.realpath(b):
        return True
    if is_pack(Path(a)) or is_pack(Path(b)):
        return False  # it bears the id of the library that it came from
    identity = _library_id(a)
    return bool(identity) and identity == _library_id(b)


def _library_id(path: str) -> str:
    """What library.json calls the library; empty where there is none yet, or where it cannot be read."""
    with suppress(OSError, RescueError, ValueError, RecursionError):
        single, name = is_pack(Path(path)), Path(path) / "library.json"
        document = json.loads(library_json(Path(path)) if single else read_regular(name, _MOST_LIBRARY))
        if isinstance(document, dict) and isinstance(document.get("id"), str):
            return str(document["id"])
    return ""


def _same(a: DiskId, a_path: str, b: DiskId, b_path: str) -> bool:
    return a_path == b_path or (bool(a.wwn or a.serial) and a.same_disk(b))


@contextmanager
def claimed(folder: Path) -> Iterator[FileIO]:
    """What a worker does first: take the job's lock, and open its events for appending.

    Raises RefusedError where another worker has the job, or had it: a job is carried out once.
    """
    with (folder / "lock").open("r+b", buffering=0) as lock:
        if not locks.claim(lock.fileno()):
            raise RefusedError(f"job {folder.name} has a worker already", code="disk-busy")
        if (folder / "events.jsonl").exists():
            raise RefusedError(f"job {folder.name} was carried out already", code="refused")
        lock.write(str(os.getpid()).encode())
        with (folder / "events.jsonl").open("ab", buffering=0) as out:
            yield out
