"""The recovery key of an encrypted library: 160 random bits, in eight groups that a person can write down and type.

Each group has four symbols of Crockford's base32 (https://www.crockford.com/base32.html: no I, L, O or U) and a check
symbol, which finds any wrong symbol, any two that changed places, and groups that did.
"""

import secrets

from imaging.errors import UsageError

SIZE = 20
"""Bytes of a key."""
GROUPS, DATA = 8, 4
_SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {symbol: value for value, symbol in enumerate(_SYMBOLS)} | {"O": 0, "I": 1, "L": 1}
_BITS = 5
_POLYNOMIAL = 0b100101
"""x^5 + x^2 + 1, by which the 32 symbols are a field."""


def make() -> bytes:
    """A new key."""
    return secrets.token_bytes(SIZE)


def spell(key: bytes) -> str:
    """A key as groups with dashes between them."""
    number = int.from_bytes(key, "big")
    values = [number >> _BITS * i & 31 for i in reversed(range(GROUPS * DATA))]
    groups = [values[at : at + DATA] for at in range(0, len(values), DATA)]
    return "-".join("".join(_SYMBOLS[v] for v in (*group, _check(i, group))) for i, group in enumerate(groups))


def is_spelled(words: str) -> bool:
    """Whether what was typed has the form of a recovery key, right or not; a passphrase hardly ever has."""
    return len(_plain(words)) == GROUPS * (DATA + 1) and all(symbol in _VALUES for symbol in _plain(words))


def read(words: str) -> bytes:
    """The key that was typed, in capitals or not, with dashes or spaces or without.

    Raises UsageError that names the groups that are mistyped.
    """
    if not is_spelled(words):
        raise UsageError(f"this is not a recovery key: it has {GROUPS} groups of {DATA + 1} symbols", code="bad-key")
    values = [_VALUES[symbol] for symbol in _plain(words)]
    groups = [values[at : at + DATA + 1] for at in range(0, len(values), DATA + 1)]
    wrong = [str(i + 1) for i, group in enumerate(groups) if _check(i, group[:DATA]) != group[DATA]]
    if wrong:
        raise UsageError(f"the recovery key is mistyped in group {', '.join(wrong)} of {GROUPS}", code="bad-key")
    number = 0
    for group in groups:
        for value in group[:DATA]:
            number = number << _BITS | value
    return number.to_bytes(SIZE, "big")


def _plain(words: str) -> str:
    return "".join(words.split()).replace("-", "").upper()


def _check(place: int, group: list[int]) -> int:
    """The check value of a group: its values, each times another power of x, and where the group stands."""
    found = place
    for i, value in enumerate(group, 1):
        for _ in range(i):
            value <<= 1
            if value > 31:
                value ^= _POLYNOMIAL
        found ^= value
    return found
