"""How a restore is to be done, as the mark of an unfinished disk holds it: from its plan, for whoever completes it."""

from contextlib import suppress
from pathlib import Path

from imaging.errors import RescueError
from imaging.library import Library
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.unfinished import Manner

_ID_SHOWN = 8
"""Characters of a library's id that tell it from another."""


def manner_of(plan: RestorePlan, pair: RestoreTarget) -> Manner:
    """What the mark of one target says beside the image; of libraries their ids begin it, where they can be read."""
    change = pair.growth or pair.shrinkage
    return Manner(
        disk=pair.source.name,
        disks=len(plan.targets),
        partitions=tuple((spot.volume, spot.partition) for spot in pair.partitions),
        grow=pair.growth.partition if pair.growth is not None else 0,
        shrink=pair.shrinkage.partition if pair.shrinkage is not None else 0,
        size=change.size if change is not None else 0,
        new_identity=plan.identity is not None,
        host_name=plan.identity.host_name if plan.identity is not None else "",
        wipe=plan.wipe.value,
        boot_entry=plan.boot_entry,
        read_back=plan.read_back,
        straight=plan.foreign is not None,
        library=plan.foreign.path if plan.foreign is not None else _named(plan.library),
        safety=_named(plan.keep.library if plan.keep is not None else plan.safety),
    )


def _named(path: str) -> str:
    if not path:
        return ""
    with suppress(RescueError, OSError):
        library = Library.open(Path(path))
        return f"{library.info.id[:_ID_SHOWN]} {library.where}"
    return path
