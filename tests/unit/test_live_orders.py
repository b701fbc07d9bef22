"""When the live system attends to an order: the real script is run, with a Python that only says what it was told."""

import subprocess
from pathlib import Path

import pytest

ORDER = Path(__file__).parents[2] / "live-image/system/overlay/usr/lib/rescue/order"


@pytest.mark.parametrize(
    ("words", "file", "expected"),
    [
        ("quiet", "", ""),
        ("quiet rescue.job=https://server/x.toml", "", "-m imaging.attendant"),
        ("rescue.job=no", "images/jobs/x.toml", ""),
        ("quiet", "images/jobs/x.toml", "-m imaging.attendant"),
        ("quiet", "medium/jobs/a b.toml", "-m imaging.attendant"),
        ("quiet", "images/jobs/x.txt", ""),
        ("quiet my.rescue.job=x", "images/x.toml", ""),
    ],
)
def test_python_is_started_only_where_there_may_be_an_order(
    tmp_path: Path, words: str, file: str, expected: str
) -> None:
    (tmp_path / "cmdline").write_text(words + "\n")
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    if file:
        path = tmp_path / "run" / file
        path.parent.mkdir(parents=True)
        path.touch()
    environ = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "RESCUE_RUN": str(tmp_path / "run"),
        "RESCUE_CMDLINE": str(tmp_path / "cmdline"),
    }
    done = subprocess.run([ORDER], check=True, capture_output=True, text=True, env=environ)
    assert done.stdout.strip() == expected
