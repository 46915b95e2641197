import os
from typing import Any

import pytest

from launcher.hang import Watch, cause, culprit, sentence
from launcher.heartbeat import BETWEEN, STARTING, STEP, Beat, Board, Heart


def watch(*beats: tuple[float, Beat], seconds: float = 2.0) -> tuple[Watch, list[int]]:
    watched = Watch(seconds, 1)
    hung: list[int] = []
    for now, beat in beats:
        hung = watched.hung([beat], now)
    return watched, hung


def test_a_rank_that_moves_is_never_hung() -> None:
    assert watch(*((1.5 * step, Beat(step, step, STEP)) for step in range(1, 9)))[1] == []


def test_a_rank_that_does_not_move_is_hung_after_the_time_of_the_job() -> None:
    watched, hung = watch((0.0, Beat(1, 5, STEP)), (2.0, Beat(1, 5, STEP)))
    assert hung == []
    assert watched.hung([Beat(1, 5, STEP)], 2.1) == [0]


def test_a_phase_that_has_taken_long_before_is_waited_for() -> None:
    slow = [(0.0, Beat(1, 5, STEP)), (1.8, Beat(2, 6, STEP))]
    assert watch(*slow, (1.8 + 8.9, Beat(2, 6, STEP)))[1] == []
    assert watch(*slow, (1.8 + 9.1, Beat(2, 6, STEP)))[1] == [0]


@pytest.mark.parametrize("beat", [Beat(1, 0, STARTING), Beat(1, 1, STEP), Beat(1, 9, BETWEEN)])
def test_what_has_no_usual_length_may_take_ten_times_as_long(beat: Beat) -> None:
    assert watch((0.0, beat), (19.0, beat))[1] == []
    assert watch((0.0, beat), (21.0, beat))[1] == [0]


@pytest.mark.parametrize(("steps", "each", "limit"), [(99, 0.1, 300.0), (101, 0.1, 120.0), (101, 8.0, 160.0)])
def test_after_enough_steps_the_time_of_one_is_known(steps: int, each: float, limit: float) -> None:
    beats = [(each * step, Beat(step, step + 1, STEP)) for step in range(1, steps + 1)]
    last = Beat(steps, steps + 1, STEP)
    assert watch(*beats, (each * steps + limit - 1, last), seconds=300.0)[1] == []
    assert watch(*beats, (each * steps + limit + 1, last), seconds=300.0)[1] == [0]


def test_steps_of_many_ranks_are_not_taken_for_many_steps() -> None:
    watched = Watch(300.0, 8)
    for step in range(1, 20):
        watched.hung([Beat(step, step + 1, STEP)] * 8, 0.1 * step)
    assert watched.hung([Beat(19, 20, STEP)] * 8, 200.0) == []


def test_what_is_known_of_steps_is_never_longer_than_the_job_allows() -> None:
    beats = [(0.1 * step, Beat(step, step + 1, STEP)) for step in range(1, 102)]
    assert watch(*beats, (10.1 + 2.1, Beat(101, 102, STEP)))[1] == [0]


def test_a_rank_that_never_said_anything_is_left_alone() -> None:
    assert watch((0.0, Beat()), (1e6, Beat()))[1] == []


def answer(rank: int, place: str, *, waits: bool, step: int = 812) -> dict[str, Any]:
    return {"rank": rank, "step": step, "phase": STEP, "place": place, "waits": waits}


ROLL = [answer(rank, "in all-reduce", waits=True) for rank in (0, 2, 3)] + [answer(1, "in DataLoader", waits=False)]


def test_the_roll_call_says_who_waits_and_who_is_elsewhere() -> None:
    assert sentence(ROLL) == "3 of 4 ranks wait in all-reduce at step 812; rank 1 is in DataLoader at step 812"


def test_the_rank_that_the_others_wait_for_is_the_cause() -> None:
    found = cause(ROLL, [0, 1, 2, 3])
    assert (found["kind"], found["rank"]) == ("hang", 1)
    assert "rank 1 is in DataLoader" in found["message"]


def test_of_several_ranks_elsewhere_the_one_furthest_back_is() -> None:
    ahead = [answer(0, "in loss", waits=False, step=9), answer(1, "in DataLoader", waits=False, step=8)]
    assert culprit(ahead) == ahead[1]


def test_a_hang_whose_ranks_give_no_answer_names_the_stuck_ones() -> None:
    found = cause([], [2, 5])
    assert (found["rank"], "ranks 2, 5 did not move" in found["message"]) == (2, True)


def test_beats_are_seen_by_who_shares_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board.create(2)
    monkeypatch.setenv("LAUNCHER_BEATS_FD", str(board.descriptor))
    Heart(1, 2).beat(7, STEP)
    assert board.read() == [Beat(), Beat(1, 7, STEP)]
    board.clear()
    assert board.read() == [Beat(), Beat()]
    os.close(board.descriptor)
