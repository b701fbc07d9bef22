"""The project's own rules, as tests: style, types, floors, what the command line loads, what the tree may not name."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {"imaging", "rescue", "live-image", "tests", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: what belongs to the tree is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_ruff_finds_nothing() -> None:
    for words in (["check", "."], ["format", "--check", "."]):
        done = python("-m", "ruff", *words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_strict() -> None:
    done = python("-m", "mypy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_floor_imports_only_from_those_below() -> None:
    done = python("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_of_imaging_stands_on_a_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = {name.strip() for line in contracts[0]["layers"] for name in line.split("|")}
    modules = {f"imaging.{path.stem}" for path in (ROOT / "imaging").glob("*.py") if path.stem != "__init__"}
    assert modules <= floors


def test_the_command_line_loads_neither_textual_nor_rich() -> None:
    done = python("-c", "import sys, rescue.cli; sys.exit('textual' in sys.modules or 'rich' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_importing_starts_no_process_and_scans_nothing() -> None:
    hook = (
        "import sys\n"
        "sys.addaudithook(lambda name, args: sys.exit(f'{name} {args}') if name == 'subprocess.Popen' else None)\n"
        "import imaging.worker, imaging.inventory, rescue.cli\n"
    )
    done = python("-c", hook)
    assert done.returncode == 0, done.stderr


def test_the_top_level_holds_only_what_belongs_there() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED


def test_the_tree_names_no_registry() -> None:
    words = [host + "debian" + ".org" for host in ("deb.", "security.", "ftp.", "snapshot.", "www.")]
    words += ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org"]
    for path in tracked():
        if path.is_file():
            text = path.read_bytes()
            assert not [word for word in words if word.encode() in text], path
