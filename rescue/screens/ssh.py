"""Working from another computer: ssh allowed with a password made for this session, and switched off again."""

import os
from dataclasses import dataclass
from itertools import islice

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import OptionList

from imaging.errors import RescueError
from imaging.network import Network
from imaging.ssh import Password, Ssh
from rescue.formats import clean, joined
from rescue.language import N_, _, ngettext
from rescue.screens.base import RescueScreen, problem, text
from rescue.telling import told
from rescue.widgets.choices import Choice, NumberedChoices

EVERY = 2.0
"""Seconds between two looks: an address comes, somebody connects."""
MOST_ADDRESSES = 3
"""As many as a small screen has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known, or why it is not."""

    ssh: Ssh
    addresses: tuple[str, ...] = ()
    error: RescueError | None = None


class SshScreen(RescueScreen):
    """Who can come in, and switching that."""

    HEADING = N_("Network - work from another computer")
    KEYS = N_("1-3 or Enter choose   Esc back   F1 or ? help")
    ABOUT = N_("""
ssh lets you work here from another computer of the network: this menu
comes up there, with the same jobs. Linux, macOS and Windows have ssh;
in a terminal there, type what this screen says.

The first time, ssh shows a host key and asks whether to go on. Compare
it with the one here: if they differ, somebody else has answered.

The password is made by chance, shown on this screen alone, and gone
when you switch it off or restart. Whoever has it can do all that you
can do here, so give it to nobody whom you would not let sit here.

Switching it off ends all connections. Jobs go on.""")
    DEFAULT_CSS = """
    SshScreen #words { height: auto; max-height: 75%; }
    SshScreen #note { height: auto; margin: 1 1 0 1; }
    SshScreen #acts { height: auto; margin: 1 0 0 0; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Found | None = None
        self.looking = False

    def body(self) -> ComposeResult:
        """How it stands, and what can be done."""
        with VerticalScroll(id="words", can_focus=False):
            yield text(_("Looking .."), id="note")
        yield NumberedChoices(id="acts")

    def on_mount(self) -> None:
        """Keep it fresh; the cursor is in the list, PgUp and PgDn scroll the words."""
        self.query_one(NumberedChoices).focus()
        self.set_interval(EVERY, self.again)

    def on_screen_resume(self) -> None:
        """Shown for the first time, or again after a message."""
        super().on_screen_resume()
        self.again()

    def again(self) -> None:
        """Look again, once the answer to the last look or change has come."""
        if self.app.screen is self and not self.looking:
            self.looking = True
            self.look(self.ask, self.show_found)

    def ask(self) -> Found:
        """How it stands; an error in a dialogue would come back as long as it lasts."""
        try:
            return Found(ssh=self.backend.ssh(), addresses=addresses(self.backend.network()))
        except RescueError as error:
            return Found(ssh=Ssh(), error=error)

    def show_found(self, found: Found) -> None:
        """Draw what has changed."""
        self.looking = False
        if found == self.found:
            return
        self.found = found
        self.say("note", self.words(found))
        rows = acts(found.ssh) if found.error is None else ()
        choices = [Choice(key=key, lines=(f" {n}  {words}",)) for n, (key, words) in enumerate(rows, 1)]
        self.query_one(NumberedChoices).show(choices)

    def words(self, found: Found) -> str:
        """All that there is to know."""
        if found.error is not None:
            return problem(found.error)
        return joined(*self.paragraphs(found), by="\n\n")

    def paragraphs(self, found: Found) -> tuple[str, ...]:
        """State, way in, password and host key, connections, complaints."""
        ssh = found.ssh
        complaints = "\n".join(clean(told(problem)) for problem in ssh.problems)
        nowhere = _("No network card has an address yet: until one has, nobody can come in.")
        if not ssh.on:
            return (
                _("Off. Nobody can come in over the network."),
                _("Allow it, and this menu can be used from another computer, with ssh\nand a password made now."),
                "" if found.addresses else nowhere,
                complaints,
            )
        way = _("   ssh root@{address}")
        ways = "\n".join(way.format(address=address) for address in islice(found.addresses, MOST_ADDRESSES))
        first = _("On. In a terminal of the other computer, type:")
        return (
            joined(*((first, ways) if ways else (_("On."), nowhere)), by="\n"),
            joined(self.password_words(ssh), self.key_words(ssh), by="\n"),
            _("Host key, to be compared when ssh asks the first time:") + f"\n   {clean(ssh.fingerprint)}",
            connection_words(ssh.connections),
            complaints,
        )

    def password_words(self, ssh: Ssh) -> str:
        """The password, where it was made here."""
        if not ssh.password:
            return ""
        known = self.host.password
        if known is not None and known.number == ssh.password:
            return _("Password:  {password}").format(password=known.words)
        return _("Password:  shown on the screen where it was made")

    def key_words(self, ssh: Ssh) -> str:
        """Whose keys let in."""
        names = ", ".join(map(clean, ssh.keys))
        return _("Keys that let in:  {names}").format(names=names) if names else ""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Do it."""
        match event.option_id:
            case "allow":
                self.change()
                self.look(self.backend.ssh_allow_password, self.allowed)
            case "off":
                self.change()
                self.look(self.backend.ssh_switch_off, self.switched_off)
            case _:
                self.dismiss()

    def change(self) -> None:
        """It takes a moment, in which no older answer is shown; the cursor goes to what is harmless."""
        self.looking = True
        self.query_one(NumberedChoices).highlighted = 0
        self.found = None
        self.say("note", _("Changing it .."))

    def unanswered(self, error: RescueError) -> None:  # noqa: ARG002
        """It is as it was."""
        self.looking = False

    def allowed(self, password: Password) -> None:
        """This screen alone knows it."""
        self.host.password = password
        self.looking = False
        self.again()

    def switched_off(self, _done: None) -> None:
        """Nobody can come in."""
        self.host.password = None
        self.looking = False
        self.again()


def connection_words(count: int) -> str:
    """How many are connected."""
    if not count:
        return _("Nobody is connected now.")
    return ngettext("{count} connection now.", "{count} connections now.", count).format(count=count)


def acts(ssh: Ssh) -> tuple[tuple[str, str], ...]:
    """What can be done, the harmless first."""
    if not ssh.on:
        return ("leave", _("Leave it off")), ("allow", _("Allow it, with a password made now"))
    allow = _("Make another password in its place") if ssh.password else _("Allow a password, too")
    own = _("Switch it off, and end all connections: yours, too")
    off = own if os.environ.get("SSH_CONNECTION") else _("Switch it off, and end all connections")
    return ("leave", _("Leave it on")), ("allow", allow), ("off", off)


def addresses(network: Network) -> tuple[str, ...]:
    """Where this computer can be reached, the short ones first."""
    found = [address.partition("/")[0] for card in network.interfaces for address in card.addresses]
    return tuple(sorted(found, key=lambda address: ":" in address))


def state_line(ssh: Ssh, network: Network) -> str:
    """How it stands, in one line of the Network screen."""
    if not ssh.on:
        return _("off: nobody can come in from another computer")
    if not addresses(network):
        return _("on, but no network card has an address yet")
    return _("on: this menu can be used from another computer")
