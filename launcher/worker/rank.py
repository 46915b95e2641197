"""One rank: from a fork of the agent to an outcome on disk. Whatever the user's code does, the outcome says it."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import re
import signal
import socket
import sys
import sysconfig
import time
import traceback
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import torch.distributed as dist

from launcher import measuring, rollcall
from launcher.errors import LauncherError, NotFinite, RequestError
from launcher.heartbeat import STARTING
from launcher.plan import Plan
from launcher.processes import die_with_parent
from launcher.scratch import VARIABLE
from launcher.store import RunFolder, write_whole
from launcher.worker import tasks
from launcher.worker.context import Context, Outcome
from launcher.worker.meanings import explained

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
NOT_THE_USERS = tuple(
    f"{folder}{os.sep}"  # a folder beside launcher's may begin with its name
    for folder in (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)
"""Where code lies that is launcher's own, Python's, or installed."""

# Said by gloo, NCCL or the store to a rank whose peer has vanished: the peer is the cause, this rank is its victim.
LOST_PEER = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|socket timeout|timed out waiting|remote peer|NCCL .*error"
    r"|failed to (recv|send)|DistNetworkError",
    re.IGNORECASE,
)


def main(plan: Plan, node_rank: int, agent: int) -> None:
    """Run this rank's part of the job. Returns when it is done or was stopped; ends the process when it failed."""
    die_with_parent(agent)
    for number in (signal.SIGCHLD, signal.SIGALRM):  # the agent's handlers; these signals are the user's here
        signal.signal(number, signal.SIG_DFL)
    local_rank, rank = int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"])
    folder = RunFolder(Path(plan.run_dir))
    _redirect_output(folder.rank_log(plan.attempt, rank))
    _share_scratch()
    context: Context | None = None
    try:
        context = Context.create(plan, rank=rank, local_rank=local_rank, node_rank=node_rank)
        context.stop.install()
        faulthandler.register(rollcall.SIGNAL, file=sys.stderr.fileno())
        if plan.spec.task.kind != "script":  # a script says how far it is, or nothing: it may never make a step
            context.heart.beat(0, STARTING)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        context.events.emit("ready", rank=rank, pid=os.getpid())
        task = tasks.load(plan.spec.task.kind)
        with _process_group(context):
            outcome = _outcome(task, context)
        _write(folder, plan, rank, _ended(outcome))
    except BaseException as error:  # also SystemExit: a target that calls exit() has not trained
        _print(error)
        _write(folder, plan, rank, {**_failed(error), **_progress(context)})
        _flush()
        os._exit(1)
    _flush()
    _end_children()


@explained()
def _outcome(task: tasks.Adapter, context: Context) -> Outcome:
    request = context.plan.env.get(measuring.VARIABLE)
    if request is None:
        return task.run(context)
    from launcher.worker import measure  # only `launcher bench` needs it

    return measure.run(task, context, measuring.Request.parse(request))


class _process_group:  # noqa: N801  (reads as a verb: with _process_group(...))
    """The default process group, where there is more than one rank; taken down only after success."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ours = context.world_size > 1 and context.plan.spec.task.kind not in tasks.MAKES_ITS_OWN_GROUP

    def __enter__(self) -> None:
        if self._ours:
            device = self._context.device
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                timeout=COLLECTIVE_TIMEOUT,
                device_id=device if device.type == "cuda" else None,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._ours:
            dist.barrier()
            dist.destroy_process_group()


def _redirect_output(path: Path) -> None:
    """Everything the rank prints, from Python or C, goes to its log."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _share_scratch() -> None:
    """Let multiprocessing here and in every process forked from here keep its sockets where the node removes them."""
    if folder := os.environ.get(VARIABLE):
        multiprocessing.current_process()._config["tempdir"] = folder  # type: ignore[attr-defined]


def _print(error: BaseException) -> None:
    """Into the log. A victim's traceback stays in its outcome: here it would stand above the cause for who watches.
    What launcher found wrong is told in its sentence alone, where none of the frames is the user's."""
    if _kind(error) == "victim":
        print(f"this rank lost another one: {error}", file=sys.stderr)
    elif isinstance(error, LauncherError) and (isinstance(error, RequestError) or not _names_the_users_code(error)):
        print(error.message, file=sys.stderr)
    else:
        traceback.print_exception(error)


def _names_the_users_code(error: BaseException) -> bool:
    files = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
    return error.__cause__ is not None or any(not file.startswith(NOT_THE_USERS) for file in files)


def _ended(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": "stopped" if outcome.stopped else "done",
        "step": outcome.step,
        "epoch": outcome.epoch,
        "metrics": dict(outcome.metrics),
        "checkpoint": outcome.checkpoint,
        "weights_sha256": outcome.weights_sha256,
    }


def _failed(error: BaseException) -> dict[str, Any]:
    about: dict[str, Any] = {
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
        "kind": _kind(error),
    }
    if isinstance(error, LauncherError):
        about |= {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        if isinstance(error, NotFinite) and error.rank is not None:  # every rank stops; one of them is the cause
            about["rank"] = error.rank
    elif isinstance(error, SystemExit):
        about["message"] = f"the target called sys.exit({error.code!r}) before training was done"
    return {"state": "failed", "error": about}


def _kind(error: BaseException) -> str:
    if isinstance(error, LauncherError):
        return error.kind
    if isinstance(error, SystemExit):
        return "exit"
    lost = isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and LOST_PEER.search(str(error)))
    return "victim" if lost else "user"


def _progress(context: Context | None) -> dict[str, Any]:
    return {"step": context.step if context else 0, "epoch": context.epoch if context else 0}


def _write(folder: RunFolder, plan: Plan, rank: int, outcome: dict[str, Any]) -> None:
    about = {"rank": rank, "host": socket.gethostname(), "pid": os.getpid(), "time_ns": time.time_ns()}
    # A full disk must not hide the error that is being reported; without the file the agent's word stands.
    with contextlib.suppress(OSError):
        write_whole(folder.rank_outcome(plan.attempt, rank), json.dumps({**about, **outcome}))


def _end_children() -> None:
    """Loader processes do not take the SIGTERM by which multiprocessing would end them, and would be waited for, for
    ever; and torch, told of their end, would call it an error."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
