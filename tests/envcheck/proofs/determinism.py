"""Variables without which no two runs give the same bits."""

from __future__ import annotations

from tests.envcheck.proof import natural

EXACT = ["--numerics", "exact"]

PROOFS = [
    natural(
        "DET002",
        "F92",
        "PYTHONHASHSEED=random",
        "orders its sets differently",
        fault={"environ": {"PYTHONHASHSEED": "random"}, "options": EXACT},
        healthy={"environ": {"PYTHONHASHSEED": "0"}, "options": EXACT},
    ),
]
