"""The network of mlp.py in a loop written by hand, which trains it to the same weights."""

import argparse
import sys

import torch
from mlp import digits, loss, metrics, network
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from launcher import script

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=128)
parser.add_argument("--dropout", type=float, default=0.2)
parser.add_argument("--learning-rate", type=float, default=3e-3)
options = parser.parse_args()

plan = script.plan()
if plan.precision == "fp16":
    sys.exit("this program scales no loss: --set training.precision=bf16")
if plan.world_size > 1:
    dist.init_process_group()
training, validation = digits()
model = network(options.width, options.dropout)
trained = DistributedDataParallel(model) if plan.world_size > 1 else model
optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
length = plan.spec.training
steps = length.steps or length.epochs * -(-len(training) // length.batch_size)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
script.load(model=model, optimizer=optimizer, schedule=schedule)

for _step, batches in script.steps(training):
    optimizer.zero_grad()
    for batch in batches:
        with torch.autocast(plan.device, torch.bfloat16, enabled=plan.precision == "bf16"):
            value = loss(trained, batch) / len(batches)
        value.backward()
    if plan.spec.training.clip_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.spec.training.clip_norm)
    optimizer.step()
    schedule.step()
    script.log(loss=value * len(batches))
    if script.validates():
        model.eval()
        with torch.no_grad():
            values = [metrics(model, batch) for batch in DataLoader(validation, batch_size=64)]
        model.train()
        script.log(validation={name: torch.cat([each[name] for each in values]).float().mean() for name in values[0]})
