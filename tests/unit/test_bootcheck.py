"""What the live system says of the medium that it was started from, whatever that says of itself."""

from pathlib import Path

import msgspec
import pytest

from imaging import bootcheck, medium
from imaging.bootcheck import BootState, State
from imaging.errors import BadImageError
from imaging.medium import About


@pytest.mark.parametrize(
    ("built", "old"),
    [("2020-01-01T00:00:00Z", True), ("2999-01-01T00:00:00Z", False), ("2026-13-45T00:00:00Z", False), ("", False)],
)
def test_a_medium_is_old_by_its_date_and_one_without_a_date_is_checked_all_the_same(
    built: str, old: bool, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_tell: object) -> None:
        raise BadImageError("rescue/root.squashfs is damaged", code="damaged-medium")

    monkeypatch.setattr(medium, "folder_about", lambda _: About(format=1, version="1", build="b", built=built))
    monkeypatch.setattr(bootcheck, "check_running", damaged)
    assert bootcheck.main() == 4
    found = msgspec.json.decode((state / bootcheck.NAME).read_bytes(), type=BootState)
    assert (found.state, found.old) == (State.DAMAGED, old)
