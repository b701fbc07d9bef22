"""The proof that a disk's size costs neither time nor memory: a sparse disk file of 8 TiB with a few GiB used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import ours, source
from tests.bench.rounds import memory_row
from tests.disks import blank

SIZE = 8 << 40
_MOST_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a job; `moving` where the disk's data go through it, as against planning and indexing."""

    name: str
    seconds: float
    moving: bool


def phases(events: Sequence[Mapping[str, Any]], began: float, ended: float) -> list[Phase]:
    """Cut a job into phases, by the times of its events; the process began and ended then (seconds since the epoch).

    A step that tells progress moves data from its first word of it to its last; what it does before and after that
    is its own preparation and completion.
    """
    found: list[Phase] = []
    at, name = began, "starting, looking at the disks"
    progress: list[float] = []

    def close(until: float) -> None:
        if not progress:
            found.append(Phase(name=name, seconds=until - at, moving=False))
            return
        first, last = progress[0], progress[-1]
        found.append(Phase(name=f"{name}: before the first chunk", seconds=first - at, moving=False))
        found.append(Phase(name=name, seconds=last - first, moving=True))
        found.append(Phase(name=f"{name}: after the last chunk", seconds=until - last, moving=False))
        progress.clear()

    for event in events:
        when = float(event["time"])
        match event["event"]:
            case "step" | "started":
                close(when)
                at = when
                name = "beginning the job" if event["event"] == "started" else str(event["name"])
            case "progress":
                progress.append(when)
            case "finished":
                close(when)
                at, name = when, "ending"
    close(ended)
    return found


def render(jobs: Mapping[str, Sequence[Phase]]) -> str:
    """The phases of each job in Markdown, with the sums of those that move no data."""
    lines = ["| job | part | seconds |", "|---|---|---|"]
    for job, parts in jobs.items():
        lines += [
            f"| {job} | {part.name}{' (moves data)' if part.moving else ''} | {part.seconds:.2f} |" for part in parts
        ]
        idle = sum(part.seconds for part in parts if not part.moving)
        met = "yes" if idle < _MOST_SECONDS else "**no**"
        lines.append(
            f"| {job} | **planning, indexing and all else that moves no data** (under 10 s: {met}) | **{idle:.2f}** |"
        )
    return "\n".join(lines)


def measure(work: Path, tree: Path, used: int, usage: str) -> str:
    """Capture such a disk, restore it to a fresh file, verify it; returns the report in Markdown.

    `usage` is mke2fs's: with its own choice, "big", the unwritten inode tables of 8 TiB are 64 GiB that count as used.
    """
    made = source.build(work / "large.img", tree, SIZE, used, lazy=True, usage=usage)
    library, target = work / "library", work / "target.img"
    captured = ours.command("capture", made.path, "--library", library)
    image = captured.result["image"]
    blank(target, SIZE)
    restored = ours.command("restore", image, target, "--library", library, "--erase", target.name)
    peak = memory_row()
    ours.command("verify", image, "--against", target, "--library", library)
    jobs = {"capture": captured, "restore": restored}
    parts = {name: phases(done.events, done.began, done.ended) for name, done in jobs.items()}
    stored = int(captured.result["used"])
    head = (
        f"A disk of {SIZE >> 40} TiB with one ext4 (mke2fs -T {usage}), {used / 1e9:.2f} GB of files; "
        f"{stored / 1e9:.2f} GB count as used, inode tables among them."
    )
    met = "yes" if peak.met else "**no**"
    return f"{head}\n\n{render(parts)}\n\nThe worker took {peak.mine} at most ({peak.reach}: {met})."
