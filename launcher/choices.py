"""Which levers of a job are pulled: what it says, or what suits the device, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.spec import JobSpec


@dataclass(frozen=True, kw_only=True)
class Levers:
    """Everything that makes steps quicker and that the job may leave open, decided."""

    channels_last: bool = False
    """Only models with 2-d convolutions follow it."""
    fused: bool | None = None
    """Whether optimizers step in one kernel; None: as the target built them."""
    pin: bool = False
    ahead: bool = False


def decide(spec: JobSpec, *, device: str, precision: str, reasons: dict[str, str]) -> Levers:
    """Only what the job leaves open gets a reason; with `training.numerics: exact` none of these changes a bit."""
    fused = spec.optimizer.fused
    return Levers(
        channels_last=_channels_last(spec, device, precision, reasons),
        fused=_fused(spec, reasons) if fused == "auto" else fused,
        pin=_pin(spec, device, reasons),
        ahead=_ahead(spec, device, reasons),
    )


def _channels_last(spec: JobSpec, device: str, precision: str, reasons: dict[str, str]) -> bool:
    asked = spec.model.channels_last
    if asked != "auto":
        return asked
    if device == "cpu":
        return False
    if spec.training.numerics == "exact":
        reasons["channels_last"] = "false: it changes bits, and training.numerics is exact"
        return False
    if precision == "fp32":
        reasons["channels_last"] = "false: without autocast GPUs gain little by it"
        return False
    reasons["channels_last"] = "true: 2-d convolutions under autocast are quicker so"
    return True


def _fused(spec: JobSpec, reasons: dict[str, str]) -> bool | None:
    if spec.task.kind == "script":
        return None
    if spec.training.numerics == "exact":
        reasons["fused"] = "as the target built its optimizers: one kernel for all parameters changes bits"
        return None
    reasons["fused"] = "true: one kernel steps all parameters of Adam, AdamW and SGD, and training.numerics is fast"
    return True


def _pin(spec: JobSpec, device: str, reasons: dict[str, str]) -> bool:
    asked = spec.loader.pin
    if device == "cpu" and asked is True:
        reasons["pin"] = "false: there is no GPU to copy to"
    elif device == "cuda" and asked == "auto":
        reasons["pin"] = "true: GPUs copy from pinned memory by themselves"
    return device == "cuda" and asked is not False


def _ahead(spec: JobSpec, device: str, reasons: dict[str, str]) -> bool:
    asked = spec.loader.ahead
    if asked != "auto":
        return asked
    if device == "cuda":
        reasons["ahead"] = "true: GPUs copy the next batch while they compute this one"
    return device == "cuda"
