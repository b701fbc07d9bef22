"""The files by which a system finds its file systems as it starts: fstab, crypttab, the initramfs's resume. Pure.

Sources: fstab(5), crypttab(5), systemd.mount(5), initramfs-tools(7).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MOST_LINES = 1000
_TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
_BY = {f"/dev/disk/by-{tag.lower()}/": tag for tag in _TAGS}
_MAPPER = "/dev/mapper/"
_OPTIONAL = ("nofail", "noauto", "x-systemd.automount", "_netdev")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([0-7]{3}))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """How a device is named: `tag` is "UUID", "LABEL", "PARTUUID", "PARTLABEL", or "MAPPER" below /dev/mapper."""

    tag: str
    value: str

    def __str__(self) -> str:
        return f"{_MAPPER}{self.value}" if self.tag == "MAPPER" else f"{self.tag}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One line: what it wants, and as what (`/home`, `swap`, a name); `needed` where a start does not go on without."""

    device: Device
    where: str
    needed: bool


def device(words: str) -> Device | None:
    """A device as fstab and root= name it; None where that says nothing of a disk: /dev/sda1, tmpfs, a share."""
    words = words.strip("\"'")
    tag, equals, value = words.partition("=")
    if equals and tag in _TAGS and value:
        return Device(tag=tag, value=_unescaped(value.strip("\"'")))
    for folder, name in _BY.items():
        if words.startswith(folder):
            return Device(tag=name, value=_unescaped(words.removeprefix(folder)))
    if words.startswith(_MAPPER) and words != _MAPPER:
        return Device(tag="MAPPER", value=words.removeprefix(_MAPPER))
    parts = words.split("/")
    if len(parts) == 4 and parts[:2] == ["", "dev"] and parts[2] not in ("disk", "md", "zvol"):
        return Device(tag="MAPPER", value=mapped(parts[2], parts[3]))
    return None


def mapped(group: str, volume: str) -> str:
    """The name of a logical volume below /dev/mapper: a hyphen in a name is doubled there."""
    return f"{group.replace('-', '--')}-{volume.replace('-', '--')}"


def fstab(text: str) -> Iterator[Wanted]:
    """What fstab wants of disks. Swap is waited for, and done without."""
    for fields in _lines(text):
        found = device(fields[0]) if len(fields) >= 3 else None
        if found is None:
            continue
        options = fields[3].split(",") if len(fields) > 3 else []
        swap = fields[2] == "swap"
        needed = not swap and not any(option in _OPTIONAL for option in options)
        yield Wanted(device=found, where="swap" if swap else _unescaped(fields[1]), needed=needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One line of fstab as it stands: the device's words, the folder, the file system and the options."""

    device: str
    where: str
    kind: str
    options: tuple[str, ...] = ()

    def option(self, name: str) -> str:
        """The value of the option of that name; empty where it is not given."""
        return next((one.partition("=")[2] for one in self.options if one.startswith(f"{name}=")), "")


def mounts(text: str) -> Iterator[Mounted]:
    """All that fstab mounts at a folder, whatever it is."""
    for fields in _lines(text):
        where = _unescaped(fields[1]) if len(fields) >= 3 else ""
        if where.startswith("/"):
            options = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            yield Mounted(device=fields[0], where=where.rstrip("/") or "/", kind=fields[2], options=options)


def swap_files(text: str) -> Iterator[str]:
    """The paths of what fstab has as swap, where that is no name of a device."""
    for fields in _lines(text):
        path = _unescaped(fields[0])
        if len(fields) >= 3 and fields[2] == "swap" and path.startswith("/") and not path.startswith("/dev/"):
            yield path


def crypttab(text: str) -> Iterator[Wanted]:
    """What crypttab wants to unlock, by the name that it gets."""
    for fields in _lines(text):
        found = device(fields[1]) if len(fields) >= 2 else None
        if found is not None:
            options = fields[3].split(",") if len(fields) > 3 else []
            yield Wanted(device=found, where=fields[0], needed=not any(option in _OPTIONAL for option in options))


def resume(text: str) -> Device | None:
    """The swap area that the initramfs waits for, by its conf.d/resume."""
    for line in text.splitlines()[:_MOST_LINES]:
        key, _, value = line.strip().partition("=")
        if key == "RESUME":
            return device(value)
    return None


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines()[:_MOST_LINES]:
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.split()


def _unescaped(words: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16) if found[1] else int(found[2], 8)), words)
