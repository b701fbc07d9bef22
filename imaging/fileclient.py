"""The files of an image as a screen sees them: questions for the process that has the volume mounted."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from imaging import credentials, fileview, keyring, remote
from imaging.errors import BadImageError, CancelledError, IoError, RefusedError, RescueError, UsageError
from imaging.fileview import (
    Answer,
    AskPage,
    AskSearch,
    AskTally,
    Failed,
    Hits,
    Open,
    Opened,
    Order,
    Page,
    Stop,
    Tally,
    Unlocked,
)
from imaging.imagevolumes import OpenVolume
from imaging.library import Library
from imaging.run import Beside, start_beside

_SERVER = "imaging.fileserver"
_LOOK_EVERY = 0.1
"""Seconds between two looks whether an answer is still wanted."""
_KINDS: dict[int, type[RescueError]] = {
    kind.exit_status: kind for kind in (UsageError, RefusedError, BadImageError, IoError, CancelledError)
}
_decoder = msgspec.json.Decoder(Answer)


class Files:
    """The files of one volume; asked by several threads at once. Raises RescueError, IoError where the process died."""

    def __init__(self, process: Beside, what: Open) -> None:
        """Take the process, and tell it what to open; raises what it says where it cannot."""
        self._process = process
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Answer | None]] = {}
        self._gone = False
        self._say(what)
        match _answer(self._process):
            case Failed() as failed:
                raise self._refused(_error(failed))
            case Opened():
                threading.Thread(target=self._listen, daemon=True).start()
            case _:
                raise self._refused(_died())

    def page(self, path: Sequence[bytes], order: Order, start: int, count: int, at: bytes = b"") -> Page:
        """A part of a folder; takes seconds for a large one that is asked for anew."""
        with self._asked(
            lambda id: AskPage(id=id, path=tuple(path), order=order, start=start, count=count, at=at)
        ) as answers:
            for answer in answers:
                if isinstance(answer, Page):
                    return answer
        raise _died()

    def search(self, words: str, found: Callable[[Hits], None], cancel: threading.Event) -> None:
        """Hand over what there is of that name, as it is found; raises CancelledError once `cancel` is set."""
        with self._asked(lambda id: AskSearch(id=id, words=words), cancel) as answers:
            for answer in answers:
                if isinstance(answer, Hits):
                    found(answer)
                    if answer.ended:
                        return

    def tally(self, path: Sequence[bytes], cancel: threading.Event) -> Tally:
        """How much is at a path and below it; raises CancelledError once `cancel` is set."""
        with self._asked(lambda id: AskTally(id=id, path=tuple(path)), cancel) as answers:
            for answer in answers:
                if isinstance(answer, Tally):
                    return answer
        raise _died()

    def close(self) -> None:
        """Let go of the volume; the process ends by itself."""
        with self._lock, suppress(OSError):
            self._process.told.close()

    def _refused(self, error: RescueError) -> RescueError:
        """The volume is not open: nothing is asked, and nobody listens."""
        self.close()
        self._process.said.close()
        return error

    @contextmanager
    def _asked(
        self, question: Callable[[int], fileview.Question], cancel: threading.Event | None = None
    ) -> Iterator[Iterator[Answer]]:
        id, answers = next(self._ids), queue.SimpleQueue[Answer | None]()
        self._waiting[id] = answers
        try:
            self._say(question(id))
            yield self._answers(answers, cancel)
        finally:
            del self._waiting[id]
            if cancel is not None and cancel.is_set():
                with suppress(IoError):
                    self._say(Stop(id=id))

    def _answers(self, answers: queue.SimpleQueue[Answer | None], cancel: threading.Event | None) -> Iterator[Answer]:
        while True:
            if cancel is not None and cancel.is_set():
                raise CancelledError("cancelled")
            try:
                answer = answers.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                if self._gone:
                    raise _died() from None
                continue
            if answer is None:
                raise _died()
            if isinstance(answer, Failed):
                raise _error(answer)
            yield answer

    def _say(self, question: fileview.Question | Open) -> None:
        try:
            with self._lock:
                self._process.told.write(msgspec.json.encode(question) + b"\n")
                self._process.told.flush()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise _died() from error

    def _listen(self) -> None:
        while (answer := _answer(self._process)) is not None:
            waiting = self._waiting.get(answer.id)
            if waiting is not None:
                waiting.put(answer)
        self._gone = True
        for waiting in list(self._waiting.values()):
            waiting.put(None)
        self._process.said.close()


def open_files(library: Path, image: str, volume: str, unlocked: Sequence[str] = ()) -> Files:
    """Mount a volume of an image for a screen, in a process of its own; takes seconds, and needs root.

    `unlocked` are the encrypted volumes that were opened before, in that order. Raises BadImageError where the library,
    the image or the volume is not there, RefusedError, IoError.
    """
    what = _what(library, image, volume, unlocked)
    return Files(start_beside(_SERVER), what)


def unlock(
    library: Path, image: str, volume: str, passphrase: str, unlocked: Sequence[str] = ()
) -> Sequence[OpenVolume]:
    """Open a volume that LUKS encrypts, in a process of its own: what it holds. Takes seconds, and needs root.

    Its key is known from then on. Raises as `open_files`, and RefusedError with the code "wrong-passphrase".
    """
    what = msgspec.structs.replace(_what(library, image, volume, unlocked), passphrase=passphrase)
    process = start_beside(_SERVER)
    try:
        process.told.write(msgspec.json.encode(what) + b"\n")
        process.told.flush()
        answer = _answer(process)
    except (OSError, ValueError) as error:
        raise _died() from error
    finally:
        process.said.close()
        with suppress(OSError):
            process.told.close()
    match answer:
        case Unlocked():
            keyring.learn_volume(image, volume, answer.key)
            return answer.volumes
        case Failed():
            raise _error(answer)
        case _:
            raise _died()


def _what(library: Path, image: str, volume: str, unlocked: Sequence[str]) -> Open:
    address, keys = remote.address_of(library), keyring.keys_for(Library.open(library).info.id)
    access = credentials.needed([address]) if address else {}
    before = {name: keyring.volume_key(image, name) for name in unlocked}
    return Open(library=str(library), image=image, volume=volume, keys=keys, access=access, unlocked=before)


def _answer(process: Beside) -> Answer | None:
    """What the process says next; None where it has ended."""
    try:
        line = process.said.readline()
        return _decoder.decode(line) if line else None
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def _error(failed: Failed) -> RescueError:
    kind = _KINDS.get(failed.status, IoError)
    return kind(failed.message, code=failed.code, hint=failed.hint or None)


def _died() -> IoError:
    return IoError(
        "the process that reads the image has ended", code="worker-died", hint="go back, and open the files again"
    )
