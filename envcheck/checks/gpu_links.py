"""The links of the GPUs: PCIe, NVLink, peer-to-peer, and the way to the network card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, unknown, warn
from envcheck.compatibility import brand, table
from envcheck.versions import at_least

if TYPE_CHECKING:
    from envcheck.sections.gpus import Driver, Gpus, Pci
    from envcheck.sections.host import Environment, Host


@check(
    "GPU011",
    remedy="power off and seat the card and its riser anew; compare with: sudo lspci -vv -s {bus} | grep Lnk",
    severity=Status.WARN,
    modes=("F82",),
)
def pcie_links_have_their_full_width(pci: Pci, gpus: Gpus | None = None) -> Outcome:
    """Every GPU's PCIe link has all its lanes, and the speed of its siblings.

    A badly seated card trains down to x8 or an older generation and still works: loading data is slower for ever.
    Speed is compared between the data-centre GPUs of a node only: the link of others slows down by itself when idle.
    """
    for gpu in pci.gpus:
        if gpu.width and gpu.max_width and gpu.width < gpu.max_width:
            return warn(f"{gpu.bus} runs at x{gpu.width} of x{gpu.max_width}", bus=gpu.bus)
    steady = {gpu.bus for gpu in gpus.devices if brand(gpu.name) == "datacenter"} if gpus else set()
    fastest = max((gpu.speed or 0.0 for gpu in pci.gpus if gpu.bus in steady), default=0.0)
    for gpu in pci.gpus:
        if gpu.bus in steady and gpu.speed and gpu.speed < fastest:
            return warn(f"{gpu.bus} runs at {gpu.speed:g} GT/s, its fastest sibling at {fastest:g}", bus=gpu.bus)
    return None


@check(
    "GPU012",
    remedy="nvidia-smi nvlink -s -i {index}; reset the GPUs, and hand the node to its support if the links stay down",
    modes=("F84",),
    only_with_gpus=True,
)
def nvlinks_are_up(gpus: Gpus, driver: Driver) -> Outcome:
    """Every NVLink that should be up is up.

    With one link down NCCL falls back to fewer channels or to PCIe, and the whole ring is as slow as that GPU. Where
    links are bridges between two cards, a card without one, or with bridges on some of its links only, is no fault.
    """
    linked = [gpu for gpu in gpus.devices if gpu.nvlinks and gpu.nvlinks_up is not None]
    if not linked:
        return fine("no GPU tells of NVLinks: nothing to judge")
    wired = driver.nvswitches > 0 or any(gpu.fabric == "completed" or "SXM" in gpu.name for gpu in linked)
    most = max(gpu.nvlinks_up or 0 for gpu in linked)
    for gpu in linked:
        up = gpu.nvlinks_up or 0
        saw, verdict = f"GPU {gpu.index} has {up} of {gpu.nvlinks} NVLinks up", fail
        if not wired and 0 < up < most:
            verdict = warn
        elif not wired or up == gpu.nvlinks:
            continue
        elif 0 < up == most:  # all alike: some models have fewer links than their chip
            verdict = warn
        return verdict(saw, index=gpu.index)
    return None


@check(
    "GPU013",
    remedy="switch ACS off in the firmware, or: sudo setpci -s {bus} ECAP_ACS+0x6.w=0000 (again after each boot)",
    severity=Status.WARN,
    modes=("F85",),
)
def bridges_let_gpus_talk_directly(pci: Pci) -> Outcome:
    """No PCIe bridge redirects traffic between GPUs through the CPU (ACS).

    Peer-to-peer copies then hang, corrupt data or crawl. On a guest of a hypervisor ACS must stay on.
    """
    if len(pci.gpus) < 2 or pci.virtual:
        return fine("fewer than two GPUs, or a virtual machine: nothing to judge")
    if pci.acs_bridges is None:
        return unknown("the bridges' registers can be read by root only")
    if pci.acs_bridges:
        return warn(
            f"ACS redirects requests on PCIe bridges: {len(pci.acs_bridges)}, the first is {pci.acs_bridges[0]}",
            bus=pci.acs_bridges[0],
        )
    return None


@check(
    "GPU014",
    remedy="boot with `iommu=pt`, or switch VT-d or AMD-Vi off in the firmware; for now: export NCCL_P2P_DISABLE=1",
    severity=Status.WARN,
    modes=("F86",),
)
def iommu_does_not_translate(pci: Pci) -> Outcome:
    """On bare metal with several GPUs the IOMMU passes addresses through.

    A translating IOMMU makes peer-to-peer hang or corrupt data.
    """
    if len(pci.gpus) > 1 and pci.iommu and not pci.virtual:
        return f"an IOMMU translates, and {len(pci.gpus)} GPUs would talk through it"
    return None


@check(
    "GPU015",
    remedy="export NCCL_P2P_DISABLE=1 NCCL_IB_DISABLE=1, or upgrade the driver to {driver}",
    modes=("F87",),
    only_with_gpus=True,
)
def cards_without_peer_to_peer_say_so(gpus: Gpus, environment: Environment) -> Outcome:
    """GPUs that cannot do peer-to-peer are not asked to.

    GeForce cards of the 40 series cannot; older drivers do not tell NCCL, and the first collective hangs.
    """
    rule = table("gpus")["p2p"]
    poor = [gpu for gpu in gpus.devices if any(name in gpu.name for name in rule["without"])]
    if len(poor) < 2 or gpus.driver is None or at_least(gpus.driver, rule["driver"]):
        return None
    if environment.get("NCCL_P2P_DISABLE") == "1":
        return None
    return fail(
        f"{len(poor)} x {poor[0].name} with driver {gpus.driver}, and NCCL_P2P_DISABLE is not set",
        driver=rule["driver"],
    )


@check(
    "GPU016",
    remedy="sudo modprobe nvidia-peermem; echo nvidia-peermem | sudo tee /etc/modules-load.d/nvidia-peermem.conf",
    severity=Status.WARN,
    modes=("F88",),
    only_with_gpus=True,
)
def network_card_reaches_gpu_memory(pci: Pci, driver: Driver, gpus: Gpus, host: Host) -> Outcome:
    """Beside InfiniBand, nvidia_peermem is loaded or DMA-BUF takes its place.

    Without either, NCCL copies through host memory: GPUDirect RDMA is off and nobody says so.
    """
    if not pci.infiniband or {"nvidia_peermem", "nv_peer_mem"} & set(driver.modules):
        return None
    if driver.open_module and at_least(host.kernel, "5.12"):
        return fine("nvidia_peermem is not loaded; the open driver's DMA-BUF serves in its place")
    return "there is InfiniBand, and nvidia_peermem is not loaded"
