"""What all tests share: what is skipped where, a state folder of the test's own, and the command."""

import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from imaging import jobs
from rescue import language
from tests import limits
from tests.command import Outcome, run_rescue
from tests.progress import Progress
from tests.starter import begin_worker

# How long an example takes says nothing on a machine that is busy with other tests.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

FIRST = ("tests/qemu/test_boot_matrix.py", "tests/matrix/", "tests/qemu/")
"""What takes longest begins first, or it would keep one processor busy while others have nothing left to do.

The first build of the live system holds a lock: beside it there is work that needs none.
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """How far it is, instead of dots, in the process that the others report to; -v has pytest's own way."""
    limits.begin()
    config = session.config
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal and not hasattr(config, "workerinput") and config.get_verbosity() == 0:
        config.pluginmanager.register(Progress(terminal))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """What a test needs, the first build of the live system included, has its time."""
    limits.refuse_to_begin_late()
    with limits.limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that hangs fails with its name and what it waits for, and the rest goes on."""
    with limits.limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """So does what clears up after it."""
    with limits.limited(item):
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order; and skip, with the reason, what this machine cannot do; CI can do it all."""
    tests_of = Counter(item.path for item in items)

    def turn(item: pytest.Item) -> tuple[int, int]:
        ahead = next((i for i, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))
        return ahead, -tests_of[item.path]

    items.sort(key=turn)
    for item in items:
        if item.get_closest_marker("thorough") and not limits.THOROUGH:
            item.add_marker(pytest.mark.skip(reason="takes minutes more: RESCUE_ALL=1 runs it, too"))
        if item.get_closest_marker("qemu"):
            # An emulated machine on a busy host can stumble. One that fails twice has an error; what failed before is
            # told in full at the end. What used up its time once has no more.
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=["TooLongError", "RESCUE_TESTS_UNTIL"]))
    if os.geteuid() == 0 and Path("/dev/loop-control").exists():
        return
    reason = "needs root" if os.geteuid() != 0 else "needs loop devices: /dev/loop-control is missing"
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What failed at first and passed when it was run again is nobody's secret."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"failed at first: {report.nodeid}", yellow=True)
        terminalreporter.line(report.longreprtext)


def pytest_collection_finish() -> None:
    """What has been imported and collected stays: looking through it for garbage takes a sixth of the time of tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jobs lie in a folder of the test's own, and neither a library nor a trusted key of this machine is found."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("RESCUE_STATE", str(folder))
    monkeypatch.setenv("RESCUE_CONFIG", str(folder / "config"))
    monkeypatch.delenv("RESCUE_LIBRARY", raising=False)
    monkeypatch.delenv("RESCUE_LIVE", raising=False)
    return folder


@pytest.fixture(scope="session", autouse=True)
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests of a file share is made without the keys that this machine trusts, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESCUE_CONFIG", str(tmp_path_factory.mktemp("nobody") / "config"))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What is started hears Ctrl+C, also where the tests run in the background of a shell, which has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def quick_workers() -> Iterator[None]:
    """Workers of jobs that a test submits start quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "spawn_worker", begin_worker)
        yield


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests read English, whatever this machine speaks and whatever a test has chosen."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    yield
    language.use(language.ENGLISH)
    language.spell_out(False)


@pytest.fixture
def rescue() -> Callable[..., Outcome]:
    """The `rescue` command in a process of its own, without a terminal."""
    return run_rescue
