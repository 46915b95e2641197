"""What the machine is wanted for: the job's needs, the one section that is told and not seen."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Need:
    """The defaults describe no job in particular: one node, one process, whatever device there is."""

    nodes: int = 1
    procs_per_node: int = 1
    device: str = "auto"
    """`cuda`, `cpu`, or `auto` where the job takes what it finds."""
    numerics: str = "fast"
    """`exact` where the job claims the same bits in every run."""
    run_dir: Optional[str] = None
    workdir: Optional[str] = None
    """The folder the job starts in; None is the current one."""
    script: Optional[str] = None
    paths: tuple[str, ...] = ()
    """Further files the job will open: data sets, configurations."""
    node_rank: Optional[int] = None
    """Which of the job's nodes this machine is; None where that is not known yet."""
    rendezvous_host: Optional[str] = None
    rendezvous_port: Optional[int] = None
    interface_chosen: bool = False
    """Who starts the job tells gloo and NCCL the address and the interface: they do not go by this machine's name."""
    loader_workers: int = 0
    """Loader processes of each rank."""
    batch_size: Optional[int] = None
    """The global batch: samples of one optimizer step."""
    accumulate: int = 1
    checkpoint_bytes: Optional[int] = None
    """Size of one checkpoint, where it is known."""
    previous: dict[str, str] = field(default_factory=dict)
    """What the run to be resumed was made with: `torch`, `gpu`, `world_size`; empty for a new run."""

    @property
    def world_size(self) -> int:
        return self.nodes * self.procs_per_node

    @property
    def on_one_machine(self) -> bool:
        """All nodes of the job are on this machine, so that loopback serves them."""
        host = self.rendezvous_host or ""
        return self.nodes == 1 or host == "localhost" or host == "::1" or host.startswith("127.")
