from typing import Any

import pytest

from launcher.retrying import Tries
from launcher.spec import Retry

KILLED = {"kind": "killed", "message": "killed by SIGKILL (signal 9)", "node": 0, "rank": 0}
BUG = {"kind": "user", "type": "ValueError", "message": "bad", "rank": 0}


def tries(**policy: Any) -> Tries:
    return Tries(Retry(**{"max": 9, **policy}), None)


def test_a_kill_from_outside_is_tried_again_at_once() -> None:
    decision = tries().after(KILLED, "step-1")
    assert (decision.again, decision.delay, decision.warm) == (True, 0.0, True)
    assert decision.reason.startswith("preemption: ")


def test_an_error_of_the_jobs_own_code_is_not_tried_again() -> None:
    decision = tries().after(BUG, "step-1")
    assert not decision.again and "user failures are not tried again" in decision.reason


def test_it_is_where_the_job_asks_for_it() -> None:
    assert tries(on=("user",)).after(BUG, "step-1").again


def test_the_same_failure_twice_without_progress_ends_the_run() -> None:
    made = tries()
    assert made.after(KILLED, None).again
    decision = made.after(KILLED, None)
    assert not decision.again and "same failure came twice" in decision.reason


@pytest.mark.parametrize(("cause", "newest"), [(KILLED, "step-1"), ({**KILLED, "rank": 1}, None)])
def test_another_failure_or_progress_between_does_not(cause: dict[str, Any], newest: str | None) -> None:
    made = tries()
    made.after(KILLED, None)
    assert made.after(cause, newest).again


def test_there_are_no_more_attempts_than_the_job_allows() -> None:
    made = tries(max=1)
    assert made.after(KILLED, "step-1").again
    assert "retry.max allows 1 new attempt" in made.after(KILLED, "step-2").reason


def test_failures_without_progress_are_tried_again_later_and_later() -> None:
    made = tries(delay=2.0)
    delays = [made.after({**KILLED, "rank": rank}, None).delay for rank in range(4)]
    assert delays == [0.0, 2.0, 4.0, 8.0]
    assert made.after(KILLED, "step-1").delay == 0.0


@pytest.mark.parametrize("message", ["lost with the connection to b", "the node program was killed by SIGKILL"])
def test_after_a_failure_of_the_machine_the_nodes_are_looked_at_anew(message: str) -> None:
    assert not tries().after({"kind": "node", "message": message}, None).warm
