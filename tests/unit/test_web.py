"""What is accepted as an address, what is shown of it, and for how long a server is asked again."""

import pytest

from imaging import web
from imaging.errors import IoError, RefusedError, UsageError


@pytest.mark.parametrize(
    "url",
    [
        "ftp://server/x",
        "file:///etc/shadow",
        "https://",
        "https:///x",
        "https://me:geheim@server/x",
        "https://server/a b",
        "https://server/\n",
        "http://sérver/",
    ],
)
def test_what_is_no_address_on_the_web_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError) as error:
        web.fetch(url, 10)
    assert error.value.code == "bad-address"
    assert "geheim" not in error.value.message


def test_what_may_be_secret_in_an_address_is_not_shown() -> None:
    assert web.shown("https://me:geheim@server:8443/a/b.toml?token=geheim#x") == "https://server:8443/a/b.toml"


class Asking:
    """Answers after so many failures."""

    def __init__(self, failures: int, code: str = web.TRANSIENT) -> None:
        self.failures, self.code, self.asked, self.now = failures, code, 0, 0.0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise IoError("no answer", code=self.code)
        return "yes"

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def patiently(self, seconds: float) -> str:
        return web.patiently(self, seconds, pause=self.pause, clock=lambda: self.now)


def test_a_server_that_comes_up_in_time_is_heard() -> None:
    asking = Asking(8)
    assert asking.patiently(180) == "yes"
    assert asking.now <= 180


def test_one_that_does_not_come_up_is_given_up_in_time() -> None:
    asking = Asking(10**6)
    with pytest.raises(IoError):
        asking.patiently(180)
    assert 150 < asking.now <= 180
    assert asking.asked < 30


def test_what_no_later_try_would_change_is_asked_once() -> None:
    asking = Asking(3, "http-status")
    with pytest.raises(IoError):
        asking.patiently(180)
    assert asking.asked == 1
    with pytest.raises(RefusedError):
        web.patiently(_refuse, 180)


def _refuse() -> None:
    raise RefusedError("no")
