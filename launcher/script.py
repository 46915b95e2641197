"""For a training loop of your own (`task.kind: script`): exact resume, checkpoints and logging, in a few lines.

    from launcher import script

    script.load(model=model, optimizer=optimizer)       # names what is saved; puts it back after a resume
    for step, batches in script.steps(data):            # every step that is left
        for batch in batches:                           # the job's `accumulate` many, with all generators seeded
            loss = loss_of(model, batch) / len(batches)
            loss.backward()
        optimizer.step()
        script.log(loss=loss)

All of it is to be called on every process alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from launcher.errors import RequestError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from launcher.plan import Plan
    from launcher.worker.session import Session


def plan() -> Plan:
    """The job and everything decided for it: `plan().precision`, `plan().spec.training.clip_norm`."""
    return _session().context.plan


def load(**objects: Any) -> int:
    """Name the models, optimizers, schedulers and others (with `state_dict`) that make up the state, once.

    After a resume they are put back as they were. Returns the number of steps made so far: 0 in a new run.
    """
    return _session().load(objects)


def steps(
    data: Dataset[Any] | None = None, collate: Callable[[list[Any]], Any] | None = None
) -> Iterator[tuple[int, Any]]:
    """The steps that are left, as (number, batches). After each: the log, the checkpoint, the stop, as they are due.

    Order and randomness are functions of seed and step, so a resume is exact. Without data a batch is None,
    and none need be taken.
    """
    return _session().steps(data, collate)


def log(*, step: int | None = None, validation: Mapping[str, Any] | None = None, **scalars: Any) -> None:
    """Report scalars of this step, one of them `loss`, or a validation's values by name.

    `step` is for a loop that does not use `steps`: it says how many have been made.
    """
    _session().log(step, validation, scalars)


def validates() -> bool:
    """Whether the job wants a validation after this step (`training.validate_every`)."""
    return _session().validates()


def save() -> None:
    """Save now what `load` named; `steps` does it by itself when it is due."""
    _session().save()


def should_stop() -> bool:
    """Whether the run ends after this step, for a loop that does not use `steps`; the same on every process."""
    return _session().should_stop()


def _session() -> Session:
    from launcher.worker.tasks import script

    if script.session is None:
        raise RequestError(
            "this program was not started by launcher, so there is no run to report to",
            hint="launcher run JOB, with `task: {kind: script, target: <this file>}` in the job",
        )
    return script.session
