"""The language and the keyboard's layout that a screen begins with: chosen on another one, or at boot."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from imaging import bootline, keyboard, media
from imaging.durable import write_file, written
from imaging.errors import RescueError
from imaging.state import state_folder
from rescue import layouts
from rescue.language import of_environment

LANGUAGE = "language"
"""The file in the state folder that holds the language for new screens."""


def language(state: Path, environ: Mapping[str, str]) -> str:
    """What was chosen last, else what the kernel command line says, else what the environment does."""
    try:
        chosen = (state / LANGUAGE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        chosen = ""
    at_boot = bootline.value("rescue.lang") if media.on_live_system() else ""
    return chosen or at_boot or of_environment(environ)


def remember_language(state: Path, code: str) -> None:
    """New screens begin with it; raises IoError."""
    with written(state):
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(state / LANGUAGE, code.encode())


def load_keymap() -> None:
    """The layout that the kernel command line names, unless one was chosen already; an unknown one is only told."""
    code = bootline.value("rescue.keymap")
    if not code or keyboard.why_not() or keyboard.keyboard().loaded:
        return
    try:
        keyboard.load(layouts.named(code))
    except RescueError as error:
        print(f"rescue: rescue.keymap={code}: {error.message}", file=sys.stderr)


def apply() -> str:
    """Load the keymap, and return the language to begin with."""
    load_keymap()
    return language(state_folder(), os.environ)
