"""torch's elastic agent, as `torchrun` has it, in a process that imports torch once and forks this node's ranks.

Each attempt runs in a fork of its own, so that the next one finds this process as warm and as clean as the first did.
Three things differ from the `torchrun` command, each for a measured reason: ranks are forked instead of started, which
saves each of them the import; the rendezvous store uses a socket that is already bound, so that no port can be lost
and a local run listens on loopback only; and a failed rank is never restarted in place: the launcher makes a new
attempt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, though not in __all__
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousInfo, RendezvousParameters, rendezvous_handler_registry
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from envcheck import probe
from launcher.plan import Plan
from launcher.processes import die_with_parent
from launcher.worker import rank, tasks

RENDEZVOUS_TIMEOUT = 300
"""Seconds to wait for the other nodes' agents."""
SHUTDOWN_TIMEOUT = 2
"""Seconds that a rank is left with after another rank of the node has failed."""


PROBE_TIMEOUT = 120
"""Seconds the look at torch and the GPUs may take; after that nothing is known of them."""


def main() -> int:
    """Take the node program's requests from standard input, run the ranks, say on standard output how it went."""
    # SIGTERM means "save and stop" to a rank and is never for the agent; a rank takes it from the moment it is ready.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    requests = Requests(sys.stdin.fileno())
    probed = _start_probe() if "--probe" in sys.argv else None
    import torch._dynamo  # noqa: F401  the first optimizer step imports it in every rank; here once for all of them

    tasks.preload(sys.argv[1])
    if probed is not None:
        _say({"probe": _answer(*probed)})
    while (taken := requests.next()) is not None:
        request, listener = taken
        if request["parent"] != os.getppid():
            return 1
        _say({"ended": _in_a_fork(request, listener)})
    return 0


class Requests:
    """JSON lines from a socket; with one may come the descriptor of the socket that the rendezvous listens on."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._part = b""

    def next(self) -> tuple[dict[str, Any], int | None] | None:
        """Wait for the next one; None when there will be no more."""
        listener: int | None = None
        while b"\n" not in self._part:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 1)
            if not data:
                return None
            self._part += data
            listener = descriptors[0] if descriptors else listener
        line, _, self._part = self._part.partition(b"\n")
        return json.loads(line), listener


def _in_a_fork(request: Mapping[str, Any], listener: int | None) -> int:
    """Carry out an attempt in a child; returns the child's exit code, negative for the signal that killed it."""
    parent, child = os.getpid(), os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent(parent)
            code = _attempt(request, listener)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    signal.signal(signal.SIGUSR1, lambda *_: _send(child, signal.SIGUSR1))
    if listener is not None:
        os.close(listener)
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return os.waitstatus_to_exitcode(status)


def _attempt(request: Mapping[str, Any], listener: int | None) -> int:
    _become(sys.stdin.fileno(), os.open(os.devnull, os.O_RDONLY))  # the requests are not for the user's code
    if request["log"] is not None:
        _become(sys.stderr.fileno(), os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    plan = Plan.from_json(request["plan"])
    os.environ.update(request["env"])
    signal.signal(signal.SIGUSR1, _pass_stop_on)
    end_survivors()
    try:
        elastic_launch(_config(plan, request, listener), rank.main)(plan, request["node_rank"], os.getpid())
    except ChildFailedError as error:
        failures = [_failure(global_rank, failure) for global_rank, failure in error.failures.items()]
        _say({"failures": failures})
        return 1
    return 0


def _become(descriptor: int, opened: int) -> None:
    os.dup2(opened, descriptor)
    os.close(opened)


def _start_probe() -> tuple[int, int]:
    """Look at torch and the GPUs in a fork: it may use a GPU, which a process that forks ranks must not."""
    answer, answer_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(answer_end, json.dumps(dataclasses.asdict(probe.collect())).encode())
        finally:
            os._exit(0)
    os.close(answer_end)
    return child, answer


def _answer(child: int, answer: int) -> Mapping[str, Any]:
    """The `section` of the facts on torch, or why it is `absent`. A probe that died of torch is a failure of torch."""
    text, deadline = b"", time.monotonic() + PROBE_TIMEOUT
    while select.select([answer], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(answer, 1 << 16)
        text += part
        if not part:
            break
    else:
        text = b""
    os.close(answer)
    hung = time.monotonic() >= deadline
    os.kill(child, signal.SIGKILL)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if hung:
        return {"absent": f"the look at torch and the GPUs gave no answer within {PROBE_TIMEOUT} s and was ended"}
    try:
        return {"section": json.loads(text)}
    except ValueError:
        how = f"was ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with {exit_code}"
        return {"section": {"failure": f"the process that looks at torch and the GPUs {how}"}}


def _say(message: Mapping[str, Any]) -> None:
    """One line to the node program."""
    print(json.dumps(message), flush=True)


def _config(plan: Plan, request: Mapping[str, Any], listener: int | None) -> LaunchConfig:
    host, port = request["rendezvous"]
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_TIMEOUT))
    rendezvous_handler_registry.register("bound", _BoundRendezvous.create)
    return LaunchConfig(
        min_nodes=plan.nodes,
        max_nodes=plan.nodes,
        nproc_per_node=plan.procs_per_node,
        run_id=f"{plan.run_id}.{plan.attempt}",
        rdzv_backend="bound",
        rdzv_endpoint=f"{host}:{port}",
        rdzv_configs={
            "rank": request["node_rank"],
            "listen_fd": listener,
            "timeout": RENDEZVOUS_TIMEOUT,
        },
        max_restarts=0,
        start_method="fork",
        local_addr=host,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGQUIT",
    )


class _BoundRendezvous(StaticTCPRendezvous):
    """torch's static rendezvous (node ranks as planned) over a store whose socket is already bound."""

    def __init__(self, host: str, port: int, listen_fd: int | None, parameters: RendezvousParameters) -> None:
        node_rank = int(parameters.config["rank"])
        super().__init__(host, port, node_rank, parameters.max_nodes, parameters.run_id, RENDEZVOUS_TIMEOUT)
        self._listen_fd = listen_fd

    @classmethod
    def create(cls, parameters: RendezvousParameters) -> _BoundRendezvous:
        host, _, port = parameters.endpoint.rpartition(":")
        return cls(host, int(port), parameters.config["listen_fd"], parameters)

    def get_backend(self) -> str:
        return "bound"

    def next_rendezvous(self) -> RendezvousInfo:
        self._store = TCPStore(
            self.master_addr,
            self.master_port,
            self.world_size,
            self.rank == 0,
            self.timeout,
            master_listen_fd=self._listen_fd,
        )
        return super().next_rendezvous()


def end_survivors() -> None:
    """From now on, kill the children that are left some seconds after the first of them has failed.

    torch does so after 30 s where a rank takes no SIGTERM, and it takes none while it waits in torch's own code for the
    one that is dead, as for the other members of a new process group.
    """
    agent = os.getpid()

    def begin_to_count(*_: object) -> None:
        if os.getpid() == agent and _one_has_failed() and not any(signal.getitimer(signal.ITIMER_REAL)):
            signal.setitimer(signal.ITIMER_REAL, SHUTDOWN_TIMEOUT)

    def kill(*_: object) -> None:
        for child in multiprocessing.active_children() if os.getpid() == agent else ():
            if child.pid is not None:
                _send(child.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.signal(signal.SIGCHLD, begin_to_count)


def _one_has_failed() -> bool:
    """Whether the child that can be waited for has failed. Where torch was quicker to wait, its own 30 s hold."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return ended is not None and (ended.si_code, ended.si_status) != (os.CLD_EXITED, 0)


def _pass_stop_on(_number: int, _frame: object) -> None:
    for child in multiprocessing.active_children():
        if child.pid is not None:
            _send(child.pid, signal.SIGTERM)


def _send(child: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _failure(global_rank: int, failure: ProcessFailure) -> dict[str, Any]:
    return {
        "rank": global_rank,
        "exit_code": failure.exitcode,
        "signal": -failure.exitcode if failure.exitcode < 0 else None,
        "time_ns": int(failure.timestamp) * 10**9,
    }
