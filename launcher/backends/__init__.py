"""Backends: how node programs reach their nodes. One module a backend, one row in the table."""

from __future__ import annotations

from launcher import machine
from launcher.backends import docker, local, slurm, slurm_queue, ssh
from launcher.backends.base import Backend, Command, Queue, Submission
from launcher.errors import RequestError

__all__ = ["Backend", "Command", "Queue", "Submission", "named"]

BACKENDS: dict[str, Backend] = {
    "docker": Backend(
        render=docker.render,
        machine=lambda spec: machine.inspect(),
        settle=docker.settle,
        prepare=docker.prepare,
        collect=docker.collect,
    ),
    "local": Backend(render=local.render, machine=lambda spec: machine.inspect()),
    "slurm": Backend(
        render=slurm.render,
        machine=slurm.machine,
        settle=slurm.settle,
        prepare=slurm.prepare,
        collect=slurm.collect,
        queue=Queue(
            submit=slurm_queue.submit,
            state=slurm_queue.state,
            cancel=slurm_queue.cancel,
            last_word=slurm_queue.last_word,
        ),
    ),
    "ssh": Backend(render=ssh.render, machine=ssh.machine, settle=ssh.settle, prepare=ssh.prepare, collect=ssh.collect),
}


def named(name: str) -> Backend:
    """The backend. Raises RequestError for one this version does not have."""
    try:
        return BACKENDS[name]
    except KeyError:
        raise RequestError(
            f"backend: {name} is not available in this version", hint=f"choose one of {', '.join(BACKENDS)}"
        ) from None
