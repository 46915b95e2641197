"""Two interleaved half circles with noise, made on the spot: which of the two is a point on?"""

import torch
from torch.utils.data import TensorDataset


def moons(count: int, seed: int) -> TensorDataset:
    """Points (float32, shape [count, 2]) and their half circle (int64, shape [count])."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(count, generator=generator) * torch.pi
    labels = torch.arange(count) % 2
    sign = 1 - 2 * labels
    points = torch.stack([angle.cos() * sign + labels, angle.sin() * sign + labels * 0.5], dim=1)
    return TensorDataset(points + torch.randn(points.shape, generator=generator) * 0.15, labels)
