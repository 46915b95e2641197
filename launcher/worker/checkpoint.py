"""Saving and loading the state of a training: a copy in memory now, the files in the background."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from launcher import checkpoints
from launcher.errors import JobFailed
from launcher.manifest import Damaged, FileDigest, Manifest, check, lost_data_is_damage, read
from launcher.plan import Plan
from launcher.worker import tensors, tree
from launcher.worker.reading import owned

Events = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's name and its fields."""

_MODEL, _STATE, _TREE = "model.safetensors", "training.safetensors", "training.json"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A verified checkpoint. Its tensors are the caller's own, on the CPU."""

    step: int
    epoch: int
    model: Mapping[str, Tensor]
    training: Any


class Checkpoints:
    """The checkpoints of one run, as one rank sees them: rank 0 writes, every rank reads."""

    newest: str | None
    """The newest checkpoint known to stand: the last one committed, or the one the attempt starts from."""

    def __init__(self, plan: Plan, rank: int, *, events: Events | None = None) -> None:
        self._plan = plan
        self._root = checkpoints.folder(Path(plan.run_dir))
        self._fence = checkpoints.claim(Path(plan.run_dir), plan.attempt) if rank == 0 else None
        self._events = events or (lambda event, fields: None)
        self._buffers = {name: tensors.Buffer(pinned=plan.device == "cuda") for name in (_MODEL, _STATE)}
        self._known = set[str]()
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None
        self.newest = plan.resume_from

    def save(self, step: int, *, epoch: int, model: Mapping[str, Tensor], training: Any, protect: bool = False) -> None:
        """Save the state after `step` steps; call it on every rank.

        Returns when the state is copied; the caller may then change it. Files are written in the background; what goes
        wrong there is raised by the next `save` or `wait`. The newest checkpoint saved with `protect` is not pruned.
        """
        self.wait()
        if self._fence is None:
            return
        contents = self._snapshot(model, training)
        manifest = Manifest(
            step=step,
            epoch=epoch,
            attempt=self._plan.attempt,
            world_size=self._plan.world_size,
            spec=_spec_digest(self._plan),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            protected=protect,
        )
        self._writer = threading.Thread(target=self._write, args=(manifest, contents, self._fence), name="checkpoint")
        self._writer.start()

    def wait(self) -> None:
        """Wait until the save under way is committed and verified; raises what went wrong in it."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def load(self, name: str) -> Loaded:
        """Read and verify a checkpoint; raises Damaged before anything of a bad one is used."""
        return self._load(name, lambda folder, expected: owned(folder, _MODEL, expected))

    def load_into(self, name: str, model: Mapping[str, Tensor]) -> Loaded:
        """Like `load`, and put the weights straight into the live tensors of `model`.

        Raises JobFailed where names or shapes differ.
        """

        def copy_in(folder: Path, expected: FileDigest | None) -> Mapping[str, Tensor]:
            stored = tensors.parse(_mapped(folder, _MODEL, expected))
            _check_same(name, stored, model)
            with torch.no_grad():
                for key, tensor in model.items():
                    tensor.copy_(stored[key])
            return model

        return self._load(name, copy_in)

    def _snapshot(self, model: Mapping[str, Tensor], training: Any) -> checkpoints.Contents:
        encoded, state = tree.encode(training)
        contents = {
            _MODEL: [self._buffers[_MODEL].snapshot(model)],
            _STATE: [self._buffers[_STATE].snapshot(state)],
            _TREE: [memoryview(json.dumps(encoded, allow_nan=False, indent=1).encode())],
        }
        if self._plan.device == "cuda":
            torch.cuda.current_stream().synchronize()
        return contents

    def _write(self, manifest: Manifest, contents: checkpoints.Contents, fence: checkpoints.Fence) -> None:
        def report(fault: checkpoints.Fault) -> None:
            self._events("warning", {"text": str(fault)})

        keep = self._plan.spec.checkpoint.keep
        try:
            checkpoints.save(self._root, manifest, contents, fence=fence, keep=keep, known=self._known, report=report)
            self.newest = manifest.name
            self._events("checkpoint", {"step": manifest.step, "name": manifest.name})
        except BaseException as error:  # raised again, in the thread that trains, by `wait`
            self._error = error

    def _load(self, name: str, take: Callable[[Path, FileDigest | None], Mapping[str, Tensor]]) -> Loaded:
        folder = self._root / name
        manifest = read(folder)
        try:
            encoded = json.loads(_mapped(folder, _TREE, manifest.files.get(_TREE)).numpy().tobytes())
            training = tree.decode(encoded, owned(folder, _STATE, manifest.files.get(_STATE)))
            model = take(folder, manifest.files.get(_MODEL))
        except ValueError as error:
            raise JobFailed(f"checkpoint {name} cannot be read by this version of launcher: {error}") from error
        self._known.add(name)
        return Loaded(step=manifest.step, epoch=manifest.epoch, model=model, training=training)


def _spec_digest(plan: Plan) -> str:
    return hashlib.sha256(json.dumps(dataclasses.asdict(plan.spec), sort_keys=True).encode()).hexdigest()


def _mapped(folder: Path, file: str, expected: FileDigest | None) -> Tensor:
    """The bytes of a file (uint8, shape [size]) in pages shared with the system's cache, compared with the manifest."""
    if expected is None:
        raise Damaged(folder.name, file, "not in the manifest")
    with lost_data_is_damage(folder.name, file), (folder / file).open("rb") as opened:
        size = opened.seek(0, 2)
        mapping = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) if size else b""
    check(folder.name, file, expected, FileDigest(size=size, xxh3_128=xxhash.xxh3_128_hexdigest(mapping)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")  # nobody writes: the tensors are copied
        return torch.frombuffer(mapping, dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)


def _check_same(name: str, stored: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    if differing := sorted(stored.keys() ^ model.keys()):
        raise JobFailed(f"checkpoint {name} is of another model: {differing[0]} is in one of the two only")
    for key, tensor in model.items():
        if tensor.shape != stored[key].shape:
            saved, live = tuple(stored[key].shape), tuple(tensor.shape)
            raise JobFailed(f"checkpoint {name} is of another model: {key} has shape {saved}, the model's {live}")
