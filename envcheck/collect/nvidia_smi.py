"""nvidia-smi's XML (`-q -x`) as the `gpus` section: the source for a node without pynvml."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

from envcheck.collect.nvml import bus_address
from envcheck.machine import Absent
from envcheck.sections.gpus import Gpu, Gpus

if TYPE_CHECKING:
    from envcheck.machine import Machine

WORDS = ("event", "throttle")
NO_GPU = "No devices were found"
THROTTLE_NAMES = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")


def query(machine: Machine, seconds: float) -> Gpus:
    """Run nvidia-smi. A driver that answers with an error is a fact; a missing tool raises Absent."""
    answer = machine.run(["nvidia-smi", "-q", "-x"], seconds)
    if NO_GPU in answer.stdout:
        return Gpus(source="nvidia-smi")
    if "<nvidia_smi_log>" not in answer.stdout:
        said = (answer.stdout.strip() or answer.stderr.strip() or f"exit {answer.returncode}").splitlines()[0]
        return Gpus(source="nvidia-smi", error=said)
    return parse(answer.stdout)


def parse(text: str) -> Gpus:
    """Read the XML log. Raises Absent where it is not well-formed."""
    try:
        log = ElementTree.fromstring(text)  # noqa: S314 - the driver's own tool wrote it  # nosec B314
    except ElementTree.ParseError as error:
        raise Absent(f"nvidia-smi -q -x: {error}") from None
    return Gpus(
        source="nvidia-smi",
        driver=_told(log, "driver_version"),
        cuda=_told(log, "cuda_version"),
        devices=tuple(_gpu(index, node) for index, node in enumerate(log.findall("gpu"))),
    )


def _gpu(index: int, node: ElementTree.Element) -> Gpu:
    links = [link.text or "" for link in node.findall("nvlink/link_state")]
    return Gpu(
        index=index,
        name=_told(node, "product_name") or "",
        uuid=_told(node, "uuid") or "",
        bus=bus_address(node.get("id", "")),
        memory_mib=_number(_told(node, "fb_memory_usage/total")),
        memory_used_mib=_number(_told(node, "fb_memory_usage/used")),
        temperature=_number(_told(node, "temperature/gpu_temp")),
        persistence=_yes(_told(node, "persistence_mode")),
        compute_mode=_told(node, "compute_mode"),
        mig=_yes(_told(node, "mig_mode/current_mig")),
        mig_instances=tuple(_told(one, "gpu_instance_id") or "" for one in node.findall("mig_devices/mig_device")),
        ecc_uncorrected=_ecc(node),
        remap_pending=_yes(_told(node, "remapped_rows/remapped_row_pending")),
        remap_failed=_yes(_told(node, "remapped_rows/remapped_row_failure")),
        throttle=_throttle(node),
        nvlinks_up=sum("Active" in link for link in links) if links else None,
        nvlinks=len(links) or None,
        processes=tuple(
            f"{_told(one, 'pid')} {_told(one, 'process_name') or '?'}"
            for one in node.findall("processes/process_info")
            if "C" in (_told(one, "type") or "C")
        ),
        fabric=(_told(node, "fabric/state") or "").lower().replace(" ", "_") or None,
    )


def _told(node: ElementTree.Element, path: str) -> str | None:
    text = (node.findtext(path) or "").strip()
    return None if text in ("", "N/A", "[N/A]") else text


def _number(text: str | None) -> int | None:
    found = re.match(r"\d+", text or "")
    return int(found[0]) if found else None


def _yes(text: str | None) -> bool | None:
    return None if text is None else text in ("Enabled", "Yes")


def _ecc(node: ElementTree.Element) -> int | None:
    counts = [_number((one.text or "").strip()) for one in node.findall("ecc_errors/volatile/*") if "uncorr" in one.tag]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _throttle(node: ElementTree.Element) -> tuple[str, ...] | None:
    """The tags were renamed from `throttle` to `event` with driver 535."""
    paths = [(name, f"clocks_{word}_reasons/clocks_{word}_reason_{name}") for name in THROTTLE_NAMES for word in WORDS]
    told = {name: text for name, path in paths if (text := _told(node, path))}
    return tuple(name for name, text in told.items() if text == "Active") if told else None
