"""`rescue` without arguments: set the terminal up for Textual, run the application, leave the terminal clean.

Textual reads its environment when it is imported, so that it may be imported only after that is set.
"""

import atexit
import faulthandler
import os
import sys
from contextlib import suppress
from typing import NoReturn

from imaging.errors import RescueError
from imaging.logs import SCREEN_LOG
from imaging.state import state_folder
from rescue import language, presets
from rescue.console import line, size, terminal
from rescue.console.dialect import Mode
from rescue.language import _

SPARING = {
    "TEXTUAL_COLOR_SYSTEM": "standard",
    "TEXTUAL_DISABLE_KITTY_KEY": "1",
    "TEXTUAL_ANIMATIONS": "none",
    "TEXTUAL_SMOOTH_SCROLL": "0",
    "TEXTUAL_FPS": "10",
    "ESCDELAY": "200",
}
"""Textual's settings for serial lines and text consoles: 16 colours (an unknown TERM would get 16 million), few
frames, and time for an escape sequence to come over a slow line."""


def run() -> int:
    """Run the application on this terminal; returns its exit status."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        words = _("the menu needs a terminal; see {command} for commands that do not")
        print(f"rescue: {words.format(command='rescue --help')}", file=sys.stderr)
        return 2
    kind = line.kind(sys.stdin.fileno())
    mode = terminal.mode(os.environ, kind)
    for name, value in SPARING.items():
        if mode is not Mode.FULL or name in ("TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS"):
            os.environ.setdefault(name, value)
    utf8 = mode is Mode.SERIAL and size.settle(sys.stdin.fileno())
    from rescue.application import RescueApp
    from rescue.engine import engine

    have_crashes_written()
    language.use(presets.apply())
    screen = terminal.terminal(os.environ, kind, utf8=utf8)
    language.spell_out(screen.ascii_alone)
    app = RescueApp(engine(), screen)
    status = app.run(mouse=mode is Mode.FULL)
    if app.return_code and app.crash_report is not None:
        print(_("Rescue's screen has stopped because of an error in it. Jobs go on."), file=sys.stderr)
        print(_("Start it again with: {command}").format(command="rescue"), file=sys.stderr)
        print(_("What happened is written in {file}").format(file=app.crash_report), file=sys.stderr)
    return status or app.return_code or 0


def have_crashes_written() -> None:
    """Should Python itself crash, where each of its threads was stands with the other errors of the screens."""
    with suppress(OSError, RescueError):
        folder = state_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        faulthandler.enable((folder / SCREEN_LOG).open("a"))


def leave(status: int) -> NoReturn:
    """End at once, without what Python does at its end: threads may still be asking disks that do not answer.

    They would be cut off while the interpreter is taken apart beneath them; and a line that has hung up takes no
    output any more, which alone would make the status 120.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
