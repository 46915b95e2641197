"""The order of an epoch: a permutation, shuffled well, found at any place without being made."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from launcher.worker import seeding
from launcher.worker.order import Permutation


def order(count: int, seed: int = 0, epoch: int = 1) -> np.ndarray:
    return Permutation(count, seed, epoch)(np.arange(count, dtype=np.int64))


@pytest.mark.parametrize("count", [*range(1, 40), 97, 100, 1000, 4096, 65537])
def test_every_sample_comes_once(count: int) -> None:
    assert sorted(order(count).tolist()) == list(range(count))


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {order(100, seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_any_positions_can_be_asked_for_in_any_sequence() -> None:
    whole, chosen = order(1000), np.array([999, 3, 500], dtype=np.int64)
    assert Permutation(1000, 0, 1)(chosen).tolist() == whole[[999, 3, 500]].tolist()


@pytest.mark.parametrize("count", [3, 6])
def test_each_sample_comes_to_each_place_equally_often(count: int) -> None:
    trials = 3000
    places = np.zeros((count, count))
    for seed in range(trials):
        places[np.arange(count), order(count, seed).astype(int)] += 1
    expected = trials / count
    chi_squared = ((places - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2
    assert chi_squared < freedom + 6 * (2 * freedom) ** 0.5 + 6


def test_neighbours_do_not_stay_together() -> None:
    samples = order(100_000).astype(np.int64)
    assert abs(np.corrcoef(samples[:-1], samples[1:])[0, 1]) < 0.02
    assert (np.abs(np.diff(samples)) == 1).mean() < 1e-4


def test_the_order_is_the_same_on_every_machine() -> None:
    """Changing it would change every run: this line says so."""
    assert hashlib.sha256(order(1000, seed=7, epoch=3).astype("<i8").tobytes()).hexdigest()[:16] == "0e98e424fcd3d679"


def test_mixing_is_splitmix64() -> None:
    """The first numbers of splitmix64 from state 0 (its author's own test values)."""
    assert seeding.mix(0) == 0xE220A8397B1DCDAF
    assert seeding.mix(seeding.GOLDEN) == 0x6E789E6AA1B965F4


def test_a_word_is_told_from_its_place() -> None:
    assert len({seeding.mix(*words) for words in [(1, 2), (2, 1), (1,), (0, 1), (1, 0), (1, 2, 0)]}) == 6


def test_mixing_can_be_gone_on_with() -> None:
    assert seeding.mix(3, 4, state=seeding.mix(1, 2)) == seeding.mix(1, 2, 3, 4)
