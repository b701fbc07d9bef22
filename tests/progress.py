"""How far the tests have come, a line a minute: thousands of dots hide what a run is waiting for."""

import threading
import time

import pytest

EVERY = 60.0
"""Seconds between two lines."""


class Progress:
    """Takes the place of pytest's dots in the process that the others report to."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self._began = time.monotonic()
        self._at_work: dict[str, float] = {}
        self._done: set[str] = set()
        self._over = threading.Event()
        threading.Thread(target=self._tell, daemon=True).start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """What passed is only counted."""
        passed = report.when == "call" and report.passed and not hasattr(report, "wasxfail")
        return ("passed", "", "PASSED") if passed else None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._at_work[nodeid] = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A step of a test has ended; what failed is said at once, for a run may be ended before its summary."""
        if report.outcome not in ("passed", "skipped"):
            crash = getattr(report.longrepr, "reprcrash", None)
            lines = (crash.message if crash else str(report.longrepr)).splitlines() or [""]
            self._line(f"{report.outcome}: {report.nodeid}: {lines[0][:100]}")
        if report.when not in ("setup", "call"):  # "???" is what a process was at that has died
            self._at_work.pop(report.nodeid, None)
            self._done.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Nothing comes after pytest's own summary."""
        self._over.set()

    def _tell(self) -> None:
        while not self._over.wait(EVERY):
            now = time.monotonic()
            there = sorted((began, nodeid.split("::")[0]) for nodeid, began in list(self._at_work.items()))
            waiting = ", ".join(f"{file.removeprefix('tests/')} for {now - began:.0f} s" for began, file in there)
            done = len(self._done)
            self._line(f"{(now - self._began) / 60:.0f} min: {done} done; at work: {waiting or 'none'}")

    def _line(self, words: str) -> None:
        # Behind letters that stand there already, which pytest knows of only without other processes.
        self._terminal.write_line(("\n" if self._terminal._tw.width_of_current_line else "") + words)
        self._terminal.flush()
