"""Stands in for `launcher.worker` where only processes matter: an agent without torch, with ranks that step, save
nothing, and have a child each that nothing but the node program would end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from launcher.heartbeat import STEP, Heart

SECONDS = 0.05
stopped = []


def main() -> None:
    if "--probe" in sys.argv:
        print(json.dumps({"probe": {"absent": "a stand-in has no torch"}}), flush=True)
    request = json.loads(sys.stdin.readline())
    plan, node = request["plan"], request["node_rank"]
    os.environ.update(request["env"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # meant for ranks, as the real agent has it
    signal.signal(signal.SIGUSR1, lambda *_: stopped.append(True))
    subprocess.Popen(["setsid", "sleep", "3600"])
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the roll call
    ranks = range(node * plan["procs_per_node"], (node + 1) * plan["procs_per_node"])
    for rank in ranks:
        say(event="ready", rank=rank, pid=os.getpid())
    for key in plan["spec"]["task"]["args"].get("show", []):
        print(f"{key}={os.environ.get(key)}", file=log(plan, ranks[0]), flush=True)
    hearts = [Heart(local, len(ranks)) for local in range(len(ranks))]
    steps = plan["spec"]["training"]["steps"]
    for step in range(1, steps + 1):
        for heart in hearts:
            heart.beat(step, STEP)
        say(event="progress", rank=ranks[0], step=step, epoch=1, total_steps=steps)
        print(f"rank {ranks[0]} step {step}", file=log(plan, ranks[0]), flush=True)
        if stopped:
            break
        time.sleep(SECONDS)
    for rank in ranks:
        outcome = {"rank": rank, "state": "stopped" if stopped else "done", "step": step, "epoch": 1, "metrics": {}}
        path = Path(plan["run_dir"], "attempts", str(plan["attempt"]), f"rank-{rank}.json")
        path.write_text(json.dumps({**outcome, "time_ns": time.time_ns(), "checkpoint": None, "weights_sha256": None}))


def say(**event: object) -> None:
    os.write(int(os.environ["LAUNCHER_EVENTS_FD"]), json.dumps(event).encode() + b"\n")


def log(plan: dict, rank: int):  # type: ignore[no-untyped-def,type-arg]
    return Path(plan["run_dir"], "logs", f"attempt-{plan['attempt']}", f"rank-{rank}.log").open("a")


main()
