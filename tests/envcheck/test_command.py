"""The command line: forms of output, exit codes, and what it says to a wrong request."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest

from envcheck.__main__ import main
from envcheck.check import Result, Status
from envcheck.checks import every_check
from envcheck.facts import Facts, as_json
from envcheck.report import Report, as_junit
from tests.envcheck.bench import REPOSITORY, Bench
from tests.envcheck.paper import driver_version, h100_node


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    bench = Bench(tmp_path / "healthy")
    h100_node(bench)
    return recorded(bench, tmp_path / "healthy.json")


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    bench = Bench(tmp_path / "faulty")
    h100_node(bench)
    driver_version(bench, "570.86.15")
    return recorded(bench, tmp_path / "faulty.json")


def recorded(bench: Bench, path: Path, sections: Sequence[str] = ("host", "driver", "gpus", "environment")) -> Path:
    path.write_text(json.dumps(as_json(bench.facts(sections))))
    return path


def test_a_fit_machine_is_exit_0(healthy: Path) -> None:
    assert main(["--facts", str(healthy), "--select", "driver"]) == 0


def test_a_fault_is_exit_3_and_shown_with_its_remedy(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--facts", str(faulty), "--select", "DRV004"]) == 3
    shown = capsys.readouterr().out
    assert "-> reboot" in shown
    assert "UNFIT: 1 fail" in shown


def test_strict_counts_unknown_as_unfit(tmp_path: Path) -> None:
    blind = recorded(Bench(tmp_path / "blind"), tmp_path / "blind.json", sections=["host"])
    assert main(["--facts", str(blind), "--select", "DRV004"]) == 0
    assert main(["--facts", str(blind), "--select", "DRV004", "--strict"]) == 3


def test_an_unknown_id_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--select", "DRV0004"]) == 2
    assert "did you mean DRV0" in capsys.readouterr().err


def test_json_carries_results_and_facts(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--facts", str(faulty), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["fit"] is False
    assert document["facts"]["sections"]["driver"]["kernel_module"] == "570.86.15"


def test_junit_has_one_failure_for_the_fault(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--facts", str(faulty), "--select", "DRV004", "--junit"])
    suite = ElementTree.fromstring(capsys.readouterr().out).find("testsuite")  # noqa: S314 - our own output
    assert suite is not None
    assert suite.get("failures") == "1"
    assert suite.find("testcase/failure") is not None


@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_junit_counts_what_it_holds_and_names_every_case(
    faulty: Path, strict: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--facts", str(faulty), "--junit", *strict])
    suites = ElementTree.fromstring(capsys.readouterr().out)  # noqa: S314 - our own output
    (suite,) = suites
    assert (suites.tag, suite.tag, {case.tag for case in suite}) == ("testsuites", "testsuite", {"testcase"})
    assert all(case.get("name") and case.get("classname") for case in suite)
    found = Counter(child.tag for case in suite for child in case)
    assert {"tests": str(len(suite)), "failures": str(found["failure"]), "skipped": str(found["skipped"])}.items() <= (
        suite.attrib.items()
    )


def test_junit_holds_no_character_that_xml_forbids(tmp_path: Path) -> None:
    said = Result("DRV007", "driver", "It answers", Status.FAIL, "nvidia-smi says: \x1b[31mlost\x00", "reboot\x07")
    ElementTree.fromstring(as_junit([Report(Facts("h", ""), [said])]))  # noqa: S314 - our own output


def test_a_torn_facts_file_is_exit_2_with_its_position(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = tmp_path / "torn.json"
    torn.write_text('{"schema": 1,\n  "host": ')
    assert main(["--facts", str(torn)]) == 2
    assert f"{torn}:2:" in capsys.readouterr().err


def test_a_facts_file_that_is_no_text_is_exit_2_with_its_position(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noise").write_bytes(b'{"\xa3')
    assert main(["--facts", str(tmp_path / "noise")]) == 2
    assert "noise: byte 2 is no text" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "envcheck", "--list"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None and listing.stderr is not None
        listing.stdout.close()
        assert (listing.stderr.read(), listing.wait(60)) == (b"", 141)


def test_diff_names_what_differs(healthy: Path, faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(healthy), str(faulty)]) == 3
    assert capsys.readouterr().out == "driver.kernel_module: 580.95.05 -> 570.86.15\n"
    assert main(["diff", str(healthy), str(healthy)]) == 0


def test_saved_facts_are_judged_like_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "facts.json"
    assert main(["--static", "--save", str(saved), "--select", "DET002", "--json"]) == 0
    live = json.loads(capsys.readouterr().out)
    main(["--facts", str(saved), "--select", "DET002", "--json"])
    assert json.loads(capsys.readouterr().out) == live


def test_the_report_follows_the_published_schema(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads((REPOSITORY / "docs" / "envcheck.schema.json").read_text())
    main(["--facts", str(faulty), "--json"])
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)


def test_checks_blind_for_one_reason_share_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blind = recorded(Bench(tmp_path / "blind"), tmp_path / "blind.json", sections=["host"])
    main(["--facts", str(blind), "--select", "DRV005,DRV008"])
    shown = capsys.readouterr().out
    assert "DRV005  and DRV008" in shown
    assert shown.count("cannot see driver") == 1


def test_nothing_is_coloured_away_from_a_terminal(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--facts", str(faulty)])
    assert "\x1b" not in capsys.readouterr().out


def test_explain_tells_reason_remedy_and_failure_modes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--explain", "drv004"]) == 0
    shown = capsys.readouterr().out
    assert "error 803" in shown
    assert "failure modes: F04" in shown


def test_the_list_names_every_check_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = [line.split(" ", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [one.id for one in every_check()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--rendezvous head", "'head' is not HOST:PORT"),
        ("--rendezvous head:0", "'head:0' is not HOST:PORT"),
        ("--nodes two", "'two' is not a whole number from 1 on"),
        ("--nodes -3", "'-3' is not a whole number from 1 on"),
        ("--procs-per-node 0", "'0' is not a whole number from 1 on"),
        ("--nodes 2 --node-rank 2", "--node-rank 2 is not one of --nodes 2"),
        ("--json --junit", "not allowed with argument --json"),
        ("--select ,", "names no family and no check"),
        ("--host a --facts b", "--facts does not go with --host"),
        ("--host a --collective", "--collective does not go with --host"),
        ("--facts a --static", "--static does not go with --facts"),
        ("--static --select LIB020", "nothing was checked: LIB020 (tier torch)"),
        ("--what", "unrecognized arguments: --what"),
    ],
)
def test_a_wrong_request_is_exit_2_and_a_sentence(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split(" ")) == 2
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told


def test_recorded_facts_are_judged_for_the_job_that_is_told(healthy: Path) -> None:
    assert main(["--facts", str(healthy), "--select", "DRV011", "--device", "cuda"]) == 0
    assert main(["--facts", str(healthy), "--select", "DRV011", "--device", "cuda", "--procs-per-node", "9"]) == 3


def test_facts_that_cannot_be_written_are_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--static", "--select", "DET002", "--save", str(tmp_path / "no" / "facts.json")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_a_selected_check_of_another_tier_is_told_as_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--static", "--select", "LIB020,DET002"]) == 0
    assert "not judged: LIB020 (tier torch)" in capsys.readouterr().err
