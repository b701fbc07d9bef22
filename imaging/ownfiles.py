"""The files of a recovery system on a computer's own disk: brought there whole, compared, and put in place.

New files are written beside those that are there, and take their place by renaming: whatever was cut off is completed
by doing it again, and a library on the same file system is never touched.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imaging import grubmenu, iso, mediakeys, medium
from imaging.bounded import Bounded
from imaging.durable import beneath, create, reading, sync_folder, write_all, write_file, written
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError
from imaging.medium import FOLDERS, SUMS
from imaging.mediumcheck import parse_sums
from imaging.pipeline import Reporter

_PIECE = 1 << 20
_MOST_SUMS = 1 << 20
_MOST_LINKS = 8
_NEW, _OLD = ".rescue-new", ".rescue-old"
EFI_FOLDER = "EFI/rescue"
INFO = ".disk/info"
"""By this file Debian's signed GRUB for media finds the file system whose /boot/grub/grub.cfg it reads."""
_FOLDERS = (*FOLDERS, ".disk")
OPTIONS = "rescue/options.cfg"
"""A person's own words for the boot menu, which reads them there."""
_EFI_FILES = {
    "shimx64.efi": "EFI/BOOT/BOOTX64.EFI",
    "grubx64.efi": "EFI/BOOT/grubx64.efi",
    "mmx64.efi": "EFI/BOOT/mmx64.efi",
}
"""Names on the EFI system partition, which shim and GRUB look for beside themselves, and those on the medium."""
_EFI_CONFIG = "grub.cfg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files of a system and their sizes, the digests that they must have, and a way to read one in pieces."""

    files: Mapping[str, int]
    sums: Mapping[str, str]
    read: Callable[[str], Iterable[bytes]]

    @property
    def content(self) -> int:
        """Bytes of all files, in blocks of 4 KiB."""
        return sum(-(-size // 4096) * 4096 for size in self.files.values())

    def pieces(self, path: str) -> Iterator[bytes]:
        """The bytes of a file; raises BadImageError where in the end they are not those that its digest names."""
        hasher = hashlib.sha256()
        for piece in self.read(path):
            hasher.update(piece)
            yield piece
        if path in self.sums and hasher.hexdigest() != self.sums[path]:
            raise BadImageError(
                f"{path} of the recovery system is damaged",
                code="damaged-medium",
                hint="make a new recovery medium, or give another one with --system",
            )

    def efi_files(self) -> dict[str, str]:
        """The boot loader's files: name on the EFI system partition, and path here. Raises BadImageError."""
        here = {path.upper(): path for path in self.files}
        found = {name: here.get(path.upper(), "") for name, path in _EFI_FILES.items()}
        missing = [_EFI_FILES[name] for name, path in found.items() if not path]
        if missing:
            raise BadImageError(f"the recovery system has no {missing[0]}", code="damaged-medium")
        return found


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """The system of a stick, a disc or an image file; raises as medium.look does, BadImageError where it is damaged."""
    with medium.volume_of(path) as volume:
        yield source_in(volume, path)


def source_in(volume: Bounded, path: str) -> Source:
    """The same, of what is open already."""
    try:
        image, files = medium.system_files(volume)
        if SUMS not in files:
            raise IoError(f"{SUMS} is missing", code="bad-map")
        sums = parse_sums(iso.read_file(image, files[SUMS], _MOST_SUMS))
    except IoError as error:
        if error.code != "bad-map":
            raise
        raise BadImageError(
            f"the recovery system of {path} is damaged: {error.message}", code="damaged-medium"
        ) from error
    lost = [path for path in sums if path not in files]
    if lost:
        raise BadImageError(f"{lost[0]} of the recovery system is missing", code="damaged-medium")

    def pieces(name: str) -> Iterator[bytes]:
        for start, size in files[name].extents:
            for at in range(start, start + size, _PIECE):
                yield volume(at, min(_PIECE, start + size - at))

    return Source(files={name: file.size for name, file in files.items()}, sums=sums, read=pieces)


def source_beneath(root: Path) -> Source:
    """The system whose files lie beneath a folder; raises BadImageError where it is damaged, IoError."""
    with reading(root):
        found = [path for folder in FOLDERS for path in beneath(root / folder) if path.is_file()]
        files = {str(path.relative_to(root)): path.stat().st_size for path in found}
        if SUMS not in files:
            raise BadImageError(f"the recovery system of {root} is damaged: {SUMS} is missing", code="damaged-medium")
        sums = parse_sums((root / SUMS).read_bytes()[:_MOST_SUMS])

    def pieces(name: str) -> Iterator[bytes]:
        with reading(root / name), (root / name).open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                yield piece

    return Source(files=files, sums=sums, read=pieces)


def trusting_as_before(source: Source, root: Path) -> Source:
    """The system, trusting the keys that the one beneath `root` does, should there be one that trusts any.

    Raises BadImageError where the list that is there is damaged, RefusedError where the new system takes none.
    """
    keys = mediakeys.keys_beneath(root) or mediakeys.keys_beneath(root / _OLD)
    if not keys:
        return source
    if mediakeys.PLACE not in source.files:
        raise RefusedError(
            "the recovery system has no place for the trusted keys of the one that it replaces",
            code="no-place-for-keys",
            hint="give a newer one with --system",
        )
    before = {name: b"".join(source.pieces(name)) for name in (mediakeys.PLACE, SUMS)}
    changed = mediakeys.changed_files(before, keys)
    sums = {**source.sums, mediakeys.PLACE: hashlib.sha256(changed[mediakeys.PLACE]).hexdigest()}

    def pieces(name: str) -> Iterable[bytes]:
        return [changed[name]] if name in changed else source.read(name)

    return Source(files=source.files, sums=sums, read=pieces)


def bring(source: Source, root: Path, options: str, report: Reporter, cancel: threading.Event) -> None:
    """Write all files beneath `root`, and `options` of the boot menu unless there are some already.

    Raises IoError, BadImageError, and CancelledError between two pieces.
    """
    new, old = root / _NEW, root / _OLD
    with written(root):
        mine = next((path.read_bytes() for path in (root / OPTIONS, old / OPTIONS) if path.is_file()), options.encode())
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        if not _has_room(root, source.content):
            # An earlier system stands where the new one has to go; what starts it is away until this is done.
            for folder in _FOLDERS:
                shutil.rmtree(root / folder, ignore_errors=True)
        new.mkdir()
        for path in sorted(source.files):
            _write(new / path, _told(source.pieces(path), report, cancel))
        _write(new / OPTIONS, [mine])
        _write(new / INFO, [b"Rescue, on a computer's own disk\n"])
        _sync_tree(new)
        _exchange(root, new, old)


def _has_room(root: Path, needed: int) -> bool:
    room = os.statvfs(root)
    return room.f_bavail * room.f_frsize > needed + (4 << 20)


def _told(pieces: Iterable[bytes], report: Reporter, cancel: threading.Event) -> Iterator[bytes]:
    for piece in pieces:
        if cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        yield piece
        report.advance(len(piece), len(piece))


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = create(path)
    try:
        for piece in pieces:
            write_all(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)
    path.chmod(0o644)


def _sync_tree(folder: Path) -> None:
    for path in [folder, *(path for path in beneath(folder) if path.is_dir())]:
        path.chmod(0o755)
        sync_folder(path)


def _exchange(root: Path, new: Path, old: Path) -> None:
    """Put the new folders in the place of those that are there."""
    old.mkdir()
    for folder in _FOLDERS:
        if (root / folder).exists():
            (root / folder).rename(old / folder)
        if (new / folder).exists():
            (new / folder).rename(root / folder)
    sync_folder(root)
    shutil.rmtree(old)
    new.rmdir()
    sync_folder(root)


def refuse_unless_efi_takes(root: Path, needed: int, name: str) -> None:
    """Raise RefusedError where an EFI system partition, mounted at `root`, has no room or cannot be written to."""
    room = os.statvfs(root)
    if room.f_flag & os.ST_RDONLY:
        raise RefusedError(f"the EFI system partition {name} is read-only", code="in-use")
    folder = root / EFI_FOLDER
    there = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) if folder.is_dir() else 0
    free = room.f_bavail * room.f_frsize
    if free + there < needed:
        raise RefusedError(
            f"the EFI system partition {name} is full: {needed >> 20} MiB are needed, {free >> 20} MiB are free",
            code="no-space",
            hint="delete what is not needed there, or enlarge it",
        )


def write_efi(source: Source, root: Path, *, uuid: str, build: str) -> None:
    """Put the boot loader beneath `root`, an EFI system partition; its configuration comes last. Raises IoError."""
    folder = root / EFI_FOLDER
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        for name, path in source.efi_files().items():
            write_file(folder / name, b"".join(source.pieces(path)))
        write_file(folder / _EFI_CONFIG, grubmenu.render_efi_config(uuid=uuid, build=build).encode())


def _sweep(folder: Path, name: str = ".*") -> None:
    """Remove what an earlier job that was killed had begun to write: see durable.write_file."""
    for leftover in folder.glob(f"{name}.*.tmp"):
        leftover.unlink()


def remove_efi(root: Path) -> None:
    """Take the boot loader away; whatever else lies in its folder stays. Raises IoError."""
    folder = root / EFI_FOLDER
    if not folder.is_dir():
        return
    with written(folder):
        _sweep(folder)
        for name in (*_EFI_FILES, _EFI_CONFIG):
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)
        if not any(folder.iterdir()):
            folder.rmdir()
            sync_folder(folder.parent)


def refuse_unless_menu_takes(root: Path, folder: str, name: str) -> Path:
    """The custom.cfg beside a menu; raises RefusedError where it cannot be changed."""
    custom = root / folder / grubmenu.CUSTOM
    if _leads_out(root, folder):
        raise RefusedError(f"the folder {folder} of the boot menu on {name} is a link elsewhere", code="odd-menu")
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        raise RefusedError(f"the boot menu on {name} is read-only", code="in-use")
    if custom.is_symlink() or (custom.exists() and not custom.is_file()):
        raise RefusedError(f"{custom} is not a regular file: it is not changed", code="odd-menu")
    return custom


def _leads_out(root: Path, folder: str) -> bool:
    """Whether a link on the way to a folder may lead to another file system: absolute ones mean the running system's.

    A menu is found as if the file system were all that there is, and its folder is written to as this system sees it.
    """
    here, waiting, links = root, list(Path(folder).parts), 0
    while waiting:
        here = here / waiting.pop(0)
        if here.is_symlink():
            to = here.readlink()
            links += 1
            if to.is_absolute() or ".." in to.parts or links > _MOST_LINKS:
                return True
            here, waiting = here.parent, [*to.parts, *waiting]
    return False


def change_menu(custom: Path, entry: str) -> None:
    """Have our entry in custom.cfg, or none where `entry` is empty; what else stands in it stays. Raises IoError."""
    with written(custom):
        _sweep(custom.parent, f".{grubmenu.CUSTOM}")
        before = custom.read_bytes().decode("utf-8", "surrogateescape") if custom.exists() else ""
        after = grubmenu.with_entry(before, entry) if entry else grubmenu.without_entry(before)
        if after == before:
            return
        if after:
            mode = custom.stat().st_mode & 0o777 if custom.exists() else 0o644
            write_file(custom, after.encode("utf-8", "surrogateescape"))
            custom.chmod(mode)
        else:
            custom.unlink()
            sync_folder(custom.parent)
