"""What a restore can carry over from the system that it replaces: found and measured, or refused, before the start.

The files wait in a safety image, in the library, where they are proved before the disk is written to, and stay: so
nothing that happens to the disk, to the power or to this program loses them. See imaging.carrying for the rest.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from imaging import accounts, filedata, profiles, systemroot, tree
from imaging.disk import Disk, Partition, PartitionRole, format_size
from imaging.errors import RefusedError, RescueError, UsageError
from imaging.imagevolumes import LUKS, LVM
from imaging.keptfiles import PATHS, WINDOWS, KeepRule, KeptFiles, KeptPath, LeftPath
from imaging.keptpaths import CODE, accounts_of, found, placed, shown, walk
from imaging.library import Library
from imaging.manifest import ImagedDisk
from imaging.ownplan import EFI_SYSTEM
from imaging.partitions import plan_restore_but
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.systemroot import HomesApartError, SystemRoot
from imaging.tree import EntryKind

_BLOCK = 4096
_NAME = 512
"""Bytes that a name of a file takes in a folder, with what is left free beside it: it has 255 at most."""
_SPARE = 64 << 20
"""Bytes that stay free in the new file system, beside a hundredth of what is carried: folders, maps of blocks."""
_FORGOTTEN_HINT = "`rescue complete`, or --keep-files, brings them back; --no-keep-files restores without them"
_MOST_LEFT = 100
"""How many paths that are not kept a plan names."""
_SYSTEM = frozenset({"", "boot", "efi", "etc", "gnu", "nix", "opt", "root", "tmp", "usr", "var"})
"""Folders of a system's own, by the first part of their path."""
_MOST_BOOT_CODE = 128 << 20
"""Bytes that a partition with nothing known on it has at most where it is one for boot code, or Windows' reserve."""
_COPY_HINT = "back it up first (--save-first), and copy the files out of that"


def with_kept_files(
    plan: RestorePlan, rules: Sequence[KeepRule], library: Path, others: Iterable[Path] = ()
) -> RestorePlan:
    """The plan, with what `rules` keep of the system on its target; its safety image goes into `library`.

    Of a target that is only partly restored, what the restore that was cut off has saved is kept, from the library
    that has it: `library`, the plan's, or one of `others`. Needs root, and reads every folder that is kept. Raises
    UsageError where the plan is not of one whole disk, RefusedError (code "cannot-keep") with the reason,
    BadImageError, IoError.
    """
    if len(plan.targets) != 1 or plan.targets[0].partitions or plan.targets[0].create or plan.foreign is not None:
        raise UsageError("files are kept where one whole disk is restored from a library", code="usage")
    if os.geteuid() != 0:
        raise RefusedError("files can be kept by root alone", code="needs-root", hint="run as root")
    (pair,) = plan.targets
    saved = _saved(pair, [library, Path(plan.library), *others]) if pair.target.unfinished else None
    chosen = tuple(dict.fromkeys([KeepRule.HOMES, *rules]))
    source = Library.open(Path(plan.library))
    image = source.image(plan.image)
    with (
        _old(pair, saved, windows=systemroot.may_be_windows(image, pair.source.name)) as there,
        systemroot.in_image(source, image, pair.source, writable=True, windows=there.windows) as new,
    ):
        if new.windows:
            _refuse_linux_rules(chosen)
        old = replace(there, without_settings=frozenset(_settings_of(new)) if new.windows else frozenset())
        _refuse_links(old, new, pair.target.name)
        elsewhere = (*_elsewhere(old, new, chosen), *_encrypted(pair.target), *_other_systems(pair, old))
        paths = list(found(old, chosen, elsewhere))
        _refuse_twins(paths, old)
        _refuse_unplaceable(paths, old, new)
        measured = _Measuring(old)
        kept = KeptFiles(
            rules=chosen,
            library=str(saved[0] if saved else library),
            old=old.place,
            new=new.place,
            paths=tuple(one for one in map(measured.path, paths) if one.files or one.folders),
            accounts=accounts_of(old).people if KeepRule.ACCOUNTS in chosen else (),
            strangers=() if KeepRule.ACCOUNTS in chosen or old.windows else _strangers(paths, old, new),
            elsewhere=elsewhere,
            disk=saved[2] if saved else pair.target.name,
            image=saved[1] if saved else "",
            left=tuple(measured.left),
            left_out=measured.left_out,
            encrypted=measured.encrypted,
            span=measured.span,
            settings=tuple(os.fsdecode(p[-1]) for p in paths if profiles.folded(p[-1]) in old.without_settings),
        )
        _refuse_nothing(kept, old, pair.target.name)
        _refuse_no_room(kept, pair, new, measured.names)
    return structs.replace(plan, keep=kept, safety="" if saved else str(library))


def beside_homes(plan: RestorePlan) -> RestorePlan | None:
    """The plan that leaves the partitions as they are on which /home of the one system on the target is.

    So do those that fstab mounts where data are, that the image does not know, and that it leaves out. None where /home
    is not on whole partitions of that one disk, or where nobody can tell. Needs root. Raises RefusedError (code
    "cannot-keep" where files may be in what would be written to as well, "other-layout" where the disk is not laid out
    as the image is), BadImageError, IoError.
    """
    (pair,) = plan.targets
    try:
        with systemroot.on_disk(pair.target, windows=None):
            return None
    except HomesApartError as error:
        apart = error
    except RescueError:
        return None
    data = {number for number, where in apart.mounts.items() if any(map(_is_data, where))}
    known = {part.number for part in pair.source.table.partitions} - {part.number for part in pair.source.left_out}
    there = [part for part in pair.target.table.partitions if part.role is not PartitionRole.EXTENDED]
    stay = (data | apart.partitions | {part.number for part in there if part.number not in known}) - {apart.root}
    if apart.root in data and not _in_one_piece(pair.target, apart.root):
        raise _in_doubt(pair.target.partition_name(apart.root), LVM)
    for part in pair.target.table.partitions:
        own = part.number == apart.root or part.number in apart.mounts or _has_no_files(part)
        if part.number not in stay and not own:
            raise _in_doubt(pair.target.partition_name(part.number), part.content.kind or "nothing known")
    library = Library.open(Path(plan.library))
    image = library.image(plan.image)
    return plan_restore_but(library.path, image, pair.source.name, pair.target, stay, read_back=plan.read_back)


def _in_one_piece(disk: Disk, number: int) -> bool:
    """Whether a partition is one file system, and not a group of volumes that fstab may mount each."""
    return all(part.content.kind != LVM for part in disk.table.partitions if part.number == number)


def _in_doubt(name: str, kind: str) -> RefusedError:
    return RefusedError(
        f"{name} ({kind}) would be erased, and nobody can tell whether files of people are on it",
        code=CODE,
        hint="save what is there first, or name what is to stay: `rescue factory reset --keep`",
    )


def _has_no_files(part: Partition) -> bool:
    """Whether no files of people can be in a partition: swap, the EFI system partition, boot code, an extended one."""
    kind = part.content.kind
    efi = kind == "vfat" and part.type.lower() in EFI_SYSTEM
    small = not kind and part.size <= _MOST_BOOT_CODE
    return kind == "swap" or efi or small or part.role is PartitionRole.EXTENDED


def _is_data(where: str) -> bool:
    """Whether what is mounted there is people's, and not a part of the system."""
    return where.startswith("/") and where.strip("/").split("/")[0] not in _SYSTEM


def refuse_forgotten(plan: RestorePlan, hint: str = _FORGOTTEN_HINT) -> None:
    """Raise RefusedError (code "files-wait") where a restore that was cut off was to keep files, and this one does not.

    Restoring what it has saved brings them back, too.
    """
    for pair in plan.targets:
        there = pair.target
        if there.keeps and plan.keep is None and plan.image != there.saved:
            raise RefusedError(
                f"the files that an earlier restore of {there.name} was to keep are in image {there.saved} alone",
                code="files-wait",
                hint=hint,
            )


def _saved(pair: RestoreTarget, libraries: Sequence[Path]) -> tuple[Path, str, str]:
    """The library and the image in which a restore that was cut off has saved what was there, and the disk's name."""
    wanted = pair.target.saved
    for path in dict.fromkeys(libraries if wanted else []):
        # One that cannot be read, or is locked, is not the one that is looked for as long as another has it.
        with suppress(RescueError):
            image = Library.open(path).image(wanted)
            same = [disk for disk in image.disks if disk.id.same_disk(pair.target.id) or len(image.disks) == 1]
            if len(same) == 1:
                return path, image.id, same[0].name
    what = f"it is saved in image {wanted}, which is in none of the libraries given" if wanted else "nothing was saved"
    raise RefusedError(
        f"{pair.target.name} is only partly restored, and of what was there before {what}",
        code=CODE,
        hint="name the library that has it with --save-first, or restore without keeping files",
    )


def _old(
    pair: RestoreTarget, saved: tuple[Path, str, str] | None, *, windows: bool | None
) -> AbstractContextManager[SystemRoot]:
    if saved is None:
        return systemroot.on_disk(pair.target, windows=windows)
    library = Library.open(saved[0])
    image = library.image(saved[1])
    disk: ImagedDisk = next(disk for disk in image.disks if disk.name == saved[2])
    return systemroot.in_image(library, image, disk, windows=windows)


def _refuse_linux_rules(rules: Sequence[KeepRule]) -> None:
    for rule in rules:
        if rule is not KeepRule.HOMES:
            raise RefusedError(
                f"{rule} cannot be kept of Windows: accounts, networks and its name are in the registry, which is that "
                "of the image",
                code=CODE,
                hint="--keep-files without rules keeps people's folders in C:\\Users",
            )


def _settings_of(new: SystemRoot) -> Iterator[str]:
    """People who have an account in the Windows that is restored: their part of its registry is there."""
    with tree.folder(new.mount, new.homes) as users:
        for name in tree.names_in(users, new.homes):
            entry = tree.look(users, name)
            if profiles.is_system(name) or entry.kind is not EntryKind.FOLDER:
                continue
            with tree.inside(name, users) as profile:
                if profiles.has_settings(profile):
                    yield profiles.folded(name)


def _refuse_links(old: SystemRoot, new: SystemRoot, name: str) -> None:
    """A link is kept as it is, and not what it leads to: no home folder may be one, nor /home in either system."""
    for root in (old, new):
        at = systemroot.entry_at(root.mount, root.homes)
        if at is not None and at.kind is not EntryKind.FOLDER:
            which = name if root is old else "the image"
            where = shown(root, root.homes)
            raise RefusedError(f"{where} of {which} is no folder: files in it cannot be kept", code=CODE)
    for path in found(old, [KeepRule.HOMES], ()):
        entry = systemroot.entry_at(old.mount, path)
        if entry is not None and entry.kind is EntryKind.LINK:
            raise RefusedError(
                f"{shown(old, path)} is a link to {os.fsdecode(entry.target)}: only what lies in "
                f"{shown(old, old.homes)} itself is kept",
                code=CODE,
                hint=_COPY_HINT,
            )


def _elsewhere(old: SystemRoot, new: SystemRoot, rules: Sequence[KeepRule]) -> Iterator[str]:
    """What a rule or an account names and that is there, but in another file system, or behind a link."""
    for home in accounts_of(old).homes:
        inside = not home.strip("/") or home.startswith("/home/") or ".." in home.split("/")
        if not inside and systemroot.is_there(old.mount, (*old.path, *tree.parts(home))):
            yield home
    for path in (path for rule in rules for path in PATHS.get(rule, ())):
        entry = systemroot.entry_at(old.mount, (*old.path, *tree.parts(path)))
        if entry is None:
            continue
        if old.is_apart(f"/{path}") or new.is_apart(f"/{path}") or entry.kind is EntryKind.LINK:
            yield f"/{path}"


def _encrypted(disk: Disk) -> Iterator[str]:
    """Partitions of which nobody can say what is in there."""
    for part in disk.table.partitions:
        if part.content.kind in (LUKS, "BitLocker"):
            yield disk.partition_name(part.number)


def _other_systems(pair: RestoreTarget, old: SystemRoot) -> Iterator[str]:
    """Partitions on which a system of the other kind, with files of people, may be: of one system they are kept."""
    kinds = {*systemroot.FLAGS, LVM} if old.windows else {WINDOWS}
    for part in pair.target.table.partitions:
        if part.content.kind in kinds and part.number != old.place.number:
            yield pair.target.partition_name(part.number)


def _strangers(paths: Iterable[tuple[bytes, ...]], old: SystemRoot, new: SystemRoot) -> tuple[str, ...]:
    """Whose home folders are kept and will belong to nobody."""
    homes = (path for path in paths if path[:-1] == old.homes)
    owners = [entry.user for path in homes if (entry := systemroot.entry_at(old.mount, path)) is not None]
    return accounts.without_account(owners, accounts_of(old), accounts_of(new))


def _refuse_twins(paths: Sequence[Sequence[bytes]], old: SystemRoot) -> None:
    """Windows opens one of two folders whose names differ in nothing but their letters' case, and never the other."""
    seen: dict[str, Sequence[bytes]] = {}
    for path in paths if old.windows else ():
        first = seen.setdefault(profiles.folded(path[-1]), path)
        if first is not path:
            raise RefusedError(
                f"{shown(old, first)} and {shown(old, path)} are one name to Windows: both cannot be kept",
                code=CODE,
                hint="give one of them another name",
            )


def _refuse_unplaceable(paths: Sequence[Sequence[bytes]], old: SystemRoot, new: SystemRoot) -> None:
    """Where the new system has a link, or a file, in the place of a folder that something is to go into."""
    for path in paths:
        where = placed(path, old, new)
        for depth in range(1, len(where)):
            entry = systemroot.entry_at(new.mount, where[:depth])
            if entry is not None and entry.kind is not EntryKind.FOLDER:
                raise RefusedError(
                    f"{shown(old, path)} cannot be kept: {shown(new, where[:depth])} of the image is no folder",
                    code=CODE,
                )


class _Measuring:
    """How much is kept of a system."""

    def __init__(self, root: SystemRoot) -> None:
        self._root = root
        self.left: list[LeftPath] = []
        self.left_out = self.encrypted = self.span = 0
        self._known: set[tuple[int, int]] = set()
        """The files with several names that are measured: they are one file again in the new system."""
        self.names = 0
        """How many names are no file of their own."""

    def path(self, path: tuple[bytes, ...]) -> KeptPath:
        """How much a path holds. Raises RefusedError where some of it could not be carried over."""
        size = files = folders = 0
        for one in walk(self._root, path, self._leave):
            entry = one.entry
            folders += entry.kind is EntryKind.FOLDER
            files += entry.kind is not EntryKind.FOLDER
            self.encrypted += entry.encrypted and entry.kind is EntryKind.FILE
            if entry.shared in self._known:
                self.names += 1
                continue
            if entry.shared is not None:
                self._known.add(entry.shared)
            size += entry.beside
            self.span += entry.size + entry.beside if self._root.windows else 0
            if entry.room < entry.size and self._root.place.kind == "btrfs":
                # What it has packed takes all of its size elsewhere; a hole takes none.
                with tree.folder(self._root.mount, one.where) as fd:
                    file = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                    try:
                        size += filedata.data_size(file)
                    finally:
                        os.close(file)
            else:
                size += min(entry.size, entry.room)
        return KeptPath(path=shown(self._root, path), size=size, files=files, folders=folders)

    def _leave(self, path: Sequence[bytes], why: str) -> None:
        self.left_out += 1
        if len(self.left) < _MOST_LEFT:
            self.left.append(LeftPath(path=shown(self._root, path), why=why))


def _refuse_nothing(kept: KeptFiles, old: SystemRoot, name: str) -> None:
    if not kept.paths and not kept.accounts:
        raise RefusedError(f"there is nothing on {name} that could be kept", code=CODE)
    homes = [home for home in accounts_of(old).homes if home.startswith("/home/")]
    if homes and not any(path.path.startswith("/home/") for path in kept.paths):
        raise RefusedError(
            f"people of the system on {name} have home folders in /home, such as {homes[0]}, and none is there",
            code=CODE,
            hint="they may lie on another file system: back it up first (--save-first), and look",
        )


def _refuse_no_room(kept: KeptFiles, pair: RestoreTarget, new: SystemRoot, names: int = 0) -> None:
    """`names` are those of files that have another one: they take room in their folders alone."""
    state = os.fstatvfs(new.mount)
    free, inodes = state.f_bfree * state.f_frsize, state.f_ffree
    growth = pair.growth
    if growth is not None and growth.filesystem and growth.partition == new.place.number:
        free += growth.size - growth.old_size
    if pair.shrinkage is not None and pair.shrinkage.partition == new.place.number:
        lost = pair.shrinkage.old_size - pair.shrinkage.size
        free -= lost
        inodes -= -(-state.f_files * lost // pair.shrinkage.old_size)
    entries = kept.files + kept.folders - names
    needed = kept.size + entries * max(_BLOCK, state.f_frsize) + names * _NAME + kept.size // 100 + _SPARE
    if needed > free:
        raise RefusedError(
            f"the files to be kept need {format_size(needed)}, and the restored system has {format_size(free)} free",
            code=CODE,
            hint="on a larger disk --grow gives it more; or save the disk first, and copy the files to another one",
        )
    if state.f_files and entries > inodes:
        raise RefusedError(
            f"{entries:,} files are to be kept, and the restored file system can hold {max(inodes, 0):,} more",
            code=CODE,
        )
