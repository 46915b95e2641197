"""The interpreter: version, environment, search path, encoding, and files that hide modules from it."""

from __future__ import annotations

import locale
import os
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from envcheck.sections.host import Python

if TYPE_CHECKING:
    from envcheck.machine import Machine

TRAINING_STACK = {"torch", "torchvision", "numpy", "triton", "lightning", "ignite", "yaml", "click"}
OLD_STANDARD = {"random", "logging", "types", "queue", "copy", "email", "io", "json", "math", "numbers", "operator"}
NEVER_IMPORTED = {"test"}
"""Python's own test suite: a folder of that name is usual, and nobody misses the other."""
STANDARD = set(getattr(sys, "stdlib_module_names", OLD_STANDARD))  # the full list is there from Python 3.10 on


def collect(machine: Machine) -> Python:
    user_site = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    return Python(
        version=".".join(str(part) for part in sys.version_info[:3]),
        executable=sys.executable,
        prefix=sys.prefix,
        virtual_env=machine.environ.get("VIRTUAL_ENV"),
        path=tuple(entry for entry in sys.path if entry),
        user_site=user_site if user_site and Path(user_site).is_dir() else None,
        encoding="utf-8" if sys.flags.utf8_mode else locale.getpreferredencoding(False).lower(),
        shadows=_shadows(Path(machine.need.workdir or ".")),
    )


def _shadows(folder: Path) -> tuple[str, ...]:
    """Modules of the job's folder that would be imported in place of the real ones."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return ()
    hidden = (STANDARD | TRAINING_STACK) - NEVER_IMPORTED
    return tuple(sorted(entry.name for entry in entries if _module_name(entry) in hidden))


def _module_name(entry: os.DirEntry[str]) -> str:
    if entry.name.endswith((".py", ".pyc")):
        return entry.name.partition(".")[0]
    return entry.name if os.access(Path(entry.path) / "__init__.py", os.R_OK) else ""
