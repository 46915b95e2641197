"""Backends: how node programs reach their nodes. One row a backend: the module that ends with its `BACKEND`."""

from __future__ import annotations

import importlib

from launcher.backends.base import Backend, Command, Queue, Submission
from launcher.errors import RequestError

__all__ = ["Backend", "Command", "Queue", "Submission", "named"]

BACKENDS = {
    "docker": "launcher.backends.docker",
    "kubernetes": "launcher.backends.kubernetes",
    "local": "launcher.backends.local",
    "slurm": "launcher.backends.slurm_queue",
    "ssh": "launcher.backends.ssh",
}


def named(name: str) -> Backend:
    """The backend, imported when it is asked for. Raises RequestError for one this version does not have."""
    if name not in BACKENDS:
        raise RequestError(
            f"backend: {name} is not available in this version", hint=f"choose one of {', '.join(BACKENDS)}"
        )
    backend: Backend = importlib.import_module(BACKENDS[name]).BACKEND
    return backend
