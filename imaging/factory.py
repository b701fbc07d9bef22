"""Which image a recovery medium was made with as the factory image: `factory.json` beside `library.json` names it.

{"format": 1, "image": "<image id>"}. A program that does not know the file loses nothing; one image at most is marked.
What else makes an image a factory image, and for which computers, is noted with it: imaging.notes.
"""

from pathlib import Path
from typing import Any

import msgspec

from imaging.durable import sync_folder, write_file, written
from imaging.errors import BadImageError, IoError
from imaging.regular import read_regular

NAME = "factory.json"
FORMAT = 1
_MOST = 64 << 10


def factory_image(library: Path) -> str:
    """The id of the library's factory image; empty where none is marked.

    Raises BadImageError where the mark is damaged or of an unknown version, IoError. The image may be gone.
    """
    name = library / NAME
    try:
        document: Any = msgspec.json.decode(read_regular(name, _MOST))
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise IoError(f"{name} cannot be read: {error.strerror}", code="read-failed") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadImageError(f"{name} is damaged: {error}", code="bad-image-file") from error
    if not isinstance(document, dict) or not isinstance(document.get("image"), str):
        raise BadImageError(f"{name} names no image", code="bad-image-file")
    if document.get("format") != FORMAT:
        raise BadImageError(
            f"{name}: format version {document.get('format')} is not known to this program",
            code="unknown-version",
            hint="use a newer version of Rescue",
        )
    return str(document["image"])


def mark_factory_image(library: Path, image_id: str) -> None:
    """Mark an image as the library's factory image, in place of any other; raises IoError."""
    data = msgspec.json.encode({"format": FORMAT, "image": image_id})
    write_file(library / NAME, msgspec.json.format(data, indent=1) + b"\n")


def unmark_factory_image(library: Path, image_id: str) -> None:
    """Take the mark away where it names this image; raises BadImageError, IoError."""
    if factory_image(library) == image_id:
        with written(library / NAME):
            (library / NAME).unlink()
            sync_folder(library)
