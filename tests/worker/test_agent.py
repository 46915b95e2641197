"""What the agent says of its probe: an answer, a silence that ends, or how it died."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.worker import agent
from tests.worker import ranks

SETTINGS_OF_TORCH_2_10 = {
    *("min_nodes", "max_nodes", "nproc_per_node", "logs_specs", "run_id", "role", "rdzv_endpoint", "rdzv_backend"),
    *("rdzv_configs", "max_restarts", "monitor_interval", "start_method", "metrics_cfg", "local_addr"),
    *("signals_to_handle", "numa_options", "virtual_local_rank"),
}


def answer_of(program: str) -> object:
    """What is made of a probe that is this shell program."""
    answer, answer_end = os.pipe()
    process = subprocess.Popen(["sh", "-c", program], stdout=answer_end)
    os.close(answer_end)
    found = agent._answer(process.pid, answer)
    process.returncode = 0  # it was waited for
    return found


def test_the_answer_is_the_section_of_the_facts() -> None:
    assert answer_of("""echo '{"version": "2.13.0"}'""") == {"section": {"version": "2.13.0"}}


def test_a_probe_that_hangs_is_ended_and_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "PROBE_TIMEOUT", 0.2)
    assert answer_of("sleep 600") == {
        "absent": "the look at torch and the GPUs gave no answer within 0.2 s and was ended"
    }


def test_a_probe_that_dies_tells_its_signal() -> None:
    assert answer_of("kill -SEGV $$") == {
        "section": {"failure": "the process that looks at torch and the GPUs was ended by SIGSEGV"}
    }


def test_the_oldest_torch_is_told_nothing_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(agent, "LaunchConfig", lambda **settings: told.update(settings))
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "7")
    plan = ranks.plan_of(ranks.job("classifier", training={"steps": 1}), tmp_path)
    agent._config(plan, {"rendezvous": ("127.0.0.1", 1), "node_rank": 0}, None)
    assert told.keys() <= SETTINGS_OF_TORCH_2_10 and os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "7"


def test_a_rank_that_takes_no_signal_does_not_outlive_another_ones_failure_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a child, whose only children are the two: as in the fork of an attempt."""
    monkeypatch.setattr(agent, "SHUTDOWN_TIMEOUT", 0.2)
    fork = multiprocessing.get_context("fork")
    attempt = fork.Process(target=_an_attempt_with_a_rank_that_fails, args=(fork,))
    attempt.start()
    attempt.join(20)
    assert attempt.exitcode == signal.SIGKILL


def _an_attempt_with_a_rank_that_fails(fork: Any) -> None:
    agent.end_survivors()
    deaf, failing = fork.Process(target=_hear_nothing), fork.Process(target=os._exit, args=(1,))
    deaf.start()
    failing.start()
    while not multiprocessing.connection.wait([failing.sentinel], 0):  # as torch does
        time.sleep(0.05)
    deaf.join()
    os._exit(-deaf.exitcode)


def _hear_nothing() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(40)
