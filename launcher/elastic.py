"""A run with fewer nodes than its job asks for, where `resources.nodes` is a range and one of them was lost. Pure.

A step keeps its microbatches: as many as before, of the same samples, shared out among fewer processes, each of which
accumulates more of them. So the order of the samples and the length of the training stay; sums are taken in another
order, so the bits do not.
"""

from __future__ import annotations

import dataclasses

from launcher.errors import RequestError, counted
from launcher.plan import Plan
from launcher.spec import JobSpec


def shrunk(plan: Plan, nodes: int) -> Plan | None:
    """The plan for at most so many nodes; None where the job asks for more, or none could share out a step equally."""
    shares = plan.nodes * plan.spec.training.accumulate
    fitting = (count for count in range(nodes, plan.spec.resources.least_nodes - 1, -1) if shares % count == 0)
    count = next(fitting, None)
    if count is None:
        return None
    training = dataclasses.replace(plan.spec.training, accumulate=shares // count)
    return dataclasses.replace(plan, nodes=count, spec=dataclasses.replace(plan.spec, training=training))


def told(plan: Plan) -> str:
    """What a smaller plan means for the run."""
    each = counted(plan.spec.training.accumulate, "microbatch")
    kept = "the same samples in each step"
    if plan.spec.task.kind == "script":
        kept += " if the program trains on all batches that script.steps gives it"
    return (
        f"the run goes on with {plan.nodes} of {counted(plan.spec.resources.most_nodes, 'node')}: {kept}, {each} a"
        " process; its bits are no longer those of a run that lost none"
    )


def refuse_a_range(spec: JobSpec, why: str) -> None:
    """Raises RequestError for a job that makes do with fewer nodes, where its backend or its task cannot."""
    if spec.resources.least_nodes < spec.resources.most_nodes:
        raise RequestError(f"resources.nodes: {why}", hint=f"--nodes {spec.resources.most_nodes}")
