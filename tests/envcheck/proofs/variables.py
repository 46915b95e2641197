"""Variables that were left over, for real."""

from __future__ import annotations

from tests.envcheck.proof import natural

PROOFS = [
    natural("ENV001", "F66", "RANK and WORLD_SIZE of another job", "RANK=0, WORLD_SIZE=2",
            fault={"environ": {"RANK": "0", "WORLD_SIZE": "2"}}),
    natural("ENV002", "F66", "NCCL_P2P_DISABLE=1", "NCCL_P2P_DISABLE=1",
            fault={"environ": {"NCCL_P2P_DISABLE": "1"}}, healthy={"environ": {"NCCL_P2P_DISABLE": "0"}}),
    natural("ENV003", "F66", "NCCL_SOCKET_IFNAMES", "NCCL_SOCKET_IFNAME may be meant",
            fault={"environ": {"NCCL_SOCKET_IFNAMES": "eth0"}}, healthy={"environ": {"NCCL_SOCKET_IFNAME": "eth0"}}),
    natural("ENV003", "F66", "NCCL_ASYNC_ERROR_HANDLING", "is now called TORCH_NCCL_ASYNC_ERROR_HANDLING",
            fault={"environ": {"NCCL_ASYNC_ERROR_HANDLING": "1"}},
            healthy={"environ": {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}}),
    natural("ENV004", "F96", "CUDA_LAUNCH_BLOCKING=1", "every kernel is waited for",
            fault={"environ": {"CUDA_LAUNCH_BLOCKING": "1"}}, healthy={"environ": {"CUDA_LAUNCH_BLOCKING": "0"}}),
    natural("ENV004", "F96", "TORCH_DISTRIBUTED_DEBUG=DETAIL", "checked against all ranks",
            fault={"environ": {"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}},
            healthy={"environ": {"TORCH_DISTRIBUTED_DEBUG": "OFF"}}),
]  # fmt: skip
