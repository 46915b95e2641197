"""What torchrun restarts beside the kill campaign: two ranks that do nothing but sum over each other."""

import time

import torch
import torch.distributed as dist

from tests.campaigns.kills_trainee import mark

dist.init_process_group("gloo")
while True:
    dist.all_reduce(torch.ones(1000))
    mark("step")
    time.sleep(0.02)
