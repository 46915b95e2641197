"""Two nodes with an sshd each, in network namespaces behind one bridge, and envcheck run against them over real ssh."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from envcheck import facts
from envcheck.facts import Facts
from tests.envcheck.bench import REPOSITORY
from tests.envcheck.namespaces import SHELL, demand

NEEDS = ("unshare", "ip", "ssh", "/usr/sbin/sshd", "ssh-keygen", "git", "namespaces")
NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
ADDRESSES = {"mn1": "10.77.0.1", "mn2": "10.77.0.2", "mn1b": "10.77.0.1"}
SSHD = """Port 22
HostKey {lab}/host
AuthorizedKeysFile {lab}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
AllowUsers root
PidFile none
SetEnv PATH={path} PYTHONPATH={lab}/{node}/site PYTHONDONTWRITEBYTECODE=1{more}
"""
CLIENT = """Host *
IdentityFile {lab}/key
IdentitiesOnly yes
UserKnownHostsFile {lab}/known
StrictHostKeyChecking yes
"""
NETWORK = """
mount -t tmpfs none /run; mkdir -p /run/sshd; ip link set lo up
ip link add lab0 type bridge; ip addr add 10.77.0.254/24 dev lab0; ip link set lab0 up
mount --bind {lab}/hosts /etc/hosts; mount --bind {lab}/nsswitch /etc/nsswitch.conf
"""
NODE = """
ip netns add {node}; ip link add v{node} type veth peer name eth0 netns {node}; ip link set v{node} master lab0 up
ip -n {node} addr add {address}/24 dev eth0; ip -n {node} link set lo up; ip -n {node} link set eth0 up
{more}
ip netns exec {node} unshare --uts --mount sh -euc '
    hostname {node}; mount --bind {lab}/{node}/hosts /etc/hosts; {inside}
    exec /usr/sbin/sshd -D -f {lab}/{node}/sshd_config' &
"""
WAIT = """
for node in mn1 mn2; do
    tries=0
    until {lab}/bin/ssh -o BatchMode=yes $node true 2>/dev/null || [ $tries -gt 100 ]; do
        tries=$((tries + 1)); sleep 0.1
    done
done
"""


@cache
def healthy() -> Facts:
    """Two nodes that differ in nothing."""
    with tempfile.TemporaryDirectory(prefix="envcheck-lab-") as folder:
        return _run(Path(folder), ["mn1", "mn2"], faulty=False)


@cache
def faulty() -> Facts:
    """mn2 differs in everything that can be planted; mn1 is named twice, and once with a user it does not let in."""
    with tempfile.TemporaryDirectory(prefix="envcheck-lab-") as folder:
        return _run(Path(folder), ["mn1", "mn2", "mn1b", "nobody@mn1"], faulty=True)


def clock_shim() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def _run(lab: Path, hosts: list[str], faulty: bool) -> Facts:
    demand(*NEEDS)
    lab.chmod(0o755)
    _files(lab)
    _node(lab, "mn1", "2.13.0", "2.29.7", more="")
    shim = clock_shim()
    clock = f" LD_PRELOAD={shim} FAKETIME=+22s" if faulty and shim else ""
    _node(lab, "mn2", *(("2.12.1", "2.28.9") if faulty else ("2.13.0", "2.29.7")),
          more=f" NCCL_ALGO=Tree{clock}" if faulty else "")  # fmt: skip
    _commit(lab)
    if faulty:
        _spoil(lab)
    envcheck = [sys.executable, "-m", "envcheck"]
    options = ["--run-dir", str(lab / "shared"), "--workdir", str(lab / "job"), "--path", "data"]
    wanted = [word for host in hosts for word in ("--host", host)]
    done = subprocess.run(
        [*NAMESPACES, *SHELL, _script(lab, faulty), "lab", *envcheck, *wanted, *options, "--save", "-"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": f"{lab}/bin:{os.environ['PATH']}"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return facts.from_json(json.loads(done.stdout))


def _script(lab: Path, faulty: bool) -> str:
    """The shell that brings the two nodes up, and then becomes the command it is given."""
    outside = "ip -n mn2 link set eth0 mtu 1400; ip -n mn2 route add blackhole 10.77.0.1/32" if faulty else ""
    inside = {node: f"mount --bind {lab}/{node}/job {lab}/job;" for node in ("mn1", "mn2")}
    inside["mn2"] += f" mount -t tmpfs none {lab}/shared;" if faulty else ""
    steps = [
        NETWORK.format(lab=lab),
        NODE.format(lab=lab, node="mn1", address=ADDRESSES["mn1"], more="", inside=inside["mn1"]),
        NODE.format(lab=lab, node="mn2", address=ADDRESSES["mn2"], more=outside, inside=inside["mn2"]),
        WAIT.format(lab=lab),
        'exec "$@"',
    ]
    return "\n".join(steps)


def _files(lab: Path) -> None:
    """Keys, the client's configuration, names and the job's folder."""
    for name in ("key", "host"):
        _call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(lab / name)])
    (lab / "known").write_text(f"* {(lab / 'host.pub').read_text()}")
    (lab / "ssh_config").write_text(CLIENT.format(lab=lab))
    (lab / "bin").mkdir()
    ssh = lab / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {lab}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    (lab / "hosts").write_text(_hosts("mn1", "mn2", "mn1b"))
    (lab / "nsswitch").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (lab / "shared").mkdir()
    (lab / "job").mkdir()


def _hosts(*names: str) -> str:
    return "127.0.0.1 localhost\n" + "".join(f"{ADDRESSES[name]} {name}\n" for name in names)


def _node(lab: Path, node: str, torch: str, nccl: str, more: str) -> None:
    """One node's own files: sshd's configuration, packages that are only metadata, and its copy of the job."""
    site, job = lab / node / "site", lab / node / "job"
    for name, version in {"torch": torch, "nvidia_nccl_cu13": nccl}.items():
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: {version}\n")
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text("")
    (site / "torch" / "version.py").write_text(f"__version__ = '{torch}'\ncuda = None\n")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    (lab / node / "sshd_config").write_text(SSHD.format(lab=lab, node=node, path=path, more=more))
    (lab / node / "hosts").write_text(_hosts("mn1", "mn2", "mn1b"))
    (job / "data").mkdir(parents=True)
    (job / "data" / "samples").write_bytes(bytes(10_000))
    (job / "train.py").write_text("print('step')\n")
    (job / "uv.lock").write_text("torch 2.13.0\n")


def _commit(lab: Path) -> None:
    """Both nodes have the same commit."""
    git = ["git", "-C", str(lab / "mn1" / "job"), "-c", "user.name=lab", "-c", "user.email=lab@localhost"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "job"]):
        _call([*git, *words])
    shutil.copytree(lab / "mn1" / "job" / ".git", lab / "mn2" / "job" / ".git")


def _spoil(lab: Path) -> None:
    """One byte of the data, one line of code, one pin, and a hosts file without the other node."""
    job = lab / "mn2" / "job"
    (job / "data" / "samples").write_bytes(bytes(9_999) + b"\1")
    (job / "uv.lock").write_text("torch 2.12.1\n")
    (job / "train.py").write_text("print('stop')\n")
    (lab / "mn2" / "hosts").write_text(_hosts("mn2"))


def _call(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
