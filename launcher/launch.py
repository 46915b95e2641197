"""The use case: a job becomes a plan, a run folder, node programs and a verdict; again from a checkpoint on resume."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import (
    backends,
    beginning,
    changes,
    checkpoints,
    detaching,
    draft,
    jobfile,
    plan,
    processes,
    store,
    submitted,
    waiting,
)
from launcher.attempt import Attempt, StopRequest
from launcher.errors import LauncherError, RequestError
from launcher.journal import Journal, Listener
from launcher.mirrors import Mirrors
from launcher.plan import Plan
from launcher.programs import Programs
from launcher.retrying import Decision, Tries
from launcher.spec import JobSpec
from launcher.store import RunFolder, RunRecord
from launcher.verdict import Verdict, judge, lost_hosts, unfit

MOST_DIFFERENCES = 5
"""Of the settings in which a job differs from an earlier run's, so many are named."""


def run(
    job_path: Path,
    overrides: Sequence[str],
    *,
    runs_dir: Path,
    resume: str | None,
    source: str | None = None,
    detach: bool,
    listener: Listener,
    environment: Mapping[str, str] | None = None,
) -> RunRecord:
    """Run a job to its verdict, or with `detach` start it and return at once.

    `resume` overrides the job's `checkpoint.resume`: never, auto, or the id of a run. `source` is the id of a run, of
    whatever job, with whose newest checkpoint a new run begins. `environment` holds variables of a new run's workers
    that no job file may set. Raises RequestError and EnvironmentUnfit before
    anything is started or written.
    """
    spec = draft.load(job_path, overrides)
    choice = "never" if source else resume or spec.checkpoint.resume
    earlier = _earlier_run(choice, spec, job_path, runs_dir, listener)
    if earlier is not None:
        return _go_on(RunFolder(earlier), detach=detach, listener=listener)
    decided = draft.decide(spec, job_path, runs_dir)
    decided = dataclasses.replace(decided, env={**decided.env, **(environment or {})})
    backends.named(spec.backend).render(decided)
    begun = beginning.find(runs_dir, source, listener) if source else None
    folder = draft.create(
        jobfile.contents(job_path),
        job_path,
        overrides,
        runs_dir,
        decided,
        about={"began_with": begun.to_json()} if begun else {},
        fill=begun.fill if begun else None,
    )
    return _started(folder, decided, detach=detach, listener=listener)


def resume(run_dir: Path, *, detach: bool, listener: Listener) -> RunRecord:
    """Go on with a run from its newest verified checkpoint, or start one that waits."""
    return _go_on(RunFolder(run_dir.resolve()), detach=detach, listener=listener)


def rejoin(run_dir: Path, *, listener: Listener) -> RunRecord:
    """`resume`, or where a scheduler still has the run, watch it again."""
    folder = RunFolder(run_dir)
    known = folder.read_submission()
    queue = backends.named(known["backend"]).queue if known else None
    if known is None or queue is None or queue.state(known["job"]) is None:
        return resume(run_dir, detach=False, listener=listener)
    stop_request = StopRequest()
    stop_request.install()
    return submitted.watch(folder, queue, known["job"], listener, stop_request)


def describe(job_path: Path, overrides: Sequence[str], *, runs_dir: Path) -> dict[str, Any]:
    """What `run` would do, as data: the plan with its reasons, and each node's command. Nothing is written."""
    spec = draft.load(job_path, overrides)
    decided = draft.decide(spec, job_path, runs_dir)
    submission = backends.named(spec.backend).render(decided)
    return {
        "plan": decided.to_json(),
        "commands": [
            {"node": node_rank, "command": shlex.join(command.argv), "stdin": command.request}
            for node_rank, command in enumerate(submission.commands)
        ],
        **({"files": dict(submission.files)} if submission.files else {}),
    }


def _earlier_run(choice: str, spec: JobSpec, job_path: Path, runs_dir: Path, listener: Listener) -> Path | None:
    """The run to go on with, by the job's or the command's choice. One of another job is never gone on with."""
    if choice == "never":
        return None
    if choice != "auto":
        run_dir = store.find(runs_dir, choice)
        if differing := _differences(run_dir, spec, job_path):
            raise RequestError(
                f"{run_dir.name} is a run of another job: {differing}",
                hint=f"`launcher resume {run_dir.name}` goes on with its own job; --from {run_dir.name} begins a run"
                " of this one with its newest checkpoint",
            )
        return run_dir
    passed_over = ""
    for record in reversed(store.list_runs(runs_dir)):
        if record.name == spec.name and record.state in ("FAILED", "STOPPED", "QUEUED"):
            with contextlib.suppress(RequestError):
                differing = _differences(Path(record.run_dir), spec, job_path)
                if not differing:
                    return Path(record.run_dir)
                passed_over = passed_over or f"{record.run_id} is not gone on with, its job is another: {differing}"
    if passed_over:
        listener({"event": "warning", "text": passed_over})
    return None


def _differences(run_dir: Path, spec: JobSpec, job_path: Path) -> str:
    earlier = RunFolder(run_dir).read_plan()
    return ", ".join(plan.differences(earlier, spec, job_path.resolve().parent)[:MOST_DIFFERENCES])


def _go_on(folder: RunFolder, *, detach: bool, listener: Listener) -> RunRecord:
    record = store.record(folder.path)
    if record.state == "SUCCEEDED":
        raise RequestError(
            f"{folder.path.name}: already done at step {record.step}", hint="start a new run: launcher run JOB"
        )
    decided = folder.read_plan()
    if folder.path != Path(decided.run_dir):  # the folder was moved; its plan names the place it had
        decided = dataclasses.replace(decided, run_dir=str(folder.path))
    return _started(folder, decided, detach=detach, listener=listener)


def _started(folder: RunFolder, decided: Plan, *, detach: bool, listener: Listener) -> RunRecord:
    backend = backends.named(decided.spec.backend)
    stop_request = StopRequest()
    if backend.queue is None:
        if detach:
            return _detached(folder)
        if threading.current_thread() is threading.main_thread():
            stop_request.install()
        return attend(folder, decided, listener, stop_request)
    submitted.refuse_if_queued(folder, backend.queue)
    job = submitted.submit(folder, decided, backend.queue, backend.render(decided).files)
    if detach:
        return store.record(folder.path)
    stop_request.install()
    return submitted.watch(folder, backend.queue, job, listener, stop_request)


def attend(folder: RunFolder, decided: Plan, listener: Listener, stop_request: StopRequest) -> RunRecord:
    """Make attempts and watch over them until there is a verdict that stands."""

    journal = Journal(folder, listener)
    with (
        folder.watched(),
        Mirrors(folder, decided, journal) as mirrors,
        Programs(decided.run_id) as programs,
    ):
        tell = mirrors.tell
        attempt = _taken_over(folder, decided, tell)
        newest = _newest_checkpoint(folder, tell)
        tries = Tries(decided.spec.retry, newest)
        while True:
            decided = dataclasses.replace(decided, attempt=attempt, resume_from=newest)
            verdict = _one_attempt(folder, decided, tell, stop_request, programs)
            cause = verdict.root_cause
            if verdict.state != "FAILED" or cause is None or stop_request.times:
                break
            with programs.kept_waiting():
                newest = _newest_checkpoint(folder, tell)
            decision = tries.after(cause, newest or store.record(folder.path).checkpoint)  # a pod's stay on the claim
            if not decision.again:
                verdict = _final(verdict, decision, decided)
                break
            if not decision.warm:
                programs.end()
                decided = _elsewhere(decided, cause, tell)
            attempt += 1
            told = {"cause": cause, "reason": decision.reason, "delay": decision.delay}
            tell({"event": "retrying", "attempt": attempt, **told})
            with programs.kept_waiting():
                if waiting.until(lambda: stop_request.times > 0, decision.delay):
                    break
        journal.catch_up()
        outcome = _outcome(folder, decided, verdict)
        store.write_result(folder, outcome)
        tell({"event": "finished", "state": verdict.state})
    return outcome


def _taken_over(folder: RunFolder, decided: Plan, tell: Listener) -> int:
    """The number of the next attempt, after what an earlier launcher may have been killed before it could clean up."""
    if not folder.attempt_dir(decided.attempt).exists():
        return decided.attempt
    processes.end_marked(decided.run_id)
    backends.named(decided.spec.backend).collect(decided, folder, None, tell)
    if changed := changes.since(folder):
        tell({"event": "warning", "text": f"not as it was when the run began: {'; '.join(changed)}"})
    return decided.attempt + 1


def _elsewhere(decided: Plan, cause: Mapping[str, Any], tell: Listener) -> Plan:
    """The plan without the node that failed, where the backend can do without it."""
    exchange = backends.named(decided.spec.backend).instead(decided, cause)
    if exchange is None:
        return decided
    tell({"event": "warning", "text": exchange.told})
    return exchange.plan


def _final(verdict: Verdict, decision: Decision, decided: Plan) -> Verdict:
    """The verdict of a run that is not tried again, with the reason where the job asked for retries."""
    if decided.spec.retry.max == 0:
        return verdict
    return dataclasses.replace(verdict, root_cause={**(verdict.root_cause or {}), "not_retried": decision.reason})


def _one_attempt(
    folder: RunFolder, decided: Plan, listener: Listener, stop_request: StopRequest, programs: Programs
) -> Verdict:
    backend = backends.named(decided.spec.backend)
    submission = backend.render(decided)
    folder.begin_attempt(decided)
    checkpoints.claim(folder.path, decided.attempt)
    listener(
        {
            "event": "attempt",
            "run_id": decided.run_id,
            "run_dir": decided.run_dir,
            "attempt": decided.attempt,
            "nodes": decided.nodes,
            "world_size": decided.world_size,
            "device": decided.device,
            "precision": decided.precision,
            "reasons": dict(decided.reasons),
            "resume_from": decided.resume_from,
        }
    )
    try:
        if not programs.warm:
            programs.end()
            backend.prepare(decided, folder, listener)
    except LauncherError as error:
        return unfit(error)
    nodes = Attempt(decided, folder, listener, stop_request, programs).run(submission)
    if not (programs.warm and backend.keeps_warm(decided)):
        programs.end()
    backend.collect(decided, folder, lost_hosts(nodes), listener)
    return judge(decided, nodes, stop_asked=bool(stop_request.times))


def _newest_checkpoint(folder: RunFolder, listener: Listener) -> str | None:
    """Name of the newest checkpoint of which every byte verifies; worse ones are set aside and named."""
    found = checkpoints.newest_verified(
        folder.checkpoints, report=lambda fault: listener({"event": "warning", "text": str(fault)})
    )
    return found[0] if found is not None else None


def _outcome(folder: RunFolder, decided: Plan, verdict: Verdict) -> RunRecord:
    seen = store.record(folder.path)
    cause = verdict.root_cause
    if cause is not None and cause.get("rank") is not None:
        cause = {**cause, "log": str(folder.rank_log(decided.attempt, cause["rank"]))}
    elif cause is not None and cause.get("node") is not None:
        cause = {**cause, "log": str(folder.node_log(decided.attempt, cause["node"]))}
    return dataclasses.replace(
        seen,
        state=verdict.state,
        attempts=decided.attempt,
        step=verdict.step or seen.step,
        epoch=verdict.epoch or seen.epoch,
        metrics=verdict.metrics or seen.metrics,
        checkpoint=verdict.checkpoint or seen.checkpoint,
        weights_sha256=verdict.weights_sha256,
        root_cause=cause,
        exit_code=verdict.exit_code,
    )


def _detached(folder: RunFolder) -> RunRecord:
    """Let a launcher of its own session watch the run, and return once it has taken the run over."""
    words = ["resume", folder.path.name, "--runs-dir", str(folder.path.parent)]
    detaching.begin(words, log=folder.supervisor_log, begun=lambda _: _is_attended(folder))
    return store.record(folder.path)


def _is_attended(folder: RunFolder) -> bool:
    """Whether somebody watches the run, or has already seen it to its end."""
    return folder.holder() is not None or store.record(folder.path).state == "SUCCEEDED"
