"""Whether a system on a disk is hibernated: its memory waits in a swap partition, a logical volume or a swap file.

Nothing may be written to its file systems then: as it wakes it goes on with what it knows of them. Source: Linux
kernel/power/swap.c (the signature in the header's page), Documentation/power/swsusp-and-swap-files.rst.
"""

from contextlib import suppress

from imaging import mounttabs
from imaging.bootlook import Looking, Volume
from imaging.errors import IoError

_KIND = "swsuspend"
_MARKS = ("S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001")
_COMMON = ("/swapfile", "/swap.img", "/swap/swapfile", "/var/swap", "/var/swapfile")
"""Where installers and manuals put one; that fstab names it is not needed to wake from it."""
_LARGEST_PAGE = 64 << 10


def is_hibernated(look: Looking) -> bool:
    """Whether any system is; what cannot be looked into counts as none."""
    if any(volume.place.content.kind == _KIND for volume in look.volumes):
        return True
    roots = [volume for volume in look.volumes if volume.linux]
    paths = dict.fromkeys(_COMMON)
    for volume in roots:
        with suppress(IoError):
            paths.update(dict.fromkeys(mounttabs.swap_files(look.text(volume, "/etc/fstab") or "")))
    # One that is on a file system of its own has its name alone there.
    paths.update(dict.fromkeys([f"/{path.rpartition('/')[2]}" for path in paths]))
    return any(_sleeps(look, volume, list(paths)) for volume in roots)


def _sleeps(look: Looking, volume: Volume, paths: list[str]) -> bool:
    with suppress(IoError):
        look.ask(volume, [f"text:{path}" for path in paths])
        heads = [(look.text(volume, path) or "")[:_LARGEST_PAGE] for path in paths]
        return any(mark in head for head in heads for mark in _MARKS)
    return False
