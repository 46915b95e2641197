"""The job's own files: those it names and that are not there, and lines of its script that undo determinism."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from envcheck.sections.libraries import Job

if TYPE_CHECKING:
    from envcheck.machine import Machine

BENCHMARK_ON = re.compile(r"^[^#]*cudnn\.benchmark\s*=\s*True")


def collect(machine: Machine) -> Job:
    need = machine.need
    folder = Path(need.workdir or ".")
    named = [*([need.script] if need.script else []), *need.paths]
    return Job(
        missing=tuple(path for path in named if not (folder / path).exists()),
        benchmark=_benchmark_lines(folder / need.script, need.script) if need.script else (),
    )


def _benchmark_lines(path: Path, spelt: str) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(f"{spelt}:{number}" for number, line in enumerate(lines, 1) if BENCHMARK_ON.search(line))
