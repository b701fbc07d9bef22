"""Every screen at 60x20, the smallest that is promised: nothing that carries meaning is cut off."""

import pytest
from textual.widgets import Input, OptionList

from rescue.language import _
from rescue.screens.base import RescueScreen
from rescue.widgets.act import Act
from tests.app.conftest import Person, Sit
from tests.app.scenes import SCENES, Scene

SIZE = (60, 20)
SHORTEST_FIELD = 12
"""Columns to type in."""


async def small(person: Person, scene: Scene) -> None:
    """Go there on a small screen."""
    await person.pilot.resize_terminal(*SIZE)
    await person.settle()
    await person.press(*scene.presses)


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_what_a_person_acts_on_is_seen_whole(sit_down: Sit, scene: Scene) -> None:
    async with sit_down(scene.backend()) as person:
        await small(person, scene)
        screen = person.app.screen
        seen = " ".join(person.screen.split())
        if isinstance(screen, RescueScreen):
            assert " ".join(_(screen.HEADING).split()) in seen
            assert " ".join(_(screen.KEYS).split()) in seen
        for act in [act for act in screen.query(Act) if act.display]:
            assert act.label in seen
            assert screen.region.contains_region(act.region)
        for field in screen.focus_chain:
            assert not isinstance(field, Input) or field.size.width >= SHORTEST_FIELD
        focused = person.app.focused
        assert focused is not None or not list(screen.query("Input, Choices, Act"))
        if focused is not None:
            assert screen.region.contains_region(focused.region)
            assert focused.region.area > 0 or not focused.can_focus or not getattr(focused, "option_count", 1)
        if isinstance(focused, OptionList) and focused.highlighted is not None:
            line = str(focused.get_option_at_index(focused.highlighted).prompt).splitlines()[0]
            assert line.split()[0] in seen
