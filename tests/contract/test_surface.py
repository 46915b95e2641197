"""What others rely on, spelled out: a change of the surface is a change of this file."""

import dataclasses
import importlib
import json
import typing
from collections.abc import Iterator
from typing import Any

import click
from pydantic import TypeAdapter

from launcher import errors, jobfile, store
from launcher.cli import COMMANDS
from launcher.sweep.spec import SweepSpec

COMMAND_LINE = {
    "run": (
        "SPEC --nodes --procs-per-node --backend --hosts --preflight --set --resume --from --dry-run --detach --json"
        " --runs-dir(LAUNCHER_RUNS_DIR)"
    ),
    "sweep": "start resume stop list status best plot",
    "validate": "SPEC",
    "schema": "",
    "runs": "--json --runs-dir(LAUNCHER_RUNS_DIR)",
    "show": "RUN --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "logs": "RUN --rank --follow --runs-dir(LAUNCHER_RUNS_DIR)",
    "compare": "RUN RUN... --all --curve --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "report": "RUN|SWEEP --output --parent --runs-dir(LAUNCHER_RUNS_DIR)",
    "export": "RUN --format --output --checkpoint --model --tolerance --opset --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "serve": (
        "RUN|FILE --host --port --token(LAUNCHER_SERVE_TOKEN) --max-batch --latency --queue --max-body --checkpoint"
        " --model --runs-dir(LAUNCHER_RUNS_DIR)"
    ),
    "top": "--once --every --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "stop": "RUN --runs-dir(LAUNCHER_RUNS_DIR)",
    "resume": "RUN --detach --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "verify-resume": "SPEC --kills --seed --set --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "reproduce": "RUN --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "bench": (
        "SPEC|COMPARE A B --warmup --steps --rounds --synthetic --ablate --set --json --runs-dir(LAUNCHER_RUNS_DIR)"
    ),
    "profile": "SPEC --warmup --steps --output --set --runs-dir(LAUNCHER_RUNS_DIR)",
    "envcheck": "ARGUMENTS",
    "init": "DIR --kind",
    "completion": "SHELL",
    "images": "list lock build test diff",
}

SWEEP_COMMANDS = {
    "start": "SPEC --sweep --set --join --detach --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "resume": "SWEEP --detach --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "stop": "SWEEP --runs-dir(LAUNCHER_RUNS_DIR)",
    "list": "--json --runs-dir(LAUNCHER_RUNS_DIR)",
    "status": "SWEEP --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "best": "SWEEP --output --json --runs-dir(LAUNCHER_RUNS_DIR)",
    "plot": "SWEEP --runs-dir(LAUNCHER_RUNS_DIR)",
}
"""`launcher sweep SPEC` is short for `launcher sweep start SPEC`."""

SWEEP_FILE = {
    "metric": "text",
    "mode": "min | max",
    "space": "keys",
    "trials": "1..100000 | null",
    "sampler": "tpe | random | grid | cmaes",
    "parallel": "1..1024",
    "workers": "1..1024",
    "seed": f"0..{2**63 - 1}",
    "pruner.kind": "none | median | halving",
    "pruner.startup": "1..",
    "pruner.warmup": "0..",
    "pruner.factor": "2..64",
    "storage": "text | null",
}

JOB_FILE = {
    "name": "text of at most 64",
    "task.kind": "native | lightning | ignite | script",
    "task.target": "text",
    "task.args": "keys",
    "resources.nodes": "1..4096 | text",
    "resources.procs_per_node": "auto | 1..1024",
    "resources.device": "auto | cpu | cuda",
    "resources.freed_memory": "auto | keep | return",
    "training.epochs": "1.. | null",
    "training.steps": "1.. | null",
    "training.batch_size": "1..",
    "training.seed": f"0..{2**63 - 1}",
    "training.precision": "auto | fp32 | bf16 | fp16",
    "training.numerics": "exact | fast",
    "training.accumulate": "1..",
    "training.clip_norm": "above 0 | null",
    "training.validate_every": "epoch | 1..",
    "training.log_every": "1..",
    "model.compile": "default | max-autotune | true or false",
    "model.channels_last": "auto | true or false",
    "model.activation_checkpoint": "none | full",
    "optimizer.fused": "auto | true or false",
    "parallel.strategy": "ddp | fsdp2",
    "parallel.bucket_view": "true or false",
    "parallel.static_graph": "true or false",
    "parallel.bucket_mb": "1..",
    "loader.workers": "0..256",
    "loader.prefetch": "1..",
    "loader.pin": "auto | true or false",
    "loader.ahead": "auto | true or false",
    "checkpoint.every": "epoch | 1..",
    "checkpoint.keep": "2..",
    "checkpoint.overlap": "none | files | all",
    "checkpoint.best.metric": "text",
    "checkpoint.best.mode": "min | max",
    "checkpoint.resume": "text",
    "trainer": "keys",
    "early_stop.metric": "text",
    "early_stop.mode": "min | max",
    "early_stop.patience": "1..",
    "trackers.csv": "true or false",
    "trackers.tensorboard": "true or false",
    "trackers.mlflow": "true or false",
    "trackers.wandb": "true or false",
    "metrics.prometheus": "1..65535 | null",
    "hang.seconds": "1..86400 | null",
    "look.seconds": "1..600",
    "retry.max": "0..100",
    "retry.on": "list of preemption | hardware | capacity | environment | hang | user",
    "retry.delay": "0..3600",
    "preflight": "off | warn | fail | strict",
    "data": "list of text",
    "env": "keys",
    "image": "text",
    "backend": "local | ssh | slurm | docker | kubernetes",
    "local.threads": "auto | 1..",
    "kubernetes.kind": "job | jobset",
    "kubernetes.job_dir": "text | null",
    "kubernetes.claim": "text | null",
    "kubernetes.gpus": "0..1024",
    "kubernetes.cpus": "1..",
    "kubernetes.memory": "text",
    "kubernetes.shm": "text",
    "kubernetes.secret": "text | null",
    "kubernetes.namespace": "text | null",
    "kubernetes.context": "text | null",
    "kubernetes.interface": "text",
    "kubernetes.node_selector": "keys",
    "kubernetes.labels": "keys",
    "slurm.partition": "text | null",
    "slurm.account": "text | null",
    "slurm.time": "text | null",
    "slurm.save_before": "10..3600",
    "slurm.requeue": "true or false",
    "slurm.cpus": "1.. | null",
    "slurm.memory": "text | null",
    "slurm.options": "keys",
    "slurm.setup": "list of text",
    "slurm.python": "text | null",
    "slurm.interface": "text | null",
    "slurm.pass_env": "list of text",
    "ssh.hosts": "list of text",
    "ssh.spare": "list of text",
    "ssh.hosts_file": "text | null",
    "ssh.sync": "shared | rsync",
    "ssh.python": "text | null",
    "ssh.interface": "text | null",
    "ssh.user": "text | null",
    "ssh.port": "1..65535 | null",
    "ssh.config": "text | null",
    "ssh.pass_env": "list of text",
    "docker.gpus": "auto | runtime | cdi",
    "docker.user": "auto | caller | root",
}

REQUIRED = {"name", "task", "task.target", "training", "checkpoint.best.metric", "early_stop.metric"}

EXIT_CODES = {"JobFailed": 1, "RequestError": 2, "EnvironmentUnfit": 3, "Interrupted": 130}

STATES = ("QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED", "UNKNOWN")

RECORD = {
    *("run_id", "name", "state", "created", "run_dir", "attempts", "world_sizes", "step", "epoch"),
    *("total_steps", "metrics", "checkpoint", "weights_sha256", "root_cause", "exit_code"),
}


def test_the_commands_and_their_options_are_those_agreed_on() -> None:
    assert {name: " ".join(parameters(name)) for name in COMMANDS} == COMMAND_LINE


def test_the_commands_of_a_sweep_are_those_agreed_on() -> None:
    commands = importlib.import_module("launcher.cli.sweep").command.commands
    assert {name: " ".join(options(command)) for name, command in commands.items()} == SWEEP_COMMANDS


def test_the_keys_of_a_sweep_file_and_what_they_take_are_those_agreed_on() -> None:
    described = TypeAdapter(SweepSpec).json_schema()
    assert dict(leaves(described, described)) == SWEEP_FILE


def test_the_keys_of_a_job_file_and_what_they_take_are_those_agreed_on() -> None:
    described = jobfile.schema()
    assert dict(leaves(described, described)) == JOB_FILE


def test_the_required_keys_are_those_agreed_on() -> None:
    described = jobfile.schema()
    assert set(required(described, described)) == REQUIRED


def test_the_exit_codes_are_those_agreed_on() -> None:
    families = errors.LauncherError.__subclasses__()
    assert {family.__name__: family.exit_code for family in families} == EXIT_CODES


def test_the_states_are_those_agreed_on() -> None:
    assert typing.get_args(store.State) == STATES


def test_the_fields_of_a_record_are_those_agreed_on() -> None:
    assert {field.name for field in dataclasses.fields(store.RunRecord)} == RECORD


def test_a_record_goes_into_json_under_the_names_of_its_fields() -> None:
    record = store.RunRecord(run_id="r", name="n", state="QUEUED", created="", run_dir="d", metrics={"a": 1.0})
    assert json.loads(json.dumps(record.to_json())).keys() == RECORD


def parameters(name: str) -> Iterator[str]:
    command = importlib.import_module(f"launcher.cli.{name.replace('-', '_')}").command
    yield from getattr(command, "commands", ())
    yield from options(command)


def options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            yield (parameter.metavar or parameter.name or "").upper()
        else:
            yield parameter.opts[0] + (f"({parameter.envvar})" if parameter.envvar else "")


def leaves(whole: dict[str, Any], part: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in part.get("properties", {}).items():
        section = section_in(whole, value)
        if section:
            yield from leaves(whole, section, f"{prefix}{key}.")
        else:
            yield prefix + key, " | ".join(takes(value))


def required(whole: dict[str, Any], part: dict[str, Any], prefix: str = "") -> Iterator[str]:
    yield from (prefix + key for key in part.get("required", []))
    for key, value in part.get("properties", {}).items():
        yield from required(whole, section_in(whole, value) or {}, f"{prefix}{key}.")


def section_in(whole: dict[str, Any], value: dict[str, Any]) -> dict[str, Any] | None:
    for option in (value, *value.get("anyOf", [])):
        if "$ref" in option:
            section: dict[str, Any] = whole["$defs"][option["$ref"].rpartition("/")[2]]
            return section
    return None


def takes(value: dict[str, Any]) -> Iterator[str]:
    if "anyOf" in value:
        for option in value["anyOf"]:
            yield from takes(option)
    elif "enum" in value:
        yield from value["enum"]
    elif "const" in value:
        yield value["const"]
    elif "exclusiveMinimum" in value:
        yield f"above {value['exclusiveMinimum']}"
    elif value["type"] == "integer":
        yield f"{value['minimum']}..{value.get('maximum', '')}"
    elif value["type"] == "number":
        yield f"{value['minimum']}..{value['maximum']}"
    elif value["type"] == "array":
        yield f"list of {' | '.join(takes(value['items']))}"
    elif value["type"] == "string":
        yield f"text of at most {value['maxLength']}" if "maxLength" in value else "text"
    else:
        yield {"boolean": "true or false", "object": "keys", "null": "null"}[value["type"]]
