"""Whether a run is tried again after a failure: by its class, its fingerprint and the run's progress. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher import causes
from launcher.errors import counted
from launcher.spec import Retry

LONGEST_DELAY = 300.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What follows a failure."""

    again: bool
    reason: str
    """Why, or why not."""
    delay: float = 0.0
    """Seconds to wait before the next attempt."""
    warm: bool = True
    """Whether what the failure left standing of the nodes may be used again; else they are looked at anew."""


class Tries:
    """Decides after each failure of a run; remembers the ones before."""

    def __init__(self, policy: Retry, begun_at: str | None) -> None:
        """`begun_at` is the checkpoint that the first attempt went on from."""
        self._policy = policy
        self._made = 0
        self._point = begun_at
        self._fingerprint: tuple[str, ...] | None = None
        self._in_vain = 0
        """Failures one after another without a new checkpoint between."""

    def after(self, cause: Mapping[str, Any], newest: str | None) -> Decision:
        """The run failed by `cause`, and `newest` is the checkpoint that it could go on from."""
        progressed = newest != self._point
        repeated = not progressed and causes.fingerprint(cause) == self._fingerprint
        self._in_vain = 1 if progressed else self._in_vain + 1
        self._point, self._fingerprint = newest, causes.fingerprint(cause)
        found = causes.classed(cause)
        if found.name not in self._policy.on:
            return _no(f"{found.name} failures are not tried again ({found.reason})")
        if repeated:
            return _no("the same failure came twice with no new checkpoint between")
        if self._made >= self._policy.max:
            return _no(f"retry.max allows {counted(self._policy.max, 'new attempt')}")
        self._made += 1
        return Decision(
            again=True,
            reason=f"{found.name}: {found.reason}",
            delay=self._delay(),
            warm=found.name not in LOOKED_AT_ANEW and cause.get("kind") != "node",
        )

    def _delay(self) -> float:
        doublings = self._in_vain - 2
        return min(self._policy.delay * 2**doublings, LONGEST_DELAY) if doublings >= 0 else 0.0


LOOKED_AT_ANEW = frozenset({"hardware", "environment"})
"""After a failure of these classes the next attempt begins with a look at each node."""


def _no(reason: str) -> Decision:
    return Decision(again=False, reason=reason)
