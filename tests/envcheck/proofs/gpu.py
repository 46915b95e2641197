"""Faults of the GPUs themselves and of their links: none of them can be had without the hardware, all are faked."""

from __future__ import annotations

from envcheck.check import Status
from tests.envcheck.bench import Bench
from tests.envcheck.paper import H100, gpus, h100_node, pci_gpu, smi_gpu, smi_log
from tests.envcheck.proof import fake

RTX = "NVIDIA GeForce RTX 4090"
MIG_ON = "<mig_mode><current_mig>Enabled</current_mig></mig_mode>"
MIG_SLICES = (
    MIG_ON + "<mig_devices>" + "<mig_device><gpu_instance_id>1</gpu_instance_id></mig_device>" * 2 + "</mig_devices>"
)
PROCESS = "<process_info><pid>4242</pid><type>C</type><process_name>python old.py</process_name></process_info>"
LINKS = "<nvlink><link_state>Active</link_state><link_state>{}</link_state></nvlink>"
SLOW = "<clocks_event_reasons><clocks_event_reason_{0}>{1}</clocks_event_reason_{0}></clocks_event_reasons>"
XID = "[99.1] NVRM: Xid (PCI:0000:1b:00): {}, pid=4242, name=python, Ch 00000008\n"


def ecc(count: str) -> str:
    return f"<ecc_errors><volatile><dram_uncorrectable>{count}</dram_uncorrectable></volatile></ecc_errors>"


def remap(pending: str = "No", failure: str = "No") -> str:
    return (
        f"<remapped_rows><remapped_row_pending>{pending}</remapped_row_pending>"
        f"<remapped_row_failure>{failure}</remapped_row_failure></remapped_rows>"
    )


def two_gpus(bench: Bench, *links: str) -> None:
    bench.answer("nvidia-smi -q -x", smi_log([smi_gpu(index, nvlink=one) for index, one in enumerate(links)]))


def link(bench: Bench, bus: str, width: int = 16, speed: str = "32.0 GT/s PCIe") -> None:
    pci_gpu(bench, bus)
    folder = f"/sys/bus/pci/devices/{bus}"
    for name, value in {
        "current_link_width": str(width),
        "max_link_width": "16",
        "current_link_speed": speed,
        "max_link_speed": "32.0 GT/s PCIe",
        "numa_node": "0",
    }.items():
        bench.file(f"{folder}/{name}", value)


def two_links(bench: Bench) -> None:
    link(bench, "0000:10:00.0")
    link(bench, "0000:11:00.0")


def bridge(bench: Bench, control: int, size: int = 4096) -> None:
    """A bridge whose configuration space holds, at 0x100, an ACS capability with this control register."""
    two_links(bench)
    folder = "/sys/bus/pci/devices/0000:00:01.0"
    bench.file(f"{folder}/vendor", "0x8086")
    bench.file(f"{folder}/class", "0x060400")
    registers = bytearray(size)
    if size > 256:
        registers[0x100:0x104] = (0x0001 | 1 << 16 | 0x140 << 20).to_bytes(4, "little")
        registers[0x140:0x144] = (0x000D | 1 << 16).to_bytes(4, "little")
        registers[0x146:0x148] = control.to_bytes(2, "little")
    (bench.root / folder.lstrip("/") / "config").write_bytes(registers)


def iommu(bench: Bench, boot: str = "", flags: str = "fpu vme") -> None:
    two_links(bench)
    bench.folder("/sys/class/iommu/dmar0")
    bench.file("/proc/cmdline", boot)
    bench.file("/proc/cpuinfo", f"flags\t\t: {flags}\n")


def infiniband(bench: Bench) -> None:
    h100_node(bench)
    bench.folder("/sys/class/infiniband/mlx5_0")
    bench.file(
        "/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 30 2025\n"
    )


def log(bench: Bench, line: str) -> None:
    h100_node(bench)
    bench.answer("dmesg", "[1.0] nvidia: loading out-of-tree module\n" + line)


PROOFS = [
    fake(
        "GPU001",
        "F79",
        "nvidia-smi counts 3 uncorrectable errors",
        "has 3 uncorrectable",
        base=h100_node,
        plant=lambda b: gpus(b, H100, ecc=ecc("3")),
    ),
    fake(
        "GPU001",
        "F79",
        "a data-centre GPU without counters",
        "tells no error counts",
        base=h100_node,
        plant=lambda b: gpus(b, H100, ecc=ecc("N/A")),
        status=Status.UNKNOWN,
    ),
    fake(
        "GPU002",
        "F79",
        "a row that could not be remapped",
        "remapping a row failed",
        base=h100_node,
        plant=lambda b: gpus(b, H100, remap=remap(failure="Yes")),
    ),
    fake(
        "GPU002",
        "F79",
        "a row that waits for its remapping",
        "waits for the reset",
        base=h100_node,
        plant=lambda b: gpus(b, H100, remap=remap(pending="Yes")),
        status=Status.WARN,
    ),
    fake(
        "GPU003",
        "F80",
        "a kernel log with Xid 79",
        "Xid 79 at 0000:1b:00: the GPU has fallen off the bus",
        cure=lambda b: log(b, ""),
        plant=lambda b: log(b, XID.format(13) + XID.format(79)),
        kind="R",
    ),
    fake(
        "GPU003",
        "F80",
        "a kernel log with Xid 31 of a program",
        "memory page fault",
        cure=lambda b: log(b, ""),
        plant=lambda b: log(b, XID.format(31)),
        kind="R",
        status=Status.WARN,
    ),
    fake(
        "GPU003",
        "F80",
        "a kernel log with an SXid of a switch",
        "SXid 20034",
        cure=lambda b: log(b, ""),
        plant=lambda b: log(b, "[9.9] nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 1\n"),
        kind="R",
    ),
    fake(
        "GPU003",
        "F80",
        "a kernel log with an SXid that is not fatal",
        "calls non-fatal",
        cure=lambda b: log(b, ""),
        plant=lambda b: log(b, "[9.9] nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32\n"),
        kind="R",
        status=Status.WARN,
    ),
    fake(
        "GPU003",
        "F80",
        "a kernel log with an Xid that nobody knows",
        "Xid 4711 at 0000:1b:00: not in the catalogue",
        cure=lambda b: log(b, ""),
        plant=lambda b: log(b, XID.format(4711)),
        kind="R",
        status=Status.WARN,
    ),
    fake(
        "GPU003",
        "F81",
        "dmesg that is not permitted",
        "Operation not permitted",
        base=h100_node,
        plant=lambda b: b.answer(
            "dmesg", stderr="dmesg: read kernel buffer failed: Operation not permitted\n", returncode=1
        ),
        cure=lambda b: log(b, ""),
        status=Status.UNKNOWN,
    ),
    fake(
        "GPU004",
        "F83",
        "a GPU in thermal slowdown",
        "hw_thermal_slowdown",
        base=h100_node,
        plant=lambda b: gpus(b, H100, clocks=SLOW.format("hw_thermal_slowdown", "Active")),
    ),
    fake(
        "GPU004",
        "F83",
        "a power brake, by the older tag",
        "hw_power_brake_slowdown",
        base=h100_node,
        plant=lambda b: gpus(
            b, H100, clocks=SLOW.replace("event", "throttle").format("hw_power_brake_slowdown", "Active")
        ),
    ),
    fake(
        "GPU005",
        "F19",
        "compute mode Exclusive_Process",
        "Exclusive_Process",
        base=h100_node,
        plant=lambda b: gpus(b, H100, compute="<compute_mode>Exclusive_Process</compute_mode>"),
        status=Status.WARN,
    ),
    fake(
        "GPU005",
        "F19",
        "compute mode Prohibited",
        "Prohibited",
        base=h100_node,
        plant=lambda b: gpus(b, H100, compute="<compute_mode>Prohibited</compute_mode>"),
    ),
    fake(
        "GPU006",
        "F20",
        "a process nvidia-smi lists on the GPU",
        "4242 python old.py",
        base=h100_node,
        plant=lambda b: gpus(b, H100, processes=f"<processes>{PROCESS}</processes>"),
    ),
    fake(
        "GPU007",
        "F21",
        "persistence mode off",
        "persistence mode is off on GPU 0",
        base=h100_node,
        plant=lambda b: gpus(b, H100, persistence="<persistence_mode>Disabled</persistence_mode>"),
    ),
    fake(
        "GPU008",
        "F18",
        "two ranks on a GPU cut into two instances",
        "2 MIG instances",
        base=lambda b: b.wants(procs_per_node=2),
        plant=lambda b: gpus(b, H100, mig=MIG_SLICES),
        cure=lambda b: gpus(b, H100),
    ),
    fake(
        "GPU008",
        "F18",
        "MIG mode without an instance",
        "has no instance",
        base=h100_node,
        plant=lambda b: gpus(b, H100, mig=MIG_ON),
        cure=lambda b: gpus(b, H100, mig=MIG_SLICES),
    ),
    fake(
        "GPU011",
        "F82",
        "a link at x8 of x16",
        "x8 of x16",
        base=two_links,
        plant=lambda b: link(b, "0000:11:00.0", width=8),
    ),
    fake(
        "GPU011",
        "F82",
        "a link slower than its sibling",
        "8 GT/s",
        base=two_links,
        plant=lambda b: (gpus(b, H100, H100), link(b, "0000:11:00.0", speed="8.0 GT/s PCIe")),
        cure=lambda b: gpus(b, H100, H100),
    ),
    fake(
        "GPU012",
        "F84",
        "one NVLink of two inactive on the second GPU",
        "GPU 1 has 1 of 2 NVLinks",
        base=h100_node,
        plant=lambda b: two_gpus(b, LINKS.format("Active"), LINKS.format("Inactive")),
        cure=lambda b: two_gpus(b, LINKS.format("Active"), LINKS.format("Active")),
    ),
    fake(
        "GPU012",
        "F84",
        "the same link inactive on every GPU",
        "GPU 0 has 1 of 2 NVLinks",
        base=h100_node,
        plant=lambda b: two_gpus(b, LINKS.format("Inactive"), LINKS.format("Inactive")),
        cure=lambda b: two_gpus(b, LINKS.format("Active"), LINKS.format("Active")),
        status=Status.WARN,
    ),
    fake(
        "GPU013",
        "F85",
        "a bridge with ACS request redirection",
        "the first is 0000:00:01.0",
        cure=lambda b: bridge(b, 0),
        plant=lambda b: bridge(b, 0x1D),
    ),
    fake(
        "GPU013",
        "F85",
        "registers that only root may read",
        "root only",
        cure=lambda b: bridge(b, 0),
        plant=lambda b: bridge(b, 0, size=64),
        status=Status.UNKNOWN,
    ),
    fake(
        "GPU014",
        "F86",
        "a translating IOMMU on bare metal",
        "an IOMMU translates",
        cure=lambda b: iommu(b, boot="intel_iommu=on iommu=pt"),
        plant=iommu,
    ),
    fake(
        "GPU014",
        "F86",
        "the same on bare metal and on a guest",
        "an IOMMU translates",
        cure=lambda b: iommu(b, flags="fpu hypervisor"),
        plant=iommu,
    ),
    fake(
        "GPU015",
        "F87",
        "two RTX 4090 with driver 535",
        "NCCL_P2P_DISABLE is not set",
        plant=lambda b: gpus(b, RTX, RTX, driver="535.104.05"),
        cure=lambda b: gpus(b, RTX, RTX, driver="550.54.14"),
    ),
    fake(
        "GPU016",
        "F88",
        "InfiniBand and no nvidia_peermem",
        "nvidia_peermem is not loaded",
        base=infiniband,
        plant=lambda b: None,
        cure=lambda b: b.file("/proc/modules", "nvidia_peermem 1 0 - Live 0x0\n"),
    ),
]
