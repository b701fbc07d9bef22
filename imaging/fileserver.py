"""python -m imaging.fileserver: the process that has a volume mounted while a screen shows it.

A process of its own, because whoever reads from a mount that it serves itself cannot be killed while it reads. It ends
when its input does, and then nothing of the mount is left.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from imaging import credentials, keyring, tree
from imaging.errors import CancelledError, ExitStatus, IoError, RescueError, of_system
from imaging.fileview import (
    MOST_HITS,
    Answer,
    AskPage,
    AskSearch,
    AskTally,
    Failed,
    Hit,
    Hits,
    Open,
    Opened,
    Order,
    Page,
    Question,
    Stop,
    Tally,
    Unlocked,
    Where,
    counted,
)
from imaging.imagevolumes import find_volume
from imaging.library import Library
from imaging.opened import open_image
from imaging.tree import Entry, EntryKind

_SAY_EVERY = 0.5
"""Seconds between two lists of what a search has found."""
_LOOK_EVERY = 256
"""Entries between two looks whether somebody still waits."""
_decoder = msgspec.json.Decoder(Question)


def main() -> int:
    """Serve the volume that the first line of the input names, until the input ends; or say what it holds."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keyring.leave_no_core()
    out = _Out(sys.stdout.fileno())
    try:
        asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=Open)
        for library_id, key in asked.keys.items():
            keyring.learn(library_id, key, Path(asked.library))
        credentials.learn(asked.access)
        library = Library.open(Path(asked.library))
        image = library.image(asked.image)
        with open_image(library, image) as opened:
            for name, key in asked.unlocked.items():
                opened.unlock(name, key)
            if asked.passphrase:
                key = opened.key(asked.volume, asked.passphrase)
                out.say(Unlocked(key=key, volumes=tuple(opened.unlock(asked.volume, key))))
                return ExitStatus.DONE
            desk = _Desk(opened.mount(find_volume(image, asked.volume, opened.volumes)), out)
            out.say(Opened())
            try:
                for line in sys.stdin.buffer:
                    desk.take(_decoder.decode(line))
            finally:
                desk.close()
    except RescueError as error:
        out.say(_failed(0, error))
        return error.exit_status
    return ExitStatus.DONE


def _failed(id: int, error: RescueError) -> Failed:
    return Failed(id=id, status=error.exit_status, message=error.message, code=error.code, hint=error.hint or "")


class _Out:
    """The way back, for several threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def say(self, answer: Answer) -> None:
        """One line; whoever is gone is not told."""
        data = memoryview(msgspec.json.encode(answer) + b"\n")
        with self._lock, suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._fd, data) :]


class _Desk:
    """Answers each question in a thread of its own."""

    def __init__(self, root: int, out: _Out) -> None:
        self._root, self._out = root, out
        self._threads: dict[int, tuple[threading.Thread, threading.Event]] = {}
        self._listing = threading.Lock()
        self._listed: tuple[Where, Order] | None = None
        self._names: list[bytes] = []
        """The folder that was asked for last, sorted: the next page of it costs no reading."""

    def take(self, question: Question) -> None:
        """Begin to answer a question, or stop it."""
        self._threads = {id: (thread, stop) for id, (thread, stop) in self._threads.items() if thread.is_alive()}
        if isinstance(question, Stop):
            if question.id in self._threads:
                self._threads[question.id][1].set()
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._work, args=(question, stop), daemon=True)
        self._threads[question.id] = (thread, stop)
        thread.start()

    def close(self) -> None:
        """Stop all, and wait for them: they read from the mount."""
        for _, stop in self._threads.values():
            stop.set()
        for thread, _ in self._threads.values():
            thread.join()

    def _work(self, question: AskPage | AskSearch | AskTally, stop: threading.Event) -> None:
        def wanted() -> None:
            if stop.is_set():
                raise CancelledError("cancelled")

        try:
            match question:
                case AskPage():
                    self._out.say(self._page(question, wanted))
                case AskSearch():
                    self._search(question, wanted)
                case AskTally():
                    self._out.say(self._tally(question, wanted))
        except RescueError as error:
            self._out.say(_failed(question.id, error))
        except OSError as error:
            self._out.say(_failed(question.id, of_system(error)))
        except MemoryError:
            self._out.say(_failed(question.id, IoError("there is not enough memory", code="no-memory")))

    def _page(self, question: AskPage, wanted: Callable[[], None]) -> Page:
        with self._listing, tree.folder(self._root, question.path) as fd:
            if self._listed != (question.path, question.order):
                self._listed = None
                self._names = _sorted(fd, question, wanted)
                self._listed = (question.path, question.order)
            names, count = self._names, max(1, question.count)
            start = min(max(0, question.start), max(0, len(names) - 1))
            if question.at and question.at in names:
                start = names.index(question.at) // count * count
            entries = tuple(tree.look(fd, name) for name in names[start : start + count])
        return Page(id=question.id, start=start, total=len(names), entries=entries)

    def _search(self, question: AskSearch, wanted: Callable[[], None]) -> None:
        words, found, seen, count, said = question.words.casefold(), list[Hit](), 0, 0, time.monotonic()
        for one in tree.walk(self._root, ()):
            wanted()
            seen += 1
            if words in one.entry.text.casefold() and not one.entry.problem:
                found.append(Hit(where=one.where, entry=one.entry))
                count += 1
            if time.monotonic() - said >= _SAY_EVERY:
                self._out.say(Hits(id=question.id, hits=tuple(found), seen=seen))
                found, said = [], time.monotonic()
            if count >= MOST_HITS:
                break
        self._out.say(Hits(id=question.id, hits=tuple(found), seen=seen, ended=True))

    def _tally(self, question: AskTally, wanted: Callable[[], None]) -> Tally:
        entry = tree.entry_at(self._root, question.path)
        total = counted(entry)
        if entry.kind is EntryKind.FOLDER:
            for found in tree.walk(self._root, question.path):
                wanted()
                # A folder that cannot be read is told of twice.
                total += counted(found.entry)
        return msgspec.structs.replace(total, id=question.id)


def _sorted(fd: int, question: AskPage, wanted: Callable[[], None]) -> list[bytes]:
    """The names in a folder in their order; only an order by size or date has to look at each entry."""
    kinds: dict[bytes, bool] = {}
    inodes: dict[bytes, int] = {}
    try:
        with os.scandir(fd) as entries:
            for number, one in enumerate(entries):
                if number % _LOOK_EVERY == 0:
                    wanted()
                name = os.fsencode(one.name)
                kinds[name], inodes[name] = not _is_folder(one), one.inode()
    except OSError as error:
        raise IoError(f"{tree.shown(question.path)} cannot be read: {error.strerror}", code="read-failed") from error
    names = sorted(kinds, key=lambda name: (kinds[name], os.fsdecode(name).casefold(), name))
    if question.order is Order.NAME:
        return names
    looked: dict[bytes, Entry] = {}
    # As they lie on the disk: by their names, that takes several times as long.
    for number, name in enumerate(sorted(names, key=inodes.__getitem__)):
        if number % _LOOK_EVERY == 0:
            wanted()
        looked[name] = tree.look(fd, name)
    if question.order is Order.SIZE:
        return sorted(names, key=lambda name: (kinds[name], -looked[name].size))
    return sorted(names, key=lambda name: (kinds[name], -looked[name].modified))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    with suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False


if __name__ == "__main__":
    sys.exit(main())
