"""The rehearsal cluster's overlay for GPUs, as compose understands it."""

import json
import os
import shutil
import subprocess

import pytest

from launcher.images import versions

FOLDER = versions.ROOT / "compose"


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
def test_each_node_of_the_cluster_has_gpus_of_its_own() -> None:
    argv = ["docker", "compose", "-f", FOLDER / "cluster.yaml", "-f", FOLDER / "gpu.yaml", "config", "--format", "json"]
    shares = {"NODE0_GPUS": "0,1", "NODE1_GPUS": "2,3"}
    done = subprocess.run(argv, env={**os.environ, **shares}, capture_output=True, text=True, timeout=60, check=False)
    if "is not a docker command" in done.stderr or "unknown" in done.stderr:
        pytest.skip("docker has no compose plugin")
    services = json.loads(done.stdout)["services"]
    reserved = [services[node]["deploy"]["resources"]["reservations"]["devices"] for node in ("node0", "node1")]
    assert [devices[0]["device_ids"] for devices in reserved] == [["0,1"], ["2,3"]]
    assert {services[node]["ulimits"]["memlock"] for node in ("node0", "node1")} == {-1}
    assert {service["image"] for service in services.values()} == {"launcher:cu130"}
