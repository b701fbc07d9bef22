"""A disk drawn as one bar with its partitions, for 80 columns and without colour.

    │1 EFI│2 ext4 "debian" 465.3 GB                │3 swap│free 20.0 GB ░░░░│

Lines stand between partitions, double ones around an extended partition. Widths are proportional, but nothing is too
narrow to be read; where there are too many partitions for that, the smallest neighbours are drawn as one: `4-9`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rich.cells import cell_len, set_cell_size
from textual.content import Content as Words
from textual.geometry import Size
from textual.widget import Widget

from imaging.disk import Content, Disk, Partition, PartitionRole, TableKind
from imaging.manifest import ImagedDisk
from rescue.formats import clean, format_size, joined, quoted
from rescue.language import N_, _, ngettext

LEAST_WIDTH = 12
FREE, MARKED, PLAIN = "░", "▒", " "
EDGE, EXTENDED_EDGE = "│", "║"

SHORT_KINDS = {
    "vfat": "FAT",
    "ntfs": "NTFS",
    "LVM2_member": "LVM",
    "crypto_LUKS": "LUKS",
    "linux_raid_member": "RAID",
    "zfs_member": "ZFS",
    "apfs": "APFS",
    "hfsplus": "HFS+",
}
SHORT_TYPES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI",
    "ef": "EFI",
    "21686148-6449-6e6f-744e-656564454649": "BIOS",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "MSR",
}
"""Words for partition types that a boot needs, whatever stands there."""

NOTHING = N_("nothing known on it")
UNREADABLE = N_("cannot be read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of the bar: its bytes, what may be written into it from the longest to the shortest, and how it is filled.

    `within` is the number of the extended partition that it lies in, or 0; `numbers` the first and last partition.
    """

    size: int
    labels: tuple[str, ...]
    fill: str = PLAIN
    within: int = 0
    numbers: tuple[int, int] | None = None

    @property
    def least(self) -> int:
        """Cells below which nothing can be read in it."""
        return max(1, cell_len(self.labels[-1]))

    def text(self, width: int) -> str:
        """The longest label that fits, and the fill."""
        label = next((label for label in self.labels if cell_len(label) <= width), "")
        if not label:
            return self.fill * width
        if self.fill == PLAIN or cell_len(label) == width:
            return set_cell_size(label, width)
        return f"{label} {self.fill * (width - cell_len(label) - 1)}"


def bar(
    disk: Disk | ImagedDisk,
    width: int = 78,
    *,
    size: int = 0,
    names: Mapping[int, str] | None = None,
    marked: Collection[int] = (),
) -> list[str]:
    """The lines that draw a disk, `width` cells each: the bar, and what could not be drawn.

    `size` draws it as it would lie on a disk of so many bytes; `names` has better words for partitions by number, such
    as their operating systems (0 is a disk without a table), `marked` are the numbers of those that are to stand out.
    """
    width = max(LEAST_WIDTH, width)
    spans = _spans(disk, size or disk.size, dict(names or {}), marked)
    lines = [_draw(_fewer(spans, width - 2), width)]
    if overlapping := _overlapping(_ordered(disk)):
        listed = ", ".join(str(number) for number in overlapping)
        lines.append(set_cell_size(_("Partitions {numbers} overlap.").format(numbers=listed), width).rstrip())
    return lines


def _partitions(disk: Disk | ImagedDisk) -> Sequence[Partition]:
    return disk.table.partitions


def _ordered(disk: Disk | ImagedDisk) -> list[Partition]:
    """All but extended partitions, as they lie."""
    parts = [part for part in _partitions(disk) if part.role is not PartitionRole.EXTENDED]
    return sorted(parts, key=lambda part: (part.start, part.number))


def _overlapping(parts: Sequence[Partition]) -> list[int]:
    found: set[int] = set()
    longest: Partition | None = None
    for part in parts:
        if longest is not None and part.size and part.start < longest.end:
            found |= {longest.number, part.number}
        if longest is None or part.end > longest.end:
            longest = part
    return sorted(found)


def _spans(disk: Disk | ImagedDisk, size: int, names: dict[int, str], marked: Collection[int]) -> list[Span]:
    """Partitions and free space, as they lie."""
    if disk.table.kind is TableKind.NONE or (isinstance(disk, Disk) and disk.problem):
        return [_bare(disk, size, names, marked)]
    extended = [part for part in _partitions(disk) if part.role is PartitionRole.EXTENDED]
    left_out = {part.number for part in disk.left_out} if isinstance(disk, ImagedDisk) else set()
    spans: list[Span] = []
    at = 0
    for part in _ordered(disk):
        within = _around(part, extended)
        start, end = min(max(part.start, at), size), min(part.end, size)
        spans += _free(at, start, extended, size)
        name = _("left out") if part.number in left_out else names.get(part.number, "")
        spans.append(
            Span(
                size=max(0, end - start),
                labels=_labels(part, name),
                fill=MARKED if part.number in marked else PLAIN,
                within=within,
                numbers=(part.number, part.number),
            )
        )
        at = max(at, end)
    return [*spans, *_free(at, size, extended, size)]


def _around(part: Partition, extended: Sequence[Partition]) -> int:
    """The number of the extended partition that a logical one lies in, or 0."""
    if part.role is not PartitionRole.LOGICAL:
        return 0
    return next((outer.number for outer in extended if outer.start <= part.start < outer.end), 0)


def _bare(disk: Disk | ImagedDisk, size: int, names: dict[int, str], marked: Collection[int]) -> Span:
    """A disk without a partition table."""
    if isinstance(disk, Disk):
        content, problem = disk.content, disk.problem
    else:
        content, problem = next((volume.content for volume in disk.volumes), Content()), ""
    if problem:
        return Span(size=size, labels=(_(UNREADABLE), "?"))
    what = clean(names.get(0, "")) or _kind(content.kind)
    if not what:
        return Span(size=size, labels=(_(NOTHING), ""), fill=MARKED if 0 in marked else FREE)
    named = joined(what, quoted(content.label), by=" ")
    labels = (joined(named, format_size(size), by=" "), named, what, "")
    return Span(size=size, labels=tuple(map(_unframed, labels)), fill=MARKED if 0 in marked else PLAIN)


def _free(start: int, end: int, extended: Sequence[Partition], size: int) -> list[Span]:
    """Free space between two offsets, apart in and outside of an extended partition; gaps of alignment are none."""
    edges = sorted({start, end, *(edge for part in extended for edge in (part.start, part.end) if start < edge < end)})
    spans = []
    for low, high in pairwise(edges):
        if (high - low) * 100 < size:
            continue
        within = next((part.number for part in extended if part.start <= low < part.end), 0)
        word = _("free")
        labels = (f"{word} {format_size(high - low)}", word, "")
        spans.append(Span(size=high - low, labels=labels, fill=FREE, within=within))
    return spans


def _kind(kind: str) -> str:
    return SHORT_KINDS.get(kind, clean(kind))


def _labels(part: Partition, name: str) -> tuple[str, ...]:
    """What can be written into a partition, from the longest to the shortest, which is its number."""
    number = str(part.number)
    what = clean(name).strip() or SHORT_TYPES.get(part.type.lower(), "") or _kind(part.content.kind) or "?"
    label = "" if name or what == "EFI" else quoted(part.content.label)
    size = format_size(part.size)
    rows = (
        (number, what, label, size),
        (number, what, label),
        (number, what, size),
        (number, what),
        (number, what.split()[0]),
        (number,),
    )
    fitting = sorted({_unframed(joined(*row, by=" ")) for row in rows}, key=cell_len, reverse=True)
    return tuple(fitting)


def _unframed(text: str) -> str:
    """A label that cannot be taken for the end of its partition."""
    return "".join("?" if char in (EDGE, EXTENDED_EDGE, FREE, MARKED) else char for char in text)


def _fewer(spans: Sequence[Span], room: int) -> list[Span]:
    """Neighbours drawn as one, the smallest first, until every number can be read."""
    found = list(spans)
    while len(found) > 1 and sum(span.least + 1 for span in found) - 1 > room:
        pairs = range(len(found) - 1)
        at = min(pairs, key=lambda i: (_apart(found[i], found[i + 1]), found[i].size + found[i + 1].size))
        found[at : at + 2] = [_merged(found[at], found[at + 1])]
    return found


def _apart(one: Span, other: Span) -> bool:
    """Whether two spans are better not drawn as one."""
    return one.within != other.within or (one.numbers is None) != (other.numbers is None)


def _merged(one: Span, other: Span) -> Span:
    ends = [number for span in (one, other) if span.numbers for number in span.numbers]
    size = one.size + other.size
    fill = one.fill if one.fill == other.fill else PLAIN
    if not ends:
        return replace(one, size=size)
    numbers = (min(ends), max(ends))
    short = str(numbers[0]) if numbers[0] == numbers[1] else f"{numbers[0]}-{numbers[1]}"
    count = numbers[1] - numbers[0] + 1
    long = f"{short}: " + ngettext("{count} partition", "{count} partitions", count).format(count=count)
    return Span(size=size, labels=(long, short), fill=fill, within=one.within, numbers=numbers)


def _draw(spans: Sequence[Span], width: int) -> str:
    cells = _widths(spans, width - len(spans) - 1)
    line = EDGE
    for place, (span, count) in enumerate(zip(spans, cells, strict=True)):
        if place:
            line += EXTENDED_EDGE if spans[place - 1].within != span.within else EDGE
        elif span.within:
            line = EXTENDED_EDGE
        line += span.text(count)
    return line + (EXTENDED_EDGE if spans and spans[-1].within else EDGE)


def _widths(spans: Sequence[Span], room: int) -> list[int]:
    """Cells for each span, `room` in all: in proportion, but none below its least."""
    least = [span.least for span in spans]
    comfortable = [max(small, _comfortable(span)) for span, small in zip(spans, least, strict=True)]
    # What makes small partitions readable is taken from the large ones only while these stay large.
    for i in sorted(range(len(spans)), key=lambda i: comfortable[i] - least[i]):
        if sum(least) - least[i] + comfortable[i] <= room * 2 // 3:
            least[i] = comfortable[i]
    return _shared(least, [span.size for span in spans], room)


def _comfortable(span: Span) -> int:
    """Cells for the number and what it is, where there is such a label."""
    return cell_len(span.labels[-2]) if len(span.labels) > 1 else span.least


def _shared(least: Sequence[int], sizes: Sequence[int], room: int) -> list[int]:
    """`room` divided in proportion to `sizes`, each at least its `least`, which fit together."""
    cells = list(least)
    growing = set(range(len(cells)))
    while growing:
        total = sum(sizes[i] for i in growing)
        free = room - sum(cells[i] for i in range(len(cells)) if i not in growing)
        fair = {i: free * sizes[i] // total if total else free // len(growing) for i in growing}
        small = {i for i in growing if fair[i] < least[i]}
        if not small:
            for i in growing:
                cells[i] = fair[i]
            break
        growing -= small
    largest = max(range(len(cells)), key=lambda i: (sizes[i], -i))
    cells[largest] += room - sum(cells)
    return cells


class DiskBar(Widget):
    """The bar as wide as there is room."""

    DEFAULT_CSS = "DiskBar { height: auto; }"

    def __init__(
        self, disk: Disk | ImagedDisk, *, names: Mapping[int, str] | None = None, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.disk = disk
        self.names = names

    def lines(self, width: int) -> list[str]:
        """What is drawn."""
        return bar(self.disk, width, names=self.names)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """One line, or two where there is something to say."""
        return len(self.lines(width))

    def render(self) -> Words:
        """The bar."""
        return Words("\n".join(self.lines(self.size.width)))
