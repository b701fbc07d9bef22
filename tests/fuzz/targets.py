"""What is fuzzed: each parser, how an input reaches it, its first inputs, and the errors that it documents.

A format that carries its own digest gets the right one after each change, or no change would be looked at twice.
Another reader of a file system is one more line in `TARGETS`, and one in real.py for its first inputs.
"""

import io
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import msgspec
from blake3 import blake3

from imaging import (
    btrfsmap,
    chunk,
    cutting,
    events,
    exfatmap,
    extents,
    extmap,
    fatmap,
    fattree,
    filesystems,
    gpt,
    gptcopies,
    health,
    index,
    iso,
    keyslots,
    libraryinfo,
    lvm,
    lvmgroup,
    manifest,
    medium,
    mediumcheck,
    notes,
    ntfs,
    ntfsmap,
    plan,
    release,
    sfdisk,
    touched,
    unfinished,
    usedmap,
)
from imaging.bounded import Bounded
from imaging.disk import Content
from imaging.errors import BadImageError, IoError, RefusedError, RescueError, UsageError
from imaging.extents import Extents
from imaging.fatfiles import FatVolume
from imaging.fatfill import clusters_needed
from imaging.imageplans import CapturePlan, VerifyPlan
from imaging.keyslots import LEAST, MOST, SlotKind
from imaging.library import Library, most_bytes
from imaging.libraryinfo import LibraryInfo
from imaging.notes import Notes, Verification
from imaging.partclone import PIECE, PartcloneImage
from imaging.pipeline import busy_chunks
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.sealing import KEY_SIZE
from imaging.writers import Writer
from tests.faults import forge
from tests.fuzz import volume
from tests.unit import partclone_images, small_discs, test_cutting, test_lvm
from tests.unit.builders import a_disk, an_image, an_imaged_disk

_MOST_CHUNK = 1 << 20
_SMARTCTL = Path(__file__).parent.parent / "unit" / "smartctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser: `feed` gives it one input, `seeds` are inputs that it takes, `allowed` the errors it documents."""

    feed: Callable[[bytes], object]
    seeds: Sequence[bytes]
    allowed: tuple[type[RescueError], ...] = (BadImageError,)
    longest: int = 1 << 14
    """Bytes of the longest input that is tried."""

    def try_one(self, data: bytes) -> bool:
        """Whether an input is taken; False where it is refused as documented. All else is raised."""
        try:
            self.feed(data)
        except self.allowed:
            return False
        return True


def _closed(body: bytes) -> bytes:
    return body + blake3(body).digest()


def _index(data: bytes) -> None:
    ends = data[-80:-72] if len(data) >= 144 else b""
    size = int.from_bytes(ends, "little")
    found = index.decode(data, size, "x")
    assert found.size == size
    assert all(found.find(found.start(i)) == i and found.length(i) > 0 for i in range(len(found)))
    assert len(busy_chunks(found, Extents([(0, size)]))) == len(found)


def _digests(data: bytes) -> None:
    count = int.from_bytes(data[16:24], "little")
    found = index.decode_digests(_closed(data), count, "x")
    assert len(found) == count == len([found[i] for i in range(count)])


def _used(data: bytes) -> None:
    size = int.from_bytes(data[16:24], "little")
    found = extents.decode(_closed(data), size, "x")
    assert found.end <= size
    assert extents.encode(found, size) == _closed(data[:12] + bytes(4) + data[16:])


def _manifest(data: bytes) -> None:
    try:
        image = msgspec.json.decode(data)
        digest = blake3(msgspec.json.encode(image, order="sorted")).hexdigest()
        data = msgspec.json.encode({"format": 1, "digest": digest, "image": image})
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    found = manifest.decode(data, "x")
    assert manifest.decode(manifest.encode(found), "x") == found
    assert all(0 < most_bytes(disk, suffix) <= 1 << 30 for disk in found.disks for suffix in ("caibx", "used"))


def _notes(data: bytes) -> None:
    try:
        noted = msgspec.json.decode(data)
        digest = blake3(msgspec.json.encode(noted, order="sorted")).hexdigest()
        data = msgspec.json.encode({"format": 1, "digest": digest, "notes": noted})
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    found = notes.decode(data, "x")
    assert notes.decode(notes.encode(found), "x") == found


def _key_slots(data: bytes) -> None:
    """Slots that are let through ask for no more than the limits, or a passphrase could not be tried safely."""
    found = libraryinfo.decode(data, "x", "x")
    assert libraryinfo.decode(libraryinfo.encode(found), "x", "x") == found
    for slot in found.encryption.slots if found.encryption else ():
        assert slot.cost.memory <= MOST.memory and slot.cost.passes <= MOST.passes and slot.cost.lanes <= MOST.lanes
        assert len(bytes.fromhex(slot.key)) == 60 and len(bytes.fromhex(slot.salt)) == 16


def _key_slots_seeds() -> list[bytes]:
    name, master = "0" * 32, bytes(KEY_SIZE)
    slot = keyslots.new_slot(name, master, "correct horse", SlotKind.PASSPHRASE, "2026-01-02T03:04:05Z", LEAST)
    plain = LibraryInfo(format=1, id=name, digest="sha512-256", chunk_size=4 << 20)
    slots = keyslots.make(name, master, [slot])
    sealed = replace(plain, features=("encryption",), encryption=slots)
    return [libraryinfo.encode(plain), libraryinfo.encode(sealed)]


def _chunk(data: bytes) -> None:
    size = int.from_bytes(data[:3], "little") % _MOST_CHUNK + 1
    assert len(chunk.decompress(data[3:], size, "x")) == size


def _gpt(data: bytes) -> None:
    """A header of 512 bytes whose checksums are made right, then its entries."""
    size, disk = int.from_bytes(data[:8], "little") % (1 << 62), data[8:]
    header, entries = bytearray(disk[:512].ljust(512, b"\0")), disk[512:]
    length = min(struct.unpack_from("<I", header, 12)[0], 512)
    if length >= 92:
        struct.pack_into("<I", header, 88, zlib.crc32(entries))
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header[:length]))
    parsed = gpt.parse_header(bytes(header))
    assert parsed.entries_bytes <= 1 << 20
    assert len(gpt.parse_entries(parsed, entries)) <= parsed.entry_count
    pieces = gpt.relocate(disk[:512].ljust(512, b"\0"), bytes(header), entries, size=size, sector=512)
    assert all(at >= 0 and at + len(part) <= size for at, part in pieces), "a table that its disk cannot hold"


def _copies(data: bytes) -> None:
    """A disk whose two headers' checksums, and those of entries in the common place, are made right as two bits say."""
    disk = bytearray(data[1:].ljust(80 * 512, b"\0"))
    last = len(disk) // 512 - 1
    for bit, place, entries in ((1, 1, 2), (2, last, last - 32)):
        if data[:1] and data[0] & bit:
            at = place * 512
            struct.pack_into("<I", disk, at + 88, zlib.crc32(disk[entries * 512 : entries * 512 + (16 << 10)]))
            struct.pack_into("<I", disk, at + 16, 0)
            struct.pack_into("<I", disk, at + 16, zlib.crc32(disk[at : at + 92]))

    def look() -> gptcopies.Found:
        return gptcopies.look(lambda at, size: bytes(disk[at : at + size]), len(disk), 512)

    found = look()
    assert not (found.writes and found.why_not)
    for at, piece in found.writes:
        assert at >= 0 and at + len(piece) <= len(disk), "a table that its disk cannot hold"
        disk[at : at + len(piece)] = piece
    if found.writes:
        assert look() == gptcopies.Found(), "what was put back is not whole"


def _copies_seed() -> bytes:
    """A disk with a whole table, of which the copy at the start is emptied."""
    parsed, entries = bytearray(a_gpt()[8:520]), bytearray(a_gpt()[520:].ljust(16 << 10, b"\0"))
    struct.pack_into("<QQ", entries, 32, 34, 46)
    struct.pack_into("<QQQQ", parsed, 24, 1, 79, 34, 46)
    struct.pack_into("<III", parsed, 80, 128, 128, zlib.crc32(entries))
    struct.pack_into("<I", parsed, 16, 0)
    struct.pack_into("<I", parsed, 16, zlib.crc32(parsed[:92]))
    disk = bytearray(80 * 512)
    disk[47 * 512 : 79 * 512] = entries
    disk[79 * 512 :] = gpt.counterpart(bytes(parsed), entries_at=47)
    return b"\2" + bytes(disk)


def _table(data: bytes) -> None:
    """An answer of sfdisk about a volume, a zero byte, and the volume."""
    answer, _, disk = data.partition(b"\0")
    table = sfdisk.parse(answer.decode(errors="replace"), 512)
    with volume.opened(disk) as fd:
        found = sfdisk.table_extents(fd, table, volume.SIZE, 512)
    assert found.end <= volume.SIZE


def _file(data: bytes, name: str, use: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        use(Path(folder))


def _library(folder: Path) -> None:
    assert Library.open(folder).info.format == 1


_LIBRARY = b'{"format": 1, "id": "0123456789abcdef", "digest": "sha512-256", "chunk_size": 4194304}'


def _writer(folder: Path) -> None:
    (folder / "library.json").write_bytes(_LIBRARY)
    writer = Writer(Library.open(folder), "20260101-000000-abcd")
    assert not (writer.died_since and writer.distrust_since)
    writer.settle()
    writer.end()


def _event(data: bytes) -> None:
    for line in data.splitlines():
        found = events.decode(line)
        assert found is None or events.decode(events.encode(found)) == found


def _plan(data: bytes) -> None:
    found = plan.decode(data)
    assert plan.decode(plan.encode(found)) == found
    assert found.title
    touched.disks_used(found)


def _health(data: bytes) -> None:
    """The exit status, then what smartctl printed."""
    found = health.parse(data[1:].decode(errors="replace"), data[0] if data else 0)
    assert (found.condition is health.Condition.GOOD) == (not found.reasons)


def _release(data: bytes) -> None:
    name = release.linux_name(data.decode(errors="replace"))
    assert name.isprintable()
    assert 0 < len(name) <= 60


def _domain(data: bytes) -> None:
    size = int.from_bytes(data[:8], "little") % (1 << 62)
    used = usedmap.parse_domain(data[8:].decode(errors="replace").splitlines(), size)
    assert 0 < used.total <= used.end <= size


def _ntfs_log(data: bytes) -> None:
    with volume.opened(data) as fd:
        ntfs.log_is_closed(volume.reader(fd))


def _used_map(data: bytes, used: Callable[[volume.Read, int], Extents]) -> None:
    """A volume of 128 MiB that a reader of its allocation is given."""
    with volume.opened(data) as fd:
        found = used(volume.reader(fd), volume.SMALL)
    assert found.end <= volume.SMALL


def _lvm_label(data: bytes) -> None:
    """A label's sector whose checksum is made right, then the pieces of the volume's metadata areas."""
    sector = bytearray(data[:512].ljust(512, b"\0"))
    struct.pack_into("<I", sector, 16, lvm.crc(bytes(sector[20:])))
    with volume.opened(volume.pack([(512, bytes(sector))]) + data[512:]) as fd:
        found = lvm.read_label(volume.reader(fd), test_lvm.SIZE)
        assert all(0 <= start <= end <= test_lvm.SIZE for start, end in found.metadata + found.boot)
        lvm.committed_text(volume.reader(fd), found)


def _partclone(data: bytes) -> None:
    """The header of version 2 gets its checksum."""
    if data[30:34] == b"0002":
        data = data[:106] + partclone_images.crc(data[:106]) + data[110:]
    image, at = PartcloneImage(io.BytesIO(data).read, "x"), 0
    for offset, piece in image.pieces():
        assert at <= offset and 0 < len(piece) <= PIECE
        at = offset + len(piece)


_BLOCKS = partclone_images.volume(9, [0, 1, 4, 8], 64)


def _lvm_text(data: bytes) -> None:
    group = lvmgroup.parse_group(data.decode(errors="replace"))
    for physical in group.physical:
        lvmgroup.placed_on(group, physical)


def _reader(used: Callable[[volume.Read, int], Extents]) -> Target:
    return Target(feed=partial(_used_map, used=used), seeds=[volume.pack([(0, bytes(512))])], allowed=(IoError,))


KINDS = ("ext4", "btrfs", "ntfs", "exfat", "hfsplus", "f2fs")


def _doubts(data: bytes) -> None:
    """Never an error: what cannot be read is doubted."""
    with volume.opened(data[1:]) as fd:
        filesystems.doubt(fd, 0, Content(kind=KINDS[data[0] % len(KINDS)] if data else ""))


def _bounded(data: bytes) -> Bounded:
    return Bounded(read=lambda at, size: data[at : at + size], size=len(data))


def _iso(data: bytes) -> None:
    """A disc: all its files are read, and what it has a firmware start."""
    image = iso.open_iso(_bounded(data))
    for file in iso.files(image, ["rescue", "boot"]).values():
        assert ".." not in file.path.split("/")
        assert len(iso.read_file(image, file, 1 << 20)) == file.size
    iso.boot_images(image)


def _fat_files(data: bytes) -> None:
    found = FatVolume(_bounded(data))
    for file in found.files().values():
        assert sum(map(len, found.pieces(file))) == file.size


def _fat_tree(data: bytes) -> None:
    volume = _bounded(data)
    tree = fattree.read_tree(FatVolume(volume))
    assert len(fattree.proof(tree, volume)) == 32
    assert clusters_needed(tree, 512) * 512 <= 2 * len(data)


def _about(data: bytes) -> None:
    about = medium.parse_about(data, "x")
    assert mediumcheck.days_old(about) >= 0


def _sums(data: bytes) -> None:
    assert all(len(digest) == 64 and path for path, digest in mediumcheck.parse_sums(data).items())


def _cutting(data: bytes) -> None:
    """The beginning of a disk, never an error: whatever its table says, every byte lies in one chunk."""
    cutter = cutting.Cutter(cutting.outline(data, 512), 512)
    made: list[cutting.Cut] = []
    end = len(data) + 70_000
    for at in range(0, len(data), 5000):
        made += cutter.add(at, data[at : at + 5000])
    made += cutter.end(end)
    places = [0, *(cut.end for cut in made)]
    if [cut.start for cut in made] != places[:-1] or places[-1] != end:
        raise ValueError(f"the chunks of {end} bytes end at {places}")


def _mark(data: bytes) -> None:
    assert len(unfinished.parse(data[:512])) < 512
    unfinished.parse_manner(data[:512])


def a_gpt() -> bytes:
    """A header and one partition's entry, as `_gpt` takes them."""
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 99, 34, 66, b"D" * 16, 2, 4, 128, 0)
    entry = struct.pack("<16s16sQQQ72s", b"T" * 16, b"U" * 16, 34, 66, 0, "data".encode("utf-16-le"))
    return struct.pack("<Q", 1 << 20) + header.ljust(512, b"\0") + entry + bytes(3 * 128)


_ANSWERS = (
    b'{"partitiontable":{"label":"gpt","id":"X","sectorsize":512,"partitions":[{"node":"/dev/sda1","start":2048,'
    b'"size":4096,"type":"0FC63DAF-8483-4772-8E79-3D69D8477DE4","uuid":"U","name":"n"}]}}\0',
    b'{"partitiontable":{"label":"dos","id":"0x1","sectorsize":512,"partitions":[{"node":"/dev/sda1","start":2048,'
    b'"size":8192,"type":"f"},{"node":"/dev/sda5","start":2050,"size":9,"type":"83","bootable":true}]}}\0',
)
_EBR = bytes(450) + b"\x83" + bytes(15) + b"\x05" + bytes(3) + struct.pack("<II", 4, 8) + bytes(32) + b"\x55\xaa"
_ENDS = tuple(accumulate([5 << 20, 3, 4 << 20]))
_RANGES = [(0, 512), (4096, 1 << 20)]


def _events_seed() -> bytes:
    result = events.VerifyResult(image="i", chunks=2, bytes=9, bad=("00",), bad_count=1, differing=0, seconds=1.5)
    said: tuple[events.AnyEvent, ...] = (
        events.Started(time=1.0, job="j", kind="verify", title="t"),
        events.Step(time=2.0, name="s", total=9),
        events.Progress(time=2.5, done=1, total=9),
        events.Log(time=3.0, message="m", level="warning"),
        events.Finished(time=4.0, status=4, message="m", code="corrupt-chunk", result=result),
    )
    return b"".join(map(events.encode, said))


def _plan_seeds() -> list[bytes]:
    disk, source = a_disk(), an_imaged_disk()
    restore = RestorePlan(library="/l", image="i", targets=(RestoreTarget(source=source, target=disk),))
    verify = VerifyPlan(library="/l", image="i", against=disk, disk="sda")
    return [plan.encode(what) for what in (CapturePlan(library="/l", disks=(disk,)), restore, verify)]


def _frames() -> list[bytes]:
    frames = [chunk.compress(data) for data in (b"", b"rescue" * 99, bytes(1000), bytes(_MOST_CHUNK), os.urandom(300))]
    frames.append(frames[1] * 2)
    return [(size - 1).to_bytes(3, "little") + frame for frame in frames for size in (594, 1000, _MOST_CHUNK)]


_MANIFESTS = [msgspec.json.encode(image) for image in (an_image(), an_image(disks=()), an_image(label="x" * 99))]

_NOTED = Notes(label="x", text="y", verified=Verification(when="2026-01-01T00:00:00Z", chunks=3, bad=1, job="j"))

TARGETS: dict[str, Target] = {
    "index": Target(feed=_index, seeds=[forge.index(_ENDS, bytes(range(96))), forge.index([], b"")]),
    "digests": Target(feed=_digests, seeds=[forge.digest_table(bytes(range(96)))[:-32], forge.digest_table(b"")[:-32]]),
    "used": Target(feed=_used, seeds=[forge.used_map(_RANGES, 1 << 20)[:-32], forge.used_map([], 9)[:-32]]),
    "manifest": Target(feed=_manifest, seeds=_MANIFESTS),
    "notes": Target(feed=_notes, seeds=[msgspec.json.encode(_NOTED), msgspec.json.encode(Notes())]),
    "key-slots": Target(feed=_key_slots, seeds=_key_slots_seeds()),
    "chunk": Target(feed=_chunk, seeds=_frames()),
    "gpt": Target(feed=_gpt, seeds=[a_gpt()]),
    "gpt-copies": Target(feed=_copies, seeds=[_copies_seed()], longest=1 << 17),
    "sfdisk": Target(
        feed=_table,
        seeds=[_ANSWERS[0] + volume.pack([(512, a_gpt()[8:])]), _ANSWERS[1] + volume.pack([(1 << 20, _EBR)])],
        allowed=(BadImageError, IoError),
    ),
    "plan": Target(feed=_plan, seeds=_plan_seeds(), allowed=(UsageError,)),
    "health": Target(
        feed=_health,
        seeds=[bytes([0]) + path.read_bytes() for path in sorted(_SMARTCTL.glob("*.json"))],
        allowed=(IoError,),
    ),
    "cutting": Target(feed=_cutting, seeds=[bytes(test_cutting.mbr_disk(1 << 16, [(70, 75, 20), (100, 101, 20)]))]),
    "iso": Target(
        feed=_iso,
        seeds=[
            bytes(small_discs.iso({"id": b"x" * 9, "root.squashfs": b"y" * 3000}, boot=small_discs.catalog(30, 40))),
            bytes(small_discs.iso({})),
        ],
        allowed=(IoError,),
        longest=1 << 16,
    ),
    "fat-files": Target(feed=_fat_files, seeds=[bytes(small_discs.fat())], allowed=(IoError,), longest=1 << 15),
    "fat-tree": Target(feed=_fat_tree, seeds=[bytes(small_discs.fat())], allowed=(IoError,), longest=1 << 15),
    "media.json": Target(
        feed=_about,
        seeds=[b'{"format": 1, "version": "0.1.0", "build": "b", "built": "2026-01-01T00:00:00Z", "system_bytes": 9}'],
    ),
    "sums": Target(feed=_sums, seeds=[b"0" * 64 + b"  rescue/id\n"], allowed=(IoError,)),
    "release": Target(feed=_release, seeds=[b'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME=Debian\n']),
    "events": Target(feed=_event, seeds=[_events_seed()], allowed=()),
    "library": Target(feed=partial(_file, name="library.json", use=_library), seeds=[_LIBRARY]),
    "writers": Target(
        feed=partial(_file, name="writers/20250101-000000-dead.json", use=_writer),
        seeds=[b'{"image": "20250101-000000-dead", "began": 1.5, "boot": "x", "pid": 77}'],
        allowed=(IoError, RefusedError),
    ),
    "domain": Target(
        feed=_domain,
        seeds=[struct.pack("<Q", 0x200000) + b"# x\n0x100000  ?\n0x0  0x1000  +\n0x1000 0x1000 ?\n0x2000 0x9000 +\n"],
        allowed=(IoError,),
    ),
    "ntfs-log": Target(feed=_ntfs_log, seeds=[volume.pack([(0, bytes(512))])], allowed=(IoError,)),
    "ext": _reader(extmap.used),
    "ntfs": _reader(ntfsmap.used),
    "fat": _reader(fatmap.used),
    "exfat": _reader(exfatmap.used),
    "lvm-label": Target(
        feed=_lvm_label, seeds=[test_lvm.label() + volume.pack(test_lvm.Disk().pieces[1:])], allowed=(IoError,)
    ),
    "partclone": Target(
        feed=_partclone,
        seeds=[partclone_images.version_2(_BLOCKS), partclone_images.version_1(_BLOCKS, padding=bytes(4))],
    ),
    "lvm-text": Target(feed=_lvm_text, seeds=[test_lvm.TEXT.encode()], allowed=(IoError,)),
    "doubts": Target(
        feed=_doubts, seeds=[bytes([i]) + volume.pack([(1024, bytes(1024))]) for i in range(len(KINDS))], allowed=()
    ),
    "btrfs": _reader(btrfsmap.used),
    "mark": Target(feed=_mark, seeds=[unfinished.render("20260101-000000-abcd")], allowed=()),
}
