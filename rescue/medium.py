"""Plans, results and checks of recovery media in words: for the command line and the screens alike."""

from collections.abc import Sequence

from imaging import mediaplan
from imaging.disk import format_size
from imaging.events import MediaGrowResult, MediaIsoResult, MediaResult
from imaging.mediumcheck import Examined, Kind
from imaging.recoveryplans import MediaGrowPlan, MediaImage, MediaIsoPlan, MediaPlan, MediaSystem
from imaging.signingkeys import PublicKey
from rescue.care import INDENT
from rescue.formats import clean, format_count, format_duration, format_when, joined, quoted
from rescue.language import N_, _, ngettext
from rescue.signed import key_words
from rescue.telling import told


def system_line(system: MediaSystem) -> str:
    """A live system in one line: version, day, build, size."""
    words = _("Rescue {version}, built on {day} (build {build}), {size}")
    return words.format(
        version=clean(system.version),
        day=clean(system.built[:10]),
        build=clean(system.build[:12]),
        size=format_size(system.size),
    )


def _system_lines(system: MediaSystem) -> list[str]:
    where = _("from the medium that this computer was started from") if system.booted else ""
    return [INDENT + system_line(system), INDENT + (where or _("from {path}").format(path=clean(system.path)))]


def image_lines(images: Sequence[MediaImage], factory: str) -> list[str]:
    """Images that are copied, one a line."""
    lines = []
    for one in images:
        name = joined(quoted(one.label), clean(one.image), by=", ")
        words = _("the factory image {name}, {size}") if one.image == factory else _("image {name}, {size}")
        lines.append(INDENT + words.format(name=name, size=format_size(one.size)))
    return lines


def media_lines(plan: MediaPlan, doomed: Sequence[str]) -> list[str]:
    """A medium to be made or updated: what is lost, what is written; `doomed` are lines of the disk as it is."""
    title, *contents = doomed
    words = _("UPDATED: the recovery medium {disk}") if plan.update else _("ERASED: {disk}")
    lines = [words.format(disk=title), *(INDENT + line.strip() for line in contents)]
    doubts = mediaplan.doubts(plan.target)
    if doubts:
        lines.append(_("LOOK TWICE: {problem}").format(problem=clean(told(doubts))))
    lines += [_("WRITTEN: the recovery system"), *_system_lines(plan.system)]
    lines += image_lines(plan.images, plan.factory)
    lines += trusted_lines(plan.trusted)
    if plan.keeps_images:
        words = _("KEPT: the images that are on it, in {size}")
        lines.append(words.format(size=format_size(plan.images_size)))
    elif plan.images_size:
        words = _("MADE: a partition for images of {size}, {kind}")
        lines.append(words.format(size=format_size(plan.images_size), kind=plan.filesystem))
    else:
        lines.append(_("There is no room for a partition for images."))
    return [*lines, _("Everything that is written is read back and compared, then checked to start a computer.")]


def grow_lines(plan: MediaGrowPlan, before: Sequence[str]) -> list[str]:
    """An images partition to be made or enlarged; `before` are lines of the disk as it is."""
    lines = [_("CHANGED: the partition table of the recovery medium"), *(INDENT + line for line in before)]
    if plan.old_size:
        words = _("ENLARGED: its partition for images, from {before} to {after}")
        lines.append(words.format(before=format_size(plan.old_size), after=format_size(plan.size)))
    else:
        words = _("MADE: a partition for images of {size}, {kind}")
        lines.append(words.format(size=format_size(plan.size), kind=plan.filesystem))
    return [*lines, _("Nothing else on it is changed.")]


def iso_lines(plan: MediaIsoPlan) -> list[str]:
    """A disc's image to be written."""
    lines = [_("CREATED: {path}, the image of a disc").format(path=clean(plan.output)), *_system_lines(plan.system)]
    return [*lines, *image_lines(plan.images, plan.factory), *trusted_lines(plan.trusted)]


def trusted_lines(keys: Sequence[PublicKey]) -> list[str]:
    """Whose images alone a medium restores; nothing where it trusts no key."""
    if not keys:
        return []
    words = _("TRUSTED: from this medium only images are restored that one of these keys has signed")
    return [words, *(INDENT + key_words(key) for key in keys)]


def media_figures(result: MediaResult) -> list[str]:
    """The figures of a medium that was made or updated."""
    lines = [_("Written: the system, {size}").format(size=format_size(result.system))]
    if result.images:
        words = ngettext("{count} image, {size} copied", "{count} images, {size} copied", len(result.images))
        lines.append(words.format(count=len(result.images), size=format_size(result.copied)))
        words = ngettext(
            "Data: {count} chunk, of which {known} were there already",
            "Data: {count} chunks, of which {known} were there already",
            result.chunks,
        )
        known = format_count(result.chunks - result.new)
        lines.append(words.format(count=format_count(result.chunks), known=known))
    if result.room:
        lines.append(_("Free for more images: {size}").format(size=format_size(result.room)))
    lines.append(_("Checked: everything was read back and is right, and the medium can start a computer"))
    return [*lines, _time(result.seconds)]


def grow_figures(result: MediaGrowResult) -> list[str]:
    """The figures of an images partition that was enlarged."""
    if result.before:
        words = _("The partition for images has {size} now; it had {before}")
    else:
        words = _("The partition for images has {size}")
    size, before = format_size(result.size), format_size(result.before)
    return [words.format(size=size, before=before), _time(result.seconds)]


def iso_figures(result: MediaIsoResult) -> list[str]:
    """The figures of a disc's image."""
    lines = [_("Written: {path}, {size}").format(path=clean(result.output), size=format_size(result.size))]
    if result.images:
        words = ngettext("{count} image is on it", "{count} images are on it", len(result.images))
        lines.append(words.format(count=len(result.images)))
    return [*lines, _time(result.seconds)]


def _time(seconds: float) -> str:
    return _("Time: {time}").format(time=format_duration(seconds))


VERDICTS = {
    Kind.DAMAGED: N_("DAMAGED"),
    Kind.CUT_OFF: N_("DAMAGED"),
    Kind.OLD: N_("OLD"),
    Kind.BEHIND: N_("OLD"),
}
"""The word for each kind of finding."""


def examined_lines(examined: Examined) -> list[str]:
    """What came of the check of a medium, with what to do about each finding."""
    about = examined.about
    words = _("{path}: Rescue {version}, built on {day} (build {build})")
    lines = [
        words.format(
            path=clean(examined.path),
            version=clean(about.version),
            day=format_when(about.built)[:10],
            build=clean(about.build[:12]),
        )
    ]
    for one in examined.findings:
        lines.append(f"{_(VERDICTS[one.kind])}: {clean(told(one.message))}")
        lines.append(INDENT + _("What to do: {hint}").format(hint=clean(told(one.hint))))
    lines += trusted_lines(examined.trusted)
    if not examined.findings:
        size = format_size(examined.bytes)
        lines.append(_("GOOD: {size} were read, and every file is what it was when it was made").format(size=size))
    elif examined.outdated:
        lines.append(_("It is whole, and can start a computer."))
    return lines
