"""Lists for scripts are printed one value after the other, and look as if they had been printed at once."""

from typing import Any

import msgspec
import pytest

from rescue.commands import print_json, print_json_lists

from .builders import a_disk, an_image

MANY = [msgspec.to_builtins(an_image(id=f"image-{i}", label='two\nlines, "quoted", größer')) for i in range(3)]


@pytest.mark.parametrize(
    "lists",
    [
        {"images": [], "damaged": []},
        {"images": MANY, "damaged": []},
        {"images": MANY[:1], "damaged": [{"id": "x", "problem": "it is\tdamaged"}]},
        {"images": [], "damaged": [{}, [], "a", 1, None, a_disk()]},
    ],
)
def test_values_that_come_one_by_one_are_printed_as_all_at_once(
    lists: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    print_json(lists)
    wanted = capsys.readouterr().out
    print_json_lists({name: iter(values) for name, values in lists.items()})
    assert capsys.readouterr().out == wanted
