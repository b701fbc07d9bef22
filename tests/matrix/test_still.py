"""Disks of a running system: what is captured is what was there at one moment, whatever is written meanwhile.

There is no device-mapper here: LVM's own tools make the group, and what takes its snapshots is a program of the test's
that copies the volume, as a snapshot would keep it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from imaging import freezing, inventory, planner, remains, snapshots, still, stillness, uses
from imaging.capture import capture
from imaging.errors import ExitStatus, IoError, RefusedError, RescueError
from imaging.freezer import How
from imaging.freezer import Place as Held
from imaging.freezing import held_still
from imaging.imageplans import CapturePlan
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.presented import presented
from imaging.snapshots import Origin
from imaging.stillness import Use
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.matrix.lvm import EXTENT, lvm_on, pieces
from tests.matrix.tools import Place, attached, mounted, require, said
from tests.matrix.volumes import EXT4

pytestmark = pytest.mark.root

# The group's text goes to the disk where LVM would have put it; the volumes go where it says.
_TOOL = """\
#!{python}
import json, os, pathlib, sys
state = pathlib.Path({state!r})
known = json.loads(state.read_text())
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
if name == "vgs":
    print(json.dumps({{"report": [{{"vg": [{{"vg_name": "group", "vg_free": str(known["free"]),
        "vg_extent_size": "{extent}"}}]}}]}}))
elif name == "lvs":
    last = words[-1]
    names = lambda one: (f"{{one['vg_name']}}/{{one['lv_name']}}", "--select=lv_tags=" + one["lv_tags"])
    shown = [one for one in known["lv"] if last in names(one)]
    if "=" not in last and not shown:
        sys.exit(5)
    print(json.dumps({{"report": [{{"lv": shown}}]}}))
elif name == "lvcreate":
    given = dict(word.lstrip("-").partition("=")[::2] for word in words)
    origin = words[-1].partition("/")[2]
    path = state.parent / given["name"]
    with open({disk!r}, "rb") as disk, path.open("wb") as out:
        for start, size in known["pieces"][origin]:
            disk.seek(start)
            out.write(disk.read(size))
    known["lv"].append({{"vg_name": "group", "lv_name": given["name"], "lv_dm_path": str(path),
        "lv_attr": "sri-a-s---", "lv_tags": given["addtag"], "data_percent": "3.10"}})
    with open({disk!r}, "r+b") as disk:
        disk.seek({pv})
        disk.write((state.parent / "metadata").read_bytes())
    known["made"].append([given["name"], int(given["size"].rstrip("b")), origin])
    state.write_text(json.dumps(known))
elif name == "lvremove":
    known["lv"] = [one for one in known["lv"] if f"group/{{one['lv_name']}}" != words[-1]]
    state.write_text(json.dumps(known))
"""


@dataclass(slots=True)
class Machine:
    """A disk with /boot, swap, a volume group and a partition that nobody uses; and what a running system does."""

    file: Path
    folder: Path
    parts: dict[str, list[Place]]
    loop: str = ""
    nodes: dict[int, str] = field(default_factory=dict)
    boot: Path = Path()

    @property
    def state(self) -> Path:
        """What the program in LVM's place knows."""
        return self.folder / "lvm.json"

    def known(self) -> dict[str, list[Any]]:
        """The same as values."""
        found: dict[str, list[Any]] = json.loads(self.state.read_text())
        return found

    def change(self, how: Callable[[dict[str, object]], None]) -> None:
        """Have the program know something else."""
        known = json.loads(self.state.read_text())
        how(known)
        self.state.write_text(json.dumps(known))

    def read(self, name: str) -> bytes:
        """A logical volume, as it is now."""
        return b"".join(self.bytes(part.start, part.size) for part in self.parts[name])

    def bytes(self, start: int, size: int) -> bytes:
        """What stands on the disk."""
        with self.file.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def scribble(self, start: int, size: int, node: str = "") -> None:
        """Write something else there, through a device if need be."""
        with Path(node or self.file).open("r+b") as file:
            file.seek(start)
            file.write(Random(start).randbytes(size))
            file.flush()
            os.fsync(file.fileno())

    def plan(self, library: Path) -> CapturePlan:
        """The plan of a capture."""
        return planner.plan_capture([inventory.look(self.loop, [library])], library, running=True)


_PV = 60 * MIB
_PARTS = {1: (MIB, 24 * MIB), 2: (25 * MIB, 8 * MIB), 3: (_PV, 160 * MIB), 4: (220 * MIB, 24 * MIB)}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The disk, attached, with /boot mounted."""
    require(("vgcreate", "mkfs.ext4"))
    script = "label: gpt\n" + "".join(f"start={a // 512}, size={n // 512}\n" for a, n in _PARTS.values())
    disk = partition(blank(tmp_path / "pc.img", 248 * MIB), script)
    place = Place(path=disk, start=_PV, size=160 * MIB)
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", *lvm.devices)
        lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "group", *lvm.devices)
        for name, extents in (("root", 40), ("swap", 8)):
            lvm.create("group", name, extents)
        lvm.run("lvextend", "--extents=+16", "group/root")  # so that it lies in two pieces
        parts = {name: pieces(lvm, place, f"group/{name}") for name in ("root", "swap")}
        before = _metadata(disk)
        lvm.run("vgchange", "--addtag=later", "group")  # as LVM writes its text anew for each snapshot
        after = _metadata(disk, before)
    root = blank(tmp_path / "root.img", 56 * MIB)
    plain = [Place(path=disk, start=_PARTS[number][0], size=_PARTS[number][1]) for number in (1, 4)]
    for volume in (Place(path=root, start=0, size=56 * MIB), *plain):
        with attached(volume) as loop:
            said(*EXT4.make(loop, 512))
            with mounted(EXT4.mount, loop) as there:
                (there / "mark").write_text(f"at one moment, {volume.start}")
                (there / "data").write_bytes(Random(volume.start).randbytes(3 * MIB))
    _spread(root, parts["root"], disk)
    for swap in (Place(path=disk, start=_PARTS[2][0], size=_PARTS[2][1]), parts["swap"][0]):
        with attached(swap) as loop:
            said("mkswap", loop)
    with ExitStack() as stack:
        made = Machine(file=disk, folder=tmp_path / "tools", parts=parts)
        made.folder.mkdir()
        (made.folder / "metadata").write_bytes(after)
        made.loop = stack.enter_context(attached(Place(path=disk, start=0, size=0)))
        for number, (start, size) in _PARTS.items():
            made.nodes[number] = stack.enter_context(attached(Place(path=disk, start=start, size=size)))
        made.boot = stack.enter_context(mounted(EXT4.mount, made.nodes[1]))
        _pretend(made, monkeypatch)
        yield made


def _metadata(disk: Path, replacement: bytes = b"") -> bytes:
    """LVM's own data as they stand on the disk, where others may take their place."""
    with disk.open("r+b") as file:
        file.seek(_PV)
        found = file.read(MIB)
        file.seek(_PV)
        file.write(replacement)
    return found


def _spread(volume: Path, parts: list[Place], disk: Path) -> None:
    with volume.open("rb") as source, disk.open("r+b") as out:
        for part in parts:
            out.seek(part.start)
            out.write(source.read(part.size))


def _pretend(made: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = []
    for name, parts in made.parts.items():
        path = made.folder / f"dm-{name}"
        path.write_bytes(b"".join(made.bytes(part.start, part.size) for part in parts))
        volume = {"vg_name": "group", "lv_name": name, "lv_dm_path": str(path), "lv_attr": "-wi-ao----"}
        volumes.append({**volume, "lv_tags": "", "data_percent": ""})
    where = {name: [(part.start, part.size) for part in parts] for name, parts in made.parts.items()}
    made.state.write_text(json.dumps({"free": 60 * MIB, "lv": volumes, "pieces": where, "made": []}))
    text = _TOOL.format(python=sys.executable, state=str(made.state), disk=str(made.file), extent=EXTENT, pv=_PV)
    for name in ("lvs", "vgs", "lvcreate", "lvremove"):
        (made.folder / name).write_text(text)
        (made.folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("RESCUE_STATE", str(made.folder / "state"))
    monkeypatch.setattr(uses, "node_of", lambda _, number: made.nodes[number])
    places = {made.nodes[number]: place for number, place in _PARTS.items()}
    monkeypatch.setattr(uses, "place_of", lambda path: places[path])
    monkeypatch.setattr(stillness, "_BOOT", (str(made.boot),))
    real = uses.of_device
    held = Use(holders=("dm-root", "dm-swap"))
    monkeypatch.setattr(uses, "of_device", lambda path: held if path == made.nodes[3] else real(path))


def _captured(machine: Machine, library: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> str:
    """Capture, and do something when all is held: the image's id."""
    real = presented

    def disturbed(*words: object) -> object:
        meanwhile()
        return real(*words)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(still, "presented", disturbed)
        return capture(machine.plan(library), Reporter(len), threading.Event(), "test").image


def _images(library: Path) -> int:
    return len(Library.open(library).images().images) if (library / "library.json").exists() else 0


def test_what_is_written_meanwhile_is_not_in_the_image(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    root, metadata = machine.read("root"), machine.bytes(_PV, MIB)

    def write() -> None:
        (machine.boot / "later").write_text("written after that moment")
        os.sync()
        for part in machine.parts["root"]:
            machine.scribble(part.start, part.size)
        machine.scribble(_PV + 4096, 256 << 10)  # LVM writes a text that tells of the snapshots
        machine.scribble(machine.parts["root"][-1].start + 20 * MIB, MIB)  # free extents: what changed is kept there

    image = _captured(machine, library, monkeypatch, write)
    (snapshot,) = machine.known()["made"]
    assert snapshot[0] == "rescue-still-0"
    assert len(machine.known()["lv"]) == 2, "the snapshot is still there"
    restored = blank(tmp_path / "restored.img", 248 * MIB, fill=0xAA)
    run_rescue("restore", image, restored, "--library", library, "--erase", restored.name)
    with restored.open("rb") as file:

        def at(start: int, size: int) -> bytes:
            file.seek(start)
            return file.read(size)

        assert at(_PV, MIB) == metadata
        assert at(_PARTS[2][0], 4096) == machine.bytes(_PARTS[2][0], 4096)
        swap = machine.parts["swap"][0]
        assert at(swap.start, 4096) == machine.bytes(swap.start, 4096)
        volume = tmp_path / "volume.img"
        volume.write_bytes(b"".join(at(part.start, part.size) for part in machine.parts["root"]))
    assert volume.read_bytes()[1024:2048] == root[1024:2048]
    for path, start, size, files in (
        (volume, 0, 56 * MIB, {"mark", "data"}),
        (restored, *_PARTS[1], {"mark", "data"}),
        (restored, *_PARTS[4], {"mark", "data"}),
    ):
        with attached(Place(path=path, start=start, size=size), read_only=True) as loop:
            said("e2fsck", "-f", "-n", loop)
            with mounted(EXT4.mount_read_only, loop) as there:
                assert {one.name for one in there.iterdir()} - {"lost+found"} == files
                seed = 0 if path == volume else start
                assert (there / "data").read_bytes() == Random(seed).randbytes(3 * MIB)
    manifest = run_rescue("show", image, "--library", library, "--json").json["image"]["disks"][0]
    assert manifest["name"] == Path(machine.loop).name
    assert [(one["map_origin"], one["note"]) for one in manifest["volumes"]] == [
        ("rescue", ""),
        ("header", ""),
        ("lvm", ""),
        ("rescue", ""),
    ]


def test_what_was_to_be_left_alone_and_was_not_ends_the_capture(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, metadata = tmp_path / "library", machine.bytes(_PV, MIB)
    for start, node in ((512, ""), (MIB, machine.nodes[4])):
        _metadata(machine.file, metadata)
        with pytest.raises(IoError, match="was written to while it was captured") as error:
            _captured(machine, library, monkeypatch, lambda start=start, node=node: machine.scribble(start, 64, node))  # type: ignore[misc]
        assert error.value.code in ("source-changed", "read-failed")
        assert (_images(library), len(machine.known()["lv"])) == (0, 2)
        if not node:
            script = "label: gpt\n" + "".join(f"start={a // 512}, size={n // 512}\n" for a, n in _PARTS.values())
            partition(machine.file, script)
            run("blockdev", "--flushbufs", machine.loop)


def test_a_snapshot_that_is_full_gives_no_image(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"

    def full(known: dict[str, Any]) -> None:
        known["lv"][-1]["lv_attr"] = "sri-I-s---"

    with pytest.raises(IoError, match="had room for") as error:
        _captured(machine, library, monkeypatch, lambda: machine.change(full))
    assert error.value.code == "snapshot-full"
    assert (_images(library), len(machine.known()["lv"])) == (0, 2)


def test_a_full_snapshot_ends_the_capture_at_once(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(still, "_LOOK_EVERY", 0.05)

    def full(known: dict[str, Any]) -> None:
        known["lv"][-1]["lv_attr"] = "sri-I-s---"

    def wait(job: object, *_: object) -> object:
        machine.change(full)
        while True:
            job.stop_if_asked()  # type: ignore[attr-defined]
            time.sleep(0.01)

    monkeypatch.setattr("imaging.capture.capture_disk", wait)
    with pytest.raises(IoError) as error:
        capture(machine.plan(tmp_path / "library"), Reporter(len), threading.Event(), "test")
    assert error.value.code == "snapshot-full"


def test_what_a_killed_capture_left_is_removed_and_nothing_else(machine: Machine) -> None:
    def leave(known: dict[str, Any]) -> None:
        for name, tag in (("rescue-still-3", "rescue_still"), ("mine", "mine")):
            known["lv"].append({**known["lv"][0], "lv_name": name, "lv_tags": tag})

    machine.change(leave)
    remains.tidy_alone(Reporter(len))
    assert [one["lv_name"] for one in machine.known()["lv"]] == ["root", "swap", "mine"]


def test_without_room_for_snapshots_nothing_is_made(machine: Machine) -> None:
    machine.change(lambda known: known.update(free=EXTENT))
    with pytest.raises(RefusedError, match="1,048,576 bytes free") as error:
        still.look(inventory.look(machine.loop))
    assert error.value.code == "not-still"
    assert not machine.known()["made"]


def test_what_the_copies_take_counts_as_a_change(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Origin] = []
    real = snapshots.sizes

    def sizes(origins: list[Origin], free: int, extent: int) -> tuple[int, ...]:
        seen.extend(origins)
        return real(origins, free, extent)

    monkeypatch.setattr(snapshots, "sizes", sizes)
    monkeypatch.setattr(still, "_holds", lambda device, _: device.endswith("dm-root"))
    still.look(inventory.look(machine.loop))
    assert [3 * MIB < one.more < 24 * MIB for one in seen] == [True]


def test_a_partition_that_the_kernel_does_not_know_so_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in (None, (_PARTS[4][0], 12 * MIB)):
        monkeypatch.setattr(uses, "place_of", _places(machine, known))
        with pytest.raises(RefusedError, match="the kernel does not know it") as error:
            still.look(inventory.look(machine.loop))
        assert error.value.code == "not-still"


def _places(machine: Machine, fourth: tuple[int, int] | None) -> Callable[[str], tuple[int, int] | None]:
    places = {machine.nodes[number]: place for number, place in _PARTS.items()}
    return lambda path: fourth if path == machine.nodes[4] else places[path]


def test_where_the_kernel_does_not_count_what_is_written_nothing_is_left_alone(machine: Machine) -> None:
    setting = Path("/sys/block") / Path(machine.nodes[4]).name / "queue/iostats"
    setting.write_text("0")
    try:
        with pytest.raises(RefusedError, match="does not count"):
            still.look(inventory.look(machine.loop))
    finally:
        setting.write_text("1")


def test_a_group_of_which_the_disk_shows_no_snapshot_ends_the_capture(machine: Machine, tmp_path: Path) -> None:
    (machine.folder / "metadata").write_bytes(machine.bytes(_PV, MIB))
    with pytest.raises(IoError, match="does not show"):
        capture(machine.plan(tmp_path / "library"), Reporter(len), threading.Event(), "test")
    assert (_images(tmp_path / "library"), len(machine.known()["lv"])) == (0, 2)


def test_a_file_system_without_a_snapshot_is_refused(machine: Machine) -> None:
    with mounted(EXT4.mount, machine.nodes[4]) as there, pytest.raises(RefusedError, match="without LVM") as error:
        still.look(inventory.look(machine.loop))
    assert (error.value.code, error.value.exit_status) == ("not-still", ExitStatus.REFUSED)
    assert str(there) in error.value.message
    assert "--next-boot" in (error.value.hint or "")


@pytest.mark.parametrize("how", How)
def test_a_file_system_that_is_held_takes_no_writes_until_it_is_let_go(machine: Machine, how: How) -> None:
    written = threading.Event()

    def write() -> None:
        while not written.is_set():
            try:
                (machine.boot / "new").write_text("x")
                written.set()
            except OSError:
                time.sleep(0.01)

    with held_still([Held(where=str(machine.boot), how=how)]):
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        assert not written.wait(0.3)
    writer.join(10)
    assert written.is_set()


def test_a_file_system_is_let_go_when_whoever_holds_it_is_killed(machine: Machine) -> None:
    code = (
        "import time; from imaging.freezing import held_still; from imaging.freezer import Place, How\n"
        f"with held_still([Place(where={str(machine.boot)!r}, how=How.FREEZE)]):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    _is_writable(machine.boot)


def test_a_file_system_is_let_go_when_the_process_that_holds_it_is_killed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_the_freezer(machine, monkeypatch, let_go=True)
    _is_writable(machine.boot)


def test_a_file_system_that_was_left_held_is_let_go_by_the_next_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_the_freezer(machine, monkeypatch, let_go=False)
    note = machine.folder / "state/held.json"
    note.write_text(json.dumps({"places": [{"where": str(machine.boot), "how": "freeze"}]}))
    writer = threading.Thread(target=(machine.boot / "waits").write_text, args=["x"], daemon=True)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive(), "it was not left frozen"
    remains.tidy_alone(Reporter(len))
    writer.join(20)
    assert not writer.is_alive()
    assert not note.exists()
    remains.tidy_alone(Reporter(len))


def _kill_the_freezer(machine: Machine, monkeypatch: pytest.MonkeyPatch, *, let_go: bool) -> None:
    (machine.folder / "state").mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        if not let_go:
            patch.setattr(freezing, "let_go", lambda _: False)
        with pytest.raises(IoError), remains.held([Held(where=str(machine.boot), how=How.FREEZE)]):
            for folder in Path("/proc").glob("[0-9]*"):
                words = (folder / "cmdline").read_bytes().split(b"\0") if (folder / "cmdline").exists() else []
                mine = f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text() if words else False
                if mine and b"imaging.freezer" in words:
                    os.kill(int(folder.name), signal.SIGKILL)


def _is_writable(folder: Path) -> None:
    writer = threading.Thread(target=(folder / "new").write_text, args=["x"], daemon=True)
    writer.start()
    writer.join(20)
    assert not writer.is_alive()


def test_what_is_held_for_too_long_is_let_go_and_told(machine: Machine) -> None:
    with pytest.raises(IoError, match="could not be copied within"):  # noqa: SIM117
        with held_still([Held(where=str(machine.boot), how=How.FREEZE)], seconds=0.05):
            (machine.boot / "new").write_text("x")


def test_what_cannot_be_held_is_refused(machine: Machine) -> None:
    places = [Held(where=str(machine.boot), how=How.READ_ONLY)]
    with (machine.boot / "open").open("w") as file:
        file.write("x")
        with pytest.raises(RescueError, match="cannot be held still"), held_still(places):
            pass
    (machine.boot / "after").write_text("x")


def test_a_file_and_chosen_partitions_are_not_captured_as_running(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.img", 8 * MIB)
    words = ("capture", disk, "--library", tmp_path / "library", "--running")
    assert "when nobody uses it" in run_rescue(*words, status=ExitStatus.REFUSED).err
    partition(disk, "label: dos\nsize=4M\n")
    assert "give no partitions" in run_rescue(*words, "--partition", "1", status=ExitStatus.USAGE).err
    assert not (tmp_path / "library").exists()


def test_a_snapshot_that_cannot_be_removed_does_not_cost_the_image(machine: Machine, tmp_path: Path) -> None:
    (machine.folder / "lvremove").write_text("#!/bin/sh\nexit 5\n")
    told: list[bytes] = []

    def tell(data: memoryview) -> int:
        told.append(bytes(data))
        return len(data)

    capture(machine.plan(tmp_path / "library"), Reporter(tell), threading.Event(), "test")
    assert _images(tmp_path / "library") == 1
    assert any(b"could not be removed" in line for line in told)
