"""A computer that exists only in memory: disks, images and jobs for the tests of the screens."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import structs

from imaging.imagevolumes import OpenVolume
from imaging.keyboard import Keyboard
from imaging.logs import Place
from imaging.network import How, Interface, Network, Static
from imaging.orderboard import STOPPED, Phase, State
from imaging.plan import Plan
from imaging.ssh import Password, Ssh
from rescue.backend import Job
from rescue.pages import Page
from tests.app.disks import GB
from tests.app.fakemedia import FakeMedia
from tests.app.fakeplaces import FakePlaces
from tests.app.fakerestores import FakeRestores
from tests.app.images import FakeListing, make_locked_image
from tests.app.jobs import FakeJob

CABLED = Interface(
    name="eno1",
    hardware="52:54:00:12:34:56",
    cable=True,
    addresses=("192.168.1.23/24",),
    gateway="192.168.1.1",
    how=How.DHCP,
)
UNPLUGGED = Interface(name="enp3s0", hardware="52:54:00:12:34:57", cable=False, how=How.DHCP)
KEYBOARD = Keyboard(keymaps=frozenset({"us", "de-latin1-nodeadkeys", "fr-latin9"}))
FINGERPRINT = "SHA256:3kRS9MeI7K8LLxPciwkuX8XZyFz5GuW5rSW9wjuMO8g"
NETWORK = Network(interfaces=(CABLED, UNPLUGGED), name_servers=("192.168.1.1",))


@dataclass
class FakeBackend(FakePlaces, FakeRestores, FakeMedia):
    """The computer; what is done to it is noted in `submitted` and `calls`."""

    known_jobs: list[FakeJob] = field(default_factory=list)
    submitted: list[Plan] = field(default_factory=list)
    state: Path = Path("/nonexistent")
    places: Sequence[Place] = (
        Place(path=Path("/run/rescue/images"), free=2 * GB, stick=True),
        Place(path=Path("/media/usbdisk"), free=50 * GB),
    )
    found_network: Network = NETWORK
    found_ssh: Ssh = Ssh()  # noqa: RUF009
    found_keyboard: Keyboard = KEYBOARD
    found_order: State | None = None
    order_left: int | None = None
    """Seconds until the order's countdown ends; None where none runs."""

    def submit(self, plan: Plan) -> Job:
        """A job that has just started."""
        self.submitted.append(plan)
        job = FakeJob(known_plan=plan, id=str(len(self.known_jobs) + 1), state="starting")
        self.known_jobs.insert(0, job)
        return job

    def jobs(self) -> Sequence[Job]:
        """Newest first."""
        return self.known_jobs

    def order(self) -> State | None:
        """As the test wants it, its countdown never nearer to its end than that."""
        order, left = self.found_order, self.order_left
        if order is None or order.phase not in (Phase.COUNTING, Phase.ENDED, Phase.REFUSED) or left is None:
            return order
        return structs.replace(order, ends_at=time.monotonic() + left)

    def stop_order(self) -> bool:
        """As a board does it."""
        self.note_call("stop order")
        running, self.order_left = self.order_left is not None, None
        if self.found_order is None or self.found_order.phase not in (Phase.LOOKING, Phase.COUNTING):
            return running
        self.found_order = structs.replace(self.found_order, phase=Phase.STOPPED, message=STOPPED)
        return True

    def watch_order(self) -> None:
        """Noted."""
        self.note_call("watch order")

    def state_folder(self) -> Path:
        """Where a crash would be written."""
        return self.state

    def log_page(self, what: str) -> Page:
        """Forty lines."""
        return Page(title=f"Log of {what}", lines=tuple(f"{what} line {number}" for number in range(40)))

    def log_places(self) -> Sequence[Place]:
        """The stick and a disk."""
        return self.places

    def save_log(self, folder: Path) -> Path:
        """Noted, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        self.calls.append(f"save log to {folder}")
        return folder / "rescue-log-20261125-2141-ABC1234.tar.gz"

    def network(self) -> Network:
        """As the test wants it."""
        return self.found_network

    def network_dhcp(self, card: str) -> None:
        """Noted, or the refusal that the test wants."""
        self.note_call(f"dhcp {card}")

    def network_static(self, card: str, static: Static) -> None:
        """Noted, or the refusal that the test wants."""
        self.note_call(f"static {card} {static.address} {static.gateway} {','.join(static.name_servers)}")

    def network_off(self, card: str) -> None:
        """Noted, or the refusal that the test wants."""
        self.note_call(f"off {card}")

    def ssh(self) -> Ssh:
        """As the test wants it, or as it was switched."""
        return self.found_ssh

    def ssh_allow_password(self) -> Password:
        """One password after the other."""
        self.note_call("ssh with a password")
        number = str(int(self.found_ssh.password or 0) + 1)
        self.found_ssh = replace(self.found_ssh, on=True, password=number, fingerprint=FINGERPRINT)
        return Password(words=f"abcde-fghjk-mnpq{number}", number=number)

    def ssh_switch_off(self) -> None:
        """Nobody comes in."""
        self.note_call("ssh off")
        self.found_ssh = Ssh()

    def keyboard(self) -> Keyboard:
        """As the test wants it."""
        return self.found_keyboard

    def load_keymap(self, keymap: str) -> None:
        """Loaded, or the refusal that the test wants."""
        self.note_call(f"keymap {keymap}")
        self.found_keyboard = replace(self.found_keyboard, loaded=keymap)

    def remember_language(self, code: str) -> None:
        """Noted."""
        self.note_call(f"language {code}")

    def shell(self) -> None:
        """Noted."""
        self.calls.append("shell")

    def reboot(self) -> None:
        """Noted."""
        self.calls.append("reboot")

    def power_off(self) -> None:
        """Noted."""
        self.calls.append("power off")


def locked_with(*inside: OpenVolume) -> FakeBackend:
    """A library whose one image has an encrypted volume, and what is in that."""
    return FakeBackend(listing=FakeListing(images=(make_locked_image(),)), inside={"sda2": inside})
