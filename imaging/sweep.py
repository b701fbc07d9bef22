"""Free the room of images that were taken from the list: remove what no other image names."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import BadImageError, CancelledError, IoError, RefusedError
from imaging.library import Library, Listing
from imaging.naming import Batch, IndexFile, bytes_to_read, indexes_in, indexes_of_all, named_only_by
from imaging.pipeline import Reporter
from imaging.stores import ChunkStore
from imaging.withdrawn import bury, clear_empty, refuse_pinned, withdrawn
from imaging.writers import Deleter


@dataclass(slots=True, kw_only=True)
class Swept:
    """What was freed so far: chunks, their compressed bytes; `shared` chunks stay, for other images name them."""

    chunks: int = 0
    bytes: int = 0
    shared: int = 0
    unfreed: str = ""
    """Why nothing was freed, in words, where it cannot be known what other images name."""


def stop_if_asked(cancel: threading.Event) -> None:
    """Raise CancelledError where the job is to stop."""
    if cancel.is_set():
        raise CancelledError("cancelled")


def refuse_if_changed(library: Library, image: str, shown: str) -> None:
    """Raise RefusedError unless the image is the one that was shown (captured then), or as damaged as it was (empty).

    Raises RefusedError for one that is pinned, too, and BadImageError where there is none.
    """
    try:
        created = library.image(image).created
    except (BadImageError, IoError) as error:
        if error.code == "no-such-image":
            raise
        created = ""
    if created != shown:
        raise RefusedError(
            f"image {image} is not the one that was shown: nothing was deleted",
            code="image-changed",
            hint="look at the images again",
        )
    refuse_pinned(library, image)


def _ids(listing: Listing) -> list[str]:
    return sorted([image.id for image in listing.images] + [image.id for image in listing.damaged])


class Sweep:
    """Free the room of all images that were taken from the list."""

    def __init__(self, library: Library, mark: Deleter, report: Reporter, cancel: threading.Event) -> None:
        """Take the library, and the mark that its deleter holds."""
        self._library = library
        self._store: ChunkStore = library.store()
        self._mark = mark
        self._report = report
        self._cancel = cancel
        self.swept = Swept()
        self._unread: set[Path] = set()
        """Folders of deleted images that stay, for what they name may be read by the next deletion."""

    def run(self) -> Swept:
        """What was freed; nothing where it cannot be known what other images name.

        Raises RefusedError where an image came or went meanwhile, IoError, CancelledError.
        """
        doomed = withdrawn(self._library)
        try:
            listing = self._library.images()
            others, listed = indexes_of_all(self._library, listing), _ids(listing)
            self._remove(self._whole(doomed), others, listed)
        except BadImageError as error:
            self.swept.unfreed = error.message
            self._report.log(
                f"No room was freed, for what another image uses cannot be known: {error.message}", "warning"
            )
        else:
            self._store.sync()
            for folder in doomed:
                if folder not in self._unread:
                    bury(self._library, folder)
            clear_empty(self._library)
        return self.swept

    def listed(self) -> list[str]:
        """The ids of all images that are listed, damaged ones, too."""
        return _ids(self._library.images())

    def refuse_if_others_came(self, listed: Sequence[str]) -> None:
        """Raise RefusedError unless the library is as it was: an image that came meanwhile may name what is to go."""
        if self.listed() != listed:
            raise RefusedError(
                f"the images in {self._library.path} have changed meanwhile", code="library-busy", hint="start anew"
            )
        self._mark.refuse_beside_writers()

    def _whole(self, folders: Sequence[Path]) -> list[IndexFile]:
        """The indexes of deleted images that can be read; what only one of the others named stays, with a word."""
        found = []
        for file in (file for folder in folders for file in indexes_in(self._library, folder.name)):
            try:
                for _ in named_only_by([file], [], lambda _: None):
                    self._mark.beat()
            except BadImageError as error:
                self._report.log(f"The room of what this index names is not freed: {error.message}", "warning")
                if error.code == "read-failed":
                    self._unread.add(file.path.parent)
            else:
                found.append(file)
        return found

    def _remove(self, doomed: Sequence[IndexFile], others: Sequence[IndexFile], listed: Sequence[str]) -> None:
        self._report.step("Looking for what other images use", bytes_to_read(doomed, others))
        for batch in named_only_by(doomed, others, self._advance):
            self._report.finish_step()
            self.swept.shared += batch.named - len(batch.alone)
            self.refuse_if_others_came(listed)
            self._report.step("Freeing room")
            self._remove_batch(batch)
            self._report.finish_step()

    def _advance(self, count: int) -> None:
        stop_if_asked(self._cancel)
        self._mark.beat()
        self._report.advance(count)

    def _asking(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Before each is removed: is the job to stop, is the library still ours."""
        for chunk in chunks:
            stop_if_asked(self._cancel)
            self._mark.beat()
            yield chunk

    def _remove_batch(self, batch: Batch) -> None:
        for size in self._store.remove_all(self._asking(batch.alone)):
            self.swept.chunks += bool(size)
            self.swept.bytes += size
            self._report.advance(size, size)
