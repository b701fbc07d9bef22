"""Network shares: the address and the login are asked for in dialogues, then the share is connected."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from imaging import address as addresses
from imaging import shares
from imaging.errors import RescueError, UsageError
from imaging.places import Remembered
from imaging.shares import Address, Kind, Login
from imaging.sshshares import HostKey
from rescue.aside import aside
from rescue.formats import clean
from rescue.language import N_, _
from rescue.screens.base import AskText, Notice, Question, RescueScreen, problem, text
from rescue.screens.fields import Field, Fields
from rescue.screens.remembering import remember
from rescue.widgets.act import Act, Acts
from rescue.widgets.line import Line
from rescue.widgets.toggle import Toggle

ASK_FOR_FOLDER = N_("In which folder shall images be looked for? Type its full path.")
ASK_FOR_SHARE = N_(
    "Which network share? Type its address:\n\n"
    "  //server/share          Windows, a NAS\n"
    "  server:/folder          NFS\n"
    "  user@server:/folder     ssh"
)
ASK_FOR_KEY = N_(
    "{server} is met for the first time. By this key it is known:\n\n"
    "  {kind}\n  {fingerprint}\n\n"
    "Compare it with what whoever runs the server says (there: ssh-keygen -lf "
    "with its key's file). If it is another one, somebody stands in between."
)


class AskWhere(AskText):
    """Asks for a folder or the address of a share; what cannot be one is told while the words stay in the field."""

    ABOUT = N_("""
A folder begins with a slash: /media/stick/images

A share on the network has a server's name or number in its address:
//nas/backup or //192.168.1.10/backup for Windows and most NAS boxes,
nas:/volume1/backup for NFS, anna@nas:/backup for ssh. User and password
are asked for next.

A bucket begins with s3://, gs:// or az://, a web server with https://.

Esc closes this box and changes nothing.""")
    DEFAULT_CSS = (
        "AskWhere .box { max-width: 100%; } AskWhere #wrong { height: auto; margin: 1 0 0 0; text-style: bold; }"
    )

    def __init__(self, message: str, *, offer: bool = False) -> None:
        """With `offer`, the recovery drive can remember what is typed."""
        super().__init__(message)
        self.offer = offer
        self.remembers = False

    def answers(self) -> ComposeResult:
        """A field, what is wrong with what stands in it, and the buttons."""
        yield Line(id="answer")
        if self.offer:
            yield Toggle(_("Remember it on this recovery drive"), id="remember")
        wrong = text("", id="wrong")
        wrong.display = False
        yield wrong
        yield Acts(Act(_("Use it"), id="use"), Act(_("Back"), id="back"))

    def on_input_changed(self) -> None:
        """What was wrong may be right now."""
        self.query_one("#wrong").display = False

    def on_toggle_changed(self) -> None:
        """It was ticked, or not any more."""
        self.remembers = self.query_one(Toggle).ticked

    def use(self) -> None:
        """Hand the words over, if they can be meant."""
        answer = self.query_one("#answer", Input).value.strip()
        if not answer:
            return
        try:
            check_answer(answer)
        except RescueError as error:
            wrong = self.query_one("#wrong", Static)
            wrong.update(Content(problem(error).replace("\n\n", "\n")))
            wrong.display = True
            self.query_one("#answer", Input).focus()
            return
        self.dismiss(answer)


def check_answer(answer: str) -> None:
    """Raises UsageError where words are neither a folder's path nor the address of a share."""
    if addresses.is_address(answer):
        addresses.parse(answer)
    elif shares.is_address(answer):
        shares.parse(answer)
    elif not answer.startswith("/"):
        raise UsageError(
            _("This is neither the path of a folder nor the address of a share"),
            hint=_("write a folder as /media/stick/images, a share as //server/share or server:/folder"),
        )


class AskLogin(Fields[Login]):
    """User, password and what else the kind of share knows; the password is never shown."""

    ABOUT = N_("""
The server asks who you are. Type the user and the password that you use
there; leave the user empty where a Windows share is open to everyone.

The domain is needed in large offices only. For ssh, a file with a private
key stands for the password, where you have one. The password is used once,
to connect: it is not stored, unless you tick that it is kept on the
recovery drive. Whoever has the drive can read it there.

Esc closes this box and changes nothing.""")
    WIDTH = 58

    def __init__(self, address: Address, *, wrong: str = "", before: Login = shares.GUEST, offer: bool = False) -> None:
        """With `offer`, the recovery drive can keep the password."""
        self.offer = offer
        self.keeps = False
        super().__init__(
            (f"{wrong}\n\n" if wrong else "") + _("Who asks for {share}?").format(share=clean(address.source))
        )
        self.ssh = address.kind is Kind.SSH
        self.before = replace(before, user=before.user or address.user, domain=before.domain or address.domain)

    def fields(self) -> Sequence[Field]:
        """User and password, and a domain or a key."""
        user = _("User (empty: root)") if self.ssh else _("User (empty: as a guest)")
        more = (
            Field(id="key", words=_("Key file (may stay empty)"), value=str(self.before.key or ""))
            if self.ssh
            else Field(id="domain", words=_("Domain (may stay empty)"), value=self.before.domain)
        )
        secret = Field(id="password", words=_("Password"), secret=True)
        return (Field(id="user", words=user, value=self.before.user), secret, more)

    def more(self) -> ComposeResult:
        """The share is remembered: what of it is."""
        if self.offer:
            yield Toggle(_("Keep the password there (anyone can read it)"), id="keep")

    def on_toggle_changed(self) -> None:
        """It was ticked, or not any more."""
        self.keeps = self.query_one(Toggle).ticked

    def first(self) -> str:
        """Where the user is known, the password."""
        return "password" if self.before.user else "user"

    def next(self, id: str) -> str:
        """A user has a password; with that, or for a guest, all is said. Without one, ssh may have a key."""
        if id == "user" and (self.ssh or self.typed("user")):
            return "password"
        return "key" if id == "password" and self.ssh and not self.typed("password") else ""

    def answer(self) -> Login:
        """The login."""
        key = Path(self.typed("key")) if self.ssh and self.typed("key") else None
        domain = "" if self.ssh else self.typed("domain")
        return Login(user=self.typed("user"), password=self.typed("password"), domain=domain, key=key)


class Connector:
    """Connects a share for a screen, which shows what goes on in its `status`; then `then` gets the folder."""

    def __init__(
        self,
        screen: RescueScreen,
        then: Callable[[Address, Path], None],
        *,
        writable: bool = False,
        known: Remembered | None = None,
        remember: bool = False,
    ) -> None:
        """Take who asks for a place that is `known`, or `remember` it once it is connected."""
        self.screen = screen
        self.then = then
        self.writable = writable
        self.known = known
        self.remember = remember
        self.keeps = False
        self.words = ""

    def begin(self, words: str) -> None:
        """Connect what was typed; raises UsageError where that is no address."""
        self.words = words
        address = shares.parse(words)
        match address.kind:
            case Kind.SMB:
                self.enter(address)
            case Kind.NFS:
                self.connect(address, shares.GUEST)
            case Kind.SSH:
                self.meet(address)

    def meet(self, address: Address) -> None:
        """Ask whether a server's key is its own, where nobody was asked that before."""
        self.status(_(" Connecting to {share} ..").format(share=clean(address.source)))

        async def wait() -> None:
            try:
                key = await aside(lambda: self.screen.backend.host_key(address))
            except RescueError as error:
                self.screen.app.push_screen(Notice(problem(error)))
                return
            finally:
                self.status("")
            if key is None:
                self.enter(address)
            else:
                self.confirm(address, key)

        self.screen.run_worker(wait(), group="look", exclusive=True)

    def confirm(self, address: Address, key: HostKey) -> None:
        """Show a key; only a person can say whose it is."""

        def use(confirmed: bool | None) -> None:
            if confirmed:
                with self.screen.telling():
                    self.screen.backend.trust(key)
                    self.enter(address)

        words = _(ASK_FOR_KEY).format(
            server=clean(address.server), kind=key.key.kind.removeprefix("ssh-"), fingerprint=key.fingerprint
        )
        question = Question(words, yes=_("it is the server's"), no=_("go back"))
        self.screen.app.push_screen(question, use)

    def enter(self, address: Address) -> None:
        """Connect as whoever is known, or ask who asks."""
        known = self.known
        login = shares.GUEST if known is None else Login(user=known.user, password=known.password, domain=known.domain)
        if login.password:
            self.connect(address, login)
        else:
            self.ask(address, login)

    def ask(self, address: Address, before: Login, wrong: str = "") -> None:
        """Ask who asks."""
        dialogue = AskLogin(address, wrong=wrong, before=before, offer=self.remember)

        def use(login: Login | None) -> None:
            self.keeps = dialogue.keeps
            if login is not None:
                self.connect(address, login)

        self.screen.app.push_screen(dialogue, use)

    def connect(self, address: Address, login: Login) -> None:
        """Mount it; a wrong password is asked for again."""
        self.status(_(" Connecting to {share} ..").format(share=clean(address.source)))

        def connect() -> Path:
            return self.screen.backend.connect(address, login, writable=self.writable)

        async def wait() -> None:
            try:
                where = await aside(connect)
            except RescueError as error:
                self.status("")
                if error.code == "login" and address.kind is not Kind.NFS:
                    self.ask(address, login, problem(error))
                else:
                    self.screen.app.push_screen(Notice(problem(error)))
                return
            if self.remember:
                password = login.password if self.keeps else ""
                place = Remembered(address=self.words, user=login.user, domain=login.domain, password=password)
                await remember(self.screen, place)
            self.status("")
            self.then(address, where)

        self.screen.run_worker(wait(), group="look", exclusive=True)

    def status(self, words: str) -> None:
        """Say what goes on."""
        self.screen.say("status", words)
        self.screen.query_one("#status").display = bool(words)
