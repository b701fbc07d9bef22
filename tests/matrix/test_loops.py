"""The tests' own loop devices."""

import os
import threading
from pathlib import Path

import pytest

from tests.disks import MIB, blank, looped, run

pytestmark = pytest.mark.root


def test_a_loop_device_that_somebody_else_looks_at_is_waited_for(room: Path) -> None:
    path = blank(room / "disk.img", MIB)
    with looped(path) as loop:
        fd = os.open(loop, os.O_RDONLY)
        closing = threading.Timer(0.5, os.close, [fd])
        closing.start()
    assert run("losetup", "--noheadings", "--output=NAME", "--associated", path) == ""
    closing.join()
