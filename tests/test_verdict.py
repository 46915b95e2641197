import dataclasses
from typing import Any

import pytest

from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, Resources, TaskSpec, Training
from launcher.verdict import OVER, judge


@pytest.fixture
def plan(tmp_path: Any) -> Plan:
    spec = JobSpec(name="job", task=TaskSpec(target="t.py:f"), training=Training(steps=1), resources=Resources(nodes=2))
    return make(spec, run_id="r", run_dir=tmp_path, job_dir=tmp_path, machine=Machine(cores=2))


def rank(state: str, *, step: int = 5, at: int = 1, **more: Any) -> dict[str, Any]:
    return {"state": state, "step": step, "epoch": 1, "time_ns": at, "metrics": {}, **more}


def failed(kind: str, message: str, *, at: int) -> dict[str, Any]:
    return rank("failed", at=at, error={"kind": kind, "type": "E", "message": message})


def node(node_rank: int, outcome: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    ranks = {} if outcome is None else {str(node_rank): outcome}
    return {"host": f"host-{node_rank}", "ranks": ranks, "failures": [], "agent_exit": 1, **more}


def killed(rank_number: int, number: int, *, at: int = 5) -> dict[str, Any]:
    return {"rank": rank_number, "exit_code": -number, "signal": number, "time_ns": at}


def test_all_ranks_done_is_success_with_rank_zeros_word(plan: Plan) -> None:
    verdict = judge(plan, {0: node(0, rank("done", weights_sha256="ab")), 1: node(1, rank("done"))}, stop_asked=False)
    assert (verdict.state, verdict.weights_sha256, verdict.exit_code) == ("SUCCEEDED", "ab", 0)


def test_the_first_exception_is_the_cause_and_not_the_one_it_led_to(plan: Plan) -> None:
    nodes = {0: node(0, failed("user", "second", at=9)), 1: node(1, failed("user", "first", at=3))}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None
    assert (cause["rank"], cause["host"], cause["message"]) == (1, "host-1", "first")


def test_a_node_whose_agent_died_is_the_cause_and_not_the_one_that_was_ended_with_it(plan: Plan) -> None:
    ended = node(0, None, agent_exit=-15, ended_because=OVER)
    cause = judge(plan, {0: ended, 1: node(1, None, agent_exit=-9)}, stop_asked=False).root_cause
    assert cause is not None and (cause["kind"], cause["node"]) == ("agent", 1)


def test_a_node_that_lost_its_launcher_is_the_cause_and_not_the_one_that_was_ended_with_it(plan: Plan) -> None:
    ended = node(0, None, agent_exit=-15, ended_because=OVER)
    lost = node(1, None, agent_exit=-15, ended_because="the launcher was silent for 8 s")
    cause = judge(plan, {0: ended, 1: lost}, stop_asked=False).root_cause
    assert cause is not None and (cause["class"], cause["node"]) == ("hardware", 1)


def test_a_rank_that_lost_its_peer_is_never_the_cause_however_early_it_noticed(plan: Plan) -> None:
    nodes = {0: node(0, failed("victim", "connection closed", at=1)), 1: node(1, failed("user", "bug", at=9))}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None and cause["message"] == "bug"


def test_a_killed_rank_is_the_cause_and_its_signal_is_said_in_words(plan: Plan) -> None:
    nodes = {0: node(0, failed("user", "odd message about a peer", at=1)), 1: node(1, None, failures=[killed(1, 9)])}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None and cause["rank"] == 1
    assert "SIGKILL" in cause["message"]


def test_a_kill_with_the_oom_counter_risen_is_called_out_of_memory(plan: Plan) -> None:
    nodes = {0: node(0, rank("done")), 1: node(1, None, failures=[killed(1, 9)], oom_kills=1)}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None and "want of memory" in cause["message"] and "batch_size" in cause["hint"]


def test_what_failed_long_before_a_kill_is_the_cause(plan: Plan) -> None:
    nodes = {0: node(0, failed("user", "bug", at=1)), 1: node(1, None, failures=[killed(1, 9, at=5 * 10**9)])}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None and cause["message"] == "bug"


def test_a_rank_that_left_no_word_is_the_cause_where_only_its_victim_was_reported(plan: Plan) -> None:
    two = dataclasses.replace(plan, nodes=1, procs_per_node=2)
    victim = node(0, failed("victim", "closed", at=1), failures=[{"rank": 0, "exit_code": 1, "time_ns": 1}])
    cause = judge(two, {0: victim}, stop_asked=False).root_cause
    assert cause is not None
    assert (cause["rank"], cause["kind"], cause["class"]) == (1, "silent", "preemption")


def test_a_cause_carries_its_class_with_the_reason(plan: Plan) -> None:
    nodes = {0: node(0, None, failures=[killed(0, 9)]), 1: node(1, failed("victim", "closed", at=9))}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None
    assert (cause["class"], "outside the run" in cause["class_reason"]) == ("preemption", True)


def test_an_abort_after_another_ranks_exception_is_its_consequence(plan: Plan) -> None:
    nodes = {0: node(0, None, failures=[killed(0, 6, at=1)]), 1: node(1, failed("user", "bug", at=9))}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None and cause["message"] == "bug"


def test_a_node_program_that_died_is_named_before_its_victims(plan: Plan) -> None:
    dead = {"died": "was killed by SIGKILL", "time_ns": 8}
    cause = judge(plan, {0: node(0, failed("victim", "closed", at=1)), 1: dead}, stop_asked=False).root_cause
    assert cause is not None and cause["node"] == 1 and "node program was killed by SIGKILL" in cause["message"]


def test_where_every_rank_stops_for_one_of_them_that_one_is_named(plan: Plan) -> None:
    error = {"kind": "numerics", "message": "not finite on rank 1", "rank": 1}
    nodes = {0: node(0, rank("failed", error=error)), 1: node(1, rank("failed", at=9, error=error))}
    cause = judge(plan, nodes, stop_asked=False).root_cause
    assert cause is not None and (cause["rank"], cause["node"], cause["host"]) == (1, 1, "host-1")


def test_a_stop_that_was_asked_for_is_no_failure(plan: Plan) -> None:
    verdict = judge(plan, {0: node(0, rank("stopped")), 1: node(1, rank("stopped"))}, stop_asked=True)
    assert (verdict.state, verdict.exit_code, verdict.step) == ("STOPPED", 130, 5)


def test_a_stop_whose_checkpoint_could_not_be_saved_is_a_failure(plan: Plan) -> None:
    nodes = {0: node(0, failed("storage", "no space left", at=9)), 1: node(1, failed("victim", "closed", at=10))}
    verdict = judge(plan, nodes, stop_asked=True)
    assert (verdict.state, verdict.exit_code) == ("FAILED", 1)
    assert verdict.root_cause is not None and verdict.root_cause["message"] == "no space left"


def test_errors_of_ranks_that_were_ended_do_not_make_a_stop_a_failure(plan: Plan) -> None:
    ended = {"ended_because": "the launcher is gone"}
    nodes = {0: node(0, failed("user", "a loader was killed", at=9), **ended), 1: node(1, None, **ended)}
    assert judge(plan, nodes, stop_asked=True).state == "STOPPED"


def test_a_stop_that_came_too_late_to_matter_is_a_success(plan: Plan) -> None:
    verdict = judge(plan, {0: node(0, rank("done")), 1: node(1, rank("done"))}, stop_asked=True)
    assert verdict.state == "SUCCEEDED"


def test_a_wrong_request_found_by_a_rank_keeps_its_exit_code(plan: Plan) -> None:
    outcome = rank("failed", error={"kind": "request", "message": "no such argument", "exit_code": 2})
    assert judge(plan, {0: node(0, outcome), 1: node(1, None)}, stop_asked=False).exit_code == 2


def test_nodes_that_said_nothing_at_all_still_get_a_verdict(plan: Plan) -> None:
    verdict = judge(plan, {}, stop_asked=False)
    assert verdict.state == "FAILED" and verdict.root_cause is not None
