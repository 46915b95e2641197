"""A real Slurm on the lab's two nodes: munged and slurmctld on this machine, a slurmd on each node."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess

from tests.cluster.lab import DIE_WITH_TESTS, NODES, Lab, until

CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={path}/munge/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobacctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,requeue_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=10
MinJobAge=300
GetEnvTimeout=2
SlurmctldPidFile={path}/slurmctld.pid
SlurmdPidFile={path}/slurmd.%n.pid
SlurmdSpoolDir={path}/spool.%n
StateSaveLocation={path}/state
SlurmctldLogFile={path}/slurmctld.log
SlurmdLogFile={path}/slurmd.%n.log
SlurmdParameters=config_overrides
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""

START = """
set -e
mount --make-rprivate /
mount --bind {lab}/{node}/etc /etc
mount --bind {lab}/{node}/local {lab}/local
hostname {node}
exec slurmd -D -N {node} -f {path}/slurm.conf
"""


def missing() -> str | None:
    tools = [tool for tool in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(tool)]
    return f"needs {', '.join(tools)}: see tests/system-packages.txt" if tools else None


class Slurm:
    """The cluster; `close` ends its daemons."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.path = lab.path / "slurm"
        for name in ("munge", "state", *(f"spool.{node}" for node in NODES)):
            (self.path / name).mkdir(parents=True, mode=0o700)
        self.configuration = self.path / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        self._write_configuration()
        self._start_munge()
        self._controller = subprocess.Popen(
            [*DIE_WITH_TESTS, "slurmctld", "-D", "-f", self.configuration],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for node in NODES:
            lab.serve(node, START.format(lab=lab.path, path=self.path, node=node))
        if not until(lambda: self.run("sinfo", "-h", "-o", "%D %t", "-p", "low").split() == ["2", "idle"], 60):
            raise RuntimeError(f"Slurm does not come up: {self.run('sinfo')}")

    def run(self, *words: str) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30)
        return done.stdout

    def state(self, job: str) -> str:
        return self.run("squeue", "-h", "-j", job, "-o", "%T").strip()

    def controller(self, number: signal.Signals) -> None:
        self._controller.send_signal(number)

    def close(self) -> None:
        self.run("scancel", "--user=root")
        self._controller.terminate()
        self._controller.wait()
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.path / "munge" / "pid").read_text()), signal.SIGTERM)

    def _write_configuration(self) -> None:
        nodes = [
            f"NodeName={node} NodeAddr={self._lab.address(node)} Port=17001 CPUs=2 RealMemory=8000 State=UNKNOWN"
            for node in NODES
        ]
        self.configuration.write_text(
            CONFIGURATION.format(
                host=socket.gethostname(),
                address=f"{self._lab.subnet}.254",
                port=20000 + secrets.randbelow(10000),
                path=self.path,
                nodes="\n".join(nodes),
            )
        )

    def _start_munge(self) -> None:
        folder = self.path / "munge"
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o600)
        files = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
        options = [f"--{name}-file={folder / file}" for name, file in files.items() if name != "socket"]
        subprocess.run(
            ["munged", "--force", f"--socket={folder / 'socket'}", *options], check=True, capture_output=True
        )
