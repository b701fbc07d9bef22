"""python -m imaging.viewserver: the process that serves a copy-on-write view of a volume, as a file that it hands over.

A process of its own, because whoever reads from a mount that it serves itself cannot be killed while it reads: nobody
would answer the kernel any more, and what it holds would be held for ever. It ends when its input does.
"""

import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from imaging import credentials, keyring, virtual
from imaging.blockdev import opened
from imaging.content import Content
from imaging.errors import BadImageError, ExitStatus, RescueError, of_system
from imaging.fuse import VirtualFile
from imaging.library import Library
from imaging.opened import Pieces
from imaging.overlay import Overlay, Range
from imaging.reader import DiskReader
from imaging.relocating import Relocating
from imaging.views import Refused, View

_STDOUT = 1


def main() -> int:
    """Serve the view that the first line of the input asks for, until the input ends; or say why that cannot be."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keyring.leave_no_core()
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=View)
    with socket.socket(fileno=_STDOUT) as hands:
        try:
            with ExitStack() as stack:
                file = _file(asked, stack)
                found = stack.enter_context(virtual.opened(_served(file, asked)))
                socket.send_fds(hands, [msgspec.json.encode(Refused())], list(found.values()))
                sys.stdin.buffer.read()
        except RescueError as error:
            told = Refused(status=error.exit_status, message=error.message, code=error.code, hint=error.hint or "")
            hands.sendall(msgspec.json.encode(told))
            return error.exit_status
        except (OSError, MemoryError) as error:
            why = (
                "this computer has too little free memory"
                if isinstance(error, MemoryError)
                else of_system(error).message
            )
            told = Refused(
                status=ExitStatus.IO_FAILURE, message=f"the image cannot be read as a file: {why}", code="no-view"
            )
            hands.sendall(msgspec.json.encode(told))
            return ExitStatus.IO_FAILURE
    return ExitStatus.DONE


def _served(file: VirtualFile, asked: View) -> dict[str, VirtualFile]:
    if not asked.new_size:
        return {"volume": Overlay(file)}
    view = Relocating(file, asked.new_size, moved_from=asked.moved_from)
    return {"volume": view, "changes": view.changes}


def _file(asked: View, stack: ExitStack) -> VirtualFile:
    if asked.path:
        return Range(stack.enter_context(opened(asked.path)), asked.start, asked.size)
    for library_id, key in asked.keys.items():
        keyring.learn(library_id, key, Path(asked.library))
    credentials.learn(asked.access)
    library = Library.open(Path(asked.library))
    image = library.image(asked.image)
    disk = next((one for one in image.disks if one.name == asked.disk), None)
    if disk is None:
        raise BadImageError(f"image {image.id} has no disk {asked.disk}", code="no-such-disk")
    reader = stack.enter_context(DiskReader(Content.load(library, image, disk)))
    return Pieces(reader, ((asked.start, asked.start + asked.size),))


if __name__ == "__main__":
    sys.exit(main())
