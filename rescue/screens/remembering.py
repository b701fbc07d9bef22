"""Places on the network that the recovery drive remembers: in lists, and kept or forgotten when somebody says so."""

from collections.abc import Callable, Sequence

from imaging.errors import RescueError
from imaging.places import Remembered
from rescue.aside import aside
from rescue.formats import clean, format_address
from rescue.language import _
from rescue.screens.base import Notice, Question, RescueScreen, problem
from rescue.widgets.choices import Choice

_KEY = "remembered "


def choices(places: Sequence[Remembered]) -> list[Choice]:
    """Places as a list shows them."""
    return [Choice(key=f"{_KEY}{number}", lines=_lines(place)) for number, place in enumerate(places)]


def chosen(key: str | None, places: Sequence[Remembered]) -> Remembered | None:
    """The place that a key of a list stands for; None where it stands for something else."""
    number = (key or "").removeprefix(_KEY)
    return places[int(number)] if number != key and number.isdecimal() and int(number) < len(places) else None


def _lines(place: Remembered) -> tuple[str, str]:
    if place.user:
        words = _("    remembered on this recovery drive, for {user}").format(user=clean(place.user))
    else:
        words = _("    remembered on this recovery drive")
    return format_address(place.address), words


def remembered(screen: RescueScreen) -> tuple[Remembered, ...]:
    """What the drive remembers; nothing where that cannot be read."""
    try:
        return tuple(screen.backend.remembered_places())
    except RescueError:
        return ()


async def remember(screen: RescueScreen, place: Remembered) -> None:
    """Keep a place; where that is not possible, say why and go on."""
    try:
        await aside(lambda: screen.backend.remember_place(place))
    except RescueError as error:
        screen.app.push_screen(Notice(problem(error)))


def forget(screen: RescueScreen, place: Remembered, then: Callable[[], None]) -> None:
    """Ask, and forget a place; then the list is to be shown anew."""

    async def work() -> None:
        try:
            await aside(lambda: screen.backend.forget_place(place))
        except RescueError as error:
            screen.app.push_screen(Notice(problem(error)))
            return
        then()

    def answered(agreed: bool | None) -> None:
        if agreed:
            screen.run_worker(work(), group="forget", exclusive=True)

    question = _("Forget {place}?").format(place=format_address(place.address))
    screen.app.push_screen(Question(question, yes=_("forget it"), no=_("go back")), answered)
