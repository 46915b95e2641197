"""Other kinds of task through the command: kill -9, resume, a change of kind, and what is wrong with a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.conftest import ROOT, Bench, Ended

TARGETS = ROOT / "tests" / "frameworks"
SETTINGS = "training: {epochs: 2, batch_size: 12, log_every: 2}\ncheckpoint: {every: 3}\nlocal: {threads: 1}\n"
HIDE = "import sys\nsys.modules['lightning'] = sys.modules['pytorch_lightning'] = None\n"
"""As a `sitecustomize`, this makes Lightning look as if it were not installed."""


def job(folder: Path, kind: str, target: str, settings: str = SETTINGS) -> str:
    """The path of a job file with this task, whose target lies beside tests/frameworks."""
    path = folder / f"{kind}.yaml"
    path.write_text(f"name: {kind}\ntask: {{kind: {kind}, target: '{TARGETS / target}'}}\npreflight: off\n{settings}")
    return str(path)


def killed(bench: Bench, call: int, *argv: str) -> str:
    """Run until every rank kills itself in its call number `call` of the loss; the run's id."""
    bench.environ["DISTURB"] = f"{call}:SIGKILL"
    ended = bench.call(*argv)
    del bench.environ["DISTURB"]
    assert ended.exit_code == 1 and "SIGKILL" in ended.stderr, ended.stderr
    return bench.folder().name


def result(bench: Bench, ended: Ended) -> tuple[str, bytes]:
    """The digest and the metrics of the run that has ended, by its own words."""
    assert ended.exit_code == 0, ended.stderr
    outcome = json.loads(ended.stdout.splitlines()[-1])
    return outcome["weights_sha256"], (Path(outcome["run_dir"]) / "metrics.jsonl").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_of_one_kind_goes_on_and_so_does_another_kind_from_its_checkpoint(
    bench: Bench, tmp_path: Path, processes: int
) -> None:
    jobs = {kind: job(tmp_path, kind, f"target_{kind}.py:build") for kind in ("native", "lightning", "ignite")}
    share = ("--procs-per-node", str(processes))
    undisturbed = result(bench, bench.call("run", jobs["native"], *share, "--json"))
    lightning = killed(bench, 7, "run", jobs["lightning"], *share)
    ignite = killed(bench, 2, "run", jobs["ignite"], *share, "--from", lightning)
    for run in (ignite, lightning):
        assert result(bench, bench.call("resume", run, "--json")) == undisturbed
    assert json.loads((bench.runs_dir / ignite / "record.json").read_text())["began_with"]["run"] == lightning
    refused = bench.call("reproduce", ignite)
    assert refused.exit_code == 2 and f"launcher reproduce {lightning}" in refused.stderr


def test_a_run_begins_with_a_checkpoint_only_where_there_is_one(bench: Bench, tmp_path: Path) -> None:
    bench.runs_dir.mkdir()
    (bench.runs_dir / "empty-20261122T000000-0000").mkdir()
    native = job(tmp_path, "native", "target_native.py:build")
    refused = bench.call("run", native, "--from", "empty")
    assert refused.exit_code == 2 and "has no checkpoint to begin with" in refused.stderr
    both = bench.call("run", native, "--from", "empty", "--resume", "auto")
    assert both.exit_code == 2 and "give one of them" in both.stderr
    assert len(list(bench.runs_dir.iterdir())) == 1


WRONG = {
    "of another kind": ("lightning", "targets_lightning.py:native", "", 2, "gave Task", "--set task.kind=native"),
    "without a training_step": (
        "lightning",
        "targets_lightning.py:WithoutStep",
        "",
        1,
        "has no training_step",
        "by its",
    ),
    "against the job": (
        *("lightning", "targets_lightning.py:validated", "trainer: {max_epochs: 3}\n", 2),
        *("trainer.max_epochs is 3 and training.epochs makes it 2", "set training.epochs"),
    ),
    "an engine that was run": ("ignite", "targets_ignite.py:already_run", "", 1, "was already run", "run(data) itself"),
    "a script that trains nothing": ("script", "parts.py", "", 1, "without having reported a step", "launcher.script"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_target_says_what_it_is_and_what_to_do(bench: Bench, tmp_path: Path, case: str) -> None:
    kind, target, more, code, said, remedy = WRONG[case]
    done = bench.call("run", job(tmp_path, kind, target, SETTINGS + more))
    assert (done.exit_code, said in done.stderr, remedy in done.stderr) == (code, True, True), done.stderr


def test_without_the_framework_the_extra_to_install_is_named(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    bench.environ["PYTHONPATH"] = f"{ROOT}:{tmp_path}"
    done = bench.call("run", job(tmp_path, "lightning", "target_lightning.py:build"))
    assert done.exit_code == 2 and "pip install 'launcher[lightning]'" in done.stderr, done.stderr
