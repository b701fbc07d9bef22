"""Disks that many tests look at, built once, and the proof that nothing stays mounted or attached."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.disks import blank, digest, lines_of, run
from tests.matrix import bootable, images, layouts, sample
from tests.matrix.images import Captured
from tests.matrix.layouts import LAYOUTS, Layout, Source
from tests.matrix.tools import OURS, require

_MEMORY = Path("/dev/shm")
_NEEDED = 6 << 30
"""Bytes that the disks of one module take at most, sparse as they are, and as many again to be safe."""


@pytest.fixture(scope="session")
def shared_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for disks: in memory where there is plenty, since every restore waits for the medium."""
    available = next(
        line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:")
    )
    free = int(available.split()[1]) << 10
    spacious = _MEMORY.is_dir() and min(shutil.disk_usage(_MEMORY).free, free) > _NEEDED
    folder = _MEMORY if spacious else tmp_path_factory.mktemp("matrix")
    with TemporaryDirectory(prefix=OURS, dir=folder) as name:
        yield Path(name)


@pytest.fixture
def room(shared_room: Path) -> Iterator[Path]:
    """A folder of one test's own, for disks."""
    with TemporaryDirectory(dir=shared_room) as name:
        yield Path(name)


@pytest.fixture(scope="session", autouse=True)
def surroundings(shared_room: Path) -> Iterator[None]:
    """Jobs of shared disks lie in a folder of the session's own; every mount and loop device is gone in the end."""
    require()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESCUE_STATE", str(shared_room / "state"))
        patch.setenv("LC_ALL", "C.UTF-8")
        patch.delenv("RESCUE_LIBRARY", raising=False)
        yield
    loops = run("losetup", "--list", "--noheadings", "--output=NAME,BACK-FILE").splitlines()
    mounts = lines_of(Path("/proc/self/mounts"))
    assert [line for line in loops if str(shared_room) in line] == []
    assert [line for line in mounts if f"/{OURS}" in line] == []


@pytest.fixture(scope="session")
def files(shared_room: Path) -> Path:
    """The sample's files."""
    return sample.build(shared_room / "sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A disk, its image, and the disks that came back out of it."""

    source: Source
    digest: str
    modified: int
    captured: Captured
    restored: Path
    written: int
    """Chunks that the restore wrote."""
    extracted: Path


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def trip(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[RoundTrip]:
    """Every file system on one kind of disk: captured, restored onto 0xAA, and extracted by casync."""
    layout: Layout = request.param
    folder = shared_room / str(layout)
    folder.mkdir()
    source = layouts.build(layout, folder / "source.img", files)
    before, modified = digest(source.path), source.path.stat().st_mtime_ns
    with layouts.as_disk(source.path, layout, read_only=True) as disk:
        captured = images.capture(disk, folder / "library")
    restored = blank(folder / "restored.img", source.size, fill=0xAA)
    with layouts.as_disk(restored, layout) as disk:
        result = images.restore(captured, disk)
    extracted = images.extract(captured, folder / "extracted.img")
    yield RoundTrip(
        source=source,
        digest=before,
        modified=modified,
        captured=captured,
        restored=restored,
        written=result["written"],
        extracted=extracted,
    )
    shutil.rmtree(folder)


@pytest.fixture
def grub() -> None:
    """GRUB's own tools make these disks."""
    if lacking := bootable.missing():
        pytest.skip(f"not installed: {', '.join(lacking)}; run live-image/setup")
