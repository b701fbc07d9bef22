"""What of a system is kept when another is restored over it: the rules, and what they found, as a plan holds it."""

from enum import StrEnum

import msgspec

from imaging.disk import Size


class KeepRule(StrEnum):
    """Something of a system that can be kept. HOMES is kept without being asked for; nothing else of Windows."""

    HOMES = "homes"
    """Everything in /home, or people's folders in C:\\Users: see imaging.profiles.

    A folder that the restored system has there under the same name is replaced. Of one in C:\\Users a person's part of
    the registry stays, where the restored system has it: it belongs to the account there.
    """
    ACCOUNTS = "accounts"
    """Accounts of people (ids from 1000 on), with their passwords, groups, and ranges of ids for containers.

    One that the restored system has by that name keeps its id there, and gets the password that it had.
    """
    NETWORK = "network"
    """Network connections: NetworkManager, netplan, ifupdown, systemd-networkd, iwd, wpa_supplicant."""
    SSH_HOST_KEYS = "ssh-host-keys"
    """The keys by which this computer is known to those who log in to it by ssh."""
    HOST_NAME = "host-name"
    """What the computer is called."""
    ROOT_HOME = "root-home"
    """The administrator's own home folder, /root."""


PATHS: dict[KeepRule, tuple[str, ...]] = {
    KeepRule.NETWORK: (
        "etc/NetworkManager/system-connections",
        "etc/netplan",
        "etc/network/interfaces",
        "etc/network/interfaces.d",
        "etc/systemd/network",
        "etc/wpa_supplicant",
        "var/lib/iwd",
    ),
    KeepRule.HOST_NAME: ("etc/hostname",),
    KeepRule.ROOT_HOME: ("root",),
}
"""Files and folders that a rule keeps, each in place of what the restored system has there."""
WINDOWS = "ntfs"
"""The file system on which a system is Windows, by blkid's name."""
SSH_FOLDER, SSH_PREFIX = "etc/ssh", "ssh_host_"


class KeptPath(msgspec.Struct, frozen=True, kw_only=True):
    """One file or folder that is kept, by its path in the system; in bytes, and files in it."""

    path: str
    size: Size
    files: Size
    folders: Size = 0


class RootPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a system's root file system lies on a disk, in bytes, and which it is, by blkid's name.

    `number` is its partition. `folder` is where the root folder is in the file system, empty where it is its own, and
    `homes` where /home is: both matter for subvolumes of btrfs.
    """

    number: Size
    start: Size
    size: Size
    kind: str
    folder: str = ""
    homes: str = "home"


class LeftPath(msgspec.Struct, frozen=True, kw_only=True):
    """Something in what is kept that is not kept itself, and why, in words."""

    path: str
    why: str


class KeptFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What is carried over from the system that stands on a restore's one target to the one that is restored.

    It is copied out of a safety image: that of this very restore, or `image`, which one that was cut off has made; it
    lies in the library `library`. `disk` is the target's name in that image.
    """

    rules: tuple[KeepRule, ...]
    library: str
    old: RootPlace
    new: RootPlace
    paths: tuple[KeptPath, ...]
    accounts: tuple[str, ...] = ()
    """The names of the accounts that are kept."""
    elsewhere: tuple[str, ...] = ()
    """Paths that a rule or an account names and that are not kept, for they lie elsewhere than in the root file system.
    """
    disk: str = ""
    image: str = ""
    left: tuple[LeftPath, ...] = ()
    """Some of what is not kept, though it lies in what is; `left_out` counts all of it."""
    left_out: Size = 0
    encrypted: Size = 0
    """How many of the files are encrypted by Windows, for a key that an account has."""
    span: Size = 0
    """Bytes that are gone through to copy all, where that is more than `size`: ntfs-3g does not tell what is a hole."""
    strangers: tuple[str, ...] = ()
    """People whose home folders are kept, and who have no account in the restored system: theirs are not kept."""
    settings: tuple[str, ...] = ()
    """People whose part of the registry is that of the restored Windows, where they have an account."""

    @property
    def windows(self) -> bool:
        """Whether they are of a Windows system."""
        return self.old.kind == WINDOWS

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(path.size for path in self.paths)

    @property
    def work(self) -> int:
        """Bytes of a copy, or of a comparison."""
        return max(self.size, self.span)

    @property
    def files(self) -> int:
        """How many files."""
        return sum(path.files for path in self.paths)

    @property
    def folders(self) -> int:
        """How many folders they are in."""
        return sum(path.folders for path in self.paths)
