"""The order of the samples in an epoch: a keyed permutation, computed where it is asked for.

A shuffled list of ten million numbers takes 80 MB and most of a second in every process. A Feistel network needs
neither: it maps position to sample by arithmetic, any position at any time. Positions are written as two digits
(left in [0, rows), right in [0, columns), rows × columns ≥ count, both near the square root of count); each round adds
a keyed hash of one digit to the other, which can be undone and is therefore a permutation. The few results that are
not below count are sent through again until they are (cycle walking).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from launcher.worker import seeding

Indices: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

ROUNDS = 8


class Permutation:
    """The permutation of range(count) that belongs to a seed and an epoch."""

    def __init__(self, count: int, seed: int, epoch: int) -> None:
        self.count = np.uint64(count)
        rows = math.isqrt(count - 1) + 1
        self.rows = np.uint64(rows)
        self.columns = np.uint64(-(-count // rows))
        self.keys = [np.uint64(seeding.mix(seed, seeding.ORDER, epoch, turn)) for turn in range(ROUNDS)]

    def __call__(self, positions: Indices) -> Indices:
        """The samples at these positions."""
        samples = self._once(positions.view(np.uint64))
        while (outside := samples >= self.count).any():
            samples[outside] = self._once(samples[outside])
        return samples.view(np.int64)

    def _once(self, positions: Words) -> Words:
        left = positions // self.columns
        right = positions - left * self.columns
        for turn, key in enumerate(self.keys):
            if turn % 2:
                _turn(right, left, key, self.columns)
            else:
                _turn(left, right, key, self.rows)
        return left * self.columns + right


def _turn(digits: Words, others: Words, key: np.uint64, base: np.uint64) -> None:
    """Add to each digit a hash of the other one, modulo the base.

    Divided and multiplied back, since numpy divides by one number with vectors but takes remainders one by one; the
    sum is less than twice the base, and what is subtracted once too often wraps round to a large number.
    """
    added = _hash(others, key)
    added -= added // base * base
    digits += added
    np.minimum(digits, digits - base, out=digits)


def _hash(digits: Words, key: np.uint64) -> Words:
    """`seeding.mix` with the state `key`, for many words at once."""
    state = digits ^ key
    state += np.uint64(seeding.GOLDEN)
    state ^= state >> np.uint64(30)
    state *= np.uint64(seeding.FIRST_MULTIPLIER)
    state ^= state >> np.uint64(27)
    state *= np.uint64(seeding.SECOND_MULTIPLIER)
    state ^= state >> np.uint64(31)
    return state
