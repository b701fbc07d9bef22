"""The same commit and the same packages give the same bytes: built from nothing, and from what other tests built."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from .machine import CHECKOUT

pytestmark = [pytest.mark.qemu, pytest.mark.thorough]

BUILD = CHECKOUT / "live-image/build"

# Whatever a builder's own machine may bring along.
SURROUNDINGS = {"TZ": "Asia/Kolkata", "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
# Its name, and how its resolver is set up: $0 is another resolv.conf, the build follows.
ELSEWHERE = 'hostname elsewhere && mount --bind "$0" /etc/resolv.conf && exec "$@"'


def elsewhere(folder: Path) -> list[str | Path]:
    """What a command stands behind, to run on a machine with another name and other settings of its resolver."""
    settings = folder / "resolv.conf"
    settings.write_text(Path("/etc/resolv.conf").read_text() + "options timeout:9\n")
    settings.chmod(0o644)
    return ["unshare", "--uts", "--mount", "sh", "-c", ELSEWHERE, settings]


def build(output: Path, *options: str | Path, behind: list[str | Path] | None = None, **environ: str | Path) -> str:
    """Build a stick; returns its digest."""
    done = subprocess.run(
        [*(behind or []), BUILD, "--output", output, *options],
        env=os.environ | {name: str(value) for name, value in environ.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"the build failed with status {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)
    with output.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to build as on another machine")
def test_two_builds_of_one_commit_are_the_same_bytes(live_image: Path, tmp_path: Path) -> None:
    """The first from an empty cache; the second is asked for the packages of the first, and takes layers that the cache
    of all builds has of them: made at another time, in another folder, with other surroundings."""
    assert live_image.is_dir()
    cold, warm = tmp_path / "cold/stick.img", tmp_path / "warm/other-name.img"
    mask = os.umask(0o077)
    try:
        first = build(cold, behind=elsewhere(tmp_path), RESCUE_CACHE=tmp_path / "cache", **SURROUNDINGS)
    finally:
        os.umask(mask)
    packages = cold.with_name("stick.img.packages")
    second = build(warm, "--packages-from", packages)
    assert warm.with_name("other-name.img.packages").read_text() == packages.read_text()
    assert first == second, _first_differences(cold, warm)
    _check_papers(cold, packages.read_text(), tmp_path)


def _check_papers(image: Path, packages: str, folder: Path) -> None:
    """The bill on the medium names every package of the live system, in its version, and each has its licence there."""
    bill, licences = folder / "sbom.spdx.json", folder / "licences.tar.zst"
    for file in (bill, licences):
        argv: list[str | Path] = [
            "xorriso",
            "-osirrox",
            "on",
            "-indev",
            image,
            "-extract",
            f"/rescue/{file.name}",
            file,
        ]
        subprocess.run(argv, capture_output=True, check=True)
    named = {(package["name"], package["versionInfo"]) for package in json.loads(bill.read_text())["packages"]}
    live = packages.split("# Debian packages that the boot loaders")[0].splitlines()[1:]
    installed = {(line.split(" ")[0], line.split(" ")[1]) for line in live}
    assert installed <= named
    assert {"textual", "rescue", "shim-signed", "grub-efi-amd64-signed", "busybox-static"} <= {
        name for name, _ in named
    }
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(licences.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        papers = set(tar.getnames())
    assert {f"licences/debian/{name}/copyright" for name, _ in installed} <= papers
    assert {"licences/rescue/LICENSE", "licences/common-licenses/GPL-3"} <= papers


def _first_differences(one: Path, other: Path) -> str:
    """Where two images differ, by the files of their ISO 9660."""
    listed = []
    for image in (one, other):
        folder = image.parent / "files"
        subprocess.run(
            ["xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", folder], capture_output=True, check=True
        )
        listed.append(
            {
                str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in folder.rglob("*")
                if path.is_file()
            }
        )
    names = sorted(name for name in listed[0] | listed[1] if listed[0].get(name) != listed[1].get(name))
    return f"files that differ: {', '.join(names) or 'none; what differs stands between them'}"
