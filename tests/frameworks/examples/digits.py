"""Handwritten digits for the examples: 8 × 8 pixels between 0 and 1, ten classes."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset

BATCH = 32


def loaders(samples: int = 200) -> tuple[DataLoader, DataLoader]:
    """Training and validation, a seventh of the samples each batch of the first; both of one data set."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images[:samples], dtype=torch.float32) / 16, torch.tensor(labels[:samples]))
    validation, training = Subset(data, range(40)), Subset(data, range(40, samples))
    return DataLoader(training, batch_size=BATCH, shuffle=True), DataLoader(validation, batch_size=BATCH)
