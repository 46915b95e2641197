"""Saving and loading the state of a training: a copy in memory now, the files in the background."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

import torch
import xxhash
from torch import Tensor
from torch.optim import Optimizer

from launcher import checkpoints
from launcher.errors import JobFailed, RequestError
from launcher.manifest import Damaged, FileDigest, Manifest, check, lost_data_is_damage, read
from launcher.plan import Plan
from launcher.worker import shards, tensors, tree
from launcher.worker.crew import Crew
from launcher.worker.overlap import Overlap
from launcher.worker.reading import owned

Events = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's name and its fields."""
Take = Callable[[Path, FileDigest | None], Mapping[str, Tensor]]
"""Gives the weights of a checkpoint's folder, of which this is expected."""

_MODEL, _STATE, _TREE = "model.safetensors", "training.safetensors", "training.json"
_SHARD, _INDEX = "shard-{:05d}.safetensors", "shards.json"
"""In place of the first two where the weights are shared out: a file of each rank, and where in them what lies."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A verified checkpoint. Its tensors are the caller's own, on the CPU."""

    step: int
    epoch: int
    model: Mapping[str, Tensor]
    training: Any


class Checkpoints:
    """The checkpoints of one run, as one rank sees them: rank 0 writes, or each its part of the weights; all read."""

    newest: str | None
    """The newest checkpoint known to stand: the last one committed, or the one the attempt starts from."""

    def __init__(self, plan: Plan, rank: int, *, events: Events | None = None) -> None:
        self._plan = plan
        self._rank = rank
        self._root = checkpoints.folder(Path(plan.run_dir))
        self._fence = checkpoints.claim(Path(plan.run_dir), plan.attempt) if rank == 0 else None
        self._events = events or (lambda event, fields: None)
        self._buffers = {name: tensors.Buffer(pinned=plan.device == "cuda") for name in (_MODEL, _STATE)}
        self._overlap = Overlap()
        self._crew: Crew | None = None
        self._known = set[str]()
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None
        self.newest = plan.resume_from

    def save(
        self,
        step: int,
        *,
        epoch: int,
        model: Mapping[str, Tensor],
        training: Any,
        protect: bool = False,
        optimizers: Iterable[Optimizer] = (),
    ) -> None:
        """Save the state after `step` steps; call it on every rank.

        Returns when the state is copied; the caller may then change it. Files are written in the background; what goes
        wrong there is raised by the next `save` or `wait`. The newest checkpoint saved with `protect` is not pruned.
        With `checkpoint.overlap: all` the tensors that `optimizers` step are copied in the background too, and their
        next step waits for it; with `none` this returns when the checkpoint is committed.
        """
        self.wait()
        overlap = self._plan.spec.checkpoint.overlap
        if self._plan.sharded:
            self._crew = self._crew or Crew()
            contents = self._shared_snapshot(model, training, self._crew)
        elif self._fence is not None:
            contents = self._snapshot(model, training, optimizers if overlap == "all" else ())
        else:
            return
        manifest = Manifest(
            step=step,
            epoch=epoch,
            attempt=self._plan.attempt,
            world_size=self._plan.world_size,
            spec=_spec_digest(self._plan),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            protected=protect,
        )
        self._writer = threading.Thread(target=self._write, args=(manifest, contents), name="checkpoint")
        self._writer.start()
        if overlap == "none":
            self.wait()

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

        Raises RequestError where names or shapes differ.
        """

        def copy_in(folder: Path, expected: FileDigest | None) -> Mapping[str, Tensor]:
            stored = tensors.parse(_mapped(folder, _MODEL, expected))
            _check_same(name, stored, model)
            with torch.no_grad():
                for key, tensor in model.items():
                    shards.copy_in(tensor, stored[key])
            return model

        return self._load(name, copy_in, model)

    def _snapshot(
        self, model: Mapping[str, Tensor], training: Any, optimizers: Iterable[Optimizer]
    ) -> checkpoints.Contents:
        self._overlap.begin(optimizers)
        encoded, state = tree.encode(training)
        contents = {
            _MODEL: [self._buffers[_MODEL].snapshot(model, self._overlap.leave)],
            _STATE: [self._buffers[_STATE].snapshot(state, self._overlap.leave)],
            _TREE: _as_json(encoded),
        }
        self._wait_for_copies()
        self._overlap.start()
        return contents

    def _shared_snapshot(self, model: Mapping[str, Tensor], training: Any, crew: Crew) -> checkpoints.Contents:
        from launcher.worker import sharded

        encoded, state = tree.encode(training)
        together = {**_under(_MODEL, model), **_under(_STATE, state)}
        file = _SHARD.format(self._rank)
        image, index = sharded.snapshot(together, file, self._buffers[_MODEL], crew.group)
        self._wait_for_copies()
        mine: dict[str, list[memoryview]] = {file: [image]}
        return {**mine, _INDEX: _as_json(index), _TREE: _as_json(encoded)} if self._rank == 0 else mine

    def _wait_for_copies(self) -> None:
        if self._plan.device == "cuda":
            torch.cuda.current_stream().synchronize()

    def _write(self, manifest: Manifest, contents: checkpoints.Contents) -> None:
        try:
            self._overlap.finish()
            if self._crew is None:
                self.newest = self._save(manifest, contents, checkpoints.ALONE)
            elif self._fence is None:
                self.newest = self._crew.help(contents)
            else:
                self.newest = self._crew.lead(partial(self._save, manifest, contents))
        except BaseException as error:  # raised again, in the thread that trains, by `wait`
            self._error = error

    def _save(self, manifest: Manifest, contents: checkpoints.Contents, others: checkpoints.Others) -> str:
        def report(fault: checkpoints.Fault) -> None:
            self._events("warning", {"text": str(fault)})

        keep, fence = self._plan.spec.checkpoint.keep, self._fence
        assert fence is not None  # noqa: S101  (rank 0 has it)
        checkpoints.save(
            self._root, manifest, contents, fence=fence, keep=keep, known=self._known, report=report, others=others
        )
        self._events("checkpoint", {"step": manifest.step, "name": manifest.name})
        return manifest.name

    def _load(self, name: str, take: Take, live: Mapping[str, Tensor] | None = None) -> Loaded:
        """Whole weights go through `take`; shards go into the `live` tensors at once, or are put together."""
        folder = self._root / name
        manifest = read(folder)

        def mapped(file: str) -> Tensor:
            return _mapped(folder, file, manifest.files.get(file))

        try:
            if _INDEX in manifest.files:
                model, training = _gather(name, mapped, live)
            else:
                training = tree.decode(_parsed(mapped(_TREE)), owned(folder, _STATE, manifest.files.get(_STATE)))
                model = take(folder, manifest.files.get(_MODEL))
        except ValueError as error:
            raise JobFailed(f"checkpoint {name} cannot be read by this version of launcher: {error}") from error
        self._known.add(name)
        return Loaded(step=manifest.step, epoch=manifest.epoch, model=model, training=training)


def _gather(
    name: str, mapped: Callable[[str], Tensor], live: Mapping[str, Tensor] | None
) -> tuple[Mapping[str, Tensor], Any]:
    """The weights, in the live tensors if there are any, and the training state of a checkpoint of many files."""
    from launcher.worker import sharded

    index = _parsed(mapped(_INDEX))
    shapes = {key: torch.empty(about["shape"], device="meta") for key, about in index.items()}
    if live is not None:
        _check_same(name, _within(_MODEL, shapes), live)
    model = live if live is not None else _within(_MODEL, {key: sharded.room(index, key, {}) for key in shapes})
    state = {key: sharded.room(index, key, model) for key in _under(_STATE, _within(_STATE, shapes))}
    opened = cache(lambda file: tensors.parse(mapped(file)))
    with torch.no_grad():
        sharded.load({**_under(_MODEL, model), **state}, index, opened)
    return model, tree.decode(_parsed(mapped(_TREE)), _within(_STATE, state))


def _under(file: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With names that tell the weights from the rest of the state, as two files do otherwise."""
    return {f"{Path(file).stem}/{name}": tensor for name, tensor in held.items()}


def _within(file: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse."""
    prefix = f"{Path(file).stem}/"
    return {name.removeprefix(prefix): tensor for name, tensor in held.items() if name.startswith(prefix)}


def _as_json(value: Any) -> list[memoryview]:
    return [memoryview(json.dumps(value, allow_nan=False, indent=1).encode())]


def _parsed(file: Tensor) -> Any:
    return json.loads(file.numpy().tobytes())


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
        _refuse(name, f"{differing[0]} is in one of the two only")
    for key, tensor in model.items():
        if tensor.shape != stored[key].shape:
            saved, live = tuple(stored[key].shape), tuple(tensor.shape)
            _refuse(name, f"{key} has shape {saved}, the model's {live}")


def _refuse(name: str, difference: str) -> NoReturn:
    raise RequestError(
        f"checkpoint {name} is of another model: {difference}",
        hint="make the model as it was then, in code and task.args, or begin a new run without this checkpoint",
    )
