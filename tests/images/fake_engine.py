"""A fake Docker engine: answers over a socket as a real one would, for engines that cannot be had here."""

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import docker
import pytest

DIGEST = "sha256:" + "a" * 64
GOOD: dict[str, Any] = {
    "/_ping": "OK",
    "/version": {"Version": "26.1.5", "ApiVersion": "1.45"},
    "/info": {
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "Runtimes": {"runc": {}},
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "CDISpecDirs": [],
    },
    "/events": {"Action": "kill", "Actor": {"Attributes": {"name": "another-1-0", "signal": "9"}}},
    "/containers/json": [],
    f"/images/{DIGEST}/json": {
        "Id": DIGEST,
        "Architecture": "amd64",
        "Config": {"Labels": {"launcher.variant": "cu130"}},
    },
}


@contextlib.contextmanager
def answering(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Iterator[None]:
    """DOCKER_HOST names an engine of that state: `info={...}` lays over what a good one says, by the path's name.

    A docker command is there, too; it does nothing.
    """
    (folder / "docker").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(folder))
    state = {path: _laid_over(answer, answers.get(path.split("/")[1])) for path, answer in GOOD.items()}

    connect = docker.from_env

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            known = [name for name in state if path.endswith(name)]
            body = state[known[0]] if known else {"message": f"no such image: {path}"}
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_HEAD = do_GET  # noqa: N815 (so http.server asks for it)

        def log_message(self, *_words: object) -> None:
            return

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            return self.socket.accept()[0], ("local", 0)

    with Server(str(folder / "engine.sock"), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/engine.sock")
        clients: list[Any] = []
        monkeypatch.setattr("docker.from_env", lambda **options: clients.append(connect(**options)) or clients[-1])
        yield
        server.shutdown()
        for client in clients:
            client.close()


def _laid_over(answer: Any, other: Any) -> Any:
    return {**answer, **other} if other else answer
