"""The `names` section: what this machine's name stands for, and how long the opposite question takes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from envcheck.sections.network import Names

if TYPE_CHECKING:
    from envcheck.machine import Machine

SECONDS = 2.5
"""A resolver without a server answers after 10 s or more; it is not waited for."""
NO_ANSWER = f"no answer within {SECONDS:g} s"


def collect(machine: Machine) -> Names:
    hostname = machine.read("/proc/sys/kernel/hostname")
    own, local = _Question(addresses_of, hostname), _Question(addresses_of, "localhost")
    fqdn = _Question(_fqdn, hostname)
    deadline = time.monotonic() + SECONDS
    addresses, failure = own.answer(deadline, ())
    reverse = next((one for one in addresses if ":" not in one), None)
    question = _Question(_timed_reverse, f"::ffff:{reverse}") if reverse else None
    name, fqdn_failure = fqdn.answer(deadline, "")
    return Names(
        hostname=hostname,
        addresses=addresses,
        failure=failure,
        fqdn=name,
        fqdn_failure=fqdn_failure,
        localhost=local.answer(deadline, ())[0],
        reverse=reverse,
        reverse_seconds=question.answer(deadline, None)[0] if question else None,
    )


def addresses_of(name: str) -> tuple[str, ...]:
    """Every address of a name, in the resolver's order. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


def _fqdn(hostname: str) -> str:
    """What torchrun tells the other nodes; raises OSError where they could not find it."""
    name = socket.getfqdn(hostname)
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        raise OSError(f"{name}: {error.strerror}") from None
    return name


def _timed_reverse(address: str) -> float:
    """torch's store asks so for every peer; a hosts file has no answer to an IPv4 address written as IPv6."""
    began = time.monotonic()
    with contextlib.suppress(OSError):  # that nobody knows the name is quick and harmless
        socket.getnameinfo((address, 0), 0)
    return round(time.monotonic() - began, 3)


class _Question(threading.Thread):
    """A question to the resolver in a thread of its own, which can be left behind."""

    def __init__(self, ask: Callable[[str], Any], word: str) -> None:
        super().__init__(daemon=True)
        self.ask, self.word = ask, word
        self.found: Any = None
        self.failure: str | None = None
        self.start()

    def run(self) -> None:
        try:
            self.found = self.ask(self.word)
        except (OSError, UnicodeError) as error:
            self.failure = getattr(error, "strerror", None) or str(error)

    def answer(self, deadline: float, otherwise: Any) -> tuple[Any, str | None]:
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            return otherwise, NO_ANSWER
        return (self.found if self.failure is None else otherwise), self.failure
