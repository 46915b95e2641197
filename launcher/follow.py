"""Stands for the node program of a pod: waits until Kubernetes runs it, passes its lines on, and ends the attempt's
pods when the launcher asks for it or is gone.

What Kubernetes says against a pod goes to standard error; the exit code, one of `backends.kubernetes.LOST`, classes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import sys
import time
from collections.abc import Mapping
from typing import Any

from launcher import shell
from launcher.backends import kubectl
from launcher.wire import Inbox

ASK_EVERY = 1.0
"""Seconds between questions to the cluster about a pod."""
LOST, NOT_STARTED = 124, 125

# Why a container waits that will wait for ever.
HOPELESS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
)


def main(rank: int, job: str, resource: str, command: list[str]) -> int:
    inbox = Inbox(sys.stdin.fileno())
    inbox.first()  # the request of this pod stands in the manifest
    os.set_blocking(inbox.descriptor, False)
    return Follower(rank, job, resource, command, inbox).run()


class Follower:
    """One pod, from the queue to its end."""

    def __init__(self, rank: int, job: str, resource: str, command: list[str], inbox: Inbox) -> None:
        self._rank = rank
        self._job = job
        self._resource = resource
        self._command = command
        self._inbox = inbox
        self._told: set[str] = set()
        self._ending = False
        self._has_exited = False
        self._second = b""
        self._lines: set[bytes] = set()

    def run(self) -> int:
        """The exit code of the pod's program, or one that says why there is none."""
        while not self._inbox.closed:
            pod = kubectl.pod(self._command, self._job, self._rank)
            container = _container(pod or {})
            if pod == {} and (self._ending or self._second):
                return 0 if self._has_exited else self._give_up("its pod is gone", LOST)
            if pod and "terminated" in container:
                return self._ended(pod["metadata"]["name"], container["terminated"])
            if pod and pod["status"].get("phase") == "Failed":
                return self._give_up(_reason(pod["status"]), LOST)
            if container.get("waiting", {}).get("reason") in HOPELESS:
                return self._give_up(_reason(container["waiting"]), NOT_STARTED)
            if pod and "running" in container:
                self._follow(pod["metadata"]["name"])
            self._tell_why_it_waits(pod or {})
            self._hear()
            time.sleep(ASK_EVERY)
        return 0

    def _ended(self, pod: str, how: Mapping[str, Any]) -> int:
        self._follow(pod, live=False)
        if self._has_exited or how["exitCode"] < LOST:
            return int(how["exitCode"])
        return self._give_up(f"{how.get('reason', 'Error')}, exit code {how['exitCode']}", LOST)

    def _give_up(self, reason: str, code: int) -> int:
        print(reason, file=sys.stderr, flush=True)
        return code

    def _tell_why_it_waits(self, pod: Mapping[str, Any]) -> None:
        """Once for each reason: a queue may be long, and the reason is what the user can mend."""
        for condition in pod.get("status", {}).get("conditions", ()):
            reason = f"{condition.get('reason')}: {condition.get('message')}"
            if condition.get("reason") == "Unschedulable" and reason not in self._told:
                self._told.add(reason)
                _say({"event": "warning", "text": f"node {self._rank} waits for a machine: {reason}"})

    def _hear(self) -> None:
        """The launcher's lines: a stop, an end, or the end of the lines ends the attempt's pods; they save first."""
        asked = any(message.keys() & {"stop", "end"} for message in self._inbox.read())
        if (asked or self._inbox.closed) and not self._ending:
            self._ending = True
            kubectl.end(self._command, self._resource)

    def _follow(self, pod: str, *, live: bool = True) -> None:
        """Pass the pod's lines on until the connection or the pod ends; those that were passed on before are not."""
        since = [f"--since-time={self._second.decode()}Z"] if self._second else []
        follow = ["--follow", "--request-timeout=0"] if live else []
        process = shell.start([*self._command, "logs", pod, "--timestamps", *follow, *since], env=os.environ)
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 (shell.start gives pipes)
        process.stdin.close()
        with contextlib.closing(process.stdout) as stream, selectors.DefaultSelector() as selector:
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
            selector.register(self._inbox.descriptor, selectors.EVENT_READ)
            part = b""
            while not self._inbox.closed:
                ready = {key.fd for key, _ in selector.select(timeout=ASK_EVERY)}
                if self._inbox.descriptor in ready:
                    self._hear()
                if stream.fileno() in ready:
                    data = os.read(stream.fileno(), 1 << 16)
                    if not data:
                        break
                    *whole, part = (part + data).split(b"\n")
                    for line in whole:
                        self._pass_on(line)
        process.kill()
        process.wait()

    def _pass_on(self, line: bytes) -> None:
        if line in self._lines:
            return
        if line[:19] != self._second:
            self._second, self._lines = line[:19], set()
        self._lines.add(line)
        text = line.partition(b" ")[2]
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if isinstance(message, dict) and "event" in message:
            self._has_exited |= message["event"] == "exited"
            _say(message)
        else:
            sys.stderr.buffer.write(text + b"\n")
            sys.stderr.flush()


def _container(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The state of the pod's one container: waiting, running or terminated; empty before it has one."""
    for status in pod.get("status", {}).get("containerStatuses", ()):
        return dict(status["state"])
    return {}


def _reason(status: Mapping[str, Any]) -> str:
    return ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key)) or "no reason given"


def _say(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
