"""What a benchmark found, as JSON for docs/benchmarks.md: a table, and where, when and with what it was made."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from launcher.worker.measure import capacity

ROOT = Path(__file__).parents[2]


def write(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Every row has the same keys: the heads of its columns."""
    words = [Path(sys.argv[0]).resolve().relative_to(ROOT).as_posix(), *sys.argv[1:]]
    words[words.index("--json") + 1] = f"docs/benchmarks/{path.name}"
    about = {
        "title": title,
        "command": f"python {shlex.join(words)}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": capacity.hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "load": round(os.getloadavg()[0], 1),
        "versions": capacity.versions(),
        "rows": list(rows),
    }
    path.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
