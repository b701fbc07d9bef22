"""Clonezilla's folders as disks: whole, in every packing, and refused where anything of them is missing or damaged."""

import random
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from imaging.clonezilla import ClonezillaDisk, is_clonezilla, open_clonezilla
from imaging.errors import BadImageError, RefusedError, RescueError
from imaging.foreign import PIECE
from imaging.library import Library
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.faults.clonezilla import PACKERS, lists, save_swap, save_table, save_volume
from tests.matrix.lvm import Lvm, lvm_on
from tests.matrix.tools import Place
from tests.unit.partclone_images import Volume, volume

BLOCK = 4096
SWAP = str(uuid.UUID(int=0x1234567890ABCDEF))
GPT = "label: gpt\nstart=2048, size=4096\nstart=8192, size=2048\nstart=10240, size=2048\nstart=16384, size=4096\n"
MBR = (
    "label: dos\nstart=2048, size=4096, bootable\nstart=8192, size=20000, type=f\n"
    "start=10240, size=2048\nstart=14336, size=4096\n"
)
CHANCE = random.Random(3)
FIRST = Volume(blocks=[CHANCE.randbytes(BLOCK) for _ in range(512)], used=[*range(0, 90, 2), 200, 201, 500])
RAW = Volume(blocks=[CHANCE.randbytes(BLOCK)] + [bytes(BLOCK)] * 255, used=range(256))
LAST = volume(500, [0, 1, 2, 70, 499], BLOCK)


def whole(disk: ClonezillaDisk) -> bytes:
    """All of a disk; what is not used is left as 0xAA."""
    data, at = bytearray(b"\xaa" * disk.size), 0
    seen = []
    for start, piece in disk.pieces():
        assert at <= start and 0 < len(piece) <= PIECE
        at = start + len(piece)
        data[start:at] = piece
        seen.append((start, at))
    assert type(disk.used)(seen) == disk.used
    return bytes(data)


def placed(data: bytes, at: int, what: Volume) -> None:
    """Each used block of a volume is on the disk."""
    for i in what.used:
        start = at + i * BLOCK
        assert data[start : start + BLOCK] == what.blocks[i]


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder, and the disk that it was saved from."""

    path: Path
    disk: Path

    def opened(self) -> ClonezillaDisk:
        (disk,) = open_clonezilla(self.path).disks
        return disk  # type: ignore[return-value]

    def refused(self) -> RescueError:
        with pytest.raises(RescueError) as caught:
            whole(self.opened())
        return caught.value


def make(room: Path, script: str) -> Folder:
    """A disk with three volumes and swap, saved."""
    disk = partition(blank(room / "disk.img", 16 * MIB), script)
    folder = room / "saved"
    folder.mkdir()
    save_table(folder, disk, "sda")
    save_volume(folder, "sda1", FIRST)
    save_swap(folder, "sda2", SWAP, "swap here")
    save_volume(folder, "sda3", RAW, file_system="dd")
    save_volume(folder, "sda4", LAST)
    lists(folder, "sda", "sda1 sda2 sda3 sda4")
    return Folder(path=folder, disk=disk)


def test_a_disk_comes_back_from_every_packing_whole_and_split(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    source = saved.disk.read_bytes()
    for packing in PACKERS:
        replace(saved, "sda1", FIRST, packing, split=5000)
        replace(saved, "sda4", LAST, packing)
        disk = saved.opened()
        data = whole(disk)
        assert (disk.name, disk.size, disk.sector, disk.left_out) == ("sda", 16 * MIB, 512, frozenset())
        placed(data, 1 * MIB, FIRST)
        placed(data, 5 * MIB, RAW)
        placed(data, 8 * MIB, LAST)
        # Both copies of the table, and the gaps beside them.
        assert data[:MIB] == source[:MIB]
        assert data[15 * MIB :] == source[15 * MIB :]
        # Blocks that are not used, away from the ends, are not there.
        assert data[MIB + 100 * BLOCK : MIB + 104 * BLOCK] == b"\xaa" * (4 * BLOCK)


def replace(saved: Folder, device: str, what: Volume, packing: str, *, split: int = 0) -> list[Path]:
    """Another image of a device in the place of the one before."""
    for file in saved.path.glob(f"{device}.*"):
        file.unlink()
    return save_volume(saved.path, device, what, packing, split=split)


def test_swap_is_made_again_with_its_name(tmp_path: Path) -> None:
    disk = tmp_path / "restored"
    disk.write_bytes(whole(make(tmp_path, GPT).opened()))
    said = run("blkid", "--probe", "--output=export", f"--offset={4 * MIB}", f"--size={MIB}", disk)
    assert {"TYPE=swap", f"UUID={SWAP}", "LABEL=swap\\ here"} <= set(said.splitlines())


def test_an_mbr_has_its_boot_code_its_logical_partitions_and_what_lies_behind_it(tmp_path: Path) -> None:
    saved = make_mbr(tmp_path)
    data = whole(saved.opened())
    source = saved.disk.read_bytes()
    assert data[:MIB] == source[:MIB]
    placed(data, MIB, FIRST)
    placed(data, 7 * MIB, LAST)
    table = tmp_path / "restored"
    table.write_bytes(data)
    dumps = [run("sfdisk", "-d", path).replace(str(path), "") for path in (saved.disk, table)]
    assert dumps[0] == dumps[1]


def make_mbr(room: Path) -> Folder:
    disk = partition(blank(room / "disk.img", 16 * MIB), MBR)
    with disk.open("r+b") as file:
        file.write(b"boot code".ljust(446, b"\x90"))
        file.seek(512)
        file.write(b"the boot loader's second stage" * 900)
    folder = room / "saved"
    folder.mkdir()
    save_table(folder, disk, "sda")
    (folder / "sda-hidden-data-after-mbr").write_bytes(disk.read_bytes()[512:MIB])
    (folder / "sda2-ebr").write_bytes(disk.read_bytes()[4 * MIB : 4 * MIB + 512])
    save_volume(folder, "sda1", FIRST)
    save_swap(folder, "sda5", SWAP)
    save_volume(folder, "sda6", LAST)
    lists(folder, "sda", "sda1 sda5 sda6")
    return Folder(path=folder, disk=disk)


def test_partitions_that_were_saved_alone_leave_the_others_out(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    (saved.path / "disk").unlink()
    (saved.path / "parts").write_text("sda1 sda2\n")
    for name in ("sda3.dd-ptcl-img.zst", "sda4.ext4-ptcl-img.zst"):
        (saved.path / name).unlink()
    disk = saved.opened()
    assert disk.left_out == {3, 4}
    placed(whole(disk), MIB, FIRST)
    assert not disk.used.overlaps(5 * MIB, 6 * MIB)


def test_two_disks_are_in_one_folder(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    bare = volume(4096, [0, 5, 4095], BLOCK)
    (saved.path / "nvme0n1-pt.parted").write_text("Disk /dev/nvme0n1: 32768s\n")
    save_volume(saved.path, "nvme0n1", bare)
    lists(saved.path, "sda nvme0n1", "sda1 sda2 sda3 sda4 nvme0n1")
    first, second = open_clonezilla(saved.path).disks
    assert (first.name, second.name, second.size) == ("sda", "nvme0n1", 16 * MIB)
    placed(whole(second), 0, bare)  # type: ignore[arg-type]


@pytest.mark.parametrize("gone", ["sda1.ext4-ptcl-img.zst", "swappt-sda2.info"])
def test_a_listed_partition_without_its_image_is_missed(tmp_path: Path, gone: str) -> None:
    saved = make(tmp_path, GPT)
    (saved.path / gone).unlink()
    assert "is not in the folder" in saved.refused().message


def test_a_split_image_without_one_of_its_files_is_missed(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    for number, why in ((0, "first file is missing"), (1, "missing behind .aa"), (-1, "cut short")):
        replace(saved, "sda1", FIRST, "uncomp", split=60_000)[number].unlink()
        assert why in saved.refused().message


@pytest.mark.parametrize(
    ("split", "other"),
    [
        *((60_000, other) for other in (".gz", ".gz.aa", ".gz.ac", ".zst", ".zst.aaa", "")),
        (0, ".gz"),
        (0, ".gz.aa"),
        (0, ""),
    ],
)
def test_files_of_two_images_of_one_volume_are_not_taken_for_one(tmp_path: Path, split: int, other: str) -> None:
    saved = make(tmp_path, GPT)
    first = replace(saved, "sda1", FIRST, "zst", split=split)[0]
    (saved.path / f"sda1.ext4-ptcl-img{other}").write_bytes(first.read_bytes())
    assert "are not of one image" in saved.refused().message


def test_what_else_lies_beside_an_image_does_no_harm(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    replace(saved, "sda1", FIRST, "zst", split=60_000)
    for name in ("sda1.info", "sda1.ext4-ptcl-img.zst.md5", "sda1.ext4-ptcl-img.zst.aa.md5", "sda1.ext4-ptcl-img.log"):
        (saved.path / name).write_text("words")
    placed(whole(saved.opened()), MIB, FIRST)


def test_a_file_that_ends_early_or_is_damaged_is_never_taken_for_whole(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    for packing in PACKERS:
        (file,) = replace(saved, "sda1", FIRST, packing)
        data = file.read_bytes()
        for damaged in (data[:-9], data[:900] + b"??????" + data[906:]):
            file.write_bytes(damaged)
            assert isinstance(saved.refused(), BadImageError), packing


def test_a_volume_that_its_partition_cannot_hold_is_refused(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    save_volume(saved.path, "sda1", volume(513, [0, 512], BLOCK))
    assert "reaches up to byte" in saved.refused().message
    save_volume(saved.path, "sda1", FIRST)
    for blocks in (255, 257):
        save_volume(saved.path, "sda3", volume(blocks, range(blocks), BLOCK), file_system="dd")
        assert "of sda3, which has" in saved.refused().message


def ntfs(clusters: int, sectors: int, sector: int = 512) -> Volume:
    """A volume with a boot sector that counts so many sectors, and nothing else that is NTFS's."""
    boot = bytearray(FIRST.blocks[0])
    boot[3:11] = b"NTFS    "
    struct.pack_into("<HB", boot, 0x0B, sector, BLOCK // 512)
    struct.pack_into("<QQ", boot, 0x28, sectors, 4)
    boot[0x40] = 0xF6
    return Volume(blocks=[bytes(boot), *FIRST.blocks[1:clusters]], used=[0, 1, 7])


def test_ntfs_has_the_copy_of_its_boot_sector_which_partclone_leaves_out(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    (saved.path / "sda1.ext4-ptcl-img.zst").unlink()
    what = ntfs(clusters=511, sectors=4095)
    save_volume(saved.path, "sda1", what, file_system="ntfs")
    data = whole(saved.opened())
    placed(data, MIB, what)
    assert data[3 * MIB - 512 : 3 * MIB] == what.blocks[0][:512]
    assert saved.opened().used.overlaps(3 * MIB - 512, 3 * MIB)


@pytest.mark.parametrize(
    "what",
    [
        ntfs(clusters=511, sectors=4096),
        ntfs(clusters=511, sectors=2**63),
        ntfs(clusters=511, sectors=56),
        ntfs(clusters=511, sectors=0),
        ntfs(clusters=511, sectors=4095, sector=0),
        Volume(blocks=FIRST.blocks[:511], used=[0, 1, 7]),
        Volume(blocks=FIRST.blocks[:511], used=[]),
    ],
    ids=["outside", "far outside", "in use", "none", "no sectors", "no NTFS", "empty"],
)
def test_a_boot_sector_that_makes_no_sense_is_copied_nowhere(tmp_path: Path, what: Volume) -> None:
    saved = make(tmp_path, GPT)
    (saved.path / "sda1.ext4-ptcl-img.zst").unlink()
    save_volume(saved.path, "sda1", what, file_system="ntfs")
    data = whole(saved.opened())
    placed(data, MIB, what)
    assert data[3 * MIB - 4096 : 3 * MIB] == bytes(4096)


def test_what_is_not_handled_is_refused_with_a_word(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    for name, word in (
        ("ecryptfs.info", "encrypted"),
        ("luks-dev.list", "LUKS"),
        ("00-pseudo-img-note.txt", "no data"),
    ):
        (saved.path / name).touch()
        refusal = saved.refused()
        assert isinstance(refusal, RefusedError)
        assert word in refusal.message
        (saved.path / name).unlink()
    (saved.path / "sda1.ext4-ptcl-img.zst").unlink()
    (saved.path / "sda1.ntfs-img.aa").write_bytes(b"\0ntfsclone-image" + bytes(100))
    assert "ntfsclone" in saved.refused().message
    assert is_clonezilla(saved.path)
    assert not is_clonezilla(tmp_path)


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    (saved.path / "parts").write_text("../../etc/passwd\n")
    assert "cannot be a device" in saved.refused().message
    (saved.path / "parts").write_text("sda1 sda2 sda3 sda4 sdb1\n")
    assert "on none of the disks" in saved.refused().message
    lists(saved.path, "sda", "sda1 sda2 sda3 sda4")
    image = saved.path / "sda1.ext4-ptcl-img.zst"
    image.rename(tmp_path / "elsewhere")
    image.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in saved.refused().message


@pytest.mark.root
def test_volumes_of_a_group_go_back_to_their_extents_whatever_their_order(tmp_path: Path) -> None:
    script = "label: gpt\nstart=2048, size=40960\nstart=43008, size=20480\n"
    disk = partition(blank(tmp_path / "disk.img", 40 * MIB), script)
    first = Place(path=disk, start=MIB, size=20 * MIB)
    second = Place(path=disk, start=21 * MIB, size=10 * MIB)
    folder = tmp_path / "saved"
    folder.mkdir()
    save_table(folder, disk, "sda")
    wanted = {}
    with lvm_on(first, second) as tools:
        tools.run("pvcreate", "-ff", "-y", "-q", *tools.devices)
        tools.run("vgcreate", "-s", "1m", "vg", *tools.devices)
        tools.create("vg", "gone", 4, tools.devices[0])
        tools.create("vg", "a", 3, tools.devices[0])
        tools.create("vg", "b", 3, tools.devices[0])
        tools.run("lvextend", "--extents=+2", "vg/a", tools.devices[0])
        tools.run("lvremove", "-y", "vg/gone")
        # Its second half lies before its first, and its third on the other device.
        tools.run("lvextend", "--extents=+2", "vg/b", f"{tools.devices[0]}:0-1")
        tools.run("lvextend", "--extents=+2", "vg/b", tools.devices[1])
        tools.run("vgcfgbackup", "-f", folder / "lvm_vg.conf", "vg")
        ids = [tools.report("pvs", "pv_uuid", device)[0] for device in tools.devices]
        seen = tools.report("lvs", SEEN, "--segments", "--units=b")
    lines = [f"vg /dev/sda{number} {found}\n" for number, found in enumerate(ids, 1)]
    (folder / "lvm_vg_dev.list").write_text("".join(lines))
    for name, size in (("a", 5), ("b", 7)):
        count = size * 256
        wanted[name] = Volume(
            blocks=[bytes([ord(name)]) + i.to_bytes(7, "big") * 585 for i in range(count)],
            used=[i for i in range(count) if i % 5 < 3],
        )
        save_volume(folder, f"vg-{name}", wanted[name])
    lists(folder, "sda", "sda1 sda2")
    saved = Folder(path=folder, disk=disk)
    data = whole(saved.opened())
    restored = tmp_path / "restored"
    restored.write_bytes(data)
    new = [Place(path=restored, start=place.start, size=place.size) for place in (first, second)]
    with lvm_on(*new) as tools:
        assert tools.report("lvs", SEEN, "--segments", "--units=b") == seen
        for name, what in wanted.items():
            found = b"".join(data[at : at + MIB] for at in extents(tools, new, f"vg/{name}"))
            for i in what.used:
                assert found[i * BLOCK : (i + 1) * BLOCK] == what.blocks[i]
    (folder / "vg-a.ext4-ptcl-img.zst").unlink()
    assert "the logical volume vg-a is not in the folder" in saved.refused().message
    (folder / "lvm_vg_dev.list").write_text(lines[0])
    assert "also lies on disks that were not saved" in saved.refused().message


SEEN = "lv_name,lv_uuid,lv_size,seg_start,seg_size"


def extents(tools: Lvm, places: list[Place], logical: str) -> list[int]:
    """Where each extent of a logical volume begins on the disk, as LVM's tools say."""
    starts = dict(zip(tools.devices, (place.start + MIB for place in places), strict=True))
    rows = tools.run("lvs", "--noheadings", "--segments", "--options=seg_start_pe,seg_pe_ranges", logical).splitlines()
    runs = sorted((int(words[0]), words[1]) for words in map(str.split, rows) if words[0] != "WARNING:")
    found = []
    for _, run_of in runs:
        device, _, span = run_of.rpartition(":")
        low, high = map(int, span.split("-"))
        found += [starts[device] + extent * MIB for extent in range(low, high + 1)]
    return found


@pytest.mark.root
def test_an_import_leaves_out_what_was_not_saved_and_restores_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path / "state"))
    saved = make(tmp_path, GPT)
    for number in (1, 0):
        library, restored = tmp_path / f"library{number}", blank(tmp_path / f"restored{number}", 16 * MIB, fill=0xAA)
        if not number:
            (saved.path / "parts").write_text("sda1 sda2 sda4\n")
            (saved.path / "sda3.dd-ptcl-img.zst").unlink()
        wanted = whole(saved.opened())
        run_rescue("import", saved.path, "--library", library)
        (image,) = Library.open(library).images().images
        assert [part.number for part in image.disks[0].left_out] == ([] if number else [3])
        assert (image.label, image.disks[0].name) == ("saved", "sda")
        if number:
            run_rescue("restore", image.id, restored, "--erase", restored.name, "--library", library)
            assert restored.read_bytes() == wanted
