"""Whatever a file of the run folder holds, who reads it back says a clear error or goes on: no traceback, no hang."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envcheck import facts
from envcheck.facts import FactsError
from launcher import checkpoints, cli, creation, lock, readback, store, typed
from launcher.checkpoints import begin, claim, commit
from launcher.errors import LauncherError
from launcher.manifest import Manifest
from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.store import RunFolder
from launcher.worker.metrics import MetricsFile

FILES = (
    *("job.yaml", "overrides.json", "plan.json", "record.json", "events.jsonl", "metrics.jsonl", "result.json"),
    *("lock", "nodes/0.json", "attempts/1/rank-0.json", "attempt", "checkpoints/step-00000001/manifest.json"),
)
READERS = (
    *(("runs",), ("runs", "--json"), ("show", "latest"), ("show", "latest", "--json"), ("logs", "latest")),
    ("stop", "latest"),
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)
NASTY = (
    *(b"", b"{", b"[1]", b"null", b"\xff\xfe{}", b"\0" * 4096, b"9" * 5000, b'{"step": 1e999}'),
    *(b"[" * 100_000, b'{"a":' * 100_000),
)
QUICK = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "12")), deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder with every file in it that is ever read back."""
    run_dir = tmp_path_factory.mktemp("runs") / "mlp-20260101T000000-aaaa"
    spec = JobSpec(name="mlp", task=TaskSpec(target="t.py:f"), training=Training(steps=1, clip_norm=1.0))
    plan = make(spec, run_id=run_dir.name, run_dir=run_dir, job_dir=run_dir, machine=Machine(cores=1))
    about = {"name": "mlp", "created": "2026-01-01T00:00:00+00:00"}
    folder = creation.create(run_dir.parent, plan, job=b"name: mlp\n", overrides=["a=1"], record=about, patch="")
    folder.begin_attempt(plan)
    fence = claim(run_dir, 1)
    manifest = Manifest(step=1, epoch=1, attempt=1, world_size=1, spec="", created="")
    commit(begin(checkpoints.folder(run_dir), 1, 1), manifest, fence)
    for event in ({"event": "attempt", "attempt": 1}, {"event": "progress", "step": 1, "epoch": 1, "total_steps": 9}):
        folder.append_event(event)
    verdict = {**store.record(run_dir).to_json(), "root_cause": {"kind": "user", "message": "m", "rank": 0}}
    folder.result.write_text(json.dumps(verdict))
    folder.metrics.write_text('{"step": 1, "epoch": 1, "loss": 0.5}\n')
    folder.node_facts(0).parent.mkdir()
    shutil.copy(Path(__file__).parents[1] / "envcheck" / "data" / "cpu-laptop.json", folder.node_facts(0))
    folder.rank_log(1, 0).write_text("hello\n")
    folder.rank_outcome(1, 0).write_text(json.dumps({"rank": 0, "state": "done", "step": 1, "epoch": 1}))
    with folder.watched():
        return folder


@pytest.fixture
def runs(whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name)
    monkeypatch.setenv("LAUNCHER_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs" / whole.path.name


def read_all(run_dir: Path) -> Iterator[tuple[str, int]]:
    """Every command that reads a run, and its exit code; an error that no command may have comes through."""
    for words in READERS:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(words))
        yield " ".join(words), int(ended.value.code or 0)


def read_for_resume(run_dir: Path) -> None:
    folder = RunFolder(run_dir)
    with_errors: tuple[Callable[[], Any], ...] = (
        folder.read_plan,
        lambda: checkpoints.newest_verified(folder.checkpoints),
        lambda: claim(run_dir, 2),
        lambda: folder.node_facts(0).is_file() and facts.load(folder.node_facts(0)),
        lambda: MetricsFile(folder.metrics, step=1, validated=True).close(),
    )
    for read in with_errors:
        try:
            read()
        except (LauncherError, FactsError) as error:
            assert str(error)
    folder.append_event({"event": "attempt", "attempt": 2})


def survives(run_dir: Path) -> None:
    for command, code in read_all(run_dir):
        assert code in (0, 2), command
    read_for_resume(run_dir)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", NASTY, ids=range(len(NASTY)))
def test_nasty_contents(runs: Path, name: str, content: bytes) -> None:
    (runs / name).write_bytes(content)
    survives(runs)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("instead", ["missing", "folder", "pipe", "link to itself", "link to a device"])
def test_something_else_under_a_files_name(runs: Path, name: str, instead: str) -> None:
    path = runs / name
    path.unlink()
    if instead == "folder":
        path.mkdir()
    elif instead == "pipe":
        os.mkfifo(path)
    elif instead == "link to itself":
        path.symlink_to(path.name)
    elif instead == "link to a device":
        path.symlink_to("/dev/zero")
    survives(runs)


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.endswith((".json", "lock")) and "manifest" not in name]
)
@QUICK
@given(data=st.data())
def test_values_of_any_type_in_any_place(whole: RunFolder, runs: Path, name: str, data: st.DataObject) -> None:
    original = (whole.path / name).read_bytes()
    document = json.loads(original)
    document = planted(document, data) if isinstance(document, dict) else data.draw(VALUES)
    (runs / name).write_text(json.dumps(document))
    survives(runs)


@pytest.mark.parametrize("name", FILES)
@QUICK
@given(data=st.data())
def test_cut_and_flipped_bytes(whole: RunFolder, runs: Path, name: str, data: st.DataObject) -> None:
    content = bytearray((whole.path / name).read_bytes())
    shutil.copytree(whole.checkpoints, runs / "checkpoints", dirs_exist_ok=True)  # a damaged one was set aside
    cut = data.draw(st.integers(0, len(content)))
    content = content[:cut]
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (runs / name).write_bytes(content)
    survives(runs)


def planted(document: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The document with one value, at any depth, replaced."""
    key = data.draw(st.sampled_from(sorted(document) or ["a"]))
    inner = document.get(key)
    deeper = isinstance(inner, dict) and inner and data.draw(st.booleans())
    return {**document, key: planted(inner, data) if deeper else data.draw(VALUES)}


def test_a_damaged_lock_never_leads_to_a_signal_for_everybody(runs: Path) -> None:
    for pid in (-1, 0, 1, True, "1", 2.0):
        (runs / "lock").write_text(json.dumps({"pid": pid, "host": "h", "boot": "b"}))
        assert lock.last_holder(runs / "lock").pid is None


def test_an_event_after_a_torn_one_is_not_lost(runs: Path) -> None:
    folder = RunFolder(runs)
    with folder.events.open("a") as events:
        events.write('{"event": "progr')
    folder.append_event({"event": "attempt", "attempt": 7})
    assert list(store.events(folder))[-1]["attempt"] == 7


def test_a_plan_with_a_wrong_value_is_refused_with_its_place(whole: RunFolder) -> None:
    plan = readback.json_object(whole.plan)
    plan["spec"]["training"]["seed"] = "x"
    with pytest.raises(typed.Misfit, match=r"spec.training.seed: 'x' is not int"):
        Plan.from_json(plan)
