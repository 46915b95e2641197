"""What YAML says before it is a job: words, aliases, bombs, bytes that are no text."""

import pytest

from launcher import jobfile
from launcher.jobfile.source import MAX_BYTES
from tests.jobs import JOB, fault, faults, read


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
