import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from launcher import script
from tests.frameworks import parts

plan = script.plan()
if plan.world_size > 1:
    dist.init_process_group("gloo")
model = parts.network()
optimizer = parts.optimizer(model)
schedule = parts.schedule(optimizer)
script.load(model=model, optimizer=optimizer, schedule=schedule)
trained = DistributedDataParallel(model) if plan.world_size > 1 else model
for _step, batches in script.steps(parts.Augmented()):
    optimizer.zero_grad()
    total = 0.0
    for number, (inputs, labels) in enumerate(batches):
        trained.require_backward_grad_sync = number == len(batches) - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.precision == "bf16"):
            loss = parts.loss(trained(inputs), labels) / len(batches)
        loss.backward()
        total += float(loss)
    if plan.spec.training.clip_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.spec.training.clip_norm)
    optimizer.step()
    schedule.step()
    script.log(loss=total)
