"""Two machines in a box: network namespaces with own addresses, host names, processes and sshd's, joined by a switch
in a namespace of its own (so that the host's firewall has no say), reached with throw-away keys.

Each node sees this machine's files, but has a home folder and a `local` folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher import waiting

NODES = ("node-a", "node-b")
PORT = 2222

SSHD = """
Port {port}
HostKey {lab}/host_key
AuthorizedKeysFile {lab}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxSessions 64
MaxStartups 100:30:200
LogLevel ERROR
SetEnv DOCKER_HOST=unix://{lab}/local/docker.sock
"""

CLIENT = """
Host stranger
  HostName {first}
  UserKnownHostsFile /dev/null
Host changed
  HostName {first}
  UserKnownHostsFile {lab}/changed_hosts
Host locked-out
  HostName {first}
  HostKeyAlias node-a
  PubkeyAuthentication no
Host twin-of-a
  HostName {first}
  HostKeyAlias node-a
Host behind-a
  HostName {second}
  HostKeyAlias node-b
  ProxyJump node-a
Host gone
  HostName {subnet}.77
  ConnectTimeout 1
Host *
  Port {port}
  User root
  IdentityFile {lab}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {lab}/known_hosts
  StrictHostKeyChecking yes
  ConnectTimeout 5
"""

START = """
set -e
mount --make-rprivate /
mount --bind {lab}/{node}/etc /etc
mount --bind {lab}/{node}/local {lab}/local
hostname {node}
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f {lab}/sshd_config
"""


DIE_WITH_TESTS = ("setpriv", "--pdeathsig", "KILL")
DAEMONS = (
    "nsenter",
    "unshare",
    "sshd",
    "/usr/sbin/sshd",
    "bash -c \nset -e",
    "slurmd",
    "slurmstepd",
    "dockerd",
    "containerd",
    "/usr/bin/containerd-shim",
)


def missing() -> str | None:
    """Why there can be no lab on this machine, or None."""
    if os.geteuid() != 0:
        return "needs root: makes network namespaces"
    tools = [tool for tool in ("ip", "unshare", "nsenter", "setpriv", "ssh-keygen", "rsync") if not shutil.which(tool)]
    if not Path("/usr/sbin/sshd").exists():
        tools.append("sshd")
    if tools:
        return f"needs {', '.join(tools)}: see tests/system-packages.txt"
    if not _succeeds(["unshare", "--net", "--uts", "--pid", "--fork", "--mount", "--mount-proc", "true"]):
        return "this machine does not allow namespaces"
    return None


class Lab:
    """The switch and its two nodes; `close` leaves nothing of them."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="lab-"))
        self.path.chmod(0o755)
        self._switch, self.subnet = _claim_subnet()
        self.ssh_config = self.path / "ssh_config"
        self.local = self.path / "local"
        self._started: list[subprocess.Popen[bytes]] = []
        self._services: dict[str, list[str]] = {node: [START.format(lab=self.path, node=node)] for node in NODES}
        self._write_files()
        self._wire()
        for node in NODES:
            self.power_on(node)

    def address(self, node: str) -> str:
        return f"{self.subnet}.{NODES.index(node) + 1}"

    def namespace(self, node: str) -> str:
        return f"{self._switch}{node[-1]}"

    def power_on(self, node: str) -> None:
        """Boot a node and wait until its sshd answers."""
        self.link(node, up=True)
        for script in self._services[node]:
            self._start(node, script)
        if not until(lambda: self.ssh(node, "true").returncode == 0):
            raise RuntimeError(f"{node}: sshd does not answer: {self.ssh(node, 'true').stderr}")

    def serve(self, node: str, script: str) -> None:
        """Start a program on a node, now and whenever the node boots."""
        self._services[node].append(script)
        self._start(node, script)

    def _start(self, node: str, script: str) -> None:
        """Start a script as the first process of a new process, mount and host name space on a node's network."""
        # `ip netns exec` would mount a new /sys without cgroups, which slurmd cannot do without.
        spaces = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        with (self.path / f"{node}.log").open("ab") as log:
            process = subprocess.Popen(
                [*DIE_WITH_TESTS, "nsenter", f"--net=/run/netns/{self.namespace(node)}", *spaces, "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)

    def power_off(self, node: str) -> None:
        """Take a node down as a power cut does: nothing is said to anybody."""
        self.link(node, up=False)
        for pid in self._pids(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self._pids(node))
        for process in self._started:
            process.poll()

    def link(self, node: str, *, up: bool) -> None:
        """Plug a node's cable in, or pull it."""
        _ip("-n", self._switch, "link", "set", node, "up" if up else "down")

    def ssh(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), "-o", "BatchMode=yes", node, *words],
            capture_output=True,
            text=True,
            timeout=30,
        )

    def processes(self, node: str) -> list[str]:
        """Command lines of all that runs on a node beside its sshd."""
        found = []
        for pid in self._pids(node):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if words and not words.startswith(DAEMONS):
                    found.append(f"{pid}: {words}")
        return found

    def shut(self, node: str) -> None:
        """Let a node refuse to be reached by its peers (but for ssh)."""
        self.run_on(node, "ip", "route", "add", "unreachable", f"{self.address(_other(node))}/32")

    def unshut(self, node: str) -> None:
        self.run_on(node, "ip", "route", "del", "unreachable", f"{self.address(_other(node))}/32")

    def run_on(self, node: str, *argv: str) -> None:
        """Run a program of this machine on a node's network."""
        subprocess.run(["ip", "netns", "exec", self.namespace(node), *argv], check=True, capture_output=True)

    def close(self) -> None:
        for node in NODES:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.power_off(node)
            _succeeds(["ip", "netns", "del", self.namespace(node)])
        for process in self._started:
            process.wait()
        _succeeds(["ip", "link", "del", self._switch])
        _succeeds(["ip", "netns", "del", self._switch])
        shutil.rmtree(self.path, ignore_errors=True)

    def _write_files(self) -> None:
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path / key], check=True)
        host_key = " ".join((self.path / "host_key.pub").read_text().split()[:2])
        known = [f"[{self.address(node)}]:{PORT},{node} {host_key}" for node in NODES]
        (self.path / "known_hosts").write_text("\n".join(known) + "\n")
        other_key = " ".join((self.path / "user_key.pub").read_text().split()[:2])
        (self.path / "changed_hosts").write_text(f"[{self.address(NODES[0])}]:{PORT} {other_key}\n")
        names = {"lab": self.path, "port": PORT, "subnet": self.subnet, "first": self.address(NODES[0])}
        names["second"] = self.address(NODES[1])
        hosts_of_client = "".join(f"Host {node}\n  HostName {self.address(node)}\n" for node in NODES)
        (self.path / "sshd_config").write_text(SSHD.format(**names))
        self.ssh_config.write_text(hosts_of_client + CLIENT.format(**names))
        self.local.mkdir()
        for node in NODES:
            self._write_files_of(self.path / node)

    def _write_files_of(self, folder: Path) -> None:
        """What a node sees under /etc in place of this machine's."""
        for name in ("home", "local"):
            (folder / name).mkdir(parents=True)
        # The whole of /etc: a file mounted over one that this machine's package manager renames would come loose.
        subprocess.run(["cp", "-a", "/etc", folder / "etc"])  # what changes at that moment is not needed
        hosts = "".join(f"{self.address(node)} {node}\n" for node in NODES)
        (folder / "etc" / "hosts").write_text(f"127.0.0.1 localhost\n{self.subnet}.254 head\n{hosts}")
        # Without a name server every look-up would take ten seconds.
        (folder / "etc" / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        (folder / "etc" / "passwd").write_text(
            f"root:x:0:0:root:{folder}/home:/bin/sh\nsshd:x:110:65534::/run/sshd:/bin/false\n"
        )

    def _wire(self) -> None:
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        _ip("link", "add", self._switch, "type", "veth", "peer", "name", "head", "netns", self._switch)
        _ip("-n", self._switch, "link", "set", "head", "master", "switch", "up")
        _ip("addr", "add", f"{self.subnet}.254/24", "dev", self._switch)
        _ip("link", "set", self._switch, "up")
        for node in NODES:
            space = self.namespace(node)
            _ip("netns", "add", space)
            _ip("-n", self._switch, "link", "add", node, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", self._switch, "link", "set", node, "master", "switch", "up")
            _ip("-n", space, "addr", "add", f"{self.address(node)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "set", "eth0", "up")

    def _pids(self, node: str) -> list[int]:
        done = subprocess.run(["ip", "netns", "pids", self.namespace(node)], capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]


def until(condition: Callable[[], bool], patience: float = 30.0) -> bool:
    """Look again and again until the condition holds; False when it does not within `patience` seconds."""
    return waiting.until(condition, patience)


def _claim_subnet() -> tuple[str, str]:
    """A network namespace for the switch, whose name lays claim to one of the subnets set aside for tests."""
    for number in secrets.SystemRandom().sample(range(256), 256):
        if _succeeds(["ip", "netns", "add", f"lab{number}"]):
            return f"lab{number}", f"198.18.{number}"
    raise RuntimeError("all 256 labs are taken: `ip netns list`")


def _other(node: str) -> str:
    return NODES[1 - NODES.index(node)]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _succeeds(argv: Sequence[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
