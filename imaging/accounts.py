"""Accounts and groups of a system on Linux: whose id is whose in another one, and people's accounts taken over. Pure.

Sources: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), acl(5); linux/posix_acl_xattr.h.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FILES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
"""The files in /etc that this is about; the last five need not be there."""
_LEAST, _MOST = 1000, 59999
"""The ids that people's accounts have. Source: login.defs(5), Debian Policy 9.2.2."""
_OTHERS = 60100
"""From here on ids are taken for those that are not people's. Source: Debian Policy 9.2.2: not allocated otherwise."""
_ACL_VERSION, _ACL_ENTRY = 2, struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP = 0x02, 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The lines of a system's account files, by the file's name, and fields of each line."""

    lines: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)

    def named(self, file: str) -> dict[str, Sequence[str]]:
        """The lines of a file by their first field, the name."""
        return {line[0]: line for line in self.lines.get(file, ())}

    def ids(self, file: str) -> dict[str, int]:
        """The ids of "passwd" or "group" by name; a line without one is none."""
        return {line[0]: int(line[2]) for line in self.lines.get(file, ()) if len(line) > 2 and _is_id(line[2])}

    @property
    def people(self) -> tuple[str, ...]:
        """The names of people's accounts, in the file's order."""
        return tuple(name for name, id in self.ids("passwd").items() if _LEAST <= id <= _MOST)

    @property
    def homes(self) -> tuple[str, ...]:
        """The home folders of people's accounts, each once."""
        lines = self.named("passwd")
        return tuple(dict.fromkeys(lines[name][5] for name in self.people if len(lines[name]) > 5))


def parse(texts: Mapping[str, str]) -> Accounts:
    """Read account files by their names; those of `texts` that are missing have no lines."""
    return Accounts(
        lines={
            name: [line.split(":") for line in text.splitlines() if line.strip() and line[0] not in "#+-"]
            for name, text in texts.items()
        }
    )


class Owners:
    """Which id in the new system belongs to whoever an id of the old one belonged to: that of the same name.

    Where the new system has no such name, the id stays, unless it belongs to somebody else there: what is kept must not
    become a stranger's. Then it is one that nobody has in either.
    """

    def __init__(self, old: Accounts, new: Accounts) -> None:
        """Take both systems as they are before anything is taken over."""
        self._users = _Mapped(old.ids("passwd"), new.ids("passwd"))
        self._groups = _Mapped(old.ids("group"), new.ids("group"))

    def user(self, id: int) -> int:
        """The user's id in the new system."""
        return self._users.of(id)

    def group(self, id: int) -> int:
        """The group's."""
        return self._groups.of(id)

    def acl(self, value: bytes) -> bytes:
        """An access control list, as its extended attribute holds it, with the new system's ids."""
        if len(value) < 4 or struct.unpack_from("<I", value) != (_ACL_VERSION,) or (len(value) - 4) % _ACL_ENTRY.size:
            return value
        found = value[:4]
        for tag, rights, id in _ACL_ENTRY.iter_unpack(value[4:]):
            mapped = self.user(id) if tag == _ACL_USER else self.group(id) if tag == _ACL_GROUP else id
            found += _ACL_ENTRY.pack(tag, rights, mapped)
        return found


class _Mapped:
    def __init__(self, old: Mapping[str, int], new: Mapping[str, int]) -> None:
        self._names: dict[int, str] = {}
        for name, id in old.items():
            self._names.setdefault(id, name)
        self._new, self._taken = new, {*new.values(), *old.values()}
        self._there = set(new.values())
        self._known: dict[int, int] = {}
        self._given: set[int] = set()
        for id in self._names:
            self.of(id)  # whoever has a name comes before those of whom only an id is known

    def of(self, id: int) -> int:
        if id not in self._known:
            self._known[id] = self._found(id)
            self._given.add(self._known[id])
            self._taken.add(self._known[id])
        return self._known[id]

    def _found(self, id: int) -> int:
        name = self._names.get(id)
        if id == 0 or (name is not None and name in self._new):
            return self._new[name] if name is not None and name in self._new else 0
        if id not in self._there and id not in self._given:
            return id
        free = _LEAST if _LEAST <= id <= _MOST else _OTHERS
        while free in self._taken:
            free += 1
        return free


def taken_over(old: Accounts, new: Accounts, owners: Owners) -> dict[str, str]:
    """The new system's account files with the old one's people in them, by name; only those that it has already.

    `owners` are those of the same two systems. Nobody who is there is taken away.
    """
    people = old.people
    files = {name: [list(line) for line in new.lines[name]] for name in FILES if name in new.lines}
    known = new.named("passwd")
    for name in people:
        if name not in known:
            _add_person(name, old, files, owners)
        _set_password(name, old, files)
    _add_groups(people, old, files, owners)
    for file in ("subuid", "subgid"):
        there = {line[0] for line in files.get(file, ())}
        if file in files:
            files[file] += [
                list(line) for line in old.lines.get(file, ()) if line[0] in people and line[0] not in there
            ]
    return {name: "".join(":".join(line) + "\n" for line in lines) for name, lines in files.items()}


def _add_person(name: str, old: Accounts, files: dict[str, list[list[str]]], owners: Owners) -> None:
    line = list(old.named("passwd")[name])
    line[2] = str(owners.user(int(line[2])))
    if len(line) > 3 and _is_id(line[3]):
        line[3] = str(owners.group(int(line[3])))
    files["passwd"].append(line)


def _set_password(name: str, old: Accounts, files: dict[str, list[list[str]]]) -> None:
    """All of somebody who is new, the password alone of one who was there."""
    shadow = old.named("shadow").get(name)
    if shadow is None or "shadow" not in files:
        return
    for line in files["shadow"]:
        if line[0] == name and len(line) > 1 and len(shadow) > 1:
            line[1] = shadow[1]
            return
    files["shadow"].append(list(shadow))


def _add_groups(people: Sequence[str], old: Accounts, files: dict[str, list[list[str]]], owners: Owners) -> None:
    """People's own groups, and their membership in those that the new system has."""
    primary = {old.named("passwd")[name][3] for name in people if len(old.named("passwd")[name]) > 3}
    there = {line[0]: line for line in files.get("group", ())}
    shadows = {line[0]: line for line in files.get("gshadow", ())}
    for line in old.lines.get("group", ()):
        if len(line) < 4 or not _is_id(line[2]):
            continue
        name, id = line[0], int(line[2])
        members = [one for one in line[3].split(",") if one in people]
        if name not in there and (_LEAST <= id <= _MOST or line[2] in primary):
            made = [name, "x", str(owners.group(id)), ""]
            files.setdefault("group", []).append(made)
            there[name] = made
            if "gshadow" in files:
                files["gshadow"].append([name, "!", "", ""])
                shadows[name] = files["gshadow"][-1]
        for entry in (there.get(name), shadows.get(name)):
            if entry is not None and len(entry) > 3:
                entry[3] = _joined([*entry[3].split(","), *members])


def _joined(names: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(name for name in names if name))


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 10
