from typing import Any

from launcher import choices
from launcher.choices import Levers
from launcher.levers import ModelOptions, OptimizerOptions
from launcher.spec import JobSpec, Loader, TaskSpec, Training


def decided(*, device: str = "cuda", precision: str = "bf16", **sections: Any) -> Levers:
    spec = JobSpec(name="n", task=TaskSpec(target="a.py:f"), **{"training": Training(epochs=1), **sections})
    return choices.decide(spec, device=device, precision=precision, reasons={})


def test_exact_numerics_change_no_bit_on_their_own() -> None:
    assert decided() == Levers(pin=True, ahead=True)


def test_fast_numerics_fuse_the_optimizer_and_lay_out_convolutions_under_autocast() -> None:
    fast = Training(epochs=1, numerics="fast")
    assert decided(training=fast) == Levers(channels_last=True, fused=True, pin=True, ahead=True)
    assert decided(training=fast, precision="fp32").channels_last is False
    assert decided(training=fast, device="cpu") == Levers(fused=True)


def test_a_key_of_the_job_has_the_last_word() -> None:
    asked = {"model": ModelOptions(channels_last=True), "optimizer": OptimizerOptions(fused=False)}
    pulled = decided(**asked, loader=Loader(pin=False, ahead=False))
    assert pulled == Levers(channels_last=True, fused=False)


def test_without_a_gpu_nothing_is_pinned() -> None:
    assert not decided(device="cpu", loader=Loader(pin=True)).pin
