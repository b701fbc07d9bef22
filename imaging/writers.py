"""The marks that captures and deletions at work leave in a library.

A crash can leave chunks that have their name and not their data, and folders of images that never came to be. The mark
of a writer that died tells the next one since when to look twice, and what to clear away.

A deletion removes chunks that a capture at work may have found and rely on. So each leaves its mark before it looks for
the other's, and goes back where there is one: of two that begin at once at least one sees the other, on two machines,
too, that share a library.
"""

import contextlib
import json
import os
import secrets
import threading
import time
from types import TracebackType

from imaging import presence, remote, temporary
from imaging.durable import sync_folder, write_file, written
from imaging.errors import RefusedError, RescueError
from imaging.library import Library
from imaging.objects import MAY_NOT_DELETE, MAY_NOT_REPLACE
from imaging.sharedclock import SharedClock, since_boot

_SURELY_ALIVE = presence.DEAD_AFTER / 2
"""Seconds after which a capture that others could not hear of stops by itself: they may take it for dead.

Over a share it is `STALE`: the computer that offers it may have the library on a disk of its own, where it takes nobody
for alive who was silent for that long.
"""
_FOLLOWS_AFTER = 3600.0


class Writer:
    """The mark of this capture; use it until `end`."""

    def __init__(self, library: Library, image_id: str) -> None:
        """Leave the mark, and remove what writers that are dead for certain had begun.

        Raises RefusedError while images are being deleted from the library, or somebody stores this very one, IoError.
        """
        self._library = library
        remote.refuse_unless_writable(library.mirror)
        self._path = library.path / "writers" / f"{image_id}{presence.SUFFIX}"
        self._clock = SharedClock()
        presence.make_folder(self._path)
        # Before there is a mark that would make it stop, and once more after that.
        presence.refuse_beside_deletion(library, self._clock)
        if presence.is_ended(self._path):
            self._path = presence.another(self._path)
        presence.refuse_beside_same(library, self._path, self._clock)
        self._renewed = self._followed = since_boot()
        self._silence = 0.0
        self._renewing, self._ended = threading.Lock(), threading.Event()
        self._mark = {"image": image_id, "began": time.time(), "boot": temporary.boot_id(), "pid": os.getpid()}
        write_file(self._path, json.dumps(self._mark).encode())
        try:
            self._share_first()
            presence.learn(library, self._path, self._clock)
            presence.refuse_beside_deletion(library, self._clock)
            others = presence.writers(library, self._clock)
            self._others = [m for m in others if m.life is not presence.Life.ALIVE and m.path != self._path]
        except BaseException:
            self.end()
            raise
        for other in self._others:
            if other.dead:
                library.discard(other.path.stem)
        # Whoever was killed before it had left its mark has none that would tell of it.
        for folder in (library.path, self._path.parent):
            temporary.remove_of_dead(folder, presence.lives)
        # Beside the work: a survey of a failing disk, say, can take longer than others wait.
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def _keep_alive(self) -> None:
        while not self._ended.wait(presence.BEAT):
            self._renew()

    def _share_first(self) -> None:
        """Let others see the mark; under another name, where one is there that cannot be replaced."""
        try:
            presence.share(self._library, self._path)
        except RefusedError as error:
            if error.code != MAY_NOT_REPLACE:
                raise
            self._path = self._path.rename(presence.another(self._path))
            presence.share(self._library, self._path)

    @property
    def distrust_since(self) -> float | None:
        """Since when chunks may be broken because a writer may have died that cannot be asked. None without one."""
        return min((other.began for other in self._others if not other.dead), default=None)

    @property
    def died_since(self) -> float | None:
        """Since when chunks may be broken because a writer has died for certain. None without one."""
        return min((other.began for other in self._others if other.dead), default=None)

    @property
    def dead_owners(self) -> frozenset[str]:
        """Whose temporary files are nobody's any more: see imaging.temporary."""
        return frozenset(other.owner for other in self._others if other.dead and other.owner)

    def beat(self) -> None:
        """Called often, and before the image is listed.

        Raises RefusedError where others could not see for so long that this writer lives, as while the computer slept,
        that they may have taken it for dead, and have removed what it stored or relies on.
        """
        silence = max(self._silence, since_boot() - self._renewed)
        most = presence.STALE if self._library.mirror is None else _SURELY_ALIVE
        if silence > most and not presence.is_only_here(self._library):
            raise RefusedError(
                f"for {silence / 60:.0f} minutes others who use {self._library.path} could not see that this backup is "
                "at work",
                code="library-busy",
                hint="start it anew: what was stored and is still there is not stored again",
            )

    def _renew(self) -> None:
        """Show that this writer lives, and note for how long that was not seen."""
        with self._renewing, contextlib.suppress(OSError, RescueError):
            if self._ended.is_set():
                return
            now = since_boot()
            if self._library.mirror is not None:  # where the same is there already, a server may write nothing anew
                write_file(self._path, json.dumps({**self._mark, "renewed": now}).encode())
            self._clock.renew(self._path)
            self._show(now)
            self._silence = max(self._silence, now - self._renewed)
            self._renewed = now

    def _show(self, now: float) -> None:
        """Let others see that the mark was renewed: where files can be added alone, by one more now and then."""
        try:
            presence.share(self._library, self._path)
        except RefusedError as error:
            if error.code != MAY_NOT_REPLACE:
                raise
            if now - self._followed > _FOLLOWS_AFTER:
                follower = self._path.with_name(f"{self._path.stem}.{int(now)}{presence.FOLLOWS}")
                write_file(follower, b"")
                presence.share(self._library, follower)
                self._followed = now

    def settle(self) -> None:
        """All that was stored since `died_since` is whole and on the medium: the marks of the dead can go."""
        for folder in (self._library.path, self._path.parent):
            temporary.remove_remains(folder, self.dead_owners)
        for other in self._others:
            if other.dead:
                presence.take_away(self._library, other.path)

    def end(self) -> None:
        """Remove this writer's mark: its chunks are on the medium, or it failed in an orderly way and synced them."""
        with self._renewing:
            self._ended.set()
        presence.take_away(self._library, self._path)


def _refuse_unless_removable(library: Library) -> None:
    """Raise RefusedError where nothing can be removed from the library; IoError."""
    remote.refuse_unless_removable(library.mirror)
    folder = library.path / "writers"
    if library.mirror is not None or not folder.is_dir() or folder.is_symlink():
        return
    tried = folder / f".{secrets.token_hex(8)}{presence.TRIED}"
    with written(tried):
        tried.touch(mode=0o600)
        try:
            tried.unlink(missing_ok=True)
        except PermissionError as error:
            raise RefusedError(
                f"{library.path}: files may be added there, but not removed",
                code=MAY_NOT_DELETE,
                hint="delete as somebody who may remove files there; a backup needs no more than adding them",
            ) from error


class Deleter:
    """The mark of this deletion; use as a context manager."""

    def __init__(self, library: Library) -> None:
        """Take the library. Raises RefusedError where nothing can be removed from it, IoError."""
        self._library = library
        _refuse_unless_removable(library)
        self._path = library.path / "writers" / f"{presence.boot_name()}.{os.getpid()}{presence.DELETION}"
        self._clock = SharedClock()
        self._renewed = since_boot()

    def __enter__(self) -> "Deleter":
        """Leave the mark. Raises RefusedError while anyone else may be at work in the library, IoError."""
        presence.make_folder(self._path)
        with written(self._path):
            self._path.touch(mode=0o600)
            sync_folder(self._path.parent)
        self._renewed = since_boot()
        try:
            presence.share(self._library, self._path)
            presence.learn(self._library, self._path, self._clock)
            for mark in presence.deletions(self._library, self._clock):
                if mark.path != self._path and not mark.dead:
                    raise RefusedError(
                        f"another deletion is at work in {self._library.path}",
                        code="library-busy",
                        hint="wait for its end",
                    )
            self.refuse_beside_writers()
            for mark in presence.deletions(self._library, self._clock):
                if mark.dead:
                    presence.take_away(self._library, mark.path)
            presence.clear_ended(self._library)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Remove the mark."""
        presence.take_away(self._library, self._path)

    def beat(self) -> None:
        """Show that this deletion lives; called before each chunk is removed, does something once a minute.

        Raises RefusedError where a capture may have begun meanwhile, or where the mark went without renewal for so
        long that others may take this deletion for dead.
        """
        now = since_boot()
        if now - self._renewed < presence.BEAT:
            return
        if now - self._renewed > presence.STALE:
            raise RefusedError(f"{self._path} could not be renewed in time", code="library-busy")
        with written(self._path):
            self._clock.renew(self._path)
        presence.share(self._library, self._path)
        self._renewed = now
        self.refuse_beside_writers()

    def refuse_beside_writers(self) -> None:
        """Raise RefusedError while a capture is at work in the library, or may be; IoError."""
        alone = presence.is_only_here(self._library)
        for mark in presence.writers(self._library, self._clock):
            if mark.dead or (alone and mark.elsewhere and not mark.lately):
                continue
            if mark.life is presence.Life.ALIVE:
                hint = "wait for its end, or cancel it"
            else:
                hint = f"should no other computer be at work in it, remove {mark.path} and start anew"
            raise RefusedError(f"a backup is at work in {self._library.path}", code="library-busy", hint=hint)
