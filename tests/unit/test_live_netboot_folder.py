"""The folder that a web server hands out: what is in it, and what it never replaces."""

import hashlib
import json
from pathlib import Path

import pytest

from livebuild.bootparts import BootParts
from livebuild.netboot import build_netboot, check_folder
from livebuild.process import BuildError
from livebuild.tree import Contents

pytestmark = pytest.mark.usefixtures("a_date_and_a_packer")


@pytest.fixture
def a_date_and_a_packer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The build's date, which would be asked of git; and a zstd that only copies."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    binaries = tmp_path / "source/bin"
    binaries.mkdir(parents=True)
    (binaries / "zstd").write_text('#!/bin/sh\nfor last; do :; done\ncat > "$last"\n')
    (binaries / "zstd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")


def build(tmp_path: Path, *, build_id: str = "0123456789abcdef0123") -> Path:
    """Build the folder from files that only have a name."""
    source = tmp_path / "source"
    boot = BootParts(source)
    for path in (boot.shim, boot.mok_manager, boot.grub_for_networks):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    files = {}
    for name in ("vmlinuz", "initrd", "network-initrd", "root", "app"):
        files[name] = source / name
        files[name].write_text(name)
    (source / "common-licenses").mkdir(exist_ok=True)
    contents = Contents(
        build_id=build_id,
        flavour="generic",
        kernel=files["vmlinuz"],
        initramfs=files["initrd"],
        root_layer=files["root"],
        application_layer=files["app"],
        packages="a-package 1.0\n",
        components=(),
        common_licences=source / "common-licenses",
    )
    build_netboot(tmp_path / "served", contents, boot, initramfs=files["network-initrd"])
    return tmp_path / "served"


def test_both_boot_scripts_name_the_sums_which_prove_all_else(tmp_path: Path) -> None:
    folder = build(tmp_path)
    sums = (folder / "SHA256SUMS").read_text()
    digest = hashlib.sha256(sums.encode()).hexdigest()
    for script in ("boot.ipxe", "grub/grub.cfg"):
        text = (folder / script).read_text()
        assert f"rescue.sums={digest} " in text
        assert "@" not in text.replace('"$@"', "")
    lines = [line.split("  ") for line in sums.splitlines() if not line.startswith("#")]
    listed = {name: proof for proof, name in lines}
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file() and path.name not in ("SHA256SUMS", "boot.ipxe")
    }
    assert (folder / "initrd.img").read_text() == "network-initrd"
    assert "# size 4 root.squashfs\n" in sums
    assert "# size 3 app.squashfs\n" in sums


def test_the_folder_says_what_build_it_is(tmp_path: Path) -> None:
    about = json.loads((build(tmp_path) / "media.json").read_text())
    assert about["build"] == "0123456789abcdef0123"
    assert about["built"] == "2027-01-15T08:00:00Z"
    assert about["system_bytes"] is None


def test_a_newer_build_takes_the_place_of_the_whole_folder(tmp_path: Path) -> None:
    (build(tmp_path) / "left-over").write_text("")
    folder = build(tmp_path, build_id="3210fedcba9876543210")
    assert not (folder / "left-over").exists()
    assert "3210fedcba9876543210" in (folder / "media.json").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"source", "served"}


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    check_folder(folder)
    (folder / "thesis.txt").write_text("")
    with pytest.raises(BuildError, match="holds other files"):
        check_folder(folder)
    with pytest.raises(BuildError, match="holds other files"):
        build(tmp_path)
    assert (folder / "thesis.txt").exists()
