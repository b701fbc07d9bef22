"""A job's events and its end as plain lines of text, for the command line and the screens alike; see rescue.report."""

from typing import assert_never

from imaging.errors import ExitStatus
from imaging.events import (
    AnyEvent,
    CaptureResult,
    CopyImagesResult,
    DeleteResult,
    ExportResult,
    FilesResult,
    Finished,
    ImportResult,
    InstallResult,
    Log,
    MediaGrowResult,
    MediaIsoResult,
    MediaResult,
    Progress,
    PruneResult,
    RemoveResult,
    RepairResult,
    RestoreResult,
    Result,
    Started,
    Step,
    VerifyResult,
    VerifySetResult,
)
from imaging.restoreplans import Wipe
from rescue.care import (
    copy_images_figures,
    delete_figures,
    export_figures,
    files_figures,
    hurt_line,
    prune_figures,
    resumed_figure,
    verify_set_figures,
)
from rescue.checked import checked_lines
from rescue.formats import clean, format_count, format_duration, format_rate, format_size, joined
from rescue.growing import grown_figures, smaller_figures
from rescue.identity_words import renewed_figures
from rescue.keeping_words import carried_figures
from rescue.language import N_, _, ngettext
from rescue.medium import grow_figures, iso_figures, media_figures
from rescue.own_disk import install_figures, remove_figures
from rescue.repair_words import repair_figures
from rescue.report import INDENT
from rescue.signed import signed_words
from rescue.starting import start_figures
from rescue.telling import told


def result_lines(finished: Finished) -> list[str]:
    """The end of a job: what was done or what happened, the state of the target, figures, and what to do next."""
    good = finished.status == ExitStatus.DONE
    lines = [clean(told(finished.message))]
    if finished.state:
        lines.append(_("State: {state}").format(state=clean(told(finished.state))))
    if finished.result is not None:
        lines += figures(finished.result)
    if finished.hint:
        words = _("Next: {hint}") if good else _("What to do: {hint}")
        lines.append(words.format(hint=clean(told(finished.hint))))
    return lines


def figures(result: Result) -> list[str]:
    """The figures of a result."""
    match result:
        case CaptureResult():
            return capture_figures(result)
        case RestoreResult():
            return restore_figures(result)
        case VerifyResult():
            return verify_figures(result)
        case VerifySetResult():
            return verify_set_figures(result)
        case DeleteResult():
            return delete_figures(result)
        case MediaResult():
            return media_figures(result)
        case MediaGrowResult():
            return grow_figures(result)
        case MediaIsoResult():
            return iso_figures(result)
        case InstallResult():
            return install_figures(result)
        case RemoveResult():
            return remove_figures(result)
        case RepairResult():
            return repair_figures(result)
        case PruneResult():
            return prune_figures(result)
        case CopyImagesResult():
            return copy_images_figures(result)
        case ImportResult():
            return import_figures(result)
        case ExportResult():
            return export_figures(result)
        case FilesResult():
            return files_figures(result)
        case _:
            assert_never(result)


def pace(size: int, seconds: float) -> str:
    """How long it took, and the rate where that says something."""
    if not size or seconds < 1:
        return _("Time: {time}").format(time=format_duration(seconds))
    return _("Time: {time}, {rate}").format(time=format_duration(seconds), rate=format_rate(size / seconds))


def lost_figure(result: CaptureResult | ImportResult | RestoreResult | VerifyResult) -> list[str]:
    """What the capture could not read, where that is so."""
    words = _("Could not be read: {bytes} bytes; zeros stand for them")
    return [words.format(bytes=format_count(result.unreadable))] if result.unreadable else []


def capture_figures(result: CaptureResult) -> list[str]:
    """A capture's figures."""
    lines = [*stored_figures(result), *lost_figure(result), *checked_lines(result.checked)]
    return [*lines, pace(result.used, result.seconds)]


def import_figures(result: ImportResult) -> list[str]:
    """An import's figures."""
    kind = _("Imported: {kind}").format(kind=clean(told(result.kind)))
    return [kind, *stored_figures(result), *lost_figure(result), pace(result.used, result.seconds)]


def stored_figures(result: CaptureResult | ImportResult) -> list[str]:
    """What a new image holds, and what of that was new to the library."""
    data = ngettext("Data: {size} in {count} chunk", "Data: {size} in {count} chunks", result.chunks)
    new = ngettext(
        "New to the library: {count} chunk, {size} compressed; {known} were there already",
        "New to the library: {count} chunks, {size} compressed; {known} were there already",
        result.new,
    )
    known = format_count(result.chunks - result.new)
    return [
        data.format(size=format_size(result.used), count=format_count(result.chunks)),
        new.format(count=format_count(result.new), size=format_size(result.stored), known=known),
    ]


def restore_figures(result: RestoreResult) -> list[str]:
    """A restore's figures."""
    words = ngettext(
        "Compared: {count} chunk, of which {held} held the right bytes already",
        "Compared: {count} chunks, of which {held} held the right bytes already",
        result.compared,
    )
    lines = [words.format(count=format_count(result.compared), held=format_count(result.skipped)), written(result)]
    if result.read_back and result.written:
        lines.append(_("Checked: everything written was read back and is right"))
    elif result.written:
        lines.append(_("Not checked: what was written was not read back"))
    lines += [*lost_figure(result), *grown_figures(result.grown)]
    lines += [*smaller_figures(result.smaller), *start_figures(result.starts)]
    lines += [*carried_figures(result.carried), *renewed_figures(result.renewed)]
    if result.boot_entries:
        words = _("New in the firmware, and tried first: the boot entry {labels}")
        lines.append(words.format(labels=clean(", ".join(result.boot_entries))))
    if result.wiped:
        lines.append(_wiped(Wipe(result.wiped)))
    for one in result.unsanitized:
        words = _("Not wiped: what {disk} keeps aside by itself; it did not erase itself")
        lines.append(words.format(disk=clean(one.disk)))
    if result.safety:
        lines.append(
            _("Saved first: image {image}; to undo: `rescue undo`, or f in the menu").format(image=clean(result.safety))
        )
    return [*lines, pace(0 if result.skipped else result.written_bytes, result.seconds)]


def _wiped(way: Wipe) -> str:
    """How the disks were erased, and what samples said of that."""
    if way is Wipe.SANITIZE:
        return _("Wiped first: the drive erased itself; nothing that was read as a sample was what it was")
    how = _("discarded") if way is Wipe.DISCARD else _("overwritten with zeros")
    return _("Wiped first: {how}; what was read of it as a sample was zeros").format(how=how)


def written(result: RestoreResult) -> str:
    """What a restore wrote: chunks, and where it had to, tables and the ends of partitions."""
    words = ngettext("Written: {count} chunk, {size}", "Written: {count} chunks, {size}", result.written)
    parts = [words.format(count=format_count(result.written), size=format_size(result.written_bytes))]
    if result.tables:
        words = ngettext("{count} partition table", "{count} partition tables", result.tables)
        parts.append(words.format(count=format_count(result.tables)))
    if result.partitions:
        words = ngettext("the ends of {count} partition", "the ends of {count} partitions", result.partitions)
        parts.append(words.format(count=format_count(result.partitions)))
    return _(", and ").join(parts)


def verify_figures(result: VerifyResult) -> list[str]:
    """A verification's figures; at most eight bad chunks are named."""
    words = ngettext("Checked: {count} chunk, {size}", "Checked: {count} chunks, {size}", result.chunks)
    lines = [words.format(count=format_count(result.chunks), size=format_size(result.bytes))]
    if result.resumed:
        lines.append(resumed_figure(result.resumed))
    if result.bad:
        count = max(result.bad_count, len(result.bad))
        words = ngettext("Corrupt or missing: {count} chunk", "Corrupt or missing: {count} chunks", count)
        lines.append(words.format(count=format_count(count)))
        lines += [INDENT + clean(name) for name in result.bad[:8]]
        if count > 8:
            lines.append(INDENT + _("and {count} more").format(count=format_count(count - 8)))
    if result.volumes:
        lines.append(hurt_line(result.volumes))
    if result.hurt:
        words = ngettext(
            "{count} other image needs them, too:", "{count} other images need them, too:", len(result.hurt)
        )
        lines.append(words.format(count=format_count(len(result.hurt))))
        lines += [INDENT + clean(name) for name in result.hurt[:8]]
    if result.mended:
        words = ngettext("Mended: {count} chunk", "Mended: {count} chunks", result.mended)
        lines.append(words.format(count=format_count(result.mended)))
    if result.differing:
        words = ngettext(
            "Different on the disk: {count} chunk", "Different on the disk: {count} chunks", result.differing
        )
        lines.append(words.format(count=format_count(result.differing)))
    lines += lost_figure(result)
    lines.append(_("Signature: {what}").format(what=signed_words(result.standing)))
    return [*lines, *checked_lines(result.checked), pace(0 if result.resumed else result.bytes, result.seconds)]


def event_line(event: AnyEvent) -> str:
    """An event as one line, for output that is not a terminal."""
    match event:
        case Started():
            return _("{title} (job {job})").format(title=clean(told(event.title)), job=clean(event.job))
        case Step():
            return joined(clean(told(event.name)), f"({format_size(event.total)})" if event.total else "", by=" ")
        case Progress():
            share = f"{100 * event.done // event.total:3d} %" if event.total else "  - %"
            done, total, moved = map(format_size, (event.done, event.total, event.moved))
            return joined(share, _("{done} of {total}, {moved} moved").format(done=done, total=total, moved=moved))
        case Log():
            message = clean(told(event.message))
            return message if event.level == "info" else f"{level_word(event)}: {message}"
        case Finished():
            return f"{_(END_WORDS.get(event.status, N_('failed')))}: {clean(told(event.message))}"
        case _:
            assert_never(event)


def level_word(event: Log) -> str:
    """How grave a line of the log is."""
    return _("warning") if event.level == "warning" else clean(event.level)


END_WORDS: dict[int, str] = {
    ExitStatus.DONE: N_("done"),
    ExitStatus.CANCELLED: N_("cancelled"),
    ExitStatus.DIFFERS: N_("differs"),
    ExitStatus.FILE_SYSTEM_ERRORS: N_("file system errors"),
    ExitStatus.REFUSED: N_("refused"),
    ExitStatus.DAMAGED: N_("done, with damage"),
    ExitStatus.CANNOT_START: N_("does not start"),
    ExitStatus.START_UNKNOWN: N_("start not known"),
}
