import copy
from collections.abc import Callable
from typing import Any

import pytest

from launcher.cluster import fitness
from launcher.cluster.probe import FULL_PACKETS
from launcher.cluster.survey import Seen
from launcher.errors import EnvironmentUnfit
from launcher.plan import Machine

HOSTS = ("a", "b")
WORDS = fitness.Words(python="--set PYTHON", interface="--set INTERFACE", share="--set SHARE")
HEALTHY: Seen = {
    "host": "node",
    "identity": "boot:1:2",
    "python": "3.11.7",
    "machine": "x86_64",
    "packages": {"torch": "2.13.0", "numpy": "2.4.0", "rich": "14.0"},
    "cores": 8,
    "gpus": ["9.0", "9.0"],
    "folders": {"/runs": {"free": 1 << 40, "fault": None}},
    "nonces": {"/runs/.seen-x": "nonce"},
    "prints": {"/data": {"files": 3, "digest": "d0"}},
    "ended": [],
    "address": "10.0.0.1",
    "port": 4000,
    "fault": None,
    "clock": 0.001,
    "clock_error": 0.002,
    "unreached": [],
    "look_up": 0.01,
}

Plant = Callable[[dict[str, Any]], object]
PLANTED: dict[str, tuple[Plant, bool, str]] = {
    "an old Python": (lambda b: b.update(python="3.10.2"), True, "b: its Python is 3.10.2"),
    "no torch": (lambda b: b["packages"].pop("torch"), True, "b: its Python has no torch"),
    "another Python": (lambda b: b.update(python="3.12.1"), True, "b has python 3.12 (x86_64); the other"),
    "another processor": (lambda b: b.update(machine="aarch64"), True, "b has python 3.11 (aarch64)"),
    "another torch": (lambda b: b["packages"].update(torch="2.12.0"), True, "b has torch==2.12.0; the other has"),
    "another NCCL": (lambda b: b["packages"].update({"nvidia-nccl-cu13": "2.28"}), True, "b has nvidia-nccl-cu13"),
    "another rich": (lambda b: b["packages"].update(rich="13.0"), False, "b has rich==13.0; the other has rich==14.0"),
    "no data": (lambda b: b["prints"].update({"/data": None}), True, "b has /data: none; the other has"),
    "fewer data": (lambda b: b["prints"]["/data"].update(files=2), True, "b has /data: 2 files, d0"),
    "one file": (lambda b: b["prints"]["/data"].update(files=1), True, "b has /data: 1 file, d0"),
    "other data": (lambda b: b["prints"]["/data"].update(digest="d1"), True, "b has /data: 3 files, d1"),
    "a narrow path": (lambda b: b.update(unreached=[["10.0.0.1", 4000, FULL_PACKETS]]), True, "large ones do not"),
    "the same machine": (lambda b: b.update(identity="boot:1:2"), True, "a and b are one machine"),
    "a clock ahead": (lambda b: b.update(clock=20.2), True, "b is 20.2 s ahead"),
    "a clock a little behind": (lambda b: b.update(clock=-1.7), False, "b is 1.7 s behind"),
    "a shut port": (lambda b: b.update(unreached=[["10.0.0.1", 4000, "timed out"]]), True, "b -> a: timed out (10"),
    "a slow name server": (lambda b: b.update(look_up=None), False, "b: the name server takes its time"),
    "no such interface": (lambda b: b.update(fault="no address"), True, "b: no address for the rendezvous"),
    "a full disk": (lambda b: b["folders"]["/runs"].update(free=1 << 20), True, "b:/runs: only 1 MiB are free"),
    "a nearly full disk": (lambda b: b["folders"]["/runs"].update(free=1 << 28), False, "b:/runs: only 256 MiB"),
    "a folder it may not write": (lambda b: b["folders"]["/runs"].update(fault="Denied"), True, "b:/runs: Denied"),
    "a folder of its own": (lambda b: b["nonces"].update({"/runs/.seen-x": None}), True, "b does not share /runs"),
}  # fmt: skip


@pytest.fixture
def seen() -> list[Seen]:
    a, b = copy.deepcopy(HEALTHY), copy.deepcopy(HEALTHY)
    b.update(identity="boot:3:4", address="10.0.0.2")
    return [a, b]


def faults(seen: list[Seen]) -> list[fitness.Fault]:
    return [
        *fitness.of_each(HOSTS, seen, WORDS),
        *fitness.of_all(HOSTS, seen, WORDS),
        *fitness.of_shared_folder(HOSTS, seen, "nonce", WORDS),
    ]


def test_healthy_nodes_have_no_faults(seen: list[Seen]) -> None:
    assert faults(seen) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_each_planted_fault_is_named_with_its_host_and_a_remedy(seen: list[Seen], fault: str) -> None:
    plant, fatal, sentence = PLANTED[fault]
    plant(seen[1])
    found = faults(seen)[0]
    assert (found.fatal, sentence in found.message, bool(found.hint)) == (fatal, True, True), found


def test_all_fatal_faults_are_named_at_once(seen: list[Seen]) -> None:
    seen[1].update(python="3.12.1", clock=60.0)
    with pytest.raises(EnvironmentUnfit, match="2 faults") as refusal:
        fitness.require(faults(seen))
    assert "3.12 (" in refusal.value.message and "60.0 s ahead" in refusal.value.message


def test_warnings_alone_refuse_nothing(seen: list[Seen]) -> None:
    seen[1]["look_up"] = None
    assert len(fitness.require(faults(seen))) == 1


def test_a_node_counts_on_what_the_least_of_them_has(seen: list[Seen]) -> None:
    seen[1].update(cores=4, gpus=["7.5"])
    assert fitness.least(seen) == Machine(cores=4, gpus=1, bf16=False)


def test_of_three_clocks_the_odd_one_is_named(seen: list[Seen]) -> None:
    third = {**seen[1], "identity": "c", "clock": 30.0}
    for one in seen:
        one["clock"] = 50.0
    found = list(fitness.of_all(("a", "b", "c"), [*seen, third], WORDS))
    assert [fault.message for fault in found] == ["of the clocks, c is 20.0 s behind"]


def test_data_that_no_node_has_are_named(seen: list[Seen]) -> None:
    for one in seen:
        one["prints"]["/data"] = None
    assert [fault.message for fault in faults(seen)] == ["/data is on none of the nodes"]


def test_two_drifted_packages_are_named_together(seen: list[Seen]) -> None:
    seen[1]["packages"].update(rich="13.0", torch="2.12.0")
    (fault,) = faults(seen)
    assert fault.fatal and fault.message.startswith("b has torch==2.12.0") and "rich==13.0" in fault.message


def test_the_remedy_of_a_narrow_path_is_its_width(seen: list[Seen]) -> None:
    seen[1]["unreached"] = [["10.0.0.1", 4000, FULL_PACKETS]]
    assert faults(seen)[0].hint == "set one MTU on the whole way, or --set INTERFACE"
