"""What many nodes cost the launcher: N node programs on this machine with workers that compute nothing.

    python tests/benchmarks/scale.py [8 32 128] [--json FILE]

For each N: seconds until the first and the last node program is started and to the verdict, the launcher's
own CPU seconds in all and a node, bytes of the run folder a node, and the time to fold the record. Judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=int, nargs="*", default=[8, 32, 128])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return print(json.dumps(one(options.numbers[0], options.one)))
    with tempfile.TemporaryDirectory() as folder:
        code = code_with_idle_workers(Path(folder))
        rows = [in_a_process(number, Path(folder), code) for number in options.numbers]
    if options.json:
        sys.path.insert(0, str(ROOT))  # not before: the process of one run takes launcher from elsewhere
        from tests.benchmarks import recorded

        recorded.write(options.json, "What many nodes cost the launcher, all node programs on one machine", rows)
    return None


def code_with_idle_workers(folder: Path) -> Path:
    code = folder / "code"
    for package in ("launcher", "envcheck"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "worker"))
    (code / "launcher" / "worker").mkdir()
    (code / "launcher" / "worker" / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "cluster" / "stub_worker.py", code / "launcher" / "worker" / "__main__.py")
    return code


def in_a_process(number: int, folder: Path, code: Path) -> dict[str, Any]:
    words = [sys.executable, __file__, str(number), "--one", str(folder)]
    ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(code)}, check=True, stdout=subprocess.PIPE)
    row: dict[str, Any] = json.loads(ended.stdout)
    print("   ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


def one(number: int, folder: Path) -> dict[str, Any]:
    from launcher import launch, store

    (folder / "target.py").write_text("def build(): ...\n")
    settings = {"resources": {"nodes": number}, "local": {"threads": 1}, "preflight": "off"}
    job = {"name": "scale", "task": {"target": "target.py:build"}, **settings}
    training = {"steps": STEPS, "batch_size": number}
    (folder / "job.yaml").write_text(json.dumps({**job, "training": training}))
    began, used = time.monotonic(), time.process_time()
    started: list[float] = []

    def listen(event: Mapping[str, Any]) -> None:
        if event.get("event") == "started":
            started.append(time.monotonic() - began)

    record = launch.run(folder / "job.yaml", [], runs_dir=folder / "runs", resume=None, detach=False, listener=listen)
    took, cpu = time.monotonic() - began, time.process_time() - used
    size = sum(path.stat().st_size for path in Path(record.run_dir).rglob("*") if path.is_file())
    folding = time.monotonic()
    store.record(Path(record.run_dir))
    fold = time.monotonic() - folding
    return {
        "nodes": number,
        "all started, s": round(max(started), 2),
        "to the verdict, s": round(took, 2),
        "launcher's processor time a node, ms": round(1000 * cpu / number, 1),
        "run folder a node, KiB": round(size / number / 1024, 1),
        "folding the record, ms": round(1000 * fold, 2),
        "state": record.state,
    }


if __name__ == "__main__":
    main()
