"""Code in the manner of the frameworks' own examples ends alike alone and through launcher, and a kill changes nothing.

What the tables of README.md and docs/frameworks.md say is measured here; UPDATE_GOLDEN=1 renews them (with -n 0).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher import checkpoints
from launcher.manifest import step_of
from launcher.spec import Checkpointing
from tests import long
from tests.frameworks import parts
from tests.frameworks.bench import ROOT, Bench, job, plan_of

EXAMPLES = {
    "lightning_autoencoder": "lightning",
    "lightning_gan": "lightning",
    "lightning_classifier": "lightning",
    "ignite_supervised": "ignite",
    "ignite_update": "ignite",
    "ignite_gan": "ignite",
}
SAME = "the same, to the last bit"
README, GUIDE = ROOT / "README.md", ROOT / "docs" / "frameworks.md"


def documented(page: Path, *cells: str) -> None:
    """The row of a page's table that begins with this cell says this."""
    row = f"| {' | '.join(cells)} |"
    lines = page.read_text().splitlines(keepends=True)
    (number,) = (number for number, line in enumerate(lines) if line.startswith(f"| {cells[0]} |"))
    if os.environ.get("UPDATE_GOLDEN") == "1":
        lines[number] = row + "\n"
        page.write_text("".join(lines))
    assert lines[number] == row + "\n"


@pytest.mark.parametrize("name", long.but(["lightning_classifier", "ignite_update"], EXAMPLES))
def test_an_example_ends_alike_alone_through_launcher_and_killed(bench: Bench, name: str, tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 32, "log_every": 1}
    spec = job(EXAMPLES[name], f"examples/{name}.py:build", training=training, checkpoint=Checkpointing(every=3))
    plan = plan_of(spec, tmp_path / "alone")
    alone = bench.call("tests.frameworks.alone:example", tmp_path / "alone", name=name, plan=plan.to_json())
    whole = bench.run(spec, tmp_path / "whole")
    ended = bench.train(plan_of(spec, tmp_path / "killed"), KILL_AT="8")
    assert [each["state"] for each in ended] == ["killed"]
    again = bench.run(spec, tmp_path / "killed", attempt=2)
    (doc,) = (ROOT / "tests" / "frameworks" / "examples" / f"{name}.py").read_text().split('"""')[1:2]
    link = f"[{name}](../tests/frameworks/examples/{name}.py): {doc[0].lower()}{doc[1:].rstrip('.')}"
    loss = SAME if whole["metrics"]["loss"] == alone["loss"] else "another"
    weights = SAME if whole["weights_sha256"] == alone["digest"] else "others"
    resumed = SAME if again["weights_sha256"] == whole["weights_sha256"] else "others"
    documented(GUIDE, link, loss, weights, resumed)


@dataclass(frozen=True)
class Ended:
    state: str
    """done, failed, or whatever else ended it."""
    digest: str | None
    said: str


@dataclass(frozen=True)
class Way:
    """A way to train `measured.py`: in a folder, from its newest checkpoint, under an environment."""

    train: Callable[..., Ended]
    newest: Callable[[Path], int]
    """The step of the newest checkpoint."""
    damage: Callable[[Path], None]
    """Flips a bit of the newest checkpoint's weights."""


def alone(bench: Bench, function: str, **arguments: Any) -> Way:
    def train(folder: Path, **environment: str) -> Ended:
        ended = bench.call(f"tests.frameworks.alone:{function}", folder, environment=environment, **arguments)
        state = "killed" if ended is None else "failed" if "error" in ended else "done"
        return Ended(state, (ended or {}).get("digest"), (ended or {}).get("error", ""))

    def damage(folder: Path) -> None:
        found = parts.newest(folder)
        assert found is not None
        holds = torch.load(found[1], weights_only=False)
        weights = next(iter((holds.get("state_dict") or holds["model"]).values()))
        flip(found[1], found[1].read_bytes().index(weights.numpy().tobytes()) + 3)

    return Way(train, lambda folder: (parts.newest(folder) or (0,))[0], damage)


def through_launcher(bench: Bench, kind: str, target: str) -> Way:
    spec = job(kind, f"measured.py:{target}", training={"epochs": 2, "batch_size": parts.BATCH})

    def train(folder: Path, **environment: str) -> Ended:
        attempt = len(list((folder / "attempts").glob("*"))) + 1
        (outcome,) = bench.train(plan_of(spec, folder, attempt=attempt), **environment)
        said = outcome.get("error", {}).get("message", "")
        return Ended(outcome["state"], outcome.get("weights_sha256"), said)

    def saved(folder: Path) -> str:
        return checkpoints.names(folder / "checkpoints")[0]

    def damage(folder: Path) -> None:
        file = folder / "checkpoints" / saved(folder) / "model.safetensors"
        flip(file, file.stat().st_size - 1)

    return Way(train, lambda folder: step_of(saved(folder)) or 0, damage)


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


WAYS: dict[str, Callable[[Bench], Way]] = {
    "Lightning alone": lambda bench: alone(bench, "by_lightning"),
    "Ignite alone": lambda bench: alone(bench, "by_ignite"),
    "Ignite alone, `deterministic=True`": lambda bench: alone(bench, "by_ignite", deterministic=True),
    "Lightning through launcher": lambda bench: through_launcher(bench, "lightning", "Module"),
    "Ignite through launcher": lambda bench: through_launcher(bench, "ignite", "engine"),
}


@pytest.mark.parametrize("name", long.but(["Lightning through launcher", "Ignite through launcher"], WAYS))
def test_the_readme_says_what_becomes_of_a_training(bench: Bench, name: str, tmp_path: Path) -> None:
    way = WAYS[name](bench)
    undisturbed = way.train(made(tmp_path / "whole"), SEEN=str(tmp_path / "all")).digest
    assert undisturbed is not None
    samples, weights = after_a_kill(way, tmp_path, undisturbed)
    cells = (samples, weights, after_a_term(way, tmp_path), after_a_flip(way, tmp_path, undisturbed))
    documented(README, name, *cells, with_a_bad_sample(way, tmp_path))


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def after_a_kill(way: Way, tmp_path: Path, undisturbed: str) -> tuple[str, str]:
    """Killed in step 7, the second of an epoch, gone on with: that epoch's samples, and the weights at the end."""
    folder, seen = made(tmp_path / "killed"), tmp_path / "seen"
    assert way.train(folder, SEEN=str(seen), DISTURB="7:SIGKILL").state == "killed"
    step = way.newest(folder)
    ended = way.train(folder, SEEN=str(seen))
    batches = [json.loads(line) for line in seen.read_text().splitlines()]
    counted = [number for batch in (batches[:step] + batches[7:])[parts.STEPS_PER_EPOCH :] for number in batch]
    twice, never = len(counted) > len(set(counted)), len(set(counted)) < parts.SAMPLES
    said = {(False, False): "each once", (True, True): "some twice, some never", (True, False): "some twice"}
    return said.get((twice, never), "some never"), SAME if ended.digest == undisturbed else "others"


def after_a_term(way: Way, tmp_path: Path) -> str:
    folder = made(tmp_path / "term")
    way.train(folder, SEEN=str(tmp_path / "any"), DISTURB="8:SIGTERM")
    return "none" if way.newest(folder) >= 8 else "all since the last checkpoint"


def after_a_flip(way: Way, tmp_path: Path, undisturbed: str) -> str:
    folder = made(tmp_path / "flipped")
    way.train(folder, SEEN=str(tmp_path / "any"), DISTURB="10:SIGKILL")
    way.damage(folder)
    ended = way.train(folder, SEEN=str(tmp_path / "any"))
    if ended.state == "done" and ended.digest == undisturbed and list(folder.glob("checkpoints/bad-*")):
        return "found; the one before it is taken"
    return "trained on with" if ended.state == "done" else "cannot be read"


def with_a_bad_sample(way: Way, tmp_path: Path) -> str:
    ended = way.train(made(tmp_path / "bad"), SEEN=str(tmp_path / "any"), POISON="5")
    if ended.state == "failed" and all(word in ended.said for word in ("step", "rank 0", "samples", "5")):
        return "ends it, naming step, rank and samples"
    return "trained on to the end" if ended.state == "done" else "ends it"
