"""A run's containers on any machine: what they may do, and on a host that ssh reaches, the words that start one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from launcher.backends import connection, copies
from launcher.errors import EnvironmentUnfit, LauncherError
from launcher.plan import Plan
from launcher.spec import JobSpec

LABEL = "launcher.run"
NOT_STARTED = 125
"""The docker command's own exit code when the engine did not start the container."""
SCRATCH = "/tmp:exec"  # noqa: S108 (a container's own)

# As little as a batch job needs; shared memory for loader workers, which outgrow Docker's 64 MB.
CONFINED = (
    *("--pull", "never", "--no-healthcheck", "--log-driver", "none", "--pids-limit", "4096", "--shm-size", "1g"),
    *("--read-only", "--tmpfs", SCRATCH, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
# To its peers it is its host: the same addresses, ports and name, and the address that ssh reached it by.
AS_ITS_HOST = ("--network", "host", "--uts", "host", "--env", "SSH_CONNECTION")
HOME = "/launcher"
"""Where it has what was copied to its host's home."""

# What docker says on a host, and what it means to the user: the sentence and the remedy.
COMPLAINTS: tuple[tuple[str, str, str], ...] = (
    ("No such image", "its engine does not hold the image", "docker save IMAGE | ssh HOST docker load"),
    ("Cannot connect", "no Docker engine answers there", "ssh -t HOST sudo systemctl start docker"),
    ("ermission denied", "you may not speak to its engine", "ssh -t HOST 'sudo usermod -aG docker $USER'"),
    ("source path does not exist", "a folder is not there", "--set ssh.sync=rsync, which copies files"),
    ("could not select device driver", "its engine has no GPUs to give", "install nvidia-container-toolkit there"),
    ("docker: not found", "docker is not there", "install Docker there"),
)


def python(job: JobSpec, run: Plan | None, name: str | None = None) -> str:
    """The words of a shell on a host that start the image's Python in a container, in the job's folder.

    With a `name` it is the run's own; without, it is for a look, before which all containers of the run end.
    """
    before = _before_a_look(job, run) if run is not None and name is None else ""
    called = ["--name", name, "--label", f"{LABEL}={run.run_id}"] if name and run else []
    words = ["exec", "docker", "run", "--rm", "--interactive", *CONFINED, *AS_ITS_HOST, *called]
    user = "0:0" if job.docker.user == "root" else '"$(id -u):$(id -g)"'
    places = " ".join(_places(job, run)) if run is not None else ""
    given = shlex.join([*_gpus(job, run), job.image, "python"])
    return f"{before}{shlex.join(words)} --user {user} {places} {given}"


def gpus(way: str, share: range) -> tuple[str, ...]:
    """The words that give a container GPUs by their numbers, by a CDI specification or NVIDIA's runtime."""
    if way == "cdi":
        return tuple(word for gpu in share for word in ("--device", f"nvidia.com/gpu={gpu}"))
    return "--gpus", f'"device={",".join(map(str, share))}"'


def data(job: JobSpec) -> tuple[str, ...]:
    """The words that let a container read the job's data, under the paths they have outside."""
    return tuple(word for path in job.data for word in ("--mount", f"type=bind,src={path},dst={path},readonly"))


def explain(host: str, code: int, said: str, *, image: str) -> LauncherError:
    """docker's complaint of an image on a host, or ssh's, as a sentence with a remedy."""
    if code in (NOT_STARTED, 127):
        lines = said.splitlines() or ["it said nothing"]
        for words, meaning, remedy in COMPLAINTS:
            for line in lines:
                if words in line:
                    typed = remedy.replace("HOST", host).replace("IMAGE", image)
                    return EnvironmentUnfit(f"{host}: {meaning} ({line})", hint=typed)
        return EnvironmentUnfit(
            f"{host}: its engine did not start the container ({lines[0]})", hint=f"ssh {host} docker ps"
        )
    return connection.explain(host, code, said)


def _before_a_look(job: JobSpec, run: Plan) -> str:
    """What an earlier attempt left ends, and what files are copied to is there, as the user's own."""
    listed = shlex.join(["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}={run.run_id}"])
    made = f"mkdir -p -m 700 {shlex.quote(copies.folder_of(run))}; " if job.ssh.sync == "rsync" else ""
    return f"{listed} | xargs -r docker rm --force >/dev/null; {made}"


def _places(job: JobSpec, run: Plan) -> Iterator[str]:
    """Its folders, and the one it starts in. A mount of what is not there is refused, where a volume would be made."""
    if job.ssh.sync == "rsync":
        copied = shlex.quote(copies.folder_of(run))
        yield f'--mount type=bind,src="$HOME"/{copied},dst={HOME}/{copied} --workdir {HOME}'
    else:
        yield shlex.join(["--mount", f"type=bind,src={run.run_dir},dst={run.run_dir}"])
        yield shlex.join(["--mount", f"type=bind,src={run.job_dir},dst={run.job_dir},readonly"])
        yield shlex.join(["--workdir", run.job_dir])
    yield shlex.join(data(job))


def _gpus(job: JobSpec, run: Plan | None) -> tuple[str, ...]:
    """Before there is a plan, all that the host has: the plan is made by their number."""
    if (run.device if run is not None else job.resources.device) != "cuda":
        return ()
    if run is not None:
        return gpus(job.docker.gpus, range(run.procs_per_node))
    return ("--device", "nvidia.com/gpu=all") if job.docker.gpus == "cdi" else ("--gpus", "all")
