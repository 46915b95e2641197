"""The network of mlp.py for Ignite's engine, with Ignite's metrics; trained to the same weights."""

import torch
from ignite.metrics import Accuracy, Loss
from tasks.mlp import digits, network
from torch.nn import functional as F


def build(width: int = 128, dropout: float = 0.2, learning_rate: float = 3e-3):
    training, validation = digits()
    model = network(width, dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss": F.cross_entropy,
        "data": training,
        "validation": validation,
        "metrics": {"accuracy": Accuracy(), "validation_loss": Loss(F.cross_entropy)},
        "scheduler": lambda steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
    }
