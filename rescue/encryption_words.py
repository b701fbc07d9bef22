"""What opens an encrypted library, and its recovery key, in words."""

from imaging.keyslots import KeySlots, SlotKind
from rescue.formats import clean, format_when
from rescue.language import N_, _

_IN_A_ROW = 4
"""Groups of a recovery key."""
_KINDS = {SlotKind.PASSPHRASE: N_("passphrase {id} of {when} UTC"), SlotKind.RECOVERY: N_("recovery key of {when} UTC")}


def recovery_lines(recovery: str) -> list[str]:
    """A recovery key, to be written down."""
    groups = recovery.split("-")
    rows = ["-".join(groups[at : at + _IN_A_ROW]) for at in range(0, len(groups), _IN_A_ROW)]
    return [
        "",
        _("Its recovery key, which opens it when every passphrase is forgotten:"),
        "",
        *(f"    {row}" for row in rows),
        "",
        _("Write it down and keep it apart from this library: it is not shown again."),
        _("Without a passphrase and without this key nobody can ever read what is in the library."),
    ]


def slot_lines(slots: KeySlots) -> list[str]:
    """What opens a library."""
    return [_(_KINDS[slot.kind]).format(id=clean(slot.id), when=format_when(slot.created)) for slot in slots.slots]
