"""The files of a folder that Clonezilla saved: which of them hold a volume, and its bytes as they stream out of them.

Source: Clonezilla's ocs-functions (save_part_by_partclone, save_part_by_dd, get_image_cat_zip_cmd, and those that
restore). A file is called `<device>.<file system>-ptcl-img.<packing>`, `.aa`, `.ab` and so on behind that where it is
split; older ones have neither `-ptcl` nor a packing in their names.
"""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product, takewhile
from pathlib import Path
from string import ascii_lowercase

from imaging import mft
from imaging.clonezillatable import CODE
from imaging.errors import BadImageError, RefusedError
from imaging.extents import Extents
from imaging.partclone import PartcloneImage, Read
from imaging.regular import open_regular
from imaging.rising import Pieces, Source, beside, fixed
from imaging.unpacking import Packing, Unpacked, packing_of, unpacked

_NAME = re.compile(r"\.(?P<fs>[A-Za-z0-9_+-]{1,20}?)(?P<new>-ptcl)?-img(?P<rest>(?:\.[a-z0-9]{1,6}){0,2})")
_PACKINGS: dict[str, Packing | None] = {f".{packing}": packing for packing in Packing} | {".uncomp": None}
_ENDINGS = ("", *_PACKINGS)
_WIDTHS = (0, *range(2, 6))
"""Letters that the last endings of a split image's files can have; 0 for one that is not split."""
_RAW = "dd"
_NTFS = "ntfs"
_NTFS_MARK = b"NTFS    "
_PIECE = 1 << 20
_HEAD = 16
"""Bytes that tell which program made an image."""
_MOST_FILE = 2**62
_OTHERS = ((b"\0ntfsclone-image", "ntfsclone"), (b"PaRtImAgE-VoLuMe", "partimage"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The files of one volume, in order."""

    device: str
    file_system: str
    files: tuple[Path, ...]
    packing: Packing | None

    @property
    def raw(self) -> bool:
        """Whether it is a plain copy, by partclone.dd or dd."""
        return self.file_system == _RAW


def find(folder: Path, names: Sequence[str], device: str) -> Saved | None:
    """The files that hold a device by the name that Clonezilla gives it; None where there are none.

    `names` are all in the folder. Raises BadImageError where one in the middle of a row is missing, or there are two
    images of the device; RefusedError where they are packed in a way that is not handled.
    """
    groups: dict[tuple[str, str], set[str]] = {}
    for name in names:
        found = _NAME.fullmatch(name.removeprefix(device)) if name.startswith(f"{device}.") else None
        if found:
            groups.setdefault((found["fs"], found["new"] or ""), set()).add(found["rest"])
    if not groups:
        return None
    if len(groups) > 1:
        raise BadImageError(
            f"{device} is in the folder twice, as {' and '.join(sorted(g[0] for g in groups))}", code=CODE
        )
    ((file_system, new), rests) = groups.popitem()
    stem = f"{device}.{file_system}{new}-img"
    ending, rows = _rows(stem, rests)
    files = tuple(folder / f"{stem}{ending}{row}" for row in rows)
    head = _heads(files)
    packing = _PACKINGS[ending] if ending else packing_of(head)
    return Saved(device=device, file_system=file_system, files=files, packing=packing)


def _rows(stem: str, rests: set[str]) -> tuple[str, list[str]]:
    """How the files of one image are packed, by their names, and their last endings, in order."""
    found = [(ending, width) for ending in _ENDINGS for width in _WIDTHS if _first(ending, width) in rests]
    if not found:
        packing = next(iter(rests)).split(".")[1] if any(rests) else ""
        if packing in ("lrz", "lrzip"):
            raise RefusedError(f"{stem}: files packed by lrzip are not handled", code="not-handled")
        raise BadImageError(f"{stem}: its first file is missing", code=CODE)
    ending, width = found[0]
    row = _row(ending, width, rests) if width else [""]
    for rest in sorted(rests - {f"{ending}{each}" for each in row}):
        before, _, last = rest.rpartition(".")
        if width and before == ending and len(last) == width and last.isalpha():
            raise BadImageError(f"{stem}{ending}: a file is missing behind {row[-1]}", code=CODE)
        if (
            rest in _ENDINGS
            or rest in (_first(*each) for each in found)
            or (before in _PACKINGS and len(last) == width)
        ):
            raise BadImageError(f"{stem}{ending}{row[0]} and {stem}{rest} are not of one image", code=CODE)
    return ending, row


def _first(ending: str, width: int) -> str:
    return f"{ending}.{'a' * width}" if width else ending


def _row(ending: str, width: int, rests: set[str]) -> list[str]:
    """The letters of the pieces that are there, from the first one up to a gap."""
    letters = (f".{''.join(each)}" for each in product(ascii_lowercase, repeat=width))
    return list(takewhile(lambda each: f"{ending}{each}" in rests, letters))


def _heads(files: Sequence[Path]) -> bytes:
    """The first bytes. All files are looked at: links or pipes may stand in a folder that comes from anyone."""
    for file in reversed(files):
        with os.fdopen(open_regular(file, _MOST_FILE, CODE), "rb") as opened:
            head = opened.read(_HEAD)
    return head


@contextmanager
def _opened(saved: Saved) -> Iterator[Unpacked]:
    with unpacked(saved.files, saved.packing, saved.files[0].name) as stream:
        yield stream


def source_of(saved: Saved, size: int) -> Source:
    """What the files hold of a volume of `size` bytes.

    Raises BadImageError where that does not fit in, RefusedError where another program has made them; also later, of
    what is damaged.
    """
    if saved.raw:
        return Source(used=Extents([(0, size)]), pieces=partial(_raw, saved, size))
    with _opened(saved) as stream:
        head = stream.read(_HEAD)
        for magic, program in _OTHERS:
            if head.startswith(magic):
                raise RefusedError(f"{saved.files[0].name}: images of {program} are not handled", code="not-handled")
        image = PartcloneImage(_continued(head, stream), saved.files[0].name)
        used = image.used
        boot = _boot_copy(image, size) if saved.file_system == _NTFS else []
    if used.end > size:
        raise BadImageError(
            f"{saved.files[0].name} reaches up to byte {used.end} of {saved.device}, which has {size}", code=CODE
        )
    return beside(Source(used=used, pieces=partial(_by_partclone, saved, used)), fixed(boot))


def _boot_copy(image: PartcloneImage, size: int) -> list[tuple[int, bytes]]:
    """The copy of its boot sector that NTFS has behind its last cluster, where partclone leaves it out."""
    at, data = next(image.pieces(), (0, b""))
    if at or data[3:11] != _NTFS_MARK:
        return []
    try:
        shape = mft.geometry(data)
    except (struct.error, ValueError):
        return []
    place, boot = shape.sectors * shape.sector, data[: shape.sector]
    if place + len(boot) > size or image.used.overlaps(place, place + len(boot)):
        return []
    return [(place, boot)]


def _continued(head: bytes, stream: Unpacked) -> Read:
    """A stream whose first bytes were taken already."""
    rest = iter((head,))
    return lambda size: next(rest, b"") or stream.read(size)


def _by_partclone(saved: Saved, used: Extents) -> Pieces:
    with _opened(saved) as stream:
        image = PartcloneImage(stream.read, saved.files[0].name)
        if image.used != used:
            raise BadImageError(f"{saved.files[0].name} is not the file that it was", code=CODE)
        yield from image.pieces()


def _raw(saved: Saved, size: int) -> Pieces:
    at = 0
    with _opened(saved) as stream:
        while data := stream.read(_PIECE):
            if at + len(data) > size:
                break
            yield at, data
            at += len(data)
    if data or at < size:
        what = "more" if data else str(at)
        raise BadImageError(f"{saved.files[0].name} holds {what} bytes of {saved.device}, which has {size}", code=CODE)
