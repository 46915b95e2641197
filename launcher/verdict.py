"""From how every rank and node ended to one verdict, with the first cause and not its victims on top. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from launcher import causes
from launcher.errors import LauncherError, RequestError, counted
from launcher.plan import Plan

NodeOutcome = Mapping[str, Any]
"""What a node program says when it ends (`node.Node._outcome`)."""

# The smaller the number of a kind, the likelier it is a cause and not a consequence; of equals the first by time. A
# rank whose peer vanished raises (victim) or is aborted by NCCL's watchdog (SIGABRT).
KIND_ORDER = {
    "hang": 0,
    "environment": 0,
    "killed": 1,
    "node": 1,
    "request": 1,
    "storage": 1,
    "numerics": 1,
    "user": 1,
    "exit": 2,
    "aborted": 3,
    "silent": 4,
}
NOTICED_LATE = {"killed": 2 * 10**9, "node": 15 * 10**9}
"""Who dies without a word is noticed only so many nanoseconds later; what others say of it may come before."""
LAST = 9
OVER = "another node's part of the attempt is over"
"""Why the launcher ends the ranks of nodes that have nothing the matter with them."""
OWN_FAULTS = ("environment", "request", "storage", "numerics", "user")
"""Kinds of errors that no end of another process brings about."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How an attempt ended."""

    state: Literal["SUCCEEDED", "FAILED", "STOPPED"]
    step: int = 0
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    weights_sha256: str | None = None
    root_cause: Mapping[str, Any] | None = None
    exit_code: int = 0


def judge(plan: Plan, nodes: Mapping[int, NodeOutcome], *, stop_asked: bool) -> Verdict:
    """One verdict over all nodes; `nodes` lacks a node only when nothing at all was heard of it."""
    ranks = {int(rank): outcome for node in nodes.values() for rank, outcome in node.get("ranks", {}).items()}
    states = [ranks[rank]["state"] for rank in sorted(ranks)]
    if states == ["done"] * plan.world_size:
        return Verdict(state="SUCCEEDED", **_reached(ranks))
    stopped = stop_asked and not _failed_stopping(nodes)
    if stopped or states == ["stopped"] * plan.world_size:
        return Verdict(state="STOPPED", exit_code=130, **_reached(ranks))
    cause = min(_causes(plan, nodes, ranks), key=_likeliest)
    return Verdict(state="FAILED", root_cause=classed(cause), exit_code=cause.get("exit_code", 1), **_reached(ranks))


def unfit(error: LauncherError) -> Verdict:
    """The verdict of an attempt that could not begin."""
    kind = "request" if error.exit_code == RequestError.exit_code else "environment"
    cause = {"kind": kind, "message": error.message, "hint": error.hint}
    return Verdict(state="FAILED", root_cause=classed(cause), exit_code=error.exit_code)


def classed(cause: Mapping[str, Any]) -> dict[str, Any]:
    """The cause with its class, why it is of that class, and the remedy, where one is known."""
    found = causes.classed(cause)
    return {**cause, "class": found.name, "class_reason": found.reason, "hint": cause.get("hint") or found.hint}


def lost_hosts(nodes: Mapping[int, NodeOutcome]) -> list[str]:
    """Other machines whose node program ended without a word, so that something may still run there."""
    return [node["host"] for node in nodes.values() if node.get("died") and node.get("host")]


def _failed_stopping(nodes: Mapping[int, NodeOutcome]) -> bool:
    """Whether a rank that was to save and stop failed at it (a full disk, an error of the user's) and was not ended."""
    left_alone = (node for node in nodes.values() if not node.get("ended_because"))
    failed = (rank["error"] for node in left_alone for rank in node.get("ranks", {}).values() if "error" in rank)
    return any(error["kind"] in OWN_FAULTS for error in failed)


def _reached(ranks: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """How far rank 0 came; where it left no word, how far anybody did."""
    if not ranks:
        return {}
    first = ranks[min(ranks)]
    keys = ("step", "epoch", "metrics", "checkpoint", "weights_sha256")
    return {key: first[key] for key in keys if first.get(key) is not None}


def _likeliest(cause: Mapping[str, Any]) -> tuple[int, int]:
    """Sorts by how likely it is the first cause."""
    return KIND_ORDER.get(cause["kind"], LAST), cause["time_ns"] - NOTICED_LATE.get(cause["kind"], 0)


def _causes(
    plan: Plan, nodes: Mapping[int, NodeOutcome], ranks: Mapping[int, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for node_rank in range(plan.nodes):
        node = nodes.get(node_rank, {})
        place = {"node": node_rank, "host": node.get("host")}
        if node.get("hang"):
            yield {**place, **node["hang"], "time_ns": 0}
        for rank, outcome in node.get("ranks", {}).items():
            if outcome["state"] == "failed":
                about = {"rank": int(rank), **outcome["error"]}
                node_of_rank = about["rank"] // plan.procs_per_node
                place = {"node": node_of_rank, "host": nodes.get(node_of_rank, {}).get("host")}
                yield {**place, **about, "time_ns": outcome["time_ns"], "step": outcome["step"]}
        for failure in node.get("failures", []):
            if failure["rank"] not in ranks:
                yield {**place, **_without_word(failure, node)}
        place = {"node": node_rank, "host": node.get("host")}
        yield from ({**place, **_silent(rank)} for rank in _ended_silently(plan, node_rank, node))
        yield {**place, **_of_node(node)}


def _ended_silently(plan: Plan, node_rank: int, node: NodeOutcome) -> Iterator[int]:
    """Ranks of which there is no word at all: the agent reports one failure, and their victim's was seen first."""
    if node.get("ended_because") or not node.get("failures"):
        return
    told = {int(rank) for rank in node.get("ranks", {})} | {failure["rank"] for failure in node["failures"]}
    first = node_rank * plan.procs_per_node
    yield from (rank for rank in range(first, first + plan.procs_per_node) if rank not in told)


def _silent(rank: int) -> dict[str, Any]:
    message = "ended without a word, most likely killed: its peers lost it"
    return {"rank": rank, "kind": "silent", "message": message, "time_ns": 1 << 62}


def _without_word(failure: Mapping[str, Any], node: NodeOutcome) -> dict[str, Any]:
    """A rank that ended without leaving an outcome: a signal killed it, or something called exit below Python."""
    base = {"rank": failure["rank"], "time_ns": failure["time_ns"]}
    number = failure.get("signal")
    if number is None:
        message = f"the process ended with exit code {failure['exit_code']} before training was done"
        return {**base, "kind": "exit", "message": message}
    name = signal.Signals(number).name
    if number == signal.SIGKILL and node.get("oom_kills"):
        return {
            **base,
            "kind": "killed",
            "message": f"killed by the kernel for want of memory (SIGKILL; {_oom_kills(node)})",
        }
    kind = "aborted" if number == signal.SIGABRT else "killed"
    return {**base, "kind": kind, "message": f"killed by {name} (signal {number})"}


def _oom_kills(node: NodeOutcome) -> str:
    return f"{counted(node['oom_kills'], 'out-of-memory kill')} in its cgroup since the attempt began"


def _of_node(node: NodeOutcome) -> dict[str, Any]:
    """The node itself as the cause: it died, or it never got as far as its ranks."""
    for result in node.get("unfit", []):
        return {
            "kind": "environment",
            "message": f"the node is unfit: {result['id']} {result['title']}: {result['saw']}",
            "hint": result["remedy"],
            "unfit": node["unfit"],
            "exit_code": 3,
            "time_ns": 0,
        }
    died = node.get("died")
    if died is not None:
        return {"kind": "node", "message": f"the node program {died}", "time_ns": node["time_ns"]}
    said = (node.get("said") or "").strip().rpartition("\n")[2]
    agent = f"its agent ended with exit code {node.get('agent_exit')}{': ' if said else ''}{said}"
    ended = node.get("ended_because")
    return {
        "kind": "agent",
        "message": f"the node's workers were ended: {ended or agent}",
        "traceback": node.get("said") or None,
        "time_ns": (1 << 63) + bool(ended) + (ended == OVER),  # who was ended is not the cause while another was not
    }
