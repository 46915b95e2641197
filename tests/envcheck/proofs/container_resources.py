"""Faults of control groups: real ones of version 1 where they can be made here, both versions on paper."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envcheck.check import Status
from envcheck.facts import Facts
from tests.envcheck.bench import Bench, real_facts
from tests.envcheck.namespaces import demand
from tests.envcheck.paper_system import GROUP, STATUS, system
from tests.envcheck.proof import Proof, fake, natural

V1 = Path("/sys/fs/cgroup")
GREEDY = "import sys; block = bytearray(300 << 20); sys.exit(0)"


def grouped(check: str, mode: str, how: str, saw: str, controller: str, fault: dict[str, str], **more: object) -> Proof:
    """A real control group of version 1: `fault` its files, `options` envcheck's; the twin has no such limits."""

    options = more.get("options", [])
    assert isinstance(options, list)

    def look(files: dict[str, str]) -> Callable[[Bench], Facts]:
        def seen(bench: Bench) -> Facts:
            demand("namespaces")
            with group(controller, files) as tasks:
                enter = ["sh", "-c", f'echo $$ > {tasks}; {more.get("first", ":")}; exec "$@"', "sh"]
                return real_facts(wrapper=enter, options=[*options, "--select", check])

        return seen

    status = more.get("status", Status.FAIL)
    assert isinstance(status, Status)
    return Proof(check, mode, "N", how, saw, look(fault), look({}), status)


@contextlib.contextmanager
def group(controller: str, files: dict[str, str]) -> Iterator[Path]:
    folder = V1 / controller / f"envcheck-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    try:
        for name, text in files.items():
            (folder / name).write_text(text)
        yield folder / "cgroup.procs"
    finally:
        folder.rmdir()


PROOFS = [
    grouped("CTR004", "F25", "a cpu group with half a processor", "the quota is 0.5 processors", "cpu",
            {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}, status=Status.WARN),
    fake("CTR004", "F25", "cpu.max of 2 on a node of 32", "the quota is 2 processors, 32 are visible",
         base=system, plant=lambda bench: bench.file(f"{GROUP}/cpu.max", "200000 100000")),
    fake("CTR004", "F25", "the quota of the group above", "the quota is 4 processors",
         base=system, plant=lambda bench: bench.file("/sys/fs/cgroup/cpu.max", "400000 100000")),
    natural("CTR005", "F26", "taskset -c 0 for two processes", "2 processes share 1 allowed processor",
            needs=("taskset",), fault={"wrapper": ["taskset", "-c", "0"], "options": ["--procs-per-node", "2"]},
            healthy={"wrapper": ["taskset", "-c", "0"], "options": ["--procs-per-node", "1"]}),
    fake("CTR005", "F26", "eight processes on one of two sockets", "1 of 2 NUMA nodes",
         base=lambda bench: (system(bench), bench.wants(procs_per_node=8)),
         plant=lambda bench: bench.file("/proc/self/status", STATUS.format(cpus="0-15"))),
    grouped("CTR006", "F27", "a memory group of 256 MB", "MiB are left of 256 MiB", "memory",
            {"memory.limit_in_bytes": "256M"}),
    fake("CTR006", "F27", "memory.max of 2 GiB for two processes", "of 2048 MiB; this job wants some 2048",
         base=lambda bench: (system(bench), bench.wants(procs_per_node=2)), status=Status.WARN,
         plant=lambda bench: (bench.file(f"{GROUP}/memory.max", str(2 << 30)),
                              bench.file(f"{GROUP}/memory.current", str((29 << 30) + (200 << 20))))),
    grouped("CTR007", "F27", "a child that asks for more than its group has", "for want of memory so far: 1", "memory",
            {"memory.limit_in_bytes": "100M"}, status=Status.WARN,
            first=f"{sys.executable} -S -c '{GREEDY}' || true"),
    fake("CTR007", "F27", "oom_kill 3 in memory.events", "for want of memory so far: 3", base=system,
         plant=lambda bench: bench.file(f"{GROUP}/memory.events", "low 0\noom 3\noom_kill 3\n")),
    grouped("CTR008", "F28", "a pids group of 32", "more processes or threads may start of 32", "pids",
            {"pids.max": "32"}, options=["--procs-per-node", "4"]),
    fake("CTR008", "F28", "pids.max of 512 for eight processes with loaders", "may start of 512",
         base=lambda bench: (system(bench), bench.wants(procs_per_node=8, loader_workers=4)), status=Status.WARN,
         plant=lambda bench: bench.file(f"{GROUP}/pids.max", "512")),
    natural("CTR014", "F30", "more threads than processors for each of two", "with OMP_NUM_THREADS=512 each",
            fault={"environ": {"OMP_NUM_THREADS": "512"}, "options": ["--procs-per-node", "2"]},
            healthy={"environ": {"OMP_NUM_THREADS": "1"}, "options": ["--procs-per-node", "2"]}),
    fake("CTR014", "F30", "one thread on 32 processors", "each process could have 32 processors",
         base=lambda bench: (system(bench), bench.wants(device="cpu")),
         plant=lambda bench: bench.environ.update(OMP_NUM_THREADS="1")),
]  # fmt: skip
