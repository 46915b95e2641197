"""A Weights & Biases run: offline, under `wandb/` in the run folder, unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import wandb

from launcher.trackers import Run


class WandbRun:
    def __init__(self, run: Run) -> None:
        self._run = wandb.init(
            project=run.name,
            id=run.run_id,
            resume="allow",
            dir=str(run.folder.path),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]  # wandb names its words itself
            config={**run.parameters, **run.tags},
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def event(self, event: Mapping[str, Any]) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self, state: str) -> None:
        self._run.finish(exit_code=0 if state == "SUCCEEDED" else 1)


begin = WandbRun
