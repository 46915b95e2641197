"""The best validation so far: for the checkpoint to keep, and for early stopping."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.errors import RequestError
from launcher.spec import Mode


@dataclass
class Best:
    """Follows one validation metric."""

    key: str
    """Where in the job file the metric is named, for messages."""
    metric: str
    mode: Mode
    value: float | None = None
    misses: int = 0
    """Validations since the best one."""

    def see(self, metrics: Mapping[str, float]) -> bool:
        """Take in a validation; whether it is the best so far. A value that is not finite never is."""
        if self.metric not in metrics:
            near = difflib.get_close_matches(self.metric, metrics, n=1)
            raise RequestError(
                f"{self.key}: there is no validation metric {self.metric!r}",
                hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(metrics)}",
            )
        value = metrics[self.metric]
        better = math.isfinite(value) and (
            self.value is None or (value < self.value if self.mode == "min" else value > self.value)
        )
        self.value, self.misses = (value, 0) if better else (self.value, self.misses + 1)
        return better

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "misses": self.misses}

    def load(self, state: Mapping[str, Any]) -> None:
        self.value, self.misses = state["value"], state["misses"]
