"""Backends: how node programs reach their nodes. One module a backend, one row in the table."""

from __future__ import annotations

from launcher.backends import local
from launcher.backends.base import Command, Render, Submission
from launcher.errors import RequestError

__all__ = ["Command", "Submission", "render_for"]

BACKENDS: dict[str, Render] = {
    "local": local.render,
}


def render_for(name: str) -> Render:
    """The backend's `render`. Raises RequestError for a backend this version does not have."""
    try:
        return BACKENDS[name]
    except KeyError:
        raise RequestError(
            f"backend: {name} is not available in this version", hint=f"choose one of {', '.join(BACKENDS)}"
        ) from None
