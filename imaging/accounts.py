"""Accounts and groups of a system on Linux: whose id is whose in another one, and people's accounts taken over. Pure.

Sources: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), acl(5); linux/posix_acl_xattr.h.
"""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FILES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
"""The files in /etc that this is about; the last five need not be there."""
_LEAST, _MOST = 1000, 59999
"""The ids that people's accounts have. Source: login.defs(5), Debian Policy 9.2.2."""
_OTHERS, _OTHERS_END = range(60578, 61184), range(0x70000000, 0xFFFF0000)
"""Ids that nothing else gives out, for those that are not people's. Source: systemd's UIDS-GIDS.md."""
_SHELL = 6
"""Which field of a line in passwd is the login shell."""
_INTERACTIVE = frozenset(
    {
        "ash",
        "bash",
        "csh",
        "dash",
        "elvish",
        "fish",
        "ksh",
        "ksh93",
        "mksh",
        "nu",
        "oksh",
        "pdksh",
        "sh",
        "tcsh",
        "xonsh",
        "yash",
        "zsh",
        "zsh-static",
    }
)
"""Programs that give whoever logs in a command line, and all that it can do; restricted ones (rbash) are none."""
_ACL_VERSION, _ACL_ENTRY = 2, struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP = 0x02, 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """A system's account files by name: their lines as they stand, of which some are entries."""

    lines: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def entries(self, file: str) -> dict[str, list[str]]:
        """The fields of each entry by its first one, the name; of two of one name the first counts, as there."""
        found: dict[str, list[str]] = {}
        for line in self.lines.get(file, ()):
            if _is_entry(line):
                fields = line.split(":")
                found.setdefault(fields[0], fields)
        return found

    def ids(self, file: str) -> dict[str, int]:
        """The ids of "passwd" or "group" by name; an entry without one is none."""
        found = self.entries(file).items()
        return {name: int(fields[2]) for name, fields in found if len(fields) > 2 and _is_id(fields[2])}

    @property
    def people(self) -> tuple[str, ...]:
        """The names of people's accounts, in the file's order."""
        return tuple(name for name, id in self.ids("passwd").items() if _is_person(id))

    @property
    def homes(self) -> tuple[str, ...]:
        """The home folders of people's accounts, each once."""
        known = self.entries("passwd")
        return tuple(dict.fromkeys(known[name][5] for name in self.people if len(known[name]) > 5))

    def shells_of(self, names: Collection[str]) -> tuple[str, ...]:
        """The login shells of these, each once, of those that give them a command line.

        Whatever else stands there is to let them do less than that, or nothing: nologin, git-shell, a site's own.
        """
        found = (fields[_SHELL] for name, fields in self.entries("passwd").items() if name in names and fields[_SHELL:])
        return tuple(dict.fromkeys(shell for shell in found if _is_interactive(shell)))

    def ranges(self, file: str) -> list[tuple[str, int, int]]:
        """Of "subuid" or "subgid" whose ids for containers are which: the name, the first one, one past the last."""
        found = []
        for line in self.lines.get(file, ()):
            fields = line.split(":")
            if _is_entry(line) and len(fields) == 3 and _is_id(fields[1]) and _is_id(fields[2]):
                found.append((fields[0], int(fields[1]), int(fields[1]) + int(fields[2])))
        return found


def parse(texts: Mapping[str, str]) -> Accounts:
    """Read account files by their names; those of `texts` that are missing have no lines."""
    return Accounts(lines={name: text.removesuffix("\n").split("\n") for name, text in texts.items()})


class Owners:
    """Which id in the new system belongs to whoever an id of the old one belonged to: that of the same name.

    A person's is never a service's, though that bears the name. Where the new system has no such name, the id stays,
    unless it belongs to somebody else there, for containers perhaps: what is kept must not become a stranger's. Then it
    is one that nobody has in either.
    """

    def __init__(self, old: Accounts, new: Accounts) -> None:
        """Take both systems as they are before anything is taken over."""
        self._users = _Mapped(old.ids("passwd"), new.ids("passwd"), _theirs(old, new, "subuid"))
        self._groups = _Mapped(old.ids("group"), new.ids("group"), _theirs(old, new, "subgid"))

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


def without_account(ids: Iterable[int], old: Accounts, new: Accounts) -> tuple[str, ...]:
    """The names of those who have one of these ids in the old system, and no account in the new one."""
    names: dict[int, str] = {}
    for name, id in old.ids("passwd").items():
        names.setdefault(id, name)
    there = new.ids("passwd")
    found = ((id, names[id]) for id in ids if id and id in names)
    return tuple(
        dict.fromkeys(name for id, name in found if name not in there or _is_person(there[name]) != _is_person(id))
    )


def _theirs(old: Accounts, new: Accounts, file: str) -> list[tuple[int, int]]:
    """The new system's ranges of ids for containers that are not the same person's in the old one."""
    mine = set(old.ranges(file))
    return [(low, high) for name, low, high in new.ranges(file) if (name, low, high) not in mine]


class _Mapped:
    def __init__(self, old: Mapping[str, int], new: Mapping[str, int], theirs: Collection[tuple[int, int]]) -> None:
        self._names: dict[int, str] = {}
        for name, id in old.items():
            self._names.setdefault(id, name)
        self._new, self._theirs, self._taken = new, theirs, {*new.values(), *old.values()}
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
        if id == 0:
            return 0
        named = self._new.get(self._names.get(id, ""))
        if named is not None and _is_person(named) == _is_person(id):
            return named
        if id not in self._there and id not in self._given and not any(low <= id < high for low, high in self._theirs):
            return id
        for ids in [range(_LEAST, _MOST + 1)] if _is_person(id) else [_OTHERS, _OTHERS_END]:
            for free in ids:
                if free not in self._taken:
                    return free
        raise ValueError("there is no id left")


def taken_over(old: Accounts, new: Accounts, owners: Owners, shells: Mapping[str, str] | None = None) -> dict[str, str]:
    """The new system's account files with the old one's people in them, by name; only those that it has already.

    `owners` are those of the same two systems, and `shells` what people get in place of a login shell that the new one
    does not have. Nobody who is there is taken away, and no service is given anything.
    """
    ids = new.ids("passwd")
    people = [name for name in old.people if name not in ids or _is_person(ids[name])]
    files = {name: _Lines(new.lines[name]) for name in FILES if name in new.lines}
    for name in people:
        if name not in ids:
            _add_person(name, old, files, owners, shells or {})
        _set_password(name, old, files)
    _add_groups(people, old, files, owners)
    for file in ("subuid", "subgid"):
        if file in files:
            _add_ranges(people, old.ranges(file), new.ranges(file), files[file])
    return {name: lines.text for name, lines in files.items()}


class _Lines:
    """The lines of an account file as it is to be; those that are no entries stay where they are."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = list(lines)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def fields(self, name: str) -> list[str] | None:
        """Of the first entry of that name; None where there is none."""
        at = self._at(name)
        return None if at is None else self._lines[at].split(":")

    def put(self, fields: Sequence[str]) -> None:
        """In place of the entry of that name, or a new one: before what leads to servers that know others."""
        at = self._at(fields[0])
        if at is not None:
            self._lines[at] = ":".join(fields)
        else:
            self.add(fields)

    def add(self, fields: Sequence[str]) -> None:
        """One entry more, whatever there is."""
        at = next((i for i, line in enumerate(self._lines) if line.startswith(("+", "-"))), len(self._lines))
        self._lines.insert(at, ":".join(fields))

    def _at(self, name: str) -> int | None:
        return next(
            (i for i, line in enumerate(self._lines) if _is_entry(line) and line.partition(":")[0] == name), None
        )


def _add_person(
    name: str, old: Accounts, files: Mapping[str, _Lines], owners: Owners, shells: Mapping[str, str]
) -> None:
    line = list(old.entries("passwd")[name])
    line[2] = str(owners.user(int(line[2])))
    if len(line) > 3 and _is_id(line[3]):
        line[3] = str(owners.group(int(line[3])))
    if len(line) > _SHELL:
        line[_SHELL] = shells.get(line[_SHELL], line[_SHELL])
    files["passwd"].put(line)


def _set_password(name: str, old: Accounts, files: Mapping[str, _Lines]) -> None:
    """All of somebody who is new, the password alone of one who was there."""
    shadow = old.entries("shadow").get(name)
    if shadow is None or len(shadow) < 2 or "shadow" not in files:
        return
    there = files["shadow"].fields(name)
    files["shadow"].put(shadow if there is None else [there[0], shadow[1], *there[2:]])


def _add_groups(people: Sequence[str], old: Accounts, files: Mapping[str, _Lines], owners: Owners) -> None:
    """People's own groups, and their membership in those that the new system has."""
    if "group" not in files:
        return
    known = old.entries("passwd")
    primary = {known[name][3] for name in people if len(known[name]) > 3}
    for name, line in old.entries("group").items():
        if len(line) < 4 or not _is_id(line[2]):
            continue
        if files["group"].fields(name) is None and (_is_person(int(line[2])) or line[2] in primary):
            files["group"].put([name, "x", str(owners.group(int(line[2]))), ""])
            if "gshadow" in files:
                files["gshadow"].put([name, "!", "", ""])
        members = [one for one in line[3].split(",") if one in people]
        for file in ("group", "gshadow"):
            fields = files[file].fields(name) if file in files else None
            if members and fields is not None and len(fields) > 3:
                fields[3] = _joined([*fields[3].split(","), *members])
                files[file].put(fields)


def _add_ranges(
    people: Sequence[str], old: Iterable[tuple[str, int, int]], new: Iterable[tuple[str, int, int]], lines: _Lines
) -> None:
    """People's ranges of ids for containers, where they overlap nobody's: one id is never two people's."""
    taken = [(low, high) for _, low, high in new]
    there = {name for name, _, _ in new}
    for name, low, high in old:
        if name in people and name not in there and not any(low < end and start < high for start, end in taken):
            lines.add([name, str(low), str(high - low)])
            taken.append((low, high))


def _joined(names: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(name for name in names if name))


def _is_entry(line: str) -> bool:
    return bool(line.strip()) and line[0] not in "#+-"


def _is_person(id: int) -> bool:
    return _LEAST <= id <= _MOST


def _is_interactive(shell: str) -> bool:
    return shell.startswith("/") and shell.rpartition("/")[2] in _INTERACTIVE


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 10
