"""Images that were taken from the list and whose room is not freed yet.

Such an image's folder keeps its indexes, and its manifest under another name, until every chunk is gone that no other
image names: a deletion that was cut off is completed by the next one.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from imaging import remote
from imaging.durable import reading, sync_folder, write_file, written
from imaging.errors import RefusedError
from imaging.index import Index
from imaging.library import WITHDRAWN, Library
from imaging.settling import settle


def refuse_pinned(library: Library, image_id: str) -> None:
    """Raise RefusedError where the image is pinned, or a factory image."""
    noted = library.notes(image_id)
    if noted.factory is not None:
        raise RefusedError(
            f"image {image_id} is a factory image: it is not deleted",
            code="factory",
            hint=f"`rescue factory unset {image_id}` makes it an ordinary one",
        )
    if noted.pinned:
        raise RefusedError(
            f"image {image_id} is pinned: it is not deleted",
            code="pinned",
            hint=f"`rescue unpin {image_id}` allows it",
        )


def withdraw(library: Library, image_id: str) -> None:
    """Take an image from the list: from here on, it does not exist. Raises RefusedError, IoError."""
    folder = library.root / "images" / image_id
    if folder.is_symlink() or folder.parent.is_symlink():
        raise RefusedError(f"{folder} is a link, not an image's folder", code="refused")
    remote.refuse_unless_writable(library.mirror)
    library.folder(image_id)
    with written(folder):
        (folder / "manifest.json").replace(folder / WITHDRAWN)
        sync_folder(folder)
    if library.mirror is None:
        settle(folder)
    else:
        library.mirror.push(folder / WITHDRAWN)
        library.mirror.remove(folder / "manifest.json")


def leave_behind(library: Library, name: str, index: Index) -> None:
    """Have the next deletion free what an index names and no image does: as if an image of it had been deleted.

    Raises RefusedError, IoError.
    """
    remote.refuse_unless_writable(library.mirror)
    while not library.begin(image_id := library.new_id()):
        pass
    library.write_beside(image_id, name, "caibx", index.encoded)
    mark = library.root / "images" / image_id / WITHDRAWN
    write_file(mark, b"")
    if library.mirror is not None:
        library.mirror.push(mark)


def withdrawn(library: Library) -> list[Path]:
    """The folders of such images. Raises IoError."""
    root = library.root / "images"
    if root.is_symlink():
        return []
    with reading(root):
        folders = [folder for folder in root.iterdir() if not folder.is_symlink() and (folder / WITHDRAWN).exists()]
        return sorted(folder for folder in folders if not (folder / "manifest.json").exists())


def bury(library: Library, folder: Path) -> None:
    """Remove such an image's folder, that by which it is known last. Raises IoError."""
    if library.mirror is not None:
        library.mirror.remove_all(folder, last=folder / WITHDRAWN)
    with written(folder):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != WITHDRAWN:
                path.unlink(missing_ok=True)
        sync_folder(folder)
        (folder / WITHDRAWN).unlink(missing_ok=True)
        folder.rmdir()


def clear_empty(library: Library) -> None:
    """Remove folders that a removal which was cut off has left with nothing in them, while no capture is at work."""
    root = library.root / "images"
    if root.is_symlink():
        return  # what is elsewhere is no concern of this library
    with suppress(OSError):
        for folder in root.iterdir():
            with suppress(OSError):
                folder.rmdir()
