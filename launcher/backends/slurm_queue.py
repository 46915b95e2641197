"""Slurm as a queue: jobs handed in, asked about, ended, and put back."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Literal

from launcher import shell
from launcher.backends import slurm
from launcher.backends.base import Backend, Queue
from launcher.backends.slurm import SCRIPT
from launcher.errors import EnvironmentUnfit
from launcher.plan import Plan
from launcher.store import RunFolder, write_whole

# What squeue says, and what it means to us; a word that is not here is not with Slurm any longer.
STATES: dict[str, Literal["QUEUED", "RUNNING"]] = {
    "PENDING": "QUEUED",
    "REQUEUED": "QUEUED",
    "REQUEUE_HOLD": "QUEUED",
    "REQUEUE_FED": "QUEUED",
    "SPECIAL_EXIT": "QUEUED",
    "CONFIGURING": "RUNNING",
    "RUNNING": "RUNNING",
    "COMPLETING": "RUNNING",
    "SUSPENDED": "RUNNING",
    "STOPPED": "RUNNING",
    "SIGNALING": "RUNNING",
    "STAGE_OUT": "RUNNING",
    "RESIZING": "RUNNING",
}

FORGOTTEN = "Invalid job id"
"""What squeue says of a job that is long over; any other complaint is that Slurm's controller does not answer."""
PATIENCE = 20.0


def submit(plan: Plan, folder: RunFolder) -> str:
    """The job's id. Raises EnvironmentUnfit with what sbatch said against it."""
    script = folder.path / SCRIPT
    said = shell.read(["sbatch", "--parsable", str(script)], timeout=60)
    if said is None:
        why = shell.complaint(["sbatch", "--test-only", str(script)], timeout=60)
        raise EnvironmentUnfit(
            f"sbatch refused {script}: {why}", hint="--set slurm.KEY=VALUE, `sinfo` says what is there"
        )
    job = said.strip().split(";")[0]
    write_whole(folder.submission, json.dumps({"backend": "slurm", "job": job, "attempt": plan.attempt}))
    return job


def state(job: str) -> Literal["QUEUED", "RUNNING", "UNKNOWN"] | None:
    asked = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
    said = shell.read(asked)
    if said is None and shutil.which("squeue") and FORGOTTEN not in (shell.complaint(asked, timeout=PATIENCE) or ""):
        return "UNKNOWN"
    return STATES.get((said or "").strip())


def cancel(job: str, gently: bool) -> bool:
    """End the job. Gently, one that may run is asked through its batch step, so that it saves. False if unheard."""
    saving = ["--batch", "--signal=TERM"] if gently and state(job) != "QUEUED" else []
    refused = shell.complaint(["scancel", *saving, job], timeout=PATIENCE)
    return refused is None or state(job) != "UNKNOWN"


def last_word(job: str) -> str:
    """Slurm's word for how a job ended; it forgets soon where there is no accounting."""
    about = _about(job).get("JobState")
    if about is None:
        said = shell.read(["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State"])
        about = (said or "").split("\n")[0].split(" ")[0]
    return about or "forgotten"


def taken_away(job: str) -> bool:
    """Whether Slurm is about to give the job's nodes to others, which looks to the job like being cancelled."""
    about = _about(job)
    preempted = about.get("PreemptTime", "None") not in ("None", "Unknown", "(null)", "")
    return preempted and about.get("JobState") not in ("CANCELLED", "FAILED")


def put_back(job: str) -> bool:
    """Let the job wait for its next turn. False when Slurm refuses."""
    return shell.complaint(["scontrol", "requeue", job], timeout=PATIENCE) is None


def own_job() -> str:
    """The job that this process runs in."""
    return os.environ["SLURM_JOB_ID"]


def _about(job: str) -> dict[str, str]:
    said = shell.read(["scontrol", "show", "--oneliner", "job", job]) or ""
    return dict(re.findall(r"(\w+)=(\S*)", said))


BACKEND = Backend(
    render=slurm.render,
    machine=slurm.machine,
    settle=slurm.settle,
    prepare=slurm.prepare,
    collect=slurm.collect,
    keeps_warm=lambda plan: True,
    queue=Queue(submit=submit, state=state, cancel=cancel, last_word=last_word),
)
