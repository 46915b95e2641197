"""A script is any program; what it does with launcher's help is exact, and how it ends is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher import script
from launcher.errors import RequestError
from launcher.spec import EarlyStop
from launcher.worker.tasks.script import arguments
from tests.frameworks.bench import Bench, job, lines, plan_of, warnings

FREE: dict[str, Any] = {"training": {}}
"""No length: the script promises no steps."""


@pytest.fixture
def program(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(text)
        return str(path)

    return write


def test_a_program_finds_torchruns_variables_its_options_and_its_folders(
    bench: Bench, program: Any, tmp_path: Path
) -> None:
    target = program(
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "kept = {key: value for key, value in os.environ.items() if key.startswith(('LAUNCHER_', 'WORLD', 'MASTER'))}\n"
        "here = Path(os.environ['LAUNCHER_CHECKPOINT_DIR'], 'said.json')\n"
        "here.write_text(json.dumps({'argv': sys.argv, 'name': __name__, 'file': __file__, **kept}))\n"
    )
    bench.run(job("script", target, args={"lr": 0.1, "fast": True}, **FREE), tmp_path / "run")
    said = json.loads((tmp_path / "run" / "script" / "said.json").read_text())
    assert said["argv"] == [target, "--lr", "0.1", "--fast"]
    assert (said["name"], said["file"]) == ("__main__", target)
    assert {"WORLD_SIZE", "MASTER_ADDR", "LAUNCHER_RUN_DIR", "LAUNCHER_ATTEMPT", "LAUNCHER_SEED"} < said.keys()
    assert "LAUNCHER_RESUME_FROM" not in said


def test_a_program_is_seeded_before_it_starts(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program("import random, numpy, torch\nprint(random.random(), numpy.random.rand(), torch.rand(1))\n")
    spec = job("script", target, **FREE)
    first, second = (bench.run(spec, tmp_path / name)["log"] for name in ("a", "b"))
    assert first == second


def test_a_module_is_run_by_its_name(bench: Bench, tmp_path: Path) -> None:
    outcome = bench.run(job("script", "json.tool", args={"help": True}, **FREE), tmp_path / "run")
    assert "usage:" in outcome["log"]


def test_what_was_left_for_the_exit_is_done(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program("import atexit\natexit.register(print, 'goodbye')\n")
    assert "goodbye" in bench.run(job("script", target, **FREE), tmp_path / "run")["log"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import sys; sys.exit('no data')", "'no data'"),
        ("raise KeyError('x')", "x"),
    ],
)
def test_a_program_that_fails_says_how(bench: Bench, program: Any, tmp_path: Path, text: str, said: str) -> None:
    error = bench.fail(job("script", program(text), **FREE), tmp_path / "run")
    assert said in error["message"]
    assert error["kind"] == "user"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pass", "without having reported a step"),
        ("from launcher import script\nfor step, _ in script.steps():\n    if step == 3: break", "3 of 8 steps"),
    ],
)
def test_steps_that_the_job_promises_are_missed(
    bench: Bench, program: Any, tmp_path: Path, text: str, said: str
) -> None:
    error = bench.fail(job("script", program(text)), tmp_path / "run")
    assert said in error["message"] and "training.steps" in error["hint"]


def test_a_program_without_a_file_is_a_wrong_request(bench: Bench, tmp_path: Path) -> None:
    error = bench.fail(job("script", "nowhere.py", **FREE), tmp_path / "run")
    assert (error["kind"], error["exit_code"]) == ("request", 2)


def test_a_loop_of_its_own_reports_saves_and_stops(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program(
        "import os, signal, torch\n"
        "from launcher import script\n"
        "value = torch.nn.Linear(1, 1)\n"
        "for step in range(script.load(model=value) + 1, 9):\n"
        "    if step == 4 and script.plan().attempt == 1: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    script.log(step=step, loss=1.0 / step)\n"
        "    if script.should_stop():\n"
        "        script.save()\n"
        "        break\n"
    )
    stopped = bench.train(plan_of(job("script", target), tmp_path / "run"))[0]
    assert (stopped["state"], stopped["step"], stopped["checkpoint"]) == ("stopped", 4, "step-00000004")
    assert bench.run(job("script", target), tmp_path / "run", attempt=2)["step"] == 8
    assert [line["step"] for line in lines(tmp_path / "run")] == [2, 4, 6, 8]


def test_what_a_loop_without_data_draws_goes_on_as_it_was(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program(
        "import random, numpy, torch\nfrom launcher import script\nscript.load(model=torch.nn.Linear(1, 1))\n"
        "for step, _ in script.steps():\n"
        "    script.log(loss=random.random() + numpy.random.rand(), moved=torch.rand(()))\n"
    )
    bench.run(job("script", target), tmp_path / "whole")
    bench.train(plan_of(job("script", target), tmp_path / "killed"), KILL_AT="5")
    bench.run(job("script", target), tmp_path / "killed", attempt=2)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")


def test_a_program_that_does_not_look_is_ended_by_a_stop(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n"
        "finally:\n    print('cleaned up')\n"
    )
    ended = bench.train(plan_of(job("script", target, **FREE), tmp_path / "run"))[0]
    assert ended["state"] == "stopped" and "cleaned up" in ended["log"]


def test_batches_that_a_step_leaves_are_told_once(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program(
        "import torch\nfrom launcher import script\nfrom tests.frameworks.parts import Augmented\n"
        "script.load(model=torch.nn.Linear(1, 1))\n"
        "for step, batches in script.steps(Augmented()):\n    next(iter(batches))\n    script.log(loss=1.0)\n"
    )
    spec = job("script", target, training={"steps": 4, "accumulate": 2})
    bench.run(spec, tmp_path / "run")
    (told,) = warnings(tmp_path / "run")
    assert told.startswith("step 1 left 1 of its 2 batches") and "training.accumulate" in told


def test_a_validation_ends_the_training_early(bench: Bench, program: Any, tmp_path: Path) -> None:
    target = program(
        "import torch\nfrom launcher import script\nscript.load(model=torch.nn.Linear(1, 1))\n"
        "for step, _ in script.steps():\n    script.log(validation={'error': 1.0}, loss=1.0)\n"
    )
    spec = job("script", target, early_stop=EarlyStop(metric="error", patience=2))
    outcome = bench.run(spec, tmp_path / "run")
    assert (outcome["step"], outcome["metrics"]["error"]) == (3, 1.0)


def test_options_are_written_as_a_shell_would() -> None:
    args = {"lr": 1e-3, "sizes": [1, 2], "verbose": True, "quiet": False, "name": None, "n": 3}
    assert arguments(args) == ["--lr", "0.001", "--sizes", "1", "2", "--verbose", "-n", "3"]


def test_an_option_cannot_hold_a_section() -> None:
    with pytest.raises(RequestError, match=r"task\.args\.optimizer"):
        arguments({"optimizer": {"lr": 1}})


def test_without_a_run_the_helper_says_how_to_get_one() -> None:
    with pytest.raises(RequestError, match="not started by launcher"):
        script.plan()
