"""The health of the GPUs themselves: memory, errors in the kernel's log, clocks, modes and who else uses them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, Verdict, check, fail, unknown, warn
from envcheck.compatibility import brand, table

if TYPE_CHECKING:
    from envcheck.sections.gpus import Gpus, KernelLog
    from envcheck.sections.need import Need

UNLISTED = {"meaning": "not in the catalogue of this envcheck", "severity": "warn", "action": "support"}
XID = re.compile(r"\b(S?Xid) \((?:PCI:)?([^)]*)\): (\d+)")


@check(
    "GPU001",
    remedy="drain the node, then: sudo nvidia-smi --gpu-reset -i {index}. Exchange it if the error returns",
    modes=("F79",),
    only_with_gpus=True,
)
def memory_has_no_uncorrectable_errors(gpus: Gpus) -> Outcome:
    """No GPU has met an uncorrectable memory error since its driver was loaded.

    Such an error ends the process that touched the cell, and the row stays suspect until the reset.
    """
    silent = [gpu for gpu in gpus.devices if gpu.ecc_uncorrected is None]
    for gpu in gpus.devices:
        if gpu.ecc_uncorrected:
            return fail(f"GPU {gpu.index} ({gpu.bus}) has {gpu.ecc_uncorrected} uncorrectable errors", index=gpu.index)
    if silent and all(brand(gpu.name) == "datacenter" for gpu in silent):
        return unknown(f"GPU {silent[0].index} tells no error counts (is ECC switched off?)")
    return None


@check(
    "GPU002",
    remedy="drain the node, then: sudo nvidia-smi --gpu-reset -i {index}; where remapping failed, exchange the GPU",
    modes=("F79",),
    only_with_gpus=True,
)
def no_row_waits_for_remapping(gpus: Gpus) -> Outcome:
    """No row of a GPU's memory waits to be replaced by a spare one, or could not be.

    A pending row is replaced at the next reset; a failed one says that the spare rows are used up.
    """
    for gpu in gpus.devices:
        if gpu.remap_failed:
            return fail(f"GPU {gpu.index} ({gpu.bus}): remapping a row failed", index=gpu.index)
        if gpu.remap_pending:
            return warn(f"GPU {gpu.index} ({gpu.bus}): a row waits for the reset that remaps it", index=gpu.index)
    return None


@check(
    "GPU003",
    remedy="{action}",
    modes=("F80", "F81"),
    only_with_gpus=True,
)
def kernel_log_has_no_xid(gpus: Gpus, kernel_log: KernelLog) -> Outcome:
    """The kernel's log holds no Xid or SXid of a GPU or switch.

    An Xid is the driver's word for what broke: 48 memory, 74 NVLink, 79 "fallen off the bus", 95 uncontained errors.
    Those a program causes (13, 31, 43, 45) or survives only warn. The log keeps a line until the next boot, or `sudo
    dmesg --clear`, though the GPU was reset since. Where it cannot be read (a container without CAP_SYSLOG) the answer
    is UNKNOWN: no news is not good news.
    """
    verdicts = [_xid_verdict(match) for line in kernel_log.lines for match in XID.finditer(line)]
    return next((one for one in verdicts if one.status is Status.FAIL), next(iter(verdicts), None))


@check(
    "GPU004",
    remedy="look at fans, air flow and power supply (nvidia-smi -q -d PERFORMANCE,TEMPERATURE -i {index}); "
    "a software limit is set with nvidia-smi -pl",
    severity=Status.WARN,
    modes=("F83",),
    only_with_gpus=True,
)
def clocks_are_not_held_back(gpus: Gpus) -> Outcome:
    """No GPU lowers its clocks because of heat or a power brake.

    It does so silently, and in a synchronous job every other GPU waits for the slowest.
    """
    if all(gpu.throttle is None for gpu in gpus.devices):
        return unknown("no GPU tells why its clocks are what they are")
    for gpu in gpus.devices:
        if gpu.throttle:
            heat = f" at {gpu.temperature} C" if gpu.temperature else ""
            return warn(f"GPU {gpu.index}{heat} is held back: {', '.join(gpu.throttle)}", index=gpu.index)
    return None


@check(
    "GPU005",
    remedy="sudo nvidia-smi -i {index} -c DEFAULT",
    modes=("F19",),
    only_with_gpus=True,
)
def compute_mode_admits_the_job(gpus: Gpus) -> Outcome:
    """Every GPU is in the default compute mode.

    In exclusive mode a second process on the GPU ends with "all CUDA-capable devices are busy or unavailable"; in
    prohibited mode the first one does.
    """
    for gpu in gpus.devices:
        if gpu.compute_mode == "Prohibited":
            return fail(f"GPU {gpu.index} is in compute mode Prohibited", index=gpu.index)
        if gpu.compute_mode not in (None, "Default"):
            return warn(f"GPU {gpu.index} is in compute mode {gpu.compute_mode}", index=gpu.index)
    return None


@check(
    "GPU006",
    remedy="see whose it is, then end it: ps -o user,lstart,cmd -p {pid}; kill {pid}",
    severity=Status.WARN,
    modes=("F20",),
    only_with_gpus=True,
)
def gpus_are_free(gpus: Gpus, need: Need) -> Outcome:
    """Nobody else computes on the GPUs the job will use.

    A forgotten process holds memory: the job dies out of memory, or shares the GPU and is half as fast.
    """
    wanted = gpus.devices[: need.procs_per_node] if need.device == "cuda" else gpus.devices
    for gpu in wanted:
        if gpu.processes:
            used = f" ({gpu.memory_used_mib} MiB in use)" if gpu.memory_used_mib else ""
            return warn(
                f"GPU {gpu.index} is used by {', '.join(gpu.processes)}{used}", pid=gpu.processes[0].split(" ")[0]
            )
    return None


@check(
    "GPU007",
    remedy="sudo nvidia-smi -pm 1 (or: sudo systemctl enable --now nvidia-persistenced)",
    severity=Status.WARN,
    modes=("F21",),
    only_with_gpus=True,
)
def persistence_mode_is_on(gpus: Gpus) -> Outcome:
    """The driver stays loaded between two programs.

    Otherwise every start initialises the GPU anew (seconds each) and forgets its settings and error counts.
    """
    off = [str(gpu.index) for gpu in gpus.devices if gpu.persistence is False]
    return f"persistence mode is off on GPU {', '.join(off)}" if off else None


@check(
    "GPU008",
    remedy="give each process an instance of its own ({what}), or switch MIG off: sudo nvidia-smi -i {index} -mig 0",
    modes=("F18",),
    only_with_gpus=True,
)
def mig_fits_the_job(gpus: Gpus, need: Need) -> Outcome:
    """A job of several processes does not run on MIG instances.

    A process sees one instance only, and NCCL does not connect instances of one GPU.
    """
    sliced = [gpu for gpu in gpus.devices if gpu.mig]
    if not sliced or need.device == "cpu":
        return None
    instances = sum(len(gpu.mig_instances) for gpu in sliced)
    if instances == 0:
        index = sliced[0].index
        create = f"sudo nvidia-smi mig -i {index} -lgip; sudo nvidia-smi mig -i {index} -cgi PROFILE -C"
        return fail(f"GPU {index} is in MIG mode and has no instance", what=create, index=index)
    if need.world_size > 1:
        saw = f"{need.world_size} processes are to meet, and NCCL connects none of the {instances} MIG instances"
        return fail(saw, what="each then is a job of its own", index=sliced[0].index)
    return None


def _xid_verdict(match: re.Match[str]) -> Verdict:
    word, place, number = match.groups()
    catalogue = table("xids")
    row = _switch_error(match) if word == "SXid" else catalogue["xids"].get(number, UNLISTED)
    verdict = fail if row["severity"] == "fail" else warn
    return verdict(f"{word} {number} at {place}: {row['meaning']}", action=catalogue["actions"][row["action"]])


def _switch_error(match: re.Match[str]) -> dict[str, str]:
    """The numbers of an NVSwitch are others than a GPU's; the line itself tells whether it is fatal."""
    if "non-fatal" in match.string[match.end() :].lower():
        return {"meaning": "an NVSwitch met an error it calls non-fatal", "severity": "warn", "action": "support"}
    return {"meaning": "an NVSwitch met an error", "severity": "fail", "action": "reset"}
