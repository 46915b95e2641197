import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from launcher import processes, waiting


def until(condition: Callable[[], bool], patience: float = 20.0) -> bool:
    return waiting.until(condition, patience)


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_descendants_in_sessions_of_their_own_are_ended_even_after_their_parent_died() -> None:
    program = """
import os, subprocess, sys, time
from launcher import processes
processes.adopt_orphans()
middle = subprocess.Popen(["setsid", "sh", "-c", "setsid sleep 300 & setsid sleep 301 & wait"])
while len(processes.descendants()) < 3: time.sleep(0.01)
middle.kill(); middle.wait()
orphans = processes.descendants()
assert len(orphans) == 2, orphans
assert processes.end_descendants()
print(*orphans)
"""
    assert not any(alive(int(pid)) for pid in run(program).split())


def test_where_a_mark_is_given_those_of_another_and_the_spared_ones_stay() -> None:
    program = """
import os, subprocess
from launcher import processes
mine = subprocess.Popen(["sleep", "300"], env={**os.environ, processes.MARK: "run-1"})
other = subprocess.Popen(["sleep", "300"], env={**os.environ, processes.MARK: "run-10"})
no_runs = subprocess.Popen(["sleep", "300"], env={**os.environ, processes.MARK: ""})
spared = subprocess.Popen(["sleep", "300"], env={})
scrubbed = subprocess.Popen(["sleep", "300"], env={})
assert processes.end_descendants(mark="run-1", spare=[spared.pid])
assert other.poll() is None and no_runs.poll() is None and spared.poll() is None
other.kill()
no_runs.kill()
spared.kill()
print(mine.pid, scrubbed.pid)
"""
    assert not any(alive(int(pid)) for pid in run(program).split())


CHILD = """
import os, time
from launcher import processes
processes.die_with_parent(os.getppid())
print(os.getpid(), flush=True)
time.sleep(300)
"""


def test_a_process_dies_with_its_parent() -> None:
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not alive(pid))


def test_a_process_whose_parent_is_already_gone_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from launcher import processes; processes.die_with_parent(1 << 22); print('alive')"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_the_kernels_count_of_oom_kills_can_be_read() -> None:
    assert isinstance(processes.oom_kills(), int)


def test_a_process_whose_name_is_no_text_hides_nobody() -> None:
    program = """
import ctypes, subprocess, sys
from launcher import processes
name = "import ctypes, time; ctypes.CDLL(None).prctl(15, bytes([97, 195])); print(flush=True); time.sleep(300)"
child = subprocess.Popen([sys.executable, "-c", name], stdout=subprocess.PIPE)
child.stdout.readline()
assert processes.end_descendants()
print(child.pid)
"""
    assert not alive(int(run(program)))


def test_processes_with_a_mark_are_ended_whoever_their_parent_is_and_no_others() -> None:
    program = """
import os, subprocess, sys
from launcher import processes
environ = {**os.environ, processes.MARK: "run-1"}
subprocess.run(["sh", "-c", "setsid sleep 300 > /dev/null 2>&1 & echo $!"], env=environ)
"""
    orphan = int(run(program).split()[0])
    other = subprocess.Popen(["sleep", "300"], env={processes.MARK: "run-12"})
    try:
        assert processes.end_marked("run-1")
        assert until(lambda: not alive(orphan))
        assert alive(other.pid)
    finally:
        other.kill()
        other.wait()
