"""The campaign over the record of a run: each file call of making, watching and judging it meets each kind of failure.

`python -m tests.faults.records` prints the closing line; `--only KIND:NUMBER` repeats one trial.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher import store
from launcher.errors import LauncherError
from launcher.store import RunFolder
from tests.faults.calls import KINDS, Bench, Call, failures_of
from tests.faults.keeper import CREATED, DECIDED, JOB, PATCH, RUN, go_on
from tests.faults.power import Disk, make, moved


def calls(bench: Bench) -> list[Call]:
    """The calls of a launcher that nothing happens to, and `saved` where it gave its word."""
    log = bench.folder / "records.calls"
    end = _run(bench, "none", 0, log)
    assert end["status"] == 0, bench.said()
    fields = [line.split("\t") for line in log.read_text().splitlines()]
    return [Call(name, path, second, int(result)) for name, path, second, result in fields]


def failures(bench: Bench, only: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Each trial, with what was wrong with its end."""
    made = [call for call in calls(bench) if call.name != "saved"]
    for at, call in enumerate(made, 1):
        for kind in failures_of(call.name):
            if only in (None, f"{kind}:{at}"):
                end = _run(bench, kind, at)
                wrong = f"a traceback: {bench.said()}" if end["status"] not in (0, 1, -9) else None
                yield f"{kind}:{at}", wrong or aftermath(bench.run_dir, max(end["saved"], default=0))


def power_cuts(bench: Bench) -> Iterator[tuple[str, str | None]]:
    """Each state that a power cut may leave on the disk, with what was wrong with it."""
    made = calls(bench)
    empty = bench.folder / "no runs"
    empty.mkdir(exist_ok=True)
    disk, word, seen = Disk(empty), 0, set()
    for number, call in enumerate(made, 1):
        if call.name == "saved":
            word = int(call.path)
        else:
            disk.follow(moved(call, bench.run_dir, empty))
        for crash in disk.crashes():
            key = (word, tuple(sorted(crash.items())))
            if key not in seen:
                seen.add(key)
                make(bench.run_dir, crash)
                yield f"power cut after call {number} ({call.name})", aftermath(bench.run_dir, word)


def aftermath(runs_dir: Path, word: int) -> str | None:
    """What is wrong with what a launcher left that had said `word`; None if nothing is."""
    records = store.list_runs(runs_dir)
    if not records:
        return "the run that was made is gone" if word >= CREATED else None
    if word >= DECIDED and records[0].state != "SUCCEEDED":
        return f"the verdict that stood is gone: {records[0].state}"
    folder = RunFolder(runs_dir / RUN)
    asked = {folder.job: JOB, folder.patch: PATCH.encode(), folder.overrides: b"[]"}
    if lost := [path.name for path, content in asked.items() if not path.is_file() or path.read_bytes() != content]:
        return f"what was asked for is no longer what it was: {lost}"
    try:
        decided = folder.read_plan()
        go_on(folder, dataclasses.replace(decided, attempt=decided.attempt + 1))
    except LauncherError as error:
        return f"the run cannot be gone on with: {error}"
    if store.record(folder.path).state != "SUCCEEDED":
        return "the next attempt's verdict does not stand"
    left = [str(path.relative_to(runs_dir)) for path in folder.path.rglob(".*")]
    return f"the next attempt left {left}" if left else None


def _run(bench: Bench, kind: str, at: int, log: Path | None = None) -> dict[str, object]:
    shutil.rmtree(bench.run_dir, ignore_errors=True)
    bench.run_dir.mkdir()
    request = {"run_dir": str(bench.run_dir), "record": True, "defect": bench.defect, "late": "", "log": str(log or "")}
    return bench.ask({**request, "at": at, "kind": KINDS[kind]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="KIND:NUMBER")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        results = list(failures(bench, only)) + ([] if only else list(power_cuts(bench)))
        bench.close()
    wrong = [(trial, fault) for trial, fault in results if fault]
    for trial, fault in wrong:
        print(f"{fault}; repeat with: python -m tests.faults.records --only '{trial}'")
    print(f"{len(results)} trials, {len(results) - len(wrong)} passed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
