"""Driver and visibility, first part: whether the driver itself fits its library, its GPU and torch's CUDA."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, unknown, warn
from envcheck.compatibility import (
    DriverFit,
    brand,
    driver_for_cuda,
    gpu_model,
    newest_cuda,
    oldest_wheel,
    runs_on,
    wheel_archs,
)
from envcheck.versions import at_least, compare

if TYPE_CHECKING:
    from envcheck.sections.gpus import Driver, Gpu, Gpus, KernelLog
    from envcheck.sections.host import Environment, Host
    from envcheck.sections.libraries import Packages
    from envcheck.sections.torch import Torch

INSTALL = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{wheel}"


@check(
    "DRV001",
    remedy="upgrade the driver to {own} or later, or install a torch for an older CUDA{how}",
    modes=("F01",),
    only_with_gpus=True,
)
def driver_serves_torchs_cuda(gpus: Gpus, driver: Driver, packages: Packages) -> Outcome:
    """The driver is new enough for the CUDA family of the installed torch.

    Below the family's floor nothing runs: "The NVIDIA driver on your system is too old". A forward-compatibility
    library (cuda-compat) lifts that on data-centre GPUs only.
    """
    version = gpus.driver or driver.kernel_module
    if packages.torch_cuda is None or version is None:
        return fine("torch is not a CUDA build") if version else unknown("no source tells the driver's version")
    if driver.platform == "tegra":
        return unknown("a Jetson's driver follows the releases of JetPack, which the tables do not hold")
    answer = driver_for_cuda(version, packages.torch_cuda)
    if answer.fit is DriverFit.UNKNOWN:
        return unknown(f"the tables have no row for CUDA {packages.torch_cuda}")
    if answer.fit is not DriverFit.UNFIT:
        return None
    saw = f"driver {version} is older than {answer.floor}, the floor of torch's CUDA {packages.torch_cuda}"
    if driver.compat_library and all(brand(gpu.name) == "datacenter" for gpu in gpus.devices):
        return fine(f"{saw}; {driver.compat_library} lifts that")
    older = oldest_wheel(version)
    return fail(saw, own=answer.own, how=f": {INSTALL.format(wheel=older)}" if older else "")


@check(
    "DRV002",
    remedy="upgrade the driver to {own} or later when something fails with CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    severity=Status.WARN,
    modes=("F02",),
    only_with_gpus=True,
)
def driver_has_all_of_torchs_cuda(gpus: Gpus, driver: Driver, packages: Packages) -> Outcome:
    """The driver is not older than the toolkit torch was built with.

    Within a family an older driver runs, but cannot compile the newer PTX and lacks the newer calls: torch works, a
    compiled extension or a kernel for a newer GPU fails much later.
    """
    version = gpus.driver or driver.kernel_module
    if packages.torch_cuda is None or version is None or driver.platform == "tegra":
        return None
    answer = driver_for_cuda(version, packages.torch_cuda)
    if answer.fit is DriverFit.MINOR:
        return warn(
            f"driver {version} runs CUDA {packages.torch_cuda} with limits; complete from {answer.own}", own=answer.own
        )
    return None


@check(
    "DRV003",
    remedy="take {folder} out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, or set NVIDIA_DISABLE_FORWARD_COMPAT=1",
    modes=("F03",),
    only_with_gpus=True,
)
def forward_compatibility_is_for_data_centre_gpus(driver: Driver, gpus: Gpus) -> Outcome:
    """No forward-compatibility libcuda is active on a GeForce.

    cuda-compat works on data-centre GPUs; elsewhere CUDA ends with error 804, "forward compatibility was attempted on
    non supported HW".
    """
    consumer = [gpu.name for gpu in gpus.devices if brand(gpu.name) == "geforce"]
    if driver.compat_library and consumer:
        folder = driver.compat_library.rpartition("/")[0]
        return fail(
            f"{driver.compat_library} comes before the driver's libcuda, and the GPU is a {consumer[0]}", folder=folder
        )
    return None


@check(
    "DRV004",
    remedy="reboot; or: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia",
    modes=("F04",),
)
def kernel_module_and_library_agree(driver: Driver) -> Outcome:
    """The driver's library has the version of the kernel module.

    After an upgrade without a reboot the old module is still loaded; CUDA then fails with error 803,
    "system has unsupported display driver / cuda driver combination".
    """
    if driver.kernel_module is None or driver.user_library is None or driver.compat_library:
        return None
    if compare(driver.kernel_module, driver.user_library) != 0:
        return f"the kernel module is {driver.kernel_module}, the library {driver.user_library}"
    return None


@check(
    "DRV013",
    remedy="upgrade the host's driver, take an image for an older CUDA, or start with -e NVIDIA_DISABLE_REQUIRE=1",
    modes=("F13",),
    only_with_gpus=True,
)
def image_accepts_the_driver(environment: Environment, gpus: Gpus) -> Outcome:
    """The image's NVIDIA_REQUIRE_CUDA is met by this driver.

    The NVIDIA runtime evaluates it before the container starts and refuses with "unsatisfied condition".
    """
    required = environment.get("NVIDIA_REQUIRE_CUDA")
    if not required or environment.get("NVIDIA_DISABLE_REQUIRE") in ("1", "true") or gpus.driver is None:
        return None
    cuda = gpus.cuda or newest_cuda(gpus.driver)
    if cuda is None:
        return unknown(f"cannot tell the newest CUDA of driver {gpus.driver}")
    known = {"cuda": cuda, "driver": gpus.driver, "brand": _runtime_brand(gpus.devices[0])}
    clauses = [clause.split(",") for clause in required.split()]
    if any(all(_condition_holds(one, known) for one in clause) for clause in clauses):
        return None
    branded = [[one for one in clause if not one.startswith("brand")] for clause in clauses]
    if not known["brand"] and any(all(_condition_holds(one, known) for one in clause) for clause in branded):
        return unknown(f"NVIDIA_REQUIRE_CUDA names brands, and nothing tells the one of {gpus.devices[0].name}")
    return f"NVIDIA_REQUIRE_CUDA={required!r}, but driver {gpus.driver} gives CUDA {cuda}"


@check(
    "DRV014",
    remedy="boot with `nokaslr`, or: echo 'options nvidia_uvm uvm_disable_hmm=1' | "
    "sudo tee /etc/modprobe.d/nvidia-uvm.conf; sudo update-initramfs -u; sudo reboot",
    modes=("F14",),
)
def memory_management_module_found_its_region(kernel_log: KernelLog) -> Outcome:
    """nvidia_uvm found address space for heterogeneous memory management.

    On some kernels address randomisation leaves none and CUDA cannot be initialised (a known issue of CUDA 12.9-13.2).
    """
    return next((line for line in kernel_log.lines if "request_free_mem_region" in line and "-34" in line), None)


@check(
    "DRV015",
    remedy="sudo apt-get install nvidia-fabricmanager-{branch}={driver}-1; sudo systemctl restart nvidia-fabricmanager",
    modes=("F15",),
    only_with_gpus=True,
)
def nvswitch_fabric_is_up(gpus: Gpus, driver: Driver, torch: Torch | None = None) -> Outcome:
    """The NVSwitch fabric is configured and its manager has the driver's version.

    Until then CUDA fails with error 802, "system not yet initialized", though nvidia-smi shows every GPU.
    """
    version = gpus.driver or driver.kernel_module or ""
    values = {"branch": version.split(".")[0], "driver": version}
    waiting = [gpu for gpu in gpus.devices if gpu.fabric in ("not_started", "in_progress")]
    if waiting:
        return fail(f"the fabric of GPU {waiting[0].index} is {waiting[0].fabric}", **values)
    if torch and re.search(r"\b802\b|not yet initialized", torch.cuda_failure or ""):
        return fail(f"CUDA says: {torch.cuda_failure}", **values)
    if driver.nvswitches and driver.fabric_manager and compare(driver.fabric_manager, version) != 0:
        return fail(f"the fabric manager is {driver.fabric_manager}, the driver {version}", **values)
    return None


@check(
    "DRV016",
    remedy="install a torch whose wheel has {wanted}: " + INSTALL,
    modes=("F16",),
    only_with_gpus=True,
)
def torch_has_kernels_for_every_gpu(gpus: Gpus, packages: Packages, host: Host, torch: Torch | None = None) -> Outcome:
    """torch was built for the architecture of every GPU.

    Otherwise the first kernel fails: "no kernel image is available for execution on the device". Asked of torch
    itself where it was imported, else of the table of official wheels.
    """
    if packages.torch is None or packages.torch_cuda is None:
        return None
    archs = list(torch.arch_list) if torch and torch.arch_list else None
    archs = archs or wheel_archs(packages.torch, packages.torch_cuda, host.architecture)
    if archs is None:
        return unknown(f"the tables have no row for torch {packages.torch} with CUDA {packages.torch_cuda}")
    for gpu in gpus.devices:
        capability = gpu.capability or (gpu_model(gpu.name) or ("",))[0]
        if not capability:
            return unknown(f"nothing tells the capability of {gpu.name}")
        if not runs_on(archs, capability):
            wanted = "sm_" + capability.replace(".", "")
            wheel = "cu130" if at_least(capability, "7.5") else "cu126"
            return fail(
                f"{gpu.name} is {wanted}, torch {packages.torch} has {' '.join(archs)}", wanted=wanted, wheel=wheel
            )
    return None


def _runtime_brand(gpu: Gpu) -> str:
    """The NVIDIA runtime's own word for the brand."""
    return {"datacenter": "tesla", "geforce": "geforcertx" if "RTX" in gpu.name else "geforce"}.get(brand(gpu.name), "")


def _condition_holds(condition: str, known: dict[str, str]) -> bool:
    found = re.fullmatch(r"(cuda|driver|brand)(>=|<=|!=|=|<|>)(.+)", condition)
    if not found:
        return True
    have, operator, wanted = known[found[1]], found[2], found[3]
    if found[1] == "brand":
        return (have == wanted) == (operator == "=")
    order = compare(have, wanted)
    return {">=": order >= 0, "<=": order <= 0, "=": order == 0, "!=": order != 0, "<": order < 0, ">": order > 0}[
        operator
    ]
