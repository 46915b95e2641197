import io
import json
from typing import Any

from rich.console import Console

from launcher.cli.bar import live_bar
from launcher.cli.progress import JsonLines, PlainLines
from launcher.cli.wording import clean_lines, duration, position

PROGRESS: dict[str, Any] = {
    "event": "progress", "rank": 0, "step": 120, "epoch": 2, "loss": 0.43214, "total_steps": 300,
    "steps_per_second": 90.0,
}  # fmt: skip
ATTEMPT: dict[str, Any] = {
    "event": "attempt", "run_id": "mlp-1", "run_dir": "runs/mlp-1", "attempt": 1, "nodes": 2, "world_size": 2,
    "device": "cpu", "precision": "fp32", "reasons": {"device": "cpu: 0 GPUs for 2 processes"}, "resume_from": None,
}  # fmt: skip


def plain(*events: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    listener = PlainLines(out, clock=iter(range(100)).__next__)
    for event in events:
        listener(event)
    return out.getvalue().splitlines()


def test_a_position_is_one_short_line() -> None:
    assert position(PROGRESS) == "epoch 2 · step 120/300 · loss 0.4321 · 90 steps/s · 0:02 left"


def test_what_is_not_known_is_left_out() -> None:
    assert position({"event": "progress", "step": 1, "epoch": 0}) == "epoch 0 · step 1"


def test_a_loss_that_json_cannot_say_is_called_not_finite() -> None:
    assert "loss not finite" in position({**PROGRESS, "loss": None})


def test_rank_0_speaks_for_all() -> None:
    assert len(plain({**PROGRESS, "rank": 1}, PROGRESS)) == 1


def test_durations_are_read_at_a_glance() -> None:
    assert [duration(seconds) for seconds in (-1, 59.6, 3599, 36000)] == ["0:00", "1:00", "59:59", "10:00:00"]


def test_plain_progress_comes_once_in_a_while() -> None:
    steps = [{**PROGRESS, "step": step} for step in range(1, 9)]
    assert [line.split(" · ")[1] for line in plain(*steps)] == ["step 1/300", "step 6/300"]


def test_validations_and_checkpoints_are_told_each_time() -> None:
    validated = {"event": "validated", "step": 3, "metrics": {"accuracy": 0.5, "loss": float("nan")}}
    assert plain(validated, {"event": "checkpoint", "step": 3, "name": "step-00000003"}) == [
        "validated at step 3: accuracy 0.5 · loss nan",
        "saved step-00000003",
    ]


def test_an_attempt_is_told_with_the_reasons_of_its_choices() -> None:
    assert plain(ATTEMPT) == [
        "mlp-1: 2 processes on 2 nodes · cpu · fp32",
        "  device = cpu: 0 GPUs for 2 processes",
        "  run folder runs/mlp-1",
    ]


def test_a_retry_names_its_cause() -> None:
    cause = {"message": "killed by SIGKILL\nmore"}
    assert plain({"event": "retrying", "attempt": 2, "cause": cause}) == [
        "failed: killed by SIGKILL; trying again, attempt 2"
    ]


def test_an_unknown_event_is_passed_over() -> None:
    assert plain({"event": "started", "pid": 1}, {"event": "of another version"}) == []


def test_what_a_rank_prints_cannot_draw_on_the_terminal() -> None:
    text = "\x1b[31mred\x1b[0m\x1b]0;title\x07 \x1b[2J\nnext\tcell\x08"
    assert clean_lines(text) == ["red ", "next    cell\\x08"]


def test_of_a_line_drawn_over_and_over_the_last_state_is_kept() -> None:
    assert clean_lines("10%\r100%\r\ndone") == ["100%", "done"]


def test_json_lines_are_the_events() -> None:
    out = io.StringIO()
    JsonLines(out)(PROGRESS)
    assert json.loads(out.getvalue()) == PROGRESS


def on_terminal(*events: dict[str, Any]) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with live_bar(console) as listener:
        for event in events:
            listener(event)
    return out.getvalue()


def test_the_bar_shows_where_the_run_is() -> None:
    drawn = on_terminal(PROGRESS)
    assert "epoch 2" in drawn and "120/300 · loss 0.4321 · 90 steps/s · 0:02 left" in drawn


def test_the_log_scrolls_by_above_the_bar_without_markup() -> None:
    assert "[bold]hello[/bold] :smile:" in on_terminal(
        {"event": "log", "rank": 0, "text": "[bold]hello[/bold] :smile:\n"}
    )


def test_a_long_line_is_not_cut() -> None:
    assert "x" * 300 in on_terminal({"event": "warning", "text": "x" * 300})
