"""Tensor files in the safetensors layout: a header of names, types and shapes, then the raw bytes.

`Buffer` takes a copy of live tensors into memory that is kept from one save to the next, and that is the file's image
already; `parse` gives the tensors of a mapped file without copying them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from launcher.errors import JobFailed
from launcher.worker import memory

CODES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
METADATA = "__metadata__"
LENGTH = 8
"""Bytes at the beginning of a file that say how long its header is."""

Leave = Callable[[Tensor, Tensor], bool]

_DTYPES = {code: dtype for dtype, code in CODES.items()}
_LENGTH = struct.Struct("<Q")
_PADDING = 8
_NOTHING = torch.empty(0, dtype=torch.uint8)


@dataclass(frozen=True)
class Slot:
    """Where in the data one tensor lies, in bytes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def bytes(self) -> int:
        """How many its type and shape ask for."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Layout:
    """The order of the tensors in a file. The widest types come first, so that each is aligned to its own size.

    Tensors that are one in memory (tied weights) are stored once, under the first of their names in sorted order;
    the header's metadata holds the others, `{other name: stored name}`, as `safetensors.torch.save_model` does.
    """

    slots: tuple[Slot, ...]
    aliases: Mapping[str, str]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Layout:
        """Raises JobFailed for a tensor that the layout cannot hold."""
        stored: dict[tuple[object, ...], str] = {}
        aliases = {}
        for name in sorted(tensors):
            owner = stored.setdefault(_place(name, tensors[name]), name)
            if owner != name:
                aliases[name] = owner
        slots, start = [], 0
        for name in sorted(stored.values(), key=lambda name: (-tensors[name].element_size(), name)):
            tensor = tensors[name]
            stop = start + tensor.numel() * tensor.element_size()
            slots.append(Slot(name, tensor.dtype, tuple(tensor.shape), start, stop))
            start = stop
        return cls(tuple(slots), aliases)

    @property
    def size(self) -> int:
        return self.slots[-1].stop if self.slots else 0

    def header(self) -> bytes:
        fields: dict[str, object] = {METADATA: {"format": "pt", **self.aliases}}
        for slot in self.slots:
            offsets = [slot.start, slot.stop]
            fields[slot.name] = {"dtype": CODES[slot.dtype], "shape": list(slot.shape), "data_offsets": offsets}
        text = json.dumps(fields, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _PADDING)
        return _LENGTH.pack(len(text)) + text

    @classmethod
    def parse(cls, header: bytes) -> Layout:
        """What `header` gave, its slots in the order of their bytes; ValueError for anything else."""
        try:
            fields = json.loads(header[LENGTH:])
            aliases = {key: value for key, value in fields.pop(METADATA, {}).items() if key != "format"}
            slots = [
                Slot(name, _DTYPES[entry["dtype"]], tuple(entry["shape"]), *entry["data_offsets"])
                for name, entry in fields.items()
            ]
            if any(slot.stop - slot.start != slot.bytes for slot in slots) or not fields.keys() >= {*aliases.values()}:
                raise ValueError("a tensor without its bytes")
            return cls(tuple(sorted(slots, key=lambda slot: (slot.start, slot.stop))), aliases)
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a tensor file: {error}") from error


class Buffer:
    """Memory for one file, kept between saves; pinned where tensors come from a GPU."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._memory = self._image = _NOTHING
        self._layout: Layout | None = None
        self._views: list[tuple[str, Tensor]] = []

    def snapshot(self, tensors: Mapping[str, Tensor], leave: Leave = lambda into, source: False) -> memoryview:
        """Copy the tensors; returns the file's bytes, which hold until the next snapshot.

        Copies from a GPU are only queued: wait for its stream before reading the bytes. Where `leave(into, source)` is
        true it makes the copy itself.
        """
        layout = Layout.of(tensors)
        if layout != self._layout:
            self._arrange(layout)
        for name, view in self._views:
            if not leave(view, tensors[name]):
                memory.copy(view, tensors[name].detach(), pinned=self._pinned)
        return self._image.numpy().data

    def _arrange(self, layout: Layout) -> None:
        header = layout.header()
        size = len(header) + layout.size
        if size > self._memory.numel():
            self._views, self._image, self._memory = [], _NOTHING, _NOTHING  # the old goes before the new is taken
            self._memory = _room(size, pinned=self._pinned)
        self._layout, self._image = layout, self._memory[:size]
        self._image[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        data = self._image[len(header) :]
        self._views = [(slot.name, _view(data, slot)) for slot in layout.slots if slot.stop > slot.start]


def parse(data: Tensor) -> dict[str, Tensor]:
    """The tensors of a file whose bytes are `data` (uint8, shape [size]), as views; ValueError for a malformed one."""
    length = header_length(data[:LENGTH].numpy().tobytes(), data.numel())
    layout = Layout.parse(data[:length].numpy().tobytes())
    try:
        stored = {slot.name: _view(data[length:], slot) for slot in layout.slots}
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"not a tensor file: {error}") from error
    return stored | {name: stored[owner] for name, owner in layout.aliases.items()}


def header_length(begin: bytes, size: int) -> int:
    """Bytes of the header of a file of this size, from its first ones; ValueError where it would not fit in."""
    if len(begin) < LENGTH:
        raise ValueError("shorter than a header")
    (length,) = _LENGTH.unpack(begin)
    if length > size - LENGTH:
        raise ValueError("the header is longer than the file")
    return LENGTH + int(length)


def _room(size: int, *, pinned: bool) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True) if pinned else memory.pages(size)


def _place(name: str, tensor: Tensor) -> tuple[object, ...]:
    """Equal for two tensors that are one in memory."""
    if name == METADATA or name == "format":
        raise JobFailed(f"a tensor named {name!r} cannot be saved: the name has a meaning in the file's header")
    if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in CODES:
        raise JobFailed(
            f"the tensor {name} cannot be saved: {tensor.dtype}, {tensor.layout}, on {tensor.device}",
            hint="a checkpoint holds dense tensors of these types: " + ", ".join(sorted(_DTYPES)),
        )
    if tensor.numel() == 0:
        return (name,)
    flags = (tensor.is_conj(), tensor.is_neg())
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), flags)


def _view(data: Tensor, slot: Slot) -> Tensor:
    return data[slot.start : slot.stop].view(slot.dtype).view(slot.shape)
