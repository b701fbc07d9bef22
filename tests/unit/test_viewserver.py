"""What the process that serves a view says where it cannot."""

import io
import signal
import socket
import sys
from types import SimpleNamespace

import msgspec
import pytest

from imaging import keyring, viewserver
from imaging.errors import ExitStatus
from imaging.views import Refused, View


@pytest.mark.parametrize(
    ("error", "words"),
    [(MemoryError(), "too little free memory"), (OSError(12, "Cannot allocate memory"), "Cannot allocate memory")],
    ids=["no memory", "of the system"],
)
def test_what_keeps_a_view_from_being_served_is_told_in_words(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    here, there = socket.socketpair()
    monkeypatch.setattr(viewserver, "_file", fail)
    monkeypatch.setattr(viewserver, "_STDOUT", there.detach())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(keyring, "leave_no_core", lambda: None)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(msgspec.json.encode(View(start=0, size=1)))))
    with here:
        assert viewserver.main() == ExitStatus.IO_FAILURE
        told = msgspec.json.decode(here.recv(4096), type=Refused)
    assert words in told.message
    assert (told.status, told.code) == (ExitStatus.IO_FAILURE, "no-view")
