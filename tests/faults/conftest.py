"""A disk that is captured once, and a copy of its library for each test to damage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imaging.events import CaptureResult
from rescue import cli
from tests.command import Outcome
from tests.faults.world import Sample, capture_here, sample_disk


@pytest.fixture(scope="session")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """One image; not to be damaged."""
    folder = tmp_path_factory.mktemp("captured")
    disk = sample_disk(folder / "pc.img")
    result = capture_here(disk, folder / "library", folder / "job").result
    assert isinstance(result, CaptureResult)
    return Sample(folder / "library", result.image, disk)


@pytest.fixture
def sample(captured: Sample, tmp_path: Path) -> Sample:
    """A copy of the library, for this test alone."""
    return captured.copy(tmp_path / "library")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The `rescue` command in this process, which is quicker; for what starts no job."""

    def run(*words: object, status: int = 0) -> Outcome:
        found = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        assert found == status, (found, said)
        return Outcome(found, said.out, said.err)

    return run
