"""Reader of the idx format of MNIST and its relatives, plain or gzipped.

An idx file is a magic number (two zero bytes, a type code, the number of dimensions), the
dimensions as big-endian 32-bit numbers, and the values. Only unsigned bytes occur here. Header and
length are checked before anything is allocated: a damaged file is an error, never a wrong image.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import torch
from torch import Tensor

from edgenet.errors import DataError

_UNSIGNED_BYTE = 8
_LARGEST_BYTES = 1 << 30
"""EMNIST's largest split ('byclass') has 547 MB of training images."""


def find(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, unpacked or with `.gz`; None if there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read(path: Path, *, dimensions: int) -> Tensor:
    """The values of the idx file at `path` as uint8, with as many `dimensions` as it must have.

    Raises:
        DataError: the file cannot be read, is damaged, cut short, or has another form.
    """
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            return _values(path, file, _shape(path, file, dimensions))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; fetch it anew") from error


def _shape(path: Path, file: BufferedIOBase, dimensions: int) -> tuple[int, ...]:
    header = file.read(4 + 4 * dimensions)
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if len(header) < 4 + 4 * dimensions or header[:4] != magic:
        raise DataError(
            f"{path} is no idx file of bytes in {dimensions} dimensions: it starts with "
            f"{header[:4].hex() or 'nothing'} instead of {magic.hex()}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if not 0 < math.prod(shape) <= _LARGEST_BYTES:
        raise DataError(f"{path} announces values of shape {shape}, which cannot be right")
    return shape


def _values(path: Path, file: BufferedIOBase, shape: tuple[int, ...]) -> Tensor:
    values = torch.empty(math.prod(shape), dtype=torch.uint8)
    room, done = memoryview(values.numpy().data), 0
    while done < len(room):
        count = file.readinto(room[done:])
        if not count:
            raise DataError(f"{path} ends after {done} of {len(room)} values; fetch it anew")
        done += count
    if file.read(1):  # at the end gzip has also compared its checksum
        raise DataError(f"{path} goes on after its {len(room)} values; fetch it anew")
    return values.view(shape)
