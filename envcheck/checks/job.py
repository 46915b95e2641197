"""The job itself, as far as files and numbers show before it waits in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, check, fail, unknown, warn

if TYPE_CHECKING:
    from envcheck.sections.gpus import Gpus
    from envcheck.sections.libraries import Job, Packages
    from envcheck.sections.need import Need


@check("JOB001", remedy="correct the path, or put the file there: {path}", modes=("F100",))
def files_of_the_job_are_there(job: Job) -> Outcome:
    """Every file the job names is on this node.

    Found here it costs a second; found by rank 5 after an hour in the queue it costs the hour.
    """
    if job.missing:
        return fail(f"not on this node: {', '.join(job.missing)}", path=job.missing[0])
    return None


@check("JOB002", remedy="use a batch size of {nearest}", modes=("F101",))
def batch_divides_evenly(need: Need) -> Outcome:
    """The global batch is a multiple of processes x accumulation.

    Otherwise ranks get unequal shares: averages are wrong, or the last collective waits for ever.
    """
    share = need.world_size * need.accumulate
    if need.batch_size is None or need.batch_size % share == 0:
        return None
    nearest = max(share, round(need.batch_size / share) * share)
    saw = f"a batch of {need.batch_size} does not divide by {need.world_size} processes x {need.accumulate} steps"
    return fail(saw, nearest=nearest)


@check(
    "JOB003",
    remedy="resume on what the run was made with ({what}), or start a new run; with `numerics: fast` it only warns",
    modes=("F98",),
)
def resumed_run_finds_its_old_world(need: Need, packages: Packages, gpus: Gpus | None = None) -> Outcome:
    """A run is resumed with the torch, the GPU model and the number of processes it was made with.

    Another of these changes the order of summation: the run goes on, but its bits are no longer those of one run.
    """
    model = gpus.devices[0].name if gpus and gpus.devices else "none"
    now = {"torch": packages.torch or "none", "gpu": model, "world_size": str(need.world_size)}
    if need.previous and "gpu" in need.previous and gpus is None:
        return unknown("cannot see the GPUs, so not whether they are the ones of before")
    changed = {name: was for name, was in need.previous.items() if name in now and now[name] != was}
    if not changed:
        return None
    saw = ", ".join(f"{name} was {was}, is {now[name]}" for name, was in changed.items())
    verdict = fail if need.numerics == "exact" else warn
    return verdict(saw, what=", ".join(f"{name} {was}" for name, was in changed.items()))
