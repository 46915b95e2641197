"""launcher: one job file, the same training run on a laptop, a server or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.task import Task

__all__ = ["Task", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`launcher.Task`, loaded when it is asked for: `launcher --help` must not pay for it."""
    if name == "Task":
        from launcher.task import Task

        return Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
