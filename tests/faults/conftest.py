"""A disk that is captured once, and a copy of its library for each test to damage."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from imaging import keyring
from imaging.events import CaptureResult
from rescue import cli
from tests.command import Outcome
from tests.disks import MIB
from tests.faults.drives import OLD
from tests.faults.world import DISK_SIZE, Sample, capture_here, sample_disk
from tests.servers import s3
from tests.servers.s3 import S3

_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30


@pytest.fixture
def no_keys() -> Iterator[None]:
    """What a test has learned no other knows."""
    keyring.forget_all()
    yield
    keyring.forget_all()
    keyring.ask_with(None)


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place in memory where that can be had: a capture waits until all that anyone has written is on the medium."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield tmp_path_factory.mktemp("quick")
        return
    with TemporaryDirectory(prefix="rescue-faults-", dir=_MEMORY, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path(quick: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """As pytest's own, but quick, and emptied at once."""
    folder = quick / f"test{abs(hash(request.node.nodeid))}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def captured(quick: Path) -> Sample:
    """One image; not to be damaged."""
    folder = quick / "captured"
    folder.mkdir()
    disk = sample_disk(folder / "pc.img")
    result = capture_here(disk, folder / "library", folder / "job").result
    assert isinstance(result, CaptureResult)
    return Sample(folder / "library", result.image, disk)


@pytest.fixture
def sample(captured: Sample, tmp_path: Path) -> Sample:
    """A copy of the library, for this test alone."""
    return captured.copy(tmp_path / "library")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server; it takes seconds to start."""
    with s3.serving(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The `rescue` command in this process, which is quicker; for what starts no job."""

    def run(*words: object, status: int = 0) -> Outcome:
        found = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        assert found == status, (found, said)
        return Outcome(found, said.out, said.err)

    return run


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A disk that is full of what nobody must find on it any more."""
    disk = tmp_path / "old.img"
    disk.write_bytes(OLD * ((DISK_SIZE + 8 * MIB) // len(OLD)))
    return disk
