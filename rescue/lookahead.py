"""The forecast that the command line shows before a capture: asked for, and as a value for scripts."""

import sys
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from imaging import levels
from imaging.errors import CancelledError, RescueError
from imaging.estimate import fit
from imaging.forecast import Forecast, forecast
from imaging.imageplans import CapturePlan
from rescue.formats import clean
from rescue.language import _
from rescue.telling import told


def look_ahead(plan: CapturePlan, *, every_level: bool) -> Forecast | None:
    """The forecast for the plan's level, or for all that have names, too; None, with a word, where there is none.

    What stands in its way is for the capture to judge, against the disk as it is then. Raises CancelledError.
    """
    if sys.stderr.isatty():
        print(_("Looking at what is used .."), file=sys.stderr)
    wanted = {plan.level, *levels.LEVELS.values()} if every_level else {plan.level}
    cancel = threading.Event()
    try:
        return forecast(plan, sorted(wanted), cancel)
    except KeyboardInterrupt:
        cancel.set()
        raise CancelledError("stopped: nothing was written") from None
    except RescueError as error:
        words = _("warning: there is no forecast: {why}").format(why=clean(told(error.message)))
        print(f"rescue: {words}", file=sys.stderr)
        return None


def value(plan: CapturePlan, found: Forecast | None) -> Mapping[str, Any] | None:
    """A forecast for scripts; `fit` says whether the plan's level has room in the library."""
    if found is None:
        return None
    estimate = found.at(plan.level)
    verdict = fit(estimate, found.overhead, found.room) if estimate else None
    return {**msgspec.to_builtins(found), "fit": verdict}
