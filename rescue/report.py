"""Disks, images, plans and results as plain lines of text, for the command line and the screens alike.

Nothing here knows a terminal: no colour, no width beyond what reads well in 80 columns, ASCII only but for names.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, assert_never

from imaging import levels
from imaging.disk import Disk, DiskId, PartitionRole, Role, TableKind
from imaging.manifest import Image, ImagedDisk, InnerVolume, Machine, Volume
from imaging.plan import CapturePlan, Plan, RestorePlan, RestoreTarget, VerifyPlan
from imaging.planner import OUR_MOUNTS
from rescue.contents import content_words, partition_rows
from rescue.formats import (
    clean,
    columns,
    format_duration,
    format_estimate,
    format_rate,
    format_size,
    format_when,
    joined,
    plural,
    quoted,
)
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

WHERE_FROM = {"header": "only its header is stored", "whole": "stored whole"}
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
    serial = f"serial {clean(machine.serial)}" if machine.serial else ""
    return joined(name or clean(machine.hostname), serial, by=", ") or "unknown computer"


def identity(identity: DiskId, *, regular_file: bool = False) -> str:
    """Model, serial number and size of a disk."""
    if regular_file:
        return joined("file", format_size(identity.size))
    model = clean(identity.model).strip() or "unknown model"
    serial = f"serial {clean(identity.serial)}" if identity.serial else "no serial number"
    return joined(model, serial, format_size(identity.size))


def disk_title(disk: Disk) -> str:
    """One line: name, model, serial number, size, how it is attached."""
    transport = "" if disk.regular_file else clean(disk.transport)
    return joined(clean(disk.name), identity(disk.id, regular_file=disk.regular_file), transport)


def content_lines(disk: Disk) -> list[str]:
    """What is on a disk: its partitions, or what stands on it bare."""
    if disk.problem:
        return [f"could not be looked at in full: {clean(disk.problem)}"]
    if rows := partition_rows(disk.table.partitions):
        return columns(rows, right=frozenset({0, 1}))
    if disk.table.kind is not TableKind.NONE:
        return [f"an empty partition table ({'MBR' if disk.table.kind is TableKind.MBR else 'GPT'})"]
    if words := content_words(disk.content):
        return [f"{words}, on the whole disk without a partition table"]
    return ["nothing known: no partition table, no file system"]


def content_summary(disk: Disk) -> str:
    """What is on a disk in a few words, for a table's cell."""
    if disk.problem:
        return "cannot be read in full"
    partitions = [p for p in disk.table.partitions if p.role is not PartitionRole.EXTENDED]
    words = [content_words(p.content) for p in partitions]
    if partitions:
        return joined(", ".join(word for word in words if word) or plural(len(partitions), "partition"))
    return content_words(disk.content) or "empty"


def use_lines(disk: Disk) -> list[str]:
    """What the running system does with the disk, and what is left of an earlier restore."""
    lines = [f"{WORDS_FOR_ROLES[role]}" for role in disk.roles]
    mounts = [mount for mount in disk.mounts if not mount.where.startswith(OUR_MOUNTS)]
    lines += [f"in use: {clean(mount.source)} is mounted at {clean(mount.where)}" for mount in mounts]
    lines += [f"in use by {clean(holder)}" for holder in disk.holders]
    if disk.read_only:
        lines.append("write-protected")
    if disk.unfinished:
        lines.append(f"holds an unfinished restore of image {clean(disk.unfinished)}")
    return lines


WORDS_FOR_ROLES = {
    Role.BOOT_MEDIUM: "this system was started from it",
    Role.SYSTEM: "the running system stands on it",
    Role.LIBRARY: "holds an image library",
}


def disk_lines(disk: Disk, contents: Callable[[Disk], list[str]] = content_lines) -> list[str]:
    """A disk in full: title, use, contents."""
    return [disk_title(disk), *(INDENT + line for line in [*use_lines(disk), *contents(disk)])]


def disks_table(disks: Sequence[Disk]) -> list[str]:
    """One line a disk, with a heading."""
    rows = [["DISK", "SIZE", "MODEL", "SERIAL", "CONTENTS"]]
    for disk in disks:
        model = "(file)" if disk.regular_file else clean(disk.id.model)
        use = joined(*(str(role) for role in disk.roles), "in use" if disk.mounts or disk.holders else "", by=", ")
        contents = joined(content_summary(disk), f"[{use}]" if use else "", by=" ")
        rows.append([clean(disk.name), format_size(disk.size), model, clean(disk.id.serial), contents])
    return columns(rows, right=frozenset({1})) if disks else ["No disks were found."]


def image_title(image: Image) -> str:
    """The label, or the id where there is none."""
    return clean(image.label) or clean(image.id)


def label_words(image: Image) -> str:
    """The label, with a word where parts of the disks could not be read."""
    return joined("DAMAGED" if image.unreadable else "", clean(image.label), by=" ")


def images_table(images: Sequence[Image], damaged: Sequence[Damaged] = ()) -> list[str]:
    """One line an image, with a heading; the damaged ones apart, with what is wrong with them."""
    rows = [["IMAGE", "DATE (UTC)", "LABEL", "COMPUTER", "DISKS", "USED"]]
    for image in images:
        disks = ", ".join(
            joined(f"{clean(disk.name)} {format_size(disk.size)}", imaged_words(disk), by=" ") for disk in image.disks
        )
        computer = joined(clean(image.machine.vendor), clean(image.machine.model), by=" ")
        cells = [clean(image.id), format_when(image.created), label_words(image), computer, disks]
        rows.append([*cells, format_size(image.used)])
    lines = columns(rows, right=frozenset({5})) if images else ["No images."]
    if damaged:
        lines += ["", "Damaged, cannot be restored:"]
        lines += [f"{INDENT}{clean(bad.id)}: {clean(bad.problem)}" for bad in damaged]
    return lines


def volume_row(volume: Volume) -> list[str]:
    """One volume of an imaged disk."""
    what = content_words(volume.content) or "unknown content"
    number = str(volume.number) if volume.number else "-"
    return [number, format_size(volume.size), what, f"{format_size(volume.used)} stored"]


def inner_lines(volume: Volume) -> list[str]:
    """The logical volumes inside of one, and how the used bytes of each were found."""
    lines = []
    cells = [
        [
            clean(inner.name),
            format_size(inner.size),
            content_words(inner.content) or "unknown content",
            f"{format_size(inner.used)} stored",
        ]
        for inner in volume.inner
    ]
    rows = columns(cells, right=frozenset({1, 3}))
    for inner, row in zip(volume.inner, rows, strict=True):
        lines += [INDENT * 2 + row, *(INDENT * 2 + line for line in volume_note(inner))]
    return lines


def volume_note(volume: Volume | InnerVolume) -> list[str]:
    """How its used bytes were found, where that is worth a line."""
    words = joined(WHERE_FROM.get(volume.map_origin, ""), clean(volume.note), by=": ")
    return [f"{INDENT}{INDENT}({words})"] if words else []


def imaged_disk_lines(disk: ImagedDisk) -> list[str]:
    """One disk of an image with its volumes."""
    lines = [joined(clean(disk.name), identity(disk.id)) + f", {format_size(disk.used)} used", *damage_lines(disk)]
    cells = [*(volume_row(volume) for volume in disk.volumes), *left_out_rows(disk)]
    rows = columns(cells, right=frozenset({0, 1, 3}))
    for volume, row in zip(disk.volumes, rows, strict=False):
        lines += [INDENT + row, *volume_note(volume), *inner_lines(volume)]
    return lines + [INDENT + row for row in rows[len(disk.volumes) :]]


def image_lines(image: Image) -> list[str]:
    """An image in full."""
    facts = [
        ["Image", clean(image.id)],
        ["Label", clean(image.label)],
        ["Captured", f"{format_when(image.created)} UTC"],
        ["Computer", machine_line(image.machine)],
        ["Firmware", clean(image.machine.firmware).upper()],
        ["Size", f"{format_size(image.size)}, of which {format_size(image.used)} hold data"],
        ["In library", f"{format_size(image.stored)} were new to it when the image was captured"],
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
        case _:
            assert_never(plan)
    return lines if seconds is None else [*lines, f"Time: {format_estimate(seconds)}"]


def capture_lines(plan: CapturePlan, contents: Callable[[Disk], list[str]] = content_lines) -> list[str]:
    """A capture: what is read, where it goes; `contents` says what is on a disk."""
    lines = ["READ, nothing is changed on it:"]
    for disk in plan.disks:
        lines += [INDENT + line for line in disk_lines(disk, contents)]
        lines += [INDENT + line for line in captured_lines(disk, plan.only.get(disk.path, ()))]
    lines.append(f"WRITTEN: a new image {quoted(plan.label)}".rstrip())
    lines.append(f"{INDENT}in the library {clean(plan.library)}")
    lines.append(f"{INDENT}compression: {levels.name(plan.level)}")
    return [*lines, "CHECKED: the file systems in the new image"] if plan.check else lines


def target_lines(pair: RestoreTarget) -> list[str]:
    """One target of a restore: what is lost, what comes."""
    source = pair.source
    coming = f"disk {clean(source.name)} of the image: {format_size(source.size)}, {format_size(source.used)} of data"
    after = [f"WRITTEN: {coming}", *damage_lines(source), *left_out_lines(pair)]
    if pair.create:
        return [f"CREATED: {clean(pair.target.path)}, a file of {format_size(pair.target.size)}", *after]
    if pair.partitions:
        return [*into_lines(pair, disk_title(pair.target)), others_line(pair)]
    doomed = replace(pair.target, table=replace(pair.target.table, partitions=erased_partitions(pair)))
    lines = [f"ERASED: {disk_title(pair.target)}"]
    lines += [INDENT + line for line in [*use_lines(pair.target), *content_lines(doomed)]]
    return [*lines, *after]


def restore_lines(plan: RestorePlan) -> list[str]:
    """A restore: which image, and for each target what is lost and what comes."""
    lines = [f"Restore {joined(quoted(plan.label), clean(plan.image), by=', ')}"]
    for pair in plan.targets:
        lines += target_lines(pair)
    checked = "Every block that is written is read back and compared."
    return [*lines, checked if plan.read_back else "What is written is not read back."]


def verify_lines(plan: VerifyPlan) -> list[str]:
    """A verification: what is read."""
    name = joined(quoted(plan.label), clean(plan.image), by=", ")
    if plan.against is None:
        checked = ["CHECKED: the file systems in it"] if plan.check else []
        return [f"READ: every chunk of image {name}", *checked, "Nothing is written."]
    only = f"only {numbers(part.partition for part in plan.partitions)} of " if plan.partitions else ""
    return [f"COMPARED with image {name}:", INDENT + only + disk_title(plan.against), "Nothing is written."]
