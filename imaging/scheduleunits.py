"""systemd's units of the schedule: rendered here, installed by imaging.scheduling. Pure.

Sources: systemd.timer(5), systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from collections.abc import Mapping, Sequence

from imaging.schedules import Schedule, Way

SERVICE, TIMER, BACK = "rescue-schedule.service", "rescue-schedule.timer", "rescue-schedule-back.service"
NAMES = (SERVICE, TIMER, BACK)
_SPREAD = "1h"
"""Computers with one schedule and one library must not all begin in the same second."""


def render(schedule: Schedule, program: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The units by their names: `program` is the command `rescue`, as a list of words, `environment` what it needs."""
    units = {SERVICE: _service(program, environment), TIMER: _timer(schedule.every)}
    if schedule.way is Way.EITHER:
        units[BACK] = _back(program, environment)
    return units


def _service(program: Sequence[str], environment: Mapping[str, str]) -> str:
    return _text(
        "[Unit]",
        "Description=Rescue: an image of this computer's disks",
        "Wants=network-online.target",
        "After=network-online.target local-fs.target",
        # What drains a battery, and may be cut off by it, waits for the next time.
        "ConditionACPower=true",
        "",
        "[Service]",
        "Type=oneshot",
        *_environment({**environment, "RESCUE_MODEST": "1"}),
        f"ExecStart={_command([*program, 'schedule', 'run'])}",
        # However that ended, no snapshot is left to fill the volume group.
        f"ExecStopPost=-{_command([*program, 'schedule', 'tidy'])}",
        "TimeoutStartSec=infinity",
        "TimeoutStopSec=5min",
        "Nice=19",
        # Not idle: on a busy computer that waits for ever, while its snapshots fill and its /boot is frozen.
        "CPUSchedulingPolicy=batch",
        "IOSchedulingPriority=7",
    )


def _timer(every: str) -> str:
    return _text(
        "[Unit]",
        "Description=Rescue: regular images of this computer's disks",
        "",
        "[Timer]",
        f"OnCalendar={_plain(every)}",
        # Where the computer was off at that time, it is done after the next start.
        "Persistent=true",
        f"RandomizedDelaySec={_SPREAD}",
        "",
        "[Install]",
        "WantedBy=timers.target",
    )


def _back(program: Sequence[str], environment: Mapping[str, str]) -> str:
    return _text(
        "[Unit]",
        "Description=Rescue: what came of the image that the last start was to make",
        "After=local-fs.target",
        "",
        "[Service]",
        "Type=oneshot",
        *_environment(environment),
        f"ExecStart={_command([*program, 'schedule', 'back'])}",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    )


def _text(*lines: str) -> str:
    return "\n".join(["# Written by `rescue schedule set`.", *lines, ""])


def _environment(values: Mapping[str, str]) -> list[str]:
    return [f"Environment={_word(f'{name}={value}')}" for name, value in values.items() if value]


def _command(words: Sequence[str]) -> str:
    return " ".join(_word(word).replace("$", "$$") for word in words)


def _word(word: str) -> str:
    """A word that may hold blanks and quotes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_plain(escaped)}"'


def _plain(words: str) -> str:
    """Without specifiers: what begins with a per cent sign."""
    return words.replace("%", "%%")
