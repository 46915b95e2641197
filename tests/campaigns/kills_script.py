"""The kill campaign's job as a program of its own, with the same marks."""

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from launcher import script
from tests.campaigns.kills_kinds import VALIDATION, loss
from tests.campaigns.kills_trainee import mark, network, pause
from tests.runs.trial import Noisy

plan = script.plan()
dist.init_process_group("gloo")
model = network()
trained = DistributedDataParallel(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
script.load(model=model, optimizer=optimizer)
for _step, batches in script.steps(Noisy()):
    optimizer.zero_grad()
    for inputs, labels in batches:
        value = loss(trained(inputs), labels) / len(batches)
        value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    script.log(loss=value)
    if script.validates():
        mark("validation")
        pause()
        model.eval()
        with torch.no_grad():
            inputs, labels = VALIDATION.tensors
            accuracy = (model(inputs).argmax(1) == labels).float().mean()
        model.train()
        script.log(validation={"accuracy": accuracy})
