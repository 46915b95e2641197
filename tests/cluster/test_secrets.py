"""Canaries in the environment: what a backend starts, writes and tells holds no value of this shell's variables.

That a real run leaves none on its nodes is for the tests of each backend: `test_only_variables_that_are_named_travel…`.
"""

import json
from pathlib import Path

import pytest

from launcher import backends, programs
from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, KubernetesOptions, Resources, SlurmOptions, SshOptions, TaskSpec, Training

HOSTS = SshOptions(hosts=("a", "b"), pass_env=("TOKEN",))
JOBS = {
    "local": {},
    "ssh": {"ssh": HOSTS},
    "slurm": {"slurm": SlurmOptions(pass_env=("TOKEN",))},
    "docker": {},
    "docker on hosts": {"ssh": HOSTS},
    "kubernetes": {"kubernetes": KubernetesOptions(claim="runs", job_dir="/jobs")},
}


def plan(name: str) -> Plan:
    job = JobSpec(
        name="job",
        task=TaskSpec(target="t.py:f"),
        training=Training(steps=1),
        resources=Resources(nodes=2, device="cpu"),
        image="r.example.org/launcher@sha256:" + "a" * 64,
        backend=name.split()[0],  # type: ignore[arg-type]
        **JOBS[name],  # type: ignore[arg-type]
    )
    return make(
        job, run_id="job-20261121T120000-ab12", run_dir=Path("/r"), job_dir=Path("/j"), machine=Machine(cores=2)
    )


@pytest.fixture(autouse=True)
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "tweet-7261")
    monkeypatch.setenv("TOKEN", "secret-5523")


@pytest.mark.parametrize("name", JOBS)
def test_no_command_line_request_or_file_of_a_backend_holds_a_value_of_this_shell(name: str) -> None:
    made = backends.named(name.split()[0]).render(plan(name))
    shown = [*(word for each in made.commands for word in (*each.argv, json.dumps(each.request))), *made.files.values()]
    assert [text for text in shown if "tweet-7261" in text or "secret-5523" in text] == []


@pytest.mark.parametrize("name", JOBS)
def test_what_a_node_program_is_told_holds_only_the_variables_that_were_named(name: str) -> None:
    command = backends.named(name.split()[0]).render(plan(name)).commands[0]
    told = json.dumps(programs._request(command))
    assert "tweet-7261" not in told and ("secret-5523" in told) == bool(command.pass_env)
