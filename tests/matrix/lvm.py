"""LVM's own tools on loop devices of a test's, and on nothing else: without device-mapper they only write metadata."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.disks import MIB
from tests.matrix.tools import Place, attached, said

EXTENT = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Lvm:
    """LVM's commands, which see these devices alone."""

    devices: tuple[str, ...]
    folder: Path

    def run(self, command: str, *words: object) -> str:
        """Run a command; all that it said, or an AssertionError where it failed."""
        seen = ",".join([*(f'"a|^{device}$|"' for device in self.devices), '"r|.*|"'])
        config = (
            f'devices {{ filter=[{seen}] global_filter=[{seen}] use_devicesfile=0 hints="none" '
            "obtain_device_list_from_udev=0 } "
            f'global {{ locking_dir="{self.folder}" event_activation=0 use_lvmpolld=0 use_lvmlockd=0 }} '
            "activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }"
        )
        return said("env", "LVM_SUPPRESS_FD_WARNINGS=1", command, "--driverloaded=n", f"--config={config}", *words)

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
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rescue-matrix-")))
        devices = [stack.enter_context(attached(place, read_only=read_only)) for place in places]
        yield Lvm(devices=tuple(devices), folder=folder)


def pieces(lvm: Lvm, place: Place, volume: str) -> list[Place]:
    """Where a logical volume's bytes lie on a disk, in its own order, as LVM's tools say."""
    start = int(lvm.report("pvs", "pe_start", "--units=b", "--nosuffix")[0])
    said_lines = lvm.run(
        "lvs", "--noheadings", "--segments", "--options=seg_start_pe,seg_pe_ranges", volume
    ).splitlines()
    runs = sorted((int(words[0]), words[1]) for words in map(str.split, said_lines) if words[0] != "WARNING:")
    found = []
    for _, run in runs:
        first, last = map(int, run.rsplit(":", 1)[1].split("-"))
        at = place.start + start + first * EXTENT
        found.append(Place(path=place.path, start=at, size=(last - first + 1) * EXTENT))
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
