"""A run's trained model, with real samples in the form in which its task hands them to it."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.utils import _pytree as pytree

from launcher import checkpoints, manifest
from launcher.choices import Levers
from launcher.errors import RequestError, nearest
from launcher.heartbeat import Heart
from launcher.levers import ModelOptions, ParallelOptions
from launcher.manifest import Damaged
from launcher.plan import Plan
from launcher.store import RunFolder
from launcher.worker import seeding, tasks
from launcher.worker.checkpoint import Checkpoints
from launcher.worker.context import Context
from launcher.worker.events import Events
from launcher.worker.models import Weights
from launcher.worker.stop import Stop

NEWEST, BEST = "newest", "best"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model in evaluation mode on the CPU, and a call of it with real samples."""

    run_id: str
    checkpoint: str
    step: int
    name: str
    """Which of the task's models; empty where it has one."""
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a kind of task makes of its target."""

    models: Mapping[str, nn.Module]
    """What may be called, by name."""
    weights: Weights
    """What a checkpoint is put into."""
    use: Callable[[], object]
    """Lets the task call its models with a batch of real samples."""


class Kind(Protocol):
    def build(self, context: Context) -> Built: ...


def load(run_dir: Path, *, checkpoint: str = NEWEST, model: str | None = None) -> Trained:
    """Build the run's task and put a checkpoint's weights into it.

    `checkpoint` is newest, best, or a name; `model` is needed where the task has several. Raises RequestError where
    there is none of that name, and where the checkpoint does not fit the task's code of today.
    """
    plan = _alone(RunFolder(run_dir).read_plan(), run_dir)
    about = _chosen(run_dir, checkpoint)
    tasks.load(plan.spec.task.kind)  # its package must be there
    kind = cast(Kind, importlib.import_module(f"launcher.worker.trained.{plan.spec.task.kind}"))
    context = _context(plan)
    torch.set_num_threads(plan.threads)
    seeding.seed_all(seeding.mix(context.seed, seeding.WEIGHTS), context.device)
    built = kind.build(context)
    context.checkpoints.load_into(about.name, built.weights.weights())
    name = _named(built.models, model)
    module = built.models[name]
    args, kwargs = _first_call(module, name, built.use)
    module.eval()
    return Trained(
        run_id=run_dir.name,
        checkpoint=about.name,
        step=about.step,
        name=name,
        module=module,
        args=args,
        kwargs=kwargs,
    )


def batch_size(trained: Trained) -> int | None:
    """The first dimension that the tensors handed to the model share; None where they share none."""
    leaves = pytree.tree_leaves((trained.args, dict(trained.kwargs)))
    sizes = {leaf.shape[0] for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim}
    return sizes.pop() if len(sizes) == 1 else None


def _alone(plan: Plan, run_dir: Path) -> Plan:
    """The plan for one process on the CPU, whatever it trained on."""
    spec = dataclasses.replace(
        plan.spec,
        loader=dataclasses.replace(plan.spec.loader, workers=0),
        training=_whole(plan),
        model=ModelOptions(),
        parallel=ParallelOptions(),
    )
    alone = dataclasses.replace(plan, run_dir=str(run_dir), nodes=1, procs_per_node=1, device="cpu", precision="fp32")
    return dataclasses.replace(alone, spec=spec, levers=Levers())


def _whole(plan: Plan) -> Any:
    return dataclasses.replace(plan.spec.training, precision="fp32", accumulate=1)


def _context(plan: Plan) -> Context:
    return Context(
        plan=plan,
        rank=0,
        local_rank=0,
        node_rank=0,
        device=torch.device("cpu"),
        stop=Stop(0, 1),
        heart=Heart(0, 1),
        events=Events(0, {}),
        checkpoints=Checkpoints(plan, rank=1),  # one that reads only: the run's own may still be writing
    )


def _chosen(run_dir: Path, wanted: str) -> manifest.Manifest:
    """The newest sound checkpoint of those that are meant. Damaged ones are passed over and left where they are."""
    root = checkpoints.folder(run_dir)
    names = checkpoints.names(root)
    if wanted not in (NEWEST, BEST):
        if wanted not in names:
            standing = f"there are {', '.join(names)}" if names else "it has saved none yet"
            raise RequestError(f"{run_dir.name} has no checkpoint {wanted}{nearest(wanted, names)}", hint=standing)
        return manifest.verify(root / wanted)
    damage = ""
    for name in names:
        try:
            found = manifest.verify(root / name)
        except Damaged as error:
            damage = damage or f" ({error.message})"
            continue
        if wanted == NEWEST or found.protected:
            return found
    kind = "best checkpoint" if wanted == BEST else "sound checkpoint"
    remedy = "checkpoint.best in a job keeps one" if wanted == BEST else "`launcher resume` trains on to the next"
    raise RequestError(f"{run_dir.name} has no {kind}{damage}", hint=remedy)


def _named(models: Mapping[str, nn.Module], wanted: str | None) -> str:
    if wanted is None and len(models) == 1:
        return next(iter(models))
    if wanted is not None and wanted in models:
        return wanted
    names = ", ".join(name or "model" for name in models)
    said = f"no model {wanted}{nearest(wanted, models)}" if wanted else f"several models: {names}"
    raise RequestError(f"the task has {said}", hint=f"--model NAME says which: {names}")


class _Called(BaseException):
    """The model was called: what it takes is known."""


def _first_call(module: nn.Module, name: str, use: Callable[[], object]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the task hands to the model in its first call. Nothing is computed, and nothing trained."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))
        raise _Called

    hook = module.register_forward_pre_hook(look, with_kwargs=True, prepend=True)
    try:
        use()
    except _Called:
        pass
    finally:
        hook.remove()
    if not seen:
        raise RequestError(
            f"the task never calls {name or 'its model'}, so what that takes is not known",
            hint="call it as a module, model(batch), in the loss, the metrics or the validation",
        )
    args, kwargs = pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, seen[0])
    return args, kwargs
