"""What some of torch's errors mean for a task, and what to do about them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from launcher.errors import JobFailed

SYNCED_ON_CPU = (
    "torch synchronizes batch statistics (SyncBatchNorm) on GPUs only, and these processes train on the CPU",
    "on the CPU leave out trainer.sync_batchnorm or convert_sync_batchnorm, or train with resources.device: cuda",
)
MEANINGS: dict[str, tuple[str, str]] = {
    "Expected to have finished reduction in the prior iteration": (
        "some of the model's parameters took no part in a step, so their gradients cannot be summed over the processes",
        "use every parameter in every step, or freeze those that are not trained: parameter.requires_grad_(False)",
    ),
    "does not have a deterministic implementation": (
        "an operation of the task has no deterministic kernel, and training.numerics is exact",
        "use another operation, or --set training.numerics=fast, which gives up the same bits for each run",
    ),
    "doesn't match the size of optimizer's group": (
        "an optimizer of the checkpoint has other parameters than the one that it is for here",
        "give the optimizers in the order, and each the parameters, that they have in the checkpoint",
    ),
    "SyncBatchNorm layers only work with GPU": SYNCED_ON_CPU,
    "SyncBatchNorm expected input tensor to be on GPU": SYNCED_ON_CPU,
}
"""Words in torch's message: ours, and the remedy."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raises JobFailed, from torch's own error, where that is one of these."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        for words, (meaning, remedy) in MEANINGS.items():
            if words in str(error):
                raise JobFailed(f"{meaning} ({str(error).splitlines()[0][:200]})", hint=remedy) from error
        raise
