"""Images as `rescue` makes them, read back by other means."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging import extents
from imaging.extents import Extents
from tests.command import run_rescue
from tests.disks import run

_BLOCK = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One image of one disk in a library."""

    library: Path
    image: str
    disk: str
    events: list[dict[str, Any]]
    manifest: dict[str, Any]
    """What `rescue show` says of the disk."""
    used: Extents
    """The used map."""

    @property
    def result(self) -> dict[str, Any]:
        """What the capture says that it did."""
        found: dict[str, Any] = self.events[-1]["result"]
        return found

    @property
    def warnings(self) -> list[str]:
        """What the capture warned of."""
        return [e["message"] for e in self.events if e["event"] == "log" and e["level"] == "warning"]

    def chunks(self) -> set[str]:
        """The names of all chunks in the library."""
        return {path.name for path in (self.library / "chunks").rglob("*.cacnk")}


def capture(disk: str | Path, library: Path) -> Captured:
    """Capture one disk."""
    return _captured(run_rescue("capture", disk, "--library", library, "--json").events, Path(disk).name, library)


def imported(file: Path, name: str, library: Path) -> Captured:
    """Import a disk file, in which lies a disk of that name."""
    return _captured(run_rescue("import", file, "--library", library, "--json").events, name, library)


def _captured(events: list[dict[str, Any]], name: str, library: Path) -> Captured:
    image = events[-1]["result"]["image"]
    manifest = run_rescue("show", image, "--library", library, "--json").json["image"]["disks"][0]
    used = library / "images" / image / f"{name}.used"
    return Captured(
        library=library,
        image=image,
        disk=name,
        events=events,
        manifest=manifest,
        used=extents.decode(used.read_bytes(), manifest["id"]["size"], str(used)),
    )


def words(captured: Captured, target: str | Path) -> tuple[object, ...]:
    """What a restore onto a target that exists is told; options can follow."""
    return captured.image, target, "--library", captured.library, "--erase", Path(target).name, "--json"


def restore(captured: Captured, target: str | Path) -> dict[str, Any]:
    """Restore onto a target that exists; the result of the job."""
    found: dict[str, Any] = run_rescue("restore", *words(captured, target)).events[-1]["result"]
    return found


def extract(captured: Captured, target: Path) -> Path:
    """Rebuild the disk with casync alone."""
    index = captured.library / "images" / captured.image / f"{captured.disk}.caibx"
    run("casync", "extract", f"--store={captured.library / 'chunks'}", index, target)
    return target


def differing(one: Path, other: Path, ranges: Iterable[tuple[int, int]]) -> list[int]:
    """Where two disks differ inside `ranges`: the first byte of each block that does."""
    found = []
    with one.open("rb") as first, other.open("rb") as second:
        for start, end in ranges:
            for at in range(start, end, _BLOCK):
                first.seek(at)
                second.seek(at)
                size = min(_BLOCK, end - at)
                data = first.read(size)
                if len(data) != size or data != second.read(size):
                    found.append(at)
    return found


def holds_only(path: Path, value: int, ranges: Iterable[tuple[int, int]]) -> bool:
    """Whether every byte of `ranges` is `value`."""
    block = bytes([value]) * _BLOCK
    with path.open("rb") as file:
        for start, end in ranges:
            for at in range(start, end, _BLOCK):
                file.seek(at)
                size = min(_BLOCK, end - at)
                if file.read(size) != block[:size]:
                    return False
    return True


def unused(captured: Captured, size: int) -> Extents:
    """What the used map leaves out of a disk of `size` bytes."""
    return Extents([(0, size)]).minus(captured.used)
