"""What the types cannot say: rules between keys, and forms of names. Each yields the path at fault and a sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

from launcher.jobfile.source import KeyPath
from launcher.jobfile.wording import expected, keys, shown
from launcher.levers import ModelOptions, OptimizerOptions, ParallelOptions
from launcher.spec import MOST_NODES, Resources

Findings = Iterator[tuple[KeyPath, str]]

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_FILE_TARGET = r"[^:]+\.py:[A-Za-z_]\w*"
_MODULE_TARGET = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
_SCRIPT_TARGET = r"[^:]+\.py|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LARGER_IS_BETTER = re.compile(r"acc|accuracy|auc|auroc|f1|precision|recall|bleu|rouge|map|iou|dice|psnr|ssim|r2")
_SET_BY_LAUNCHER = {
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "NODE_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
}
_PREFIXES_OF_LAUNCHER = ("LAUNCHER_", "TORCHELASTIC_")


def findings(data: dict[str, Any]) -> Findings:
    """Everything that is wrong by a rule; values of a wrong type are passed over, the types' own faults name them."""
    for rule in RULES:
        yield from rule(data)


def _name_can_begin_a_run_id(data: dict[str, Any]) -> Findings:
    name = _text(data, "name")
    if name is not None and not re.fullmatch(NAME, name):
        yield ("name",), f"{shown(name)} may hold only letters, digits, `.`, `_` and `-`, a letter or digit first"


def _target_names_code(data: dict[str, Any]) -> Findings:
    target = _text(data, "task", "target")
    if target is None:
        return
    script = _text(data, "task", "kind") == "script"
    forms = _SCRIPT_TARGET if script else f"{_FILE_TARGET}|{_MODULE_TARGET}"
    if _CONTROL.search(target) or not re.fullmatch(forms, target):
        form = (
            "path/to/file.py or package.module; a function in one is for the other kinds of task"
            if script
            else "path/to/file.py:function or package.module:function; a whole program is for task.kind script"
        )
        yield ("task", "target"), f"{shown(target)} is not of the form {form}"


def _nodes_are_a_range(data: dict[str, Any]) -> Findings:
    nodes = _text(data, "resources", "nodes")
    if nodes is None:
        return
    ends = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", nodes, re.ASCII)
    if ends is None or not 1 <= int(ends[1]) < int(ends[2]) <= MOST_NODES:
        yield ("resources", "nodes"), f"{shown(nodes)} is not {expected(keys(Resources)['nodes'])}"


def _length_is_given_once(data: dict[str, Any]) -> Findings:
    training = data.get("training")
    if not isinstance(training, dict):
        return
    given = [key for key in ("epochs", "steps") if training.get(key) is not None]
    if not given and _text(data, "task", "kind") != "script":
        yield ("training",), "says neither epochs nor steps; give one of them"
    if len(given) == 2:
        yield (
            ("training", "steps"),
            "given beside epochs; keep one of them, null unsets the other: --set training.epochs=null",
        )


def _metrics_have_a_direction(data: dict[str, Any]) -> Findings:
    modes: dict[str, tuple[str, Any]] = {}
    for path in (("checkpoint", "best"), ("early_stop",)):
        metric = _text(data, *path, "metric")
        if metric is None:
            continue
        mode = _text(data, *path, "mode")
        if not is_name(metric):
            yield (*path, "metric"), f"{shown(metric)} is not the name of a metric"
        elif mode is None and sounds_larger(metric):
            yield path, f"mode is missing, and {shown(metric)} sounds as if larger were better; write mode: max, or min"
        other, known = modes.setdefault(metric, (".".join(path), mode or "min"))
        if known != (mode or "min"):
            yield (*path, "mode"), f"{shown(mode or 'min')} contradicts {other}, which has {shown(known)} for {metric}"


def _resume_is_a_run(data: dict[str, Any]) -> Findings:
    resume = _text(data, "checkpoint", "resume")
    if resume is not None and not re.fullmatch(NAME, resume):
        yield ("checkpoint", "resume"), f"{shown(resume)} is not one of never, auto, or the id of a run"


def _copies_can_overlap(data: dict[str, Any]) -> Findings:
    if _text(data, "checkpoint", "overlap") != "all":
        return
    if _text(data, "task", "kind") == "lightning":
        why = "Lightning makes its forward and backward pass within the optimizer's step"
    elif _text(data, "parallel", "strategy") == "fsdp2":
        why = "with parallel.strategy fsdp2 all ranks copy together"
    else:
        return
    yield ("checkpoint", "overlap"), f"'all' leaves copies for the next forward and backward pass, and {why}; use files"


def _variables_can_be_set(data: dict[str, Any]) -> Findings:
    variables = data.get("env")
    if not isinstance(variables, dict):
        return
    for name, value in variables.items():
        if not re.fullmatch(_ENV_NAME, name):
            yield ("env", name), "a variable's name has letters, digits and `_` only, and no digit first"
        elif name in _SET_BY_LAUNCHER or name.startswith(_PREFIXES_OF_LAUNCHER):
            yield ("env", name), "launcher sets this variable for each process; leave it out"
        elif isinstance(value, str) and _CONTROL.search(value):
            yield ("env", name), "the value has a line break or a control character; a variable is one line of text"


def _trainer_is_lightnings(data: dict[str, Any]) -> Findings:
    kind = _text(data, "task", "kind") or "native"
    if data.get("trainer") and kind != "lightning":
        yield ("trainer",), f"these are arguments of Lightning's Trainer, and task.kind is {kind}; leave them out"


def _levers_are_the_kinds_own(data: dict[str, Any]) -> Findings:
    kind = _text(data, "task", "kind") or "native"
    if kind == "script":
        for path, value in _levers_pulled(data):
            yield path, f"{shown(value)} is for models that launcher trains, and task.kind is script; leave it out"
    elif kind == "lightning" and _text(data, "parallel", "strategy") == "fsdp2":
        yield ("parallel", "strategy"), "'fsdp2' shards a native or ignite task's model, and task.kind is lightning"


def _levers_go_together(data: dict[str, Any]) -> Findings:
    pulled = dict(_levers_pulled(data))
    exact = (_text(data, "training", "numerics") or "exact") == "exact"
    if pulled.get(("model", "compile")) == "max-autotune" and exact:
        yield (
            ("model", "compile"),
            "'max-autotune' tries kernels by the clock, so training.numerics cannot be exact; it takes numerics: fast",
        )
    if pulled.get(("parallel", "strategy")) == "fsdp2":
        yield from _shards_have_what_they_need(data, pulled)
    elif ("parallel", "static_graph") in pulled and (why := _accumulates(data)):
        yield (
            ("parallel", "static_graph"),
            f"torch's DDP cannot add up microbatches of a static graph, and {why}; leave it out",
        )


def _accumulates(data: dict[str, Any]) -> str | None:
    """Why a step has, or may come to have, several microbatches."""
    training = data.get("training")
    accumulate = training.get("accumulate") if isinstance(training, dict) else None
    if isinstance(accumulate, int) and accumulate > 1:
        return f"training.accumulate is {accumulate}"
    nodes = _text(data, "resources", "nodes")
    return f"with resources.nodes {nodes} fewer nodes accumulate" if nodes and ".." in nodes else None


def _shards_have_what_they_need(data: dict[str, Any], pulled: dict[KeyPath, Any]) -> Findings:
    for key in ("bucket_view", "static_graph", "bucket_mb"):
        if (path := ("parallel", key)) in pulled:
            yield path, f"{shown(pulled[path])} is a setting of ddp, and parallel.strategy is fsdp2; leave it out"
    if _text(data, "ssh", "sync") == "rsync" and _text(data, "backend") in _by_ssh(data):
        yield (
            ("parallel", "strategy"),
            "'fsdp2' writes one checkpoint from all nodes, and ssh.sync rsync gives each a folder of its own",
        )


def _by_ssh(data: dict[str, Any]) -> tuple[str, ...]:
    """The backends that would reach nodes by ssh, whose folders may be each one's own; the others' nodes share one."""
    options = data.get("ssh")
    named = isinstance(options, dict) and (options.get("hosts") or options.get("hosts_file"))
    return ("ssh", "docker") if named else ("ssh",)


def _levers_pulled(data: dict[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """The keys of the levers' sections that say other than their defaults."""
    for section, options in (("model", ModelOptions), ("optimizer", OptimizerOptions), ("parallel", ParallelOptions)):
        given = data.get(section)
        usual = dataclasses.asdict(options())
        for key, value in given.items() if isinstance(given, dict) else ():
            if key in usual and value != usual[key]:
                yield (section, key), value


RULES: tuple[Callable[[dict[str, Any]], Findings], ...] = (
    _name_can_begin_a_run_id,
    _target_names_code,
    _nodes_are_a_range,
    _length_is_given_once,
    _metrics_have_a_direction,
    _resume_is_a_run,
    _copies_can_overlap,
    _variables_can_be_set,
    _trainer_is_lightnings,
    _levers_are_the_kinds_own,
    _levers_go_together,
)


def sounds_larger(metric: str) -> bool:
    """Whether a metric's name sounds as if larger values of it were better."""
    return bool(_LARGER_IS_BETTER.search(metric.lower()))


def is_name(metric: str) -> bool:
    """Whether a metric can be called so."""
    return bool(metric.strip()) and not _CONTROL.search(metric)


def _text(data: Any, *path: str) -> str | None:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else None
