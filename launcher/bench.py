"""Measures a user's own job: ordinary runs of it, a few steps long, whose ranks time themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from launcher import ablations, launch, timing
from launcher.ablations import Trial
from launcher.errors import EnvironmentUnfit, Interrupted, JobFailed, LauncherError, RequestError
from launcher.journal import Listener
from launcher.measuring import Answer, Request
from launcher.plan import Plan
from launcher.readback import json_object
from launcher.store import RunFolder, RunRecord
from launcher.timing import Lever, Report

Say = Callable[[str], None]
Take = Callable[[RunFolder], list[Answer]]

AS_IT_IS = "as it is"
SYNTHETIC = "with synthetic data"


class Ended(Exception):
    """The job failed; the record says why, and its run folder is kept."""

    def __init__(self, record: RunRecord) -> None:
        super().__init__(record.run_id)
        self.record = record


@dataclass(frozen=True)
class Variant:
    """The job in one of the ways to measure it; the answers of its ranks, one round after the other."""

    name: str
    overrides: tuple[str, ...]
    request: Request
    trial: Trial | None = None


def bench(
    job_path: Path,
    overrides: Sequence[str],
    request: Request,
    *,
    rounds: int,
    ablate: bool,
    runs_dir: Path,
    command: str,
    say: Say,
    listener: Listener,
) -> Report:
    """Measure the job in `rounds` runs of each variant, taken in turn.

    Raises what a run raises before it starts, Ended where the job as it is fails, Interrupted where it is stopped, and
    JobFailed where it makes too few steps. What is tried and cannot be, or fails, is told in the report.
    """
    load = os.getloadavg()[0] / (os.cpu_count() or 1)  # both are the machine's, also in a container of a few cores
    plan = planned(job_path, overrides, runs_dir)
    variants = list(_variants(plan, overrides, request, ablate=ablate))
    taken: dict[str, list[list[Answer]]] = {variant.name: [] for variant in variants}
    failed = dict(_refused(job_path, plan, variants, runs_dir))
    with own_folder(runs_dir):
        for turn in range(rounds):
            for variant in variants:
                if variant.name not in failed:
                    say(f"round {turn + 1} of {rounds}: {variant.name}")
                    try:
                        found = measured(job_path, plan, variant, runs_dir, listener, take=answers)
                        taken[variant.name].append(found)
                    except (Ended, JobFailed, EnvironmentUnfit) as error:
                        if variant.trial is None:
                            raise
                        failed[variant.name] = _why(error)
    report = _report(plan, request, variants, taken, failed, command)
    return dataclasses.replace(report, load=round(load, 1)) if plan.spec.backend == "local" else report


def read(path: Path) -> Report:
    """A report that was written with `--json`. Raises RequestError where the file is not one."""
    from launcher import typed

    try:
        return typed.read(Report, json_object(path))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path}: not what `launcher bench` wrote ({error})", hint="launcher bench JOB --json FILE writes one"
        ) from error


def planned(job_path: Path, overrides: Sequence[str], runs_dir: Path) -> Plan:
    return Plan.from_json(launch.describe(job_path, overrides, runs_dir=runs_dir)["plan"])


def _variants(plan: Plan, overrides: Sequence[str], request: Request, *, ablate: bool) -> Iterator[Variant]:
    real = Request(warmup=request.warmup, steps=request.steps)
    yield Variant(AS_IT_IS, tuple(overrides), real)
    if request.synthetic:
        yield Variant(SYNTHETIC, tuple(overrides), request)
    if ablate:
        for trial in ablations.trials(plan):
            setting = f"{trial.key}={trial.value}"
            yield Variant(setting, (*overrides, setting), real, trial)


def _refused(job_path: Path, plan: Plan, variants: Sequence[Variant], runs_dir: Path) -> Iterator[tuple[str, str]]:
    """The trials that do not fit the job, and why, before any time is spent."""
    for variant in variants:
        if variant.trial is not None:
            try:
                planned(job_path, _whole(plan, variant), runs_dir)
            except LauncherError as error:
                yield variant.name, _why(error)


def _whole(plan: Plan, variant: Variant) -> list[str]:
    """The variant's settings and those of a measured run: as long as asked for, saved after what is measured only."""
    settings = {
        "name": f"bench-{plan.spec.name}"[:64],
        "retry.max": 0,
        "trackers": "{}",
        "early_stop": "null",
        "checkpoint.best": "null",
        "checkpoint.resume": "never",
        "metrics.prometheus": "null",
    }
    if plan.spec.task.kind != "script":  # a program's length is its own
        settings |= {
            "training.epochs": "null",
            "training.steps": variant.request.length,
            "training.validate_every": variant.request.length,
            "checkpoint.every": variant.request.length - 1,
        }
    return [*variant.overrides, *(f"{key}={value}" for key, value in settings.items())]


def measured(
    job_path: Path, plan: Plan, variant: Variant, runs_dir: Path, listener: Listener, *, take: Take
) -> list[Answer]:
    """Run it once and take what the ranks left; the run folder goes, unless the run failed or left too little."""
    record = launch.run(
        job_path,
        _whole(plan, variant),
        runs_dir=runs_dir,
        resume="never",
        detach=False,
        listener=listener,
        environment=variant.request.environment(),
    )
    folder = RunFolder(Path(record.run_dir))
    if record.state == "FAILED":
        raise Ended(record)
    found = take(folder) if record.state == "SUCCEEDED" else None
    shutil.rmtree(folder.path, ignore_errors=True)
    if found is None:
        raise Interrupted(f"{plan.spec.name} was stopped before all was measured; nothing of it is kept")
    return found


def answers(folder: RunFolder) -> list[Answer]:
    """Of all ranks. Raises JobFailed where one left none, or no step was measured."""
    found = []
    for rank in range(folder.read_plan().world_size):
        try:
            answer = Answer.parse(folder.measured(rank).read_text())
        except (OSError, ValueError) as error:
            raise JobFailed(
                f"rank {rank} left no figures ({error})", hint="launcher run says how the job ends"
            ) from error
        if not answer.steps:
            raise JobFailed(
                "the job ended before a step was measured",
                hint="fewer of --warmup and --steps, or a longer job; a script's steps are those of its optimizer",
            )
        found.append(answer)
    return found


def _report(
    plan: Plan,
    request: Request,
    variants: Sequence[Variant],
    taken: dict[str, list[list[Answer]]],
    failed: dict[str, str],
    command: str,
) -> Report:
    base = taken[AS_IT_IS]
    figures = timing.fold(base)
    leader = base[0][0]
    return Report(
        job=plan.spec.name,
        kind=plan.spec.task.kind,
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=leader.hardware,
        versions=leader.versions,
        device=plan.device,
        precision=plan.precision,
        processes=plan.world_size,
        threads=plan.threads,
        batch_size=plan.spec.training.batch_size,
        warmup=request.warmup,
        steps=request.steps,
        figures=figures,
        synthetic=timing.fold(taken[SYNTHETIC]) if request.synthetic else None,
        levers=tuple(
            _lever(variant.trial, figures, taken[variant.name], failed.get(variant.name, ""))
            for variant in variants
            if variant.trial is not None
        ),
    )


def _lever(trial: Trial, base: timing.Figures, rounds: list[list[Answer]], failed: str) -> Lever:
    if failed:
        return Lever(key=trial.key, now=trial.now, value=trial.value, failed=failed)
    figures = timing.fold(rounds)
    pairs = zip(figures.step.rounds, base.step.rounds, strict=True)
    return Lever(
        key=trial.key,
        now=trial.now,
        value=trial.value,
        step=figures.step,
        ratio=statistics.median(changed / as_it_is for changed, as_it_is in pairs),
        peak_memory=figures.peak_memory,
    )


def _why(error: Ended | LauncherError) -> str:
    if isinstance(error, LauncherError):
        return " ".join(map(str.strip, error.message.splitlines()))
    return str((error.record.root_cause or {}).get("message") or "it failed").split("\n")[0]


@contextlib.contextmanager
def own_folder(runs_dir: Path) -> Iterator[None]:
    """The runs folder; one that was made for this is removed with its last run."""
    there = runs_dir.exists()
    try:
        yield
    finally:
        if not there:
            with contextlib.suppress(OSError):
                runs_dir.rmdir()
