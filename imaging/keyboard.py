"""The keyboard's layout on the computer's own screen: which are installed, which is loaded, and loading another.

A layout is of the virtual consoles alone; what comes over a serial line or ssh was made into characters elsewhere.
Source: loadkeys(1).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from imaging import media
from imaging.durable import write_file
from imaging.errors import RefusedError, UsageError
from imaging.run import run

KEYMAPS = Path("/usr/share/keymaps/i386")
STATE = Path("/run/rescue/keymap")
CONSOLE = Path("/dev/tty1")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyboard:
    """The layouts that can be loaded, by loadkeys' names; `loaded` is empty where the kernel's own, American, is."""

    keymaps: frozenset[str] = frozenset()
    loaded: str = ""
    why_not: str = ""
    """Why none can be loaded; empty where one can."""


def keyboard() -> Keyboard:
    """How it is now."""
    return Keyboard(
        keymaps=frozenset(path.name.partition(".kmap")[0] for path in KEYMAPS.glob("*/*.kmap*")),
        loaded=STATE.read_text(encoding="utf-8").strip() if STATE.exists() else "",
        why_not=why_not(),
    )


def why_not() -> str:
    """Why no layout can be loaded; empty where one can."""
    if not media.on_live_system():
        return "this is not the recovery system: its own settings say which layout the keyboard has"
    if os.geteuid() != 0:
        return "only root can change the keyboard's layout"
    return "" if CONSOLE.exists() else "this computer has no screen and keyboard of its own"


def load(keymap: str) -> None:
    """Load a layout, for all virtual consoles; raises RefusedError, UsageError where there is none, IoError."""
    reason = why_not()
    if reason:
        raise RefusedError(f"the keyboard's layout cannot be changed: {reason}", code="not-live")
    if not _NAME.fullmatch(keymap) or keymap not in keyboard().keymaps:
        raise UsageError(f"there is no keyboard layout {keymap!r}", code="no-such-layout")
    run(["loadkeys", "-q", "-C", CONSOLE, keymap], timeout=_TIMEOUT)
    write_file(STATE, keymap.encode())
