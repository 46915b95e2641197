import errno
import fcntl
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher import creation, lock, store
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.lock import Holder
from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.store import RunFolder

Create = Callable[..., RunFolder]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def create(runs: Path) -> Create:
    def create(run_id: str = "mlp-20260101T000000-aaaa") -> RunFolder:
        about = {"name": "mlp", "created": "2026-01-01T00:00:00+00:00"}
        plan = a_plan(runs / run_id)
        return creation.create(runs, plan, job=b"name: mlp\n", overrides=["a=1"], record=about, patch="")

    return create


def a_plan(run_dir: Path) -> Plan:
    spec = JobSpec(name="mlp", task=TaskSpec(target="t.py:f"), training=Training(steps=1))
    return make(spec, run_id=run_dir.name, run_dir=run_dir, job_dir=run_dir, machine=Machine(cores=1))


def hold_lock(folder: RunFolder) -> subprocess.Popen[str]:
    program = f"""
from pathlib import Path; from launcher.store import RunFolder; import sys
with RunFolder(Path({str(folder.path)!r})).watched(): print("held", flush=True); sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_new_run_waits(create: Create) -> None:
    record = store.record(create().path)
    assert (record.state, record.name, record.attempts) == ("QUEUED", "mlp", 0)


def test_the_job_is_kept_byte_for_byte_and_only_for_its_owner(create: Create) -> None:
    folder = create()
    assert folder.job.read_bytes() == b"name: mlp\n"
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_plan_comes_back_from_its_file_as_it_was(create: Create) -> None:
    folder = create()
    assert folder.read_plan() == a_plan(folder.path)


def test_a_watched_run_is_running_and_names_its_watcher(create: Create) -> None:
    folder = create()
    holder = hold_lock(folder)
    try:
        assert store.record(folder.path).state == "RUNNING"
        assert folder.holder() == Holder(
            pid=holder.pid, host=socket.gethostname(), boot=lock.boot_id(), pid_space=lock.pid_space()
        )
    finally:
        end(holder)
    assert folder.holder() is None


def test_a_second_launcher_is_refused(create: Create) -> None:
    folder = create()
    holder = hold_lock(folder)
    try:
        with pytest.raises(RequestError, match=f"already watched by process {holder.pid}"), folder.watched():
            pass
    finally:
        end(holder)


def test_a_run_whose_launcher_was_killed_has_failed_and_says_so(create: Create) -> None:
    folder = create()
    folder.begin_attempt(folder.read_plan())
    end(hold_lock(folder))
    record = store.record(folder.path)
    assert record.state == "FAILED" and record.root_cause is not None
    assert "ended without a verdict" in record.root_cause["message"]


def test_the_lock_of_another_machine_leaves_the_state_unknown(create: Create) -> None:
    folder = create()
    folder.begin_attempt(folder.read_plan())
    folder.lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    assert store.record(folder.path).state == "UNKNOWN"


def test_progress_is_folded_from_the_events_and_a_torn_line_is_passed_over(create: Create) -> None:
    folder = create()
    folder.append_event({"event": "attempt", "attempt": 2})
    folder.append_event({"event": "progress", "step": 7, "epoch": 2, "total_steps": 9, "loss": 1.0})
    folder.append_event({"event": "checkpoint", "step": 6, "name": "step-00000006"})
    with folder.events.open("a") as events:
        events.write('{"event": "progress", "st')
    record = store.record(folder.path)
    assert (record.attempts, record.step, record.total_steps, record.checkpoint) == (2, 7, 9, "step-00000006")


def test_a_saved_step_was_made_though_no_progress_says_so(create: Create) -> None:
    folder = create()
    folder.append_event({"event": "progress", "step": "damaged"})
    folder.append_event({"event": "checkpoint", "step": 6, "name": "step-00000006"})
    assert store.record(folder.path).step == 6


def test_an_event_after_a_torn_line_is_not_lost_with_it(create: Create) -> None:
    folder = create()
    folder.events.write_text('{"event": "progress", "st')
    folder.append_event({"event": "attempt", "attempt": 2})
    assert store.record(folder.path).attempts == 2


def test_a_verdict_is_read_back_whole(create: Create) -> None:
    folder = create()
    verdict = replace(store.record(folder.path), state="SUCCEEDED", step=3, metrics={"a": 0.5}, exit_code=0)
    store.write_result(folder, verdict)
    assert store.record(folder.path) == verdict


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe", b'{"state": 3, "unknown": 1}'])
def test_a_damaged_result_never_stops_the_list(create: Create, runs: Path, damage: bytes) -> None:
    create().result.write_bytes(damage)
    assert [record.state for record in store.list_runs(runs)] in (["QUEUED"], ["UNKNOWN"])


def test_runs_are_found_by_id_prefix_and_latest(create: Create, runs: Path) -> None:
    first = create("mlp-20260101T000000-aaaa").path
    last = create("abc-20260102T000000-bbbb").path
    assert store.find(runs, first.name) == first
    assert store.find(runs, "mlp") == first
    assert store.find(runs, "latest") == last


def test_a_prefix_of_two_runs_is_refused_with_both(create: Create, runs: Path) -> None:
    create("mlp-20260101T000000-aaaa")
    create("mlp-20260101T000000-bbbb")
    with pytest.raises(RequestError, match="2 runs begin so"):
        store.find(runs, "mlp-2026")


def test_an_unknown_run_is_refused_with_the_nearest(create: Create, runs: Path) -> None:
    create("mlp-20260101T000000-aaaa")
    with pytest.raises(RequestError) as refusal:
        store.find(runs, "mpl-20260101T000000-aaaa")
    assert "mlp-20260101T000000-aaaa" in str(refusal.value.hint)


@pytest.mark.parametrize("name", ["../x", "/etc", "", ".", "a/b"])
def test_a_run_id_never_leads_out_of_the_runs_folder(create: Create, runs: Path, name: str) -> None:
    create()
    with pytest.raises(RequestError, match="no such run"):
        store.find(runs, name)


def test_no_runs_at_all_is_a_request_error(runs: Path) -> None:
    with pytest.raises(RequestError, match="no runs here"):
        store.find(runs, "latest")


def test_a_place_that_cannot_be_written_is_unfit_and_names_the_remedy(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(EnvironmentUnfit) as refusal:
        creation.create(blocked / "runs", a_plan(blocked / "runs" / "r"), job=b"", overrides=[], record={}, patch="")
    assert "--runs-dir" in str(refusal.value.hint)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    store.write_whole(target, "old")
    with pytest.raises(UnicodeEncodeError):
        store.write_whole(target, "\udc80")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_a_launcher_was_killed_while_making_is_no_run_and_is_cleared_away(
    create: Create, runs: Path
) -> None:
    unborn = runs / ".mlp-20260101T000000-cccc.new"
    unborn.mkdir(parents=True)
    os.utime(unborn, (0, 0))
    assert store.list_runs(runs) == []
    create()
    assert not unborn.exists()


@pytest.mark.parametrize(("call", "full_at"), [("write", 1), ("write", 4), ("sync_folder", 1), ("sync_folder", 2)])
def test_a_disk_that_is_full_at_any_call_leaves_no_part_of_a_run(
    create: Create, runs: Path, call: str, full_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    does, calls = getattr(creation.durable, call), itertools.count(1)

    def refuse(*words: Any) -> Any:
        if next(calls) == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return does(*words)

    monkeypatch.setattr(creation.durable, call, refuse)
    with pytest.raises(EnvironmentUnfit, match="No space left"):
        create()
    assert list(runs.iterdir()) == []


def test_a_folder_that_is_being_made_is_left_alone(create: Create, runs: Path) -> None:
    unborn = runs / ".mlp-20260101T000000-cccc.new"
    unborn.mkdir(parents=True)
    os.utime(unborn, (0, 0))
    descriptor = os.open(unborn, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    create()
    os.close(descriptor)
    assert unborn.exists()


def test_a_new_attempt_clears_away_what_a_killed_one_left_half_written(create: Create) -> None:
    folder = create()
    folder.begin_attempt(folder.read_plan())
    leftovers = [folder.path / ".result.json.17.tmp", folder.attempt_dir(1) / ".rank-0.json.18.tmp"]
    for path in leftovers:
        path.touch()
    folder.begin_attempt(replace(folder.read_plan(), attempt=2))
    assert not any(path.exists() for path in leftovers)


def test_a_full_disk_loses_an_event_and_not_the_run(create: Create) -> None:
    folder = create()
    folder.events.symlink_to("/dev/full")
    folder.append_event({"event": "attempt", "attempt": 1})
    assert list(store.events(folder)) == []
