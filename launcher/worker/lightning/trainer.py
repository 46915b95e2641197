"""The Trainer's arguments: what the job file decides, and what its `trainer` section may add."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from launcher import elastic
from launcher.errors import RequestError, nearest
from launcher.plan import Plan
from launcher.worker.context import Context
from launcher.worker.lightning.given import Flavour, Given
from launcher.worker.models import distributed
from launcher.worker.rank import COLLECTIVE_TIMEOUT

PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
ACCELERATOR = {"cpu": "cpu", "cuda": "gpu"}
UNUSED_PARAMETERS = "ddp_find_unused_parameters_true"

DECIDED_BY = {
    "accelerator": "resources.device",
    "devices": "resources.procs_per_node",
    "num_nodes": "resources.nodes",
    "precision": "training.precision",
    "max_epochs": "training.epochs",
    "max_steps": "training.steps",
    "accumulate_grad_batches": "training.accumulate",
    "gradient_clip_val": "training.clip_norm",
    "val_check_interval": "training.validate_every",
    "check_val_every_n_epoch": "training.validate_every",
    "log_every_n_steps": "training.log_every",
    "deterministic": "training.numerics",
    "benchmark": "training.numerics",
    "strategy": "resources",
}
"""An argument of the Trainer that is a key of the job file: given in `trainer`, it may only say the same."""

REFUSED = {
    "limit_train_batches": "an epoch is as long as its data; training.steps ends a training in an epoch",
    "overfit_batches": "an epoch is as long as its data; give the target fewer samples",
    "fast_dev_run": "launcher run --set training.steps=1 tries a job",
    "barebones": "leave it out",
    "reload_dataloaders_every_n_epochs": "the loader processes live as long as the training",
    "max_time": "a length in time cannot be resumed exactly; use training.steps",
    "callbacks": "let the target return {'model': …, 'callbacks': […]}",
    "plugins": "launcher gives the precision, the environment and the checkpoints",
    "use_distributed_sampler": "the training loader is launcher's own; leave it out",
}


def arguments(given: Given, context: Context, plugins: list[Any]) -> dict[str, Any]:
    """Everything for `Trainer(**arguments)`; raises RequestError where `trainer` says other than the job."""
    plan, training = context.plan, context.plan.spec.training
    if not given.model.automatic_optimization:
        elastic.refuse_a_range(plan.spec, "a module that optimizes itself cannot go on with fewer nodes")
    decided: dict[str, Any] = {
        "accelerator": ACCELERATOR[plan.device],
        "devices": plan.procs_per_node,
        "num_nodes": plan.nodes,
        "precision": PRECISION[plan.precision],
        "accumulate_grad_batches": training.accumulate,
        "gradient_clip_val": training.clip_norm,
        "log_every_n_steps": training.log_every,
        "deterministic": training.numerics == "exact",
        "benchmark": training.numerics == "fast",
        "strategy": "ddp" if plan.world_size > 1 else "auto",
        **_length(plan, automatic=given.model.automatic_optimization),
        **_validation(plan),
    }
    wished = dict(plan.spec.trainer)
    _check(wished, decided, given.flavour)
    unused = wished.pop("strategy", None) == UNUSED_PARAMETERS or not given.model.automatic_optimization
    precision = decided.pop("precision")
    if plan.world_size > 1:
        decided["strategy"] = _strategy(given.flavour, context, find_unused_parameters=unused)
    # `numerics.configure` has set these already, and more of them than Lightning would.
    decided |= {"deterministic": None, "benchmark": None}
    decided["plugins"] = [*plugins, *_precision(given.flavour, plan, precision)]
    checkpointing = given.flavour.part("callbacks", "Checkpoint")
    return {
        "default_root_dir": str(Path(plan.run_dir) / "lightning"),
        "logger": given.logger,
        "enable_checkpointing": any(isinstance(each, checkpointing) for each in given.callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **wished,
        **decided,
    }


def _length(plan: Plan, *, automatic: bool) -> dict[str, int]:
    """In epochs or optimizer steps; a module that optimizes itself may step often in a batch: we count its batches."""
    training = plan.spec.training
    if training.steps is None:
        return {"max_epochs": training.epochs or 1, "max_steps": -1}
    return {"max_epochs": -1, "max_steps": training.steps if automatic else -1}


def _validation(plan: Plan) -> dict[str, Any]:
    every = plan.spec.training.validate_every
    if every == "epoch":
        return {"check_val_every_n_epoch": 1, "val_check_interval": 1.0}
    return {"check_val_every_n_epoch": None, "val_check_interval": every * plan.spec.training.accumulate}


def _check(wished: dict[str, Any], decided: dict[str, Any], flavour: Flavour) -> None:
    known = inspect.signature(flavour.part("", "Trainer").__init__).parameters
    for name, value in wished.items():
        if name in REFUSED:
            raise RequestError(f"trainer.{name} cannot be set here", hint=REFUSED[name])
        if name not in known:
            raise RequestError(
                f"trainer.{name}: Lightning's Trainer has no such argument{nearest(name, known)}",
                hint="the keys of `trainer` are arguments of Trainer, by their names",
            )
        same = value == decided.get(name) or (name == "strategy" and value in ("auto", "ddp", UNUSED_PARAMETERS))
        if name in DECIDED_BY and not same:
            raise RequestError(
                f"trainer.{name} is {value!r} and {DECIDED_BY[name]} makes it {decided.get(name)!r}",
                hint=f"leave trainer.{name} out and set {DECIDED_BY[name]}",
            )
        if name in DECIDED_BY and name != "strategy":
            decided[name] = value


def _strategy(flavour: Flavour, context: Context, *, find_unused_parameters: bool) -> Any:
    options = context.plan.spec.parallel
    if find_unused_parameters and options.static_graph:
        raise RequestError(
            f"parallel.static_graph is true, and trainer.strategy {UNUSED_PARAMETERS}, or a module that optimizes"
            " itself, uses other parameters from step to step",
            hint="--set parallel.static_graph=false",
        )
    base = flavour.part("strategies", "DDPStrategy")

    class ExactDDP(base):  # type: ignore[misc, valid-type]  # the flavour's class
        """Gradients keep their place in DDP's buckets; buffers are shared once a step, by the callback."""

        def _setup_model(self, model: torch.nn.Module) -> Any:
            if not find_unused_parameters:
                return distributed(model, context)
            devices = [context.device.index] if context.device.type == "cuda" else None
            return DistributedDataParallel(
                model,
                device_ids=devices,
                find_unused_parameters=True,
                broadcast_buffers=False,
                gradient_as_bucket_view=options.bucket_view,
                bucket_cap_mb=options.bucket_mb,
            )

    return ExactDDP(timeout=COLLECTIVE_TIMEOUT)


def _precision(flavour: Flavour, plan: Plan, precision: str) -> list[Any]:
    """Made here: the Trainer would quietly make bf16 of fp16 on a cpu."""
    if precision == PRECISION["fp32"]:
        return []
    return [flavour.part("plugins", "MixedPrecision")(precision, device=plan.device)]
