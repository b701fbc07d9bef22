"""What a restore can carry over from the system that it replaces: found and measured, or refused, before the start.

The files wait in a safety image, in the library, where they are proved before the disk is written to, and stay: so
nothing that happens to the disk, to the power or to this program loses them. See imaging.carrying for the rest.
"""

import os
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from fcntl import ioctl
from pathlib import Path

from msgspec import structs

from imaging import accounts, systemroot, tree
from imaging.accounts import Accounts
from imaging.disk import format_size
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.keptfiles import PATHS, SSH_FOLDER, SSH_PREFIX, KeepRule, KeptFiles, KeptPath
from imaging.library import Library
from imaging.plan import RestorePlan, RestoreTarget
from imaging.systemroot import SystemRoot
from imaging.tree import EntryKind

_CODE = "cannot-keep"
_BLOCK = 4096
_SPARE = 64 << 20
"""Bytes that stay free in the new file system, beside a hundredth of what is carried: folders, maps of blocks."""
_GET_FLAGS, _ENCRYPTED = 0x80086601, 0x0800
"""FS_IOC_GETFLAGS and FS_ENCRYPT_FL. Source: linux/fs.h."""
_NOT_KEPT = (b"lost+found",)


def with_kept_files(plan: RestorePlan, rules: Sequence[KeepRule], library: Path) -> RestorePlan:
    """The plan, with what `rules` keep of the system on its target; its safety image goes into `library`.

    Of a target that is only partly restored, what the restore that was cut off has saved is kept, from the library
    that has it: `library` or the plan's. Needs root, and reads every folder that is kept. Raises UsageError where the
    plan is not of one whole disk, RefusedError (code "cannot-keep") with the reason, BadImageError, IoError.
    """
    if len(plan.targets) != 1 or plan.targets[0].partitions or plan.targets[0].create or plan.foreign is not None:
        raise UsageError("files are kept where one whole disk is restored from a library", code="usage")
    if os.geteuid() != 0:
        raise RefusedError("files can be kept by root alone", code="needs-root", hint="run as root")
    (pair,) = plan.targets
    saved = _saved(pair, plan, library) if pair.target.unfinished else None
    chosen = tuple(dict.fromkeys([KeepRule.HOMES, *rules]))
    source = Library.open(Path(plan.library))
    image = source.image(plan.image)
    with _old(pair, saved) as old, systemroot.in_image(source, image, pair.source) as new:
        _refuse_links(old, new, pair.target.name)
        kept = KeptFiles(
            rules=chosen,
            library=str(saved[0] if saved else library),
            old=old.place,
            new=new.place,
            paths=tuple(_measured(old, path) for path in found(old, chosen)),
            accounts=accounts_of(old).people if KeepRule.ACCOUNTS in chosen else (),
            elsewhere=_elsewhere(old),
            disk=saved[2] if saved else pair.target.name,
            image=saved[1] if saved else "",
        )
        if not kept.paths and not kept.accounts:
            raise RefusedError(f"there is nothing on {pair.target.name} that could be kept", code=_CODE)
        _refuse_no_room(kept, pair, new)
    return structs.replace(plan, keep=kept, safety="" if saved else str(library))


def _saved(pair: RestoreTarget, plan: RestorePlan, library: Path) -> tuple[Path, str, str]:
    """The library and the image in which a restore that was cut off has saved what was there, and the disk's name."""
    wanted = pair.target.saved
    for path in dict.fromkeys([library, Path(plan.library)] if wanted else []):
        with suppress(BadImageError):
            image = Library.open(path).image(wanted)
            same = [disk for disk in image.disks if disk.id.same_disk(pair.target.id) or len(image.disks) == 1]
            if len(same) == 1:
                return path, image.id, same[0].name
    what = f"it is saved in image {wanted}, which is in none of the libraries given" if wanted else "nothing was saved"
    raise RefusedError(
        f"{pair.target.name} is only partly restored, and of what was there before {what}",
        code=_CODE,
        hint="name the library that has it with --save-first, or restore without keeping files",
    )


def _old(pair: RestoreTarget, saved: tuple[Path, str, str] | None) -> AbstractContextManager[SystemRoot]:
    if saved is None:
        return systemroot.on_disk(pair.target)
    library = Library.open(saved[0])
    image = library.image(saved[1])
    return systemroot.in_image(library, image, next(disk for disk in image.disks if disk.name == saved[2]))


def found(root: SystemRoot, rules: Sequence[KeepRule]) -> Iterator[tuple[bytes, ...]]:
    """The paths that the rules keep, in the root's file system; each is there."""
    if KeepRule.HOMES in rules:
        with suppress(BadImageError), tree.folder(root.mount, root.homes) as fd:
            for name in tree.names_in(fd, root.homes):
                if name not in _NOT_KEPT:
                    yield (*root.homes, name)
    for rule in rules:
        for path in PATHS.get(rule, ()):
            where = (*root.path, *tree.parts(path))
            with suppress(BadImageError):
                tree.entry_at(root.mount, where)
                yield where
    if KeepRule.SSH_HOST_KEYS in rules:
        where = (*root.path, *tree.parts(SSH_FOLDER))
        with suppress(BadImageError), tree.folder(root.mount, where) as fd:
            for name in tree.names_in(fd, where):
                if name.startswith(SSH_PREFIX.encode()):
                    yield (*where, name)


def shown(root: SystemRoot, path: Sequence[bytes]) -> str:
    """A path as the system itself calls it."""
    at_home = tuple(path[: len(root.homes)]) == root.homes
    names = (b"home", *path[len(root.homes) :]) if at_home else path[len(root.path) :]
    return tree.shown(names)


def accounts_of(root: SystemRoot) -> Accounts:
    """The system's accounts; raises IoError."""
    texts = {name: systemroot.text_of(root.mount, (*root.path, b"etc", name.encode())) for name in accounts.FILES}
    return accounts.parse({n: t.decode(errors="surrogateescape") for n, t in texts.items() if t is not None})


def _refuse_links(old: SystemRoot, new: SystemRoot, name: str) -> None:
    """A link is kept as it is, and not what it leads to: no home folder may be one, nor /home in either system."""
    for root in (old, new):
        at = _kind(root, root.homes)
        if at not in (None, EntryKind.FOLDER):
            which = name if root is old else "the image"
            raise RefusedError(f"/home of {which} is no folder: files in it cannot be kept", code=_CODE)
    if _kind(old, old.homes) is None:
        return
    with tree.folder(old.mount, old.homes) as fd:
        for one in tree.names_in(fd, old.homes):
            entry = tree.look(fd, one)
            if entry.kind is EntryKind.LINK:
                raise RefusedError(
                    f"{shown(old, (*old.homes, one))} is a link to {os.fsdecode(entry.target)}: only what lies in "
                    "/home itself is kept",
                    code=_CODE,
                    hint="back it up first (--save-first), and copy the files out of that",
                )


def _kind(root: SystemRoot, path: Sequence[bytes]) -> EntryKind | None:
    """What is at a path; None where nothing is. Raises IoError."""
    try:
        return tree.entry_at(root.mount, path).kind
    except BadImageError:
        return None


def _elsewhere(root: SystemRoot) -> tuple[str, ...]:
    """People's home folders that are there and not in /home."""
    return tuple(
        home
        for home in accounts_of(root).homes
        if home.strip("/")
        and not home.startswith("/home/")
        and ".." not in home.split("/")
        and _kind(root, (*root.path, *tree.parts(home))) is not None
    )


def _measured(root: SystemRoot, path: tuple[bytes, ...]) -> KeptPath:
    """How much a path holds. Raises RefusedError where some of it could not be carried over."""
    entry, size, files = tree.entry_at(root.mount, path), 0, 0
    inside = tree.walk(root.mount, path) if entry.kind is EntryKind.FOLDER else ()
    _refuse_encrypted(root, path)
    for one in (entry, *(step.entry for step in inside)):
        if one.problem:
            raise RefusedError(
                f"{shown(root, path)} cannot be kept: {one.text}: {one.problem}",
                code=_CODE,
                hint="check the file system, or save the disk first and copy out what can be read",
            )
        if one.kind is not EntryKind.FOLDER:
            files += 1
        # What btrfs has packed takes all of its size elsewhere.
        size += one.size if root.place.kind == "btrfs" else min(one.size, one.room)
    return KeptPath(path=shown(root, path), size=size, files=files)


def _refuse_encrypted(root: SystemRoot, path: tuple[bytes, ...]) -> None:
    """Folders that the file system itself encrypts can be read by nobody who has not logged in there."""
    with suppress(BadImageError, OSError), tree.folder(root.mount, path) as fd:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            flags = bytearray(8)
            ioctl(fd, _GET_FLAGS, flags)
            if struct.unpack_from("=I", flags)[0] & _ENCRYPTED:
                raise RefusedError(
                    f"{shown(root, path)} cannot be kept: its file system encrypts it",
                    code=_CODE,
                    hint="log in there, and copy the files to another disk",
                )


def _refuse_no_room(kept: KeptFiles, pair: RestoreTarget, new: SystemRoot) -> None:
    state = os.fstatvfs(new.mount)
    free, inodes = state.f_bfree * state.f_frsize, state.f_ffree
    growth = pair.growth
    if growth is not None and growth.filesystem and growth.partition == new.place.number:
        free += growth.size - growth.old_size
    needed = kept.size + kept.files * _BLOCK + kept.size // 100 + _SPARE
    if needed > free:
        raise RefusedError(
            f"the files to be kept need {format_size(needed)}, and the restored system has {format_size(free)} free",
            code=_CODE,
            hint="on a larger disk --grow gives it more; or save the disk first, and copy the files to another one",
        )
    if state.f_files and kept.files > inodes:
        raise RefusedError(
            f"{kept.files:,} files are to be kept, and the restored file system can hold {inodes:,} more", code=_CODE
        )
