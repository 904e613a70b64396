"""Downloads by torchvision, imported only here and only when something has to be downloaded.

Some torchvision wheels for CPUs come with an operator library that cannot be loaded; `import
torchvision` then fails on the operators that its Python code expects there ('operator
torchvision::nms does not exist'), of which reading datasets needs none. They are declared first.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from edgenet.errors import DataError

_SILENCE_S = 30.0
"""A server that sends nothing for this long is given up."""
_CLASSES = {
    "mnist": ("MNIST", {}),
    "fashion-mnist": ("FashionMNIST", {}),
    "emnist-letters": ("EMNIST", {"split": "letters"}),
    "cifar-10": ("CIFAR10", {}),
}


def download(name: str, root: Path) -> None:
    """Fetch the dataset `name` into `root`, in torchvision's layout.

    It arrives in a folder of its own and is then moved in at once, so that several processes may
    try at the same time and a broken download leaves nothing behind.

    Raises:
        DataError: there is no network, the disk cannot be written, or the files are damaged.
    """
    kind, options = _CLASSES[name]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as arriving:
            with _impatient(), contextlib.redirect_stdout(sys.stderr):
                getattr(_datasets(), kind)(arriving, download=True, **options)
            for folder in Path(arriving).iterdir():
                if folder.is_dir() and not (root / folder.name).exists():
                    os.rename(folder, root / folder.name)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} could not be downloaded into {root}: {error}") from error


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Lets connections made in the body end when they fall silent: torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _datasets() -> Any:
    """The module torchvision.datasets."""
    _declare_missing_operators()
    import torchvision.datasets as datasets

    return datasets


@functools.cache  # the declarations last as long as the object that is returned
def _declare_missing_operators() -> torch.library.Library | None:
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise DataError("torchvision is not installed; pip install torchvision")
    for library in Path(folders[0]).glob("_C.*"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
            return None
        except OSError:
            continue
    declared = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        declared.define(schema)  # type: ignore[no-untyped-call]
    return declared
