"""What a native target returns: the parts of a training, which launcher's loop puts together.

from launcher import Task

def build(width: int = 128) -> Task:
    model = torch.nn.Linear(64, 10)
    return Task(model=model, optimizer=torch.optim.AdamW(model.parameters()), data=..., loss=...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torch.utils.data import Dataset

    Optimize = Callable[[str, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model and everything it is trained with.

    Give `loss` for the usual loop, or `step` to write the optimization yourself (two optimizers, several losses).
    """

    model: nn.Module | Mapping[str, nn.Module]
    """The model, or several by name (a generator and a discriminator); built on the CPU, moved for you."""

    optimizer: Optimizer | Mapping[str, Optimizer]
    """Its optimizer, or several by name."""

    data: Dataset[Any]
    """Training samples by index (`len(data)`, `data[i]`). A sample may draw random numbers freely from `random`,
    `numpy` and `torch`: they depend on the seed, the epoch and the sample alone."""

    loss: Callable[[Any, Any], Tensor] | None = None
    """`loss(model, batch)`: mean loss of a batch, a scalar tensor."""

    step: Callable[[Any, Any, Optimize], Mapping[str, Tensor]] | None = None
    """`step(models, batch, optimize)`: one training step of your own. `optimize(name, loss)` does backward, clipping,
    the optimizer's step and zeroing for the named optimizer; one that is given alone has the name "optimizer".
    Returns scalar tensors to log; one is named `loss`."""

    validation: Dataset[Any] | None = None
    """Samples to validate on, in this order."""

    metrics: Callable[[Any, Any], Mapping[str, Tensor]] | None = None
    """`metrics(model, batch)`: for each metric a tensor with one value a sample (shape [batch]), of which the mean over
    all samples is reported, or a torchmetrics metric that it has updated with the batch, which is computed over all
    processes and begins anew. The model is in evaluation mode and no gradient is recorded."""

    training_metrics: Mapping[str, Any] = field(default_factory=dict)
    """torchmetrics that `loss` or `step` updates, by the name they are logged under: computed over all processes
    and the epoch so far, moved to the device for you, part of every checkpoint; each epoch they begin anew."""

    scheduler: LRScheduler | Callable[[int], LRScheduler] | None = None
    """Learning-rate schedule, or a function of the total number of optimizer steps that makes one."""

    scheduler_every: Literal["step", "epoch"] = "step"
    """When the schedule advances."""

    collate: Callable[[list[Any]], Any] | None = None
    """Makes a batch of samples; by default they are stacked."""
