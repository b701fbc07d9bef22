"""`rescue rename`, `rescue note` and `rescue delete`: what is done to an image that is there."""

import sys
import threading
from argparse import Namespace
from pathlib import Path

from imaging import care, freeing
from imaging.errors import CancelledError, ExitStatus, RefusedError, RescueError, UsageError
from imaging.forecast import free_room
from imaging.freeing import Freed
from imaging.imageplans import DeletePlan
from rescue.care import delete_lines
from rescue.commands import ask, carry_out, print_json, print_lines
from rescue.finding import find, libraries
from rescue.formats import clean, quoted
from rescue.language import _


def rename(options: Namespace) -> int:
    """`rescue rename IMAGE LABEL`."""
    found = find(options)
    noted = care.rename(found.library.path, found.image.id, options.label)
    if options.json:
        print_json({"library": str(found.library.path), "id": found.image.id, "label": noted.label})
    elif noted.label:
        print(_("Image {image} is called {label} now.").format(image=clean(found.image.id), label=quoted(noted.label)))
    else:
        print(_("Image {image} has no label now.").format(image=clean(found.image.id)))
    return ExitStatus.DONE


def note(options: Namespace) -> int:
    """`rescue note IMAGE TEXT`; an empty text takes the note away."""
    found = find(options)
    noted = care.note(found.library.path, found.image.id, options.text)
    if options.json:
        print_json({"library": str(found.library.path), "id": found.image.id, "note": noted.text})
    elif noted.text:
        print(_("Noted with image {image}.").format(image=clean(found.image.id)))
    else:
        print(_("Image {image} has no note now.").format(image=clean(found.image.id)))
    return ExitStatus.DONE


def delete(options: Namespace) -> int:
    """`rescue delete IMAGE`: what it frees, the label or id typed or given, then the job."""
    plan = _plan(options)
    freed = _freed(plan)
    room = free_room(Path(plan.library))
    if options.plan and options.json:
        print_json({"plan": plan, "freed": freed, "room": room})
    elif not options.json:
        print_lines(delete_lines(plan, freed, room))
        sys.stdout.flush()
    if options.plan:
        return ExitStatus.DONE
    _confirm(plan, options, freed, room)
    return carry_out(plan, options)


def _plan(options: Namespace) -> DeletePlan:
    """The deletion of the image that was named, damaged or not; refused where two libraries have one of that id."""
    plans, error = [], None
    for library in libraries(options, single=False):
        try:
            plans.append(freeing.plan_delete(library.path, options.image))
        except RescueError as found:
            if error is None or found.code != "no-such-image":
                error = found
    if len(plans) > 1:
        raise UsageError(
            f"image {options.image} is in several libraries: {', '.join(plan.library for plan in plans)}",
            code="no-library",
            hint="choose with --library DIR",
        )
    if not plans and error is not None:
        raise error
    return plans[0]


def _freed(plan: DeletePlan) -> Freed:
    cancel = threading.Event()
    try:
        return freeing.freed_by(plan, cancel)
    except KeyboardInterrupt:
        cancel.set()
        raise CancelledError("stopped: nothing was deleted") from None


def _confirm(plan: DeletePlan, options: Namespace, freed: Freed, room: int | None) -> None:
    """Have the image named by its label or its id; raises RefusedError where it is not."""
    if options.delete is not None:
        if plan.confirmed_by(options.delete):
            return
        raise RefusedError(
            f"--delete {options.delete} names another image than {plan.image}: nothing was deleted",
            code="not-confirmed",
            hint="check which image is meant",
        )
    if not sys.stdin.isatty():
        raise RefusedError(
            f"deleting {plan.image} was not confirmed: nothing was deleted",
            code="not-confirmed",
            hint=f"without a terminal, --delete {plan.image} stands for typing the name",
        )
    if options.json or not sys.stdout.isatty():
        for line in delete_lines(plan, freed, room):
            print(line, file=sys.stderr)
    names = _(" or ").join(clean(name) for name in plan.short_names)
    question = _("Type {names} to delete it, anything else to stop: ").format(names=names)
    if not plan.confirmed_by(ask(question)):
        raise RefusedError(f"{plan.image} was not confirmed: nothing was deleted", code="not-confirmed")
