"""Nodes that are reached by OpenSSH: one node program on each host, its lines and its lease through the connection.

How code and results travel is one rule, `ssh.sync`. shared: every node sees the run folder, the job's folder and this
launcher under the paths they have here. rsync: before an attempt the job's folder, this launcher and the checkpoint to
start from are copied to `.launcher/<run id>/` in each host's home; after it, each host's part of the run folder is
copied back, so that the folder here is the record, and a resume may use other hosts.

The Python is the host's own, or with `backend: docker` an image's, in a container on the host.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import address, elastic, processes
from launcher.backends import connection, container, copies
from launcher.backends.base import (
    Backend,
    Command,
    Exchange,
    Submission,
    Tell,
    code_folders,
    python_path,
    request,
)
from launcher.cluster import fitness, survey
from launcher.cluster.admission import admit
from launcher.cluster.fitness import Words
from launcher.cluster.survey import Look, Route
from launcher.errors import LauncherError, RequestError, counted
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec, LookSpec, SshOptions
from launcher.store import RunFolder

LEASE_SECONDS = 8.0
"""A node without word from the launcher for so long ends the run's processes; a link down for 5 s is outlived."""


SILENCE = 20.0
"""A lost connection is known sooner; this is for a host that answers while its node program does not."""
REAP = LookSpec(seconds=4.0)
"""For a look at a host that was lost: what runs there ends by itself, too, so it is not worth waiting for."""


WORDS = Words(
    python="--set ssh.python=PATH",
    interface="--set ssh.interface=NAME",
    share="--set ssh.sync=rsync, which copies files",
)
WORDS_OF_CONTAINERS = dataclasses.replace(WORDS, python="--set image=VARIANT, of `launcher images build`")


def settle(spec: JobSpec, job_path: Path) -> JobSpec:
    """The job with its hosts written out: those of `ssh.hosts_file`, one a node, and the others as spare ones."""
    hosts = spec.ssh.hosts
    if spec.ssh.hosts_file is not None:
        hosts = _read_hosts(job_path.parent / spec.ssh.hosts_file)
    for host in (*hosts, *spec.ssh.spare):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:@%-]*", host):
            raise RequestError(f"ssh.hosts: {host!r} is not the name of a host", hint="letters, digits, `.`, `-`, `_`")
    named = (*hosts, *spec.ssh.spare)
    twice = sorted({host for host in named if named.count(host) > 1})
    if twice:
        raise RequestError(f"ssh.hosts: {', '.join(twice)} is named twice", hint="name each machine once")
    nodes = spec.resources.most_nodes
    if len(hosts) < nodes:
        raise RequestError(
            f"resources.nodes: {counted(nodes, 'node')}, but ssh.hosts names {len(hosts) or 'none'}",
            hint=f"--nodes {len(hosts)}, or name more hosts" if hosts else "--hosts a,b says where to run",
        )
    settled = dataclasses.replace(spec.ssh, hosts=named[:nodes], spare=named[nodes:], hosts_file=None)
    return dataclasses.replace(spec, ssh=settled)


def machine(spec: JobSpec) -> Machine:
    """What the least of the hosts offers. Raises LauncherError when one cannot be reached or two are one."""
    seen, words = survey.look(_routes(spec), _look(spec), meet=False), _words(spec)
    fitness.require([*fitness.of_each(spec.ssh.hosts, seen, words), *fitness.of_all(spec.ssh.hosts, seen, words)])
    return fitness.least(seen)


def render(plan: Plan) -> Submission:
    settings = plan.spec.ssh
    shared = settings.sync == "shared"
    there = (
        plan
        if shared
        else dataclasses.replace(plan, run_dir=copies.there(plan, "run"), job_dir=copies.there(plan, "job"))
    )
    env = {"GLOO_SOCKET_IFNAME": settings.interface, "NCCL_SOCKET_IFNAME": settings.interface}
    return Submission(
        commands=tuple(
            Command(
                argv=(*connection.command(settings, host), f"{_python_of(plan, node_rank)} -P -m launcher.node"),
                request=request(
                    there,
                    node_rank,
                    bind=_bind(settings),
                    env={name: value for name, value in env.items() if value is not None},
                    lease=LEASE_SECONDS,
                    shared=shared,
                ),
                host=host,
                silence=SILENCE,
                pass_env=settings.pass_env,
                lost={
                    connection.LOST: f"was lost with the connection to {host}",
                    **({container.NOT_STARTED: "was not started by the engine"} if _contained(plan.spec) else {}),
                },
            )
            for node_rank, host in enumerate(settings.hosts)
        )
    )


def prepare(plan: Plan, folder: RunFolder, tell: Tell) -> None:
    """Look at all hosts, end what an earlier attempt left there, and copy what has to be copied.

    Raises LauncherError when a host cannot be reached or the hosts do not fit together.
    """
    settings = plan.spec.ssh
    shared = [folder.path] if settings.sync == "shared" else []
    admit(_routes(plan.spec), _look(plan.spec, plan), shared=shared, words=_words(plan.spec), tell=tell)
    if settings.sync == "rsync":
        for fault in copies.send(plan, folder, code=not _contained(plan.spec)).values():
            raise fault


def collect(plan: Plan, folder: RunFolder, lost: Sequence[str] | None, tell: Tell) -> None:
    """After an attempt: end what a lost node program left on its host, and bring home what the hosts hold."""
    settings = plan.spec.ssh
    for host in settings.hosts if lost is None else lost:
        try:
            one = dataclasses.replace(plan.spec, ssh=dataclasses.replace(settings, hosts=(host,)), look=REAP)
            survey.look(_routes(one), _look(one, plan), meet=False)
        except LauncherError as error:
            text = f"{error.message}; what ran there ends by itself within {LEASE_SECONDS:g} s"
            tell({"event": "warning", "text": text})
    if settings.sync != "rsync":
        return
    for host, fault in copies.fetch(plan, folder).items():
        tell({"event": "warning", "text": f"{host}: its part of the run folder was not copied back: {fault.message}"})


def instead(plan: Plan, cause: Mapping[str, Any]) -> Exchange | None:
    """The plan with a spare host in the place of the one that failed, or without one that is lost; None where neither
    can be, or nobody is to blame."""
    settings = plan.spec.ssh
    begins = (node for node, host in enumerate(settings.hosts) if str(cause.get("message")).startswith(f"{host}:"))
    node = cause.get("node", next(begins, None))  # what was found before an attempt begins with the name of the host
    if node is None:
        return None
    left_out = f"{settings.hosts[node]} is left out after its failure; "
    if not settings.spare:
        return _fewer(plan, node, left_out) if _lost(cause) else None
    hosts = (*settings.hosts[:node], settings.spare[0], *settings.hosts[node + 1 :])
    told = f"{left_out}{settings.spare[0]} takes its place"
    return Exchange(_on_hosts(plan, hosts, settings.spare[1:]), told)


def _lost(cause: Mapping[str, Any]) -> bool:
    """Whether the host is gone, not only something on it that failed and may do better at its next try."""
    return cause.get("kind") == "node" or connection.UNREACHED.match(str(cause.get("message"))) is not None


def _fewer(plan: Plan, lost: int, left_out: str) -> Exchange | None:
    """The plan without a host; those that then have no part are spare."""
    hosts = plan.spec.ssh.hosts
    smaller = elastic.shrunk(plan, plan.nodes - 1)
    if smaller is None:
        return None
    sound = (*hosts[:lost], *hosts[lost + 1 :])
    smaller = _on_hosts(smaller, sound[: smaller.nodes], sound[smaller.nodes :])
    return Exchange(smaller, left_out + elastic.told(smaller))


def _on_hosts(plan: Plan, hosts: tuple[str, ...], spare: tuple[str, ...]) -> Plan:
    settings = dataclasses.replace(plan.spec.ssh, hosts=hosts, spare=spare)
    return dataclasses.replace(plan, spec=dataclasses.replace(plan.spec, ssh=settings))


def _read_hosts(path: Path) -> tuple[str, ...]:
    """One host a line; `#` begins a comment."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise RequestError(
            f"ssh.hosts_file: {path} cannot be read ({error.strerror})", hint="the path is relative to the job file"
        ) from error
    words = (line.partition("#")[0].strip() for line in lines)
    return tuple(word for word in words if word)


def _routes(job: JobSpec) -> list[Route]:
    """With a connection's own limit just before the look's, so that ssh can say what the matter was."""
    routes = connection.routes(job.ssh, patience=min(connection.PATIENCE, max(1, int(job.look.seconds) - 1)))
    if not _contained(job):
        return routes
    explain = functools.partial(container.explain, image=job.image)
    return [dataclasses.replace(route, explain=explain) for route in routes]


def _look(job: JobSpec, run: Plan | None = None) -> Look:
    settings = job.ssh
    folders: tuple[str, ...] = ()
    if run is not None:
        folders = (run.run_dir,) if settings.sync == "shared" else (copies.there(run, "run"), copies.there(run, "job"))
    return Look(
        seconds=job.look.seconds,
        python=container.python(job, run) if _contained(job) else shlex.quote(_python(settings)),
        bind=[_bind(settings)] * len(settings.hosts),
        folders=folders,
        make=folders if settings.sync == "rsync" else (),
        code=_code(run) if run is not None and settings.sync == "shared" else (),
        data=run.spec.data if run is not None else (),
        run=run.run_id if run is not None else None,
    )


def _words(job: JobSpec) -> Words:
    return WORDS_OF_CONTAINERS if _contained(job) else WORDS


def _bind(settings: SshOptions) -> str:
    return settings.interface or address.REACHED


def _python(settings: SshOptions) -> str:
    return settings.python or sys.executable


def _contained(job: JobSpec) -> bool:
    return job.backend == "docker"


def _python_of(plan: Plan, node_rank: int) -> str:
    """The words of a host's shell that become the node program's Python."""
    if _contained(plan.spec):
        return container.python(plan.spec, plan, f"{plan.run_id}-{plan.attempt}-{node_rank}")
    mark = f"{processes.MARK}={plan.run_id}"  # the node program, too, must be found when it hangs
    path = [f"PYTHONPATH={copies.there(plan, 'code')}"] if plan.spec.ssh.sync == "rsync" else python_path()
    return shlex.join(["exec", "env", mark, *path, _python(plan.spec.ssh)])


def _code(plan: Plan) -> tuple[str, ...]:
    """Of this launcher a container has the image's."""
    return (plan.job_dir,) if _contained(plan.spec) else code_folders(plan)


BACKEND = Backend(
    render=render,
    machine=machine,
    settle=settle,
    prepare=prepare,
    collect=collect,
    instead=instead,
    keeps_warm=lambda plan: plan.spec.ssh.sync == "shared",
)
