"""Which libraries, and which image, a command means."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imaging import address, pack, remote
from imaging.blockdev import real_path
from imaging.errors import BadImageError, RescueError, UsageError
from imaging.library import Library, discover, single_files
from imaging.manifest import Image
from rescue.formats import clean
from rescue.language import _
from rescue.telling import told


def known_libraries(options: Namespace, *, single: bool = True) -> list[Path]:
    """The library that was given, else that of the environment, else all that are attached.

    To these images in single files belong where `single` ones are wanted, too.
    """
    given = options.library or os.environ.get("RESCUE_LIBRARY")
    if given:
        return [library_at(str(given))]
    return [real_path(path) for path in (*discover(), *(single_files() if single else ()))]


def library_at(words: str) -> Path:
    """The folder of a library, the file of an image, or what stands for a library at an address. Raises UsageError."""
    return remote.folder_for(words) if address.is_address(words) else pack.first_piece(real_path(words))


@dataclass(frozen=True, slots=True)
class Found:
    """An image and the library that holds it."""

    library: Library
    image: Image


def libraries(options: Namespace, *, single: bool = True) -> list[Library]:
    """Those of the known libraries that can be read, with a warning for others; raises RescueError where none can."""
    paths = known_libraries(options, single=single)
    if not paths:
        raise BadImageError(
            "no image library was found on the media that are attached",
            code="not-a-library",
            hint="give its folder with --library DIR",
        )
    good, bad = each(paths, Library.open)
    warn_unless_alone(good, bad)
    return good


def only_library(options: Namespace) -> Library:
    """The only one of the known libraries that can be read; raises UsageError where there are several."""
    found = libraries(options, single=False)
    if len(found) != 1:
        raise UsageError(
            f"several libraries are attached: {', '.join(str(library.path) for library in found)}",
            code="no-library",
            hint="choose with --library DIR",
        )
    return found[0]


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def each(things: Sequence[_In], ask: Callable[[_In], _Out]) -> tuple[list[_Out], list[RescueError]]:
    """What each thing answers, and the errors of those that cannot."""
    good: list[_Out] = []
    bad: list[RescueError] = []
    for thing in things:
        try:
            good.append(ask(thing))
        except RescueError as error:
            bad.append(error)
    return good, bad


def warn_unless_alone(good: Sequence[object], bad: Sequence[RescueError]) -> None:
    """One library that cannot be read must not hide the others; raises its error where there are none."""
    if bad and not good:
        raise bad[0]
    for error in bad:
        warn_of(error)


def warn_of(error: RescueError) -> None:
    """Say on standard error what does not keep a command from going on."""
    words = _("warning: {problem}").format(problem=clean(told(error.message)))
    print(f"rescue: {words}", file=sys.stderr)


def find(options: Namespace) -> Found:
    """The image that was named, in whichever library; the error of the last one where none has it."""
    error: RescueError | None = None
    for library in libraries(options):
        try:
            return Found(library, library.image(options.image))
        except RescueError as found:
            if error is None or found.code != "no-such-image":
                error = found
    assert error is not None
    raise error
