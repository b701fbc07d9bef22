"""Copying images from one library to another: every chunk is proved on the way, and only what is missing is copied.

An image exists in the other library once its manifest is there, which is written last. A copy that was cut off leaves
chunks that the next one finds, and looks into first.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

from imaging import vouching
from imaging.content import Content
from imaging.encryption import refuse_to_unseal
from imaging.errors import BadImageError, CancelledError, RefusedError, RescueError
from imaging.events import READING_BACK
from imaging.library import Library
from imaging.manifest import Image
from imaging.notes import NOTHING
from imaging.pipeline import Counter, Reporter, run_all
from imaging.stores import ChunkStore, LocalStore
from imaging.writers import Writer


def copy_image(
    source: Library,
    target: Library,
    image_id: str,
    report: Reporter,
    cancel: threading.Event,
    counts: Counter,
    *,
    unseal: bool = False,
    proved: bytes | None = None,
) -> None:
    """Copy one image, of the manifest that was `proved` where that is given; adds to "chunks", "new" and "bytes".

    From an encrypted library to one that is not only with `unseal`: else it is refused. Raises RefusedError (code
    "image-changed" where the other library has an image of this id with another manifest), BadImageError where the
    image is damaged, IoError, CancelledError; then the image is not in the other library, unless it was there before.
    """
    if not unseal:
        refuse_to_unseal(source, target)
    data = source.manifest(image_id) if proved is None else proved
    image = source.image_of(image_id, data)
    contents = [Content.load(source, image, disk) for disk in image.disks]
    writer = Writer(target, image_id)
    since = [when for when in (writer.distrust_since, writer.died_since) if when is not None]
    store = target.store(min(since, default=None))
    try:
        known = _begin(target, image_id, data)
    except RescueError:
        writer.end()
        raise
    try:
        for content in contents:
            _copy_chunks(content, store, writer, image.label or image.id, report, cancel, counts)
        store.sync()
        writer.beat()
        if not known:
            _copy_files(source, target, image)
        _copy_signatures(source, target, image_id, report)
        if not known:
            target.commit(image_id, data)
    except BaseException:
        target.discard(image_id)
        if not store.lost:
            writer.end()
        raise
    writer.end()
    _copy_notes(source, target, image_id, report)


def _copy_chunks(
    content: Content,
    store: ChunkStore,
    writer: Writer,
    name: str,
    report: Reporter,
    cancel: threading.Event,
    counts: Counter,
) -> None:
    chosen = _each_chunk(content)
    report.step(f"Copying image {name}, {content.disk.name}", sum(content.index.length(i) for i in chosen))

    def work(i: int) -> None:
        chunk, size = content.index.id(i), content.index.length(i)
        writer.beat()
        counts.add("chunks")
        new = not store.has(chunk)
        if new:
            frame = content.proved_frame(i)
            store.put(chunk, frame)
            counts.add("new")
            counts.add("bytes", len(frame))
        report.advance(size, size if new else 0)

    run_all(chosen, lambda: work, cancel, content.announce, content.store.lead)
    report.finish_step()


def missing(source: Library, target: Path, image_ids: Iterable[str], block: int) -> int:
    """The bytes that images would add to a library, which may not be there yet, in blocks of so many bytes.

    Raises BadImageError, IoError.
    """
    store, there = source.store(), LocalStore(target / "chunks")
    seen: set[bytes] = set()
    total = 0
    for image_id in image_ids:
        image = source.image(image_id)
        for disk in image.disks:
            index = source.files(image, disk).index
            names = {index.id(i) for i in range(len(index))} - seen
            seen |= names
            # Each in a folder of its own, as nearly all of them are.
            total += sum(
                block - store.room_of(store.name(name)) // -block * block for name in names if not there.has(name)
            )
            total += len(index.encoded) * 2 + 3 * block
        total += 4 * block
    return total


def _begin(target: Library, image_id: str, data: bytes) -> bool:
    """Whether the image is there already, with this very manifest; where there is none, its folder is made."""
    try:
        _refuse_unless_same(target, image_id, data)
    except BadImageError as error:
        if error.code != "no-such-image":
            raise
    else:
        return True
    target.discard(image_id)
    if not target.begin(image_id):
        raise RefusedError(f"an image {image_id} is just being deleted there", code="library-busy")
    return False


def _refuse_unless_same(library: Library, image_id: str, data: bytes) -> None:
    """All that names an image but its manifest's bytes can be forged: its id, and when it was captured."""
    if library.manifest(image_id) != data:
        raise RefusedError(
            f"image {image_id} in {library.path} is another than the one to copy: their manifests differ",
            code="image-changed",
            hint="find out which of the two is the right one, and delete the other",
        )


def _each_chunk(content: Content) -> list[int]:
    """One number for each chunk that the image names, in the order of the disk."""
    first: dict[bytes, int] = {}
    for i in range(len(content.index)):
        first.setdefault(content.index.id(i), i)
    return list(first.values())


def _copy_files(source: Library, target: Library, image: Image) -> None:
    """What stands beside the manifest, each file proved by the manifest's digest; that comes last, byte for byte."""
    for disk in image.disks:
        written = target.write_disk(image.id, disk.name, source.files(image, disk))
        if written != (disk.index_digest, disk.used_digest, disk.blake3_digest):
            raise BadImageError(f"the files of {disk.name} in image {image.id} are not as this program writes them")


def _copy_signatures(source: Library, target: Library, image_id: str, report: Reporter) -> None:
    """Before the manifest, so that an image that is there is signed; what cannot be read as signatures stays behind."""
    try:
        vouching.copy(source, target, image_id)
    except (BadImageError, RefusedError) as error:
        if isinstance(error, RefusedError) and error.code != "full":
            raise
        report.log(f"The signatures of image {image_id} are not copied: {error.message}", "warning")


def _copy_notes(source: Library, target: Library, image_id: str, report: Reporter) -> None:
    """The label that it bears now, and its notes: without them it is none the worse."""
    notes = source.notes(image_id)
    if notes == NOTHING or target.notes(image_id) != NOTHING:
        return
    try:
        target.annotate(image_id, lambda _: notes)
    except RescueError as error:
        report.log(f"The notes of image {image_id} are not copied: {error.message}", "warning")


def prove_image(library: Library, image_id: str, data: bytes, report: Reporter, cancel: threading.Event) -> None:
    """Read every chunk of the image of this manifest from the medium itself, and prove it.

    Raises BadImageError that names a bad one, RefusedError where the manifest there is another, IoError.
    """
    _refuse_unless_same(library, image_id, data)
    image = library.image_of(image_id, data)
    for disk in image.disks:
        _prove_chunks(Content.load(library, image, disk, from_medium=True), image.label or image.id, report, cancel)
    if cancel.is_set():
        raise CancelledError("stopped because somebody asked")


def _prove_chunks(content: Content, name: str, report: Reporter, cancel: threading.Event) -> None:
    chosen = _each_chunk(content)
    report.step(f"{READING_BACK} image {name}, {content.disk.name}", sum(content.index.length(i) for i in chosen))

    def work(i: int) -> None:
        content.plain(i)
        report.advance(content.index.length(i))

    run_all(chosen, lambda: work, cancel, content.announce, content.store.lead)
    report.finish_step()
