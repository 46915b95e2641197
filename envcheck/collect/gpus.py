"""The GPUs: NVML through a child process where pynvml is installed, else nvidia-smi's XML."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from envcheck.collect import driver, nvidia_smi
from envcheck.facts import FactsError, decode
from envcheck.machine import Absent
from envcheck.sections.gpus import Gpus

if TYPE_CHECKING:
    from envcheck.machine import Machine

SECONDS = 15.0
"""The driver of a node whose GPUs nobody uses is initialised by the question, a second or so for each."""


def collect(machine: Machine) -> Gpus:
    seen = driver.collect(machine)
    elsewhere = seen.platform or seen.device_nodes or seen.kernel_module
    if seen.pci_gpus == 0 and not elsewhere:
        return Gpus(source="pci")
    found = _asked(machine)
    others = (tuple(one for one in gpu.processes if not _is_own(machine, one)) for gpu in found.devices)
    devices = tuple(dataclasses.replace(gpu, processes=left) for gpu, left in zip(found.devices, others))
    return dataclasses.replace(found, devices=devices)


def _asked(machine: Machine) -> Gpus:
    try:
        return _by_nvml(machine)
    except Absent as no_nvml:
        try:
            return nvidia_smi.query(machine, SECONDS)
        except Absent as no_tool:
            raise Absent(f"{no_nvml}; {no_tool}") from None


def _by_nvml(machine: Machine) -> Gpus:
    answer = machine.run_module("envcheck.collect.nvml", SECONDS)
    if answer.returncode != 0:
        raise Absent(f"NVML: {(answer.stderr.strip() or 'the child process died').splitlines()[-1]}")
    try:
        found: Gpus = decode(Gpus, json.loads(answer.stdout), "nvml")
    except (FactsError, ValueError) as error:
        raise Absent(f"NVML: {error}") from None
    return found


def _is_own(machine: Machine, process: str) -> bool:
    """Whether a `pid name` is of the job that is about to begin: it looks at torch at the same time, on every node."""
    environ = machine.read_or_none(f"/proc/{process.partition(' ')[0]}/environ") if machine.own else None
    return environ is not None and machine.own in environ.split("\0")
