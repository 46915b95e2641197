"""Serves the run's newest figures to Prometheus, on loopback: http://127.0.0.1:PORT/metrics."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from launcher.trackers import Run

_GAUGES = {"step": "step", "epoch": "epoch", "loss": "loss", "steps_per_second": "steps_per_second"}
"""What a progress event brings."""


class Endpoint:
    def __init__(self, run: Run) -> None:
        self._label = f'run="{run.run_id}"'
        self._values: dict[str, float] = {}
        self._checkpoint_time: float | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", run.port or 0), self._handler())
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._values |= {**values, "step": float(step)}

    def event(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "progress":
            self._values |= {name: event[key] for key, name in _GAUGES.items() if event.get(key) is not None}
        elif event.get("event") == "checkpoint":
            self._checkpoint_time = datetime.fromisoformat(event["time"]).timestamp()

    def flush(self) -> None:
        pass

    def close(self, state: str) -> None:
        self._server.shutdown()
        self._server.server_close()

    def text(self) -> str:
        """In Prometheus' text format."""
        values = dict(self._values)
        if self._checkpoint_time is not None:
            values["checkpoint_age_seconds"] = time.time() - self._checkpoint_time
        samples = {_name(key): [(self._label, float(value))] for key, value in values.items()}
        samples["gpu_busy_ratio"] = [(f'{self._label},gpu="{gpu}"', busy) for gpu, busy in _gpus()]
        return "".join(
            f"# TYPE launcher_{name} gauge\n"
            + "".join(f"launcher_{name}{{{labels}}} {value!r}\n" for labels, value in of_name)
            for name, of_name in samples.items()
            if of_name
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/metrics"
                body = endpoint.text().encode() if found else b"see /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


begin = Endpoint


def _name(key: str) -> str:
    return re.sub(r"\W", "_", key)


def _gpus() -> Iterator[tuple[int, float]]:
    """How busy each GPU of this machine is; none where NVML is not there."""
    import pynvml

    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for gpu in range(pynvml.nvmlDeviceGetCount()):
            yield gpu, pynvml.nvmlDeviceGetUtilizationRates(pynvml.nvmlDeviceGetHandleByIndex(gpu)).gpu / 100
