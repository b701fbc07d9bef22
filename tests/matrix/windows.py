"""A disk laid out as Windows does, with all that NTFS can hold in people's folders: streams, rights, tags and so on."""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imaging import profiles
from tests.disks import MIB, blank, partition
from tests.matrix.tools import Place, attached, mounted, said

ESP, SYSTEM_SIZE = 40 * MIB, 160 * MIB
SIZE = MIB + ESP + 16 * MIB + SYSTEM_SIZE + 20 * MIB + 2 * MIB
_BASIC, _RECOVERY = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC"
_MICROSOFT = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE"
GPT = f"""label: gpt
start=1MiB, size={ESP >> 20}MiB, type=U
size=16MiB, type={_MICROSOFT}
size={SYSTEM_SIZE >> 20}MiB, type={_BASIC}
size=20MiB, type={_RECOVERY}
"""
MBR = f"label: dos\nstart=1MiB, size={ESP >> 20}MiB, type=7, bootable\nsize={SYSTEM_SIZE >> 20}MiB, type=7\n"
MOUNT = ("ntfs-3g", "-o", "streams_interface=windows,efs_raw,noatime")
TIMES = (131_000_000_000_000_000, 131_500_000_000_000_000, 131_600_000_000_000_000, 0)
JUNCTION, APP_LINK, CLOUD, PACKED = 0xA0000003, 0x8000001B, 0x9000601A, 0x80000017
_ADMINISTRATORS, _SYSTEM = (5, 32, 544), (5, 18)


def account(machine: int, number: int) -> tuple[int, ...]:
    """The SID of an account, as the numbers that it is made of."""
    return (5, 21, machine, machine + 1, machine + 2, number)


def sid(numbers: tuple[int, ...]) -> bytes:
    """The SID itself."""
    authority, *rest = numbers
    return bytes((1, len(rest))) + authority.to_bytes(6, "big") + struct.pack(f"<{len(rest)}I", *rest)


def descriptor(*persons: tuple[int, ...]) -> bytes:
    """Rights as those of a profile: its owner, Windows and administrators may do everything."""
    owner, group = sid(persons[0]), sid((*persons[0][:-1], 513))
    entries = b""
    for one in (*persons, _SYSTEM, _ADMINISTRATORS):
        who = sid(one)
        entries += struct.pack("<BBHI", 0, 3, 8 + len(who), 0x1F01FF) + who
    rights = struct.pack("<BBHHH", 2, 0, 8 + len(entries), len(persons) + 2, 0) + entries
    head = 20
    places = (head + len(rights), head + len(rights) + len(owner), 0, head)
    return struct.pack("<BBHIIII", 1, 0, 0x9004, *places) + rights + owner + group


def tagged(tag: int, data: bytes) -> bytes:
    """The data of a reparse point."""
    return struct.pack("<IHH", tag, len(data), 0) + data


def junction(target: str) -> bytes:
    """The data of a junction to a folder such as `C:\\Users`."""
    inner, shown = f"\\??\\{target}".encode("utf-16-le"), target.encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(inner), len(inner) + 2, len(shown)) + inner + b"\0\0" + shown + b"\0\0"
    return tagged(JUNCTION, names)


def put(path: Path, which: str, value: bytes) -> None:
    """Set one of ntfs-3g's attributes."""
    os.setxattr(path, f"system.ntfs_{which}", value, follow_symlinks=False)


def told(path: Path, which: str) -> bytes:
    """One of them; empty where there is none."""
    return profiles.attribute_at(os.fsencode(path), which)


def written(path: Path, data: bytes) -> Path:
    """A file, in folders that are made where they are not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def windows(top: Path, name: bytes) -> None:
    """What tells that a volume is Windows'; `name` is what its kernel holds."""
    written(top / "Windows/System32/ntoskrnl.exe", name * 100_000)
    written(top / "Windows/System32/config/SAM", b"accounts")
    for folder in ("Default", "Public/Documents"):
        (top / "Users" / folder).mkdir(parents=True, exist_ok=True)
    written(top / "Users/Default/NTUSER.DAT", b"new " + name)
    written(top / "Users/desktop.ini", b"[" + name + b"]")
    for link, target in (("All Users", "C:\\ProgramData"), ("Default User", "C:\\Users\\Default")):
        made = top / "Users" / link
        made.mkdir()
        put(made, "reparse_data", junction(target))


def person(users: Path, name: str, who: tuple[int, ...]) -> Path:
    """Somebody's folder, as one is after the first time that they were there."""
    home = users / name
    home.mkdir()
    put(home, "acl", descriptor(who))
    written(home / "NTUSER.DAT", f"settings of {name}".encode())
    written(home / "ntuser.dat.LOG1", f"log of {name}".encode())
    written(home / "AppData/Local/Microsoft/Windows/UsrClass.dat", f"classes of {name}".encode())
    return home


def use(home: Path, who: tuple[int, ...]) -> None:
    """All that a person's folder can hold."""
    letter = written(home / "Documents/letter.txt", b"dear bob\n")
    written(home / "Documents/letter.txt:Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n")
    written(home / "Documents/letter.txt:large", os.urandom(300_000))
    written(home / "Documents:of a folder", b"a stream of a folder")
    put(letter, "acl", descriptor(who, account(7, 1234)))
    put(letter, "attrib", struct.pack("<I", 0x2027))
    written(home / ("Ünïcode 日本語 😀 " + "long " * 40).strip() / ("n" * 250), b"long name")
    written(home / "Videos/film.mp4", os.urandom(9 * MIB))
    os.link(letter, home / "same letter.txt")
    with (home / "sparse").open("wb") as file:
        file.seek(20 * MIB)
        file.write(b"in the middle")
        file.truncate(30 * MIB)
    packed = home / "packed"
    packed.mkdir()
    put(packed, "attrib", struct.pack("<I", 0x800))
    written(packed / "text", b"again and again " * 200_000)
    put(packed, "attrib", struct.pack("<I", 0))
    secret = written(home / "secret", os.urandom(3 * 512) + struct.pack("<H", 0))
    put(secret, "efsinfo", struct.pack("<I", 600) + os.urandom(596))
    put(written(home / "attributes", b"x"), "ea", struct.pack("<IBBH", 16, 0, 3, 4) + b"ONE\0data")
    (home / "AppData/Roaming").mkdir(parents=True)
    (home / "Application Data").mkdir()
    put(home / "Application Data", "reparse_data", junction(f"C:\\Users\\{home.name}\\AppData\\Roaming"))
    put(written(home / "AppData/Local/app.exe", b""), "reparse_data", tagged(APP_LINK, b"a package"))


def cloud(home: Path) -> None:
    """What OneDrive looks after: a folder with a file that is here, and one that is not; and a file that is packed."""
    drive = home / "OneDrive"
    written(drive / "Pictures/here.jpg", b"it is here" * 1000)
    with written(drive / "Pictures/away.jpg", b"").open("wb") as file:
        file.truncate(5 * MIB)
    for path in (drive / "Pictures/here.jpg", drive / "Pictures/away.jpg", drive / "Pictures", drive):
        put(path, "reparse_data", tagged(CLOUD, b"cloud"))
    put(written(home / "program.exe", b""), "reparse_data", tagged(PACKED, b"packed"))


def below(top: Path) -> list[Path]:
    """All that is below a folder, in order; pathlib of Python 3.11.2 ends at what the driver cannot look through."""
    return sorted(Path(folder, name) for folder, *kinds in os.walk(top) for names in kinds for name in names)


def date(top: Path) -> None:
    """Times that no program of today would set, on all that is in a folder, and on it."""
    for at, path in enumerate([*reversed(below(top)), top]):
        put(path, "times", struct.pack("<4Q", *(time + at * 10_000_000 for time in TIMES)))


def listed(top: Path) -> dict[str, tuple[Any, ...]]:
    """All that is below a folder, and itself: attributes, rights, times, tags, streams, links and content."""
    return {str(path.relative_to(top)): _listed(path) for path in (top, *below(top))}


def _listed(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    (flags,) = struct.unpack("<I", told(path, "attrib"))
    plain = path.is_file() and not path.is_symlink()
    streams = {}
    if not path.is_symlink():
        names = os.getxattr(path, "ntfs.streams.list").split(b"\0")
        streams = {name: path.with_name(f"{path.name}:{name.decode()}").read_bytes() for name in names if name}
    return (
        flags,
        told(path, "acl"),
        told(path, "times")[:16],
        *(told(path, which) for which in ("reparse_data", "efsinfo", "ea")),
        streams,
        (status.st_nlink, status.st_size) if plain else (),
        path.read_bytes() if plain else b"",
    )


def disk(path: Path, table: str = GPT) -> Place:
    """A disk that Windows has laid out, all of its file systems empty; where C: is."""
    partition(blank(path, SIZE), table)
    start = MIB + ESP + (16 * MIB if table is GPT else 0)
    first = Place(path=path, start=MIB, size=ESP)
    system = Place(path=path, start=start, size=SYSTEM_SIZE)
    with attached(first) as loop:
        said(
            *(("mkfs.vfat", "-I", "-F", "32", "-s", "1", loop) if table is GPT else ("mkntfs", "-Q", "-q", "-F", loop))
        )
    with attached(system) as loop:
        said("mkntfs", "-Q", "-q", "-F", "-L", "Windows", loop)
    if table is GPT:
        with attached(Place(path=path, start=start + SYSTEM_SIZE, size=20 * MIB)) as loop:
            said("mkntfs", "-Q", "-q", "-F", "-L", "Recovery", loop)
    return system


@contextmanager
def opened(place: Place, *, writable: bool = False) -> Iterator[Path]:
    """The root folder of C:."""
    mount = (*MOUNT[:2], MOUNT[2] + ("" if writable else ",ro"))
    with attached(place, read_only=not writable) as loop, mounted(mount, loop) as top:
        yield top


def people(place: Place, names: Mapping[str, object] | tuple[str, ...]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """What is in people's folders, by their names."""
    with opened(place) as top:
        return {name: listed(top / "Users" / name) for name in names}
