"""People's folders in C:\\Users of a Windows system that ntfs-3g has mounted: which they are, and what can be kept.

Sources: Microsoft's [MS-FSCC], 2.1.2.1 (reparse tags) and 2.6 (attributes); ntfs-3g's extended attributes.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from enum import IntFlag

from imaging import tree
from imaging.tree import Entry, EntryKind

USERS = "users"
_SYSTEM = (
    b"all users",
    b"default",
    b"default user",
    b"default.migrated",
    b"defaultuser0",
    b"desktop.ini",
    b"wdagutilityaccount",
)
"""What stands in C:\\Users and is Windows' own: links for old programs, the folder that new ones are copied from, what
setting up and updating leave behind, and Application Guard's."""
_TO_CLASSES = ("appdata", "local", "microsoft", "windows")
_SETTINGS, _CLASSES = ("ntuser.dat", "ntuser.ini", "ntuser.man", "ntuser.pol"), "usrclass.dat"
"""A person's part of the registry, with its logs: it belongs to an account, and names that one."""
_CLOUD, _CLOUD_KIND = 0x9000001A, 0x0000F000
"""The tag of what OneDrive and its like look after, and the bits in which theirs differ."""
_LINKS = (
    0xA0000003,  # junctions, and folders on which a volume is mounted
    0xA000000C,  # symbolic links
    0x8000001B,  # names of programs from the shop
    0xA000001D,  # what the Linux of Windows makes: links, sockets, pipes and devices
    0x80000023,
    0x80000024,
    0x80000025,
    0x80000026,
)
"""What is nothing but the data of its tag, and is kept by them."""
CLOUD_ONLY = "files that are only in the cloud"
UNREADABLE = "files that Windows alone can read"
IN_THE_WAY = "links in place of the restored system's folders of settings"
NO_FILE = "devices and sockets"
"""Why something is not kept, in words."""
_LONGEST = 64 << 10
"""Bytes of an extended attribute. Source: xattr(7)."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.lgetxattr.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_libc.lgetxattr.restype = ctypes.c_ssize_t


class Attribute(IntFlag):
    """Those of a file that matter here."""

    READ_ONLY = 0x1
    HIDDEN = 0x2
    SYSTEM = 0x4
    DIRECTORY = 0x10
    ARCHIVE = 0x20
    SPARSE = 0x200
    REPARSE_POINT = 0x400
    COMPRESSED = 0x800
    OFFLINE = 0x1000
    ON_DEMAND = 0x400000
    NOT_INDEXED = 0x2000
    ENCRYPTED = 0x4000


def folded(name: bytes) -> str:
    """A name as Windows compares it: letter by letter, so that Strasse is another name than Straße."""
    return "".join(one if len(one.upper()) > 1 else one.upper().lower() for one in os.fsdecode(name))


def is_system(name: bytes) -> bool:
    """Whether an entry of C:\\Users is Windows' own, and nobody's."""
    return folded(name).encode(errors="surrogateescape") in _SYSTEM


def is_settings(path: Sequence[bytes]) -> bool:
    """Whether a path, from the profile's own name on, is of the person's part of the registry."""
    if len(path) < 2:
        return False
    *folders, name = map(folded, path[1:])
    if folders:
        return tuple(folders) == _TO_CLASSES and name.startswith(_CLASSES)
    return name.startswith(_SETTINGS)


def leads_to_settings(path: Sequence[bytes]) -> bool:
    """Whether such a file can be further down from there."""
    folders = tuple(map(folded, path[1:]))
    return folders == _TO_CLASSES[: len(folders)]


def has_settings(profile: int) -> bool:
    """Whether an open folder of a person has its part of the registry, as that of an account that was used has."""
    return any(folded(name) == "ntuser.dat" for name in tree.names_in(profile, ()))


def at(parent: int, name: bytes) -> bytes:
    """A path of an entry of an open folder, for calls that take no folder; no link is to be followed by them."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


def attribute(parent: int, name: bytes, which: str) -> bytes:
    """One of ntfs-3g's extended attributes of an entry; empty where it has none. Raises OSError."""
    return attribute_at(at(parent, name), which)


def attribute_at(path: bytes, which: str) -> bytes:
    """The same by a path, of which the last name is not followed.

    The longest there can be is asked for at once: where a reparse point's data do not fit, ntfs-3g hands over more than
    it was asked for, and the kernel takes that for a failure of the medium.
    """
    value = ctypes.create_string_buffer(_LONGEST)
    size = _libc.lgetxattr(path, f"system.ntfs_{which}".encode(), value, _LONGEST)
    if size >= 0:
        return value.raw[:size]
    code = ctypes.get_errno()
    if code != errno.ENODATA:
        raise OSError(code, os.strerror(code))
    return b""


def attributes(parent: int, name: bytes) -> Attribute:
    """What Windows says of an entry; raises OSError."""
    (found,) = struct.unpack("<I", attribute(parent, name, "attrib"))
    return Attribute(found)


def tag(parent: int, name: bytes) -> int:
    """Of a reparse point, of whichever kind; 0 where an entry is none. Raises OSError."""
    data = attribute(parent, name, "reparse_data")
    return struct.unpack_from("<I", data)[0] if len(data) >= 4 else 0


def streams(parent: int, name: bytes) -> list[bytes]:
    """The names of a file's or a folder's streams, the one without a name left out; raises OSError."""
    found = os.getxattr(at(parent, name), "ntfs.streams.list", follow_symlinks=False)
    return [one for one in found.split(b"\0") if one]


def stream(name: bytes, of: bytes) -> bytes:
    """The name by which a stream of a file is opened."""
    return b"%s:%s" % (of, name)


def look(parent: int, name: bytes) -> Entry:
    """An entry as tree.look has it, with what its streams take and whether Windows encrypts it.

    A file or a folder that OneDrive looks after is an ordinary one, as long as all of it is here: for that its tag is
    taken off, so the volume is to be a view. What cannot be looked at says so in `problem`.
    """
    entry = tree.look(parent, name)
    try:
        if entry.kind is EntryKind.LINK and is_cloud(tag(parent, name)):
            entry = _untagged(parent, name)
        if entry.problem or entry.kind not in (EntryKind.FILE, EntryKind.FOLDER):
            return entry
        encrypted = bool(attributes(parent, name) & Attribute.ENCRYPTED)
        sizes = (os.stat(stream(one, name), dir_fd=parent).st_size for one in streams(parent, name))
        return replace(entry, beside=sum(sizes), encrypted=encrypted)
    except OSError as error:
        return replace(entry, problem=error.strerror or str(error))


def is_cloud(found: int) -> bool:
    """Whether a tag is one of those that mark what lies in the cloud."""
    return found & ~_CLOUD_KIND == _CLOUD


def _untagged(parent: int, name: bytes) -> Entry:
    """What a tag of the cloud's hides; where some of a file's data are not here it is given back its tag."""
    data = attribute(parent, name, "reparse_data")
    os.removexattr(at(parent, name), "system.ntfs_reparse_data", follow_symlinks=False)
    entry = _anew(parent, name)
    flags = attributes(parent, name)
    packed = flags & (Attribute.COMPRESSED | Attribute.SPARSE) == Attribute.COMPRESSED
    away = flags & (Attribute.OFFLINE | Attribute.ON_DEMAND) or (entry.room < entry.size and not packed)
    if entry.kind is not EntryKind.FILE or not away:
        return entry
    os.setxattr(at(parent, name), "system.ntfs_reparse_data", data, follow_symlinks=False)
    return _anew(parent, name)


def _anew(parent: int, name: bytes) -> Entry:
    """What an entry is now. The kernel notices with an error that it has become another kind of file."""
    with suppress(OSError):
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    return tree.look(parent, name)


def why_left(parent: int, entry: Entry) -> str:
    """Why an entry cannot be kept, in words; empty where it can. Raises OSError."""
    if entry.kind is EntryKind.OTHER:
        return NO_FILE
    if entry.kind is not EntryKind.LINK:
        return ""
    found = tag(parent, entry.name)
    if not found or found in _LINKS:
        return ""
    return CLOUD_ONLY if is_cloud(found) else UNREADABLE
