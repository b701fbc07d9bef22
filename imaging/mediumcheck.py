"""Whether a recovery medium is whole, can boot and is recent: every byte that counts is read; nothing is mounted.

Each file is compared with `rescue/SHA256SUMS`, those of the EFI system partition, which firmware reads, as well as
those in the ISO; both copies of the partition table, the MBR and El Torito's catalog have to lead to them.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from imaging import __version__, gpt, iso, mediakeys, medium
from imaging.bounded import Bounded
from imaging.errors import BadImageError, CancelledError, IoError, RescueError
from imaging.fatfiles import FatVolume
from imaging.iso import Iso, IsoFile
from imaging.medium import SECTOR, SUMS, About, Medium
from imaging.signingkeys import PublicKey

MOST_DAYS = 365
"""Days after which a medium is to be made anew: Windows advises the same of its recovery drive."""
_MOST_SUMS = 1 << 20
_PIECE = 1 << 20
_BIOS, _UEFI = 0, 0xEF
_MBR_CODE = 440
_GRUB_BLOCK = 0x1B0
"""Where GRUB's MBR for hybrid images names the sector at which the rest of it begins; see `xorriso --grub2-mbr`."""
_GRUB_AFTER = 4
"""Sectors of its El Torito image that a BIOS has loaded on a disc, and that are skipped on a stick."""
_MBR, _CORE, _ELTORITO = "boot/grub/mbr.img", "boot/grub/bios.img", "eltorito/bios.img"
"""What the boot sector and El Torito's image for a BIOS were made from, which are digested, and the latter's file."""
_FILLED_IN = ((8, 64), (2548, 2556))
"""What the ISO's writer fills in there: El Torito's boot information table, and GRUB's own; see xorrisofs(1)."""
_MOST_CORE = 1 << 20
_MAKE_ANEW = "make a new recovery medium, or update this one, with: rescue media create"
_MUST_BE = ("rescue/vmlinuz", "rescue/initrd.img", "rescue/root.squashfs", "rescue/app.squashfs")
_IN_MEMORY = ("rescue/root.squashfs", "rescue/app.squashfs")


class Kind(StrEnum):
    """What is wrong with a medium. One that is OLD or BEHIND works."""

    DAMAGED = "damaged"
    CUT_OFF = "cut off"
    OLD = "old"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, in words, and what to do; `file` names the file that it is about, where it is one."""

    kind: Kind
    message: str
    hint: str
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What came of a check: `bytes` were read and compared."""

    path: str
    about: About
    findings: tuple[Finding, ...]
    bytes: int
    has_images: bool = False
    trusted: tuple[PublicKey, ...] = ()
    """The keys that it trusts; none where its list is damaged, which is a finding then."""

    @property
    def damaged(self) -> bool:
        """Whether it cannot be trusted to start a computer."""
        return any(one.kind in (Kind.DAMAGED, Kind.CUT_OFF) for one in self.findings)

    @property
    def outdated(self) -> bool:
        """Whether it works, and is to be made anew all the same."""
        return bool(self.findings) and not self.damaged


Advance = Callable[[int, int], None]
"""Called with the bytes read so far, and those to be read."""


class _Progress:
    def __init__(self, advance: Advance | None, cancel: threading.Event | None) -> None:
        self._advance, self._cancel = advance, cancel
        self.done = self.total = 0

    def add(self, size: int) -> None:
        """So many more were read; raises CancelledError."""
        self.done += size
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        if self._advance is not None:
            self._advance(self.done, self.total)


def check(
    path: str,
    advance: Advance | None = None,
    cancel: threading.Event | None = None,
    *,
    now: datetime | None = None,
    installed: str = __version__,
) -> Examined:
    """Check a stick, a disc or an image file; takes as long as reading its system does.

    `installed` is the version of the program that it is compared with, empty for no comparison. Raises as medium.look
    does where it is none, IoError where the device cannot even be opened, CancelledError.
    """
    with medium.volume_of(path) as volume:
        return check_volume(volume, path, advance, cancel, now=now, installed=installed)


def check_volume(
    volume: Bounded,
    path: str,
    advance: Advance | None = None,
    cancel: threading.Event | None = None,
    *,
    now: datetime | None = None,
    installed: str = __version__,
) -> Examined:
    """As `check`, of what is open already."""
    found = medium.examine(volume, path)
    progress = _Progress(advance, cancel)
    findings: list[Finding] = []
    if found.cut_off:
        words = f"{path} is cut off: it has {found.size} bytes of {found.needed}"
        findings.append(Finding(kind=Kind.CUT_OFF, message=words, hint="copy the image again, all of it"))
    else:
        findings += _contents(volume, found, progress)
    findings += age(found.about, now, installed)
    return Examined(
        path=path,
        about=found.about,
        findings=tuple(findings),
        bytes=progress.done,
        has_images=found.images is not None,
        trusted=_or_none(lambda: mediakeys.keys_on(volume, path)),
    )


def _or_none(look: Callable[[], tuple[PublicKey, ...]]) -> tuple[PublicKey, ...]:
    """The keys of a list; a list that is damaged is found by its digest, and trusts nobody here."""
    try:
        return look()
    except (BadImageError, IoError):
        return ()


def _contents(volume: Bounded, found: Medium, progress: _Progress) -> list[Finding]:
    findings: list[Finding] = []
    try:
        image, files = medium.system_files(volume)
        findings += _boot_sectors(volume, found, image, files)
        findings += _digests(volume, found, image, files, progress)
    except IoError as error:
        findings.append(_damage(f"the file system of {found.path} is damaged: {error.message}"))
    return findings


def _damage(message: str, file: str = "") -> Finding:
    return Finding(kind=Kind.DAMAGED, message=message, hint=_MAKE_ANEW, file=file)


def age(about: About, now: datetime | None = None, installed: str = __version__) -> Iterator[Finding]:
    """Whether a medium is over a year old, or behind the installed version."""
    days = days_old(about, now)
    if days > MOST_DAYS:
        yield Finding(
            kind=Kind.OLD,
            message=f"this recovery medium is {days} days old: it was built on {about.built[:10]}",
            hint="make a new one each year: newer computers need newer drivers",
        )
    if installed and _number(about.version) < _number(installed):
        yield Finding(
            kind=Kind.BEHIND,
            message=f"this recovery medium holds version {about.version}, installed is version {installed}",
            hint="update it: rescue media create --update keeps its images",
        )


def days_old(about: About, now: datetime | None = None) -> int:
    """Whole days since the medium was built; 0 where the clock is before that."""
    try:
        built = datetime.strptime(about.built, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return max(timedelta(0), (now or datetime.now(UTC)) - built).days


def _number(version: str) -> tuple[int, ...]:
    """`0.10.2` as numbers, up to the first part that is none."""
    numbers = []
    for part in version.split("."):
        if not (part.isascii() and part.isdigit()) or len(part) > 9:
            break
        numbers.append(int(part))
    return tuple(numbers)


def _boot_sectors(volume: Bounded, found: Medium, image: Iso, files: Mapping[str, IsoFile]) -> Iterator[Finding]:
    """What firmware reads first has to lead to the files that are compared."""
    mbr = volume(0, SECTOR)
    if mbr[510:] != b"\x55\xaa" or 0xEE not in mbr[450:510:16]:
        yield _damage("the boot sector is damaged: it is no protective MBR")
    if not any(mbr[:_MBR_CODE]):
        yield _damage("the boot sector is empty: a BIOS cannot start from this medium")
    yield from _table(volume)
    try:
        images = {one.platform: one for one in reversed(iso.boot_images(image))}
    except IoError as error:
        yield _damage(error.message)
        return
    bios, uefi = images.get(_BIOS), images.get(_UEFI)
    core = files.get(_ELTORITO)
    if bios is None or core is None or core.extents[0][0] != bios.start:
        yield _damage("the El Torito catalog does not lead a BIOS to the boot loader", _ELTORITO)
    elif int.from_bytes(mbr[_GRUB_BLOCK:_MBR_CODE], "little") != bios.start // SECTOR + _GRUB_AFTER:
        yield _damage("the boot sector does not lead to the boot loader")
    if uefi is None or found.efi is None or uefi.start != found.efi.start:
        yield _damage("the El Torito catalog does not lead UEFI to the EFI system partition")
    for path, actual, filled_in in (
        (_MBR, mbr[:_MBR_CODE], ((_GRUB_BLOCK, _MBR_CODE),)),
        (_CORE, iso.read_file(image, core, _MOST_CORE) if core else b"", _FILLED_IN),
    ):
        made_from = iso.read_file(image, files[path], _MOST_CORE) if path in files else b""
        if core and not _same_but(filled_in, actual, made_from[: len(actual)]):
            yield _damage(f"the boot loader for a BIOS is damaged: it is not what {path} is", path)


def _same_but(filled_in: Iterable[tuple[int, int]], one: bytes, other: bytes) -> bool:
    """Whether two are equal but for the places that the ISO's writer fills in."""
    a, b = bytearray(one), bytearray(other)
    for start, end in filled_in:
        a[start:end] = b[start:end] = bytes(end - start)
    return a == b


def _table(volume: Bounded) -> Iterator[Finding]:
    """Both copies of the partition table, which have to be one."""
    entries = []
    at = SECTOR
    for _ in range(2):
        try:
            header = gpt.parse_header(volume(at, SECTOR), copy=at != SECTOR)
            entries.append(gpt.parse_entries(header, volume(header.entries_at * SECTOR, header.entries_bytes)))
            at = header.other_at * SECTOR
        except (BadImageError, IoError) as error:
            if at == SECTOR:
                yield _damage(f"the partition table is damaged: {error.message}")
            else:
                yield _damage(f"the copy of the partition table at the end is damaged: {error.message}")
            return
    if entries[0] != entries[1]:
        yield _damage("the two copies of the partition table differ")


def parse_sums(data: bytes) -> dict[str, str]:
    """The digests in the form that sha256sum writes, by path; raises IoError (code "bad-map")."""
    sums = {}
    for line in data.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef") or not name:
            raise IoError(f"{SUMS} is damaged: a line of it is none of sha256sum's", code="bad-map")
        sums[name.removeprefix("./")] = digest
    return sums


def _digests(
    volume: Bounded, found: Medium, image: Iso, files: Mapping[str, IsoFile], progress: _Progress
) -> Iterator[Finding]:
    if SUMS not in files:
        yield _damage(f"{SUMS} is missing", SUMS)
        return
    sums = parse_sums(iso.read_file(image, files[SUMS], _MOST_SUMS))
    efi = {path.upper(): digest for path, digest in sums.items() if path.startswith("EFI/")}
    progress.total = sum(files[path].size for path in sums if path in files)
    for path in _MUST_BE:
        if path not in sums:
            yield _damage(f"{SUMS} does not name {path}", path)
    for path, digest in sums.items():
        if path not in files:
            yield _damage(f"{path} is missing", path)
            continue
        yield from _compare(path, digest, _pieces(volume, files[path]), progress)
    if found.efi is not None:
        yield from _efi_files(volume, found, efi, progress)


def _pieces(volume: Bounded, file: IsoFile) -> Iterator[bytes]:
    for start, size in file.extents:
        for at in range(start, start + size, _PIECE):
            yield volume(at, min(_PIECE, start + size - at))


def _compare(path: str, digest: str, pieces: Iterable[bytes], progress: _Progress) -> Iterator[Finding]:
    hasher = hashlib.sha256()
    try:
        for piece in pieces:
            hasher.update(piece)
            progress.add(len(piece))
    except (IoError, OSError) as error:
        words = error.message if isinstance(error, IoError) else str(error.strerror)
        yield _damage(f"{path} cannot be read: {words}", path)
        return
    if hasher.hexdigest() != digest:
        yield _damage(f"{path} is damaged: it is not what it was when the medium was made", path)


def _efi_files(volume: Bounded, found: Medium, sums: Mapping[str, str], progress: _Progress) -> Iterator[Finding]:
    """What UEFI firmware reads: the same files once more, on a FAT of their own."""
    part = found.efi
    if part is None:
        return
    inner = Bounded(read=lambda at, size: volume(part.start + at, size), size=part.size)
    try:
        fat = FatVolume(inner)
        files = {path.upper(): file for path, file in fat.files().items()}
    except IoError as error:
        yield _damage(f"the EFI system partition is damaged: {error.message}")
        return
    progress.total += sum(files[path].size for path in sums if path in files)
    for path, digest in sums.items():
        if path not in files:
            yield _damage(f"{path} is missing on the EFI system partition", path)
            continue
        for finding in _compare(path, digest, fat.pieces(files[path]), progress):
            yield _damage(f"on the EFI system partition: {finding.message}", path)


def check_folder(
    folder: Path,
    advance: Advance | None = None,
    cancel: threading.Event | None = None,
    *,
    now: datetime | None = None,
    installed: str = __version__,
) -> Examined:
    """Check a system whose files are mounted or copied to memory: those that are there are compared.

    Raises BadImageError (code "not-a-medium") where it holds none, IoError, CancelledError.
    """
    about = medium.folder_about(folder)
    if about is None:
        raise BadImageError(f"{folder} holds no recovery system", code="not-a-medium")
    try:
        sums = parse_sums((folder / SUMS).read_bytes()[:_MOST_SUMS])
    except OSError as error:
        raise IoError(f"{folder / SUMS} cannot be read: {error.strerror}", code="read-failed") from error
    there = {path: digest for path, digest in sums.items() if (folder / path).is_file()}
    progress = _Progress(advance, cancel)
    progress.total = sum((folder / path).stat().st_size for path in there)
    findings = [_damage(f"{path} is missing", path) for path in _IN_MEMORY if path not in there]
    for path, digest in there.items():
        findings += _compare(path, digest, _read(folder / path), progress)
    findings += age(about, now, installed)
    return Examined(
        path=str(folder),
        about=about,
        findings=tuple(findings),
        bytes=progress.done,
        trusted=_or_none(lambda: mediakeys.keys_beneath(folder)),
    )


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


def refuse_unless_whole(examined: Examined) -> None:
    """Raise BadImageError (code "damaged-medium") that names the first thing that is damaged."""
    for one in examined.findings:
        if one.kind in (Kind.DAMAGED, Kind.CUT_OFF):
            raise BadImageError(one.message, code="damaged-medium", hint=one.hint)


def problem_of(error: RescueError) -> Finding:
    """An error of a medium that cannot even be looked into, as a finding."""
    return Finding(kind=Kind.DAMAGED, message=error.message, hint=error.hint or _MAKE_ANEW)
