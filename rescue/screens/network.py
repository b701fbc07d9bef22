"""The network: what each card is connected to, and how it gets its address."""

from collections.abc import Callable
from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, OptionList

from imaging.errors import RescueError
from imaging.network import How, Interface, Network, parse_static
from imaging.ssh import Ssh
from rescue.formats import clean, joined
from rescue.language import N_, _
from rescue.screens.base import RescueScreen, problem, text
from rescue.screens.ssh import SshScreen, state_line
from rescue.telling import told
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Choice, Choices, NumberedChoices
from rescue.widgets.line import Line

EVERY = 2.0
"""Seconds between two looks: a cable is plugged in, an address comes."""
SSH = "/ssh"
"""The choice that is no card: no card's name has a slash."""


class NetworkScreen(RescueScreen):
    """All network cards."""

    HEADING = N_("Network")
    KEYS = N_("Enter change it   Esc back   F1 or ? help")
    ABOUT = N_("""
The network cards of this computer: whether a cable is plugged in, the
address, and how it was set. You need the network only for images on a
share or at an address; a stick or a disk works without.

Where a cable is plugged in, an address is asked for by itself (DHCP).
Where nobody gives one, Enter lets you type it.

ssh, the last line, lets you work here from another computer.""")
    DEFAULT_CSS = """
    NetworkScreen {
        #note, #servers { height: auto; margin: 1 1 0 1; }
        #cards { margin: 1 0 0 0; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.network: Network | None = None
        self.ssh = Ssh()
        self.looking = False

    def body(self) -> ComposeResult:
        """Cards, name servers, and what cannot be done."""
        yield text(_("Looking .."), id="note")
        yield Choices(id="cards")
        yield text("", id="servers")

    def on_mount(self) -> None:
        """Keep it fresh."""
        cards = self.query_one(Choices)
        cards.styles.height = "auto"
        cards.focus()
        self.set_interval(EVERY, self.again)

    def on_screen_resume(self) -> None:
        """Shown for the first time, or again after a change."""
        self.again()

    def again(self) -> None:
        """Look again, once the answer to the last look has come: it may take longer than the time between two."""
        if self.app.screen is self and not self.looking:
            self.looking = True
            self.look(self.ask, self.show_network)

    def ask(self) -> tuple[Network, Ssh] | RescueError:
        """The network, or why it is not known: in a dialogue that would come back as long as it lasts."""
        try:
            return self.backend.network(), self.backend.ssh()
        except RescueError as error:
            return error

    def show_network(self, answer: tuple[Network, Ssh] | RescueError) -> None:
        """Draw what has changed."""
        self.looking = False
        if isinstance(answer, RescueError):
            self.network = None
            self.say("note", problem(answer))
            return
        if answer == (self.network, self.ssh):
            return
        self.network, self.ssh = found, ssh = answer
        choices = [Choice(key=card.name, lines=card_lines(card)) for card in found.interfaces]
        if not ssh.why_not:
            choices.append(Choice(key=SSH, lines=(f" {'ssh':<10}{state_line(ssh, found)}",)))
        self.query_one(Choices).show(choices)
        status = _("No network card was found.") if not found.interfaces else ""
        if found.interfaces and found.why_not:
            status = _("This can only be looked at: {reason}.").format(reason=told(found.why_not))
        self.say("note", status or _("Each network card, and its address:"))
        servers = ", ".join(map(clean, found.name_servers)) or _("none")
        self.say("servers", _("Names are asked for at (DNS): {servers}").format(servers=servers))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """What shall be done with the card?"""
        found = self.network
        if event.option_id == SSH:
            self.open(SshScreen())
            return
        if found is None or found.why_not:
            return
        card = next((card for card in found.interfaces if card.name == event.option_id), None)
        if card is not None:
            self.open(CardScreen(card))


def card_lines(card: Interface) -> tuple[str, str]:
    """A card in a person's words: `eno1      cable plugged in, 192.168.1.23/24`, and how that came."""
    name = f" {clean(card.name):<10}"
    if card.wireless:
        return f"{name}{_('Wi-Fi: not supported yet, use a cable')}", ""
    if card.cable is None:
        plugged = _("switched off")
    else:
        plugged = _("cable plugged in") if card.cable else _("no cable, or the other end is off")
    first = joined(plugged, *card.addresses, by=", ")
    return f"{name}{first}", f"{'':<11}{joined(_gateway(card), how_words(card), by=', ')}"


def _gateway(card: Interface) -> str:
    return _("gateway {address}").format(address=clean(card.gateway)) if card.gateway else ""


def how_words(card: Interface) -> str:
    """How the address came, or why there is none."""
    match card.how:
        case How.DHCP if card.addresses:
            return _("given by the network (DHCP)")
        case How.DHCP:
            return _("asking the network for an address (DHCP) ..") if card.cable else _("waits for a cable")
        case How.STATIC:
            return _("set by hand")
        case How.OFF:
            return _("switched off by hand")
        case How.SYSTEM:
            return _("set by this system")


class CardScreen(RescueScreen):
    """What can be done with one card."""

    HEADING = N_("Network - one card")
    KEYS = N_("1-3 or Enter choose   Esc back   F1 or ? help")
    ABOUT = N_("""
  1   have the network give this card an address (DHCP): right nearly
      everywhere
  2   type an address: where nobody gives one
  3   switch the card off

Nothing of this is kept when the computer is switched off.""")
    DEFAULT_CSS = """
    CardScreen #note { height: auto; margin: 1; }
    CardScreen #acts { height: auto; }
    """

    def __init__(self, card: Interface) -> None:
        super().__init__()
        self.card = card

    def body(self) -> ComposeResult:
        """How it stands, and the choices."""
        yield text("\n".join(card_lines(self.card)), id="note")
        yield NumberedChoices(id="acts")

    def on_mount(self) -> None:
        """Three choices."""
        rows = (
            ("dhcp", _("Have the network give it an address (DHCP)")),
            ("static", _("Type an address")),
            ("off", _("Switch it off")),
        )
        choices = self.query_one(NumberedChoices)
        choices.show([Choice(key=key, lines=(f" {n}  {words}",)) for n, (key, words) in enumerate(rows, 1)])
        choices.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Do it, and go back to all cards."""
        match event.option_id:
            case "dhcp":
                self.change(partial(self.backend.network_dhcp, self.card.name))
            case "off":
                self.change(partial(self.backend.network_off, self.card.name))
            case _:
                self.app.switch_screen(StaticScreen(self.card))

    def change(self, act: Callable[[], None]) -> None:
        """In a thread, for it takes seconds."""
        self.say("note", _("Changing it .."))
        self.look(act, self.changed)

    def unanswered(self, error: RescueError) -> None:  # noqa: ARG002
        """It is as it was."""
        self.say("note", "\n".join(card_lines(self.card)))

    def changed(self, _done: None) -> None:
        """Back to the list."""
        self.dismiss()


class StaticScreen(RescueScreen):
    """Type an address."""

    HEADING = N_("Network - type an address")
    KEYS = N_("Tab next field   Enter use it   Esc back   F1 help")
    ABOUT = N_("""
Ask whoever runs the network for these.

  Address   this computer's own, with the size of its network after a
            slash: 192.168.1.50/24. A mask of 255.255.255.0 is /24.
  Gateway   the router's address; leave it empty where there is none
  DNS       the name servers' addresses, with a space between two;
            leave it empty if you type addresses and not names""")
    DEFAULT_CSS = """
    StaticScreen #note { height: auto; margin: 1; }
    StaticScreen .field { height: 1; margin: 0 1 1 1; }
    StaticScreen .field .name { width: 12; }
    """

    def __init__(self, card: Interface) -> None:
        super().__init__()
        self.card = card

    def body(self) -> ComposeResult:
        """Three fields."""
        yield text(_("The address of {card}:").format(card=clean(self.card.name)), id="note")
        for key, name in (("address", _("Address")), ("gateway", _("Gateway")), ("servers", _("DNS"))):
            with Horizontal(classes="field"):
                yield text(name, classes="name")
                yield Line(id=key, compact=True, select_on_focus=False)
        yield Acts(Act(_("Use it"), id="use"), Act(_("Back"), id="leave"))

    def on_mount(self) -> None:
        """What the card has now is a good beginning."""
        self.query_one("#address", Input).value = next(iter(self.card.addresses), "")
        self.query_one("#gateway", Input).value = self.card.gateway
        self.query_one("#address").focus()

    def on_input_submitted(self) -> None:
        """Enter in a field: the next one, and after the last one use it."""
        fields = list(self.query(Input))
        place = next((n for n, field in enumerate(fields) if field.has_focus), len(fields) - 1)
        if place + 1 < len(fields):
            fields[place + 1].focus()
        else:
            self.use()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """A button."""
        if event.act.id == "use":
            self.use()
        else:
            self.dismiss()

    def use(self) -> None:
        """Understand it, and set it; what is wrong is told, and stays in its field to be mended."""
        words = [field.value for field in self.query(Input)]
        with self.telling():
            static = parse_static(*words)
            self.look(partial(self.backend.network_static, self.card.name, static), self.changed)

    def changed(self, _done: None) -> None:
        """Back to the list."""
        self.dismiss()
