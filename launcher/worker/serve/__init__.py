"""Serves a model over HTTP: FastAPI in front, one thread that computes batches behind."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from launcher.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server allows."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    """Every request to /predict and /metrics must carry it as `Authorization: Bearer …`."""
    max_batch: int = 32
    """Most samples that are computed at once, and that one request may hold."""
    latency: float = 0.005
    """Seconds that a sample waits for others to be computed with."""
    queue: int = 256
    """Most samples that wait; further ones are answered with 503."""
    max_body: int = 1 << 20
    """Bytes."""
    body_timeout: float = 10.0
    """Seconds within which a request's body must have come."""
    drain: float = 20.0
    """Seconds that the requests under way get to end when the server is stopped."""


def check_installed() -> None:
    """Raises RequestError where FastAPI or uvicorn is missing."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            f"not installed here, and serving needs it: {', '.join(missing)}", hint="pip install 'launcher[serve]'"
        )
