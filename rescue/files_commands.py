"""`rescue files`, `copy`, `mount`, `export` and `import`: images opened, and taken from and to other programs."""

import os
import signal
import stat
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from imaging import keyring, levels, pack, tree
from imaging.blockdev import real_path
from imaging.errors import ExitStatus, RefusedError, UsageError
from imaging.fileplan import plan_files
from imaging.imageplans import LEAST_PIECE, CopyImagesPlan, ExportFormat, ExportPlan, ImportPlan
from imaging.imagevolumes import OpenVolume, find_volume, volumes
from imaging.opened import OpenImage, mounted_image, open_image
from imaging.tree import Entry, EntryKind, Found
from rescue import passphrases
from rescue.commands import carry_out, library_to_write, print_json, print_lines
from rescue.contents import content_words
from rescue.files import when_words
from rescue.finding import Found as FoundImage
from rescue.finding import find
from rescue.formats import clean, columns, format_size, parse_size, quoted
from rescue.language import _

_MOST_FOUND = 10_000
"""Entries that a search prints."""


def add_unlock(parser: ArgumentParser) -> None:
    """The options of the commands that look into volumes."""
    words = _("a volume that LUKS encrypts, to be opened, too: its passphrase is asked for; may repeat")
    parser.add_argument("--unlock", action="append", default=[], metavar="VOLUME", help=words)
    words = _("a file whose first line is that passphrase")
    parser.add_argument("--unlock-file", metavar="FILE", help=words)


def files(options: Namespace) -> int:
    """`rescue files IMAGE[:VOLUME] [PATH]`: the volumes of an image, or what is in a folder of one."""
    name, colon, volume = options.image.partition(":")
    found = find(Namespace(**{**vars(options), "image": name}))
    nothing_named = not colon and not options.path and not options.find
    if not options.unlock:
        known = volumes(found.image)
        if nothing_named and not _is_clear(known):
            return _list_volumes(found, known, options)
        find_volume(found.image, volume)  # refused before anything is opened
    with _unlocked(found, options) as opened:
        if nothing_named and not _is_clear(opened.volumes):
            return _list_volumes(found, opened.volumes, options)
        chosen = find_volume(found.image, volume, opened.volumes)
        shown = _shown(opened.mount(chosen), tree.parts(options.path or ""), options.find)
    if options.json:
        print_json({"image": found.image.id, "volume": chosen.name, "files": [_value(*one) for one in shown]})
    else:
        print_lines(_lines(shown))
    return ExitStatus.DONE


def _is_clear(known: Sequence[OpenVolume]) -> bool:
    """Whether one volume alone has files."""
    return sum(not volume.problem for volume in known) == 1


def _shown(root: int, path: Sequence[bytes], words: str | None) -> list[tuple[str, Entry]]:
    if words:
        matching = islice(_matching(root, path, words), _MOST_FOUND)
        return [(tree.shown((*one.where, one.entry.name)), one.entry) for one in matching]
    entry = tree.entry_at(root, path)
    inside = tree.entries(root, path) if entry.kind is EntryKind.FOLDER else [entry]
    return [(one.text, one) for one in inside]


def _matching(root: int, path: Sequence[bytes], words: str) -> Iterator[Found]:
    wanted = words.casefold()
    return (one for one in tree.walk(root, path) if wanted in one.entry.text.casefold() and not one.entry.problem)


def _list_volumes(found: FoundImage, known: Sequence[OpenVolume], options: Namespace) -> int:
    if options.json:
        print_json({"image": found.image.id, "volumes": [_volume_value(volume) for volume in known]})
        return ExitStatus.DONE
    rows = []
    for volume in known:
        what = clean(volume.system) or content_words(volume.content) or _("unknown content")
        rows.append([clean(volume.name), format_size(volume.size), what, clean(volume.problem)])
    print_lines(columns(rows, right=frozenset({1})))
    first = next((volume.name for volume in known if not volume.problem), None)
    if first is not None:
        print(_("To look into one: rescue files {image}:{volume}").format(image=found.image.id, volume=clean(first)))
    _tell_locked(known, options)
    return ExitStatus.DONE


def _volume_value(volume: OpenVolume) -> dict[str, Any]:
    kind = volume.content.kind
    return {"name": volume.name, "disk": volume.disk, "size": volume.size, "kind": kind, "problem": volume.problem}


def _value(name: str, entry: Entry) -> dict[str, Any]:
    return {
        # Bytes that are not UTF-8 cannot stand in JSON.
        "name": os.fsencode(name).decode(errors="replace"),
        "kind": entry.kind,
        "size": entry.size,
        "mode": f"{entry.mode:04o}",
        "user": entry.user,
        "group": entry.group,
        "modified": entry.modified,
        "target": entry.target.decode(errors="replace"),
        "problem": entry.problem,
    }


_LETTERS = {EntryKind.FOLDER: stat.S_IFDIR, EntryKind.FILE: stat.S_IFREG, EntryKind.LINK: stat.S_IFLNK}


def _lines(shown: Sequence[tuple[str, Entry]]) -> list[str]:
    rows = []
    for name, entry in shown:
        mode = stat.filemode(_LETTERS.get(entry.kind, 0) | entry.mode)
        when = when_words(entry) if not entry.problem else ""
        size = format_size(entry.size) if entry.kind is EntryKind.FILE else ""
        words = clean(name) + ("/" if entry.kind is EntryKind.FOLDER else "")
        if entry.target:
            words += f" -> {clean(os.fsdecode(entry.target))}"
        if entry.problem:
            words += f" ({clean(entry.problem)})"
        rows.append([mode, f"{entry.user}:{entry.group}", size, when, words])
    return columns(rows, right=frozenset({2})) if rows else [_("Nothing.")]


def copy(options: Namespace) -> int:
    """`rescue copy IMAGE:VOLUME/PATH... FOLDER`: a job that copies files of one volume."""
    *sources, folder = options.words
    if not sources:
        raise UsageError(
            "say what to copy, and where to", code="usage", hint="such as: rescue copy IMAGE:sda2/home/me /mnt/usb"
        )
    chosen = [_source(words) for words in sources]
    if len({(image, volume) for image, volume, _path in chosen}) != 1:
        raise UsageError(
            "files of one volume can be copied at once", code="usage", hint="use the command once for each"
        )
    image, volume, _path = chosen[0]
    found = find(Namespace(**{**vars(options), "image": image}))
    chosen_volume = _volume_of(found, volume, options)
    target = real_path(folder)
    if not target.is_dir():
        raise RefusedError(f"{target} is no folder", code="not-a-folder", hint="give a folder that is there")
    paths = [tree.parts(path) for _image, _volume, path in chosen]
    plan = plan_files(found.library.path, found.image, chosen_volume, paths, target, options.unlock)
    return carry_out(plan, options)


def _volume_of(found: FoundImage, name: str, options: Namespace) -> OpenVolume:
    """The volume of that name; where encrypted ones are to be opened, they are tried before a job needs their keys."""
    if not options.unlock:
        return find_volume(found.image, name)
    with _unlocked(found, options) as opened:
        return find_volume(found.image, name, opened.volumes)


@contextmanager
def _unlocked(found: FoundImage, options: Namespace) -> Iterator[OpenImage]:
    """The image, opened, and the volumes in it that are encrypted and were named; their keys are known from then on."""
    words = _passphrases(options)
    with open_image(found.library, found.image) as opened:
        for name, passphrase in words.items():
            key = opened.key(name, passphrase)
            opened.unlock(name, key)
            keyring.learn_volume(found.image.id, name, key)
        yield opened


def _source(words: str) -> tuple[str, str, str]:
    """Image, volume and path of IMAGE:VOLUME/PATH."""
    image, colon, rest = words.partition(":")
    volume, _slash, path = rest.partition("/")
    if not colon:
        raise UsageError(
            f"{words} names no volume", code="usage", hint="such as IMAGE:sda2/home/me; `rescue files IMAGE` lists them"
        )
    return image, volume, path


def export(options: Namespace) -> int:
    """`rescue export IMAGE FILE`: a job that writes a disk, or the image itself, as one file."""
    found = find(options)
    target = real_path(options.file)
    kind = ExportFormat(options.format) if options.format else _format_by(target)
    piece = parse_size(options.piece_size, "--piece-size")
    if kind is ExportFormat.RESCUE and options.disk:
        raise UsageError("an image in a single file has all of its disks: leave --disk out", code="usage")
    if kind is not ExportFormat.RESCUE and piece is not None:
        raise UsageError("--piece-size is for --as rescue", code="usage")
    if piece is not None and piece < LEAST_PIECE:
        raise UsageError(f"--piece-size {options.piece_size}: a piece has at least 1M", code="usage")
    plan = ExportPlan(
        library=str(found.library.path),
        image=found.image.id,
        target=str(target),
        format=kind,
        disk=options.disk,
        label=found.image.label,
        piece_size=piece or 0,
    )
    return carry_out(plan, options)


def import_(options: Namespace) -> int:
    """`rescue import FILE`: a job that makes an image of another program's, or takes one from a single file."""
    single = pack.first_piece(real_path(options.source))
    if pack.is_pack(single):
        if options.label:
            raise UsageError("an image in a single file has its label: leave --label out", code="usage")
        return carry_out(CopyImagesPlan(library=str(single), target=str(library_to_write(options))), options)
    plan = ImportPlan(
        library=str(library_to_write(options)),
        source=str(real_path(options.source)),
        label=options.label,
        level=levels.parse(options.level),
    )
    return carry_out(plan, options)


def _format_by(target: Path) -> ExportFormat:
    ends = {".img": ExportFormat.RAW, ".zst": ExportFormat.ZSTD}
    ends |= {f".{kind.value}": kind for kind in ExportFormat}
    found = ends.get(target.suffix.lower())
    if found is None:
        raise UsageError(
            f"{target.name} does not say what it is to be", code="usage", hint="choose with --as, such as --as qcow2"
        )
    return found


def mount(options: Namespace) -> int:
    """`rescue mount IMAGE FOLDER`: until Ctrl+C."""
    found = find(options)
    where = real_path(options.folder)
    words = _passphrases(options)
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with mounted_image(found.library, found.image, where, passphrases=words) as shown:
            _tell_mounted(found, where, shown, options)
            ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return ExitStatus.DONE


def _passphrases(options: Namespace) -> dict[str, str]:
    """What opens the volumes that are encrypted: the first line of the file that was given, else typed."""
    keyring.leave_no_core()
    if options.unlock and options.unlock_file:
        # Once for all of them: it may be a pipe.
        return dict.fromkeys(options.unlock, keyring.lines_of(options.unlock_file)[0])
    return {name: _typed(name) for name in dict.fromkeys(options.unlock)}


def _typed(volume: str) -> str:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"the passphrase of {volume} is needed, and there is no terminal to ask for it",
            code="passphrase-needed",
            hint="give a file whose first line it is with --unlock-file",
        )
    return passphrases.typed(_("Passphrase of {volume}: ").format(volume=clean(volume)))


def _tell_locked(known: Sequence[OpenVolume], options: Namespace) -> None:
    """How to look into what is encrypted and was not opened."""
    for volume in known:
        if volume.locked and volume.name not in options.unlock:
            print(_("To look into {volume}, too: --unlock {volume}").format(volume=clean(volume.name)))


def _tell_mounted(found: FoundImage, where: Path, shown: Sequence[tuple[OpenVolume, str]], options: Namespace) -> None:
    if options.json:
        problems = {volume.name: problem for volume, problem in shown}
        print_json({"image": found.image.id, "folder": str(where), "problems": problems})
    else:
        name = quoted(found.image.label) or found.image.id
        print(_("Image {image} is mounted, read-only, at {folder}:").format(image=name, folder=clean(str(where))))
        rows = [[clean(f"disks/{disk.name}.img"), format_size(disk.size), ""] for disk in found.image.disks]
        for volume, problem in shown:
            words = _("not there: {reason}").format(reason=clean(problem)) if problem else ""
            rows.append([clean(volume.name) + ("" if problem else "/"), format_size(volume.size), words])
        print_lines(columns(rows, right=frozenset({1})))
        _tell_locked([volume for volume, _problem in shown], options)
        print(_("Ctrl+C unmounts it."))
    sys.stdout.flush()
