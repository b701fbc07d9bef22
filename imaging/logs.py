"""What there is to read of this machine's work since it was started, and one file with all of it for whoever helps."""

import io
import os
import re
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imaging import media, orderboard
from imaging.access import make_writable
from imaging.durable import reading, write_file
from imaging.errors import IoError, RefusedError, UsageError
from imaging.jobs import Job, jobs
from imaging.manifest import Machine
from imaging.run import run
from imaging.state import state_folder

SCREEN_LOG = "screen.log"
"""Where errors of the screens are written, in the state folder."""
_JOB_FILES = ("plan.json", "events.jsonl", "log")
_SECRETS = (
    (re.compile(r"(rescue\.job=[^\s?]{0,500}\?)\S+"), r"\1***"),
    (re.compile(r"(://[^/@\s:\"']{0,200}):[^@\s\"']{1,200}(?:@[^/@\s\"']{1,200})*@"), r"\1:***@"),
    (
        re.compile(
            r"(?i)((?:passw(?:or)?d|passphrase|secret|token|credentials)[\w-]{0,40}|\b(?:pass|pwd|psk))"
            r"((?:\\?[\"'])?\s{0,9}[=:]\s{0,9})"
            r"(?:(?P<quote>\\?[\"'])(?:.*?(?<!\\)(?P=quote)|.*)|(?:[^\s,\"'\\]|\\(?![\"']))+)"
        ),
        r"\1\2\g<quote>***\g<quote>",
    ),
)
"""What looks like a password in an address, on the kernel's command line or in a tool's message. None is logged on
purpose; a tool may repeat what it was given."""
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the file can be saved; `stick` is the recovery stick's own partition for images."""

    path: Path
    free: int
    stick: bool = False


def places() -> tuple[Place, ...]:
    """The stick first, then other media that are mounted and can be written to."""
    found = []
    for path in media.mounted(writable=True):
        try:
            status = os.statvfs(path)
        except OSError:
            continue
        found.append(Place(path=path, free=status.f_bavail * status.f_frsize, stick=path == media.IMAGES))
    return tuple(sorted(found, key=lambda place: (not place.stick, str(place.path))))


def kernel_messages() -> str:
    """What the kernel has said; raises IoError where it tells that to root alone."""
    return run(["dmesg"], timeout=_TIMEOUT).stdout


def screen_errors() -> str:
    """What the screens wrote when an error in them ended them; empty where none did."""
    try:
        return (state_folder() / SCREEN_LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def worker_words(job: Job) -> str:
    """What a job's process wrote beside its events: where an error in this program stood, above all."""
    try:
        return (job.folder / "log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def without_secrets(text: str) -> str:
    """The text, with `***` for what looks like a password."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def file_name(machine: Machine, now: float) -> str:
    """`rescue-log-20261125-2141-ABC1234.tar.gz`, in local time; the host's name where there is no serial number."""
    which = _ODD.sub("-", machine.serial or machine.hostname).strip("-.")[:40]
    stem = f"rescue-log-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}"
    return f"{stem}-{which}.tar.gz" if which else f"{stem}.tar.gz"


def save(folder: Path, name: str, pages: Mapping[str, str]) -> Path:
    """Write the archive `name` into a folder, down to the medium, and return its path; anyone may read it.

    It holds `pages` by their file names, the folders of all jobs, and what the screens and the kernel said, none with
    what looks like a password. Raises UsageError where there is no such folder, IoError where it cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", code="no-such-folder", hint="choose another place")
    path = folder / name
    data = archive(name.removesuffix(".tar.gz"), pages)
    try:
        make_writable(path)
    except (IoError, RefusedError) as error:
        raise IoError(
            f"{folder} cannot be made writable now: {error.message}",
            code="medium-busy",
            hint="a job may be reading from it: save the log when that has ended, or to another place",
        ) from error
    write_file(path, data)
    with suppress(OSError):  # not every medium knows of modes
        path.chmod(0o644)
    return path


def archive(top: str, pages: Mapping[str, str]) -> bytes:
    """A compressed tar with one folder, `top`, that holds everything."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in (*pages.items(), *_machine_pages(), *_job_pages()):
            data = without_secrets(text).encode(errors="replace")
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _machine_pages() -> Iterator[tuple[str, str]]:
    yield SCREEN_LOG, screen_errors()
    order = orderboard.folder()
    for name in ("log", "state.json"):
        if (order / name).exists():
            yield f"order/{name}", _read(order / name)
    for name, argv in (
        ("kernel.txt", ["dmesg"]),
        ("block-devices.txt", ["lsblk", "-f"]),
        ("network.txt", ["ip", "address"]),
    ):
        try:
            yield name, run(argv, timeout=_TIMEOUT).stdout
        except IoError as error:
            yield name, error.message
    yield "command-line.txt", _read(Path("/proc/cmdline"))
    packages = Path("/usr/share/rescue/packages")
    if packages.exists():
        yield "packages.txt", _read(packages)


def _job_pages() -> Iterator[tuple[str, str]]:
    for job in jobs():
        for name in _JOB_FILES:
            path = job.folder / name
            if path.exists():
                yield f"jobs/{job.id}/{name}", _read(path)


def _read(path: Path) -> str:
    """A file's text; why it cannot be read, where that is so: it must not keep the rest from being saved."""
    try:
        with reading(path):
            return path.read_text(encoding="utf-8", errors="replace")
    except IoError as error:
        return error.message
