"""Randomness as a function: every generator's seed follows from what it is used for, never from what was drawn before.

`mix(word, …)` folds 64-bit words into one with the finalizer of splitmix64: for each word,
`h = finalize((h xor word) + 0x9E3779B97F4A7C15)` modulo 2**64, beginning with h = 0. Integers only, so every machine,
Python and number of processes agrees; for a fixed prefix it is a bijection in the last word.
"""

from __future__ import annotations

import random

import numpy as np
import torch

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
FIRST_MULTIPLIER = 0xBF58476D1CE4E5B9
SECOND_MULTIPLIER = 0x94D049BB133111EB

WEIGHTS, ORDER, STEP, SAMPLE, VALIDATION, VALIDATION_SAMPLE = range(1, 7)
"""What a seed is for: the first word after the job's seed, so that no two uses share their numbers."""


def mix(*words: int, state: int = 0) -> int:
    """A number of 64 bits that follows from the words alone. `mix(a, b, c)` is `mix(c, state=mix(a, b))`."""
    for word in words:
        state = ((state ^ (word & MASK)) + GOLDEN) & MASK
        state = ((state ^ (state >> 30)) * FIRST_MULTIPLIER) & MASK
        state = ((state ^ (state >> 27)) * SECOND_MULTIPLIER) & MASK
        state ^= state >> 31
    return state


def seed_host(seed: int) -> None:
    """Seed the generators a sample may draw from: `random`, `numpy.random` and torch's on the CPU."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)


def seed_all(seed: int, device: torch.device) -> None:
    """Seed the host's generators and the device's."""
    seed_host(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
