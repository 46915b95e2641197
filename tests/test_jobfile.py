import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import jobfile, typed
from launcher.errors import RequestError
from launcher.jobfile import validator
from launcher.jobfile.source import MAX_BYTES
from launcher.jobfile.wording import keys, section_of
from launcher.spec import JobSpec

JOB = """\
name: mlp
task:
  target: tasks/mlp.py:build
training:
  epochs: 3
"""


def read(text: str, *overrides: str) -> JobSpec:
    return jobfile.parse(textwrap.dedent(text).encode(), source="jobs/mlp.yaml", overrides=overrides)


def faults(text: str | bytes, *overrides: str) -> list[str]:
    encoded = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    with pytest.raises(RequestError) as refused:
        jobfile.parse(encoded, source="jobs/mlp.yaml", overrides=overrides)
    lines = [line.strip() for line in refused.value.message.splitlines()]
    return lines if len(lines) == 1 else lines[1:]


def fault(text: str | bytes, *overrides: str) -> str:
    (only,) = faults(text, *overrides)
    return only


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
        "evry: there is no such key; the keys here are every, keep, best, resume (did you mean every?)"
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


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("Off", "Off"), ("true", True), ("~", None), ("", None),
        ("1e-3", 1e-3), ("1E+2", 100.0), (".5", 0.5), ("-1.", -1.0), ("1", 1), ("-7", -7), ("0x1F", 31), ("0o17", 15),
        ("'1'", "1"), ("2026-08-01", "2026-08-01"), ("1_000", "1_000"), ("12:30", "12:30"), ("1.2.3", "1.2.3"),
        ("0", 0), ("0.5", 0.5), ("[1, a]", [1, "a"]), ("=", "="),
    ],
)  # fmt: skip
def test_plain_words_mean_what_yaml_1_2_says(written: str, value: object) -> None:
    read_value = (
        read(f"{JOB}env: {{}}\n").task.args,
        read(JOB.replace("build\n", f"build\n  args:\n    x: {written}\n")),
    )
    assert read_value[1].task.args == {"x": value}
    assert type(read_value[1].task.args["x"]) is type(value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("010", "write 10"), (".inf", "not a finite number"), (".NaN", "not a finite number"), ("1e999", "larger than"),
        ("9" * 101, "more than 100 characters"), ("!!str x", "the tag"), ("!!python/name:os.abort x", "the tag"),
        ("*nowhere", "nothing before this is named &nowhere"), ("&a [*a]", "stands inside itself"),
        ("{<<: {a: 1}}", "not merged"), ("{a: 1, a: 2}", "given twice"), ("{[1]: 2}", "must be plain text"),
    ],
)  # fmt: skip
def test_what_readers_of_yaml_disagree_on_is_refused(written: str, said: str) -> None:
    message = fault(JOB.replace("build\n", f"build\n  args:\n    x: {written}\n"))
    assert said in message and message.startswith("jobs/mlp.yaml:5 task.args.x")


def test_an_alias_may_repeat_a_value() -> None:
    assert read(JOB + "env: {A: &a x, B: *a}\n").env == {"A": "x", "B": "x"}


def test_an_alias_bomb_is_refused_unexploded() -> None:
    levels = "".join(f"    l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 20))
    assert "more than 100,000 values" in fault(JOB.replace("build\n", f"build\n  args:\n    l0: &l0 [x]\n{levels}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "jobs/mlp.yaml:1: the file is empty"),
        (b"# nothing\n", "jobs/mlp.yaml:1: the file is empty"),
        (b"- a\n- b\n", "jobs/mlp.yaml:1: this is not a mapping"),
        (b"just words\n", "jobs/mlp.yaml:1: this is not a mapping"),
        (b"name: x\n\xff\xfe\n", "jobs/mlp.yaml:2: the text is not UTF-8"),
        (JOB.encode("utf-16"), "jobs/mlp.yaml:1: the text is not UTF-8"),
        (b"name: x\n\n\x00\n", "jobs/mlp.yaml:3: there is a control character (\\x00)"),
        (b"task:\n\ttarget: x\n", "jobs/mlp.yaml:2: a tab stands in the indentation"),
        (b"name: x\ntask: a: b\n", "jobs/mlp.yaml:2: this is not YAML: mapping values are not allowed"),
        (b"name: x\n---\nname: y\n", "jobs/mlp.yaml:2: a second document"),
        (b"name: 'x\n", "jobs/mlp.yaml:2: this is not YAML"),
        (b"[" * 5000, "jobs/mlp.yaml:1: values are nested deeper than 32 levels"),
    ],
)
def test_a_text_that_is_no_job_names_the_line(text: bytes, said: str) -> None:
    assert fault(text).startswith(said)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert jobfile.parse(b"\xef\xbb\xbf" + JOB.encode(), source="x").name == "mlp"


@pytest.mark.parametrize(
    "unit",
    [
        b"[",
        b"{",
        b"- ",
        b"? ",
        b"a: ",
        b"&a ",
        b"!",
        b"*a ",
        b"'",
        b'"\\',
        b"|\n ",
        b"%",
        b"a:\n ",
        b"[a,",
        b"{a: &a [",
    ],
)
def test_a_mebibyte_of_anything_is_answered(unit: bytes) -> None:
    assert faults((unit * MAX_BYTES)[:MAX_BYTES])[0].startswith("jobs/mlp.yaml:")


def test_a_file_over_one_mebibyte_is_refused_before_it_is_read() -> None:
    assert "larger than 1 MiB" in fault(JOB.encode() + b"#" * MAX_BYTES)


def test_a_thousand_faults_are_counted_and_the_first_are_listed() -> None:
    said = faults(JOB + "".join(f"wrong{n}: 1\n" for n in range(300)))
    assert len(said) == jobfile.MOST_FAULTS + 1 and said[-1] == "… and 250 more"


def test_a_fault_cannot_forge_a_line_or_colour_the_terminal() -> None:
    assert "\x1b" not in fault(JOB + '"\\e[31m\\nlauncher: all is well": 1\n')


def test_set_overrides_the_file_and_makes_sections() -> None:
    spec = read(JOB, "training.epochs=5", "early_stop.metric=loss", "task.args.lr=1e-3", "task.args.sizes=[1, 2]")
    assert spec.training.epochs == 5 and spec.early_stop is not None
    assert spec.task.args == {"lr": 1e-3, "sizes": [1, 2]}


def test_the_later_set_wins() -> None:
    assert read(JOB, "training.epochs=5", "training.epochs=6").training.epochs == 6


def test_set_takes_the_place_of_a_faulty_value() -> None:
    assert read(JOB + "  precision: bf17\n", "training.precision=bf16").training.precision == "bf16"


def test_set_changes_one_of_two_aliased_sections() -> None:
    job = JOB.replace("build\n", "build\n  args: {a: &a {x: 1}, b: *a}\n")
    assert read(job, "task.args.a.x=2").task.args == {"a": {"x": 2}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epoch=3", "there is no such key; the keys here are epochs,"),
        ("training.precision=bf17", "'bf17' is not one of auto, fp32, bf16, fp16 (did you mean bf16?)"),
        ("name.x=3", "name is a single value or a list, not a section with keys"),
        ("training.epochs", "not of the form --set section.key=value"),
        ("=3", "not of the form --set section.key=value"),
        ("training..epochs=3", "not of the form --set section.key=value"),
        ("env.A=", "the value is missing"),
        ("env.A=b: c", "not a single value; quote it if it is text"),
        ("env.A=- c", "not a single value; quote it if it is text"),
        ("env.A=@c", "quote the value if it is text"),
        ("env.A=*c", "quote the value if it is text"),
        ("training={epochs: 3, x: 1}", "there is no such key"),
    ],
)
def test_a_faulty_set_is_named_as_it_was_typed(override: str, said: str) -> None:
    message = fault(JOB, override)
    assert message.startswith(f"--set {override}") and said in message


def test_faults_of_options_come_after_those_of_the_file() -> None:
    said = faults(JOB + "  seed: -1\n", "training.log_every=0", "retry.max=-1")
    assert [line.split("=")[0].split(" ")[0] for line in said] == ["jobs/mlp.yaml:6", "--set", "--set"]


def test_a_job_file_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mlp.yaml").write_text(JOB)
    with pytest.raises(RequestError, match=r"mpl\.yaml does not exist \(did you mean mlp\.yaml\?\)"):
        jobfile.load(tmp_path / "mpl.yaml")


def test_a_folder_is_no_job_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a file"):
        jobfile.load(tmp_path)


def test_a_job_file_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "mlp.yaml").write_text(JOB)
    assert jobfile.load(tmp_path / "mlp.yaml", ["resources.nodes=2"]).resources.nodes == 2


def accepts(schema: dict[str, object], job: object) -> bool:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema)
    return bool(Draft202012Validator(schema).is_valid(job))


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True), ({"name": "a b"}, False), ({"training": {"steps": 3, "epochs": None}}, True), ({"x": 1}, False),
        ({"training": {"steps": 3, "epochs": 3}}, False), ({"training": {}}, False), ({"backend": "slrm"}, False),
        ({"resources": {"nodes": 0}}, False),
    ],
)  # fmt: skip
def test_the_schema_and_the_reader_agree(change: dict[str, object], valid: bool) -> None:
    job = {"name": "mlp", "task": {"target": "a.py:f"}, "training": {"epochs": 3}, **change}
    assert accepts(jobfile.schema(), job) is valid
    if valid:
        jobfile.parse(json.dumps(job).encode(), source="x")
    else:
        faults(json.dumps(job))


WORDS = re.findall(r"\S+", "name training task env epochs - { } [ ] &a *a !!x ' | > 1e-3 010 null # << --- ... é")
pieces = st.sampled_from([*WORDS, '"', ": ", ":\n  ", "\n", ", ", " ", "\t", "%YAML 9", "\x85", "\u2028", "\ufeff"])


VALUES = (
    None,
    True,
    0,
    1,
    -1,
    1.5,
    2**70,
    "",
    "auto",
    "epoch",
    "cuda",
    "x" * 65,
    [],
    ["a"],
    [1],
    {},
    {"a": 1},
    {"a": "b"},
)


def test_a_job_is_read_without_the_validator_as_with_it() -> None:
    """The quick reader takes what the validator takes, and makes the same of it."""
    whole = {"name": "n", "task": {"target": "a.py:f"}, "training": {}}
    for path in every_key(JobSpec):
        for value in VALUES:
            job = json.loads(json.dumps(whole))
            section = job
            for key in path[:-1]:
                section = section.setdefault(key, {"metric": "m"} if key in ("best", "early_stop") else {})
            section[path[-1]] = value
            try:
                quick: JobSpec | None = typed.read(JobSpec, job)
            except typed.Misfit:
                quick = None
            assert quick == validator.read(JobSpec, job)[0], (path, value)


def every_key(section: type, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, annotation in keys(section).items():
        yield (*above, key)
        if inner := section_of(annotation):
            yield from every_key(inner, (*above, key))


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=40).map(lambda parts: "".join(parts).encode()))
)
@example(text=b"? a\n? b\n")
@example(text=b"name: \xc2\x85x")
def test_any_bytes_are_a_job_or_a_refusal(text: bytes) -> None:
    try:
        assert isinstance(jobfile.parse(text, source="x"), JobSpec)
    except RequestError as refused:
        assert refused.message


@settings(max_examples=200, deadline=None)
@given(
    override=st.one_of(st.text(max_size=60), st.lists(pieces, max_size=8).map(lambda parts: "env.A=" + "".join(parts)))
)
@example(override="task.args.\udcff=1")
@example(override="env.A=\udcff")
def test_any_option_is_a_job_or_a_refusal(override: str) -> None:
    try:
        assert isinstance(jobfile.parse(JOB.encode(), source="x", overrides=[override]), JobSpec)
    except RequestError as refused:
        assert "--set" in refused.message
