"""The measurements of the speed table: what each needs, and what is timed."""

import os
import shutil
import sys
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from imaging.chunk import DEFAULT_LEVEL
from tests.bench import limits, mounts, ours, peers, source
from tests.bench.source import Source
from tests.bench.table import Extra, Row, Timing, render
from tests.command import run_rescue
from tests.disks import MIB, blank

_MOST_IMAGE = 1.03
_MOST_MEMORY = 250 * MIB


class Bench:
    """All rounds of all measurements that some rows need, on one source."""

    def __init__(self, work: Path, made: Source, rows: Sequence[Row]) -> None:
        """Take an empty folder on a tmpfs, the source and the rows."""
        self.work, self.source, self.rows = work, made, rows
        self.library, self.target = work / "library", work / "target.img"
        self.peer, self.peer_unchecked = work / "peer.zst", work / "peer-unchecked.zst"
        self.timings: dict[str, Timing] = defaultdict(Timing)
        self.rounds = 0
        self.image = ""
        self.image_bytes = 0
        self.blocks: list[int] = []
        self.wanted = {name for row in rows for name in (row.mine, row.theirs)}
        self.wanted -= peers.missing()

    def round(self) -> None:
        """Measure everything that is wanted once, and prove that the last restore was right."""
        self.rounds += 1
        self._captures()
        self._restores()
        if self.wanted & {"sealed capture", "sealed restore"}:
            self._sealed()
        self._mounts()
        self._verifications()

    def _measure(self, name: str, work: Callable[[], object], *, fresh: bool = False) -> None:
        """Time one of the peers' or a limit, where it is wanted; a limit says itself how long it took.

        With `fresh` the target is emptied first.
        """
        if name not in self.wanted:
            return
        self._settle(fresh=fresh)
        began = time.perf_counter()
        told = work()
        self._keep(name, told if isinstance(told, float) else time.perf_counter() - began)

    def _ours(self, name: str, *words: object, library: Path | None = None, fresh: bool = False) -> ours.Done:
        """Time one of our commands; it is run even where its figure is not wanted, since others build on it.

        With `fresh` the target is emptied first.
        """
        self._settle(fresh=fresh)
        began = time.perf_counter()
        done = ours.command(*words, "--library", library or self.library)
        seconds = time.perf_counter() - began
        if name in self.wanted:
            self._keep(name, seconds, done.seconds)
        return done

    def _settle(self, *, fresh: bool) -> None:
        """Nothing waits to be written when a clock starts, and the target was emptied the moment before.

        A virtual machine gives memory that lies free back to its host, some within a second, and writing to that costs
        several times as much as to what has just been let go: the same restore took 1.4 s or 2.4 s by how long a sync
        took in between.
        """
        os.sync()
        if fresh:
            blank(self.target, self.source.size)

    def _keep(self, name: str, seconds: float, job: float | None = None) -> None:
        """Take a figure, and tell whoever waits for the table."""
        self.timings[name].whole.append(seconds)
        if job is not None:
            self.timings[name].job.append(job)
        print(f"round {self.rounds}: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def _captures(self) -> None:
        self._capture_by_peers()
        if not self.image or "capture" in self.wanted or "recapture" in self.wanted:
            self._capture()
        everything = limits.pieces(self.library, self.image, table=True)
        self._measure("limit capture", lambda: limits.name_and_compress(everything, self.source.path, DEFAULT_LEVEL))
        if "recapture" in self.wanted:
            with source.changed(self.source.path, self.blocks, self.rounds):
                again = self._ours("recapture", "capture", self.source.path)
            self._expect("stored anew", again.result["new"], len(self.blocks))

    def _capture_by_peers(self) -> None:
        with peers.volume(self.source) as loop:
            self._measure("peer capture", lambda: peers.capture(loop, self.peer))
            if not self.peer.exists() and self.wanted & {"peer restore", "peer verify"}:
                peers.capture(loop, self.peer)
            if not self.peer_unchecked.exists() and "peer restore unchecked" in self.wanted:
                peers.capture(loop, self.peer_unchecked, checked=False)

    def _capture(self) -> None:
        """A first capture: into a library that does not exist yet."""
        shutil.rmtree(self.library, ignore_errors=True)
        done = self._ours("capture", "capture", self.source.path)
        self.image = str(done.result["image"])
        self.image_bytes = ours.library_size(self.library)
        body = limits.pieces(self.library, self.image, table=False)
        self.blocks = source.choose(self.source.data, _chunk_finder(body), len(body), seed=self.rounds)

    def _restores(self) -> None:
        body = limits.pieces(self.library, self.image, table=False)
        for name, image in (("peer restore", self.peer), ("peer restore unchecked", self.peer_unchecked)):
            self._measure(name, partial(peers.restore, image, self.target), fresh=True)
        self._measure("limit restore", lambda: limits.decompress_and_write(body, self.target), fresh=True)
        if self.rounds == 1 and "limit restore" in self.wanted:
            self._prove_limit(body)
        if self.wanted & {"restore", "reset", "limit reset", "sealed restore"}:
            self._restore("restore", "--no-read-back", fresh=True)
        # What was just written is read more slowly the first time; that would count for whichever read comes first.
        limits.read_and_digest(body, self.target)
        if "reset" in self.wanted:
            source.change(self.target, self.blocks, self.rounds)
            done = self._restore("reset", "--no-read-back")
            self._expect("written", done.result["written"], len(self.blocks))
        self._measure("limit reset", lambda: limits.read_and_digest(body, self.target))
        if "restore read back" in self.wanted:
            self._prove_target()
            self._restore("restore read back", fresh=True)
        self._prove_target()

    def _sealed(self) -> None:
        """A first capture into an encrypted library, and a restore from it; each derives the key, too."""
        library, passphrase = self.work / "sealed", self.work / "passphrase"
        passphrase.write_text("correct horse battery\n")
        given = ("--passphrase-file", passphrase)
        run_rescue("library", "init", "--encrypt", library, *given)
        image = self._ours("sealed capture", "capture", self.source.path, *given, library=library).result["image"]
        if "sealed restore" in self.wanted:
            words = ("--erase", self.target.name, "--no-read-back", *given)
            self._ours("sealed restore", "restore", image, self.target, *words, library=library, fresh=True)
            ours.command("verify", image, "--against", self.target, "--library", library, *given)
        shutil.rmtree(library)

    def _restore(self, name: str, *words: str, fresh: bool = False) -> ours.Done:
        words = ("--erase", self.target.name, *words)
        return self._ours(name, "restore", self.image, self.target, *words, fresh=fresh)

    def _prove_limit(self, body: Sequence[limits.Piece]) -> None:
        """The limit's loop must do all of the work that it stands for."""
        here: dict[int, bytes] = {}
        there: dict[int, bytes] = {}
        limits.read_and_digest(body, self.source.path, here)
        limits.read_and_digest(body, self.target, there)
        self._expect("places where the limit's target is wrong", sum(here[at] != there[at] for at in here), 0)

    def _prove_target(self) -> None:
        """What was restored is compared with the image, outside all clocks."""
        if self.wanted & {"restore", "reset", "restore read back"}:
            ours.command("verify", self.image, "--against", self.target, "--library", self.library)

    def _mounts(self) -> None:
        """What is read of a mounted image, and of others' files that hold the same disk."""
        for name, words in (("mount copy", mounts.COPY), ("mount", mounts.READ)):
            if name in self.wanted:
                self._measure(name, partial(self._read_mounted, words))
        if "limit mount" in self.wanted:
            everything = limits.pieces(self.library, self.image, table=True)
            self._measure("limit mount", lambda: limits.decompress(everything))
        packed = self.work / "packed"
        for name, pack, read in (
            ("nbdkit", peers.pack_for_nbdkit, peers.read_from_nbdkit),
            ("qemu-nbd", peers.pack_for_qemu, peers.read_from_qemu),
        ):
            if name in self.wanted:
                pack(self.source.path, packed)
                self._measure(name, partial(read, packed))
                packed.unlink()

    def _read_mounted(self, words: tuple[str, ...]) -> float:
        return mounts.read_mounted(self.library, self.image, self.work / "mounted", words)

    def _verifications(self) -> None:
        index = next((self.library / "images" / self.image).glob("*.caibx"))
        if "verify" in self.wanted:
            self._ours("verify", "verify", self.image)
        self._measure("peer verify", lambda: peers.verify(self.peer))
        self._measure("desync verify", lambda: peers.desync_verify(index, self.source.path))
        self.target.unlink(missing_ok=True)
        scratch = self.work / "scratch.img"
        self._measure("casync extract", lambda: peers.casync_extract(self.library, index, scratch))
        scratch.unlink(missing_ok=True)

    def _expect(self, what: str, found: int, count: int) -> None:
        if found != count:
            raise AssertionError(f"{found} chunks {what}, not {count}: this round measured something else")

    def report(self) -> str:
        """What was measured on, and the table, in Markdown."""
        head = (
            f"ext4 with {self.source.used / 1e9:.2f} GB used, medians of {self.rounds} round(s) in one run. A ratio is "
            "how many times as fast ours is; for a limit, how much of it is reached. The bold one counts."
        )
        return f"{head}\n\n{render(self.rows, self.timings, self._extras())}"

    def _extras(self) -> list[Extra]:
        found = []
        if self.peer.exists() and "capture" in self.timings:
            peer = self.peer.stat().st_size
            found.append(
                Extra(
                    job="size of the first image",
                    mine=f"{self.image_bytes / 1e6:.0f} MB",
                    against="`partclone -c \\| zstd -T0 -3` (CRC32)",
                    theirs=f"{peer / 1e6:.0f} MB",
                    reached=f"{self.image_bytes / peer:.3f}",
                    reach=f"at most {_MOST_IMAGE}",
                    met=self.image_bytes <= _MOST_IMAGE * peer,
                )
            )
        return [*found, memory_row()]


def memory_row() -> Extra:
    """The most memory that any of our workers took."""
    peak = ours.peak_memory()
    return Extra(
        job="memory of the worker, at most",
        mine=f"{peak / MIB:.0f} MiB",
        reached=f"{peak / MIB:.0f} MiB",
        reach=f"under {_MOST_MEMORY // MIB} MiB",
        met=0 < peak < _MOST_MEMORY,
    )


def _chunk_finder(body: Sequence[limits.Piece]) -> Callable[[int], int]:
    """Tells the first byte of the chunk that a byte of the disk is in."""
    starts = [piece.start for piece in body]
    return lambda at: starts[bisect_right(starts, at) - 1]
