"""A child process that asks NVML through pynvml and prints the `gpus` section as JSON.

A process of its own, because NVML can hang on a sick GPU and a thread inside a library cannot be interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from envcheck.sections.gpus import Gpu, Gpus

COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
FABRIC_STATES = {0: "not_supported", 1: "not_started", 2: "in_progress", 3: "completed"}
THROTTLE_BITS = {
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}
MAX_NVLINKS = 36
GONE = (15, 16)
"""NVML_ERROR_GPU_IS_LOST and NVML_ERROR_RESET_REQUIRED."""


def main() -> int:
    try:
        import pynvml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        print("pynvml is not installed", file=sys.stderr)
        return 1
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        print("libnvidia-ml.so.1 is not here", file=sys.stderr)
        return 1
    except pynvml.NVMLError as error:
        print(json.dumps(dataclasses.asdict(Gpus(source="nvml", error=str(error)))))
        return 0
    print(json.dumps(dataclasses.asdict(_everything(pynvml))))
    return 0


def _everything(nvml: Any) -> Gpus:
    ask = _Ask(nvml)
    error = None
    devices = []
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as failure:
        error, count = str(failure), 0
    for index in range(count):
        try:
            devices.append(_device(nvml, ask, index))
        except nvml.NVMLError as failure:
            error = f"GPU {index}: {failure}"
    cuda = ask("nvmlSystemGetCudaDriverVersion")
    return Gpus(
        source="nvml",
        driver=_text(ask("nvmlSystemGetDriverVersion")),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        devices=tuple(devices),
        error=error,
    )


def _device(nvml: Any, ask: _Ask, index: int) -> Gpu:
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = ask("nvmlDeviceGetMemoryInfo", gpu)
    capability = ask("nvmlDeviceGetCudaComputeCapability", gpu)
    mig = ask("nvmlDeviceGetMigMode", gpu)
    remapped = ask("nvmlDeviceGetRemappedRows", gpu)
    reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons", gpu)
    links = [ask("nvmlDeviceGetNvLinkState", gpu, link) for link in range(MAX_NVLINKS)]
    known = [link for link in links if link is not None]
    persistence = ask("nvmlDeviceGetPersistenceMode", gpu)
    pci = ask("nvmlDeviceGetPciInfo", gpu)
    return Gpu(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(gpu)) or "",
        uuid=_text(ask("nvmlDeviceGetUUID", gpu)) or "",
        bus=bus_address(_text(pci.busId) or "") if pci else "",
        capability=f"{capability[0]}.{capability[1]}" if capability else None,
        memory_mib=memory.total >> 20 if memory else None,
        memory_used_mib=memory.used >> 20 if memory else None,
        temperature=ask("nvmlDeviceGetTemperature", gpu, nvml.NVML_TEMPERATURE_GPU),
        persistence=None if persistence is None else bool(persistence),
        compute_mode=COMPUTE_MODES.get(ask("nvmlDeviceGetComputeMode", gpu)),
        mig=None if mig is None else bool(mig[0]),
        mig_instances=_mig_instances(ask, gpu) if mig and mig[0] else (),
        ecc_uncorrected=_ecc(nvml, ask, gpu),
        remap_pending=None if remapped is None else bool(remapped[2]),
        remap_failed=None if remapped is None else bool(remapped[3]),
        throttle=None if reasons is None else tuple(name for bit, name in THROTTLE_BITS.items() if reasons & bit),
        nvlinks_up=sum(known) if known else None,
        nvlinks=len(known) if known else None,
        processes=tuple(_process(ask, one) for one in ask("nvmlDeviceGetComputeRunningProcesses", gpu) or ()),
        fabric=_fabric(nvml, ask, gpu),
    )


class _Ask:
    """Call NVML by name. What this GPU, driver or pynvml does not support, or does not let us see, is None; that the
    GPU is gone is raised."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml

    def __call__(self, question: str, *arguments: Any) -> Any:
        try:
            return getattr(self.nvml, question, lambda *_: None)(*arguments)
        except self.nvml.NVMLError as error:
            if getattr(error, "value", None) in GONE:
                raise
            return None


def _mig_instances(ask: _Ask, gpu: Any) -> tuple[str, ...]:
    count = ask("nvmlDeviceGetMaxMigDeviceCount", gpu) or 0
    handles = [ask("nvmlDeviceGetMigDeviceHandleByIndex", gpu, index) for index in range(count)]
    return tuple(_text(ask("nvmlDeviceGetUUID", handle)) or "" for handle in handles if handle is not None)


def _ecc(nvml: Any, ask: _Ask, gpu: Any) -> int | None:
    count = ask("nvmlDeviceGetTotalEccErrors", gpu, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return None if count is None else int(count)


def _process(ask: _Ask, process: Any) -> str:
    name = _text(ask("nvmlSystemGetProcessName", process.pid))
    return f"{process.pid} {name or '?'}"


def _fabric(nvml: Any, ask: _Ask, gpu: Any) -> str | None:
    """pynvml hands the record on as it is: it wants a reference, and would let NVML write anywhere without."""
    if not hasattr(nvml, "c_nvmlGpuFabricInfo_t"):  # a pynvml of before the switches had a fabric
        return None
    import ctypes  # only here: the parent reads this module too, and would wait for it

    info = nvml.c_nvmlGpuFabricInfo_t()
    if ask("nvmlDeviceGetGpuFabricInfo", gpu, ctypes.byref(info)) is None:
        return None
    return FABRIC_STATES.get(info.state)


def bus_address(spelt: str) -> str:
    """`00000000:1B:00.0`, as NVML and nvidia-smi spell it, in /sys's spelling `0000:1b:00.0`."""
    domain, _, rest = spelt.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if rest else spelt.lower()


def _text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    sys.exit(main())
