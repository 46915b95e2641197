"""A server in a thread of this process, and a client that says exactly what it wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np

from launcher import waiting
from launcher.worker.serve import Settings
from launcher.worker.serve.predictor import Arrays, Input, Predictor
from launcher.worker.serve.server import Server

PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Client:
    port: int

    def post(self, inputs: Any, **headers: str) -> Answer:
        return self.send(json.dumps({"inputs": inputs}).encode(), **headers)

    def send(self, body: bytes, **headers: str) -> Answer:
        said = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        return self.ask("POST", "/predict", body, said)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("GET", path, None, headers or {})

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        parsed = json.loads(text) if answer.headers.get_content_type() == "application/json" else text.decode()
        return Answer(answer.status, parsed, dict(answer.headers))


def doubling(compute: Callable[[Arrays], Arrays] | None = None) -> Predictor:
    """Takes samples of three numbers and gives each twice."""
    inputs = (Input(name="input", dtype="float32", shape=(3,)),)
    return Predictor(about="doubling", inputs=inputs, compute=compute or _double)


def _double(arrays: Arrays) -> Arrays:
    with np.errstate(over="ignore"):
        return [arrays[0] * np.float32(2)]


@contextmanager
def served(predictor: Predictor, **settings: Any) -> Iterator[Client]:
    started = threading.Event()
    server = Server(predictor, Settings(port=0, **settings), ready=lambda _port: started.set())
    thread = threading.Thread(target=server.serve_until_stopped)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        until(lambda: server.started)
        yield Client(server.port)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def until(condition: Callable[[], Any]) -> None:
    assert waiting.until(condition, PATIENCE)
