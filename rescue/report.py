"""Disks, images, plans and results as plain lines of text, for the command line and the screens alike.

Nothing here knows a terminal: no colour, no width beyond what reads well in 80 columns, ASCII only but for names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, assert_never

from imaging import levels
from imaging.disk import Disk, DiskId, PartitionRole, Role, TableKind
from imaging.health import Condition, Health
from imaging.imageplans import (
    CapturePlan,
    CopyImagesPlan,
    DeletePlan,
    ExportPlan,
    FilesPlan,
    ImportPlan,
    PrunePlan,
    VerifyPlan,
    VerifySetPlan,
)
from imaging.manifest import Image, ImagedDisk, InnerVolume, Machine, Volume
from imaging.notes import NOTHING, Notes
from imaging.plan import Plan
from imaging.planner import OUR_MOUNTS
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaIsoPlan, MediaPlan, RemovePlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.signatures import UNSIGNED, Standing
from imaging.unfinished import MEDIUM
from rescue.care import (
    copy_images_lines,
    delete_lines,
    export_lines,
    files_lines,
    import_lines,
    prune_lines,
    verified_short,
    verified_words,
    verify_set_lines,
)
from rescue.contents import NO_SYSTEMS, content_words, partition_rows, system_words
from rescue.factory_words import factory_words
from rescue.formats import (
    clean,
    columns,
    format_duration,
    format_estimate,
    format_place,
    format_rate,
    format_size,
    format_when,
    joined,
    quoted,
)
from rescue.growing import growth_lines, resectoring_lines, shrinkage_lines
from rescue.health import health_word
from rescue.identity_words import identity_lines
from rescue.keeping_words import kept_lines
from rescue.language import N_, _, ngettext
from rescue.medium import grow_lines, iso_lines, media_lines
from rescue.own_disk import install_lines, lost_lines, remove_lines
from rescue.parts import (
    captured_lines,
    damage_lines,
    erased_partitions,
    imaged_words,
    into_lines,
    left_out_lines,
    left_out_rows,
    numbers,
    others_line,
)
from rescue.repair_words import repair_lines
from rescue.signed import any_signed, signed_short, signed_words
from rescue.telling import told
from rescue.wiping_words import wipe_lines

__all__ = [
    "clean",
    "disk_lines",
    "disk_title",
    "disks_table",
    "format_duration",
    "format_estimate",
    "format_rate",
    "format_size",
    "format_when",
    "image_lines",
    "image_title",
    "images_table",
    "machine_line",
    "plan_lines",
]

INDENT = "    "

WHERE_FROM = {"header": N_("only its header is stored"), "whole": N_("stored whole")}
"""How a volume's used bytes were found, where that was not by its own map."""


class Damaged(Protocol):
    """An image that is there and cannot be used."""

    @property
    def id(self) -> str:
        """Its folder's name."""

    @property
    def problem(self) -> str:
        """What is wrong, in words."""


def machine_line(machine: Machine) -> str:
    """Vendor, model and serial number on one line; says so where nothing is known."""
    name = joined(clean(machine.vendor), clean(machine.model), by=" ")
    return joined(name or clean(machine.hostname), serial_words(machine.serial), by=", ") or _("unknown computer")


def serial_words(serial: str) -> str:
    """The serial number of a computer or a disk, with what it is; empty where there is none."""
    return _("serial {serial}").format(serial=clean(serial)) if serial else ""


def identity(identity: DiskId, *, regular_file: bool = False) -> str:
    """Model, serial number and size of a disk."""
    if regular_file:
        return joined(_("file"), format_size(identity.size))
    model = clean(identity.model).strip() or _("unknown model")
    return joined(model, serial_words(identity.serial) or _("no serial number"), format_size(identity.size))


def disk_title(disk: Disk) -> str:
    """One line: name, model, serial number, size, how it is attached."""
    transport = "" if disk.regular_file else clean(disk.transport)
    return joined(clean(disk.name), identity(disk.id, regular_file=disk.regular_file), transport)


def content_lines(disk: Disk, systems: Mapping[int, str] = NO_SYSTEMS) -> list[str]:
    """What is on a disk: its partitions, or what stands on it bare; `systems` by partition, 0 for the bare disk."""
    if disk.problem:
        return [_("could not be looked at in full: {problem}").format(problem=clean(told(disk.problem)))]
    if rows := partition_rows(disk.table.partitions, systems):
        return columns(rows, right=frozenset({0, 1}))
    if disk.table.kind is not TableKind.NONE:
        kind = "MBR" if disk.table.kind is TableKind.MBR else "GPT"
        return [_("an empty partition table ({kind})").format(kind=kind)]
    if words := system_words(systems.get(0, ""), disk.content):
        return [_("{content}, on the whole disk without a partition table").format(content=words)]
    return [_("nothing known: no partition table, no file system")]


def content_summary(disk: Disk, systems: Mapping[int, str] = NO_SYSTEMS) -> str:
    """What is on a disk in a few words, for a table's cell."""
    if disk.problem:
        return _("cannot be read in full")
    partitions = [p for p in disk.table.partitions if p.role is not PartitionRole.EXTENDED]
    words = [system_words(systems.get(p.number, ""), p.content) for p in partitions]
    if partitions:
        count = ngettext("{count} partition", "{count} partitions", len(partitions))
        return ", ".join(word for word in words if word) or count.format(count=len(partitions))
    return system_words(systems.get(0, ""), disk.content) or _("empty")


def use_lines(disk: Disk) -> list[str]:
    """What the running system does with the disk, and what is left of an earlier restore."""
    lines = [_(WORDS_FOR_ROLES[role]) for role in disk.roles]
    mounts = [mount for mount in disk.mounts if not mount.where.startswith(OUR_MOUNTS)]
    mounted = _("in use: {source} is mounted at {where}")
    lines += [mounted.format(source=clean(mount.source), where=clean(mount.where)) for mount in mounts]
    lines += [_("in use by {holder}").format(holder=clean(holder)) for holder in disk.holders]
    if disk.read_only:
        lines.append(_("write-protected"))
    if disk.unfinished:
        lines.append(_unfinished_words(disk.unfinished))
    return lines


def _unfinished_words(image: str) -> str:
    if image == MEDIUM:
        return _("a recovery medium that was only partly made")
    return _("holds an unfinished restore of image {image}").format(image=clean(image))


WORDS_FOR_ROLES = {
    Role.BOOT_MEDIUM: N_("this system was started from it"),
    Role.SYSTEM: N_("the running system stands on it"),
    Role.LIBRARY: N_("holds an image library"),
}


def disk_lines(disk: Disk, contents: Callable[[Disk], list[str]] = content_lines) -> list[str]:
    """A disk in full: title, use, contents."""
    return [disk_title(disk), *(INDENT + line for line in [*use_lines(disk), *contents(disk)])]


def disks_table(
    disks: Sequence[Disk],
    healths: Mapping[str, Health] | None = None,
    systems: Mapping[str, Mapping[int, str]] | None = None,
) -> list[str]:
    """One line a disk, with a heading; health and operating systems by the disks' paths, where they were asked for."""
    heading = [_("DISK"), _("SIZE"), _("MODEL"), _("SERIAL"), *([_("HEALTH")] if healths else []), _("CONTENTS")]
    rows = [heading]
    for disk in disks:
        model = _("(file)") if disk.regular_file else clean(disk.id.model)
        busy = _("in use") if disk.mounts or disk.holders else ""
        use = joined(*(told(role) for role in disk.roles), busy, by=", ")
        summary = content_summary(disk, (systems or {}).get(disk.path, NO_SYSTEMS))
        contents = joined(summary, f"[{use}]" if use else "", by=" ")
        health = [_health_cell(healths.get(disk.path))] if healths else []
        rows.append([clean(disk.name), format_size(disk.size), model, clean(disk.id.serial), *health, contents])
    return columns(rows, right=frozenset({1})) if disks else [_("No disks were found.")]


def _health_cell(health: Health | None) -> str:
    """What is not known is no news."""
    return "-" if health is None or health.condition is Condition.UNKNOWN else health_word(health)


def image_title(image: Image) -> str:
    """The label, or the id where there is none."""
    return clean(image.label) or clean(image.id)


def label_words(image: Image) -> str:
    """The label, with a word where parts of the disks could not be read."""
    return joined(_("DAMAGED") if image.unreadable else "", clean(image.label), by=" ")


def images_table(images: Sequence[tuple[Image, Notes, Standing]], damaged: Sequence[Damaged] = ()) -> list[str]:
    """One line an image, with a heading; the damaged ones apart, with what is wrong with them."""
    signed = any_signed([standing for _image, _notes, standing in images])
    rows = [[_("IMAGE"), _("DATE (UTC)"), _("LABEL"), _("COMPUTER"), _("DISKS"), _("USED"), _("VERIFIED")]]
    rows[0] += [_("SIGNED BY")] if signed else []
    for image, notes, standing in images:
        disks = ", ".join(
            joined(f"{clean(disk.name)} {format_size(disk.size)}", imaged_words(disk), by=" ") for disk in image.disks
        )
        computer = joined(clean(image.machine.vendor), clean(image.machine.model), by=" ")
        cells = [clean(image.id), format_when(image.created), label_words(image), computer, disks]
        last = [signed_short(standing)] if signed else []
        rows.append([*cells, format_size(image.used), verified_short(notes), *last])
    lines = columns(rows, right=frozenset({5})) if images else [_("No images.")]
    if damaged:
        lines += ["", _("Damaged, cannot be restored:")]
        lines += [f"{INDENT}{clean(bad.id)}: {clean(told(bad.problem))}" for bad in damaged]
    return lines


def volume_row(volume: Volume) -> list[str]:
    """One volume of an imaged disk."""
    what = system_words(volume.system, volume.content) or _("unknown content")
    number = str(volume.number) if volume.number else "-"
    return [number, format_size(volume.size), what, _("{size} stored").format(size=format_size(volume.used))]


def inner_lines(volume: Volume) -> list[str]:
    """The logical volumes inside of one, and how the used bytes of each were found."""
    lines = []
    cells = [
        [
            clean(inner.name),
            format_size(inner.size),
            content_words(inner.content) or _("unknown content"),
            _("{size} stored").format(size=format_size(inner.used)),
        ]
        for inner in volume.inner
    ]
    rows = columns(cells, right=frozenset({1, 3}))
    for inner, row in zip(volume.inner, rows, strict=True):
        lines += [INDENT * 2 + row, *(INDENT * 2 + line for line in volume_note(inner))]
    return lines


def volume_note(volume: Volume | InnerVolume) -> list[str]:
    """How its used bytes were found, where that is worth a line."""
    words = joined(_(WHERE_FROM.get(volume.map_origin, "")), clean(told(volume.note)), by=": ")
    return [f"{INDENT}{INDENT}({words})"] if words else []


def imaged_disk_lines(disk: ImagedDisk) -> list[str]:
    """One disk of an image with its volumes."""
    title = _("{disk}, {size} used").format(
        disk=joined(clean(disk.name), identity(disk.id)), size=format_size(disk.used)
    )
    lines = [title, *damage_lines(disk)]
    cells = [*(volume_row(volume) for volume in disk.volumes), *left_out_rows(disk)]
    rows = columns(cells, right=frozenset({0, 1, 3}))
    for volume, row in zip(disk.volumes, rows, strict=False):
        lines += [INDENT + row, *volume_note(volume), *inner_lines(volume)]
    return lines + [INDENT + row for row in rows[len(disk.volumes) :]]


def image_lines(image: Image, notes: Notes = NOTHING, standing: Standing = UNSIGNED) -> list[str]:
    """An image in full, with what is noted of it, and who has signed it."""
    size, stored = format_size(image.size), format_size(image.stored)
    facts = [
        [_("Image"), clean(image.id)],
        [_("Label"), clean(image.label)],
        [_("Captured"), _("{when} UTC").format(when=format_when(image.created))],
        [_("Computer"), machine_line(image.machine)],
        [_("System"), clean(", ".join(image.systems))],
        [_("Firmware"), clean(image.machine.firmware).upper()],
        [_("Size"), _("{size}, of which {used} hold data").format(size=size, used=format_size(image.used))],
        [_("In library"), _("{size} were new to it when the image was captured").format(size=stored)],
        [_("Verified"), verified_words(notes)],
        [_("Signature"), signed_words(standing)],
        [_("Notes"), clean(notes.text)],
        [_("Pinned"), _("yes: it is not deleted") if notes.pinned else ""],
        [_("Factory"), factory_words(notes.factory) if notes.factory else ""],
        [_("Saved before"), _("{image} was restored there").format(image=clean(notes.before)) if notes.before else ""],
    ]
    lines = columns([fact for fact in facts if fact[1]])
    for disk in image.disks:
        lines += ["", *imaged_disk_lines(disk)]
    return lines


def plan_lines(plan: Plan, seconds: float | None = None) -> list[str]:
    """What a plan does to which disk, in words; `seconds` is how long it is expected to take."""
    match plan:
        case CapturePlan():
            lines = capture_lines(plan)
        case RestorePlan():
            lines = restore_lines(plan)
        case VerifyPlan():
            lines = verify_lines(plan)
        case VerifySetPlan():
            lines = verify_set_lines(plan)
        case DeletePlan():
            lines = delete_lines(plan)
        case MediaPlan():
            lines = media_lines(plan, disk_lines(plan.target))
        case MediaGrowPlan():
            lines = grow_lines(plan, disk_lines(plan.target))
        case MediaIsoPlan():
            lines = iso_lines(plan)
        case InstallPlan():
            lines = install_lines(plan, disk_lines(plan.target))
        case RepairPlan():
            after = replace(plan.target, table=plan.layout)
            lines = repair_lines(plan, disk_lines(plan.target), content_lines(after))
        case RemovePlan():
            lines = remove_lines(plan, disk_lines(plan.target))
        case PrunePlan():
            lines = prune_lines(plan)
        case FilesPlan():
            lines = files_lines(plan)
        case ExportPlan():
            lines = export_lines(plan)
        case ImportPlan():
            lines = import_lines(plan)
        case CopyImagesPlan():
            lines = copy_images_lines(plan)
        case _:
            assert_never(plan)
    return lines if seconds is None else [*lines, _("Time: {time}").format(time=format_estimate(seconds))]


def capture_lines(plan: CapturePlan, contents: Callable[[Disk], list[str]] = content_lines) -> list[str]:
    """A capture: what is read, where it goes; `contents` says what is on a disk."""
    lines = [_("READ, nothing is changed on it:")]
    for disk in plan.disks:
        lines += [INDENT + line for line in disk_lines(disk, contents)]
        lines += [INDENT + line for line in captured_lines(disk, plan.only.get(disk.path, ()))]
    lines.append(_("WRITTEN: a new image {label}").format(label=quoted(plan.label)).rstrip())
    lines.append(INDENT + _("in the library {library}").format(library=format_place(plan.library)))
    lines.append(INDENT + _("compression: {level}").format(level=level_words(plan.level)))
    if plan.signer:
        lines.append(INDENT + _("signed by the key {key}").format(key=clean(plan.signer)))
    return [*lines, _("CHECKED: the file systems in the new image")] if plan.check else lines


LEVELS = (N_("fast"), N_("normal"), N_("small"))
"""The levels that have names."""


def level_words(level: int) -> str:
    """A level of compression: its name, or its number where it has none."""
    name = levels.name(level)
    return _(name) if name in LEVELS else _("level {level}").format(level=level)


def target_lines(pair: RestoreTarget) -> list[str]:
    """One target of a restore: what is lost, what comes."""
    source = pair.source
    coming = _("WRITTEN: disk {disk} of the image: {size}, {used} of data").format(
        disk=clean(source.name), size=format_size(source.size), used=format_size(source.used)
    )
    other = [*growth_lines(pair), *shrinkage_lines(pair), *resectoring_lines(pair)]
    after = [coming, *other, *damage_lines(source), *left_out_lines(pair)]
    if pair.create:
        words = _("CREATED: {path}, a file of {size}")
        return [words.format(path=clean(pair.target.path), size=format_size(pair.target.size)), *after]
    if pair.partitions:
        return [*into_lines(pair, disk_title(pair.target)), others_line(pair), *lost_lines(pair)]
    doomed = replace(pair.target, table=replace(pair.target.table, partitions=erased_partitions(pair)))
    lines = [_("ERASED: {disk}").format(disk=disk_title(pair.target))]
    lines += [INDENT + line for line in [*use_lines(pair.target), *content_lines(doomed)]]
    return [*lines, *lost_lines(pair), *after]


def restore_lines(plan: RestorePlan) -> list[str]:
    """A restore: which image, and for each target what is lost and what comes."""
    lines = [_("Restore {image}").format(image=joined(quoted(plan.label), clean(plan.image), by=", "))]
    lines.append(INDENT + signed_words(plan.standing))
    if plan.foreign is not None:
        words = _("straight from {path}, without a library: {kind}")
        lines.append(INDENT + words.format(path=clean(plan.foreign.path), kind=clean(told(plan.foreign.kind))))
    if plan.safety:
        words = _("SAVED FIRST: what is there now, as an image in the library {path}")
        lines.append(words.format(path=clean(plan.safety)))
    lines += [*kept_lines(plan), *wipe_lines(plan)]
    for pair in plan.targets:
        lines += target_lines(pair)
    lines += identity_lines(plan)
    if plan.boot_entry:
        lines.append(
            _("FIRMWARE: it gets a boot entry for this, and tries it first, should it find nothing there without one")
        )
    if plan.read_back:
        return [*lines, _("Every block that is written is read back and compared.")]
    return [*lines, _("What is written is not read back.")]


def verify_lines(plan: VerifyPlan) -> list[str]:
    """A verification: what is read."""
    name = joined(quoted(plan.label), clean(plan.image), by=", ")
    if plan.against is None:
        checked = [_("CHECKED: the file systems in it")] if plan.check else []
        return [
            _("READ: every chunk of image {image}").format(image=name),
            *checked,
            _("Nothing of it is changed; the result is noted with it."),
        ]
    what = disk_title(plan.against)
    if plan.partitions:
        chosen = numbers(part.partition for part in plan.partitions)
        what = _("only {partitions} of {disk}").format(partitions=chosen, disk=what)
    return [_("COMPARED with image {image}:").format(image=name), INDENT + what, _("Nothing is written.")]
