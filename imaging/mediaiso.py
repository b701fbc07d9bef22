"""Write a disc's image: the system, and images as a library in the ISO itself; the file works on a stick, too.

Without images that is the system as it lies on any medium, with a partition table for the file's size. With images
xorriso writes a new session's worth of the same ISO (`-boot_image any replay` keeps what makes it boot), from a library
that is copied beside the output first, every chunk proved.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import factory, iso, librarycopy, mediakeys, mediasource, mediatable, mediavouching, medium
from imaging.blockdev import opened, read
from imaging.durable import beneath, give_name, reading, sync_folder, written
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError
from imaging.events import READING_BACK, MediaIsoResult
from imaging.library import FOLDER, Library
from imaging.mediavouching import Source
from imaging.mediumcheck import check, refuse_unless_whole
from imaging.pipeline import Counter, Reporter
from imaging.recoveryplans import MediaIsoPlan
from imaging.run import run_cancellable

_BLOCK = 4 << 20
_TAIL = 1 << 20
_MOST_FILES = 20_000_000


def write_iso(plan: MediaIsoPlan, report: Reporter, cancel: threading.Event) -> MediaIsoResult:
    """Carry out a plan for a disc; the file bears its name only once it is whole and was checked.

    Raises RefusedError where the file exists or the system is not as it was shown, BadImageError where the system or an
    image is damaged, IoError, CancelledError; then there is no file.
    """
    began = time.monotonic()
    output = Path(plan.output)
    if output.exists():
        raise RefusedError(f"{output} exists", code="exists", hint="give another name, or remove it first")
    if mediasource.system_on(plan.system.path, booted=plan.system.booted) != plan.system:
        raise RefusedError(f"{plan.system.path} is not the system that was shown", code="system-changed")
    images = mediavouching.sources(plan)
    with _workplace(output) as work:
        made = work / "disc.iso"
        if plan.images:
            library = _gather(plan, images, work, report, cancel)
            system = work / "system.iso"
            _copy(plan, system, report, cancel)
            _with_library(system, made, library, report, cancel)
            _compare(made, library, report, cancel)
        else:
            _copy(plan, made, report, cancel)
        report.step(f"Checking that {output.name} can start a computer")
        refuse_unless_whole(check(str(made), None, cancel))
        with written(output):
            give_name(made, output)
            sync_folder(output.parent)
        size = output.stat().st_size
    return MediaIsoResult(
        output=plan.output,
        build=plan.system.build,
        size=size,
        images=tuple(one.image for one in plan.images),
        seconds=time.monotonic() - began,
    )


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A folder beside the output, which is gone at the end."""
    with written(output):
        work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _stop_if_asked(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise CancelledError("stopped because somebody asked")


def _copy(plan: MediaIsoPlan, made: Path, report: Reporter, cancel: threading.Event) -> None:
    size = plan.system.size
    report.step("Writing the system", size)
    with opened(plan.system.path) as source, written(plan.output), made.open("xb") as out:
        patches = mediakeys.patches(medium.bounded(source), plan.system.path, plan.trusted)
        for at in range(0, size, _BLOCK):
            _stop_if_asked(cancel)
            data = mediakeys.applied(patches, at, read(source, min(_BLOCK, size - at), at))
            out.write(data)
            report.advance(len(data), len(data))
        out.truncate(-(-size // _TAIL) * _TAIL + _TAIL)
        entries = [entry for entry in medium.partitions(medium.bounded(source)) if entry.number in (1, 2)]
        table = mediatable.render(entries, -(-size // _TAIL) * _TAIL + _TAIL, read(source, 512, 0))
        for at, data in table.pieces:
            out.seek(at)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    report.finish_step()


def _gather(
    plan: MediaIsoPlan, images: Sequence[Source], work: Path, report: Reporter, cancel: threading.Event
) -> Path:
    """The images as a library of their own."""
    library = Library.open_or_create(work / FOLDER, lasting=False)
    counts = Counter()
    for one in images:
        librarycopy.copy_image(one.library, library, one.image, report, cancel, counts, proved=one.manifest)
    if plan.factory:
        factory.mark_factory_image(library.path, plan.factory)
    with suppress(OSError):
        (library.path / "writers").rmdir()
    return library.path


def _with_library(system: Path, made: Path, library: Path, report: Reporter, cancel: threading.Event) -> None:
    """From the system alone: of a stick, xorriso would take its images partition along, too."""
    report.step("Writing the disc's image")
    done = run_cancellable(
        [
            *("xorriso", "-abort_on", "FAILURE", "-return_with", "SORRY", "32"),
            *("-indev", f"stdio:{system}", "-outdev", f"stdio:{made}"),
            *("-boot_image", "any", "replay", "-map", library, f"/{FOLDER}"),
            *("-padding", "0", "-commit"),
        ],
        cancel,
    )
    if done.status:
        said = done.stdout.strip().splitlines()
        raise IoError(
            f"xorriso ended with status {done.status}" + (f": {said[-1]}" if said else ""), code="tool-failed"
        )


def _compare(made: Path, library: Path, report: Reporter, cancel: threading.Event) -> None:
    """Every file of the library, as it lies in the ISO."""
    with medium.volume_of(str(made)) as volume:
        image = iso.open_iso(volume)
        files = iso.files(image, (FOLDER,), _MOST_FILES)
        with reading(library):
            wanted = [path for path in beneath(library) if path.is_file()]
        report.step(f"{READING_BACK} the images", sum(path.stat().st_size for path in wanted))
        for path in wanted:
            _stop_if_asked(cancel)
            name = f"{FOLDER}/{path.relative_to(library)}"
            size = path.stat().st_size
            if name not in files or iso.read_file(image, files[name], size) != path.read_bytes():
                raise BadImageError(f"{name} is not in the disc's image as it should be", code="read-back-differs")
            report.advance(size)
    report.finish_step()
