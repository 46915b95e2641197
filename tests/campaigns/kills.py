"""The kill campaign: seeded `kill -9`s of any program of a run at any moment, and the bits at its end.

`python -m tests.campaigns.kills --kills 100 --seed 1` prints the closing table, and writes it with `--json FILE`. With
`--keep FILE` every run of it is written down as it ends, and the same command goes on with a campaign that was ended;
with `--first ROUND` a part of one can be run beside another part, and the files of both put together.
A run is killed a few times, resumed each time, and must end with the weights, the optimizer's state and the metrics of
a run that nothing happened to; `--only ROUND` repeats one run of the campaign with its kills.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns import closing, kept, timeline
from tests.campaigns.scene import Scene, until
from tests.campaigns.timeline import Death, Leg

JOB = Path(__file__).with_name("kills.yaml")
ACCUMULATE, LAST = 2, "step-00000040"
"""Of the job: microbatches of a step, its last checkpoint."""
SAME = ("metrics.jsonl", f"checkpoints/{LAST}/model.safetensors", f"checkpoints/{LAST}/training.safetensors")
"""The files that must be those of the undisturbed run, byte for byte."""
KILLS_A_RUN = 4
PATIENCE = 180.0
ORPHAN_PATIENCE = 10.0
"""Seconds within which everything below a dead launcher must be gone."""
TARGETS = {
    "native": "kills_trainee.py:build",
    "script": "kills_script.py",
    "lightning": "kills_kinds.py:lightning",
    "ignite": "kills_kinds.py:ignite",
}
"""What each kind of task trains in the campaign."""
VICTIMS = ("rank", "agent", "node", "launcher")

MOMENTS = {"start": 4.0, "step": 0.06, "save": 0.02, "validation": 0.03, "last words": 0.3, "clean-up": 0.6}
"""After what a blow falls, and within how many seconds. `clean-up`: the blow before it."""


@dataclass(frozen=True)
class Blow:
    """A planned kill."""

    moment: str
    delay: float
    count: int
    """Which microbatch of the attempt, for one during a step."""
    victim: str
    choice: int
    """Which of several victims of that sort."""
    at_once: bool
    """Whether a killed launcher is followed by the next before what it left has ended itself."""


@dataclass
class Round:
    """One run to its end, with the kills on its way."""

    number: int
    seed: int
    kind: str = "native"
    deaths: list[Death] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def repeat(self) -> str:
        return f"python -m tests.campaigns.kills --seed {self.seed} --only {self.number}"


def blows(seed: int, number: int) -> Iterator[Blow]:
    chance = random.Random(f"{seed}:{number}")  # noqa: S311
    for turn in range(KILLS_A_RUN):
        unfit = {"clean-up": turn == 0, "last words": turn < KILLS_A_RUN - 1}
        moment = chance.choice([name for name in MOMENTS if not unfit.get(name)])
        yield Blow(
            moment=moment,
            delay=chance.uniform(0, MOMENTS[moment]),
            count=chance.randint(1, 14),
            victim=chance.choice(VICTIMS),
            choice=chance.randrange(1000),
            at_once=chance.random() < 0.5,
        )


class Trial:
    """Carries one round out in a scene of its own."""

    def __init__(self, scene: Scene, seed: int, number: int, *options: str) -> None:
        self.scene, self.round = scene, Round(number, seed, kind_of(number))
        self.retries = number % 4 >= 2
        shape = ["--nodes", "2", "--procs-per-node", "1"] if number % 2 else []
        again = ["--set", f"retry.max={9 * self.retries}"]
        saves = ["--set", f"checkpoint.overlap={overlap_of(number)}"]
        self.job = ["run", str(JOB), *of_kind(self.round.kind), *shape, *again, *saves, *options]
        self.launcher = scene.start(*self.job)

    def carry_out(self, like: Path) -> Round:
        """Run, kill, resume, and compare the end with the run folder `like`."""
        try:
            for blow in blows(self.round.seed, self.round.number):
                if blow.moment != "clean-up" and self._is_over():
                    break
                if self._moment_comes(blow):
                    self._strike(blow)
            self._finish()
            self._look_back(like)
        except TimeoutError as error:
            self.round.faults.append(f"{error}\n{self.scene.said()}")
            self._end_everything()
        except KeyboardInterrupt:
            self._end_everything()
            raise
        return self.round

    def _is_over(self) -> bool:
        """Whether the run is done; if its launcher is gone and it is not, another one goes on with it."""
        if self.round.deaths and not self.retries:
            self._wait(lambda: self.launcher.poll() is not None, "no end of the attempt after a kill")
        if self.launcher.poll() is None:
            return False
        if self.scene.read("result.json").get("state") == "SUCCEEDED":
            return True
        run = self.scene.find_run()
        self.launcher = self.scene.start(*(["resume", run.name] if run else self.job))
        return False

    def _moment_comes(self, blow: Blow) -> bool:
        """Wait for the moment of a blow; False where the run ended before."""
        seen, what = len(self.scene.marks()), "validation" if blow.moment == "validation" else "microbatch"

        def now() -> bool:
            if self.launcher.poll() is not None or blow.moment in ("start", "clean-up"):
                return True
            if blow.moment == "save":
                return self._saving()
            if blow.moment == "last words":
                return any((self.scene.find_run() or self.scene.runs_dir).glob("attempts/*/rank-*.json"))
            news = [mark for mark in self.scene.marks()[seen:] if mark.rank == 0 and mark.what == what]
            return len(news) >= (1 if blow.moment == "validation" else blow.count)

        self._wait(now, f"no {blow.moment}")
        time.sleep(blow.delay)
        return blow.moment == "clean-up" or self.launcher.poll() is None

    def _strike(self, blow: Blow) -> None:
        alive = self.scene.alive() | {"launcher": [self.launcher.pid] if self.launcher.poll() is None else []}
        victim = blow.victim if alive[blow.victim] else next((each for each in VICTIMS[::-1] if alive[each]), None)
        if victim is None:
            return
        died, alone = time.time(), None
        try:
            os.kill(alive[victim][blow.choice % len(alive[victim])], signal.SIGKILL)
        except ProcessLookupError:
            return
        if victim == "launcher":
            self.launcher.wait()
            if not blow.at_once:
                self._wait(lambda: not any(self.scene.alive().values()), "a dead launcher's processes", ORPHAN_PATIENCE)
                alone = time.time() - died
        self.round.deaths.append(Death(died, blow.moment, victim, alone))

    def _finish(self) -> None:
        """Let the run come to its end, with nobody killing it any more."""
        for _ in range(3):
            self._wait(lambda: self.launcher.poll() is not None, "no end of the run")
            if self._is_over():
                return
        raise TimeoutError("the run does not come to its end")

    def _look_back(self, like: Path) -> None:
        run_dir = self.scene.find_run()
        assert run_dir is not None
        self._wait(lambda: not any(self.scene.alive().values()), "processes of a run that is over", ORPHAN_PATIENCE)
        self.round.legs = timeline.legs(self.scene.events(), self.scene.marks(), ACCUMULATE)
        waits = overlap_of(self.round.number) == "none"
        self.round.faults += timeline.faults(self.round.legs, closing.EVERY, waits=waits)
        self.round.faults += [f"{name} is left behind" for name in self.scene.litter()]
        self.round.faults += [f"{name} differs" for name in SAME if not _same(run_dir / name, like / name)]

    def _saving(self) -> bool:
        run_dir = self.scene.find_run()
        return run_dir is not None and any(run_dir.glob("checkpoints/.tmp-step-*"))

    def _end_everything(self) -> None:
        for pid in [self.launcher.pid, *(pid for pids in self.scene.alive().values() for pid in pids)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.launcher.wait()

    @staticmethod
    def _wait(condition: object, what: str, patience: float = PATIENCE) -> None:
        if not until(condition, patience):
            raise TimeoutError(f"{what} within {patience:g} s")


def kind_of(number: int) -> str:
    """Every fourth round trains another kind of task; with and without retries, on one node and on two."""
    return list(TARGETS)[number // 4 % len(TARGETS)]


def overlap_of(number: int) -> str:
    """Every third round waits for each checkpoint, so that a kill costs no more steps than lie between two."""
    return ("files", "none", "all" if kind_of(number) != "lightning" else "files")[number % 3]


def of_kind(kind: str) -> list[str]:
    return ["--set", f"task.kind={kind}", "--set", f"task.target={TARGETS[kind]}"]


def undisturbed(scene: Scene, kind: str = "native") -> Path:
    """The run folder that every disturbed one of its kind must be like."""
    launcher = scene.start("run", str(JOB), *of_kind(kind))
    if launcher.wait(PATIENCE):
        raise RuntimeError(scene.said())
    run_dir = scene.find_run()
    assert run_dir is not None
    return run_dir


class Likes(dict[str, Path]):
    """The undisturbed run of each kind, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, kind: str) -> Path:
        self[kind] = undisturbed(Scene(self.folder / kind), kind)
        return self[kind]


def campaign(folder: Path, seed: int, kills: int, *options: str, number: int = 0) -> Iterator[Round]:
    """Rounds, from that number on, until so many kills have met their victims."""
    likes = Likes(folder)
    while kills > 0:
        like = likes[kind_of(number)]  # made before the trial's own run starts
        done = Trial(Scene(folder / str(number)), seed, number, *options).carry_out(like)
        kills, number = kills - len(done.deaths), number + 1
        yield done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="ROUND")
    parser.add_argument("--torchrun", type=int, default=0, metavar="TRIALS", help="torchrun's own restart beside it")
    parser.add_argument("--first", type=int, metavar="ROUND")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="go on with the campaign of this file")
    chosen = parser.parse_args()
    if chosen.only is not None and (chosen.keep or chosen.first is not None):
        parser.error("--only repeats one round: it takes neither --keep nor --first")
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        if chosen.only is None:
            rounds = _gone_on_with(folder, chosen)
        else:
            like = Likes(folder)[kind_of(chosen.only)]
            rounds = closing.told(iter([Trial(Scene(folder / "one"), chosen.seed, chosen.only).carry_out(like)]))
        beside = closing.torchrun(folder, chosen.torchrun)
    sys.exit(closing.tell(rounds, beside, seed=chosen.seed, file=chosen.json))


def _gone_on_with(folder: Path, chosen: argparse.Namespace) -> list[Round]:
    """The rounds of a campaign, those of earlier calls first."""
    before = [Round(**fields) for fields in kept.lines(chosen.keep)] if chosen.keep else []
    if others := {each.seed for each in before} - {chosen.seed}:
        sys.exit(f"{chosen.keep} keeps a campaign of seed {others.pop()}: name another file, or that seed")
    numbers = [each.number for each in before]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        sys.exit(f"{chosen.keep} keeps round {min(twice)} more than once: put parts together that do not overlap")
    if before and chosen.first not in (None, min(numbers)):
        sys.exit(f"{chosen.keep} begins with round {min(numbers)}: name another file, or no other --first")
    number = max((each + 1 for each in numbers), default=chosen.first or 0)
    kills = chosen.kills - sum(len(each.deaths) for each in before)
    to_come = campaign(folder, chosen.seed, kills, number=number)
    return [*before, *closing.told(kept.keeping(to_come, chosen.keep) if chosen.keep else to_come)]


def _same(first: Path, second: Path) -> bool:
    return first.exists() and first.read_bytes() == second.read_bytes()


if __name__ == "__main__":
    main()
