import dataclasses
from pathlib import Path

import pytest

from launcher import elastic
from launcher.backends.base import fewer
from launcher.plan import Machine, Plan, differences, make
from launcher.spec import JobSpec, Resources, TaskKind, TaskSpec, Training


def plan(nodes: str, *, accumulate: int = 1, kind: TaskKind = "native") -> Plan:
    training = Training(steps=1, batch_size=48, accumulate=accumulate)
    task = TaskSpec(kind=kind, target="t.py:f")
    spec = JobSpec(name="job", task=task, training=training, resources=Resources(nodes=nodes))
    return make(spec, run_id="r", run_dir=Path("/r"), job_dir=Path("/j"), machine=Machine(cores=2))


def sizes(one: Plan | None) -> tuple[int, int, int] | None:
    return (one.nodes, one.spec.training.accumulate, one.microbatch) if one else None


def test_a_job_with_a_range_begins_with_the_most() -> None:
    assert sizes(plan("1..4")) == (4, 1, 12)


@pytest.mark.parametrize(
    ("accumulate", "left", "goes_on_with"),
    [(1, 3, (2, 2, 12)), (3, 3, (3, 4, 4)), (1, 2, (2, 2, 12)), (1, 1, (1, 4, 12))],
)
def test_fewer_nodes_share_out_the_same_microbatches(
    accumulate: int, left: int, goes_on_with: tuple[int, int, int]
) -> None:
    assert sizes(elastic.shrunk(plan("1..4", accumulate=accumulate), left)) == goes_on_with


def test_a_smaller_run_shrinks_on_from_the_same_microbatches() -> None:
    smaller = elastic.shrunk(plan("1..4"), 2)
    assert smaller is not None and sizes(elastic.shrunk(smaller, 1)) == (1, 4, 12)


@pytest.mark.parametrize(("nodes", "left"), [("3..4", 3), ("2..4", 1), ("4", 3)])
def test_a_job_is_not_shrunk_below_what_it_asks_for_or_to_what_does_not_fit(nodes: str, left: int) -> None:
    assert elastic.shrunk(plan(nodes), left) is None


def test_only_a_node_that_is_lost_is_left_out_and_not_one_of_which_a_rank_failed() -> None:
    lost, rank = {"kind": "node", "node": 1}, {"kind": "user", "node": 1, "rank": 1, "class": "hardware"}
    exchange = fewer(plan("1..2"), lost)
    assert exchange is not None and sizes(exchange.plan) == (1, 2, 24)
    assert fewer(plan("1..2"), rank) is None


def test_what_it_means_is_told_in_words() -> None:
    smaller = elastic.shrunk(plan("1..4"), 3)
    assert smaller is not None
    assert "goes on with 2 of 4 nodes" in elastic.told(smaller) and "2 microbatches a process" in elastic.told(smaller)


def test_a_script_is_promised_only_what_it_does_itself() -> None:
    asked = plan("1..2", kind="script")
    smaller = elastic.shrunk(asked, 1)
    assert smaller is not None and "if the program trains on all batches" in elastic.told(smaller)
    assert "makes smaller steps" in asked.reasons["nodes"]
    assert "nodes" not in {**plan("2", kind="script").reasons, **plan("1..2").reasons}


def test_a_run_that_has_shrunk_is_of_the_same_job() -> None:
    whole, smaller = plan("1..4", accumulate=3), elastic.shrunk(plan("1..4", accumulate=3), 2)
    assert smaller is not None and differences(smaller, whole.spec, Path("/j")) == []
    other = dataclasses.replace(whole.spec, training=dataclasses.replace(whole.spec.training, accumulate=1))
    assert differences(smaller, other, Path("/j")) == ["training.accumulate was 3 and is 1"]
