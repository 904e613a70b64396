"""Items to bytes and back. No pickle: a few fixed layouts, checked one by one.

A message is the header (`frame.Header`), one descriptor an item, zeros up to the next multiple of
64, and the tensors' bytes one after the other, each at a multiple of 64, so that the receiver's
tensors are views of the buffer that the bytes arrived in.

| item | descriptor (little-endian) |
| --- | --- |
| tensor | u8 1, then u8 dtype, u8 dimensions, i64 size of each |
| int | u8 2, i64 |
| float | u8 3, f64 |
| bool | u8 4, u8 |
| str | u8 5, u16 bytes, UTF-8 |
| list of tensors | u8 6, u32 count, then per tensor the dtype, dimensions, sizes as above |
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet.links import frame
from edgenet.links.frame import HEADER_BYTES, FrameError, Header, Type
from edgenet.links.protocol import Item, Kind
from edgenet.links.slabs import ALIGNMENT, Bytes, Slabs

MAX_TEXT_BYTES = 4096
MAX_DIMENSIONS = 64
_MOST_STRIDE = 2**40
DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
)
_NUMPY_DTYPES = tuple(
    np.dtype(np.int16) if dtype is torch.bfloat16 else torch.empty(0, dtype=dtype).numpy().dtype
    for dtype in DTYPES
)
_DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
_TENSOR, _INT, _FLOAT, _BOOL, _TEXT, _LIST = range(1, 7)
_I64 = struct.Struct("<q")
_F64 = struct.Struct("<d")
_U32 = struct.Struct("<I")
_U16 = struct.Struct("<H")


@dataclass(frozen=True)
class Packet:
    """A message that is ready to travel, on as many links as one likes."""

    blob: Tensor
    """Header, descriptors and data (uint8, 1-D)."""
    header: Header


def encode(
    items: Sequence[Item], kind: Kind, *, round_: int, sequence: int, slabs: Slabs
) -> Packet:
    """Copy `items` into a packet; they may be changed afterwards.

    Raises:
        TypeError, ValueError: an item that cannot travel.
    """
    descriptors = bytearray()
    tensors: list[Tensor] = []
    payload = sum(_describe(item, descriptors, tensors) for item in items)
    start = _aligned(HEADER_BYTES + len(descriptors))
    end = start
    places = []
    for tensor in tensors:
        places.append(_aligned(end))
        end = places[-1] + tensor.nbytes
    header = Header(
        type=Type.MESSAGE,
        kind=kind,
        round=round_,
        sequence=sequence,
        total_bytes=end,
        payload_bytes=payload,
        items=len(items),
        descriptor_bytes=len(descriptors),
        descriptor_crc=zlib.crc32(descriptors),
    )
    if (
        max(len(items), len(tensors)) > frame.MAX_ITEMS
        or len(descriptors) > frame.MAX_DESCRIPTOR_BYTES
    ):
        raise ValueError(f"a message of {len(items)} items is too long; send fewer, larger tensors")
    blob = slabs.take(end)
    _fill(blob, header.pack() + descriptors, zip(places, tensors, strict=True))
    return Packet(blob, header)


def goodbye(sequence: int) -> Packet:
    """The last packet of a link."""
    header = Header(Type.GOODBYE, Kind.CONTROL, 0, sequence, HEADER_BYTES, 0, 0, 0, 0)
    return Packet(torch.frombuffer(bytearray(header.pack()), dtype=torch.uint8), header)


def decode(blob: Tensor, header: Header) -> tuple[Any, ...]:
    """The items of a message, its tensors being views of `blob` (uint8, 1-D, complete).

    Raises:
        FrameError: descriptors that are damaged, or that describe another number of bytes.
    """
    bytes_: Bytes = blob.numpy()
    raw = bytes_[HEADER_BYTES : HEADER_BYTES + header.descriptor_bytes].tobytes()
    if zlib.crc32(raw) != header.descriptor_crc:
        raise FrameError("sent item descriptors whose checksum does not fit")
    reader = _Reader(raw, bytes_, HEADER_BYTES + header.descriptor_bytes)
    try:
        items = tuple(reader.item() for _ in range(header.items))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise FrameError(f"sent item descriptors that cannot be read ({error})") from None
    reader.check_end(header)
    return items


def _endless(shape: tuple[int, ...]) -> bool:
    """Whether an empty tensor has sizes that torch cannot multiply into strides."""
    return 0 in shape and math.prod(max(1, size) for size in shape) > _MOST_STRIDE


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _describe(item: object, out: bytearray, tensors: list[Tensor]) -> int:
    """Append an item's descriptor, and its tensors; returns its payload in bytes."""
    if isinstance(item, Tensor):
        out.append(_TENSOR)
        return _describe_tensor(item, out, tensors)
    if isinstance(item, bool):
        out += bytes((_BOOL, item))
        return 1
    if isinstance(item, int):
        if not -(2**63) <= item < 2**63:
            raise ValueError(f"{item} does not fit into 64 bits; send it as a str")
        out += bytes((_INT,)) + _I64.pack(item)
        return 8
    if isinstance(item, float):
        out += bytes((_FLOAT,)) + _F64.pack(item)
        return 8
    if isinstance(item, str):
        text = item.encode()
        if len(text) > MAX_TEXT_BYTES:
            raise ValueError(f"a text of {len(text)} bytes; at most {MAX_TEXT_BYTES} can travel")
        out += bytes((_TEXT,)) + _U16.pack(len(text)) + text
        return len(text)
    if isinstance(item, (list, tuple)) and len(item) <= frame.MAX_ITEMS:
        out += bytes((_LIST,)) + _U32.pack(len(item))
        return sum(_describe_tensor(tensor, out, tensors) for tensor in item)
    raise TypeError(
        f"a {type(item).__name__} cannot travel; send tensors, numbers, short texts, or flat "
        f"lists of at most {frame.MAX_ITEMS} tensors"
    )


def _describe_tensor(tensor: object, out: bytearray, tensors: list[Tensor]) -> int:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"a list with a {type(tensor).__name__}; only flat lists of tensors travel")
    if tensor.dtype not in _DTYPE_CODES or tensor.layout is not torch.strided:
        raise TypeError(
            f"a tensor of {tensor.dtype}, {tensor.layout}, cannot travel; convert it to a dense "
            f"one of {', '.join(str(dtype)[6:] for dtype in DTYPES)}"
        )
    out += bytes((_DTYPE_CODES[tensor.dtype], tensor.dim()))
    out += struct.pack(f"<{tensor.dim()}q", *tensor.shape)
    tensors.append(tensor)
    return tensor.nbytes


def _fill(blob: Tensor, front: bytes, placed: Iterable[tuple[int, Tensor]]) -> None:
    bytes_: Bytes = blob.numpy()
    end = len(front)
    bytes_[:end] = np.frombuffer(front, dtype=np.uint8)
    for place, tensor in placed:
        bytes_[end:place] = 0
        end = place + tensor.nbytes
        if tensor.nbytes:
            array = _array(tensor)
            np.copyto(bytes_[place:end].view(array.dtype).reshape(array.shape), array)


def _array(tensor: Tensor) -> Any:
    """The tensor as a numpy array: as far as it can be, a view.

    Numpy's small operations keep the GIL, torch's give it up, and with a reader thread that waits
    for it every one of them may cost a switch of threads: a small message took 0.1 ms more.
    """
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return tensor.numpy(force=True)


class _Reader:
    """Walks the descriptors and hands out views of the data."""

    def __init__(self, raw: bytes, bytes_: Bytes, end: int) -> None:
        self._raw, self._at = raw, 0
        self._bytes, self._end = bytes_, end
        self._payload = self._tensors = 0

    def item(self) -> Any:
        tag = self._take(1)[0]
        if tag == _TENSOR:
            return self._tensor()
        if tag == _LIST:
            (count,) = _U32.unpack(self._take(4))
            return [self._tensor() for _ in range(count)]
        if tag == _INT:
            return self._count(8, _I64.unpack(self._take(8))[0])
        if tag == _FLOAT:
            return self._count(8, _F64.unpack(self._take(8))[0])
        if tag == _BOOL:
            return self._count(1, bool(self._take(1)[0]))
        if tag == _TEXT:
            (length,) = _U16.unpack(self._take(2))
            return self._count(length, self._take(length).decode())
        raise FrameError(f"sent an item of type {tag}, which does not exist")

    def check_end(self, header: Header) -> None:
        """Nothing may be left over or missing."""
        if self._at != len(self._raw):
            raise FrameError("sent more item descriptors than items")
        end = self._end if self._end > HEADER_BYTES + len(self._raw) else _aligned(self._end)
        if end != header.total_bytes or self._payload != header.payload_bytes:
            raise FrameError("sent items that do not add up to the announced number of bytes")

    def _take(self, count: int) -> bytes:
        part = self._raw[self._at : self._at + count]
        if len(part) != count:
            raise FrameError("sent item descriptors that end too early")
        self._at += count
        return part

    def _count(self, nbytes: int, value: Any) -> Any:
        self._payload += nbytes
        return value

    def _tensor(self) -> Tensor:
        code, dimensions = self._take(2)
        if code >= len(DTYPES) or dimensions > MAX_DIMENSIONS:
            raise FrameError(f"sent a tensor of dtype {code} with {dimensions} dimensions")
        shape = struct.unpack(f"<{dimensions}q", self._take(8 * dimensions))
        self._tensors += 1
        if self._tensors > frame.MAX_ITEMS:
            raise FrameError(f"sent more than {frame.MAX_ITEMS} tensors in a message")
        if any(not 0 <= size < 2**40 for size in shape) or _endless(shape):
            raise FrameError(f"sent a tensor of shape {shape}")
        dtype = DTYPES[code]
        nbytes = math.prod(shape) * dtype.itemsize
        start = _aligned(self._end)
        if start + nbytes > self._bytes.size:
            raise FrameError(f"sent a tensor of shape {shape}, larger than its message")
        self._end = start + nbytes
        self._payload += nbytes
        if nbytes == 0:
            return torch.empty(shape, dtype=dtype)
        data = self._bytes[start : self._end]
        if dtype is torch.bool:
            # A bool whose byte is neither 0 nor 1 makes torch's kernels disagree with each other.
            return torch.from_numpy((data != 0).reshape(shape))
        tensor = torch.from_numpy(data.view(_NUMPY_DTYPES[code]).reshape(shape))
        return tensor.view(dtype) if dtype is torch.bfloat16 else tensor
