"""Exports of NFS servers through mount.nfs, in no newer version of the protocol than one whose reads are right.

Sources: nfs(5); nfs-utils' utils/mount/stropts.c for what mount.nfs itself takes for a reason to ask in an older one.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from imaging.errors import IoError
from imaging.run import Completed, run
from imaging.shares import Address

_NEWEST, *_OLDER = "4.1", "4.0", "3"
"""Versions that are asked for: never 4.2, with which mount.nfs would begin.

There Linux reads by READ_PLUS since 6.6, to which nfs-ganesha before 6.2 (that of Debian 12, for one) gives answers
without the data. With Linux 6.12 and nfs-ganesha 4.3 every file that was right on the server was all zeros in the
mount, and no read failed. https://github.com/nfs-ganesha/nfs-ganesha/issues/1188
What 4.2 has beside that (where holes are, copies within the server) no job needs.
"""
_ASK_IN_AN_OLDER_ONE = re.compile(
    r"[Pp]rotocol|not supported|refused|No such file|Operation not permitted|Invalid argument|incorrect mount option"
)
"""Of a server, too, that has version 3 alone, at a port of its own, or other paths there."""
_OF_THE_VERSION = re.compile(r"[Pp]rotocol|not supported|refused")
"""The answer in another version says more than that."""
_DENIED = re.compile(r"access denied|Permission denied")
"""What says more than any: in version 4 an export is not there for whom it is not for."""


def mount(address: Address, where: Path, options: Sequence[str], *, writable: bool, timeout: float) -> Completed:
    """Mount an export in a folder and return how mount.nfs ended: with 0, or with the words that tell most.

    `options` are those of any share; `timeout` is seconds that the server has for one answer. Raises IoError as `run`.
    """
    # Without a lock daemon, and with an error instead of an endless wait where the server goes away.
    every = [*options, "soft", "timeo=100", "retrans=3", "retry=0", "nolock"]
    if writable:
        # A deletion has to see at once what another computer has just made, not a folder of a minute ago.
        every += ["acdirmin=0", "acdirmax=0", "lookupcache=positive"]

    def ask(version: str) -> Completed:
        words = ",".join([*every, f"vers={version}"])
        return run(["mount.nfs", address.source, where, "-o", words], accept=range(256), timeout=timeout)

    done = told = ask(_NEWEST)
    for version in _OLDER:
        if done.status == 0 or not _ASK_IN_AN_OLDER_ONE.search(done.stderr):
            break
        try:
            done = ask(version)
        except IoError:
            break  # The server has answered before: version 3 needs more ports, which a firewall may keep.
        if done.status == 0 or _OF_THE_VERSION.search(told.stderr) or _DENIED.search(done.stderr):
            told = done
    return told
