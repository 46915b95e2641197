"""Runs the application under uvicorn until it is told to stop, and lets what is under way end first."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from launcher.errors import EnvironmentUnfit, JobFailed
from launcher.worker.serve import Settings, app
from launcher.worker.serve.predictor import Predictor

MOST_CONNECTIONS = 512
IDLE = 10
"""Seconds for which a connection that asks nothing is kept."""


class Server(uvicorn.Server):
    """Ends on SIGTERM or Ctrl-C without passing the signal on: a server that has drained has done its work."""

    def __init__(self, predictor: Predictor, settings: Settings, *, ready: Callable[[int], None]) -> None:
        self._socket = _bound(settings)
        self.port: int = self._socket.getsockname()[1]
        self._app = app.make(predictor, settings)
        self._ready = ready
        super().__init__(
            uvicorn.Config(
                self._app,
                lifespan="on",
                log_level="critical",
                access_log=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=round(settings.drain),
            )
        )

    def serve_until_stopped(self) -> None:
        """Raises JobFailed where the first prediction fails."""
        try:
            self.run(sockets=[self._socket])
        except SystemExit:  # uvicorn's own, where the application did not start
            pass
        finally:
            self._socket.close()
        if (failure := self._app.state.failure) is not None:
            raise JobFailed(f"the model's first prediction failed: {type(failure).__name__}: {failure}") from failure

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready(self.port)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _bound(settings: Settings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise EnvironmentUnfit(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror})",
            hint="--port 0 takes a free one, --host another address",
        ) from error
    return listener
