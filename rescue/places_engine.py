"""The part of the engine that finds image libraries: on attached media, elsewhere on disks, on the network."""

import threading
from collections.abc import Sequence
from pathlib import Path

from imaging import (
    access,
    certificates,
    credentials,
    elsewhere,
    inventory,
    jobs,
    library,
    media,
    places,
    remote,
    sshshares,
)
from imaging.address import ObjectAddress
from imaging.credentials import Keys
from imaging.elsewhere import Attached
from imaging.places import Remembered
from imaging.shares import Address, Login
from imaging.sshshares import HostKey
from imaging.touched import disks_used
from rescue.backend import LIVE_STATES


class PlacesEngine:
    """Knows the libraries, and where else some could be."""

    def __init__(self) -> None:
        self._mounting = threading.Lock()
        self._elsewhere: list[Path] = []

    def libraries(self) -> Sequence[Path]:
        """Libraries on attached media, which the live system has to mount first, and those found elsewhere."""
        if media.on_live_system():
            with self._mounting:
                self._attach_media()
        others = [path for path in self._elsewhere if elsewhere.is_library(path)]
        return tuple(dict.fromkeys([*library.discover(), *library.single_files(), *others]))

    def _attach_media(self) -> None:
        """Mount what may hold images, but for disks that a job is at work on: a mount would take them from it."""
        taken = self._taken()
        if taken is not None:
            media.attach([disk for disk in inventory.scan() if disk.path not in taken])

    def _taken(self) -> set[str] | None:
        """The disks that jobs are at work on; None where that is not known, as a job's plan cannot be read."""
        plans = [job.known_plan for job in jobs.jobs() if job.state in LIVE_STATES]
        known = [plan for plan in plans if plan is not None]
        if len(known) < len(plans):
            return None
        return {path for plan in known for _, path, _ in disks_used(plan)}

    def candidates(self) -> Sequence[Path]:
        """Folders in which a library could be made."""
        return library.candidates()

    def attached(self) -> Sequence[Attached]:
        """File systems of attached disks in which images can be looked for; takes up to seconds."""
        disks, taken = inventory.scan(), self._taken()
        return elsewhere.attached(disks, [disk.path for disk in disks] if taken is None else taken)

    def look_on(self, place: Attached) -> Sequence[Path]:
        """The libraries on a file system, which `libraries` names from now on; takes seconds, raises BadImageError."""
        with self._mounting:
            return self._remembered(elsewhere.libraries_on(place))

    def look_in(self, folder: Path) -> Sequence[Path]:
        """The same for those in a folder or somewhere below it."""
        return self._remembered(elsewhere.libraries_in(folder))

    def connect(self, address: Address, login: Login, *, writable: bool = False) -> Path:
        """Mount a network share; takes up to a minute. Raises RefusedError (code "login") and IoError."""
        return access.connect(address, login, writable=writable)

    def host_key(self, address: Address) -> HostKey | None:
        """The key that a server of ssh shows; None where it was confirmed before. Takes seconds; raises IoError."""
        return sshshares.host_key(address)

    def trust(self, key: HostKey) -> None:
        """A person has confirmed a server's key; raises IoError."""
        sshshares.pin(key)

    def trust_certificate(self, path: Path) -> None:
        """Believe who a PEM file names when they vouch for a server; raises UsageError, IoError."""
        certificates.trust(path)

    def keys_known(self, address: ObjectAddress) -> bool:
        """Whether an address needs no keys, or they are known already."""
        return credentials.are_known(address)

    def reach(self, address: ObjectAddress, keys: Keys | None, *, writable: bool = False) -> Path:
        """The folder that stands for an address; takes seconds. Raises RefusedError (code "denied"), IoError."""
        found = remote.reach(address, keys, writable=writable)
        self._remembered([found])
        return found

    def _remembered(self, found: Sequence[Path]) -> Sequence[Path]:
        self._elsewhere += [path for path in found if path not in self._elsewhere]
        return found

    def can_remember(self) -> bool:
        """Whether this system was started from a recovery drive that can remember places."""
        return media.on_live_system() and media.IMAGES.is_mount()

    def remembered_places(self) -> Sequence[Remembered]:
        """The places on the network that the drive remembers; raises IoError."""
        return places.read(media.IMAGES) if self.can_remember() else ()

    def remember_place(self, place: Remembered) -> None:
        """Have the drive remember a place. Raises RefusedError while a job reads from it, UsageError, IoError."""
        with access.writable(media.IMAGES):
            places.remember(media.IMAGES, place)

    def forget_place(self, place: Remembered) -> None:
        """Have the drive forget a place; raises as `remember_place` does."""
        with access.writable(media.IMAGES):
            places.forget(media.IMAGES, place)
