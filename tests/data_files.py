"""Writes small datasets in the layouts that edgenet reads."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np


def idx_bytes(values: np.ndarray) -> bytes:
    """An idx file of unsigned bytes."""
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(path: Path, values: np.ndarray) -> None:
    """Gzipped if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = idx_bytes(values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(root: Path, *, train: int = 20, test: int = 10, suffix: str = ".gz") -> None:
    """A folder like MNIST's with images of noise; labels 0, 1, ... 9, 0, ..."""
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        folder = root / "MNIST" / "raw"
        images = random.integers(256, size=(count, 28, 28))
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)


def cifar_batch(fill: int) -> bytes:
    """A batch as the CIFAR archive has it: every pixel `fill`, red one more."""
    data = np.full((10_000, 3072), fill, dtype=np.uint8)
    data[:, :1024] += 1
    content = pickle.dumps({"data": data, "labels": [i % 10 for i in range(10_000)]}, protocol=3)
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def md5(content: bytes) -> str:
    """Its MD5."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
