"""The kubernetes backend: its manifest against the API's own schemas, and runs on a fake cluster of real processes."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from launcher import plan
from launcher.backends import kubernetes, manifest
from launcher.errors import LauncherError
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec, KubernetesOptions, Resources, TaskSpec, Training
from tests.cluster import lab as laboratory
from tests.cluster.conftest import Run
from tests.cluster.lab import until

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "registry.example.org/team/launcher@sha256:" + "a" * 64


def spec(**options: Any) -> JobSpec:
    settings = {"job_dir": "/workspace/jobs", "claim": "runs", **options}
    return JobSpec(
        name="gpt",
        task=TaskSpec(target="t.py:f"),
        training=Training(steps=1, batch_size=64, precision="bf16"),
        resources=Resources(nodes=2),
        backend="kubernetes",
        image=IMAGE,
        kubernetes=KubernetesOptions(**settings),
    )


def planned(**options: Any) -> Plan:
    asked = spec(**{"gpus": 4, "cpus": 32, "memory": "200Gi", "shm": "16Gi", "secret": "wandb", **options})
    return plan.make(
        asked,
        run_id="gpt-20261121T120000-ab12",
        run_dir=Path("/home/me/runs/gpt-20261121T120000-ab12"),
        job_dir=Path("/home/me"),
        machine=kubernetes.machine(asked),
    )


def written(made: Plan) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(kubernetes.render(made).files[kubernetes.FILE]))


@pytest.mark.parametrize("kind", ["job", "jobset"])
def test_the_manifest_is_readable_and_holds_nothing_but_what_was_asked_for(kind: str) -> None:
    text = manifest.text(manifest.objects(planned(kind=kind), {"plan": "what every backend's nodes are told"}))
    golden = GOLDEN / f"kubernetes-{kind}.yaml"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(text)
    assert text == golden.read_text(), "UPDATE_GOLDEN=1 renews it"


@pytest.mark.parametrize("version", ["1.30", "1.36"])
def test_each_object_is_valid_by_the_schema_of_the_api(version: str) -> None:
    for item in written(planned()):
        kubernetes_validate.validate(item, version, strict=True)


def test_the_schema_would_find_a_key_that_is_not_of_the_api() -> None:
    job = written(planned())[-1]
    job["spec"]["completion_mode"] = "Indexed"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.36", strict=True)


def test_the_jobset_is_read_whole_by_jobsets_own_types() -> None:
    from kubeflow_trainer_api.models import JobsetV1alpha2JobSet

    jobset = written(planned(kind="jobset"))[-1]
    read = JobsetV1alpha2JobSet.from_dict(jobset)
    assert read is not None and read.to_dict() == jobset


def test_pods_have_no_more_rights_than_they_need() -> None:
    pod = written(planned())[-1]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["privileged"] and container["resources"]["limits"]["nvidia.com/gpu"] == "4"


@pytest.mark.parametrize("run", ["9-a.b_C" * 9, "_", "gpt"])
def test_every_name_of_a_run_becomes_one_that_kubernetes_takes(run: str) -> None:
    made = dataclasses.replace(planned(kind="jobset"), run_id=f"{run}-20261121T120000-ab12", nodes=4096, attempt=99)
    for label in manifest.hosts(made)[-1].split("."):
        assert len(label) <= 63 and label[0].isalpha() and label.replace("-", "").isalnum() and label.islower(), label


WRONG = {
    "an image without a digest": ({"image": "cpu"}, "pulls it by its digest"),
    "no folder": ({"job_dir": None}, "kubernetes.job_dir"),
    "no claim": ({"claim": None}, "kubernetes.claim"),
    "memory that is none": ({"memory": "much"}, "kubernetes.memory"),
    "a claim by a name that is none": ({"claim": "a b\n"}, "kubernetes.claim"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_job_that_pods_could_not_run_is_refused_with_a_remedy(wrong: str) -> None:
    settings, sentence = WRONG[wrong]
    image = settings.get("image", IMAGE)
    options = {key: value for key, value in settings.items() if key != "image"}
    with pytest.raises(LauncherError, match=sentence) as refusal:
        kubernetes.settle(dataclasses.replace(spec(**options), image=image), Path("job.yaml"))
    assert refusal.value.exit_code == 2 and refusal.value.hint


class Cluster:
    """The fake kubectl on a PATH, and what it keeps."""

    def __init__(self, path: Path, image: Path) -> None:
        self.path = path
        self.claim = path / "claims" / "runs"
        self.claim.mkdir(parents=True)
        (path / "bin").mkdir()
        script = path / "bin" / "kubectl"
        fake = Path(__file__).with_name("fake_kubectl.py")
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {fake} "$@"\n')
        script.chmod(0o755)
        self.environment = {
            "FAKE_CLUSTER": str(path),
            "FAKE_IMAGE": str(image),
            "PATH": f"{path / 'bin'}:{os.environ['PATH']}",
        }
        with (path / "kubelet.log").open("w") as log:
            self._controller = subprocess.Popen(
                [*laboratory.DIE_WITH_TESTS, sys.executable, fake, "controller"],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )

    def objects(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("*.json") if not path.name.startswith("Secret"))

    def pod(self, rank: int) -> int:
        """The pid of a pod's first process."""
        marks = (str(self.path).encode(), b"JOB_COMPLETION_INDEX=%d\0" % rank)
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words, environment = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
                if b"launcher.pod" in words and all(mark in environment for mark in marks):
                    return int(entry.name)
        raise LookupError(f"no pod of rank {rank}")

    def close(self) -> None:
        self._controller.kill()
        self._controller.wait()


@pytest.fixture
def cluster(tmp_path: Path, torchless: Path) -> Iterator[Cluster]:
    reason = laboratory.missing()
    if reason:
        pytest.skip(reason)
    made = Cluster(tmp_path / "cluster", torchless)
    yield made
    made.close()


@pytest.fixture
def submit(cluster: Cluster, tmp_path: Path, torchless: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(*settings: str, **given: Any) -> Run:
        given["env"] = cluster.environment | given.get("env", {})
        asked = (f"kubernetes.job_dir={tmp_path}", "kubernetes.claim=runs", f"image={IMAGE}", "training.precision=fp32")
        runs.append(Run(tmp_path, torchless, "backend=kubernetes", *asked, *settings, **given))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.wait()


def test_a_run_in_pods_is_followed_to_its_verdict_and_leaves_only_its_folder(
    submit: Callable[..., Run], cluster: Cluster
) -> None:
    run = submit("kubernetes.secret=token", "task.args.show=[TOKEN, CANARY]", env={"CANARY": "tweet-7261"})
    (cluster.path / "Secret.token.json").write_text(json.dumps({"TOKEN": "secret-5523"}))
    code, out, err = run.wait()
    assert (code, run.record.state) == (0, "SUCCEEDED"), err + (cluster.path / "kubelet.log").read_text()
    logs = [log.read_text() for log in sorted(run.runs.glob("*/logs/attempt-1/rank-*.log"))]
    assert [log.count(" step ") for log in logs] == [4, 4] and "rank 0 step 4" in out
    assert cluster.objects() == [] and (cluster.claim / run.record.run_id / "plan.json").exists()
    kept = b"".join(path.read_bytes() for path in run.runs.rglob("*") if path.is_file() and "rank-" not in path.name)
    assert logs[0].startswith("TOKEN=secret-5523\nCANARY=None\n") and b"7261" not in kept and b"5523" not in kept


def test_a_stop_lets_pods_end_at_a_step_and_removes_them(submit: Callable[..., Run], cluster: Cluster) -> None:
    run = submit("training.steps=4000")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    run.kill(signal.SIGTERM)
    code, _, err = run.wait()
    assert (code, run.record.state) == (130, "STOPPED"), err
    assert run.record.step > 0 and cluster.objects() == []


def test_a_killed_launcher_leaves_no_pod(submit: Callable[..., Run], cluster: Cluster) -> None:
    run = submit("training.steps=4000")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    run.kill(signal.SIGKILL)
    assert until(lambda: not any(name.startswith(("Job", "Pod")) for name in cluster.objects()), 40), cluster.objects()
    assert run.record.state == "FAILED"


def test_a_killed_pod_is_followed_by_a_new_job_that_launcher_applies(
    submit: Callable[..., Run], cluster: Cluster
) -> None:
    run = submit("training.steps=4000", "retry.max=1")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    os.kill(cluster.pod(1), signal.SIGKILL)
    assert until(lambda: any(run.runs.glob("*/logs/attempt-2/rank-1.log")), 60), run.record.root_cause
    (first,) = [name for name in cluster.objects() if name.startswith("Job.")]
    assert first.endswith("-2.json") and run.events("retrying")[0]["cause"]["node"] == 1
    run.kill(signal.SIGTERM)
    assert (run.wait()[0], run.record.attempts, cluster.objects()) == (130, 2, [])


def test_an_image_that_cannot_be_pulled_is_the_root_cause(submit: Callable[..., Run], cluster: Cluster) -> None:
    code, _, err = submit(f"image=registry.example.org/launcher@sha256:{'0' * 64}").wait()
    assert code == 1 and "was not started by Kubernetes (ImagePullBackOff: Back-off pulling image)" in err
    assert cluster.objects() == []


def test_a_cluster_that_does_not_answer_is_named(submit: Callable[..., Run], cluster: Cluster) -> None:
    (cluster.path / "down").touch()
    code, _, err = submit().wait()
    assert code == 3 and "the cluster does not answer" in err and "kubectl cluster-info" in err


def test_without_kubectl_it_is_said_what_to_install_and_a_dry_run_still_prints_the_manifest(
    submit: Callable[..., Run], tmp_path: Path
) -> None:
    nothing = {"PATH": str(tmp_path / "nowhere")}
    code, _, err = submit(env=nothing).wait()
    assert code == 3 and "kubectl is not on this machine" in err and "install it" in err
    code, out, _ = submit(env=nothing, options=["--dry-run"]).wait()
    assert code == 0 and "completionMode: Indexed" in out


def test_machine_is_what_a_pod_asks_for() -> None:
    assert kubernetes.machine(spec(gpus=8, cpus=64)) == Machine(cores=64, gpus=8)
