"""`rescue` without arguments: set the terminal up for Textual, run the application, leave the terminal clean.

Textual reads its environment when it is imported, so that it may be imported only after that is set.
"""

import os
import sys
from collections.abc import Mapping

EMULATORS = ("xterm", "screen", "tmux", "rxvt", "alacritty", "foot", "kitty", "wezterm", "ghostty", "konsole", "gnome")
"""Beginnings of TERM for terminals that have a mouse and know the escape sequences of xterm."""

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


def is_console(environ: Mapping[str, str]) -> bool:
    """Whether this is a serial line or a text console, not a terminal emulator."""
    return "RESCUE_LIVE" in environ or not environ.get("TERM", "").startswith(EMULATORS)


def run() -> int:
    """Run the application on this terminal; returns its exit status."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        print("rescue: the menu needs a terminal; see rescue --help for commands that do not", file=sys.stderr)
        return 2
    console = is_console(os.environ)
    for name, value in SPARING.items():
        if console or name in ("TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS"):
            os.environ.setdefault(name, value)
    from rescue.application import RescueApp
    from rescue.engine import engine

    app = RescueApp(engine())
    status = app.run(mouse=not console)
    if app.return_code and app.crash_report is not None:
        print("Rescue's screen has stopped because of an error in it. Jobs go on.", file=sys.stderr)
        print("Start it again with: rescue", file=sys.stderr)
        print(f"What happened is written in {app.crash_report}", file=sys.stderr)
    return status or app.return_code or 0
