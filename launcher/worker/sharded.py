"""A checkpoint of which every rank writes its part: torch.distributed.checkpoint plans who writes and who reads what.

Only the planning is torch's. The files are launcher's: one in the safetensors layout for each rank, and `shards.json`,
which says where in them each piece of a tensor lies. Nothing is pickled. Imported only where there is such a one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor import empty as empty_shards
from torch.futures import Future

from launcher.worker.shards import is_shard
from launcher.worker.tensors import CODES, Buffer

Opened = Callable[[str], Mapping[str, Tensor]]
"""Gives the tensors of one of the checkpoint's files, verified."""
_DTYPES = {code: dtype for dtype, code in CODES.items()}


def snapshot(tensors: Mapping[str, Tensor], file: str, buffer: Buffer, group: Any) -> tuple[memoryview, dict[str, Any]]:
    """This rank's part of the tensors as the bytes of its file, and on rank 0 of the group where all pieces lie.

    For all ranks at once. What is whole on every rank is written by rank 0 alone.
    """
    writer = _Writer(file, buffer)
    planner = DefaultSavePlanner(flatten_state_dict=False, dedup_save_to_lowest_rank=True)
    state_dict_saver.save(dict(tensors), storage_writer=writer, planner=planner, process_group=group)
    return writer.image, _index(writer.metadata, tensors) if writer.metadata else {}


def load(targets: Mapping[str, Tensor], index: Mapping[str, Any], opened: Opened) -> None:
    """Put what is stored into the targets, however both are shared out; each rank for itself."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*assuming the intent is to load in a single process.*")
            state_dict_loader.load(
                dict(targets),
                storage_reader=_Reader(index, opened),
                planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
                no_dist=True,
            )
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from error


def room(index: Mapping[str, Any], name: str, model: Mapping[str, Tensor]) -> Tensor:
    """Memory for a stored tensor: this rank's part, if it was shared out and the model's tensors are too."""
    about = index[name]
    dtype, shape = _DTYPES[about["dtype"]], about["shape"]
    live = next((each for each in model.values() if isinstance(each, DTensor)), None)
    if about["sharded"] and live is not None:
        return empty_shards(shape, dtype=dtype, device_mesh=live.device_mesh, placements=[Shard(0)])
    return torch.empty(shape, dtype=dtype)


class _Writer(StorageWriter):
    """Takes a copy; when and where the bytes go to the disk is decided elsewhere."""

    def __init__(self, file: str, buffer: Buffer) -> None:
        self.file = file
        self.buffer = buffer
        self.image = memoryview(b"")
        self.metadata: Metadata | None = None

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        held: dict[str, Tensor] = {}
        results = []
        for item in plan.items:
            key, piece = _key(item), planner.resolve_data(item)
            assert isinstance(piece, Tensor)  # noqa: S101  (only tensors were given)
            held[key] = piece
            results.append(WriteResult(item.index, piece.numel() * piece.element_size(), (self.file, key)))
        self.image = self.buffer.snapshot(held)
        return _done(results)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        metadata.storage_data = {each.index: each.storage_data for part in results for each in part}
        self.metadata = metadata

    def reset(self, checkpoint_id: Any = None) -> None:
        pass

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        pass

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class _Reader(StorageReader):
    def __init__(self, index: Mapping[str, Any], opened: Opened) -> None:
        self.index = index
        self.opened = opened

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        places = {
            MetadataIndex(name, chunk["offsets"]): (chunk["file"], chunk["key"])
            for name, about in self.index.items()
            for chunk in about["chunks"]
        }
        return Metadata({name: _stored(about) for name, about in self.index.items()}, storage_data=places)

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        for item in plan.items:
            file, key = self.places[item.storage_index]
            piece = self.opened(file)[key]
            for dimension, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                piece = piece.narrow(dimension, start, length)
            target = planner.resolve_tensor(item).detach()
            target.copy_(piece)
            planner.commit_tensor(item, target)
        return _done(None)

    def reset(self, checkpoint_id: Any = None) -> None:
        pass

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.places = metadata.storage_data or {}

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


def _index(metadata: Metadata, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """By name: type, shape, whether it was shared out, and where its pieces lie."""
    places = metadata.storage_data or {}
    index = {}
    for name, about in sorted(metadata.state_dict_metadata.items()):
        assert isinstance(about, TensorStorageMetadata)  # noqa: S101
        chunks = []
        for chunk in about.chunks:
            file, key = places[MetadataIndex(name, chunk.offsets)]
            chunks.append({"offsets": [*chunk.offsets], "sizes": [*chunk.sizes], "file": file, "key": key})
        index[name] = {
            "dtype": CODES[about.properties.dtype],
            "shape": [*about.size],
            "sharded": is_shard(tensors[name]),
            "chunks": chunks,
        }
    return index


def _stored(about: Mapping[str, Any]) -> TensorStorageMetadata:
    return TensorStorageMetadata(
        properties=TensorProperties(dtype=_DTYPES[about["dtype"]]),
        size=torch.Size(about["shape"]),
        chunks=[
            ChunkStorageMetadata(torch.Size(each["offsets"]), torch.Size(each["sizes"])) for each in about["chunks"]
        ],
    )


def _key(item: WriteItem) -> str:
    """A piece's name in its file: the tensor's, and where in it the piece begins, unless it is all of it."""
    data = item.tensor_data
    if data is None or data.chunk.sizes == data.size:
        return item.index.fqn
    return f"{item.index.fqn}@{','.join(map(str, data.chunk.offsets))}"


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
