"""The part of a computer in memory that finds libraries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imaging.address import ObjectAddress
from imaging.credentials import Keys
from imaging.elsewhere import Attached
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.places import Remembered
from imaging.shares import Address, Kind, Login
from imaging.sshkeys import parse_key
from imaging.sshshares import HostKey
from tests.app.disks import ATTACHED
from tests.app.fakedisks import FakeDisks
from tests.app.images import LIBRARY

MIRROR = Path("/run/rescue/remote/https/cloud/images/.mirror")


@dataclass
class FakePlaces(FakeDisks):
    """The libraries, and where else some could be."""

    found_libraries: Sequence[Path] = (LIBRARY,)
    found_candidates: Sequence[Path] = (Path("/media/usbdisk"),)
    found_attached: Sequence[Attached] = ATTACHED
    hidden: Sequence[Path] = ()
    """Libraries that are found only where somebody looks."""
    servers: dict[str, Path | RescueError] = field(default_factory=dict)
    """Shares and buckets by their address, and where each is mounted."""
    drive_remembers: bool = False
    """Whether the recovery drive can remember places."""
    remembered: list[Remembered] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    """Servers of ssh whose keys were confirmed."""

    def libraries(self) -> Sequence[Path]:
        """Libraries."""
        return self.found_libraries

    def candidates(self) -> Sequence[Path]:
        """Folders."""
        return self.found_candidates

    def attached(self) -> Sequence[Attached]:
        """The file systems of the disks that are no library, all of which can be looked into but for the encrypted."""
        return [place for place in self.found_attached if place.disk in self.found_disks]

    def look_on(self, place: Attached) -> Sequence[Path]:
        """Those of `hidden` whose path bears the name."""
        return self.look_in(Path("/run/rescue/media", place.name))

    def look_in(self, folder: Path) -> Sequence[Path]:
        """Those of `hidden` that lie there; they are found from now on."""
        found = [path for path in self.hidden if path.is_relative_to(folder)]
        if not found:
            raise BadImageError(f"no image library was found in {folder}", code="not-a-library")
        self.found_libraries = (*self.found_libraries, *(path for path in found if path not in self.found_libraries))
        return found

    def connect(self, address: Address, login: Login, *, writable: bool = False) -> Path:
        """The answers of `servers`: an error, or where it is mounted; a user other than anna is refused."""
        self.calls.append(f"connect {address.source} {login.user} {login.domain} {'rw' if writable else 'ro'}")
        answer = self.servers.get(address.source, IoError(f"{address.server} does not answer", code="no-server"))
        if isinstance(answer, RescueError):
            raise answer
        if address.kind is not Kind.NFS and (login.user or address.user, login.password) != ("anna", "pa,ss"):
            raise RefusedError(f"{address.server} does not let this user at {address.source}", code="login")
        if writable:
            self.found_candidates = (*self.found_candidates, answer / "rescue-library")
        return answer

    def host_key(self, address: Address) -> HostKey | None:
        """One for each server, until it was confirmed."""
        self.calls.append(f"host_key {address.server}")
        if address.server in self.trusted:
            return None
        blob = "AAAAC3NzaC1lZDI1NTE5AAAAIEdt+o2tU4n3PNHHMq4zZe3Pj9ITSgk3LbRQNb1Ws8Bk"
        return HostKey(name=address.server, key=parse_key(f"ssh-ed25519 {blob}"))

    def trust(self, key: HostKey) -> None:
        """It is asked for no more."""
        self.trusted.append(key.name)

    def trust_certificate(self, path: Path) -> None:
        """From then on the servers that nobody vouched for are known."""
        self.calls.append(f"trust {path}")
        self.servers |= {name: MIRROR for name, answer in self.servers.items() if not isinstance(answer, Path)}

    def keys_known(self, address: ObjectAddress) -> bool:
        """Of web servers alone."""
        return address.read_only

    def reach(self, address: ObjectAddress, keys: Keys | None, *, writable: bool = False) -> Path:
        """The answers of `servers`, by address; any secret but one is refused."""
        self.calls.append(f"reach {address.url} {keys.rate if keys else '-'} {'rw' if writable else 'ro'}")
        answer = self.servers.get(address.url, IoError(f"{address.host} does not answer", code="network"))
        if isinstance(answer, RescueError):
            raise answer
        if keys is not None and keys.values.get("secret_access_key") != "pa,ss":
            raise RefusedError(f"{address.url}: the server does not let these credentials in", code="denied")
        return answer

    def can_remember(self) -> bool:
        """As it is."""
        return self.drive_remembers

    def remembered_places(self) -> Sequence[Remembered]:
        """All of them."""
        return tuple(self.remembered)

    def remember_place(self, place: Remembered) -> None:
        """One more."""
        self.remembered.append(place)

    def forget_place(self, place: Remembered) -> None:
        """One less."""
        self.remembered.remove(place)
