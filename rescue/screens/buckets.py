"""Libraries in buckets and on web servers: what a server asks for is typed into a dialogue, then it is reached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from imaging import address as addresses
from imaging.address import ObjectAddress
from imaging.credentials import Keys, of_login, read_key_file
from imaging.errors import RescueError, UsageError
from imaging.objecterrors import UNKNOWN_ISSUER
from imaging.places import Remembered
from rescue.aside import aside
from rescue.formats import clean, format_address
from rescue.language import N_, _
from rescue.screens.base import AskText, Notice, RescueScreen, problem
from rescue.screens.fields import Field, Fields
from rescue.screens.remembering import remember
from rescue.telling import told

ASK_FOR_BUCKET = N_(
    "Which bucket or web server? Type its address:\n\n"
    "  s3://bucket/folder        S3, also of your own servers\n"
    "  gs://  az://              Google, Azure\n"
    "  https://server/folder     the web: to restore from"
)
ASK_WHO_VOUCHES = N_(
    "If you know who does, and have their certificate in a file (PEM), type its full path, such as "
    "/run/rescue/images/ca.pem on the recovery stick."
)
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed: where the bucket is, and what lets somebody in."""

    address: ObjectAddress
    keys: Keys
    typed: Mapping[str, str] = field(default_factory=dict)
    """All but the secret, for another try."""


class AskKeys(Fields[Asked]):
    """What a bucket's server wants to know; the secret is never shown."""

    ABOUT = N_("""
The server lets in whoever has its keys: an access key and its secret for
S3, the name and a key of the storage account for Azure, the JSON file of a
service account for Google. They are kept in memory, for this menu and the
jobs that it starts, and are gone when the computer is switched off.

A server of your own has an address, such as https://nas:9000. The limit
keeps room on the line for others.

Esc closes this box and changes nothing.""")
    WIDTH = 66

    def __init__(
        self, address: ObjectAddress, *, wrong: str = "", before: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        where = _("What lets you in at {address}?").format(address=format_address(address.url))
        super().__init__((f"{wrong}\n\n" if wrong else "") + where)
        self.address = address
        self.before = {"server": address.option("endpoint"), "region": address.option("region"), **before}

    def fields(self) -> Sequence[Field]:
        """By the kind of server."""
        limit = Field(id="limit", words=_("Limit in MB/s (empty: none)"), value=self.before.get("limit", ""))
        own: tuple[Field, ...]
        match self.address.scheme:
            case "s3":
                own = (
                    self.line("server", _("Server (empty: Amazon)")),
                    self.line("region", _("Region (may stay empty)")),
                    self.line("key", _("Access key (empty: public)")),
                    Field(id="secret", words=_("Secret key"), secret=True),
                )
            case "az":
                own = (
                    self.line("server", _("Server (empty: Azure)")),
                    self.line("key", _("Storage account")),
                    Field(id="secret", words=_("Key of the account"), secret=True),
                )
            case _:
                own = (self.line("file", _("Key file (JSON)")),)
        return (*own, limit)

    def line(self, id: str, words: str) -> Field:
        """A field, filled in as it was before."""
        return Field(id=id, words=words, value=self.before.get(id, ""))

    def first(self) -> str:
        """What is empty and must be filled in comes first, once the server is known."""
        known = {field.id: field.value for field in self.fields()}
        needed = "file" if "file" in known else "key" if not known["key"] else "secret"
        return needed if known.get("server") or "server" not in known or known.get("key") else "server"

    def answer(self) -> Asked:
        """Address and keys; raises UsageError."""
        typed = {field.id: self.typed(field.id) for field in self.fields()}
        options = dict(self.address.options)
        for name, option in (("server", "endpoint"), ("region", "region")):
            options.pop(option, None)
            if value := typed.get(name, ""):
                options[option] = value if name == "region" or "://" in value else f"https://{value}"
        whole = replace(self.address, options=tuple(sorted(options.items())))
        kept = {id: value for id, value in typed.items() if id != "secret"}
        keys = Keys(values=self.values(typed), rate=rate(typed["limit"]))
        return Asked(address=addresses.parse(whole.url), keys=keys, typed=kept)

    def values(self, typed: Mapping[str, str]) -> Mapping[str, str]:
        """What was typed, by the names that obstore knows."""
        match self.address.scheme:
            case "s3" if not typed["key"]:
                return {"skip_signature": "true"}
            case "gs":
                return {"service_account_key": read_key_file(Path(typed["file"]))}
            case _:
                return of_login(self.address, typed["key"], typed["secret"])


def rate(words: str) -> int:
    """Bytes a second of what was typed in megabytes, 0 where nothing was; raises UsageError."""
    try:
        megabytes = float(words.replace(",", ".") or 0)
    except ValueError:
        megabytes = -1.0
    if not 0 <= megabytes < 1e6:
        raise UsageError(_("The limit is a number of megabytes a second, such as 2.5"), code="bad-rate")
    return int(megabytes * _MEGABYTE)


class Reacher:
    """Reaches a bucket or web server for a screen, which shows what goes on in its `status`; `then` gets the folder."""

    def __init__(
        self, screen: RescueScreen, then: Callable[[str, Path], None], *, writable: bool = False, remember: bool = False
    ) -> None:
        self.screen = screen
        self.then = then
        self.writable = writable
        self.remember = remember

    def begin(self, words: str) -> None:
        """Reach what was typed; raises UsageError where that is no address."""
        address = addresses.parse(words)
        if self.screen.backend.keys_known(address):
            self.reach(address, None)
        else:
            self.ask(AskKeys(address))

    def ask(self, dialogue: AskKeys) -> None:
        """Ask for keys."""

        def use(asked: Asked | None) -> None:
            if asked is not None:
                self.reach(asked.address, asked)

        self.screen.app.push_screen(dialogue, use)

    def reach(self, address: ObjectAddress, asked: Asked | None) -> None:
        """Reach it; what was typed is asked for again where that does not do."""
        self.status(_(" Connecting to {share} ..").format(share=format_address(address.url)))

        def reach() -> Path:
            return self.screen.backend.reach(address, asked.keys if asked else None, writable=self.writable)

        async def wait() -> None:
            try:
                where = await aside(reach)
            except RescueError as error:
                self.status("")
                if error.code == UNKNOWN_ISSUER:
                    self.ask_who_vouches(error, address, asked)
                elif asked is not None or (error.code == "denied" and address.scheme not in ("http", "https")):
                    self.ask(AskKeys(address, wrong=problem(error), before=asked.typed if asked else {}))
                else:
                    self.screen.app.push_screen(Notice(problem(error)))
                return
            if self.remember:
                await remember(self.screen, Remembered(address=address.url))
            self.status("")
            self.then(address.url, where)

        self.screen.run_worker(wait(), group="look", exclusive=True)

    def ask_who_vouches(self, error: RescueError, address: ObjectAddress, asked: Asked | None) -> None:
        """Ask for the certificate of who vouches for a server, and try again."""

        def use(path: str | None) -> None:
            if path:
                with self.screen.telling():
                    self.screen.backend.trust_certificate(Path(path))
                    self.reach(address, asked)

        self.screen.app.push_screen(AskText(f"{clean(told(error.message))}\n\n{_(ASK_WHO_VOUCHES)}"), use)

    def status(self, words: str) -> None:
        """Say what goes on."""
        self.screen.say("status", words)
        self.screen.query_one("#status").display = bool(words)
