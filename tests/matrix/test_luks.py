"""LUKS: what cryptsetup encrypted is read from an image with its passphrase, and without device-mapper."""

import hashlib
import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from imaging import imagevolumes, luks, opened
from imaging.errors import BadImageError, RefusedError
from imaging.library import Library
from imaging.manifest import InnerVolume
from tests.command import run_rescue
from tests.disks import MIB, blank, run
from tests.faults.world import PATIENCE
from tests.matrix import images, volumes
from tests.matrix.encrypted import HEADER, QUICK, WORDS, encrypted, ext4_on, grouped, two_of_one_name
from tests.matrix.lvm import EXTENT, lvm_on, pieces, scattered
from tests.matrix.sample import fingerprint
from tests.matrix.tools import Place, require
from tests.matrix.volumes import EXT4, XFS

pytestmark = pytest.mark.root


def _shown(disk: Path, room: Path, words: str = WORDS) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The image of a disk, mounted with the passphrase, looked at: what each file system holds."""
    captured = images.capture(disk, room / "library")
    library = Library.open(captured.library)
    where = room / "mounted"
    where.mkdir()
    found: dict[str, dict[str, str]] = {}
    image = library.image(captured.image)
    with opened.mounted_image(library, image, where, passphrases={disk.name: words}) as shown:
        for volume, problem in shown:
            if not problem:
                found[volume.name] = fingerprint(where / volume.name)
        reasons = {volume.name: problem for volume, problem in shown if problem}
    assert list(where.iterdir()) == []
    return found, reasons


@pytest.mark.parametrize("sector", [512, 4096])
def test_files_in_a_volume_of_luks2_are_read(files: Path, room: Path, sector: int) -> None:
    require(("cryptsetup",))
    disk = room / "pc.img"
    before = ext4_on(disk, 64 * MIB, files, HEADER)
    encrypted(disk, "--type=luks2", "--resilience=none", f"--sector-size={sector}")
    found, reasons = _shown(disk, room)
    assert found == {"pc.img-open": before}
    assert reasons == {"pc.img": "it is encrypted"}


@pytest.mark.parametrize("cipher", ["aes-xts-plain64", "aes-cbc-essiv:sha256"])
def test_files_in_a_volume_of_luks1_are_read(files: Path, room: Path, cipher: str) -> None:
    require(("cryptsetup",))
    before = ext4_on(room / "plain.img", 64 * MIB, files)
    disk = blank(room / "pc.img", 66 * MIB)
    argv = ("cryptsetup", "luksFormat", "--batch-mode", "--type=luks1", f"--cipher={cipher}", "--key-size=256")
    run(*argv, "--pbkdf-force-iterations=1000", "--align-payload=4096", "--key-file=-", disk, text=WORDS)
    # cryptsetup would fill it through device-mapper; QEMU does without.
    secret = ("--object", f"secret,id=key,data={WORDS.replace(',', ',,')}")
    target = f"driver=luks,key-secret=key,file.filename={disk}"
    run("qemu-img", "convert", "-q", "-n", *secret, "-f", "raw", "--target-image-opts", room / "plain.img", target)
    found, reasons = _shown(disk, room)
    assert found == {"pc.img-open": before}
    assert reasons == {"pc.img": "it is encrypted"}


def test_logical_volumes_in_a_volume_of_luks_are_mounted_those_in_pieces_too(files: Path, room: Path) -> None:
    require(("cryptsetup", "vgcreate", "mkfs.xfs"))
    disk = blank(room / "pc.img", 460 * MIB + HEADER)
    place = Place(path=disk, start=0, size=460 * MIB)
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", *lvm.devices)
        lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "group", *lvm.devices)
        lvm.create("group", "root", 24)
        lvm.create("group", "home", 300)
        lvm.run("lvextend", "--extents=+24", "group/root")
        parts = {name: pieces(lvm, place, f"group/{name}") for name in ("root", "home")}
    assert len(parts["root"]) == 2
    before = {}
    for kind, name in ((EXT4, "root"), (XFS, "home")):
        size = sum(part.size for part in parts[name])
        whole = Place(path=blank(room / name, size), start=0, size=size)
        volumes.make(kind, whole)
        volumes.fill(kind, whole, files)
        before[f"group-{name}"] = volumes.entries(kind, whole)
        scattered(whole, parts[name])
    encrypted(disk)
    found, reasons = _shown(disk, room)
    assert found == before
    assert set(reasons) == {"pc.img", "pc.img-open"}


def test_an_encrypted_volume_within_an_encrypted_one_is_opened_too(files: Path, room: Path) -> None:
    require(("cryptsetup", "vgcreate"))
    vault = room / "vault.img"
    before = ext4_on(vault, 40 * MIB, files, HEADER)
    part = grouped(room / "pc.img", 72 * MIB // EXTENT)
    with part.path.open("r+b") as file:
        file.seek(part.start)
        file.write(encrypted(vault, "--type=luks2", "--resilience=none").read_bytes())
    captured = images.capture(encrypted(part.path, "--type=luks2", "--resilience=none"), room / "library")
    library = Library.open(captured.library)
    where = room / "mounted"
    where.mkdir()
    both = {"pc.img": WORDS, "group-root": WORDS}
    with opened.mounted_image(library, library.image(captured.image), where, passphrases=both) as shown:
        assert [volume.name for volume, problem in shown if not problem] == ["group-root-open"]
        assert fingerprint(where / "group-root-open") == before


def test_two_encrypted_disks_with_groups_of_one_name_are_both_shown(files: Path, room: Path) -> None:
    disks, before, made = two_of_one_name(files, room)
    library = Library.open(room / "library")
    where = room / "mounted"
    where.mkdir()
    both = dict.fromkeys((disk.name for disk in disks), WORDS)
    with opened.mounted_image(library, library.image(made), where, passphrases=both) as shown:
        assert [volume.name for volume, problem in shown if not problem] == ["group-root", "group-root-2"]
        assert [fingerprint(where / name) for name in ("group-root", "group-root-2")] == before
    assert list(where.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "disks", "pc.img", "pc.img-1"])
def test_volumes_that_lie_about_their_names_are_told_apart(captured: images.Captured, name: str) -> None:
    library = Library.open(captured.library)
    image = library.image(captured.image)
    (disk,) = image.disks
    inner = tuple(InnerVolume(name=name, size=512, used=0, map_origin="", pieces=((0, 512),)) for _ in range(2))
    hostile = replace(image, disks=(replace(disk, volumes=(replace(disk.volumes[0], inner=inner),)),))
    names = [volume.name for volume in imagevolumes.volumes(hostile)]
    assert len(set(names)) == 3
    assert not {"", ".", "..", "disks"} & set(names)


@pytest.fixture(scope="module")
def captured(files: Path, shared_room: Path) -> images.Captured:
    """One encrypted disk's image."""
    require(("cryptsetup",))
    folder = shared_room / "luks"
    folder.mkdir()
    ext4_on(folder / "pc.img", 64 * MIB, files, HEADER)
    return images.capture(encrypted(folder / "pc.img"), folder / "library")


def test_another_passphrase_opens_nothing(captured: images.Captured, room: Path) -> None:
    library = Library.open(captured.library)
    wrong = opened.mounted_image(library, library.image(captured.image), room, passphrases={"pc.img": "wrong"})
    with pytest.raises(RefusedError, match="not its passphrase") as refused, wrong:
        raise AssertionError
    assert refused.value.code == "wrong-passphrase"
    assert list(room.iterdir()) == []


def test_a_volume_that_is_not_encrypted_is_not_unlocked(captured: images.Captured, room: Path) -> None:
    library = Library.open(captured.library)
    wrong = opened.mounted_image(library, library.image(captured.image), room, passphrases={"sda9": WORDS})
    with pytest.raises(BadImageError, match=r"no volume 'sda9' that LUKS encrypts"), wrong:
        raise AssertionError


def test_a_person_looks_into_it_with_mount(captured: images.Captured, room: Path) -> None:
    words, where = room / "words", room / "mounted"
    words.write_text(f"{WORDS}\nnot this one\n")
    where.mkdir()
    argv = ["mount", captured.image, where, "--library", captured.library, "--unlock", "pc.img", "--unlock-file", words]
    process = subprocess.Popen([sys.executable, "-m", "rescue", *map(str, argv)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = ""
        while "Ctrl+C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        assert "pc.img-open/" in said
        assert fingerprint(where / "pc.img-open")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        process.stdout.close()
    assert list(where.iterdir()) == []


def test_mount_says_how_to_look_into_it(captured: images.Captured, room: Path) -> None:
    library = Library.open(captured.library)
    with opened.mounted_image(library, library.image(captured.image), room) as shown:
        assert [(volume.name, problem) for volume, problem in shown] == [("pc.img", "it is encrypted")]
    wrong = run_rescue("mount", captured.image, room, "--library", captured.library, "--unlock", "pc.img", status=3)
    assert "--unlock-file" in wrong.err


def _header(disk: Path, change: dict[str, object], room: Path) -> Path:
    """A volume of LUKS2 with other metadata: the JSON changed in both copies, with sums that are right."""
    path = room / "changed.img"
    run("cp", "--sparse=always", disk, path)
    data = bytearray(path.read_bytes()[: 8 * MIB])
    size = int.from_bytes(data[8:16], "big")
    metadata = json.loads(data[4096:size].split(b"\0")[0])
    metadata["segments"]["0"] |= change
    text = json.dumps(metadata).encode().ljust(size - 4096, b"\0")
    for at in (0, size):
        data[at + 4096 : at + size] = text
        data[at + 448 : at + 512] = bytes(64)
        data[at + 448 : at + 480] = hashlib.sha256(data[at : at + size]).digest()
    with path.open("r+b") as file:
        file.write(data)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encryption": "serpent-xts-plain64"}, "not known here"),
        (
            {"integrity": {"type": "hmac(sha256)", "journal_encryption": "none", "journal_integrity": "none"}},
            "not known",
        ),
        ({"size": str(1 << 50)}, "damaged"),
        ({"sector_size": 8192}, "damaged"),
    ],
    ids=["cipher", "integrity", "beyond", "sector"],
)
def test_what_cannot_be_read_is_refused_with_a_word(
    files: Path, room: Path, change: dict[str, object], said: str
) -> None:
    require(("cryptsetup",))
    disk = room / "pc.img"
    ext4_on(disk, 40 * MIB, files, HEADER)
    changed = _header(encrypted(disk), change, room)
    with pytest.raises((RefusedError, BadImageError), match=said):
        luks.segment(str(changed))


@pytest.mark.parametrize("size", [0, 6, 100, 512, 5000])
def test_a_header_that_is_cut_off_is_damaged(room: Path, size: int) -> None:
    require(("cryptsetup",))
    disk = blank(room / "pc.img", 64 * MIB)
    run("cryptsetup", "luksFormat", "-q", *QUICK, "--key-file=-", disk, text=WORDS)
    with disk.open("r+b") as file:
        file.truncate(size)
    with pytest.raises(BadImageError):
        luks.segment(str(disk))


def test_reads_at_any_offset_are_those_of_the_whole(files: Path, room: Path) -> None:
    """Sectors that are cut by a read, and reads beyond the end."""
    require(("cryptsetup",))
    disk = room / "pc.img"
    ext4_on(disk, 40 * MIB, files, HEADER)
    plain = disk.read_bytes()[: 40 * MIB]
    encrypted(disk, "--sector-size=4096")
    where = luks.segment(str(disk))
    data = disk.read_bytes()

    class Source:
        size = len(data)

        def read(self, offset: int, size: int) -> list[memoryview]:
            return [memoryview(data)[offset : offset + size]]

    found = luks.Decrypted(Source(), where, luks.volume_key(str(disk), WORDS))
    assert found.size >= len(plain)
    for offset, size in ((0, 1), (1, 4096), (4095, 2), (8192, 4096), (12345, 100_000), (len(plain) - 5, 5)):
        assert b"".join(found.read(offset, size)) == plain[offset : offset + size]
    assert b"".join(found.read(found.size - 3, 100)) == b"".join(found.read(found.size - 3, 3))
    assert found.read(found.size, 10) == []
