"""Modules as people write them, each with what a resume or the launcher must respect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytorch_lightning
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from launcher import Task
from tests.frameworks import parts
from tests.frameworks.target_lightning import Module


class Validated(Module):
    """With a validation, torchmetrics, a test and a plateau schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=parts.WIDTH)

    def validation_step(self, batch: Any, _batch_idx: int) -> None:
        inputs, labels = batch
        output = self.network(inputs)
        self.accuracy(output, labels)
        self.log("accuracy", self.accuracy)
        self.log("val_loss", F.cross_entropy(output, labels), sync_dist=True, prog_bar=True)

    def test_step(self, batch: Any, _batch_idx: int) -> None:
        self.log("test_loss", F.cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = parts.optimizer(self.network)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}

    def val_dataloader(self) -> Any:
        return DataLoader(parts.Augmented(20), batch_size=7)

    test_dataloader = val_dataloader


class Gathering(Module):
    """Its learning rate follows the mean training loss of an epoch, and what else it gathers: metrics alone, in a
    collection, and in others."""

    def __init__(self) -> None:
        super().__init__()
        accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=parts.WIDTH)
        self.scores = torchmetrics.MetricCollection([accuracy, torchmetrics.F1Score("multiclass", num_classes=8)])
        self.extremes = torchmetrics.MinMaxMetric(torchmetrics.MeanMetric())
        self.recent = torchmetrics.RunningMean(window=4)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.scores.update(self.network(batch[0]), batch[1])
        self.extremes(loss.detach())
        self.recent(loss.detach())
        self.log("train_loss", loss, on_step=True, on_epoch=True, sync_dist=True)
        self.log("worst", loss, on_step=False, on_epoch=True, reduce_fx="max", sync_dist=True)
        self.log_dict(self.scores, on_step=False, on_epoch=True)  # type: ignore[arg-type]
        return loss

    def on_train_epoch_end(self) -> None:
        logged = self.trainer.callback_metrics
        followed = [logged[name] for name in ("train_loss_epoch", "worst", "MulticlassAccuracy", "MulticlassF1Score")]
        followed += [*self.extremes.compute().values(), self.recent.compute()]
        self.optimizers().param_groups[0]["lr"] = 0.001 * float(sum(followed))  # type: ignore[union-attr]

    def configure_optimizers(self) -> Any:
        return parts.optimizer(self.network)


class Logged(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss)
        return loss


def logged(folder: str) -> Any:
    return {"model": Logged(), "logger": CSVLogger(folder)}


class Moved(Validated):
    """Its buffers become other tensors, as those of a module do that is moved to a GPU."""

    def on_fit_start(self) -> None:
        for module in self.network.modules():
            module._buffers = {name: buffer.clone() for name, buffer in module._buffers.items()}


def synced() -> Any:
    """The layers that `sync_batchnorm` puts in place, and DDP with them, are for GPUs; here they just normalize."""
    nn.SyncBatchNorm.forward = nn.BatchNorm1d.forward
    nn.parallel.DistributedDataParallel._passing_sync_batchnorm_handle = lambda *_: None

    class Synced(Module):
        def on_train_end(self) -> None:
            print("normalized by", type(self.network[1]).__name__)

    return Synced()


class Average(Callback):
    """A running mean of the weights, kept in the callback's state and updated after each batch."""

    def __init__(self) -> None:
        self.mean = torch.zeros(())

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.mean = 0.9 * self.mean + 0.1 * pl_module.network[0].weight.detach().mean()
        pl_module.log("mean", self.mean)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean = state["mean"]


def validated() -> Any:
    return {"model": Validated(), "callbacks": [Average()]}


def early(folder: str) -> Any:
    """Ends when a metric that never improves has had patience; keeps Lightning's own checkpoints."""
    stop = EarlyStopping("never", patience=2, mode="min")
    return {"model": Never(), "callbacks": [stop, ModelCheckpoint(folder, monitor="never", save_last=True)]}


class Never(Validated):
    def on_validation_epoch_end(self) -> None:
        self.log("never", 1.0)


class Pair(lightning.LightningModule):
    """Optimizes itself, with two optimizers."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.maker, self.judge = parts.network(), parts.network()

    def training_step(self, batch: Any, _batch_idx: int) -> dict[str, Tensor]:
        inputs, labels = batch
        first, second = self.optimizers()
        judged = parts.loss(self.judge(inputs), labels) + self.judge(self.maker(inputs).detach()).mean()
        first.zero_grad()
        self.manual_backward(judged)
        first.step()
        made = F.cross_entropy(self.judge(self.maker(inputs)), labels)
        second.zero_grad()
        self.manual_backward(made)
        second.step()
        self.log("judged", judged, sync_dist=True)
        return {"loss": made}

    def configure_optimizers(self) -> Any:
        return [parts.optimizer(self.judge), parts.optimizer(self.maker)]

    def train_dataloader(self) -> Any:
        return DataLoader(parts.Augmented(), shuffle=True)


class Data(lightning.LightningDataModule):
    def setup(self, stage: str) -> None:
        self.samples = parts.Augmented()

    def train_dataloader(self) -> Any:
        return DataLoader(self.samples, batch_size=12, shuffle=True, num_workers=1)


class WithoutData(Module):
    train_dataloader = lightning.LightningModule.train_dataloader


def with_datamodule() -> Any:
    return WithoutData(), Data()


def with_loader() -> Any:
    return WithoutData(), DataLoader(parts.Augmented(), batch_size=12, shuffle=True)


class OldName(pytorch_lightning.LightningModule):
    """From the package's other name."""

    def __init__(self, seen: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = parts.network()

    training_step = Module.training_step
    configure_optimizers = Module.configure_optimizers
    train_dataloader = Module.train_dataloader


def with_an_object() -> Any:
    return OldName(seen=object())


class Ordered(Module):
    """Says which samples it saw, in the order it saw them."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with self.file.open("a") as seen:
            seen.write(json.dumps(batch[1].tolist()) + "\n")
        return super().training_step((torch.zeros(len(batch[1]), parts.WIDTH), batch[1] % parts.WIDTH), batch_idx)

    def train_dataloader(self) -> Any:
        samples = [(0.0, number) for number in range(30)]
        return DataLoader(samples, batch_size=12, drop_last=True)  # type: ignore[arg-type]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


def endless() -> Any:
    return WithoutData(), DataLoader(Endless())


class WithoutStep(lightning.LightningModule):
    pass


def native() -> Any:
    model = nn.Linear(1, 1)
    return Task(model=model, optimizer=parts.optimizer(model), data=parts.Augmented())


def bare() -> Any:
    return nn.Linear(1, 1)


def with_too_much() -> Any:
    return {"model": Module(), "trainer": 1}
