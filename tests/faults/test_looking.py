"""Several screens look for images at once, and jobs have disks for themselves meanwhile."""

import fcntl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from pathlib import Path
from threading import Event

import pytest

from imaging import media
from imaging.disk import Disk
from imaging.errors import RefusedError

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "ROOT", tmp_path / "media")
    monkeypatch.setattr(media, "_patience", media._Patience())
    monkeypatch.setenv("RESCUE_LIVE", "1")


def test_a_screen_waits_for_what_another_one_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts, go_on = Event(), Event()
    attached: list[int] = []

    def attach(_disks: Iterable[Disk]) -> None:
        attached.append(len(attached))
        mounts.set()
        assert go_on.wait(60)

    monkeypatch.setattr(media, "_attach", attach)
    with ThreadPoolExecutor() as screens:
        first = screens.submit(media.attach, [])
        assert mounts.wait(60)
        second = screens.submit(media.attach, [])
        with pytest.raises(NotYetError):
            second.result(0.5)
        assert attached == [0]
        go_on.set()
        first.result(60)
        second.result(60)
    assert attached == [0, 1]


def test_one_look_alone_waits_for_a_screen_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    lock = media._locked

    def locked(fd: int, kind: int, seconds: float | None) -> bool:
        waited.append(seconds)
        return lock(fd, kind, 0)

    with media._lock(media._LOOKS, fcntl.LOCK_EX), monkeypatch.context() as patch:
        patch.setattr(media, "_locked", locked)
        patch.setattr(media, "_attach", lambda _: pytest.fail("another screen mounts"))
        media.attach([])
        media.attach([])
    assert waited[::2] == [60, 0]
    with monkeypatch.context() as patch:
        patch.setattr(media, "_locked", locked)
        patch.setattr(media, "_attach", lambda _: None)
        media.attach([])
        media.attach([])
    assert waited[4::2] == [0, 60]


def test_nobody_waits_for_a_job_that_has_disks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def attach(_disks: Iterable[Disk]) -> None:
        raise AssertionError("a mount would take the disk from the job")

    monkeypatch.setattr(media, "_attach", attach)
    with media.undisturbed():
        media.attach([])
        with pytest.raises(RefusedError, match="a job is about to start"):
            media.open_for_a_look("/dev/none1", "ext4")
