import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import rollcall
from launcher.heartbeat import STEP, Beat
from tests.runs.conftest import until

STUCK = """
import faulthandler, signal, sys, threading, time
faulthandler.register(signal.SIGUSR2, file=2)
threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
def train():
    print("there", flush=True)
    time.sleep(300)
train()
"""


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "train.py").write_text(STUCK)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(tmp_path / "train.py")], stdout=log, stderr=log)
    assert until(lambda: "there" in (tmp_path / "log").read_text())
    yield process
    process.kill()
    process.wait()


def asked(process: subprocess.Popen[bytes], folder: Path) -> tuple[str, bool]:
    (answer,) = rollcall.call({3: process.pid}, {3: folder / "log"}, {3: Beat(9, 4, STEP)})
    assert (answer["rank"], answer["step"]) == (3, 4)
    return answer["place"], answer["waits"]


def test_a_rank_in_the_users_code_is_found_there(stuck: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert asked(stuck, tmp_path) == ("in train (train.py:7)", False)


def test_a_stopped_rank_gives_no_answer_and_is_said_to_be_stopped(
    stuck: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollcall, "PATIENCE", 0.2)
    os.kill(stuck.pid, signal.SIGSTOP)
    assert until(lambda: Path(f"/proc/{stuck.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    assert asked(stuck, tmp_path) == ("stopped, as by SIGSTOP", False)


STACK = """Thread 0x00007f01 (most recent call first):
  File "/usr/x/threading.py", line 3 in wait
Current thread 0x00007f02 (most recent call first):
  File "/site/{file}", line 5 in {function}
  File "/home/me/task.py", line 12 in loss
"""

PLACES = {
    ("torch/autograd/graph.py", "_engine_run_backward"): ("in the backward pass and its all-reduce", True),
    ("torch/distributed/distributed_c10d.py", "all_reduce"): ("in all-reduce", True),
    ("torch/distributed/distributed_c10d.py", "barrier"): ("at a barrier", True),
    ("torch/utils/data/dataloader.py", "_try_get_data"): ("in DataLoader", False),
    ("launcher/worker/checkpoint.py", "wait"): ("saving a checkpoint", False),
    ("other/code.py", "call"): ("in call (code.py:5)", False),
}


@pytest.mark.parametrize(("file", "function"), PLACES)
def test_a_stack_tells_where_its_main_thread_is(file: str, function: str) -> None:
    assert rollcall.place(STACK.format(file=file, function=function)) == PLACES[file, function]


def test_a_log_without_a_stack_tells_nothing() -> None:
    assert rollcall.place("a line\n") is None
