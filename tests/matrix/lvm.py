"""LVM's own tools on loop devices of a test's, and on nothing else: without device-mapper they only write metadata."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from livebuild.lvm import lvm_command
from tests.disks import MIB
from tests.matrix.tools import OURS, Place, attached, said

EXTENT = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Lvm:
    """LVM's commands, which see these devices alone."""

    devices: tuple[str, ...]
    folder: Path

    def run(self, command: str, *words: object) -> str:
        """Run a command; all that it said, or an AssertionError where it failed."""
        return said(*lvm_command(self.devices, self.folder, command, *words))

    def report(self, command: str, fields: str, *words: object) -> list[str]:
        """The lines of a report, without the warning that nothing is activated."""
        lines = self.run(command, "--noheadings", "--separator=|", f"--options={fields}", *words).splitlines()
        return sorted(line.strip() for line in lines if "WARNING" not in line)

    def create(self, group: str, name: str, extents: int, *words: object) -> None:
        """Make a logical volume; nothing is wiped, since nothing is activated."""
        argv = ("--activate=n", "--zero=n", "--wipesignatures=n", f"--extents={extents}", f"--name={name}")
        self.run("lvcreate", *argv, group, *words)


@contextmanager
def lvm_on(*places: Place, read_only: bool = False) -> Iterator[Lvm]:
    """LVM's commands on loop devices over physical volumes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=OURS)))
        devices = [stack.enter_context(attached(place, read_only=read_only)) for place in places]
        yield Lvm(devices=tuple(devices), folder=folder)


def pieces(lvm: Lvm, place: Place, volume: str) -> list[Place]:
    """Where a logical volume's bytes lie on a disk, in its own order, as LVM's tools say."""
    start, extent = map(int, lvm.report("pvs", "pe_start,vg_extent_size", "--units=b", "--nosuffix")[0].split("|"))
    said_lines = lvm.run(
        "lvs", "--noheadings", "--segments", "--options=seg_start_pe,seg_pe_ranges", volume
    ).splitlines()
    runs = sorted((int(words[0]), words[1]) for words in map(str.split, said_lines) if words[0] != "WARNING:")
    found = []
    for _, run in runs:
        first, last = map(int, run.rsplit(":", 1)[1].split("-"))
        at = place.start + start + first * extent
        found.append(Place(path=place.path, start=at, size=(last - first + 1) * extent))
    return found


def gathered(parts: list[Place], disk: Path, target: Path) -> Place:
    """A logical volume's bytes as a file of their own, read from a disk."""
    with disk.open("rb") as source, target.open("wb") as file:
        for part in parts:
            source.seek(part.start)
            file.write(source.read(part.size))
    return Place(path=target, start=0, size=target.stat().st_size)


def scattered(volume: Place, parts: list[Place]) -> None:
    """Write a logical volume's bytes to where they lie on their disk."""
    with volume.path.open("rb") as file:
        for part in parts:
            with part.path.open("r+b") as disk:
                disk.seek(part.start)
                disk.write(file.read(part.size))
