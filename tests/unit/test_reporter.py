"""Events where there is little room for them: lost ones harm no work, and no half line spoils the next."""

import errno
import os
from collections.abc import Callable

from imaging import events
from imaging.events import Finished, Log
from imaging.pipeline import Reporter

END = Finished(time=1.0, status=0, message="Everything is right.")


class _Small:
    """A file on a file system with so many bytes left, which writes what fits."""

    def __init__(self, room: int, at_once: int = 1 << 20) -> None:
        self.room, self.at_once = room, at_once
        self.data = b""

    def append(self, data: memoryview) -> int:
        taken = bytes(data[: min(self.room, self.at_once)])
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.data += taken
        self.room -= len(taken)
        return len(taken)

    def free(self, room: int) -> Callable[[], None]:
        def release() -> None:
            self.room += room

        return release

    @property
    def told(self) -> list[events.AnyEvent]:
        assert self.data.endswith(b"\n")
        return [event for event in map(events.decode, self.data.splitlines()) if event]


def _report_everything(report: Reporter) -> None:
    report.log("one")
    report.step("two", 100)
    report.advance(50)
    report.finish_step()


def test_a_full_state_folder_stops_nothing_and_the_end_is_told_in_room_kept_for_it() -> None:
    for room in range(400):
        file = _Small(room)
        report = Reporter(file.append, file.free(2000))
        _report_everything(report)
        report.send(END)
        assert file.told[-1] == END, room


def test_without_any_room_for_the_end_the_work_is_still_done() -> None:
    report = Reporter(_Small(0).append)
    _report_everything(report)
    report.send(END)


def test_after_half_a_line_the_next_begins_on_a_new_one() -> None:
    file = _Small(10)
    report = Reporter(file.append)
    report.log("lost")
    file.room = 1000
    report.log("told")
    assert [event.message for event in file.told if isinstance(event, Log)] == ["told"]
    assert file.data.count(b"\n") == 2


def test_a_write_that_takes_a_part_goes_on() -> None:
    file = _Small(10_000, at_once=7)
    report = Reporter(file.append)
    _report_everything(report)
    report.send(END)
    assert file.data.count(b"\n") == len(file.told) == 5
