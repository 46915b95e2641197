"""What many nodes cost the launcher: N node programs on this machine with workers that compute nothing.

    python tests/benchmarks/scale.py [8 32 128]

Prints, for each N: seconds until the first and the last node program is started and to the verdict, the launcher's
own CPU seconds in all and a node, bytes of the run folder a node, and the time to fold the record. Judges nothing.
"""

from __future__ import annotations

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


def main(numbers: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        for package in ("launcher", "envcheck"):
            shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "worker"))
        (code / "launcher" / "worker").mkdir()
        (code / "launcher" / "worker" / "__init__.py").touch()
        shutil.copy(ROOT / "tests" / "cluster" / "stub_worker.py", code / "launcher" / "worker" / "__main__.py")
        print("nodes  first start  last start  verdict  launcher CPU  a node  record a node  fold")
        for number in numbers:
            words = [sys.executable, __file__, "--one", str(number), folder]
            subprocess.run(words, env={**os.environ, "PYTHONPATH": str(code)}, check=True)


def one(number: int, folder: Path) -> None:
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
    print(
        f"{number:5}  {min(started):9.2f} s  {max(started):8.2f} s  {took:5.1f} s  {cpu:10.2f} s"
        f"  {cpu / number * 1000:4.0f} ms  {size / number / 1024:9.1f} KiB  {fold * 1000:.1f} ms  {record.state}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main([int(word) for word in sys.argv[1:]] or [8, 32, 128])
