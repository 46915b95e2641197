"""What is trained: a small network that tells two half circles apart. The loop is this program's own."""

import argparse

import torch
from moons import moons
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from launcher import script

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--learning-rate", type=float, default=1e-2)
options = parser.parse_args()

if script.plan().world_size > 1:
    dist.init_process_group()
model = nn.Sequential(nn.Linear(2, options.width), nn.ReLU(), nn.Linear(options.width, 2))
trained = DistributedDataParallel(model) if script.plan().world_size > 1 else model
optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
script.load(model=model, optimizer=optimizer)

for _step, batches in script.steps(moons(2000, seed=1)):
    optimizer.zero_grad()
    for points, labels in batches:
        loss = F.cross_entropy(trained(points), labels) / len(batches)
        loss.backward()
    optimizer.step()
    script.log(loss=loss * len(batches))
    if script.validates():
        with torch.no_grad():
            right = [model(points).argmax(dim=1) == labels for points, labels in DataLoader(moons(500, seed=2), 64)]
        script.log(validation={"accuracy": torch.cat(right).float().mean()})
