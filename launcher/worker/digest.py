"""The digest of a trained model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import torch
import xxhash
from torch import Tensor

from launcher.worker.shards import gathered


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a `state_dict`, as hexadecimal digits.

    For each key in sorted order four fields are hashed, the first three each followed by one zero byte: the key in
    UTF-8; the type's name (`float32`); the shape as decimal numbers joined by commas (`128,64`; nothing for a scalar);
    the elements' raw bytes, little-endian, in row-major order. With several models a key is `<model's name>.<key>`.
    Weights that are shared out among ranks are gathered one by one: call it on all of them.
    """
    digest = hashlib.sha256()
    for part in _parts(weights):
        digest.update(part)
    return digest.hexdigest()


def weights_xxh3(weights: Mapping[str, Tensor]) -> str:
    """XXH3-128 of the same bytes: quicker, to tell two runs apart and not to identify one."""
    digest = xxhash.xxh3_128()
    for part in _parts(weights):
        digest.update(part)
    return digest.hexdigest()


def _parts(weights: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    for key in sorted(weights):
        tensor = gathered(weights[key].detach()).cpu().contiguous()
        kind = str(tensor.dtype).removeprefix("torch.")
        shape = ",".join(map(str, tensor.shape))
        yield f"{key}\0{kind}\0{shape}\0".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().data
