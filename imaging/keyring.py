"""The keys of encrypted libraries that this process may use: in its memory alone, as long as it runs.

A front end learns them from passphrases, and hands those that a job needs to its worker through a pipe.
"""

import os
import resource
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from imaging import handing, keyslots
from imaging.durable import reading
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.keyslots import Slot
from imaging.libraryinfo import LibraryInfo
from imaging.sealing import KEY_SIZE, Seal

PASSPHRASE_FILE = "RESCUE_PASSPHRASE_FILE"
"""The environment's name of a file, each line of which is a passphrase."""
_PIPE = "keys"
"""Its name in a job's folder."""
_VOLUME = "volume "
"""How the names of volumes' keys begin; no library's id has a blank."""
_MOST_FILE = 64 << 10
_MOST_LINES = 8
_TIMES = 3
"""How often somebody may mistype a passphrase."""

Ask = Callable[[str, bool], str]
"""Asks a person for the passphrase of a library; whether the last one was wrong. Empty to go on without."""


class _Ring:
    """What this process knows."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.keys: dict[str, bytes] = {}
        self.places: dict[str, str] = {}
        """The ids of the encrypted libraries that were opened, by where they were."""
        self.words: list[str] | None = None
        self.ask: Ask | None = None


_ring = _Ring()


def seal_of(info: LibraryInfo, where: str, path: Path) -> Seal | None:
    """The seal of the library in a folder, None for one that is not encrypted; `where` it is, for messages.

    Raises RefusedError with code "passphrase-needed" or "wrong-passphrase", BadImageError where its slots are damaged,
    or where it is not the encrypted library that was opened there before.
    """
    with _ring.lock:
        key = _ring.keys.get(info.id)
        if info.encryption is None and key is not None:
            raise BadImageError(
                f"{where}: library.json does not say any more that the library is encrypted: somebody has changed it",
                code="bad-key",
                hint="put back a copy of library.json from before that; store nothing in it until then",
            )
        refuse_another(info.id, where, path)
        if info.encryption is None:
            return None
        if key is None:
            key = _found(info, where)
        keyslots.refuse_unless_proved(info.encryption, info.id, key, where)
        learn(info.id, key, path)
        return Seal(key, info.id)


def refuse_another(library_id: str, where: str, path: Path) -> None:
    """Raise BadImageError where another library, that was encrypted, was opened in a folder before."""
    if _ring.places.get(_place(path), library_id) != library_id:
        raise BadImageError(
            f"{where}: the encrypted library that was opened there is gone, or another stands in its place",
            code="bad-key",
            hint="put back what was there; if the other library is meant, end Rescue and start it again",
        )


def _place(path: Path) -> str:
    """What a folder is remembered by: its real path, and the medium, for which another may be put in."""
    real = os.path.realpath(path)
    with suppress(OSError):
        there = next(folder for folder in (Path(real), *Path(real).parents) if folder.exists())
        number = there.stat().st_dev
        node = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        for device in (node, node.parent):  # of a partition, its disk's; see Documentation/ABI/testing/sysfs-block
            if (device / "diskseq").exists():
                return f"{node.name} {(device / 'diskseq').read_text().strip()} {real}"
    return real


def unlock(info: LibraryInfo, words: str, where: str) -> Slot:
    """Open a library by a passphrase or its recovery key, from now on; the slot that did. Raises as `seal_of`."""
    leave_no_core()
    if info.encryption is None:
        raise UsageError(f"{where} is not encrypted", code="not-encrypted")
    key, slot = keyslots.opened_by(info.encryption, info.id, words, where)
    learn(info.id, key)
    return slot


def is_locked(info: LibraryInfo) -> bool:
    """Whether a library is encrypted and this process has no key of it."""
    return info.encryption is not None and info.id not in _ring.keys


def learn(library_id: str, key: bytes, path: Path | None = None) -> None:
    """Know the master key of a library, and that it is in this folder."""
    leave_no_core()
    _ring.keys[library_id] = key
    if path is not None:
        _ring.places[_place(path)] = library_id


def key_of(library_id: str) -> bytes:
    """The master key of a library that this process has opened."""
    return _ring.keys[library_id]


def name_of_signer(key_id: str) -> str:
    """By what name the private key of this id, which signs images, is handed over; no library's id has a blank."""
    return f"signer {key_id}"


def signing_key(key_id: str) -> bytes | None:
    """The private key of this id; None where this process was not given it."""
    return _ring.keys.get(name_of_signer(key_id))


def name_of_volume(image: str, volume: str) -> str:
    """By what name the key of an image's volume, which LUKS encrypts, is handed over."""
    return f"{_VOLUME}{image} {volume}"


def learn_volume(image: str, volume: str, key: bytes) -> None:
    """Know the key of an image's volume, which its passphrase has opened."""
    learn(name_of_volume(image, volume), key)


def volume_key(image: str, volume: str) -> bytes:
    """The key of an image's volume; raises RefusedError where this process was not given it."""
    key = _ring.keys.get(name_of_volume(image, volume))
    if key is None:
        raise RefusedError(
            f"{volume} of image {image} is encrypted, and its passphrase was not given",
            code="passphrase-needed",
            hint=f"give it with --unlock {volume}",
        )
    return key


def keys_for(library_id: str) -> dict[str, bytes]:
    """The key of a library by its id, where this process has opened it: for a process beside it, through a pipe."""
    return {library_id: _ring.keys[library_id]} if library_id in _ring.keys else {}


def leave_no_core() -> None:
    """From now on, should this process crash, the system writes its memory to no file: see core(5)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forget_all() -> None:
    """Know nothing any more."""
    _ring.keys.clear()
    _ring.places.clear()
    _ring.words = None


def ask_with(ask: Ask | None) -> None:
    """Have a person asked where a passphrase is needed."""
    _ring.ask = ask


def use_file(path: str) -> None:
    """Take the passphrases in a file, from now on. Raises as `lines_of`."""
    _ring.words = lines_of(path)


def lines_of(path: str) -> list[str]:
    """The passphrases in a file, one a line; it may be a pipe, which can be read once. Raises IoError, UsageError."""
    leave_no_core()
    with reading(path), Path(path).open("rb") as file:
        data = file.read(_MOST_FILE)
    try:
        words = [line for line in data.decode("utf-8-sig").split("\n") if line]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", code="bad-passphrase") from error
    if not words:
        raise UsageError(f"there is no passphrase in {path}", code="bad-passphrase")
    return [line.removesuffix("\r") for line in words[:_MOST_LINES]]


def given() -> list[str]:
    """The passphrases that came from a file: the one that was given, else the environment's. Raises as `use_file`."""
    if _ring.words is None:
        named = os.environ.get(PASSPHRASE_FILE)
        if named:
            use_file(named)
    return _ring.words or []


def _found(info: LibraryInfo, where: str) -> bytes:
    """The key, by a passphrase of a file or one that a person types."""
    wrong: RefusedError | None = None
    for words in given():
        try:
            unlock(info, words, where)
            return key_of(info.id)
        except RefusedError as error:
            wrong = error
    for _ in range(_TIMES if _ring.ask is not None else 0):
        assert _ring.ask is not None
        words = _ring.ask(where, wrong is not None)
        if not words:
            break
        try:
            unlock(info, words, where)
            return key_of(info.id)
        except RefusedError as error:
            wrong = error
    if wrong is not None:
        raise wrong
    raise RefusedError(
        f"{where} is encrypted, and its passphrase was not given",
        code="passphrase-needed",
        hint="give a file that holds it with --passphrase-file, or in RESCUE_PASSPHRASE_FILE",
    )


def handed_over(folder: Path, library_ids: Iterable[str], paths: Iterable[Path]) -> AbstractContextManager[None]:
    """While this lasts, the worker of the job in a folder can `take` the keys of these libraries, and what was opened
    in these folders. Raises IoError.
    """
    keys = {name: _ring.keys[name].hex() for name in library_ids if name in _ring.keys}
    places = {place: _ring.places[place] for place in map(_place, paths) if place in _ring.places}
    return handing.handed_over(folder, _PIPE, {"keys": keys, "places": places} if keys or places else {})


def take(folder: Path) -> None:
    """Take the keys that whoever submitted a job hands over; nothing where there are none."""
    given = handing.taken(folder, _PIPE)
    _ring.places.update(given.get("places", {}))
    for name, key in given.get("keys", {}).items():
        with suppress(TypeError, ValueError):
            master = bytes.fromhex(key)
            if len(master) == KEY_SIZE or str(name).startswith(_VOLUME):
                learn(str(name), master)
