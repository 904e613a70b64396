"""Reader of CIFAR-10's Python batches.

They are pickles, the only ones that edgenet ever opens: after their MD5 was found equal to the
published one, and with an unpickler that knows nothing but numpy arrays.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import DataError

FOLDER = "cifar-10-batches-py"
"""Where torchvision, and the archive, keep the batches."""
_SAMPLES = 10_000
"""Images in every batch."""
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
"""Training batches and their MD5, as published with torchvision."""
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
"""The test batch and its MD5."""


def read(folder: Path, batches: dict[str, str]) -> tuple[Tensor, Tensor]:
    """(images uint8 (n, 3, 32, 32), labels int64 (n,)) of `batches` (file name -> MD5) in order.

    Raises:
        DataError: a file cannot be read or is not the published one.
    """
    parts = [_batch(folder / name, md5) for name, md5 in batches.items()]
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def _batch(path: Path, md5: str) -> tuple[Tensor, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is not the published file: its MD5 is {found} instead of {md5}; "
            "it was not opened, fetch it anew"
        )
    return _arrays(content)


def _arrays(content: bytes) -> tuple[Tensor, Tensor]:
    batch = _NumpyOnly(io.BytesIO(content), encoding="latin1").load()
    images = np.ascontiguousarray(batch["data"], dtype=np.uint8).reshape(_SAMPLES, 3, 32, 32)
    return torch.from_numpy(images), torch.tensor(batch["labels"], dtype=torch.int64)


class _NumpyOnly(pickle.Unpickler):
    """Refuses every global but the three that a pickled numpy array needs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _reconstruct
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR-10 batch")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes | str) -> Any:
    """An empty array, which the pickle fills next. numpy's own has moved between its versions."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"a CIFAR-10 batch holds plain arrays, not {kind}")
    return np.ndarray.__new__(kind, shape, code if isinstance(code, str) else code.decode())
