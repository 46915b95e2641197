"""Whether an image runs somewhere, told offline; and the machine held against a variant."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from envcheck.__main__ import main
from envcheck.check import Status
from envcheck.compatibility import (
    DriverFit,
    driver_for_cuda,
    drivers_of,
    gpu_model,
    newest_cuda,
    runs_on,
    table,
    wheel_archs,
)
from envcheck.expectation import can_run, read

VERSIONS = """
[variants.cpu]
torch = "2.13.0+cpu"

[variants.cu128]
torch = "2.10.0"
cuda = "12.8.90"
driver = "525.60.13"
driver_complete = "570.26"
machines = ["x86_64"]

[variants.cu130]
torch = "2.13.0"
cuda = "13.0.96"
driver = "580.65.06"
machines = ["x86_64", "aarch64"]
architectures = ["7.5", "8.0", "9.0"]
ptx = "12.0"
"""


@pytest.fixture
def images(tmp_path: Path) -> str:
    (tmp_path / "versions.toml").write_text(VERSIONS)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("variant", "driver", "gpu", "status"),
    [
        ("cu128", "570.26", "H100", Status.PASS),
        ("cu128", "535.104", "H100", Status.WARN),
        ("cu128", "535.104", "RTX 5090", Status.FAIL),
        ("cu128", "565.57.01", "B200", Status.FAIL),
        ("cu128", "570.86.16", "RTX 5090", Status.PASS),
        ("cu128", "595.45.04", "V100", Status.FAIL),
        ("cu128", "580.95.05", "V100", Status.PASS),
        ("cu130", "580.95.05", "Orin", Status.UNKNOWN),
        ("cu128", "470.82.01", "H100", Status.FAIL),
        ("cu128", "525.53", "H100", Status.FAIL),
        ("cu128", "580.95.05", "12.1", Status.PASS),
        ("cu130", "580.95.05", "RTX 5090", Status.PASS),
        ("cu130", "580.95.05", "V100", Status.FAIL),
        ("cu130", "580.95.05", "B300", Status.FAIL),
        ("cpu", "470.82.01", "K80", Status.PASS),
        ("cu130", "580.95.05", "Z9000", Status.UNKNOWN),
    ],
)
def test_a_variant_on_a_driver_and_a_gpu(images: str, variant: str, driver: str, gpu: str, status: Status) -> None:
    found = {finding.status for finding in can_run(read(f"{images}/{variant}"), driver, gpu, None)}
    assert min(found, key=list(Status).index) is status


def test_a_variant_on_another_kind_of_machine(images: str) -> None:
    found = can_run(read(f"{images}/cu128"), None, None, "aarch64")
    assert Status.FAIL in [finding.status for finding in found]


@pytest.mark.parametrize(
    ("driver", "gpu", "missing"), [(None, "H100", "no driver was told"), ("580.95.05", None, "no GPU was told")]
)
def test_what_was_not_told_is_unknown(images: str, driver: str | None, gpu: str | None, missing: str) -> None:
    found = can_run(read(f"{images}/cu128"), driver, gpu, None)
    assert [finding.saw.startswith(missing) for finding in found if finding.status is Status.UNKNOWN] == [True]


def test_without_a_machine_the_command_does_not_say_that_it_runs(
    images: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["can-run", f"{images}/cu130"]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == f"UNKNOWN: {images}/cu130 may run there"


def test_every_capability_of_the_product_table_has_its_drivers() -> None:
    capabilities = {capability for _, capability, _ in table("gpus")["names"]}
    assert [one for one in sorted(capabilities) if drivers_of(one) is None] == []


@pytest.mark.parametrize(
    "name", ["cuda_driver", "gpu_drivers", "gpus", "known_bad", "torch_wheels", "wheel_archs", "xids"]
)
def test_every_table_is_dated_and_tells_its_source_and_confidence(name: str) -> None:
    told = table(name)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", told["as_of"])
    assert told["source"]
    assert told["confidence"]


def test_the_command_ends_with_3_where_an_image_does_not_run(images: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["can-run", f"{images}/cu130", "--driver", "535.104"]) == 3
    assert "is older than 580.65.06" in capsys.readouterr().out
    assert main(["can-run", f"{images}/cu130", "--driver", "580.95.05", "--gpu", "RTX 5090"]) == 0


@pytest.mark.parametrize(
    ("words", "saw"),
    [("cu13", "did you mean"), ("../cu130", "No such file"), ("cpu --driver new", "is no driver version")],
)
def test_a_wrong_variant_is_exit_2(images: str, words: str, saw: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = words.split(" ")
    assert main(["can-run", f"{images}/{name}", *rest]) == 2
    assert saw in capsys.readouterr().err


def test_a_driver_that_is_no_version_is_exit_2(images: str) -> None:
    assert main(["can-run", f"{images}/cu130", "--driver", "newest"]) == 2


def test_expect_judges_every_host_by_the_variant(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ssh = tmp_path / "ssh"  # every host is this machine
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ("--host", "a", "--host", "b", "--select", "LIB024", "--expect", f"{images}/cu130", "--json")
    assert main(words) == 3
    hosts = json.loads(capsys.readouterr().out)["hosts"]
    told = {host: [one["status"] for one in each["results"]] for host, each in hosts.items()}
    assert told == {"a": ["fail"], "b": ["fail"]}


def test_expect_judges_the_machine_by_the_variant(images: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--static", "--select", "LIB024", "--expect", f"{images}/cu130"]) == 3
    assert "./install --variant cu130" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("driver", "cuda", "fit"),
    [
        ("580.65.06", "13.0", DriverFit.FULL),
        ("580.65.06", "13.2", DriverFit.MINOR),
        ("579.99", "13.2", DriverFit.UNFIT),
        ("535.104.05", "12.2", DriverFit.FULL),
        ("535.104.05", "12.8.90", DriverFit.MINOR),
        ("525.60.13", "11.8", DriverFit.FULL),
        ("580.65.06", "10.2", DriverFit.UNKNOWN),
    ],
)
def test_three_answers_to_driver_and_cuda(driver: str, cuda: str, fit: DriverFit) -> None:
    assert driver_for_cuda(driver, cuda).fit is fit


@pytest.mark.parametrize(
    ("archs", "capability", "runs"),
    [
        (["sm_80"], "8.9", True),
        (["sm_86"], "8.0", False),
        (["sm_90"], "10.0", False),
        (["compute_80"], "12.0", True),
        (["compute_120"], "9.0", False),
        (["sm_90a"], "9.0", True),
        (["sm_100f"], "10.3", False),
        (["sm_120"], "12.1", True),
    ],
)
def test_which_kernels_run_where(archs: list[str], capability: str, runs: bool) -> None:
    assert runs_on(archs, capability) is runs


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("NVIDIA H100 80GB HBM3", "9.0"),
        ("NVIDIA GH200 480GB", "9.0"),
        ("NVIDIA A100-SXM4-80GB", "8.0"),
        ("NVIDIA A10G", "8.6"),
        ("Tesla T4", "7.5"),
        ("NVIDIA L4", "8.9"),
        ("NVIDIA GeForce RTX 5070 Ti", "12.0"),
        ("NVIDIA RTX 4000 Ada Generation", "8.9"),
        ("Quadro RTX 4000", "7.5"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0"),
        ("NVIDIA GB10", "12.1"),
        ("GeForce GTX 1080 Ti", "6.1"),
    ],
)
def test_a_product_name_tells_the_capability(name: str, capability: str) -> None:
    model = gpu_model(name)
    assert model is not None
    assert model.capability == capability


def test_a_product_nobody_knows_has_no_capability() -> None:
    assert gpu_model("NVIDIA A9000") is None


def test_the_wheels_architectures_follow_the_release() -> None:
    assert "sm_70" in (wheel_archs("2.10.0", "12.8") or [])
    assert "sm_70" not in (wheel_archs("2.11.0", "12.8") or [])
    assert wheel_archs("2.12.0", "12.8") is None


def test_the_newest_cuda_of_a_driver() -> None:
    assert newest_cuda("535.104.05") == "12.2"


def test_the_variants_of_the_images_agree_with_the_tables() -> None:
    """Two sources for one fact: the pins' own floor and NVIDIA's table must not drift apart."""
    images = Path(__file__).parents[2] / "images"
    for name in ("cu128", "cu130", "cu132"):
        variant = read(str(images / name))
        answer = driver_for_cuda("999", variant.versions["cuda"])
        assert (variant.driver, variant.driver_complete) == (answer.floor, answer.own)
        archs = [f"sm_{one.replace('.', '')}" for one in variant.architectures]
        archs += [f"compute_{variant.ptx.replace('.', '')}"] if variant.ptx else []
        assert archs == wheel_archs(variant.versions["torch"], variant.versions["cuda"])


def test_the_variants_of_the_images_agree_with_the_wheels_own_pins() -> None:
    images = Path(__file__).parents[2] / "images"
    for name in ("cu128", "cu130", "cu132"):
        versions = read(str(images / name)).versions
        row = table("torch_wheels")["wheels"][versions["torch"]]
        assert (versions["cudnn"], versions["nccl"]) == (row["cudnn"], row["nccl"])
