"""The speed table: which rows it has, what each must reach, and how it is printed. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Basis(StrEnum):
    """Which of our two figures a ratio is judged by."""

    WHOLE = "whole"
    """The whole process: what a person waits for. Peers are compared so."""
    JOB = "job"
    """The job alone: a limit is a loop without a process of its own, and our own jobs have the same start."""
    NONE = "none"
    """Nothing is judged: the row informs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row; `mine` and `theirs` name measurements. The ratio is theirs / mine, at least `least`.

    With `most` it is mine / theirs instead, at most that.
    """

    number: int
    name: str
    job: str
    mine: str
    against: str
    theirs: str
    basis: Basis = Basis.WHOLE
    least: float = 0.0
    most: float = 0.0


ROWS = (
    Row(
        number=1,
        name="restore",
        job="restore to an empty disk, every chunk proved",
        mine="restore",
        against="`zstd -dc \\| partclone -r` (CRC32)",
        theirs="peer restore",
        least=4.0,
    ),
    Row(
        number=2,
        name="restore-unchecked",
        job="the same",
        mine="restore",
        against="the same without partclone's checks (`-a0`)",
        theirs="peer restore unchecked",
        least=1.3,
    ),
    Row(
        number=3,
        name="restore-limit",
        job="the same",
        mine="restore",
        against="limit: the same chunks decompressed and written on all cores",
        theirs="limit restore",
        basis=Basis.JOB,
        least=0.8,
    ),
    Row(
        number=4,
        name="reset",
        job="restore where 2 % of the chunks differ",
        mine="reset",
        against="our restore to an empty disk",
        theirs="restore",
        basis=Basis.JOB,
        least=3.0,
    ),
    Row(
        number=5,
        name="reset-limit",
        job="the same",
        mine="reset",
        against="limit: the used bytes read and digested (BLAKE3) on all cores",
        theirs="limit reset",
        basis=Basis.JOB,
        least=0.8,
    ),
    Row(
        number=6,
        name="capture",
        job="first capture, level 3",
        mine="capture",
        against="`partclone -c \\| zstd -T0 -3` (CRC32)",
        theirs="peer capture",
        least=1.5,
    ),
    Row(
        number=7,
        name="capture-limit",
        job="the same",
        mine="capture",
        against="limit: the same chunks compressed and named (SHA-512/256) on all cores",
        theirs="limit capture",
        basis=Basis.JOB,
        least=0.85,
    ),
    Row(
        number=8,
        name="recapture",
        job="capture again, 2 % of the chunks changed",
        mine="recapture",
        against="our first capture",
        theirs="capture",
        basis=Basis.JOB,
        least=5.0,
    ),
    Row(
        number=9,
        name="verify",
        job="verify an image",
        mine="verify",
        against="`zstd -dc \\| partclone.chkimg`",
        theirs="peer verify",
        least=3.0,
    ),
    Row(
        number=9,
        name="verify-casync",
        job="the same",
        mine="verify",
        against="`casync extract` of the index to a file",
        theirs="casync extract",
        basis=Basis.NONE,
    ),
    Row(
        number=9,
        name="verify-desync",
        job="the same",
        mine="verify",
        against="`desync verify-index`",
        theirs="desync verify",
        basis=Basis.NONE,
    ),
    Row(
        number=10,
        name="read-back",
        job="restore to an empty disk, then read it back and compare",
        mine="restore read back",
        against="our restore to an empty disk",
        theirs="restore",
        basis=Basis.JOB,
        most=1.33,
    ),
    Row(
        number=11,
        name="sealed-capture",
        job="first capture into an encrypted library",
        mine="sealed capture",
        against="our first capture",
        theirs="capture",
        basis=Basis.JOB,
        least=0.85,
    ),
    Row(
        number=12,
        name="sealed-restore",
        job="restore from an encrypted library to an empty disk",
        mine="sealed restore",
        against="our restore to an empty disk",
        theirs="restore",
        basis=Basis.JOB,
        least=0.85,
    ),
    Row(
        number=13,
        name="mount-limit",
        job="copy the disk of a mounted image, which is sparse (`cp`)",
        mine="mount copy",
        against="limit: the same chunks read and decompressed in a loop",
        theirs="limit mount",
        least=0.8,
    ),
    Row(
        number=13,
        name="mount-read-limit",
        job="read it from end to end, what is empty, too (`dd`)",
        mine="mount",
        against="the same limit, which passes over what is empty",
        theirs="limit mount",
        basis=Basis.NONE,
    ),
    Row(
        number=13,
        name="mount-nbdkit",
        job="the same",
        mine="mount",
        against="`nbdcopy` from `nbdkit --filter=xz` (xz -1, blocks of 4 MiB)",
        theirs="nbdkit",
        basis=Basis.NONE,
    ),
    Row(
        number=13,
        name="mount-qemu-nbd",
        job="the same",
        mine="mount",
        against="`nbdcopy` from `qemu-nbd` (qcow2, zstd, clusters of 2 MiB)",
        theirs="qemu-nbd",
        basis=Basis.NONE,
    ),
)


@dataclass(slots=True)
class Timing:
    """Seconds of each round: the whole process, and for ours the job alone. A limit has but the one figure."""

    whole: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the whole process."""
        return statistics.median(self.whole)

    @property
    def job_median(self) -> float:
        """Of the job alone; of the whole where that is all there is."""
        return statistics.median(self.job or self.whole)

    def __str__(self) -> str:
        return f"{self.median:.2f} s" + (f" ({self.job_median:.2f} s)" if self.job else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A row of another kind, printed below the times: a size or an amount of memory."""

    job: str
    mine: str
    against: str = ""
    theirs: str = ""
    reached: str
    reach: str
    met: bool


def chosen(words: str) -> tuple[Row, ...]:
    """The rows that `--only` names, by number or name; all of them for "". Raises ValueError for what is no row."""
    found: list[Row] = []
    for word in filter(None, words.split(",")):
        rows = [row for row in ROWS if word in (str(row.number), row.name)]
        if not rows:
            raise ValueError(f"there is no row {word!r}; there are {', '.join(row.name for row in ROWS)}")
        found += [row for row in rows if row not in found]
    return tuple(found) or ROWS


def ratios(row: Row, timings: Mapping[str, Timing]) -> tuple[float, float]:
    """The ratio of the medians, by our whole process and by the job alone."""
    mine, theirs = timings[row.mine], timings[row.theirs]
    whole, job = theirs.median / mine.median, theirs.job_median / mine.job_median
    return (1 / whole, 1 / job) if row.most else (whole, job)


def is_met(row: Row, timings: Mapping[str, Timing]) -> bool:
    """Whether the row reaches what it must."""
    whole, job = ratios(row, timings)
    reached = job if row.basis is Basis.JOB else whole
    return reached <= row.most if row.most else reached >= row.least


def render(rows: Iterable[Row], timings: Mapping[str, Timing], extras: Sequence[Extra] = ()) -> str:
    """The table, in Markdown; a row that was not measured is left out. The figure that is judged is bold."""
    lines = [
        "| job | ours: whole process (job alone) | against | theirs | ratio: whole (job alone) | to reach | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.mine not in timings or row.theirs not in timings:
            continue
        whole, job = (f"{ratio:.2f}" for ratio in ratios(row, timings))
        match row.basis:
            case Basis.WHOLE:
                whole = f"**{whole}**"
            case Basis.JOB:
                job = f"**{job}**"
            case Basis.NONE:
                pass
        cells = [
            row.job,
            timings[row.mine],
            row.against,
            timings[row.theirs],
            f"{whole} ({job})",
            *_judged(row, timings),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for extra in extras:
        cells = [
            extra.job,
            extra.mine,
            extra.against,
            extra.theirs,
            f"**{extra.reached}**",
            extra.reach,
            _mark(extra.met),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _judged(row: Row, timings: Mapping[str, Timing]) -> tuple[str, str]:
    if row.basis is Basis.NONE:
        return "", ""
    reach = f"at most {row.most:g}" if row.most else f"at least {row.least:g}"
    return reach, _mark(is_met(row, timings))


def _mark(met: bool) -> str:
    return "yes" if met else "**no**"
