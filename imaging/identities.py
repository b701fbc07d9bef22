"""The names by which a system finds its disks: which new ones a clone gets, and how its files come to know. Pure.

A new name is as long as the old one, so that no file that names it changes its size: a packed block of settings, or a
boot loader that has a name in it, stays what it is.

Sources: blkid(8), systemd-escape(1); GRUB's 10_linux for the names of menu entries.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from imaging.disk import Size

_LONG = 36
"""Characters of a UUID; what is shorter may be a part of one, and stands alone."""
_ESCAPED = rb"\x2d"
"""A hyphen in the name of a unit of systemd."""
_NO_ID = re.compile(
    rb"""(?mx)
    (?: ^[ \t]* (?:[^\s#]+[ \t]+)? | \b(?:root|resume|mount\.usr)=["']? )
    ( (?P<tag>LABEL|/dev/disk/by-label/|PARTLABEL)=?["']? (?P<label>[^\s"'#]+)
    | /dev/(?:[hsv]d[a-z]|xvd[a-z]|nvme\d|mmcblk\d)\w*
    | /dev/disk/by-(?:id|path|partlabel)/[^\s"']+ )
    (?P<rest>.*)$"""
)
"""What names a disk by where it is, or by what a copy of it has, too: in fstab, crypttab, options of a kernel."""
HOST_NAME = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*")
"""What a computer can be called. Source: hostname(7)."""


class Renamed(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a partition (0: on the bare disk), or the partition itself, and the id that it gets for its own.

    `kind` is blkid's name of what it is, or "partition".
    """

    number: Size
    kind: str
    old: str
    new: str


class NotRenamed(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a partition and keeps its id, by blkid's name; `why` is in words."""

    number: Size
    kind: str
    why: str


class NewIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk that is restored, and the system on it, is known by from then on.

    `old_table` and `new_table` are the GUID of a GPT, or the signature of an MBR (0x and 8 digits); empty where there
    is no table. `systems` says whether there are systems whose files have to follow.
    """

    old_table: str = ""
    new_table: str = ""
    partitions: tuple[Renamed, ...] = ()
    volumes: tuple[Renamed, ...] = ()
    kept: tuple[NotRenamed, ...] = ()
    host_name: str = ""
    """What the computer is called from then on; empty to leave that as it is."""

    @property
    def names(self) -> dict[str, str]:
        """Each old id that a file may name, with the new one."""
        return {one.old: one.new for one in (*self.volumes, *self.partitions)}


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What finds old ids in files, and replaces them."""

    pattern: "re.Pattern[bytes]"
    names: Mapping[bytes, bytes]
    labels: frozenset[bytes] = frozenset()

    @classmethod
    def to(cls, names: Mapping[str, str], labels: Iterable[str] = ()) -> "References":
        """Those to ids, each of which has a new one of the same length; raises ValueError for another.

        `labels` are those of the file systems that bear the ids: these stay.
        """
        if any(len(old) != len(new) or old.count("-") != new.count("-") for old, new in names.items()):
            raise ValueError("a new id has another form than the old one")
        words = (_word(name) for name in sorted(names, key=len, reverse=True))
        # With no id at all nothing is found.
        return cls(
            pattern=re.compile(b"|".join(words) or rb"(?!)", re.IGNORECASE),
            names={old.lower().encode(): new.encode() for old, new in names.items()},
            labels=frozenset(label.encode() for label in labels if label),
        )

    def replaced(self, data: bytes) -> bytes:
        """The same with new ids: as long as before."""
        return self.pattern.sub(lambda found: self._new(found[0]), data)

    def shared(self, data: bytes) -> list[str]:
        """Whatever in settings of a start could mean the original as well, in its own words: /dev/sda2, a label."""
        found = []
        for one in _NO_ID.finditer(data):
            away = one["tag"] in (b"LABEL", b"/dev/disk/by-label/") and one["label"] not in self.labels
            if not away and b"noauto" not in one["rest"]:
                found.append(one[1].decode(errors="replace"))
        return list(dict.fromkeys(found))

    def _new(self, found: bytes) -> bytes:
        plain = found.replace(_ESCAPED, b"-").replace(_ESCAPED.upper(), b"-")
        new = self.names[plain.lower()]
        if plain != plain.lower():
            new = new.upper()
        elif plain != plain.upper():
            new = new.lower()
        return new.replace(b"-", _ESCAPED) if plain != found else new


def _word(name: str) -> bytes:
    """A name that is no part of a longer one; a UUID may have hyphens around it, as in the ids of menu entries."""
    hyphen = b"(?:-|" + re.escape(_ESCAPED) + b")"
    text = hyphen.join(re.escape(part.encode()) for part in name.split("-"))
    around = b"0-9A-Za-z" if len(name) == _LONG else rb"\w\\-"
    return b"(?<![%s])%s(?![%s])" % (around, text, around)


def host_name_in(text: str) -> str:
    """What /etc/hostname calls a computer; empty where nothing does. Source: hostname(5), which has comments, too."""
    lines = (line.strip() for line in text.split("\n"))
    return next((line for line in lines if line and not line.startswith("#")), "")


def hosts_with(text: str, old: str, new: str) -> str:
    """/etc/hosts with another name for this computer, alone and with a domain behind it; localhost stays."""
    if old in ("", "localhost"):
        return text
    word = r"(?m)(?<=[ \t])" + re.escape(old) + r"(?=[ \t\r.]|$)"
    return re.sub(word, lambda _: new, text)
