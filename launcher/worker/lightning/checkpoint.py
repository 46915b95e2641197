"""Lightning's checkpoints through launcher's protocol: whole or absent, verified, without pickle.

Lightning's own dictionary is taken apart: the weights, and what every kind of task has (optimizers, schedule, scaler)
under the names it has there, so that a checkpoint of one kind fits another; the rest as Lightning gave it. Where the
loops stand is not among it: it follows from the step (`place.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from launcher.errors import JobFailed
from launcher.manifest import step_of
from launcher.worker import tree
from launcher.worker.lightning.given import Flavour
from launcher.worker.models import Weights
from launcher.worker.schedule import apart

SCALER = "MixedPrecision"
"""Lightning's name for the gradient scaler's state: its plugin's class."""
_HYPER_PARAMETERS = {"hyper_parameters", "datamodule_hyper_parameters"}
_TAKEN_APART = {"state_dict", "optimizer_states", "lr_schedulers", "loops", SCALER}


class Core(Weights):
    """What a LightningModule trains: itself, or the one network that holds all of its tensors.

    Such a network's weights are saved under the network's own names, as it has them in any other kind of task.
    """

    def __init__(self, module: nn.Module) -> None:
        children = [(name, child) for name, child in module.named_children() if child.state_dict()]
        alone = len(children) == 1 and all(key.startswith(f"{children[0][0]}.") for key in module.state_dict())
        name, core = children[0] if alone else ("", module)
        self.prefix = f"{name}." if name else ""
        super().__init__({"": core})


def take_apart(checkpoint: Mapping[str, Any], prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Lightning's dictionary as the weights, and what is laid over the common state."""
    weights = checkpoint["state_dict"]
    stripped = prefix if all(key.startswith(prefix) for key in weights) else ""
    scaler = checkpoint.get(SCALER)
    states = checkpoint.get("optimizer_states", [])
    optimizers = zip(names(len(states)), states, strict=True)
    schedules = checkpoint.get("lr_schedulers", [])
    rest = {key: plain(value) for key, value in checkpoint.items() if key not in _TAKEN_APART}
    for key in _HYPER_PARAMETERS & rest.keys():
        rest[key] = {name: _recorded(value) for name, value in rest[key].items()}
    more = {
        "optimizations": {name: {"optimizer": each, "scaler": scaler} for name, each in optimizers},
        "schedule": schedules[0] if len(schedules) == 1 else {str(n): each for n, each in enumerate(schedules)} or None,
        "lightning": {"prefix": stripped, "rest": rest},
    }
    return {key.removeprefix(stripped): value for key, value in weights.items()}, plain(more)


def names(count: int) -> list[str]:
    """Of this many optimizers: Lightning itself has none."""
    return ["optimizer"] if count == 1 else [str(number) for number in range(count)]


def put_together(weights: Mapping[str, Tensor], state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The inverse; `state` may be another kind's, whose weights then get this module's prefix."""
    own = state.get("lightning", {"prefix": prefix, "rest": {}})
    optimizations = list(state["optimizations"].values())
    scaler = next((each["scaler"] for each in optimizations if each["scaler"] is not None), None)
    return {
        **own["rest"],
        "state_dict": {own["prefix"] + key: value for key, value in weights.items()},
        "optimizer_states": [each["optimizer"] for each in optimizations],
        "lr_schedulers": [_with_counters(each) for each in apart(state["schedule"]).values()],
        **({SCALER: scaler} if scaler is not None else {}),
    }


def plain(value: Any) -> Any:
    """With the types that a checkpoint can hold in place of those that only look otherwise (numpy, paths, subclasses).

    What has no such type is left as it is, for the codec to name its place.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Path | torch.device | torch.dtype):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    return value


def checkpoint_io(flavour: Flavour, journey: Any) -> Any:
    """A CheckpointIO plugin: launcher's protocol for launcher's checkpoints, Lightning's file for the user's own."""
    base = flavour.part("plugins", "TorchCheckpointIO")

    class WholeCheckpointIO(base):  # type: ignore[misc, valid-type]  # the flavour's class
        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
            if step_of(Path(path).name) is not None:
                journey.commit(checkpoint)
            else:
                _write_whole(lambda beside: super(WholeCheckpointIO, self).save_checkpoint(checkpoint, beside), path)

        def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> dict[str, Any]:
            if step_of(Path(path).name) is not None:
                return journey.loaded_checkpoint()  # type: ignore[no-any-return]
            loaded: dict[str, Any] = super().load_checkpoint(path, *args, **options)
            return loaded

    return WholeCheckpointIO()


def _write_whole(write: Any, path: Any) -> None:
    """A file of the user's own ModelCheckpoint: beside, synced, renamed (Lightning's own way survives no crash)."""
    final = Path(path)
    beside = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        for place in (beside, final.parent):
            if place == final.parent:
                beside.replace(final)
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def _recorded(value: Any) -> Any:
    """A hyper-parameter. Nothing goes on from it: the target builds the module; so an object is only named."""
    try:
        tree.encode(value)
    except JobFailed:
        return repr(value)
    return value


def _with_counters(state: Mapping[str, Any]) -> dict[str, Any]:
    """MultiStepLR counts its milestones; a checkpoint holds a plain dict."""
    milestones = state.get("milestones")
    return {**state, **({"milestones": Counter(milestones)} if isinstance(milestones, dict) else {})}
