"""A multi-layer perceptron that reads handwritten digits (8 × 8 pixels, ten classes; scikit-learn ships the data)."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from launcher import Task


def build(width: int = 128, dropout: float = 0.2, learning_rate: float = 3e-3) -> Task:
    training, validation = digits()
    model = network(width, dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    return Task(
        model=model,
        optimizer=optimizer,
        data=training,
        loss=loss,
        validation=validation,
        metrics=metrics,
        scheduler=lambda steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
    )


def network(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, 10),
    )


def loss(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def metrics(model, batch):
    images, labels = batch
    output = model(images)
    return {
        "accuracy": output.argmax(dim=1) == labels,
        "validation_loss": F.cross_entropy(output, labels, reduction="none"),
    }


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Every fifth image is for validation."""
    images, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    held_out = torch.arange(len(inputs)) % 5 == 0
    return TensorDataset(inputs[~held_out], targets[~held_out]), TensorDataset(inputs[held_out], targets[held_out])
