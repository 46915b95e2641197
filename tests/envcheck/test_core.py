"""What every check relies on: crashes are UNKNOWN, hanging probes are killed, facts go to JSON and back, no secrets."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from envcheck import collect as collection
from envcheck.check import REGISTRY, Check, Outcome, Status, check, judge
from envcheck.collect import Source, collect, collective
from envcheck.facts import Facts, FactsError, as_json, decode, differences, from_json
from envcheck.machine import Absent, Completed, Machine, run_command
from envcheck.sections.host import Environment, Host
from envcheck.sections.need import Need
from envcheck.sections.torch import Torch
from tests.envcheck.bench import Bench
from tests.envcheck.paper import h100_node
from tests.envcheck.paper_system import system

HOST = Host(name="h", kernel="6.8", architecture="x86_64", cpus=4)


@pytest.fixture
def crashing() -> Check:
    @check("TST001", remedy="none")
    def crashes(host: Host) -> Outcome:
        """It crashes."""
        raise ZeroDivisionError(host.name)

    return REGISTRY.pop("TST001")


def test_a_check_that_crashes_is_unknown_with_its_error(crashing: Check) -> None:
    result = judge(Facts("h", "", sections={"host": HOST}), [crashing])[0]
    assert result.status is Status.UNKNOWN
    assert "ZeroDivisionError: h" in result.saw


def test_two_checks_cannot_share_an_id() -> None:
    with pytest.raises(ValueError, match="two checks have the id DRV004"):
        check("DRV004", remedy="")(lambda: None)


def test_facts_go_to_json_and_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    h100_node(bench)
    system(bench)
    bench.answer("dmesg", "")
    seen = bench.facts(collection.SOURCES)
    assert seen.absent == {}
    assert from_json(as_json_text(seen)) == seen


def as_json_text(seen: Facts) -> object:
    import json

    return json.loads(json.dumps(as_json(seen)))


def test_a_section_that_one_machine_lacks_is_a_difference_with_its_reason() -> None:
    whole = Facts("h", "", ("static", "torch"), sections={"host": HOST})
    blind = Facts("h", "", ("static",)).without("host", "/proc is not mounted")
    assert list(differences(whole, blind)) == [
        ("tiers", "static, torch", "static"),
        ("host", "seen", "/proc is not mounted"),
    ]


def test_a_wrong_value_in_facts_is_named_by_its_place() -> None:
    document = as_json(Facts("h", "", sections={"host": HOST}))
    document["sections"]["host"]["cpus"] = "four"
    with pytest.raises(FactsError, match=r"sections\.host\.cpus: expected int, found 'four'"):
        from_json(document)


def test_a_section_for_which_no_thread_can_be_started_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert collect(Machine(Need()), only=["host"]).absent == {"host": "can't start new thread"}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("rendezvous.api.RendezvousTimeoutError", "not every node came to b:29500 within 90 s"),
        ("socket.gaierror: [Errno -3]", "the name in b:29500, where the nodes meet, stands for no address here"),
        ("[rank1]: RuntimeError: Connection reset", "RuntimeError: Connection reset"),
    ],
)
def test_why_the_nodes_did_not_meet_is_told_in_plain_words(error: str, sentence: str) -> None:
    need = Need(nodes=2, rendezvous_host="b")
    machine = Machine(need, run=lambda *_: Completed(1, "", f"Traceback\n  File x\n{error}\nlater Error"))
    assert collective.collect(machine).failure == sentence


def test_a_hanging_command_is_killed_with_its_children() -> None:
    started = time.monotonic()
    with pytest.raises(Absent, match="no answer within"):
        run_command(["sh", "-c", "sleep 600 & sleep 600"], 0.2)
    assert time.monotonic() - started < 60


def test_a_collector_that_hangs_leaves_its_section_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hanging_collector.py").write_text("import time\ndef collect(machine):\n    time.sleep(30)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(collection.SOURCES, "host", Source("hanging_collector", 0.1))
    seen = collect(Machine(Need()), only=["host"])
    assert seen.why_absent("host") == "no answer within 0.1 s"


def test_torch_is_looked_at_only_after_the_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it computes there would be seen as a stranger's process on the GPU."""
    order = tmp_path / "order"
    for name, pause in (("gpus", 0.2), ("torch", 0)):
        text = f"import pathlib, time\ndef collect(machine):\n    time.sleep({pause})\n"
        text += f"    with pathlib.Path({str(order)!r}).open('a') as file: file.write('{name} ')\n"
        (tmp_path / f"{name}_noted.py").write_text(text)
        monkeypatch.setitem(collection.SOURCES, name, collection.SOURCES[name]._replace(module=f"{name}_noted"))
    monkeypatch.syspath_prepend(str(tmp_path))
    collect(Machine(Need()), ("static", "torch"), only=["gpus", "torch"])
    assert order.read_text() == "gpus torch "


def test_secrets_and_passwords_in_proxies_are_not_collected() -> None:
    environ = {"HF_TOKEN": "s3cret", "PYTORCH_API_KEY": "s3cret", "https_proxy": "http://me:s3cret@proxy:3128"}
    seen = collect(Machine(Need(), environ=environ), only=["environment"])
    assert seen.get("environment") == Environment({"https_proxy": "http://proxy:3128"})


def test_the_static_tier_starts_without_the_slow_modules_of_the_standard_library() -> None:
    """Each would take a tenth of the time that the whole tier may take."""
    program = "import sys; from envcheck.__main__ import main; main(['--static', '--json']); "
    program += "print([one for one in ('ctypes', 'statistics', 'tarfile', 'asyncio') if one in sys.modules])"
    assert run_command([sys.executable, "-c", program], 60).stdout.splitlines()[-1] == "[]"


def test_the_core_imports_nothing_but_the_standard_library() -> None:
    program = "import sys, envcheck.__main__; print([m for m in sys.modules if m in ('torch', 'numpy')])"
    assert run_command([sys.executable, "-c", program], 60).stdout.strip() == "[]"


def test_libraries_that_a_cuda_torch_has_mapped_are_read_back() -> None:
    section = {"mapped": {"libcudart": ["/opt/venv/lib/libcudart.so.13"]}}
    assert decode(Torch, section, "torch").mapped == section["mapped"]
    with pytest.raises(FactsError, match="libcudart: expected a list"):
        decode(Torch, {"mapped": {"libcudart": "one"}}, "torch")
