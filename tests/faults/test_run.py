"""Tools that do not end, because the kernel holds them at a device that does not answer."""

import threading
import time
from pathlib import Path

import pytest

from imaging.errors import IoError
from imaging.run import run as run_tool
from tests.disks import MIB, blank, looped, run
from tests.faults.world import mounted

_HELD = 60.0
"""Seconds after which the kernel lets it go, for a test that waits for it all the same."""


@pytest.mark.root
def test_a_tool_that_not_even_a_kill_ends_is_not_waited_for(tmp_path: Path) -> None:
    """As hdparm is, where a drive does not answer: one such drive would hold up the look at all others."""
    with looped(blank(tmp_path / "disk.img", 32 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "held") as where:
            run("fsfreeze", "--freeze", where)
            thaw = threading.Timer(_HELD, run, ("fsfreeze", "--unfreeze", where))
            thaw.start()
            with pytest.raises(IoError, match="did not end within 1 s") as caught:
                run_tool(["mkdir", where / "new"], timeout=1)
            held = thaw.is_alive()
            thaw.cancel()
            thaw.join()
            if held:
                run("fsfreeze", "--unfreeze", where)
            _unmount(where)
    assert caught.value.code == "tool-hung"
    assert held


def _unmount(where: Path) -> None:
    """What was given up ends only now, and holds it until then."""
    last = time.monotonic() + 60
    while True:
        try:
            run("umount", where)
        except AssertionError:
            if time.monotonic() > last:
                raise
            time.sleep(0.05)
        else:
            return


def test_a_tool_gets_its_secret_and_ends_in_time() -> None:
    assert run_tool(["cat"], secret="a secret", timeout=60).stdout == "a secret"
    with pytest.raises(IoError, match="did not end within 0 s"):
        run_tool(["sleep", "60"], timeout=0.1)
