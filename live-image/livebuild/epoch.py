"""The one date of a build, which stands in everything it makes: SOURCE_DATE_EPOCH, or the last commit's time.

Specification: https://reproducible-builds.org/specs/source-date-epoch/
"""

import os
from datetime import UTC, datetime

from .lists import CHECKOUT
from .process import BuildError, run

VARIABLE = "SOURCE_DATE_EPOCH"


def source_date() -> int:
    """Seconds since 1970: what SOURCE_DATE_EPOCH says, else when the checkout's last commit was made."""
    if given := os.environ.get(VARIABLE):
        if not (given.isascii() and given.isdecimal()):
            raise BuildError(f"{VARIABLE} is {given!r}, not a number of seconds", hint="date +%s prints one")
        return int(given)
    try:
        # Also where another user owns the checkout: nothing of it is run.
        said = run(["git", "-c", "safe.directory=*", "-C", CHECKOUT, "log", "-1", "--format=%ct"])
    except BuildError as error:
        raise BuildError(
            f"the date of the checkout is not known: {error}",
            hint=f"set {VARIABLE} to the seconds since 1970 that the build shall carry",
        ) from error
    return int(said)


def source_date_text() -> str:
    """The date as RFC 3339 writes it, in UTC: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(source_date(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def dated(seconds: int | None = None) -> dict[str, str]:
    """What a tool needs in its environment to write this date (the build's own) and no other.

    FAT holds local time, so the zone is set; mke2fs before 1.47.1 has a variable of its own.
    """
    date = str(source_date() if seconds is None else seconds)
    return {VARIABLE: date, "E2FSPROGS_FAKE_TIME": date, "TZ": "UTC0"}
