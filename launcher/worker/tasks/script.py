"""The script task: any program, as torchrun would start it. It owns everything, the process group too.

It finds in its environment what torchrun sets, and beside it: LAUNCHER_RUN_DIR, LAUNCHER_ATTEMPT, LAUNCHER_SEED,
LAUNCHER_DEVICE, LAUNCHER_PRECISION, LAUNCHER_CHECKPOINT_DIR (a folder of its own that every attempt at the run sees)
and, where `launcher.script` saved one, LAUNCHER_RESUME_FROM (the folder of the newest verified checkpoint).
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from launcher import checkpoints
from launcher.errors import JobFailed, RequestError
from launcher.plan import Plan
from launcher.worker import numerics, seeding
from launcher.worker.context import Context, Outcome
from launcher.worker.session import Session

session: Session | None = None
"""This process's, for `launcher.script`."""

# The program's globals live until the process exits: a DDP reducer freed with them can wait for ever (see rank.py).
_KEPT: list[ModuleType] = []


class _Asked(BaseException):
    """The run is asked to stop and the script does not look for it."""


def run(context: Context) -> Outcome:
    """Run the program to its end. Raises JobFailed where it ends with another status than 0, or short of its steps."""
    plan = context.plan
    numerics.configure(plan)
    seeding.seed_all(seeding.mix(context.seed, seeding.WEIGHTS), context.device)
    current = Session(context)
    signal.signal(signal.SIGTERM, lambda *_: _stop(current))
    atexit._clear()  # the agent's
    try:
        execute(current)
    except SystemExit as error:
        _check_status(error.code)
    except _Asked:
        current.stopped = True
    atexit._run_exitfuncs()
    _check_promise(current, plan)
    return current.outcome()


def execute(current: Session) -> None:
    """Run the program as `__main__`, with this session for `launcher.script`. What it raises comes through."""
    global session
    session, plan = current, current.context.plan
    module, code = _program(plan.spec.task.target, Path(plan.job_dir))
    sys.argv = [str(module.__file__), *arguments(plan.spec.task.args)]
    os.environ.update(_environment(plan))
    exec(code, vars(module))  # noqa: S102  (the program that the job names)  # nosec B102


def arguments(args: Mapping[str, Any]) -> list[str]:
    """`task.args` as options: `{lr: 0.1, sizes: [1, 2], fast: true}` is `--lr 0.1 --sizes 1 2 --fast`.

    false and null leave the option out. Raises RequestError for a section of keys, which no option can hold.
    """
    options: list[str] = []
    for name, value in args.items():
        if isinstance(value, dict):
            raise RequestError(f"task.args.{name}: a script's option takes words and numbers, not a section of keys")
        if value is None or value is False:
            continue
        options.append(f"-{name}" if len(name) == 1 else f"--{name}")
        values = value if isinstance(value, list) else [] if value is True else [value]
        options += [str(each) for each in values]
    return options


def _program(target: str, job_dir: Path) -> tuple[ModuleType, CodeType]:
    """The program as a `__main__` that stands in for the agent's, and its code."""
    file = job_dir / target if target.endswith(".py") else _module_file(target, job_dir)
    try:
        code = compile(file.read_bytes(), str(file), "exec")
    except OSError as error:
        raise RequestError(
            f"task.target: {file} cannot be read ({error.strerror})", hint="the path is relative to the job file"
        ) from error
    module = ModuleType("__main__")
    module.__file__ = str(file)
    if not target.endswith(".py"):
        module.__spec__ = importlib.util.find_spec(target)
        module.__package__ = target.rpartition(".")[0]
    sys.path[:0] = [str(file.parent), str(Path.cwd())]
    sys.modules["__main__"] = module
    _KEPT.append(module)
    return module, code


def _module_file(name: str, job_dir: Path) -> Path:
    sys.path[:0] = [str(Path.cwd()), str(job_dir)]
    for candidate in (f"{name}.__main__", name):
        try:
            spec = importlib.util.find_spec(candidate)
        except ModuleNotFoundError:
            continue
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            return Path(spec.origin)
    raise RequestError(
        f"task.target: there is no module {name}",
        hint="modules are looked for beside the job file, in the current folder and among the installed packages",
    )


def _environment(plan: Plan) -> dict[str, str]:
    own = Path(plan.run_dir) / "script"
    own.mkdir(mode=0o700, exist_ok=True)
    resume = plan.resume_from and checkpoints.folder(Path(plan.run_dir)) / plan.resume_from
    return {
        "LAUNCHER_RUN_DIR": plan.run_dir,
        "LAUNCHER_ATTEMPT": str(plan.attempt),
        "LAUNCHER_SEED": str(plan.spec.training.seed),
        "LAUNCHER_DEVICE": plan.device,
        "LAUNCHER_PRECISION": plan.precision,
        "LAUNCHER_CHECKPOINT_DIR": str(own),
        **({"LAUNCHER_RESUME_FROM": str(resume)} if resume else {}),
    }


def _stop(current: Session) -> None:
    """SIGTERM. A script that looks for the wish gets a flag; any other is ended here, through its own `finally`s."""
    if not current.used:
        raise _Asked
    current.context.stop.asked = True


def _check_status(status: object) -> None:
    if status not in (None, 0):
        told = f"exit status {status}" if isinstance(status, int) else f"the message {status!r}"
        raise JobFailed(f"the script ended itself with {told}", hint="its log says why")


def _check_promise(current: Session, plan: Plan) -> None:
    """A job that gives a length promises steps; an exit status of 0 alone does not make them."""
    training = plan.spec.training
    if current.stopped or (training.steps is None and training.epochs is None):
        return
    step, total = current.context.step, training.steps or current.total_steps
    if step == 0 or (total is not None and step < total and not current.stops_early):
        said = f"after {step} of {total} steps" if step else "without having reported a step"
        raise JobFailed(
            f"the script exited with status 0 {said}",
            hint="report steps with launcher.script, or leave training.steps and training.epochs out of the job file",
        )
