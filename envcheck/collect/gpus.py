"""The GPUs: NVML through a child process where pynvml is installed, else nvidia-smi's XML."""

from __future__ import annotations

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
