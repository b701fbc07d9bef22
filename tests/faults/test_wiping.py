"""A disk is wiped before something is restored to it: nothing old is found on the raw disk, and the mark stays."""

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from imaging import inventory, unfinished, wiping, writer
from imaging.errors import CancelledError
from imaging.extents import Extents
from imaging.pipeline import Reporter
from imaging.restoreplans import Wipe
from imaging.window import Medium
from tests.command import run_rescue
from tests.disks import MIB, looped
from tests.faults.drives import OLD, planned
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, images_of


@pytest.mark.parametrize("way", [Wipe.DISCARD, Wipe.OVERWRITE])
def test_nothing_old_is_found_on_the_raw_disk(sample: Sample, old: Path, way: Wipe) -> None:
    words = ("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    assert "WIPED FIRST" in run_rescue(*words[:5], "--wipe", way, "--plan").out
    assert OLD in old.read_bytes()
    done = run_rescue(*words, "--wipe", way)
    assert "Wiped first" in done.out
    assert OLD not in old.read_bytes()
    run_rescue("verify", sample.image_id, "--library", sample.library, "--against", old)


def test_without_it_what_is_not_needed_stays(sample: Sample, old: Path) -> None:
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    assert OLD in old.read_bytes()


@pytest.mark.root
@pytest.mark.parametrize("refusal", [0, errno.EOPNOTSUPP, errno.EREMOTEIO])
def test_a_device_that_cannot_discard_is_overwritten(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    with looped(old) as device:
        ioctl = fcntl.ioctl

        def refusing(fd: int, request: int, *words: Any) -> Any:
            if request == writer._BLKDISCARD and refusal:
                raise OSError(refusal, os.strerror(refusal))
            return ioctl(fd, request, *words)

        monkeypatch.setattr(fcntl, "ioctl", refusing)
        done = carry_out_here(planned(sample, Path(device), Wipe.DISCARD), tmp_path / "job")
        assert done.status == 0
        assert done.result is not None
        assert getattr(done.result, "wiped", "") == (Wipe.OVERWRITE if refusal else Wipe.DISCARD)
    assert OLD not in old.read_bytes()


def test_what_was_discarded_and_can_still_be_read_is_overwritten(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_punch", lambda *_words: None)
    done = carry_out_here(planned(sample, old, Wipe.DISCARD), tmp_path / "job")
    assert done.status == 0
    assert getattr(done.result, "wiped", "") == Wipe.OVERWRITE
    assert OLD not in old.read_bytes()


def test_a_disk_that_keeps_what_was_overwritten_is_told(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer.Target.write

    def deaf(self: writer.Target, data: memoryview | bytes, offset: int) -> None:
        if offset < 16 * MIB:
            write(self, data, offset)

    monkeypatch.setattr(writer.Target, "write", deaf)
    done = carry_out_here(planned(sample, old, Wipe.OVERWRITE), tmp_path / "job")
    assert (done.status, done.code) == (5, "not-erased")
    assert "only partly restored" in done.state


def test_cancelled_in_the_middle_the_disk_is_known_as_unfinished(sample: Sample, old: Path, tmp_path: Path) -> None:
    cancel = threading.Event()

    class Stop(Reporter):
        def advance(self, done: int, moved: int = 0) -> None:  # noqa: ARG002
            cancel.set()

    report = Stop(lambda data: len(data))
    with writer.opened(str(old), regular_file=True) as target, pytest.raises(CancelledError):
        wiping.wipe(target, Extents([(0, MIB)]), Wipe.OVERWRITE, "old", report, cancel)
    assert old.read_bytes().startswith(OLD)
    cancel.clear()
    plan = planned(sample, old, Wipe.OVERWRITE)
    real = wiping.wipe

    cancel.set()

    def stopping(
        target: Medium, kept: Extents, way: Wipe, name: str, report: Reporter, _cancel: threading.Event
    ) -> Wipe:
        return real(target, kept, way, name, report, cancel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiping, "wipe", stopping)
        done = carry_out_here(plan, tmp_path / "job")
    assert done.status == 6
    assert inventory.look(str(old)).unfinished == sample.image_id
    assert carry_out_here(planned(sample, old, Wipe.OVERWRITE), tmp_path / "again").status == 0
    assert OLD not in old.read_bytes()


def test_single_partitions_are_not_wiped(sample: Sample, old: Path) -> None:
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    words = ("--library", sample.library, "--partition", "1", "--wipe", "discard", "--erase", f"{old.name}:1")
    assert "whole disks alone are wiped" in run_rescue("restore", sample.image_id, old, *words, status=2).err


def test_samples_come_from_all_over_and_hold_little() -> None:
    tib = 1 << 40
    places = list(wiping._samples(Extents([(512, 8 * tib), (9 * tib, 20 * tib)])))
    assert places[0] == (512, MIB)
    assert places[-1][0] + places[-1][1] == 20 * tib
    assert len(places) == 256
    assert any(at > 10 * tib for at, _ in places[:-1])
    assert sum(size for _, size in wiping._samples(Extents([(0, 3 * MIB + 5)]))) == 3 * MIB + 5


def test_a_partition_that_is_to_stay_is_not_wiped(sample: Sample, old: Path, tmp_path: Path) -> None:
    """Those that the image leaves out are shown as kept, also where the table is away that would say so."""
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    part = tmp_path / "part"
    run_rescue("capture", old, "--partition", "2", "--library", part)
    (image,) = images_of(part)
    before = old.read_bytes()
    words = ("restore", image, old, "--library", part, "--erase", old.name)
    said = run_rescue(*words, "--wipe", "overwrite", status=2).err
    assert "old.img:1" in said and "is to stay" in said
    assert old.read_bytes() == before
    with old.open("r+b") as file:
        file.write(unfinished.render(image))
    assert "is to stay" in run_rescue(*words, "--wipe", "discard", status=2).err
    assert old.read_bytes()[MIB : 14 * MIB] == before[MIB : 14 * MIB]
    run_rescue(*words)
    assert old.read_bytes() == before
    old.write_bytes(OLD * (DISK_SIZE // len(OLD)))
    run_rescue(*words, "--wipe", "discard")
    assert OLD not in old.read_bytes()
