"""Driver and visibility: whether the GPUs of this machine can be used from here at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, check, fail, unknown

if TYPE_CHECKING:
    from envcheck.sections.gpus import Driver, Gpus
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need


@check(
    "DRV004",
    remedy="reboot, or unload and load the module again: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia; "
    "sudo modprobe nvidia",
    modes=("F04",),
)
def kernel_module_and_library_agree(driver: Driver) -> Outcome:
    """The driver's library has the version of the kernel module.

    After an upgrade without a reboot the old module is still loaded; CUDA then fails with error 803,
    "system has unsupported display driver / cuda driver combination".
    """
    if driver.kernel_module is None or driver.user_library is None or driver.compat_library:
        return None
    if driver.kernel_module != driver.user_library:
        return f"the kernel module is {driver.kernel_module}, the library {driver.user_library}"
    return None


@check(
    "DRV005",
    remedy="start the container with `--gpus all` (or `--device nvidia.com/gpu=all` where CDI is set up)",
    modes=("F05",),
)
def container_was_given_its_gpus(driver: Driver, need: Need) -> Outcome:
    """A host with GPUs gives them to this process.

    A container started without its GPUs trains on the CPU and says nothing, a hundred times slower.
    """
    if driver.pci_gpus is None and not driver.device_nodes:
        return unknown("cannot see the PCI bus, so the host may have GPUs or none")
    if not driver.pci_gpus or driver.device_nodes:
        return None
    saw = f"the PCI bus has {driver.pci_gpus} NVIDIA GPUs, /dev has no nvidia device"
    return saw if need.device != "cpu" else None


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


@check("DRV011", remedy="ask for {have} processes a node, or use a node with more GPUs", modes=("F11",))
def gpus_suffice_for_the_job(need: Need, gpus: Gpus) -> Outcome:
    """The node has a GPU for every process of the job."""
    if need.device != "cuda" or gpus.error:
        return None
    have = len(gpus.devices)
    if have < need.procs_per_node:
        return fail(f"the job wants {need.procs_per_node} GPUs on each node, this one has {have}", have=max(have, 1))
    return None
