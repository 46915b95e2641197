"""A short kill campaign, and proof that the campaign sees what it is there to see."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns import kept, kills, timeline
from tests.campaigns.kills import Round, Trial, blows
from tests.campaigns.scene import Mark, Scene
from tests.campaigns.timeline import Death, Leg

SEED = 1


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kills.undisturbed(Scene(tmp_path_factory.mktemp("kills") / "undisturbed"))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [0, 3])
def test_a_killed_run_ends_with_the_bits_of_one_that_nothing_happened_to(
    like: Path, tmp_path: Path, number: int
) -> None:
    done = Trial(Scene(tmp_path / "scene"), SEED, number).carry_out(like)
    assert done.deaths
    assert not done.faults, (done.faults, done.repeat())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_job_that_keeps_randomness_in_a_stream_is_found_out(like: Path, tmp_path: Path) -> None:
    done = Trial(Scene(tmp_path / "scene"), SEED, 0, "--set", "task.args.defect=stream").carry_out(like)
    assert "metrics.jsonl differs" in done.faults


def test_a_round_can_be_repeated_from_its_seed() -> None:
    assert list(blows(1, 5)) == list(blows(1, 5)) != list(blows(1, 6))


def test_a_campaign_that_was_ended_goes_on_with_the_rounds_it_had(tmp_path: Path) -> None:
    file, began = tmp_path / "kept", [Round(0, SEED, "native", [Death(1.0, "step", "rank", None)], [leg(0, 0, 8, 6)])]
    assert list(kept.keeping(began, file)) == began
    with file.open("a") as cut_short:
        cut_short.write('{"number": 1, "se')
    assert list(kept.keeping([Round(1, SEED, faults=["a fault"])], file))
    assert [Round(**fields) for fields in kept.lines(file)] == [*began, Round(1, SEED, faults=["a fault"])]


@pytest.mark.parametrize(
    ("numbers", "options", "said"),
    [
        ([0, 1, 1], [], "keeps round 1 more than once"),
        ([5, 6], ["--first", "9"], "begins with round 5"),
        ([], ["--only", "3"], "--only repeats one round"),
    ],
)
def test_what_would_count_a_round_twice_or_be_left_aside_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    numbers: list[int], options: list[str], said: str,
) -> None:  # fmt: skip
    file = tmp_path / "kept"
    assert len(list(kept.keeping([Round(number, SEED) for number in numbers], file))) == len(numbers)
    monkeypatch.setattr("sys.argv", ["kills", "--kills", "0", "--keep", str(file), *options])
    with pytest.raises(SystemExit) as ended:
        kills.main()
    assert said in f"{ended.value} {capsys.readouterr().err}"


def leg(begun: float, start: int, reached: int, saved: int) -> Leg:
    return Leg(begun=begun, ended=begun + 10, start=start, reached=reached, saved=saved, first_step=begun + 2)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (leg(10, 6, 9, 6), None),
        (leg(10, 3, 9, 6), "step 6 was reported as saved and the next attempt began at 3"),
        (leg(10, 3, 9, 3), None),
        (leg(10, 2, 9, 2), None),
        (leg(10, 1, 9, 1), "7 steps were lost at step 8, saving every 3"),
    ],
)
def test_lost_steps_are_found(second: Leg, said: str | None) -> None:
    assert next(timeline.faults([leg(0, 0, 8, second.saved), second], every=3), None) == said


@pytest.mark.parametrize(("start", "said"), [(5, None), (4, "4 steps were lost at step 8, saving every 3")])
def test_no_more_steps_than_lie_between_two_saves_are_lost_where_they_are_waited_for(
    start: int, said: str | None
) -> None:
    assert next(timeline.faults([leg(0, 0, 8, 0), leg(10, start, 9, 0)], every=3, waits=True), None) == said


@pytest.mark.parametrize(("start", "found"), [(3, []), (0, [0.5])])
def test_a_death_that_met_a_save_under_way_says_how_long_it_had_taken(start: int, found: list[float]) -> None:
    first = dataclasses.replace(leg(0, 0, 4, 0), steps=(5.0, 6.0, 7.0, 8.0))
    death = Death(8.5, "step", "agent", None)
    assert list(timeline.unsaved([first, leg(10, start, 9, start)], [death], every=3)) == found


def test_the_time_back_counts_from_the_last_death_before_the_step() -> None:
    deaths = [Death(at, "step", "rank", None) for at in (8.0, 9.0)]
    ways = [leg(0, 0, 8, 6), leg(9.5, 6, 9, 6)]
    assert timeline.returns(ways, deaths, warm=True) == [2.5]


def test_a_node_whose_agent_is_another_one_was_not_warm() -> None:
    ways = [leg(0, 0, 8, 6), dataclasses.replace(leg(9.5, 6, 9, 6), agents=frozenset({7}))]
    deaths = [Death(9.0, "step", "agent", None)]
    assert (timeline.returns(ways, deaths, warm=True), timeline.returns(ways, deaths, warm=False)) == ([], [2.5])


def test_the_rounds_train_every_kind() -> None:
    assert {kills.kind_of(number) for number in range(16)} == set(kills.TARGETS)


def test_the_legs_of_a_run_follow_from_its_events_and_marks() -> None:
    events = [
        {"time": "1970-01-01T00:00:01+00:00", "event": "attempt"},
        {"time": "1970-01-01T00:00:03+00:00", "event": "checkpoint", "step": 3},
        {"time": "1970-01-01T00:00:05+00:00", "event": "attempt", "resume_from": "step-00000003"},
    ]
    marks = [Mark(at, 1, 0, "microbatch") for at in (1.5, 2.0, 2.5, 6.0)]
    first, second = timeline.legs(events, marks, 1)
    assert (first.reached, first.saved, second.start, second.reached, second.first_step) == (3, 3, 3, 4, 6.0)


def litter_of(scene: Scene, make: Callable[[Path], object]) -> list[str]:
    scene.run_dir = scene.runs_dir / "run"
    scene.run_dir.mkdir()
    make(scene.run_dir / ".result.json.17.tmp")
    return scene.litter()


def test_a_temporary_file_left_behind_is_found(tmp_path: Path) -> None:
    assert litter_of(Scene(tmp_path / "scene"), Path.touch) == ["runs/run/.result.json.17.tmp"]
