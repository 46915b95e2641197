"""The campaign over file calls: each call of a training that resumes, saves and prunes meets each kind of failure.

`python -m tests.faults.calls` prints the closing table; `--only SCENARIO:KIND:NUMBER` repeats one trial.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import checkpoints
from launcher.manifest import Damaged, verify
from tests.faults.trainee import state, train

KINDS = {"none": 0, "kill": 1, "torn": 2, "EIO": 3, "ENOSPC": 4, "short": 5, "dead disk": 6, "full disk": 7, "stop": 8}
GROWS = {"create", "write", "fsync", "rename", "exchange", "mkdir"}
CHANGES = GROWS | {"unlink", "rmdir"}
FIRST = 3
"""The step that the first attempt came to."""


@dataclass(frozen=True)
class Call:
    """One line of the shim's list; `second` is the other path, or the bytes written in hexadecimal."""

    name: str
    path: str
    second: str
    result: int


@dataclass(frozen=True)
class Scenario:
    """What the attempt under test finds, and how far it is to come."""

    prepare: Callable[[Path], None]
    stands: int
    """The newest sound step."""
    until: int
    overtaken: bool = False
    """Whether an orphan of the attempt before commits the next step, with other bytes, once this one has resumed."""

    @property
    def rotten(self) -> str:
        """The one checkpoint that may be damaged."""
        return f"step-{self.stands + 1:08d}" if self.prepare is _spoilt else ""


@dataclass(frozen=True)
class Trial:
    scenario: str
    kind: str
    at: int

    def __str__(self) -> str:
        return f"{self.scenario}:{self.kind}:{self.at}"


class Bench:
    """Runs trials: prepares the run folder, starts the trainee under the shim, looks at what is left."""

    def __init__(self, folder: Path, *, defect: str = "nothing") -> None:
        self.folder, self.defect = folder, defect
        self.run_dir, self.late = folder / "run", folder / f"step-{FIRST + 1:08d}"
        for name, scenario in SCENARIOS.items():
            (folder / name).mkdir()
            scenario.prepare(folder / name)
        (folder / "other").mkdir()
        _another_step(folder / "other")
        environment = {**os.environ, "LD_PRELOAD": str(compile_shim(folder)), "PYTHONPATH": str(Path.cwd())}
        self.tracebacks = (folder / "tracebacks").open("w+")
        self.trainee = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.trainee"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.tracebacks,
            text=True,
        )

    def close(self) -> None:
        self.trainee.communicate(timeout=60)
        self.tracebacks.close()

    def run(self, trial: Trial, *, log: Path | None = None) -> dict[str, Any]:
        """Run the second attempt up to its end, or to where it is stopped."""
        for path in (self.run_dir, self.late):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / trial.scenario, self.run_dir)
        scenario = SCENARIOS[trial.scenario]
        if scenario.overtaken:
            shutil.copytree(checkpoints.folder(self.folder / "other") / self.late.name, self.late)
        request = {"run_dir": str(self.run_dir), "attempt": 2, "until": scenario.until, "defect": self.defect}
        request |= {"late": str(self.late) if scenario.overtaken else "", "log": str(log or "")}
        return self.ask({**request, "at": trial.at, "kind": KINDS[trial.kind]})

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.trainee.stdin
        assert self.trainee.stdout
        print(json.dumps(request), file=self.trainee.stdin, flush=True)
        reply: dict[str, Any] = json.loads(self.trainee.stdout.readline())
        return reply

    def calls(self, scenario: str) -> list[Call]:
        """The calls of an undisturbed trial, and `saved` where the trainee gave its word."""
        log = self.folder / f"{scenario}.calls"
        end = self.run(Trial(scenario, "none", 0), log=log)
        assert end["status"] == 0, self.said()
        fields = [line.split("\t") for line in log.read_text().splitlines()]
        return [Call(name, path, second, int(result)) for name, path, second, result in fields]

    def trials(self) -> Iterator[Trial]:
        for scenario in SCENARIOS:
            calls = [call for call in self.calls(scenario) if call.name != "saved"]
            for at, call in enumerate(calls, 1):
                yield from (Trial(scenario, kind, at) for kind in failures_of(call.name))

    def judge(self, trial: Trial) -> str | None:
        """Run a trial; what was wrong with its end, or None."""
        end = self.run(trial)
        if end["status"] not in (0, 1, -9):
            return f"the trainee ended with {end['status']}: {self.said()}"
        if trial.kind == "short" and end["status"] != 0:
            return "a short write was taken for a failure"
        scenario = SCENARIOS[trial.scenario]
        late = scenario.overtaken and not self.late.exists()
        return aftermath(self.run_dir, [scenario.stands + late, *end["saved"]], rotten=scenario.rotten)

    def said(self) -> str:
        """The trainee's last traceback."""
        self.tracebacks.seek(0)
        return self.tracebacks.read()[-2000:]


def aftermath(run_dir: Path, saved: list[int], *, rotten: str = "") -> str | None:
    """What is wrong with what an attempt left, on whose word the steps in `saved` stand; None if nothing is."""
    root = checkpoints.folder(run_dir)
    sound = {}
    for name in checkpoints.names(root):
        try:
            sound[name] = verify(root / name)
        except Damaged as damage:
            if name != rotten:
                return f"half a checkpoint under a whole one's name: {damage}"
    if len(sound) < min(2, max(saved)):
        return f"fewer than two sound checkpoints stand: {sorted(sound)}"
    newest = max((manifest.step for manifest in sound.values()), default=0)
    if not max(saved) <= newest <= max(saved) + 1:
        return f"step {max(saved)} was said to stand, the newest found is {newest}"
    return _next_attempt(run_dir, newest)


def _next_attempt(run_dir: Path, newest: int) -> str | None:
    root, saved = checkpoints.folder(run_dir), list[int]()
    if newest and _held(root / f"step-{newest:08d}") not in (state(newest), state(newest, "other")):
        return f"step {newest} holds another state"
    train(run_dir, attempt=9, until=newest + 1, said=saved.append)
    if saved != [newest + 1]:
        return f"the next attempt saved {saved} after {newest}"
    litter = [path.name for place in (run_dir, root) for path in place.iterdir() if path.name.startswith(".")]
    return f"the next attempt left {litter}" if litter else None


def _held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def compile_shim(folder: Path) -> Path:
    source, library = Path(__file__).with_name("shim.c"), folder / "shim.so"
    command = [shutil.which("cc") or "cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def campaign(bench: Bench, chosen: Callable[[Trial], bool]) -> Iterator[tuple[Trial, str | None]]:
    """Each chosen trial, with what was wrong with its end."""
    for trial in list(bench.trials()):
        if chosen(trial):
            yield trial, bench.judge(trial)


def failures_of(call: str) -> list[str]:
    """A death before a call that changes nothing is the death before the next one that does."""
    kinds = ["EIO"]
    if call in CHANGES:
        kinds += ["kill", "torn", "dead disk"]
    if call in GROWS:
        kinds += ["ENOSPC", "full disk"]
    if call == "write":
        kinds += ["short"]
    return kinds


def _fresh(run_dir: Path) -> None:
    """Nothing was saved yet."""


def _plain(run_dir: Path) -> None:
    """An attempt came to step 3 and was killed while it saved the next, and another while it deleted an old one."""
    train(run_dir, attempt=1, until=FIRST, said=lambda step: None)
    root = checkpoints.folder(run_dir)
    unfinished = checkpoints.begin(root, FIRST + 1, 1)
    (unfinished / "model").write_bytes(b"weigh")
    shutil.copytree(root / f"step-{FIRST:08d}", root / ".gone-step-00000000-1")


def _spoilt(run_dir: Path) -> None:
    """As before, and the newest checkpoint has rotted."""
    _plain(run_dir)
    model = checkpoints.folder(run_dir) / f"step-{FIRST:08d}" / "model"
    model.write_bytes(model.read_bytes()[:-1])


def _another_step(run_dir: Path) -> None:
    """The step that an orphan commits late in the scenario `overtaken`: with other bytes."""
    train(run_dir, attempt=1, until=FIRST + 1, tag="other", said=lambda step: None)


SCENARIOS = {
    "fresh": Scenario(_fresh, stands=0, until=2),
    "plain": Scenario(_plain, stands=FIRST, until=5),
    "spoilt": Scenario(_spoilt, stands=FIRST - 1, until=4),
    "overtaken": Scenario(_plain, stands=FIRST, until=4, overtaken=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="SCENARIO:KIND:NUMBER")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        results = list(campaign(bench, lambda trial: only in (None, str(trial))))
        bench.close()
    failures = [(trial, wrong) for trial, wrong in results if wrong]
    for trial, wrong in failures:
        print(f"{wrong}; repeat with: python -m tests.faults.calls --only '{trial}'")
    print(f"{len(results)} trials, {len(results) - len(failures)} passed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
