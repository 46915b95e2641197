"""Faults of the GPUs' visibility: not given, lost, hidden, too few."""

from __future__ import annotations

from tests.envcheck.bench import Bench
from tests.envcheck.paper import H100, gpus, h100_node
from tests.envcheck.proof import fake, natural

CDI = "cdiVersion: 0.5.0\ndevices:\n- name: '0'\n  containerEdits:\n    deviceNodes:\n    - path: /dev/nvidia{}\n"


def without_device_nodes(bench: Bench) -> None:
    for name in ["nvidiactl", "nvidia-uvm", *(f"nvidia{index}" for index in range(8))]:
        bench.remove(f"/dev/{name}")


def docker_host(bench: Bench) -> None:
    h100_node(bench)
    bench.file("/etc/docker/daemon.json", '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}')


def driver_of_before(bench: Bench) -> None:
    bench.answer("nvidia-smi -q -x", "No devices were found\n", returncode=6)
    bench.answer("dmesg", "NVRM: The NVIDIA GPU 0000:10:00.0 installed in this system is not supported by the driver\n")


def wants_eight(bench: Bench) -> None:
    h100_node(bench)
    bench.wants(device="cuda", procs_per_node=8)


PROOFS = [
    fake(
        "DRV005",
        "F05",
        "eight GPUs on the PCI bus, none under dev",
        "8 NVIDIA GPUs",
        base=h100_node,
        plant=without_device_nodes,
    ),
    fake(
        "DRV006",
        "F06",
        "docker without NVIDIA's runtime",
        "no nvidia runtime",
        base=docker_host,
        plant=lambda bench: bench.file("/etc/docker/daemon.json", "{}"),
    ),
    fake(
        "DRV006",
        "F06",
        "a CDI specification that names a GPU of before",
        "/dev/nvidia9, which does not exist",
        base=docker_host,
        plant=lambda bench: bench.file("/etc/cdi/nvidia.yaml", CDI.format(9)),
        cure=lambda bench: bench.file("/etc/cdi/nvidia.yaml", CDI.format(0)),
    ),
    fake(
        "DRV007",
        "F07",
        "nvidia-smi that ends with Unknown Error",
        "Unknown Error",
        base=h100_node,
        plant=lambda bench: (
            bench.answer("nvidia-smi", "Failed to initialize NVML: Unknown Error\n", returncode=255)
            or bench.answers.pop("nvidia-smi -q -x")
        ),
    ),
    fake(
        "DRV008",
        "F08",
        "dev without nvidia-uvm",
        "no nvidia-uvm",
        base=h100_node,
        plant=lambda bench: bench.remove("/dev/nvidia-uvm"),
    ),
    natural(
        "DRV009",
        "F09",
        "CUDA_VISIBLE_DEVICES=-1",
        "hides every GPU",
        fault={"environ": {"CUDA_VISIBLE_DEVICES": "-1"}},
        healthy={"environ": {"CUDA_VISIBLE_DEVICES": "0"}},
    ),
    natural(
        "DRV009",
        "F09",
        "CUDA_VISIBLE_DEVICES empty",
        "hides every GPU",
        fault={"environ": {"CUDA_VISIBLE_DEVICES": ""}},
        healthy={"environ": {"CUDA_VISIBLE_DEVICES": "0"}},
    ),
    *(
        fake(
            "DRV010",
            "F10",
            f"CUDA_VISIBLE_DEVICES={value}",
            saw,
            base=h100_node,
            plant=lambda bench, value=value: bench.environ.update(CUDA_VISIBLE_DEVICES=value),
            cure=lambda bench: bench.environ.update(CUDA_VISIBLE_DEVICES="0,3,GPU-5"),
        )
        for value, saw in {
            "0,8": "names GPU 8; this node has 8",
            "0,1,1": "names a GPU twice",
            "0, 1": "has a space",
            "GPU-x": "names GPU-x",
        }.items()
    ),
    fake(
        "DRV011",
        "F11",
        "nvidia-smi lists 7 of the 8 the job wants",
        "this one has 7",
        base=wants_eight,
        plant=lambda bench: gpus(bench, *[H100] * 7),
    ),
    fake(
        "DRV011",
        "F11",
        "nvidia-smi lists 7 of the 8 on the bus",
        "the driver tells of 7",
        base=h100_node,
        plant=lambda bench: gpus(bench, *[H100] * 7),
    ),
    natural(
        "DRV012",
        "F12",
        "NVIDIA_DRIVER_CAPABILITIES=utility",
        "without compute",
        fault={"environ": {"NVIDIA_DRIVER_CAPABILITIES": "utility"}},
        healthy={"environ": {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}},
    ),
    natural(
        "DRV017",
        "F17",
        "two processes and one visible GPU",
        "2 processes are to share 1 visible GPU",
        fault={"environ": {"CUDA_VISIBLE_DEVICES": "0"}, "options": ["--device", "cuda", "--procs-per-node", "2"]},
        healthy={"environ": {"CUDA_VISIBLE_DEVICES": "0,1"}, "options": ["--device", "cuda", "--procs-per-node", "2"]},
    ),
    fake(
        "DRV017",
        "F17",
        "nine processes on a node of eight GPUs",
        "share 8 visible GPUs",
        base=wants_eight,
        plant=lambda bench: bench.wants(procs_per_node=9),
    ),
    fake(
        "DRV018",
        "F01",
        "a driver that finds none of the eight GPUs of the bus",
        "the bus has 8 NVIDIA GPUs, driver 580.95.05 drives none: NVRM: The NVIDIA GPU",
        base=h100_node,
        plant=driver_of_before,
    ),
]
