import signal
from collections.abc import Iterator

import pytest

from launcher.attempt import StopRequest


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_signal_that_ends_a_command_asks_for_a_stop(handlers: None) -> None:
    request = StopRequest()
    request.install()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert request.times == 3


def test_under_nohup_a_closed_terminal_stops_nothing(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    request = StopRequest()
    request.install()
    signal.raise_signal(signal.SIGHUP)
    assert request.times == 0
