"""The readers of ISO 9660 and FAT: what lies in them, and what makes no sense is refused."""

import struct

import pytest

from imaging import iso
from imaging.bounded import Bounded
from imaging.errors import IoError
from imaging.fatfiles import FatVolume
from tests.unit import small_discs


def _volume(data: bytes | bytearray) -> Bounded:
    return Bounded(read=lambda at, size: bytes(data[at : at + size]), size=len(data))


FILES = {"id": b"abc\n", "root.squashfs": bytes(range(256)) * 20, "SHA256SUMS": b""}


def test_the_files_of_a_disc_are_found_by_their_long_names() -> None:
    image = iso.open_iso(_volume(small_discs.iso(FILES)))
    found = iso.files(image, ["rescue"])
    assert {path: iso.read_file(image, file, 1 << 20) for path, file in found.items()} == {
        f"rescue/{name}": data for name, data in FILES.items()
    }
    assert image.label == "RESCUE"
    assert iso.files(image, ["boot"]) == {}


def test_a_catalog_names_an_image_for_each_firmware() -> None:
    image = iso.open_iso(_volume(small_discs.iso(FILES, boot=small_discs.catalog(30, 40))))
    assert [(one.platform, one.start) for one in iso.boot_images(image)] == [(0, 30 * 2048), (0xEF, 40 * 2048)]


def test_a_damaged_catalog_is_refused() -> None:
    image = iso.open_iso(_volume(small_discs.iso(FILES, boot=bytes(64))))
    with pytest.raises(IoError, match="El Torito catalog is damaged"):
        iso.boot_images(image)


def test_a_folder_in_itself_ends() -> None:
    disc = small_discs.iso(FILES)
    at = disc.index(b"F0.;1") - 33
    disc[at + 25] = 2
    disc[at + 2 : at + 6] = struct.pack("<I", 20)
    disc[at + 10 : at + 14] = struct.pack("<I", 2048)
    with pytest.raises(IoError, match="in a circle"):
        iso.files(iso.open_iso(_volume(disc)), ["rescue"])


def test_a_file_beyond_the_end_is_not_read() -> None:
    disc = small_discs.iso(FILES)
    at = disc.index(b"F1.;1") - 33
    disc[at + 10 : at + 14] = struct.pack("<I", 0xFFFFFFFF)
    image = iso.open_iso(_volume(disc))
    file = iso.files(image, ["rescue"])["rescue/root.squashfs"]
    with pytest.raises(IoError, match="more than the"):
        iso.read_file(image, file, 1 << 20)
    with pytest.raises(IoError, match="beyond its end"):
        iso.read_file(image, file, 1 << 40)


def test_a_mark_of_rock_ridge_that_is_cut_off_is_none() -> None:
    disc = small_discs.iso(FILES)
    at = disc.index(b"SP\x07\x01\xbe\xef") - 34
    disc[at] = 40
    assert iso.open_iso(_volume(disc)).skip == 0


@pytest.mark.parametrize("name", ["..", "a/b", "."])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(IoError, match="is called"):
        iso.files(iso.open_iso(_volume(small_discs.iso({name: b"x"}))), ["rescue"])


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_the_files_of_a_fat_are_found(bits: int) -> None:
    volume = FatVolume(_volume(small_discs.fat(bits)))
    found = volume.files()
    assert sorted(found) == ["efi/a long name.cfg", "efi/bootx64.efi"]
    assert b"".join(volume.pieces(found["efi/bootx64.efi"])) == (bytes(range(256)) * 3)[:700]
    assert b"".join(volume.pieces(found["efi/a long name.cfg"])) == b"hello"


def test_a_chain_that_is_a_circle_ends() -> None:
    data = small_discs.fat(16)
    table = 512
    data[table + 4 * 2 : table + 5 * 2] = struct.pack("<H", 4)
    volume = FatVolume(_volume(data))
    file = volume.files()["efi/bootx64.efi"]
    longer = type(file)(path=file.path, size=1 << 30, cluster=4)
    with pytest.raises(IoError, match="is a circle"):
        list(volume.pieces(longer))


def test_a_chain_that_ends_early_is_told() -> None:
    volume = FatVolume(_volume(small_discs.fat(16)))
    file = volume.files()["efi/bootx64.efi"]
    with pytest.raises(IoError, match="bytes early"):
        list(volume.pieces(type(file)(path=file.path, size=5000, cluster=file.cluster)))


def test_what_is_no_fat_is_refused() -> None:
    with pytest.raises(IoError, match="makes no sense"):
        FatVolume(_volume(bytes(4096)))
