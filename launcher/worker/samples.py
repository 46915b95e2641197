"""Turns sample numbers into a batch, each sample with generators of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, default_collate

from launcher.errors import JobFailed
from launcher.worker import seeding
from launcher.worker.order import Indices

Fetch = Callable[[Indices, Sequence[int]], Any]
"""`fetch(samples, words)`: the batch of these samples; `words` begin every seed (what for, which epoch)."""


def count(data: Dataset[Any], name: str) -> int:
    """How many samples a data set has. Raises JobFailed where it cannot say."""
    if isinstance(data, IterableDataset):
        raise JobFailed(
            f"the task's {name} is an IterableDataset, which cannot be shuffled, shared out or resumed exactly",
            hint="give a data set with __len__ and __getitem__",
        )
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        raise JobFailed(
            f"the task's {name} ({type(data).__name__}) has no length", hint="give it __len__ and __getitem__"
        ) from None


def fetcher(data: Dataset[Any], collate: Callable[[list[Any]], Any] | None) -> Fetch:
    """The quickest way to fetch batches from this data set; all ways give the same bits."""
    if collate is None and (tensors := _tensors(data)) is not None:
        return _fetch_rows(tensors)
    return _fetch_samples(data, collate or default_collate)


def _tensors(data: Dataset[Any]) -> tuple[Callable[[Tensor], Tensor], tuple[Tensor, ...]] | None:
    """A plain TensorDataset's tensors and how to find a sample's row, also through Subsets."""
    if type(data) is TensorDataset:
        tensors = data.tensors
        plain = all(type(tensor) is Tensor and tensor.layout == torch.strided for tensor in tensors)
        return (_as_given, tensors) if plain and not any(tensor.requires_grad for tensor in tensors) else None
    if type(data) is Subset and (inner := _tensors(data.dataset)) is not None:
        rows, tensors = inner
        indices = torch.as_tensor(data.indices, dtype=torch.int64)
        return (lambda samples: rows(indices.index_select(0, samples))), tensors
    return None


def _as_given(samples: Tensor) -> Tensor:
    return samples


def _fetch_rows(source: tuple[Callable[[Tensor], Tensor], tuple[Tensor, ...]]) -> Fetch:
    rows, tensors = source

    def fetch(samples: Indices, _words: Sequence[int]) -> list[Tensor]:
        chosen = rows(torch.from_numpy(samples))
        return [tensor.index_select(0, chosen) for tensor in tensors]

    return fetch


def _fetch_samples(data: Any, collate: Callable[[list[Any]], Any]) -> Fetch:
    whole_batches = _fetches_whole_batches(data)

    def fetch(samples: Indices, words: Sequence[int]) -> Any:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a loader process: the number of threads can change the bits of a transform
        try:
            numbers: list[int] = samples.tolist()
            if whole_batches:
                seeding.seed_host(seeding.mix(*words, *numbers))
                return collate(data.__getitems__(numbers))
            return collate([_sample(data, number, words) for number in numbers])
        finally:
            torch.set_num_threads(threads)

    return fetch


def _fetches_whole_batches(data: Any) -> bool:
    """Whether the data set makes whole batches. A Subset only says so of itself: what counts is what it holds."""
    while type(data) is Subset:
        data = data.dataset
    return callable(getattr(data, "__getitems__", None))


def _sample(data: Any, number: int, words: Sequence[int]) -> Any:
    seeding.seed_host(seeding.mix(*words, number))
    return data[number]
