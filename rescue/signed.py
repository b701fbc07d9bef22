"""What an image's signatures say, and keys, in words: for the command line and the screens alike."""

from collections.abc import Sequence

from imaging.signatures import UNSIGNED, Signer, Standing, State
from imaging.signingkeys import PublicKey
from rescue.formats import clean, joined
from rescue.language import N_, _
from rescue.telling import told

_SHORT = {
    State.UNSIGNED: N_("no"),
    State.UNKNOWN: N_("not trusted"),
    State.UNUSABLE: N_("unreadable"),
    State.WRONG: N_("DOES NOT MATCH"),
}


def signed_short(standing: Standing) -> str:
    """For a table's cell: whoever has signed and is trusted here, else why nobody counts, in a word or two."""
    if standing.state is State.TRUSTED:
        return ", ".join(clean(signer.name) or clean(signer.key) for signer in standing.signers)
    return _(_SHORT[standing.state])


def signed_words(standing: Standing) -> str:
    """The same in full."""
    match standing.state:
        case State.TRUSTED:
            words = _("signed by {signers}").format(signers=", ".join(map(_signer, standing.signers)))
            return joined(words, _problem(standing), by="; ")
        case State.UNSIGNED:
            return _("not signed")
        case State.UNKNOWN:
            keys = ", ".join(clean(signer.key) for signer in standing.signers)
            return _("signed by the key {keys}, which is not trusted here").format(keys=keys)
        case State.UNUSABLE:
            return _("its signatures cannot be read: {problem}").format(problem=_problem(standing))
        case State.WRONG:
            return _("SIGNATURE DOES NOT MATCH: do not trust it ({problem})").format(problem=_problem(standing))


def _problem(standing: Standing) -> str:
    return clean(told(standing.problem))


def _signer(signer: Signer) -> str:
    return key_title(clean(signer.name), signer.key)


def key_title(name: str, key_id: str) -> str:
    """`NAME (id)`, or the id alone."""
    return f"{name} ({clean(key_id)})" if name else clean(key_id)


def key_words(key: PublicKey) -> str:
    """A key in one line."""
    return key_title(clean(key.name), key.id)


def doubt_words(doubt: str) -> str:
    """Why images are not to be used, a line each."""
    return "\n".join(_("NOT TRUSTED: {why}").format(why=clean(line)) for line in told(doubt).split("\n"))


def any_signed(standings: Sequence[Standing]) -> bool:
    """Whether there is anything to say of the signatures of some images."""
    return any(standing != UNSIGNED for standing in standings)
