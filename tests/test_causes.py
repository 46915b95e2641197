import pytest

from launcher.causes import classed, fingerprint

CLASSES = {
    ("user", "ValueError", "bad label"): "user",
    ("user", "ModuleNotFoundError", "No module named 'x'"): "user",
    ("user", "OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB"): "capacity",
    ("user", "MemoryError", "MemoryError"): "capacity",
    (
        "user",
        "RuntimeError",
        "DataLoader worker is killed by signal: Bus error. insufficient shared memory",
    ): "capacity",
    ("user", "RuntimeError", "CUDA error: uncorrectable ECC error encountered"): "hardware",
    ("user", "RuntimeError", "CUDA error: device-side assert triggered"): "user",
    ("user", "OSError", "[Errno 5] Input/output error: '/data/x'"): "hardware",
    ("user", "DistBackendError", "NCCL error in: x.cpp, unhandled system error"): "hardware",
    ("user", "URLError", "<urlopen error [Errno -3] Temporary failure in name resolution>"): "environment",
    ("storage", "", "checkpoints: No space left on device"): "capacity",
    ("storage", "", "checkpoints: Input/output error"): "hardware",
    ("environment", "", "the node is unfit: NET006"): "environment",
    ("killed", "", "killed by SIGKILL (signal 9)"): "preemption",
    ("killed", "", "killed by the kernel for want of memory (SIGKILL; 1 kill)"): "capacity",
    ("killed", "", "killed by SIGSEGV (signal 11)"): "user",
    ("killed", "", "killed by SIGBUS (signal 7)"): "capacity",
    ("node", "", "the node program was killed by SIGKILL"): "preemption",
    ("node", "", "the node program was lost with the connection to b (closed)"): "hardware",
    ("node", "", "the node program gave no sign of life for 8 s"): "hardware",
    ("agent", "", "the node's workers were ended: its agent ended with exit code -9: "): "preemption",
    ("agent", "", "the node's workers were ended: its agent ended with exit code 1: "): "environment",
    ("hang", "", "1 of 2 ranks waits"): "hang",
    ("exit", "SystemExit", "the target called sys.exit(0): No space left on device"): "user",
    ("of another version", "", ""): "user",
}


@pytest.mark.parametrize(("kind", "error", "message"), CLASSES, ids=lambda text: text[:40])
def test_each_cause_is_of_one_class(kind: str, error: str, message: str) -> None:
    cause = {"kind": kind, "type": error, "message": message}
    assert classed(cause).name == CLASSES[kind, error, message]


def test_a_known_cause_has_a_remedy() -> None:
    assert "--shm-size" in (classed({"kind": "killed", "message": "killed by SIGBUS (signal 7)"}).hint or "")


def test_an_error_is_the_same_with_other_numbers_and_on_another_rank() -> None:
    first = {"kind": "user", "type": "E", "message": "index 7 of 0x7f12 in /tmp/a", "rank": 0}
    assert fingerprint(first) == fingerprint({**first, "message": "index 9 of 0x8a00 in /tmp/b", "rank": 3})
    assert fingerprint(first) != fingerprint({**first, "message": "key 7 of 0x7f12 in /tmp/a"})


def test_kills_of_different_ranks_are_different_failures() -> None:
    kill = {"kind": "killed", "message": "killed by SIGKILL (signal 9)", "node": 0, "rank": 0}
    assert fingerprint(kill) != fingerprint({**kill, "rank": 1})
