"""Whose id is whose in another system, and people's accounts taken over."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from imaging.accounts import FILES, Owners, parse, taken_over, without_account

OLD = {
    "passwd": (
        "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/false\n"
        "anna:x:1000:1000:A:/home/anna:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\n"
    ),
    "shadow": "root:!:1::::::\nanna:$y$a:1::::::\nbob:$y$b:1::::::\n",
    "group": "root:x:0:\nwww:x:33:\nusers:x:100:\naudio:x:29:anna,bob\nanna:x:1000:\nclub:x:1005:bob\n",
    "gshadow": "root:*::\naudio:*::anna,bob\nanna:!::\nclub:!::bob\n",
    "subuid": "anna:100000:65536\n",
}
NEW = {
    "passwd": "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/false\nbob:x:1000:1000::/home/bob:/bin/zsh\n",
    "shadow": "root:*:1::::::\nbob:!:1::::::\n",
    "group": "root:x:0:\nweb:x:33:\nusers:x:100:\naudio:x:30:\nbob:x:1000:\n",
    "gshadow": "root:*::\naudio:*::\nbob:!::\n",
    "subuid": "bob:100000:65536\n",
}


def test_owners_are_found_by_their_names() -> None:
    owners = Owners(parse(OLD), parse(NEW))
    assert owners.user(0) == 0
    assert owners.user(1001) == 1000, "bob has another id there"
    assert owners.user(1000) == 1002, "anna's is bob's there, and 1001 was bob's"
    assert owners.user(33) == 60578, "www is nobody there, and its id is web's"
    assert owners.user(100999) == 60579, "it is of bob's containers there"
    assert owners.user(65534) == 65534
    assert owners.group(29) == 30
    assert owners.group(100) == 100
    assert owners.group(1005) == 1005


def test_people_are_taken_over_with_their_passwords_and_groups() -> None:
    old, new = parse(OLD), parse(NEW)
    files = taken_over(old, new, Owners(old, new))
    assert files["passwd"] == NEW["passwd"] + "anna:x:1002:1001:A:/home/anna:/bin/sh\n"
    assert files["shadow"] == "root:*:1::::::\nbob:$y$b:1::::::\nanna:$y$a:1::::::\n"
    assert files["group"] == (
        "root:x:0:\nweb:x:33:\nusers:x:100:\naudio:x:30:anna,bob\nbob:x:1000:\nanna:x:1001:\nclub:x:1005:bob\n"
    )
    assert files["gshadow"] == "root:*::\naudio:*::anna,bob\nbob:!::\nanna:!::\nclub:!::bob\n"
    assert files["subuid"] == "bob:100000:65536\n", "anna's are bob's there"
    assert "subgid" not in files


def test_whoever_is_new_gets_a_shell_that_is_there() -> None:
    old, new = parse(OLD), parse(NEW)
    assert old.shells_of(["anna", "bob", "www"]) == ("/bin/sh",)
    files = taken_over(old, new, Owners(old, new), {"/bin/sh": "/bin/bash"})
    assert "anna:x:1002:1001:A:/home/anna:/bin/bash\n" in files["passwd"]
    assert "bob:x:1000:1000::/home/bob:/bin/zsh\n" in files["passwd"], "he was there"


def test_what_lets_nobody_in_or_not_to_all_is_no_shell_to_be_replaced() -> None:
    shells = (
        "/bin/zsh",
        "/opt/a/fish",
        "/usr/bin/git-shell",
        "/usr/bin/rssh",
        "/usr/sbin/nologin",
        "/bin/rbash",
        "sh",
        "",
    )
    lines = "".join(f"p{id}:x:{id}:{id}::/:{shell}\n" for id, shell in enumerate(shells, start=1000))
    old = parse({"passwd": f"{lines}short:x:1100:1100\n"})
    assert old.shells_of(old.people) == ("/bin/zsh", "/opt/a/fish")


def test_those_without_an_account_are_named_once() -> None:
    old, new = parse(OLD), parse(NEW)
    assert without_account([1000, 1001, 1000, 33, 0, 4711], old, new) == ("anna", "www")
    service = parse({"passwd": "anna:x:110:110::/srv:/bin/false\n"})
    assert without_account([1000], old, service) == ("anna",)


def test_no_service_becomes_a_person() -> None:
    old = parse({"passwd": "git:x:1003:1003::/home/git:/bin/sh\n", "shadow": "git:$y$G:1::::::\n", "group": ""})
    new = parse({"passwd": "git:x:110:110::/srv:/bin/false\n", "shadow": "git:*:1::::::\n", "group": "adm:x:4:\n"})
    owners = Owners(old, new)
    assert owners.user(1003) == 1003
    assert taken_over(old, new, owners) == {
        "passwd": "git:x:110:110::/srv:/bin/false\n",
        "shadow": "git:*:1::::::\n",
        "group": "adm:x:4:\n",
    }


def test_what_is_no_entry_stays() -> None:
    old = parse({"passwd": "anna:x:1000:1000::/home/anna:/bin/sh\nanna:x:0:0::/:/bin/sh\n", "group": "a:x:1000:anna\n"})
    new = parse({"passwd": "# people\nroot:x:0:0::/root:/bin/sh\n\n+::::::\n", "shadow": "root:*:\n+::::::::\n"})
    files = taken_over(old, new, Owners(old, new))
    line = "anna:x:1000:1000::/home/anna:/bin/sh"
    assert files["passwd"] == f"# people\nroot:x:0:0::/root:/bin/sh\n\n{line}\n+::::::\n"
    assert files["shadow"] == "root:*:\n+::::::::\n"


def test_ranges_for_containers_are_kept_where_they_are_nobody_s() -> None:
    old = parse({"passwd": "anna:x:1000:1000::/:/bin/sh\n", "subuid": "anna:100000:65536\n"})
    new = parse({"passwd": "", "subuid": "\n"})
    assert taken_over(old, new, Owners(old, new))["subuid"] == "\nanna:100000:65536\n"
    assert Owners(old, new).user(100999) == 100999


def test_a_list_of_rights_names_the_same_people() -> None:
    owners = Owners(parse(OLD), parse(NEW))
    none = 2**32 - 1
    entries = [(1, 6, none), (2, 4, 1001), (4, 4, none), (8, 4, 29), (0x10, 6, none), (0x20, 0, none)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    entries[1], entries[3] = (2, 4, 1000), (8, 4, 30)
    assert owners.acl(value) == struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    assert owners.acl(value[:-1]) == value[:-1]
    assert owners.acl(b"") == b""


lines = st.lists(st.lists(st.text("ab:1x,-+#0 9", max_size=6), max_size=8).map(":".join), max_size=6).map("\n".join)
systems = st.dictionaries(st.sampled_from(FILES), lines).map(lambda found: {"passwd": "", "group": ""} | found)


@given(systems, systems)
def test_files_of_any_kind_take_nobody_away(old: dict[str, str], new: dict[str, str]) -> None:
    before, there = parse(old), parse(new)
    files = taken_over(before, there, Owners(before, there))
    for name, text in files.items():
        left = [line.split(":")[0] for line in text.split("\n")]
        for line in there.lines[name]:
            left.remove(line.split(":")[0])


ids = st.integers(0, 40) | st.integers(998, 1010) | st.integers(60570, 60585) | st.integers(0, 2**32 - 2)


@given(ids, ids)
def test_two_owners_never_become_one(one: int, other: int) -> None:
    owners = Owners(parse(OLD), parse(NEW))
    if one != other:
        assert owners.user(one) != owners.user(other)
