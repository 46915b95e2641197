"""Two runs held against each other: `verify-resume` and `reproduce`, and what tells them that they differ."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import comparison, store
from launcher.store import RunFolder
from tests.runs.conftest import JOB, Bench

SLOW = ("--set", "task.args.seconds=0.02")
STREAM = Path(__file__).parents[1] / "campaigns" / "kills.yaml"


@pytest.fixture
def copies(undisturbed: Bench, tmp_path: Path) -> Iterator[tuple[RunFolder, RunFolder]]:
    """The undisturbed run and a copy of it."""
    copy = tmp_path / undisturbed.folder().name
    shutil.copytree(undisturbed.folder(), copy)
    yield RunFolder(undisturbed.folder()), RunFolder(copy)


def answers(pair: tuple[RunFolder, RunFolder]) -> dict[str, str]:
    return {finding.question: finding.answer for finding in comparison.compare(*pair)}


def detail(pair: tuple[RunFolder, RunFolder], question: str) -> str:
    return next(finding.detail for finding in comparison.compare(*pair) if finding.question == question)


def test_the_ledger_has_a_line_for_the_start_and_for_every_step(undisturbed: Bench) -> None:
    lines = [json.loads(line) for line in (undisturbed.folder() / "ledger.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(25))
    assert len(lines[0]["start"]) == 32
    assert all(len(line["order"]) == 16 and float.fromhex(line["loss"]) > 0 for line in lines[1:])


def test_a_run_is_the_same_as_itself(copies: tuple[RunFolder, RunFolder]) -> None:
    assert set(answers(copies).values()) == {"yes"}
    assert comparison.diverged_at(*copies) is None


@pytest.mark.parametrize(("key", "question"), [("order", "same order"), ("loss", "same steps")])
def test_the_first_step_that_differs_is_named(copies: tuple[RunFolder, RunFolder], key: str, question: str) -> None:
    lines = [json.loads(line) for line in copies[1].ledger.read_text().splitlines()]
    for line in lines[9:]:
        line[key] = "0x1.0p+0"
    copies[1].ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert answers(copies)[question] == "no"
    assert "step 9" in detail(copies, question)
    assert comparison.diverged_at(*copies) == 9


@pytest.mark.parametrize(("file", "question"), [("model", "same weights"), ("training", "same optimizer")])
def test_the_first_tensor_that_differs_is_named(copies: tuple[RunFolder, RunFolder], file: str, question: str) -> None:
    path = copies[1].checkpoints / "step-00000024" / f"{file}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header.pop("__metadata__", None)
    assert detail(copies, question).startswith(max(header, key=lambda name: header[name]["data_offsets"][1]))


def test_the_first_place_in_the_state_that_differs_is_named(copies: tuple[RunFolder, RunFolder]) -> None:
    path = copies[1].checkpoints / "step-00000024" / "training.json"
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    assert detail(copies, "same state").endswith("seed: 3 and 4")


def test_without_a_ledger_the_steps_are_unknown_and_the_end_is_still_compared(
    copies: tuple[RunFolder, RunFolder],
) -> None:
    copies[1].ledger.unlink()
    found = answers(copies)
    assert (found["same order"], found["same start"], found["same weights"]) == ("unknown", "unknown", "yes")


def test_verify_resume_finds_the_same_bits(bench: Bench) -> None:
    done = bench.call("verify-resume", str(JOB), *SLOW, "--kills", "1")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("BITWISE")
    disturbed = store.list_runs(bench.runs_dir)[-1]
    assert disturbed.attempts == 2


@pytest.mark.long
def test_verify_resume_names_the_step_from_which_a_resume_differs(bench: Bench, tmp_path: Path) -> None:
    bench.environ["KILLS_MARKS"] = str(tmp_path / "marks")
    done = bench.call("verify-resume", str(STREAM), "--set", "task.args.defect=stream", "--kills", "1", "--json")
    assert done.exit_code == 1, done.stdout + done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    (resumed,) = verdict["resumed_at"]
    assert f"from step {resumed + 1} on, after going on from step {resumed}" in verdict["diagnosis"]


def test_verify_resume_refuses_a_job_that_saves_only_at_its_end(bench: Bench) -> None:
    done = bench.call("verify-resume", str(JOB), "--set", "checkpoint.every=99")
    assert done.exit_code == 2
    assert "checkpoint.every" in done.stderr


@pytest.mark.long
def test_reproduce_judges_a_record(bench: Bench, tmp_path: Path) -> None:
    job = tmp_path / "trial.yaml"
    shutil.copy(JOB, job)
    shutil.copy(JOB.with_name("trial.py"), tmp_path / "trial.py")
    assert bench.call("run", str(job)).exit_code == 0
    run = bench.folder().name
    again = bench.call("reproduce", run)
    assert (again.exit_code, "BITWISE" in again.stdout) == (0, True), again.stdout + again.stderr
    ledger = bench.runs_dir / run / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"step": 7, "order": "', '"step": 7, "order": "f'))
    assert "DIVERGED at step 7" in bench.call("reproduce", run).stdout
    job.write_text(job.read_text().replace("seed: 3", "seed: 4"))
    refused = bench.call("reproduce", run)
    assert (refused.exit_code, "NOT COMPARABLE" in refused.stdout, "job_sha256" in refused.stdout) == (1, True, True)
