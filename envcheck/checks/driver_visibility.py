"""Driver and visibility, second part: whether this process was given the GPUs the job wants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, unknown

if TYPE_CHECKING:
    from envcheck.sections.gpus import Driver, Engine, Gpus, KernelLog
    from envcheck.sections.host import Environment, Host
    from envcheck.sections.need import Need

REFUSAL = re.compile(r"not supported by|[Oo]pen kernel modules|RmInitAdapter failed")
"""What the driver says of a GPU it does not take."""


@check("DRV005", remedy="{what}", modes=("F05",))
def process_was_given_the_hosts_gpus(driver: Driver, need: Need) -> Outcome:
    """A host with GPUs gives them to this process.

    A container started without its GPUs trains on the CPU and says nothing, a hundred times slower.
    """
    if driver.pci_gpus is None and not driver.device_nodes:
        return unknown("cannot see the PCI bus, so the host may have GPUs or none")
    if not driver.pci_gpus or driver.device_nodes or need.device == "cpu":
        return None
    given = "start the container with `--gpus all` (or `--device nvidia.com/gpu=all` where CDI is set up)"
    what = given if driver.kernel_module else f"install NVIDIA's driver on this machine, and load it; then, {given}"
    return fail(f"the PCI bus has {driver.pci_gpus} NVIDIA GPUs, /dev has no nvidia device", what=what)


@check(
    "DRV006",
    remedy="sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker; "
    "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    severity=Status.WARN,
    modes=("F06",),
)
def containers_can_be_given_gpus(engine: Engine, driver: Driver, host: Host) -> Outcome:
    """Docker on this GPU host knows NVIDIA's runtime, and its CDI specifications are fresh.

    Without it `docker run --gpus all` ends with "could not select device driver"; a specification of before a change
    of driver or GPUs names devices that are no longer there.
    """
    if host.container or not driver.kernel_module:
        return fine("no GPU host, or inside a container: nothing to judge")
    if engine.cdi_missing:
        return f"{', '.join(engine.cdi_specs)} names {engine.cdi_missing[0]}, which does not exist"
    if engine.docker and engine.nvidia_runtime is False and not engine.cdi_specs:
        return "docker is here, /etc/docker/daemon.json has no nvidia runtime and there is no CDI specification"
    return None


@check(
    "DRV007",
    remedy="restart the container; on the host set `native.cgroupdriver=cgroupfs` or use CDI "
    "(a systemd daemon-reload takes device access from running containers)",
    modes=("F07",),
)
def driver_answers(gpus: Gpus) -> Outcome:
    """NVML, or nvidia-smi, gets an answer from the driver.

    "Failed to initialize NVML: Unknown Error" in a container that worked before means that its access to the device
    nodes was revoked from outside.
    """
    return None if gpus.error is None else f"{gpus.source} says: {gpus.error}"


@check(
    "DRV018",
    remedy="install a driver that knows this GPU (envcheck can-run tells from which on), for Blackwell with the open "
    "kernel modules (nvidia-open); what the driver says of it: sudo dmesg | grep NVRM",
    modes=("F01",),
)
def driver_drives_the_gpus_of_the_bus(
    gpus: Gpus, driver: Driver, need: Need, kernel_log: KernelLog | None = None
) -> Outcome:
    """The driver drives the GPUs that are on the PCI bus.

    A driver older than the GPU, or its closed kernel module where the GPU wants the open one, loads without complaint
    and shows no GPU: nvidia-smi says "No devices were found".
    """
    if not driver.pci_gpus or not driver.kernel_module or need.device == "cpu":
        return fine("no GPU on the bus, no driver, or a job for the CPU: nothing to judge")
    if gpus.devices or gpus.error:
        return None
    lines = [line for line in (kernel_log.lines if kernel_log else ()) if REFUSAL.search(line)]
    because = f": {lines[-1]}" if lines else ""
    return f"the bus has {driver.pci_gpus} NVIDIA GPUs, driver {driver.kernel_module} drives none{because}"


@check(
    "DRV008",
    remedy="on the host: sudo nvidia-modprobe -u -c=0; then start the container again",
    modes=("F08",),
)
def unified_memory_device_is_there(driver: Driver) -> Outcome:
    """/dev/nvidia-uvm is there beside the GPUs.

    nvidia-smi does not need it, CUDA does: everything looks healthy and `torch.cuda.is_available()` is False.
    """
    if driver.platform == "tegra":
        return fine("a Jetson has no unified memory device: nothing to judge")
    if any(name.removeprefix("nvidia").isdigit() for name in driver.device_nodes):
        return None if "nvidia-uvm" in driver.device_nodes else "/dev has GPUs and no nvidia-uvm"
    return fine("no GPU device here: nothing to judge")


@check("DRV009", remedy="unset CUDA_VISIBLE_DEVICES", modes=("F09",))
def visible_devices_is_not_empty(environment: Environment, need: Need) -> Outcome:
    """CUDA_VISIBLE_DEVICES does not hide every GPU.

    Empty or -1 is not "all" but "none": torch then sees no GPU and falls back to the CPU without a word.
    """
    if need.device == "cpu" or "CUDA_VISIBLE_DEVICES" not in environment:
        return None
    value = environment.get("CUDA_VISIBLE_DEVICES")
    if value.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES is {value!r}, which hides every GPU"
    return None


@check("DRV010", remedy="export CUDA_VISIBLE_DEVICES={all}", modes=("F10",), only_with_gpus=True)
def visible_devices_names_real_gpus(environment: Environment, gpus: Gpus) -> Outcome:
    """CUDA_VISIBLE_DEVICES names each GPU once and only GPUs that exist.

    CUDA drops everything behind the first entry it does not understand, without a word.
    """
    count = len(gpus.devices)
    every = ",".join(str(index) for index in range(count))
    value = environment.get("CUDA_VISIBLE_DEVICES", every)
    entries = value.split(",")
    for entry in entries:
        if entry != entry.strip():
            return fail(f"CUDA_VISIBLE_DEVICES={value!r} has a space, which ends the list", all=every)
        if entry.isdigit() and int(entry) >= count:
            return fail(f"CUDA_VISIBLE_DEVICES names GPU {entry}; this node has {count}", all=every)
        if entry.startswith("GPU-") and not any(gpu.uuid.startswith(entry) for gpu in gpus.devices):
            return fail(f"CUDA_VISIBLE_DEVICES names {entry}, which is not in this node", all=every)
    if len(set(entries)) < len(entries):
        return fail(f"CUDA_VISIBLE_DEVICES={value!r} names a GPU twice, which hides all", all=every)
    return None


@check("DRV011", remedy="{first}ask for {have} processes a node, or use a node with more GPUs", modes=("F11",))
def gpus_suffice_for_the_job(need: Need, gpus: Gpus, driver: Driver) -> Outcome:
    """The node has a GPU for every process of the job, and every GPU of the bus answers.

    Every process takes a GPU of its own. With fewer, torch ends with "invalid device ordinal" in the last ranks, while
    the others wait for them; a GPU that no longer answers has usually fallen off the bus.
    """
    have = len(gpus.devices)
    if need.device == "cpu" or gpus.error:
        return None
    if need.device == "cuda" and have < need.procs_per_node:
        saw = f"the job wants {need.procs_per_node} GPUs on each node, this one has {have}"
        return fail(saw, first="", have=max(have, 1))
    on_bus = driver.pci_gpus or 0
    nodes = sum(name.removeprefix("nvidia").isdigit() for name in driver.device_nodes)
    if 0 < have < min(on_bus, nodes):
        saw = f"the PCI bus and /dev have {min(on_bus, nodes)} GPUs, the driver tells of {have}"
        return fail(saw, first="see which one fell off (sudo dmesg | grep -i xid) and reboot; until then ", have=have)
    return None


@check("DRV012", remedy="start the container with -e NVIDIA_DRIVER_CAPABILITIES=compute,utility", modes=("F12",))
def container_may_compute(environment: Environment, need: Need) -> Outcome:
    """NVIDIA_DRIVER_CAPABILITIES lets the container compute.

    Without `compute` the runtime mounts no libcuda: nvidia-smi works and CUDA does not.
    """
    value = environment.get("NVIDIA_DRIVER_CAPABILITIES", "all")
    granted = {word.strip() for word in value.split(",")}
    if need.device == "cpu" or granted & {"all", "compute"}:
        return None
    return f"NVIDIA_DRIVER_CAPABILITIES is {value!r}, without compute"


@check("DRV017", remedy="ask for {visible} processes a node, or widen CUDA_VISIBLE_DEVICES", modes=("F17",))
def every_process_has_its_own_gpu(need: Need, environment: Environment, gpus: Gpus | None = None) -> Outcome:
    """No two processes of the job share a GPU.

    NCCL refuses it: "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device".
    """
    if need.device != "cuda":
        return None
    if "CUDA_VISIBLE_DEVICES" in environment:
        visible = len(
            [one for one in environment.get("CUDA_VISIBLE_DEVICES").split(",") if one.strip() not in ("", "-1")]
        )
    elif gpus is not None:
        visible = len(gpus.devices)
    else:
        return unknown("cannot see how many GPUs there are")
    if need.procs_per_node > visible:
        gpus_seen = f"{visible} visible GPU" + "s" * (visible != 1)
        return fail(f"{need.procs_per_node} processes are to share {gpus_seen}", visible=max(visible, 1))
    return None
