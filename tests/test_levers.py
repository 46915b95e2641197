"""Which levers of a job file go together, and with which kind of task."""

import pytest

from tests.jobs import JOB, fault, faults, read

SCRIPT = "name: s\ntask: {kind: script, target: train.py}\ntraining: {}\n"
LIGHTNING = "name: l\ntask: {kind: lightning, target: a.py:f}\ntraining: {epochs: 1}\n"


@pytest.mark.parametrize(
    "setting",
    ["model.compile=default", "model.activation_checkpoint=full", "optimizer.fused=true", "parallel.static_graph=true"],
)
def test_a_scripts_model_is_its_own(setting: str) -> None:
    told = fault(SCRIPT, setting)
    assert setting.split("=")[0] in told and "task.kind is script" in told


def test_a_script_may_spell_out_what_is_so_anyway() -> None:
    assert read(SCRIPT, "model.compile=false", "optimizer.fused=auto").model.compile is False


def test_kernels_chosen_by_the_clock_and_exact_numerics_exclude_each_other() -> None:
    told = fault(JOB, "model.compile=max-autotune")
    assert "model.compile" in told and "training.numerics" in told
    assert read(JOB, "model.compile=max-autotune", "training.numerics=fast").model.compile == "max-autotune"


def test_ddps_settings_say_nothing_to_shards() -> None:
    told = faults(JOB, "parallel.strategy=fsdp2", "parallel.bucket_mb=100", "parallel.static_graph=true")
    assert len(told) == 2 and all("parallel.strategy is fsdp2" in each for each in told)


@pytest.mark.parametrize("setting", ["training.accumulate=2", "resources.nodes=2..4"])
def test_a_static_graph_and_several_microbatches_exclude_each_other(setting: str) -> None:
    assert setting.partition("=")[2] in fault(JOB, "parallel.static_graph=true", setting)


def test_a_static_graph_of_one_microbatch_a_step_is_fine() -> None:
    assert read(JOB, "parallel.static_graph=true", "resources.nodes=2").parallel.static_graph


def test_a_lightning_module_is_not_shared_out() -> None:
    assert "task.kind is lightning" in fault(LIGHTNING, "parallel.strategy=fsdp2")


@pytest.mark.parametrize("job", [(LIGHTNING,), (JOB, "parallel.strategy=fsdp2")])
def test_copies_that_nothing_would_overlap_are_not_left_for_later(job: tuple[str, ...]) -> None:
    assert "checkpoint.overlap" in fault(*job, "checkpoint.overlap=all")


SHARDS_AND_COPIES = ("parallel.strategy=fsdp2", "ssh.sync=rsync")


@pytest.mark.parametrize("apart", [("backend=ssh", "ssh.hosts=[a]"), ("backend=docker", "ssh.hosts_file=hosts")])
def test_shards_need_one_folder_for_all_nodes(apart: tuple[str, ...]) -> None:
    assert "ssh.sync" in fault(JOB, *SHARDS_AND_COPIES, *apart)


@pytest.mark.parametrize("together", [("backend=docker",), ("backend=slurm",), ("ssh.hosts=[a]",)])
def test_shards_go_where_all_nodes_have_one_folder(together: tuple[str, ...]) -> None:
    assert read(JOB, *SHARDS_AND_COPIES, *together).parallel.strategy == "fsdp2"
