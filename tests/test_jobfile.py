"""What a job file may say, and what each fault is answered with."""

from pathlib import Path

import pytest

from launcher import jobfile
from launcher.errors import RequestError
from tests.jobs import JOB, fault, faults, read


def test_a_short_job_has_the_documented_defaults() -> None:
    spec = read(JOB)
    assert (spec.name, spec.task.kind, spec.training.epochs, spec.backend) == ("mlp", "native", 3, "local")
    assert (spec.training.precision, spec.checkpoint.keep, spec.early_stop) == ("fp32", 2, None)


def test_a_job_of_every_section_is_read() -> None:
    spec = read(
        JOB + "  precision: bf16\n  clip_norm: 1\nresources: {nodes: 2, procs_per_node: 4}\nloader: {workers: 2}\n"
        "checkpoint: {every: 10, best: {metric: loss}}\nearly_stop: {metric: accuracy, mode: max, patience: 2}\n"
        "env: {HOME: /home/me}\nretry: {max: 3, on: [hardware], delay: 0.5}\nlocal: {threads: 1}\n"
    )
    assert spec.retry.on == ("hardware",)
    assert spec.resources.procs_per_node == 4
    assert spec.checkpoint.best is not None and spec.checkpoint.best.mode == "min"
    assert spec.env == {"HOME": "/home/me"} and spec.training.clip_norm == 1.0


@pytest.mark.parametrize("kind", ["native", "lightning", "ignite"])
@pytest.mark.parametrize("backend", ["local", "ssh", "slurm", "docker", "kubernetes"])
def test_every_kind_and_backend_is_read(kind: str, backend: str) -> None:
    spec = read(JOB, f"task.kind={kind}", f"backend={backend}")
    assert (spec.task.kind, spec.backend) == (kind, backend)


def test_all_faults_are_reported_at_once_in_the_order_of_the_file() -> None:
    job = """\
        name: mlp job
        task:
          target: tasks/mlp.py
        training:
          precision: bf17
          epochs: many
        epoch: 3
        """
    places = [line.split(": ")[0] for line in faults(job)]
    assert places == [
        "jobs/mlp.yaml:1 name",
        "jobs/mlp.yaml:3 task.target",
        "jobs/mlp.yaml:5 training.precision",
        "jobs/mlp.yaml:6 training.epochs",
        "jobs/mlp.yaml:7 epoch",
    ]


def test_the_first_line_counts_the_faults() -> None:
    with pytest.raises(RequestError, match=r"^jobs/mlp.yaml has 2 faults\n  jobs"):
        read(JOB + "  seed: -1\n  log_every: 0\n")


def test_a_wrong_word_is_answered_with_the_allowed_ones_and_the_nearest() -> None:
    said = "jobs/mlp.yaml:6 training.precision: 'bf17' is not one of auto, fp32, bf16, fp16 (did you mean bf16?)"
    assert fault(JOB + "  precision: bf17\n") == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "resources: [2]",
            "resources: a list is not a section with the keys nodes, procs_per_node, device, freed_memory",
        ),
        ("checkpoint: {every: soon}", "checkpoint.every: 'soon' is not epoch or a whole number of at least 1"),
        ("checkpoint: {best: {}}", "checkpoint.best.metric: missing; it takes text"),
        ("checkpoint: {resume: ../x}", "checkpoint.resume: '../x' is not one of never, auto, or the id of a run"),
        ("env: {A: 1}", 'env.A: 1 is not text; put it in quotes: "1"'),
        ("env: {A: }", "env.A: null is not text"),
        ("env: {A: [b]}", "env.A: a list is not text"),
        ("env: [A]", "env: a list is not a section of keys"),
        ("retry: {max: 1e99}", "retry.max: 1e+99 is not a whole number from 0 to 100"),
    ],
)
def test_a_value_out_of_type_or_bounds_is_answered_with_what_the_key_takes(line: str, said: str) -> None:
    assert fault(f"{JOB}{line}\n") == f"jobs/mlp.yaml:6 {said}"


@pytest.mark.parametrize("nodes", ["0", "4097", "true", "2.0", "'2'", "two", "4..1", "2..2", "0..4", "1..4097"])
def test_what_is_neither_a_number_of_nodes_nor_a_range_is_refused(nodes: str) -> None:
    said = fault(f"{JOB}resources: {{nodes: {nodes}}}\n")
    assert said.endswith(" is not a whole number from 1 to 4096 or a range such as 2..4")


@pytest.mark.parametrize(("nodes", "least", "most"), [("3", 3, 3), ("1..4", 1, 4)])
def test_nodes_are_a_number_or_a_range(nodes: str, least: int, most: int) -> None:
    resources = read(f"{JOB}resources: {{nodes: {nodes}}}\n").resources
    assert (resources.least_nodes, resources.most_nodes) == (least, most)


def test_an_unknown_key_is_answered_with_the_keys_and_the_nearest() -> None:
    said = fault(JOB + "checkpoint: {evry: 3}\n")
    assert said.endswith(
        "evry: there is no such key; the keys here are every, keep, overlap, best, resume (did you mean every?)"
    )


def test_a_key_in_the_wrong_section_is_answered_with_the_right_one() -> None:
    assert fault(JOB + "batch_size: 8\n").endswith("(did you mean training.batch_size?)")


def test_missing_keys_are_named_where_they_belong() -> None:
    said = faults("name: x\ntask: {}\n")
    assert said[0].startswith("jobs/mlp.yaml:1 training: missing; it takes a section with the keys epochs, steps")
    assert said[1] == "jobs/mlp.yaml:2 task.target: missing; it takes text"


def test_a_key_given_twice_names_both_places() -> None:
    assert fault(JOB + "  epochs: 4\n") == (
        "jobs/mlp.yaml:6 training.epochs: given twice; the first is at jobs/mlp.yaml:5"
    )


@pytest.mark.parametrize(("length", "word"), [("", "neither epochs nor steps"), ("epochs: 1, steps: 1", "keep one")])
def test_exactly_one_length_is_asked_for(length: str, word: str) -> None:
    assert word in fault(f"name: x\ntask: {{target: a.b:c}}\ntraining: {{{length}}}\n")


def test_a_length_of_null_is_not_given() -> None:
    assert read(JOB, "training.epochs=null", "training.steps=7").training.steps == 7


@pytest.mark.parametrize("name", ["mlp", "2026-08-01", "a.b_c-d", "x" * 64])
def test_names_that_can_begin_a_run_id_are_read(name: str) -> None:
    assert read(JOB, f"name={name}").name == name


@pytest.mark.parametrize(
    "name", ["../mlp", "-mlp", ".mlp", "mlp job", "ä", "'a\\b'", "x" * 65, "''", "a/b", "latest\u200b"]
)
def test_names_that_cannot_begin_a_run_id_are_refused(name: str) -> None:
    assert " name: " in fault(JOB.replace("mlp\n", f"{name}\n", 1))


@pytest.mark.parametrize("target", ["a.py:f", "../x/a b.py:f", "/opt/a.py:f", "package.module:function", "m:f"])
def test_a_target_is_a_function_in_a_file_or_a_module(target: str) -> None:
    assert read(JOB.replace("tasks/mlp.py:build", target)).task.target == target


@pytest.mark.parametrize("target", ["a.py", "'a.py:'", ":f", "a/b:f", "a.py:f:g", "a-b:f", "a.py:1f", '"a\\n.py:f"'])
def test_any_other_target_is_refused(target: str) -> None:
    assert "task.target: " in fault(JOB.replace("tasks/mlp.py:build", target))


def test_a_script_is_a_file_or_a_module_without_a_function() -> None:
    job = JOB.replace("task:\n", "task:\n  kind: script\n")
    assert read(job.replace("mlp.py:build", "train.py")).task.target == "tasks/train.py"
    assert "path/to/file.py or package.module" in fault(job)


def test_a_metric_that_sounds_larger_is_better_needs_its_mode() -> None:
    assert "write mode: max, or min" in fault(JOB + "early_stop: {metric: val_accuracy}\n")
    assert read(JOB + "early_stop: {metric: accuracy, mode: min}\n").early_stop is not None


def test_one_metric_cannot_be_better_both_ways() -> None:
    said = fault(JOB + "checkpoint: {best: {metric: gain, mode: max}}\nearly_stop: {metric: gain}\n")
    assert "early_stop.mode: 'min' contradicts checkpoint.best, which has 'max' for gain" in said


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "MASTER_PORT", "LAUNCHER_EVENTS_FD", "TORCHELASTIC_RUN_ID"])
def test_variables_that_launcher_sets_are_refused(name: str) -> None:
    assert "launcher sets this variable" in fault(JOB, f"env.{name}='1'")


@pytest.mark.parametrize(
    "entry", ['"A B": x', '"": x', "1A: x", 'A: "x\\ny"', 'A: "x\\0"', '"A\\n": x', "A: |\n   x\n   y"]
)
def test_a_variable_is_one_line_under_a_plain_name(entry: str) -> None:
    assert " env." in fault(f"{JOB}env:\n  {entry}\n")


def test_a_job_file_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    for name in ("mlp.yaml", "lt2.yaml"):
        (tmp_path / name).write_text(JOB)
    with pytest.raises(RequestError, match=r"mpl\.yaml does not exist \(did you mean mlp\.yaml\?\)"):
        jobfile.load(tmp_path / "mpl.yaml")
    with pytest.raises(RequestError, match=r"nothing\.yaml does not exist$"):
        jobfile.load(tmp_path / "nothing.yaml")


def test_a_folder_is_no_job_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a file"):
        jobfile.load(tmp_path)


def test_a_job_file_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "mlp.yaml").write_text(JOB)
    assert jobfile.load(tmp_path / "mlp.yaml", ["resources.nodes=2"]).resources.nodes == 2
