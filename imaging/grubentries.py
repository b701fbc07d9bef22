"""What the entries of a boot menu start: kernels, what they are told, and where they lie. Pure.

For grub.cfg, as grub-mkconfig and people write it, and the files of the Boot Loader Specification. Variables and
conditions are not carried out: what depends on one is not known.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_MOST_ENTRIES = 64
_MOST_LINES = 20_000
_ROOT_DEVICE = re.compile(r"^\(\$\{?root\}?\)")
_ON_PARTITION = re.compile(r"^hd\d+,(?:gpt|msdos)?(\d{1,3})$")
_FS_UUID = re.compile(r"--fs-uuid\b|-u\b|^search\.fs_uuid\b")
_BLS = re.compile(r"(?m)^[\x20\t]*blscfg\b")
_MOST_INITRDS = 32
_LONGEST_PATH = 4096
"""Bytes of a path, PATH_MAX of linux/limits.h."""
_KERNELS = ("linux", "linux16", "linuxefi")
_INITRDS = ("initrd", "initrd16", "initrdefi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: `uuid` is that of the file system that its paths are on, empty for the menu's own."""

    title: str
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """What the kernel is told."""
    uuid: str = ""
    device: str = ""
    """GRUB's name of the device that they are on, `hd0,gpt2`, where no UUID is looked for."""
    several: bool = False
    """Whether it names several kernels, of which a condition chooses one."""

    @property
    def partition(self) -> int:
        """The number of the partition that `device` names; 0 where it names none."""
        found = _ON_PARTITION.search(self.device)
        return int(found[1]) if found else 0

    @property
    def root(self) -> str:
        """The value of root=, the last one; empty where there is none."""
        return next((word[5:] for word in reversed(self.words) if word.startswith("root=")), "")

    @property
    def clear(self) -> bool:
        """Whether its paths are written out: no variable in them, no other device; and as many as a system has."""
        if len(self.initrds) > _MOST_INITRDS:
            return False
        paths = (self.kernel, *self.initrds)
        plain = not any(len(path) > _LONGEST_PATH or mark in path for path in paths for mark in "$()")
        return plain and not self.several and not (self.device and not self.partition)


@dataclass(slots=True)
class _Reading:
    title: str
    uuid: str
    kernel: str = ""
    initrds: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    device: str = ""
    several: bool = False

    def entry(self) -> Entry:
        return Entry(
            title=self.title,
            kernel=self.kernel,
            initrds=tuple(self.initrds),
            words=tuple(self.words),
            uuid=self.uuid,
            device=self.device,
            several=self.several,
        )


def reads_others(text: str) -> bool:
    """Whether a grub.cfg takes its entries from the files of the Boot Loader Specification."""
    return bool(_BLS.search(text))


def parse(text: str) -> tuple[Entry, ...]:
    """The entries of a grub.cfg that start a kernel, the first ones, in their order."""
    found = (reading.entry() for reading in _readings(text) if reading.kernel)
    return tuple(entry for entry, _ in zip(found, range(_MOST_ENTRIES), strict=False))


def _readings(text: str) -> Iterator[_Reading]:
    outer, outer_device, now = "", "", _Reading(title="", uuid="")
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        words = [word.strip("\"'") for word in line.split()]
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "menuentry":
            if not now.title:
                outer = now.uuid
                outer_device = now.device
            yield now
            now = _Reading(title=_title(line), uuid=outer, device=outer_device)
        elif words[0] in ("search", "search.fs_uuid"):
            now.uuid = _searched(words) or now.uuid
            now.device = ""
        elif words[0] == "set" and words[-1].startswith("root="):
            now.uuid, now.device = "", words[-1].removeprefix("root=").strip("\"'()")
        elif words[0] in _KERNELS and len(words) > 1:
            now.several = bool(now.kernel)
            now.kernel, now.words = _path(words[1]), words[2:]
        elif words[0] in _INITRDS:
            now.initrds += map(_path, words[1:])
    yield now


def _title(line: str) -> str:
    quoted = re.search(r"'([^']*)'|\"([^\"]*)\"", line)
    return (quoted[1] or quoted[2] or "?")[:80] if quoted else "?"


def _searched(words: list[str]) -> str:
    if not any(_FS_UUID.search(word) for word in words):
        return ""
    if words[0] == "search.fs_uuid":
        return words[1] if len(words) > 1 else ""
    plain = [word for word in words[1:] if not word.startswith("-")]
    return plain[-1] if plain else ""


def _path(word: str) -> str:
    return _ROOT_DEVICE.sub("", word)


def parse_loader_entry(text: str) -> Entry:
    """One file of the Boot Loader Specification: loader/entries/NAME.conf."""
    values: dict[str, list[str]] = {}
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        key, _, value = line.strip().partition(" ")
        values.setdefault(key, []).append(value.strip())
    return Entry(
        title=_first(values, "title"),
        kernel=_first(values, "linux"),
        initrds=tuple(path for value in values.get("initrd", ()) for path in value.split()),
        words=tuple(word for value in values.get("options", ()) for word in value.split()),
    )


def _first(values: Mapping[str, list[str]], key: str) -> str:
    return next(iter(values.get(key, ())), "")
