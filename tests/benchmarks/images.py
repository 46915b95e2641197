"""Our image beside the naive one: a single stage, `FROM` a Debian with Python, `pip install torch` and the project.

    python tests/benchmarks/images.py [VARIANT] [--json FILE]

Both stand on the same bootstrapped Debian and take the same wheels from a folder, so neither a download nor the
bootstrap is in the figures; the naive one names its packages without versions, as most do. Builds and containers of
the two take turns. Prints the medians with their ratios and judges nothing. On a busy machine the clock tells little of
a start, and the processor time more.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from launcher.images import build, engine, locks, versions, wheels
from tests.benchmarks import recorded

PIP = 'PYTHONPATH="$(echo /wheels/pip-*.whl)" PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_INDEX=1 python3 -m pip install -q'
NAIVE = f"""\
FROM scratch
ADD debian-runtime.tar /
COPY requirements.txt /
RUN --mount=type=bind,from=wheels,target=/wheels {PIP} --find-links /wheels -r /requirements.txt
COPY project /app
RUN --mount=type=bind,from=wheels,target=/wheels {PIP} --no-build-isolation --no-deps /app
WORKDIR /app
"""
KINDS = ("naive", "launcher")
COLD_BUILDS, STARTS = 2, 5
ROWS = {
    "build, nothing cached": ("cold", "{:.0f} s"),
    "build, one source file changed": ("changed", "{:.1f} s"),
    "build, nothing changed": ("unchanged", "{:.1f} s"),
    "size, unpacked": ("gigabytes", "{:.2f} GB"),
    "container start to first training step": ("first step", "{:.1f} s"),
    "the same, of processor time": ("first step's processor time", "{:.1f} s"),
}


def main(name: str, report: Path | None) -> None:
    variant = versions.read().variant(name)
    with tempfile.TemporaryDirectory() as scratch:
        rows = compared(_measured(variant, Path(scratch)))
    print("\n".join("  ".join(map(str, row.values())) for row in rows))
    if report:
        recorded.write(report, f"The {name} image beside a naive one, of the same base and wheels", rows)


def compared(figures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a figure: the median of each of the two, and ours by theirs."""
    rows = []
    for title, (key, form) in ROWS.items():
        theirs, ours = (statistics.median(figures[kind][key]) for kind in KINDS)
        ratio = round(ours / theirs, 2)
        rows.append({"figure": title, "naive": form.format(theirs), "launcher": form.format(ours), "ratio": ratio})
    same = {kind: "the same" if len(set(figures[kind]["digests"])) == 1 else "others" for kind in KINDS}
    return [*rows, {"figure": f"digests of {COLD_BUILDS} builds, nothing cached", **same, "ratio": "–"}]


def _measured(variant: versions.Variant, scratch: Path) -> dict[str, dict[str, list[Any]]]:
    context = scratch / "context"
    commands = _commands(variant, context, scratch / "said.json")
    figures: dict[str, dict[str, list[Any]]] = {
        kind: {"digests": [], **{key: [] for key, _ in ROWS.values()}} for kind in KINDS
    }
    try:
        for _ in range(COLD_BUILDS):
            for kind in KINDS:
                figures[kind]["cold"].append(_seconds([*commands[kind], "--no-cache"]))
                said = json.loads((scratch / "said.json").read_text())
                figures[kind]["digests"].append(said["containerimage.config.digest"])
        for kind in KINDS:
            with (context / "project" / "launcher" / "__init__.py").open("a") as source:
                source.write(f"# changed before the last build of {kind}\n")
            figures[kind]["changed"].append(_seconds(commands[kind]))
            figures[kind]["unchanged"].append(_seconds(commands[kind]))
            figures[kind]["gigabytes"].append(_gigabytes(kind))
        for _ in range(STARTS):
            for kind in KINDS:
                taken = _first_step(kind, scratch)
                figures[kind]["first step"].append(taken[0])
                figures[kind]["first step's processor time"].append(taken[1])
    finally:
        subprocess.run(["docker", "rmi", "--force", *map(_name, KINDS)], capture_output=True, check=False)
    return figures


def _commands(variant: versions.Variant, context: Path, said: Path) -> dict[str, list[str]]:
    """How each of the two is built, from one staged context."""
    pins = versions.read()
    lock, tools = locks.read(ROOT, variant.name), locks.tools(ROOT, pins, variant)
    folder = build.cache() / "wheels" / variant.name
    fetched = wheels.fetch(pins, variant, lock + tools, platform.machine(), folder)
    base = max((build.cache() / "bases").glob("*/debian-runtime.tar"), key=lambda path: path.stat().st_mtime)
    build._stage(ROOT, context, {"lock.txt": lock, "tools.txt": tools}, {"runtime": base})
    names = [pin.name for pin in locks.parse(lock) if locks.applies(pin, platform.machine())]
    (context / "requirements.txt").write_text("\n".join(names) + "\n")
    (context / "Dockerfile.naive").write_text(NAIVE)
    ours = build._command(pins, build.Request(variant=variant), {}, context, fetched, said)
    ours[ours.index("--tag") + 1] = _name("launcher")
    naive = ["docker", "buildx", "build", "--provenance=false", "--network=none", "--metadata-file", str(said)]
    naive += ["--build-context", f"wheels={fetched}", "--file", str(context / "Dockerfile.naive")]
    return {"naive": [*naive, "--tag", _name("naive"), str(context)], "launcher": ours}


def _name(kind: str) -> str:
    return f"benchmark-{kind}:latest"


def _seconds(argv: list[str]) -> float:
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr[-3000:]}\nthe build ended with {done.returncode}")
    return round(time.monotonic() - began, 2)


def _gigabytes(kind: str) -> float:
    history = engine.connect().images.get(_name(kind)).history()
    return round(sum(int(layer["Size"]) for layer in history) / 1e9, 3)


def _first_step(kind: str, scratch: Path) -> tuple[float, float]:
    """Seconds from `docker run` until the run's ledger holds a step, and the container's processor time until then."""
    runs, name = Path(tempfile.mkdtemp(dir=scratch)), f"benchmark-{kind}"
    options = ["--detach", "--name", name, "--user", "0:0", "--volume", f"{runs}:/runs"]
    began = time.monotonic()
    subprocess.run(
        ["docker", "run", *options, _name(kind), "launcher", "run", "jobs/mlp.yaml", "--runs-dir", "/runs"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    container = engine.connect().containers.get(name)
    try:
        while not any(ledger.stat().st_size for ledger in runs.glob("*/ledger.jsonl")):
            container.reload()
            if container.status != "running":
                raise SystemExit(f"{name}: the job ended before its first step: {container.logs().decode()}")
            time.sleep(0.02)
        taken = time.monotonic() - began
        used = container.stats(stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]["total_usage"]
    finally:
        container.remove(force=True)
    shutil.rmtree(runs)
    return round(taken, 2), round(used / 1e9, 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default=versions.read().default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    main(options.variant, options.json)
