"""A fake of kubectl and of the cluster behind it: pods are processes on a network of their own, a Job is tried once.

It takes what a cluster would take, keeps its objects as files in FAKE_CLUSTER, runs each pod's arguments with its
volumes where the manifest mounts them, sends SIGTERM on deletion and SIGKILL when the grace is over. It needs root, for
name spaces. What it cannot do it refuses, so that no test passes by its silence.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import yaml

CLUSTER = Path(os.environ["FAKE_CLUSTER"])
INDEX = "batch.kubernetes.io/job-completion-index"


def main(words: list[str]) -> None:
    flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--") and "=" in word)
    switches = {word for word in words if word.startswith("--") and "=" not in word}
    verb, *rest = [word for word in words if not word.startswith("--")]
    if (CLUSTER / "down").exists():
        sys.exit("The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?")
    if verb == "apply" and switches == {"--filename"}:
        apply(list(yaml.safe_load_all(Path(rest[0]).read_text())))
    elif verb == "get" and rest == ["pods"] and flags["output"] == "json":
        print(json.dumps({"items": [pod for pod in pods() if selected(pod, flags["selector"])]}))
    elif verb == "logs" and "--timestamps" in switches:
        logs(rest[0], "--follow" in switches, flags.get("since-time", ""))
    elif verb == "delete" and "selector" in flags:
        delete([item for item in objects() if selected(item, flags["selector"])], wait=True)
    elif verb == "delete":
        kind, name = rest[0].split("/")
        delete([item for item in objects() if item["kind"].lower() == kind and item["metadata"]["name"] == name])
    else:
        sys.exit(f"the fake kubectl does not know: {words}")


def apply(items: list[dict]) -> None:  # type: ignore[type-arg]
    for item in items:
        name = item["metadata"]["name"]
        beside = CLUSTER / f".{item['kind']}.{name}"
        beside.write_text(json.dumps(item))
        beside.replace(CLUSTER / f"{item['kind']}.{name}.json")
        print(f"{item['kind'].lower()}/{name} created")


def controller() -> None:
    """Starts a kubelet for each Job; it is the parent of all of them, and they end with it."""
    known: set[str] = set()
    while True:
        for name in {item["metadata"]["name"] for item in objects() if item["kind"] == "Job"} - known:
            known.add(name)
            words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
            subprocess.Popen([*words, "--mount-proc", sys.executable, __file__, "kubelet", name])
        time.sleep(0.05)


def kubelet(name: str) -> None:
    """Runs the pods of a Job, and ends them all when one fails or the Job is deleted."""
    job = json.loads((CLUSTER / f"Job.{name}.json").read_text())
    spec = job["spec"]["template"]["spec"]
    total = job["spec"]["completions"]
    if spec["containers"][0]["image"].endswith("@sha256:" + "0" * 64):
        for rank in range(total):
            waits = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
            describe(job, rank, {"phase": "Pending"}, {"waiting": waits})
        return
    network(name, total)
    volumes(spec, json.loads((CLUSTER / f"ConfigMap.{name}.json").read_text()))
    running = {rank: start(job, rank) for rank in range(total)}
    grace: float | None = None
    while running:
        for rank, process in list(running.items()):
            code = process.poll()
            if code is not None:
                del running[rank]
                how = {"exitCode": code if code >= 0 else 128 - code, "reason": "Completed" if code == 0 else "Error"}
                describe(job, rank, {"phase": "Failed" if code else "Succeeded"}, {"terminated": how})
                if code and not grace:
                    grace = ended(running, spec)
        if not (CLUSTER / f"Job.{name}.json").exists() and not grace:
            grace = ended(running, spec)
        if grace and time.monotonic() > grace:
            for process in running.values():
                process.kill()
        time.sleep(0.05)
    if not (CLUSTER / f"Job.{name}.json").exists():
        for path in CLUSTER.glob(f"Pod.{name}-*"):
            path.unlink()


def ended(running: dict[int, subprocess.Popen[bytes]], spec: dict) -> float:  # type: ignore[type-arg]
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    return time.monotonic() + float(spec["terminationGracePeriodSeconds"])


def network(name: str, total: int) -> None:
    for words in (
        "link set lo up",
        "link add eth0 type veth peer name eth1",
        "addr add 10.9.0.1/24 dev eth0",
        "link set eth0 up",
        "link set eth1 up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    hosts = CLUSTER / f"hosts.{name}"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"10.9.0.1 {name}-{rank}.{name}\n" for rank in range(total)))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


def volumes(spec: dict, given: dict) -> None:  # type: ignore[type-arg]
    """Every volume of this cluster is mounted under /mnt, or is this machine's own."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True)
    sources = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in spec["containers"][0]["volumeMounts"]:
        volume, place = sources[mount["name"]], Path(mount["mountPath"])
        if "emptyDir" in volume:
            continue
        place.mkdir()
        if "configMap" in volume:
            for file, text in given["data"].items():
                (place / file).write_text(text)
        else:
            subprocess.run(
                ["mount", "--bind", CLUSTER / "claims" / volume["persistentVolumeClaim"]["claimName"], place],
                check=True,
            )


def start(job: dict, rank: int) -> subprocess.Popen[bytes]:  # type: ignore[type-arg]
    name, container = job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"][0]
    words = [sys.executable if word == "python" else word for word in container["args"]]
    secrets = {}
    for source in container.get("envFrom", ()):
        secrets = json.loads((CLUSTER / f"Secret.{source['secretRef']['name']}.json").read_text())
    image = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["FAKE_IMAGE"], "JOB_COMPLETION_INDEX": str(rank)}
    with (CLUSTER / f"{name}-{rank}.log").open("wb") as log:
        process = subprocess.Popen(
            words,
            cwd=container["workingDir"],
            env=image | secrets,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    describe(job, rank, {"phase": "Running"}, {"running": {}})
    return process


def describe(job: dict, rank: int, status: dict, container: dict) -> None:  # type: ignore[type-arg]
    name = f"{job['metadata']['name']}-{rank}-abcde"
    labels = {**job["spec"]["template"]["metadata"]["labels"], INDEX: str(rank)}
    status = {**status, "containerStatuses": [{"state": container}]}
    text = json.dumps({"kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": status})
    beside = CLUSTER / f".{name}"
    beside.write_text(text)
    beside.replace(CLUSTER / f"Pod.{name}.json")


def objects() -> list[dict]:  # type: ignore[type-arg]
    found = []
    for path in CLUSTER.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            found += [json.loads(path.read_text())] if not path.name.startswith("Secret") else []
    return found


def pods() -> list[dict]:  # type: ignore[type-arg]
    return [item for item in objects() if item["kind"] == "Pod"]


def selected(item: dict, selector: str) -> bool:  # type: ignore[type-arg]
    key, _, value = selector.partition("=")
    return bool(item["metadata"]["labels"].get(key) == value)


def delete(items: list[dict], *, wait: bool = False) -> None:  # type: ignore[type-arg]
    """The kubelet ends the pods of a Job that is gone, and takes them off the list."""
    for item in items:
        if item["kind"] != "Pod":
            (CLUSTER / f"{item['kind']}.{item['metadata']['name']}.json").unlink(missing_ok=True)
    names = [(item["kind"], item["metadata"]["name"]) for item in items]
    jobs = {name if kind == "Job" else name.rsplit("-", 2)[0] for kind, name in names if kind in ("Job", "Pod")}
    deadline = time.monotonic() + 120
    while wait and any(alive(name) for name in jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    for path in (path for name in jobs for path in CLUSTER.glob(f"Pod.{name}-*") if wait):
        path.unlink(missing_ok=True)


def alive(job: str) -> bool:
    found = (pod for pod in pods() if pod["metadata"]["name"].startswith(f"{job}-"))
    return any("running" in pod["status"]["containerStatuses"][0]["state"] for pod in found)


def logs(pod: str, follow: bool, since: str = "") -> None:
    """Lines with a time in front, the same at every reading: it grows with the place in the log."""
    place, part = 0, b""
    with (CLUSTER / f"{pod.rpartition('-')[0]}.log").open("rb") as lines:
        while True:
            last = not (CLUSTER / f"Pod.{pod}.json").exists() or not alive(pod.rsplit("-", 2)[0])
            for line in lines:
                part += line
                place += len(line)
                if part.endswith(b"\n"):
                    stamp = f"{datetime.fromtimestamp(1.8e9 + place / 1000, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
                    if stamp[:19] >= since[:19]:
                        sys.stdout.buffer.write(f"{stamp} ".encode() + part)
                    part = b""
            sys.stdout.flush()
            if last or not follow:
                return
            time.sleep(0.05)


if __name__ == "__main__":
    {"controller": controller, "kubelet": lambda: kubelet(sys.argv[2])}.get(sys.argv[1], lambda: main(sys.argv[1:]))()
