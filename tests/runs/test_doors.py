"""No open door: nothing of a local run can be reached from another machine, and no planted pickle is ever executed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envcheck.namespaces import demand
from tests.runs.conftest import JOB, ROOT, Bench, ended, saved, until

SCAN = """
import selectors, socket, sys
address, found = sys.argv[1], []
for first in range(1, 65536, 500):
    with selectors.DefaultSelector() as waiting:
        for port in range(first, min(first + 500, 65536)):
            tried = socket.socket(); tried.setblocking(False)
            if tried.connect_ex((address, port)) == 0: found.append(port)
            waiting.register(tried, selectors.EVENT_WRITE, port)
        left = 500 if first + 500 < 65536 else 65536 - first
        while left and (ready := waiting.select(timeout=2)):
            for key, _ in ready:
                if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0: found.append(key.data)
                waiting.unregister(key.fileobj); key.fileobj.close(); left -= 1
print(*sorted(set(found)))
"""
HERE, THERE, ADDRESS = "launcher-here", "launcher-there", "10.213.77.1"


@pytest.fixture
def two_machines() -> Iterator[None]:
    """Two network name spaces and a wire between them."""
    demand("namespaces", "ip")
    mine = f"-n {HERE}"
    setup = [
        f"netns add {HERE}",
        f"netns add {THERE}",
        f"link add here netns {HERE} type veth peer name there netns {THERE}",
        f"{mine} addr add {ADDRESS}/24 dev here",
        f"-n {THERE} addr add 10.213.77.2/24 dev there",
        *(f"{mine} link set {name} up" for name in ("lo", "here")),
        f"-n {THERE} link set there up",
    ]
    try:
        for words in setup:
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def scan() -> set[int]:
    """The ports of the first machine that the second one can connect to."""
    words = ["ip", "netns", "exec", THERE, sys.executable, "-c", SCAN, ADDRESS]
    return set(map(int, subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout.split()))


def inside(bench: Bench, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["ip", "netns", "exec", HERE, sys.executable, "-P", "-m", "launcher", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LAUNCHER_RUNS_DIR": str(bench.runs_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_no_port_of_a_local_run_is_reachable_from_another_machine(two_machines: None, bench: Bench) -> None:
    open_door = "import socket, time; s = socket.create_server(('0.0.0.0', 4444)); print(flush=True); time.sleep(300)"
    door = subprocess.Popen(
        ["ip", "netns", "exec", HERE, sys.executable, "-c", open_door], stdout=subprocess.PIPE, text=True
    )
    run = inside(bench, "run", str(JOB), "--nodes", "2", "--procs-per-node", "1", "--set", "task.args.seconds=0.3")
    try:
        assert door.stdout is not None and door.stdout.readline() == "\n"
        assert until(saved(bench, 4)), ended(run)
        assert scan() == {4444}, "the open door beside the run must be found, and nothing else"
        assert run.poll() is None
    finally:
        door.kill()
        door.communicate()
        run.terminate()
        run.communicate(timeout=60)


@pytest.mark.long
def test_a_planted_pickle_is_never_executed(bench: Bench, tmp_path: Path) -> None:
    run = bench.start("run", str(JOB), "--set", "task.args.seconds=0.05")
    assert until(saved(bench, 8)), ended(run)
    run.kill()
    ended(run)
    assert until(lambda: not bench.left_behind(), 10)
    canary = tmp_path / "canary"
    bomb = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    whole = tmp_path / "whole"
    shutil.copytree(bench.folder(), whole)
    names = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.suffix != ".log"]
    for name in names:
        (bench.folder() / name).write_bytes(bomb)
    for words in (("runs",), ("show", "latest"), ("logs", "latest"), ("resume", "latest"), ("reproduce", "latest")):
        done = bench.call(*words)
        assert "Traceback" not in done.stderr, (words, done.stderr)
    shutil.copy(whole / "plan.json", bench.folder() / "plan.json")
    assert bench.call("resume", "latest").exit_code == 0
    assert not canary.exists()
    assert len(json.loads((whole / "plan.json").read_text())) > 5
