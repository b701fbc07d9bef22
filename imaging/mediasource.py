"""Where a recovery medium's system and images come from: what is found on this machine, and how much it takes."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging import extents, inventory, manifest, media, medium
from imaging.blockdev import real_path
from imaging.chunk import digest
from imaging.disk import Disk
from imaging.encryption import refuse_to_unseal
from imaging.errors import BadImageError, RefusedError, RescueError, UsageError
from imaging.library import Library
from imaging.manifest import Image
from imaging.medium import Medium
from imaging.recoveryplans import MediaImage, MediaSystem

INSTALLED = Path("/usr/share/rescue/rescue.img")
"""Where an installed program has the system that it makes media from; `$RESCUE_SYSTEM` names another place."""
_BESIDES = 16 << 10
"""Bytes of a library's own files."""


def find_system(given: str | Path | None = None) -> MediaSystem:
    """The system that a recovery medium gets: the one that was given, else that of the running or installed program.

    On the live system that is the medium that it was started from. Takes up to a second. Raises RefusedError with code
    "no-system" where there is none, and as medium.look does; UsageError where a file that was given does not exist.
    """
    if given:
        return system_on(str(real_path(given)))
    if media.on_live_system():
        return _booted()
    named = os.environ.get("RESCUE_SYSTEM")
    path = Path(named) if named else INSTALLED
    if not path.exists():
        raise RefusedError(
            f"there is no recovery system in {path}",
            code="no-system",
            hint="give the image file of one, or a stick, with --system FILE",
        )
    return system_on(str(real_path(path)))


def system_on(path: str, *, booted: bool = False) -> MediaSystem:
    """The system of a medium or an image file. Raises as medium.look does, RefusedError where it is cut off."""
    if not Path(path).exists():
        raise UsageError(f"{path}: there is no such file or disk", code="no-such-file")
    found = medium.look(path)
    if found.cut_off:
        raise BadImageError(
            f"{path} is cut off: it has {found.size} bytes of {found.needed}",
            code="damaged-medium",
            hint="copy the image again, all of it",
        )
    if found.efi is None:
        raise BadImageError(
            f"the partition table of {path} is damaged: it names no EFI system partition",
            code="damaged-medium",
            hint="give another medium, or an image file, with --system FILE",
        )
    return MediaSystem(
        path=path,
        build=found.about.build,
        version=found.about.version,
        built=found.about.built,
        flavour=found.about.flavour,
        size=found.system,
        booted=booted,
    )


def _booted() -> MediaSystem:
    about = medium.folder_about(Path(inventory.MEDIUM))
    disk = inventory.medium()
    candidates: Iterable[Disk] = inventory.scan() if disk is None else [disk]
    for one in candidates:
        try:
            system = system_on(one.path, booted=disk is not None)
        except RescueError:
            if disk is not None:
                raise
            continue
        # Started into memory, or over the network: the same build may be attached all the same.
        if disk is not None or (about is not None and system.build == about.build):
            return system
    raise RefusedError(
        "this system runs from memory, and the medium that it was started from is not attached",
        code="no-system",
        hint="plug it in again, or give the image file of a recovery system with --system FILE",
    )


def medium_on(disk: Disk) -> Medium | None:
    """What recovery medium a disk is; None where it is none, or was only partly made. Raises IoError, RefusedError."""
    try:
        return medium.look(disk.path)
    except BadImageError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What images take: each by itself, and all together in whole blocks, where a chunk that they share counts once."""

    images: tuple[MediaImage, ...]
    content: int


def weigh(chosen: Sequence[tuple[Library, Image]], block: int) -> Weight:
    """How much images take on a file system whose blocks have so many bytes; takes seconds: each chunk is looked at.

    Raises BadImageError where an image's index cannot be used, RefusedError where it is encrypted, IoError.
    """
    seen: dict[bytes, int] = {}
    folders: set[bytes] = set()
    found = []
    content = _BESIDES if chosen else 0
    for library, image in chosen:
        refuse_to_unseal(library, None)
        store, mine, own = library.store(), set[bytes](), 0
        for disk in image.disks:
            files = library.files(image, disk)
            mine.update(files.index.id(i) for i in range(len(files.index)))
            own += len(files.index.encoded) + len(files.digests.encoded)
            own += len(extents.encode(files.used, files.index.size))
            content += 3 * block
        own += len(manifest.encode(image))
        content += own + 3 * block
        for chunk in mine - seen.keys():
            seen[chunk] = store.room_of(store.name(chunk))
            content += -(-seen[chunk] // block) * block
            folders.add(chunk[:2])
        found.append(
            MediaImage(
                library=str(library.path),
                image=image.id,
                label=image.label,
                created=image.created,
                manifest=digest(library.manifest(image.id)).hex(),
                size=own + sum(seen[chunk] for chunk in mine),
            )
        )
    return Weight(images=tuple(found), content=content + block * len(folders))
