"""Requests a second of `launcher serve` beside a FastAPI handler written by hand, asked by a process of its own.

    python tests/benchmarks/serve.py [--clients 16] [--seconds 5] [--rounds 3] [--json FILE]

Both serve the same network, in turn; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from launcher.worker.serve import Settings
from launcher.worker.serve.predictor import of_run
from launcher.worker.serve.server import Server
from launcher.worker.trained import Trained
from tests.benchmarks import recorded


class Asked(BaseModel):
    inputs: list[list[float]]


def network() -> nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)).eval()


def by_hand(port: int) -> None:
    app, model = FastAPI(), network()

    @app.post("/predict")
    def predict(asked: Asked) -> dict[str, list[list[float]]]:
        with torch.inference_mode():
            return {"outputs": model(torch.tensor(asked.inputs)).tolist()}

    uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical")).run()


def ours(port: int) -> None:
    trained = Trained(
        run_id="bench", checkpoint="", step=0, name="", module=network(), args=(torch.zeros(2, 64),), kwargs={}
    )
    settings = Settings(port=port, latency=0.001)
    Server(of_run(trained), settings, ready=lambda _: None).serve_until_stopped()


def rate(serve: Callable[[int], None], clients: int, seconds: float) -> float:
    """Requests of one sample a second, each answered by 200."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=serve, args=(port,))
    process.start()
    body = json.dumps({"inputs": [np.linspace(0, 1, 64).tolist()]})
    counts: list[int] = []

    def ask() -> None:
        connection, done, until = HTTPConnection("127.0.0.1", port, timeout=60), 0, time.monotonic() + seconds
        while time.monotonic() < until:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            done += answer.status == 200
        counts.append(done)
        connection.close()

    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.1)
        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        process.kill()
        process.join()
    return sum(counts) / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rates = [
        (rate(by_hand, options.clients, options.seconds), rate(ours, options.clients, options.seconds))
        for _ in range(options.rounds)
    ]
    for plain, batched in rates:
        print(f"by hand {plain:7.0f}/s   launcher serve {batched:7.0f}/s   ratio {batched / plain:.2f}")
    ratios = sorted(batched / plain for plain, batched in rates)
    print(f"median ratio {statistics.median(ratios):.2f} on {os.cpu_count()} cores")
    if options.json:
        plain, batched = (round(statistics.median(each)) for each in zip(*rates, strict=True))
        answers = {"clients": options.clients, "answers/s, by hand": plain, "answers/s, launcher serve": batched}
        spread = {"ratio": round(statistics.median(ratios), 2), "from, to": [round(ratios[0], 2), round(ratios[-1], 2)]}
        recorded.write(options.json, "launcher serve beside a FastAPI handler written by hand", [answers | spread])


if __name__ == "__main__":
    main()
