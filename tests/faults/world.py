"""A small disk, the library that holds it, and ways to damage both."""

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from imaging import events, inventory, planner
from imaging.events import Finished
from imaging.extents import Extents
from imaging.index import Index
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk
from imaging.pipeline import Reporter
from imaging.plan import Plan, encode
from imaging.worker import carry_out
from tests.disks import MIB, blank, partition, run

DISK_SIZE = 48 * MIB
PARTITIONS = "label: gpt\nstart=1MiB, size=13MiB\nstart=14MiB, size=21MiB\n"
"""In chunks: four of the first partition and six of the second, with random data in most of each."""


def sample_disk(path: Path, *, size: int = DISK_SIZE, seed: int = 1, megabytes: int = 24) -> Path:
    """A disk file with a GPT, two partitions and so much random data in them."""
    partition(blank(path, size), PARTITIONS)
    source = random.Random(seed)
    with path.open("r+b") as file:
        file.seek(MIB)
        for _ in range(megabytes):
            file.write(source.randbytes(MIB))
    return path


def wide_disk(path: Path, megabytes: int, seed: int = 1) -> Path:
    """A disk file of one partition, full of random data."""
    partition(blank(path, (megabytes + 2) * MIB), f"label: gpt\nstart=1MiB, size={megabytes}MiB\n")
    source = random.Random(seed)
    with path.open("r+b") as file:
        file.seek(MIB)
        for _ in range(megabytes):
            file.write(source.randbytes(MIB))
    return path


@dataclass(frozen=True, slots=True)
class Sample:
    """A library with one image of one disk."""

    library: Path
    image_id: str
    disk: Path

    def copy(self, to: Path) -> "Sample":
        """The same with a library of its own, to be damaged; what other tests noted of the image stays behind."""
        shutil.copytree(self.library, to, ignore=shutil.ignore_patterns("notes.json"))
        return Sample(to, self.image_id, self.disk)

    @property
    def image(self) -> Image:
        return Library.open(self.library).image(self.image_id)

    @property
    def imaged(self) -> ImagedDisk:
        return self.image.disks[0]

    @property
    def index(self) -> Index:
        return Index(self.part("caibx").read_bytes())

    @property
    def manifest(self) -> Path:
        return self.library / "images" / self.image_id / "manifest.json"

    def part(self, suffix: str) -> Path:
        """A file beside the manifest."""
        return self.manifest.with_name(f"{self.disk.name}.{suffix}")

    def chunk(self, i: int) -> Path:
        """The file of a chunk of the index."""
        return chunk_path(self.library, self.index.id(i))

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the manifest and make its digest right again, as somebody hostile could."""
        document = msgspec.json.decode(self.manifest.read_bytes())
        change(document["image"])
        document["digest"] = blake3(msgspec.json.encode(document["image"], order="sorted")).hexdigest()
        self.manifest.write_bytes(msgspec.json.encode(document))

    def replace_part(self, suffix: str, data: bytes) -> None:
        """Put another file beside the manifest, with its right digest in it."""
        field = {"caibx": "index_digest", "used": "used_digest", "blake3": "blake3_digest"}[suffix]
        self.part(suffix).write_bytes(data)

        def change(image: dict[str, Any]) -> None:
            image["disks"][0][field] = blake3(data).hexdigest()

        self.edit(change)


def chunk_path(library: Path, name: bytes) -> Path:
    """Where a chunk lies, as casync has it."""
    return library / "chunks" / name.hex()[:4] / f"{name.hex()}.cacnk"


def carry_out_here(plan: Plan, folder: Path) -> Finished:
    """Carry out a plan in this process and return how it ended; its events lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_bytes(encode(plan))
    with (folder / "events.jsonl").open("wb") as out:
        return carry_out(folder, Reporter(out.write), threading.Event())


def warnings_of(folder: Path) -> list[str]:
    """The warnings that a plan carried out here gave."""
    told = [events.decode(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    return [event.message for event in told if isinstance(event, events.Log) and event.level == "warning"]


def capture_here(disk: Path, library: Path, folder: Path, level: int = 1) -> Finished:
    """Capture a disk file in this process."""
    return carry_out_here(planner.plan_capture([inventory.look(str(disk))], library, level=level), folder)


def restore_here(sample: Sample, target: Path, folder: Path) -> Finished:
    """Restore onto a disk or a disk file in this process, without being asked."""
    shown = inventory.look(str(target), [sample.library])
    return carry_out_here(planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown}), folder)


def verify_here(sample: Sample, folder: Path, against: Path | None = None) -> Finished:
    """Verify in this process."""
    disk = inventory.look(str(against)) if against else None
    return carry_out_here(planner.plan_verify(sample.library, sample.image, against=disk), folder)


def images_of(library: Path) -> list[str]:
    """What is listed, damaged or not; nothing where there is no library yet."""
    if not (library / "library.json").exists():
        return []
    listing = Library.open(library).images()
    return [image.id for image in listing.images] + [image.id for image in listing.damaged]


def holds_used_bytes(sample: Sample, target: Path) -> bool:
    """Whether a disk file holds every byte that the image's disk does, in the table and in what is used."""
    used = Library.open(sample.library).files(sample.image, sample.imaged).used
    table = Extents(sample.imaged.table_extents)
    with sample.disk.open("rb") as ours, target.open("rb") as theirs:
        return all(_same(ours.fileno(), theirs.fileno(), start, end) for start, end in used.union(table))


def _same(a: int, b: int, start: int, end: int) -> bool:
    return all(os.pread(a, MIB, at) == os.pread(b, MIB, at) for at in range(start, end - MIB + 1, MIB)) and os.pread(
        a, (end - start) % MIB, end - (end - start) % MIB
    ) == os.pread(b, (end - start) % MIB, end - (end - start) % MIB)


PATIENCE = 180.0
"""Seconds after which what a test waits for will not come any more, even on a machine that has much else to do."""


def until(holds: Callable[[], object], *, seconds: float = PATIENCE, what: str = "it") -> None:
    """Wait for something to hold; fails after a deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.005)


def told_of_processes(name: str = "cmdline") -> dict[Path, bytes]:
    """A file in /proc of each process, by its path; processes come and go meanwhile, those of other tests, too."""
    found = {}
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        with suppress(OSError):
            found[path] = path.read_bytes()
    return found


def file_servers() -> list[str]:
    """Processes that have a volume mounted for this one; other tests beside it have their own."""
    parents = told_of_processes("stat")
    return [
        path.parent.name
        for path, line in told_of_processes().items()
        if b"imaging.fileserver" in line
        and parents.get(path.with_name("stat"), b"").rpartition(b")")[2].split()[1:2] == [b"%d" % os.getpid()]
    ]


@contextmanager
def mounted(source: str, where: Path, *options: str) -> Iterator[Path]:
    """Mount, and unmount whatever happens; needs root."""
    where.mkdir(parents=True, exist_ok=True)
    run("mount", *options, source, where)
    try:
        yield where
    finally:
        with suppress(AssertionError):
            run("mountpoint", "--quiet", where)
            run("umount", where)


@contextmanager
def tmpfs(where: Path, size: str) -> Iterator[Path]:
    """A small file system in memory."""
    with mounted("tmpfs", where, "-t", "tmpfs", "-o", f"size={size}"):
        yield where
