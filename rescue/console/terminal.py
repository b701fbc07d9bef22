"""Which kind of terminal this is, and with that: the driver, the look, and how it is spoken to."""

from collections.abc import Mapping
from dataclasses import dataclass

from rescue.console.dialect import Dialect, Look, Mode, dialect, is_plain
from rescue.console.line import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A terminal that the application runs on."""

    mode: Mode
    term: str = ""
    look: Look = Look.PLAIN
    """The look to begin with."""
    utf8: bool = False
    """Whether it was found to understand UTF-8."""

    @property
    def ascii_alone(self) -> bool:
        """Whether letters beyond ASCII cannot be sent; the VGA console's font has those of western languages."""
        return self.mode is Mode.SERIAL and not self.utf8

    def dialect(self, look: Look) -> Dialect:
        """How it is spoken to."""
        return dialect(self.mode, self.term, look, utf8=self.utf8)


def mode(environ: Mapping[str, str], kind: Kind) -> Mode:
    """The kind of terminal; `RESCUE_CONSOLE=serial|vga|full` forces it.

    Over ssh a terminal is a pseudo-terminal, and so it is in an emulator; what is there is told by TERM.
    """
    forced = environ.get("RESCUE_CONSOLE", "")
    if forced in tuple(Mode):
        return Mode(forced)
    term = environ.get("TERM", "")
    if kind is Kind.VGA or (kind is Kind.PTY and term == "linux"):
        return Mode.VGA
    return Mode.SERIAL if kind is Kind.SERIAL or is_plain(term) else Mode.FULL


def terminal(environ: Mapping[str, str], kind: Kind, *, utf8: bool = False) -> Terminal:
    """What is known of the terminal before the application starts."""
    term = environ.get("TERM", "")
    look = Look.PLAIN if is_plain(term) else Look.RICH
    return Terminal(mode=mode(environ, kind), term=term, look=look, utf8=utf8)
