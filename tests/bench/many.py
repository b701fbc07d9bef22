"""A library of many images: what listing it and planning in it take, in seconds and in memory.

The images are what captures of 100 computers leave, with indexes of their own; no chunk is named by two. What lies in
the store are links to one file: a name there costs a directory entry, and no more.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from blake3 import blake3

from imaging import extents, index, manifest
from imaging.chunk import CHUNK_SIZE, ID_SIZE
from imaging.disk import Content, DiskId, Partition, PartitionTable, TableKind
from imaging.extents import Extents
from imaging.index import DigestTable
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from tests.bench.machine import memory_of_files
from tests.disks import MIB, blank, partition, run

_COMPUTERS = 100
_SECTOR = 512
_TABLE = 34 * _SECTOR
_FRAME = 4096
_AGE = 30 * 86400
_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
MOST_LISTING, MOST_PLANNING = 2.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is measured: the words of `rescue`, and how many seconds it may take; 0: it is told, and not judged."""

    name: str
    words: tuple[object, ...]
    most: float = 0.0


@dataclass(slots=True, kw_only=True)
class Taken:
    """What it took: seconds by the clock and of processor time, of each round, and the most memory, in bytes."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: int = 0


@contextmanager
def room(where: Path) -> Iterator[Path]:
    """A tmpfs of its own: each name of a file counts as a file there, and the usual ones may have but so many."""
    where.mkdir()
    run("mount", "-t", "tmpfs", "-o", "nr_inodes=0,size=4g,mode=700", "rescue-bench", where)
    try:
        yield where
    finally:
        run("umount", where)


def build(path: Path, images: int, chunks: int) -> list[str]:
    """A library of so many images, and chunks in all of them; the images' ids, the oldest first."""
    library = Library.create(path)
    frame = path.parent / "frame"
    frame.write_bytes(os.urandom(_FRAME))
    os.utime(frame, (time.time() - _AGE,) * 2)
    store = f"{path}/chunks"
    dice, ids, folders = random.Random(1), [], set[str]()
    each = chunks // images
    for number in range(images):
        names = dice.randbytes(ID_SIZE * each)
        ids.append(_add(library, number, names))
        for at in range(0, len(names), ID_SIZE):
            name = names[at : at + ID_SIZE].hex()
            folder = f"{store}/{name[:4]}"
            if folder not in folders:
                Path(folder).mkdir()
                folders.add(folder)
            os.link(frame, f"{folder}/{name}.cacnk")
    return ids


def _add(library: Library, number: int, names: bytes) -> str:
    """An image whose disk consists of the chunks of these names."""
    count = len(names) // ID_SIZE
    size = count * CHUNK_SIZE
    when = _FIRST + timedelta(hours=number)
    image_id = f"{when:%Y%m%d-%H%M%S}-{number:08x}"
    made = index.blank(range(CHUNK_SIZE, size + 1, CHUNK_SIZE))
    for i in range(count):
        made.name(i, names[i * ID_SIZE : (i + 1) * ID_SIZE])
    proofs = DigestTable.blank(count)
    for i in range(count):
        proofs.set(i, made.id(i))
    used = extents.encode(Extents([(0, size)]), size)
    files = {"caibx": bytes(made.encoded), "used": used, "blake3": bytes(proofs.encoded)}
    folder = library.path / "images" / image_id
    folder.mkdir()
    for suffix, data in files.items():
        (folder / f"sda.{suffix}").write_bytes(data)
    told = {suffix: blake3(data).hexdigest() for suffix, data in files.items()}
    image = _image(image_id, when, number % _COMPUTERS, size, count, told)
    (folder / "manifest.json").write_bytes(manifest.encode(image))
    return image_id


def _image(image_id: str, when: datetime, computer: int, size: int, chunks: int, digests: Mapping[str, str]) -> Image:
    """What a capture notes of a computer with one disk of three partitions."""
    starts = [MIB, size // 8 // MIB * MIB, size // 4 // MIB * MIB, size - MIB]
    parts = [
        Partition(
            number=number,
            start=start,
            size=end - start,
            type="0fc63daf-8483-4772-8e79-3d69d8477de4",
            uuid=f"{computer:08X}-0000-4000-8000-{number:012X}",
            content=Content(kind="ext4", usage="filesystem", uuid=f"{computer:08x}-0000-4000-8000-{number:012x}"),
        )
        for number, (start, end) in enumerate(pairwise(starts), start=1)
    ]
    table = PartitionTable(kind=TableKind.GPT, table_id=f"{computer:08X}-0000-4000-8000-0", partitions=tuple(parts))
    volumes = tuple(
        Volume(
            number=part.number,
            start=part.start,
            size=part.size,
            used=part.size,
            map_origin="rescue",
            content=part.content,
            system="Debian GNU/Linux 13 (trixie)" if part.number == 3 else "",
        )
        for part in parts
    )
    disk = ImagedDisk(
        name="sda",
        id=DiskId(size=size, model="SomeDisk 1000", serial=f"S{computer}", wwn=f"{computer:016x}"),
        logical_sector=_SECTOR,
        physical_sector=_SECTOR,
        table=table,
        volumes=volumes,
        table_extents=((0, _TABLE), (size - _TABLE + _SECTOR, size)),
        used=size,
        chunks=chunks,
        index_digest=digests["caibx"],
        used_digest=digests["used"],
        blake3_digest=digests["blake3"],
    )
    machine = Machine(
        vendor="Some Vendor", model="Some PC", serial=f"P{computer}", firmware="uefi", hostname=f"pc{computer}"
    )
    created = f"{when:%Y-%m-%dT%H:%M:%SZ}"
    return Image(
        id=image_id,
        created=created,
        disks=(disk,),
        label=f"pc{computer} at {when:%d %B}",
        machine=machine,
        tool="rescue 0.1.0",
        stored=chunks * _FRAME,
    )


def commands(work: Path, library: Path, ids: Sequence[str], size: int) -> list[Command]:
    """What people wait for."""
    disk = blank(work / "disk.img", 64 * MIB)
    partition(disk, "label: gpt\nstart=2048, size=124928\n")
    run("mkfs.ext4", "-q", "-F", "-E", f"offset={MIB}", disk, "61M")
    target = blank(work / "target.img", size)
    there = ("--library", library)
    image = ids[len(ids) // 2]
    return [
        Command(name="list the images", words=("images", *there), most=MOST_LISTING),
        Command(name="the same, with all that is known of them", words=("images", "--json", *there), most=MOST_LISTING),
        Command(name="plan a restore", words=("restore", image, target, "--plan", *there), most=MOST_PLANNING),
        Command(name="plan a capture", words=("capture", disk, "--plan", *there), most=MOST_PLANNING),
        Command(
            name="plan a deletion, with what it frees", words=("delete", image, "--plan", *there), most=MOST_PLANNING
        ),
        Command(
            name="plan a pruning, with what it frees", words=("prune", "--keep-last", len(ids) // 2, "--plan", *there)
        ),
        Command(name="count what is stored", words=("library", "info", library)),
    ]


def take(words: Sequence[object], taken: Taken) -> None:
    """Measure a process of our own; raises AssertionError where it fails."""
    argv = [sys.executable, "-m", "rescue", *map(str, words)]
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        taken.seconds.append(time.perf_counter() - began)
        if process.returncode:
            out.seek(0)
            raise AssertionError(f"{argv}: status {process.returncode}\n{out.read().decode()[-2000:]}")
    taken.processor.append(used.ru_utime + used.ru_stime)
    taken.memory = max(taken.memory, used.ru_maxrss << 10)


def render(rows: Sequence[Command], taken: Mapping[str, Taken]) -> str:
    """The table, in Markdown."""
    lines = ["| what | seconds | of the processor | memory | to reach | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        found = taken[row.name]
        seconds = statistics.median(found.seconds)
        met = "yes" if seconds < row.most else "**no**"
        judged = (f"under {row.most:g} s", met) if row.most else ("", "")
        cells = (
            row.name,
            f"{seconds:.2f} s",
            f"{statistics.median(found.processor):.2f} s",
            f"{found.memory / MIB:.0f} MiB",
            *judged,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(work: Path, images: int, chunks: int, rounds: int) -> str:
    """Build and measure; returns the report, in Markdown."""
    before = memory_of_files()
    with room(work / "room") as where:
        began = time.perf_counter()
        ids = build(where / "library", images, chunks)
        built, cost = time.perf_counter() - began, memory_of_files() - before
        rows = commands(where, where / "library", ids, chunks // images * CHUNK_SIZE)
        taken = {row.name: Taken() for row in rows}
        for number in range(rounds):
            for row in rows:
                take(row.words, taken[row.name])
                told = f"{taken[row.name].seconds[-1]:.2f} s"
                print(f"round {number + 1}: {row.name}: {told}", file=sys.stderr, flush=True)
    return (
        f"{images} images with {chunks} chunks, none of them shared, built in {built:.0f} s; {cost / 1e9:.1f} GB of "
        f"memory hold it, {cost / chunks:.0f} bytes a chunk. Whole processes, medians of {rounds} round(s).\n\n"
        f"{render(rows, taken)}"
    )
