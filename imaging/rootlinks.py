"""Where a path leads within a system's root, its links followed as the running system does: never out of the root."""

import os

from imaging import systemroot
from imaging.systemroot import SystemRoot
from imaging.tree import EntryKind

_MOST = 40
"""Links on the way. Source: MAXSYMLINKS in linux/namei.h."""


def may_be_there(root: SystemRoot, path: str) -> bool:
    """Whether something is at a path when the system runs; so may be whatever lies on another file system.

    Raises IoError where that cannot be told.
    """
    if "\0" in path:
        return False
    waiting, at, links = path.split("/")[::-1], [""], 0
    while waiting:
        name = waiting.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = at[:-1] or [""]
            continue
        here = [*at, name]
        if root.is_apart("/".join([*here, *waiting[::-1]])):
            return True
        entry = systemroot.entry_at(root.mount, (*root.path, *map(os.fsencode, here[1:])))
        if entry is None:
            return False
        if entry.kind is not EntryKind.LINK:
            at = here
            continue
        links += 1
        if links > _MOST:
            return False
        target = os.fsdecode(entry.target)
        waiting += target.split("/")[::-1]
        at = [""] if target.startswith("/") else at
    return True
