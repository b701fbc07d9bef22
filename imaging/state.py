"""The folder in which this system keeps what lives as long as it runs: jobs, and what it knows of remote libraries."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from imaging.durable import written
from imaging.errors import RefusedError


def state_folder() -> Path:
    """Where jobs lie on this machine."""
    if os.environ.get("RESCUE_STATE"):
        return Path(os.environ["RESCUE_STATE"])
    if os.geteuid() == 0:
        return Path("/run/rescue")
    if os.environ.get("XDG_RUNTIME_DIR"):
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "rescue"
    return own_folder(own_folder(Path(f"/tmp/rescue-{os.geteuid()}")) / "rescue")


def lasting_folder() -> Path:
    """Where what a later start of this machine may go on with is kept; on the live system it goes with the rest."""
    if os.environ.get("RESCUE_STATE"):
        return Path(os.environ["RESCUE_STATE"])
    if os.geteuid() == 0:
        return Path("/var/lib/rescue")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "rescue"


def own_folder(path: Path) -> Path:
    """Make a folder where anyone can make one, or take this user's own; raises RefusedError where it is another's."""
    with written(path), suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise RefusedError(
            f"{path} is not a folder that this user alone can write to: jobs cannot lie there",
            code="unsafe-state-folder",
            hint="set RESCUE_STATE to a folder of your own",
        )
    return path
