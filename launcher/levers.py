"""The sections of a job file that make steps quicker or smaller without a change of the user's code."""

from __future__ import annotations

from typing import Literal

from launcher.section import Positive, Section, section

Compile = Literal["default", "max-autotune"] | bool
Automatic = Literal["auto"] | bool
Recompute = Literal["none", "full"]
Strategy = Literal["ddp", "fsdp2"]


@section
class ModelOptions(Section):
    compile: Compile = False
    """torch.compile of the model; true is the default mode. It takes minutes, and gives other bits than the model as it
    is written, yet the same ones each time; max-autotune tries kernels by the clock: for `training.numerics: fast`."""
    channels_last: Automatic = "auto"
    """Whether the weights of 2-d convolutions lie with the channels last, as GPUs like them; other bits. auto: for
    autocast on a GPU where `training.numerics` is fast."""
    activation_checkpoint: Recompute = "none"
    """full: the repeated layers (what stands in an nn.ModuleList or nn.Sequential) keep only their inputs, and compute
    the rest again in the backward pass: less memory, about a third more time, the same bits."""


@section
class OptimizerOptions(Section):
    fused: Automatic = "auto"
    """Whether Adam, AdamW and SGD step all parameters in one kernel; other bits. auto: so where `training.numerics`
    is fast, else as the target built them; true refuses other optimizers, false also undoes what the target asked."""


@section
class ParallelOptions(Section):
    strategy: Strategy = "ddp"
    """How several processes share a training. ddp: each holds the whole model; fsdp2: each holds its part of the
    weights, gradients and optimizer state, and of the checkpoint."""
    bucket_view: bool = True
    """ddp: gradients lie in the buckets they are summed in, which saves the memory of one copy; the same bits."""
    static_graph: bool = False
    """ddp: promises that every step uses the same parameters in the same way, so DDP looks only once; the same bits.
    Not with `training.accumulate` or a range of nodes: DDP cannot add up microbatches so."""
    bucket_mb: Positive = 25
    """ddp: megabytes of gradients that are summed at once; from three processes on it changes the bits."""
