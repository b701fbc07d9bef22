"""What is noted of an image, and what deleting it means, in words: for the command line and the screens alike."""

from collections.abc import Sequence

from imaging.disk import format_size
from imaging.events import CopyImagesResult, DeleteResult, ExportResult, FilesResult, PruneResult, VerifySetResult
from imaging.exportplan import SingleFile
from imaging.freeing import Freed
from imaging.imageplans import CopyImagesPlan, DeletePlan, ExportPlan, FilesPlan, ImportPlan, PrunePlan, VerifySetPlan
from imaging.notes import Notes, Verification
from rescue.formats import clean, format_count, format_duration, format_place, format_rate, format_when, joined, quoted
from rescue.language import _, ngettext
from rescue.telling import told

INDENT = "    "


def verified_short(notes: Notes) -> str:
    """For a table's cell: the day of the last verification, `BAD` and the day, or `never`."""
    if notes.verified is None:
        return _("never")
    day = clean(notes.verified.when[:10])
    return day if notes.verified.good else _bad_on(day)


def _bad_on(day: str) -> str:
    return _("BAD {day}").format(day=day)


def verified_width() -> int:
    """Columns of the longest that `verified_short` gives."""
    return len(_bad_on("2000-01-01"))


def verified_words(notes: Notes) -> str:
    """When the image was verified last, and what came of it."""
    last = notes.verified
    if last is None:
        return _("never")
    when = format_when(last.when)
    if last.good:
        return _("{when} UTC: everything was right").format(when=when)
    return _("{when} UTC: BAD, {what}").format(when=when, what=_damage(last))


def _damage(last: Verification) -> str:
    if last.problem:
        return clean(told(last.problem))
    return ngettext("{bad} of {chunks} chunks is damaged", "{bad} of {chunks} chunks are damaged", last.bad).format(
        bad=format_count(last.bad), chunks=format_count(last.chunks)
    )


def fact_line(caption: str, words: str) -> str:
    """A caption, and what there is to say."""
    return f"{caption:<12}{words}"


def delete_lines(plan: DeletePlan, freed: Freed | None = None, room: int | None = None) -> list[str]:
    """A deletion: what is lost, what it frees and what is free then, as far as that is known."""
    name = joined(quoted(plan.label), clean(plan.image), by=", ")
    lines = [_("DELETED: image {name}").format(name=name)]
    if plan.created:
        lines.append(INDENT + _("captured {when} UTC").format(when=format_when(plan.created)))
    else:
        lines.append(INDENT + _("it is damaged"))
    lines.append(INDENT + _("in the library {path}").format(path=format_place(plan.library)))
    return lines if freed is None else [*lines, *freed_lines(freed, room)]


def freed_lines(freed: Freed, room: int | None) -> list[str]:
    """What a deletion will free, and how much room there is then."""
    if freed.problem:
        return [
            _("FREED: nothing yet, for what another image uses cannot be known"),
            INDENT + clean(told(freed.problem)),
        ]
    lines = [_("FREED: {size}").format(size=format_size(freed.bytes))]
    if freed.shared:
        lines.append(INDENT + _("what other images use, too, stays"))
    if room is not None:
        words = _("{before} are free there now, {after} after that")
        lines.append(INDENT + words.format(before=format_size(room), after=format_size(room + freed.bytes)))
    return lines


def delete_figures(result: DeleteResult) -> list[str]:
    """A deletion's figures."""
    size, count = format_size(result.freed), format_count(result.chunks)
    words = ngettext("Freed: {size}, in {count} chunk", "Freed: {size}, in {count} chunks", result.chunks)
    lines = [words.format(size=size, count=count)]
    if result.shared:
        lines.append(_("Kept: {count} chunks that other images use").format(count=format_count(result.shared)))
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def prune_lines(plan: PrunePlan, freed: Freed | None = None, room: int | None = None) -> list[str]:
    """What a pruning deletes and frees, as far as that is known."""
    count = len(plan.images)
    words = ngettext("DELETED: {count} image", "DELETED: {count} images", count).format(count=count)
    lines = [words if count else _("DELETED: no image")]
    lines.append(INDENT + _("and whatever was stored that no image uses"))
    lines.append(INDENT + _("in the library {path}").format(path=format_place(plan.library)))
    return lines if freed is None else [*lines, *freed_lines(freed, room)]


def prune_figures(result: PruneResult) -> list[str]:
    """A pruning's figures."""
    size, count = format_size(result.freed), format_count(result.chunks)
    words = ngettext("Freed: {size}, in {count} chunk", "Freed: {size}, in {count} chunks", result.chunks)
    lines = [words.format(size=size, count=count)]
    if result.young:
        words = _("Left for now: {size} that no image uses, stored a short while ago")
        lines.append(words.format(size=format_size(result.young)))
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def verify_set_lines(plan: VerifySetPlan) -> list[str]:
    """A verification of several images: what is read."""
    count = len(plan.images)
    words = ngettext(
        "READ: every chunk of {count} image, each once", "READ: every chunk of {count} images, each once", count
    )
    where = INDENT + _("in the library {path}").format(path=clean(plan.library))
    limit = [INDENT + _("at most {rate}").format(rate=format_rate(plan.rate))] if plan.rate else []
    return [
        words.format(count=format_count(count)),
        where,
        *limit,
        _("Nothing of them is changed; the results are noted with them."),
    ]


def verify_set_figures(result: VerifySetResult) -> list[str]:
    """The figures of a verification of several images; at most eight that are not right are named."""
    words = ngettext("Read: {count} chunk, {size}", "Read: {count} chunks, {size}", result.chunks)
    lines = [words.format(count=format_count(result.chunks), size=format_size(result.bytes))]
    if result.resumed:
        lines.append(resumed_figure(result.resumed))
    if result.bad:
        lines.append(_("Not right:"))
    for bad in result.bad[:8]:
        chunks = ngettext(
            "{count} chunk is corrupt or missing", "{count} chunks are corrupt or missing", bad.chunks
        ).format(count=format_count(bad.chunks))
        lines.append(f"{INDENT}{clean(bad.image)}: {clean(told(bad.problem)) or chunks}")
        if bad.volumes:
            lines.append(2 * INDENT + hurt_line(bad.volumes))
    if result.bad_count > 8:
        lines.append(INDENT + _("and {count} more").format(count=format_count(result.bad_count - 8)))
    if result.mended:
        words = ngettext("Mended: {count} chunk", "Mended: {count} chunks", result.mended)
        lines.append(words.format(count=format_count(result.mended)))
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def hurt_line(volumes: Sequence[str]) -> str:
    """The volumes that are hurt by chunks that are bad; at most eight are named."""
    names = ", ".join(clean(name) for name in volumes[:8])
    return _("Hurt: {volumes}").format(volumes=f"{names}, .." if len(volumes) > 8 else names)


def resumed_figure(count: int) -> str:
    """What a verification found read already."""
    words = ngettext(
        "Not read again: {count} chunk that one which was cut off had read",
        "Not read again: {count} chunks that one which was cut off had read",
        count,
    )
    return words.format(count=format_count(count))


MOST_PATHS = 20
"""Paths of a copying that are named; what comes after is counted."""


def files_lines(plan: FilesPlan) -> list[str]:
    """A copying of files: which, and where to."""
    lines = [_("COPIED, nothing is overwritten:")]
    lines += [INDENT + clean(f"/{path.lstrip('/')}") for path in plan.all_paths[:MOST_PATHS]]
    more = len(plan.all_paths) - MOST_PATHS
    if more > 0:
        lines.append(INDENT + _("and {count} more").format(count=format_count(more)))
    name = joined(quoted(plan.label), clean(plan.image), by=", ")
    lines.append(_("FROM: {volume} of image {name}").format(volume=clean(plan.volume), name=name))
    where = _("TO: the new folder {path}") if plan.create else _("TO: the folder {path}")
    return [*lines, where.format(path=clean(plan.target))]


def files_figures(result: FilesResult) -> list[str]:
    """A copying's figures."""
    count, size = format_count(result.files), format_size(result.bytes)
    words = ngettext("Copied: {count} file, {size}", "Copied: {count} files, {size}", result.files)
    lines = [words.format(count=count, size=size)]
    if result.there:
        lines.append(_("There already, with the same size and date: {count}").format(count=format_count(result.there)))
    if result.failed:
        lines.append(_("Not copied: {count}").format(count=format_count(result.failed)))
    for what, number in result.not_kept.items():
        lines.append(_("Not kept: {what}, {count} times").format(what=clean(told(what)), count=format_count(number)))
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def export_lines(plan: ExportPlan) -> list[str]:
    """An export: of what, and where to."""
    name = joined(quoted(plan.label), clean(plan.image), by=", ")
    disk = _("disk {name}").format(name=clean(plan.disk)) if plan.disk else ""
    words = _("a new file {path} ({format})").format(path=clean(plan.target), format=plan.format.value)
    if plan.piece_size:
        size = format_size(plan.piece_size)
        words = joined(words, _("in pieces of {size} where it is larger").format(size=size), by=", ")
    return [
        _("EXPORTED: image {name}").format(name=joined(name, disk, by=", ")),
        _("WRITTEN: {what}").format(what=words),
    ]


def single_file_lines(found: SingleFile) -> list[str]:
    """What an image takes as a single file at a place."""
    lines = [_("HOW MUCH: {size} at most").format(size=format_size(found.size))]
    if found.place.free is not None:
        lines.append(_("ROOM there: {size}").format(size=format_size(found.place.free)))
    if found.pieces > 1:
        words = _("PIECES: {count}, for {kind} holds no file so large; keep them in one folder")
        kind = clean(found.place.kind) or _("the file system there")
        lines.append(words.format(count=format_count(found.pieces), kind=kind))
    if found.encrypted:
        lines.append(_("ENCRYPTED, as it is in its library: what opens that opens the file, too"))
    return lines


def import_lines(plan: ImportPlan) -> list[str]:
    """An import: of what, and where to."""
    return [
        _("IMPORTED, nothing is changed on it: {path}").format(path=clean(plan.source)),
        _("WRITTEN: a new image {label}").format(label=quoted(plan.label)).rstrip(),
        INDENT + _("in the library {library}").format(library=clean(plan.library)),
    ]


def export_figures(result: ExportResult) -> list[str]:
    """An export's figures."""
    words = _("A disk of {disk}, which takes {size} there")
    lines = [words.format(disk=format_size(result.disk_size), size=format_size(result.size))]
    if result.pieces > 1:
        lines.append(_("Pieces: {count}").format(count=format_count(result.pieces)))
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def copy_images_lines(plan: CopyImagesPlan) -> list[str]:
    """A copying of images: which, and where to."""
    lines = [_("COPIED, only what is missing there:")]
    lines += [INDENT + clean(image) for image in plan.images] or [INDENT + _("all images")]
    lines.append(_("FROM: the library {path}").format(path=format_place(plan.library)))
    lines.append(_("TO: the library {path}").format(path=format_place(plan.target)))
    if plan.unseal:
        lines.append(_("What is encrypted there lies open here: whoever has this can read it."))
    return lines


def copy_images_figures(result: CopyImagesResult) -> list[str]:
    """A copying's figures."""
    words = _("Images there now: {count}")
    new = _("New there: {new} of {chunks} chunks, {size}").format(
        new=format_count(result.new), chunks=format_count(result.chunks), size=format_size(result.bytes)
    )
    return [words.format(count=result.images), new, _("Time: {time}").format(time=format_duration(result.seconds))]
