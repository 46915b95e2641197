"""Every kind of task, in every form; the model that comes back is held against the trained one."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from launcher import checkpoints, creation, plan, store
from launcher.errors import JobFailed, RequestError
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec, TaskKind, TaskSpec, Training
from launcher.worker import export, target, trained
from launcher.worker.checkpoint import Checkpoints
from launcher.worker.export import formats
from launcher.worker.models import Weights

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"
TARGETS: Mapping[TaskKind, str] = {
    "native": "tasks/mlp.py:build",
    "lightning": "tasks/mlp_lightning.py:Mlp",
    "ignite": "tasks/mlp_ignite.py:build",
    "script": "tasks/mlp_script.py",
}
TASK = """
import torch
from torch import nn
from torch.utils.data import TensorDataset
from launcher import Task

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        {body}

def build():
    net = Net()
    data = TensorDataset(torch.arange(30.0).reshape(10, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return Task(model=net, optimizer=optimizer, data=data, loss=lambda model, batch: model(batch[0]).sum())
"""


def run_of(runs: Path, kind: TaskKind, where: str, job_dir: Path, models: Mapping[str, nn.Module]) -> Path:
    """A run folder with one checkpoint of these models."""
    spec = JobSpec(name="job", task=TaskSpec(kind=kind, target=where), training=Training(epochs=1))
    run_dir = runs / "job-20261122T000000-00aa"
    decided = plan.make(spec, run_id=run_dir.name, run_dir=run_dir, job_dir=job_dir, machine=Machine(cores=1))
    folder = creation.create(runs, decided, job=b"", overrides=[], record={"name": "job"}, patch="")
    folder.begin_attempt(decided)
    save(decided, models)
    return run_dir


def save(decided: Plan, models: Mapping[str, nn.Module], step: int = 7) -> None:
    checkpoints.claim(Path(decided.run_dir), decided.attempt)
    kept = Checkpoints(decided, rank=0)
    kept.save(step, epoch=1, model=Weights(models).weights(), training={})
    kept.wait()


def mlp() -> nn.Module:
    """The network of jobs/mlp.yaml, with weights that no new one has."""
    torch.manual_seed(5)
    made: nn.Module = target.find("tasks/mlp.py:network", JOBS)(128, 0.2)
    return made


def small(tmp_path: Path, body: str, *, call: str = "model(batch[0])") -> Path:
    """A run of a small native task: the body of its model's forward, and how its loss calls that."""
    text = TASK.format(body=body).replace("model(batch[0])", call)
    (tmp_path / "task.py").write_text(text)
    net = target.find("task.py:build", tmp_path)().model
    return run_of(tmp_path / "runs", "native", "task.py:build", tmp_path, {"": net})


def exported(run_dir: Path, form: str, path: Path, **options: Any) -> export.Exported:
    loaded = trained.load(run_dir)
    return export.export(loaded, form, path, **{"tolerance": 1e-5, "opset": None, "warn": lambda _: None, **options})


@pytest.mark.parametrize("kind", TARGETS)
def test_the_trained_model_of_each_kind_is_found(kind: TaskKind, tmp_path: Path) -> None:
    if kind in ("lightning", "ignite"):
        pytest.importorskip({"lightning": "lightning", "ignite": "ignite"}[kind])
    network = mlp()
    main = sys.modules["__main__"]
    loaded = trained.load(run_of(tmp_path, kind, TARGETS[kind], JOBS, {"": network}))
    (images,) = loaded.args
    assert images.shape[1:] == (64,) and not loaded.module.training
    assert torch.equal(loaded.module(images), network.eval()(images))
    assert sys.modules["__main__"] is main


@pytest.mark.parametrize("form", formats.FORMS)
def test_each_form_gives_the_same_outputs_for_every_batch_size(form: str, tmp_path: Path) -> None:
    for package in formats.FORMS[form].packages:
        pytest.importorskip(package)
    run_dir = run_of(tmp_path, "native", TARGETS["native"], JOBS, {"": mlp()})
    done = exported(run_dir, form, tmp_path / "model")
    assert done.batches == (8, 4, 1) and done.max_difference < 1e-5 and done.path.stat().st_size > 10_000
    assert done.metadata["run_id"] == run_dir.name and len(done.metadata["weights_sha256"]) == 64


def test_the_metadata_stands_in_the_onnx_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    done = exported(small(tmp_path, "return self.linear(x)"), "onnx", tmp_path / "m.onnx", opset=19)
    read = onnx.load(tmp_path / "m.onnx")
    assert {each.key: each.value for each in read.metadata_props}.items() >= done.metadata.items()
    assert read.opset_import[0].version == 19 and read.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_the_metadata_stands_in_the_torch_export_file(tmp_path: Path) -> None:
    done = exported(small(tmp_path, "return self.linear(x)"), "torch-export", tmp_path / "m.pt2")
    kept = {formats.METADATA: ""}
    torch.export.load(str(tmp_path / "m.pt2"), extra_files=kept)
    assert json.loads(kept[formats.METADATA]) == done.metadata


def test_a_model_that_cannot_be_traced_is_refused_with_the_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "return self.linear(x) if x.sum().item() > 0 else x[:, :2]"
    with pytest.raises(RequestError) as refused:
        exported(small(tmp_path, body), "torch-export", tmp_path / "m.pt2")
    assert f"Net cannot be exported as torch-export at {tmp_path}/task.py:13" in refused.value.message
    assert "its way depends on the values it is given" in refused.value.message
    assert not (tmp_path / "m.pt2").exists()
    assert capfd.readouterr().err == ""  # torch prints the whole graph


def test_a_model_that_takes_a_mapping_is_written_as_onnx(tmp_path: Path) -> None:
    for package in formats.FORMS["onnx"].packages:
        pytest.importorskip(package)
    run_dir = small(tmp_path, 'return self.linear(x["points"])', call='model({"points": batch[0]})')
    assert exported(run_dir, "onnx", tmp_path / "m.onnx").batches == (8, 4, 1)


ONNX_REFUSALS = {
    "return torch.special.bessel_j1(self.linear(x))": "an operation is not among the form's (No ONNX function found",
    "return nn.functional.linear(*(each.bfloat16() for each in (x, *self.parameters())))": "does not run here: ",
}


@pytest.mark.parametrize(("body", "sentence"), ONNX_REFUSALS.items(), ids=["operation", "bf16"])
def test_what_onnx_cannot_hold_or_compute_is_refused_with_why(
    body: str, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for package in formats.FORMS["onnx"].packages:
        pytest.importorskip(package)
    run_dir = small(tmp_path, body)
    with pytest.raises(RequestError) as refused:
        exported(run_dir, "onnx", tmp_path / "m.onnx")
    assert sentence in refused.value.message and "\x1b" not in refused.value.message
    assert [path.name for path in tmp_path.glob("*m.onnx*")] == []
    assert capfd.readouterr().err == ""


def test_an_export_whose_outputs_have_another_shape_is_not_written(tmp_path: Path) -> None:
    run_dir = small(tmp_path, "return self.linear(x) + torch.from_numpy(x.numpy())[:, :2]")  # a trace keeps the array
    with pytest.raises(RequestError, match="exported as torchscript, and does not run here"):
        exported(run_dir, "torchscript", tmp_path / "m.pt")
    assert [path.name for path in tmp_path.glob("*m.pt*")] == []


def test_an_export_that_differs_is_not_written(tmp_path: Path) -> None:
    run_dir = small(tmp_path, "return self.linear(x) + float(int(x.shape[0]) == 8)")  # a trace keeps one way
    with pytest.raises(JobFailed, match="differs from the trained one by 1, more than 1e-05"):
        exported(run_dir, "torchscript", tmp_path / "m.pt")
    assert [path.name for path in tmp_path.glob("*m.pt*")] == []


def test_torchscript_comes_with_a_warning(tmp_path: Path) -> None:
    said: list[str] = []
    exported(small(tmp_path, "return self.linear(x)"), "torchscript", tmp_path / "m.pt", warn=said.append)
    assert len(said) == 1 and "TorchScript is deprecated" in said[0]


def test_of_several_models_one_must_be_named(tmp_path: Path) -> None:
    given = target.find("tasks/gan.py:build", JOBS)().model
    run_dir = run_of(tmp_path, "native", "tasks/gan.py:build", JOBS, given)
    with pytest.raises(RequestError, match="several models: generator, discriminator"):
        trained.load(run_dir)
    with pytest.raises(RequestError, match=r"no model generatr \(did you mean generator\?\)"):
        trained.load(run_dir, model="generatr")
    assert trained.load(run_dir, model="generator").args[0].shape[1] == 16


def test_a_damaged_checkpoint_is_passed_over_and_left_alone(tmp_path: Path) -> None:
    run_dir = small(tmp_path, "return self.linear(x)")
    save(store.RunFolder(run_dir).read_plan(), {"": target.find("task.py:build", tmp_path)().model}, step=9)
    model = run_dir / "checkpoints" / "step-00000009" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    assert trained.load(run_dir).checkpoint == "step-00000007"
    assert model.exists()


def test_a_run_without_a_checkpoint_is_a_wrong_request(tmp_path: Path) -> None:
    run_dir = small(tmp_path, "return self.linear(x)")
    for path in (run_dir / "checkpoints" / "step-00000007").iterdir():
        path.unlink()
    with pytest.raises(RequestError, match="has no sound checkpoint"):
        trained.load(run_dir)
    with pytest.raises(RequestError, match=r"no checkpoint step-00000008 \(did you mean step-00000007\?\)"):
        trained.load(run_dir, checkpoint="step-00000008")


def test_a_script_that_names_no_model_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text("print('nothing to see')\n")
    run_dir = run_of(tmp_path / "runs", "script", "task.py", tmp_path, {"": nn.Linear(1, 1)})
    with pytest.raises(RequestError, match="names no model"):
        trained.load(run_dir)
