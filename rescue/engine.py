"""The backend that is real: this machine, through imaging. Here: its jobs and logs, and what can be switched on it."""

from collections.abc import Sequence
from pathlib import Path

from imaging import jobs, keyboard, logs, network, run, ssh, state
from imaging.keyboard import Keyboard
from imaging.logs import Place
from imaging.network import Network, Static
from imaging.orderboard import Board, State
from imaging.plan import Plan
from imaging.ssh import Password, Ssh
from rescue import logbook, presets
from rescue.backend import Backend, Job
from rescue.images_engine import ImagesEngine
from rescue.language import _
from rescue.media_engine import MediaEngine
from rescue.pages import Page
from rescue.restore_engine import RestoreEngine


class Engine(MediaEngine, ImagesEngine, RestoreEngine):
    """Asks imaging; called from several threads at once."""

    def submit(self, plan: Plan) -> Job:
        """Start a job; takes up to seconds."""
        return jobs.submit(plan)

    def jobs(self) -> Sequence[Job]:
        """Newest first."""
        return jobs.jobs()

    def order(self) -> State | None:
        """How far unattended work is; None where there is none. Raises IoError."""
        return Board().read()

    def stop_order(self) -> bool:
        """Stop the order before it begins, or what would come after its end; False where it is too late."""
        return Board().stop()

    def watch_order(self) -> None:
        """Say that a console shows the order, so that its countdown can begin; raises IoError."""
        Board().note_watcher()

    def state_folder(self) -> Path:
        """Where jobs lie, and where a report of an error in the screens can be written."""
        return state.state_folder()

    def log_page(self, what: str) -> Page:
        """A log: `screens`, `kernel`, `order`, or a job's by its id; raises UsageError where there is no such job."""
        match what:
            case "screens":
                return logbook.screens_page()
            case "kernel":
                return logbook.kernel_page()
            case "order" if pages := logbook.order_pages():
                return pages[0]
            case _:
                return logbook.job_page(jobs.find(what))

    def log_places(self) -> Sequence[Place]:
        """Where the logs can be saved, the stick first."""
        self.libraries()
        return logs.places()

    def save_log(self, folder: Path) -> Path:
        """All logs in one file in that folder; takes seconds. Raises UsageError, IoError."""
        return logbook.save(folder, self.machine(), jobs.jobs())

    def network(self) -> Network:
        """Cards, addresses and name servers; raises IoError."""
        return network.network()

    def network_dhcp(self, card: str) -> None:
        """Have the network give a card its address; raises RefusedError, IoError."""
        network.use_dhcp(card)

    def network_static(self, card: str, static: Static) -> None:
        """Give a card an address; raises RefusedError, IoError."""
        network.use_static(card, static)

    def network_off(self, card: str) -> None:
        """Switch a card off; raises RefusedError, IoError."""
        network.switch_off(card)

    def ssh(self) -> Ssh:
        """Whether and how somebody may come in from another computer; raises IoError."""
        return ssh.ssh()

    def ssh_allow_password(self) -> Password:
        """Let in whoever types a password that is made now; takes a second. Raises RefusedError, IoError."""
        return ssh.allow_password()

    def ssh_switch_off(self) -> None:
        """Let nobody in any more, and end all connections; raises RefusedError, IoError."""
        ssh.switch_off()

    def keyboard(self) -> Keyboard:
        """The layouts that can be loaded, and the one that is."""
        return keyboard.keyboard()

    def load_keymap(self, keymap: str) -> None:
        """Load a layout for the computer's own keyboard; raises RefusedError, UsageError, IoError."""
        keyboard.load(keymap)

    def remember_language(self, code: str) -> None:
        """Screens that are started later begin with it; raises IoError."""
        presets.remember_language(state.state_folder(), code)

    def shell(self) -> None:
        """A root shell on this terminal; comes back when it ends."""
        print(f"\n{_('Type exit to come back to Rescue.')}\n")
        run.shell()

    def reboot(self) -> None:
        """Restart the computer."""
        run.reboot()

    def power_off(self) -> None:
        """Switch the computer off."""
        run.power_off()


def engine() -> Backend:
    """The real backend, as the interface that the screens know."""
    return Engine()
