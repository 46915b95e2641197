from typing import Any

from tests.frameworks import parts


def build() -> dict[str, Any]:
    model = parts.network()
    optimizer = parts.optimizer(model)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss": parts.loss,
        "data": parts.Augmented(),
        "scheduler": parts.schedule(optimizer),
    }
